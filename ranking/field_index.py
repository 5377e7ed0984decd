"""BM25 and matched words of pairs, field by field, from an index of the catalogue that stays in memory.

`omnifeat.retrieval.lexical` scores one query against everything; a ranker scores some hundred candidates of a query,
each in several fields. The index is the catalogue's own words, sorted within each entity, so that a word of the query
is found by bisection, and a query's own text can be taken out of the queries that its entity was engaged with: left
in, a pair that was engaged would match itself, the label in disguise (see `omnifeat.featurize`).

Shape suffixes: N entities, V words, Q queries of a call, P pairs.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from omnifeat.compiled import compiled
from omnifeat.errors import DataError
from omnifeat.retrieval.lexical import split_words

__all__ = ["MOST_WORDS", "FieldIndex", "QueryWords", "Vocabulary", "bit_counts"]

MOST_WORDS = 64
"""Distinct words of a query that are looked at; which of them matched stands in one 64-bit number."""

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]


class Vocabulary:
    """Words numbered in the order in which they are met."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def learn(self, texts: Sequence[str]) -> tuple[Int64, Int32]:
        """Offsets int64 (n + 1,) and the words int32 of normalised texts, new words being numbered."""
        numbers = self._numbers
        words = [split_words(text) for text in texts]
        flat = [numbers.setdefault(word, len(numbers)) for found in words for word in found]
        return _offsets([len(found) for found in words]), np.array(flat, dtype=np.int32)

    def queries(self, texts: Sequence[str]) -> "QueryWords":
        """The words of normalised queries; words that no entity has are counted and have no number."""
        starts, words, counts, distinct, lengths = [], [], [], [], []
        for text in texts:
            found: dict[str, int] = {}
            of_query = split_words(text)
            for word in of_query:
                found[word] = found.get(word, 0) + 1
            known = [(self._numbers[word], count) for word, count in found.items() if word in self._numbers]
            known = known[:MOST_WORDS]
            starts.append(len(known))
            words += [number for number, _ in known]
            counts += [count for _, count in known]
            distinct.append(len(found))
            lengths.append(len(of_query))
        return QueryWords(
            _offsets(starts),
            np.array(words, dtype=np.int32),
            np.array(counts, dtype=np.int32),
            np.array(distinct, dtype=np.int32),
            np.array(lengths, dtype=np.int32),
        )


class QueryWords:
    """Words of Q queries: of each its known distinct ones with their counts, how many distinct there are, and all."""

    def __init__(self, starts: Int64, words: Int32, counts: Int32, distinct: Int32, lengths: Int32) -> None:
        self.starts, self.words, self.counts = starts, words, counts
        self.distinct, self.lengths = distinct, lengths


class FieldIndex:
    """The words of one field of every entity, and BM25 as `BM25Scorer` has it, of pairs.

    Parameters
    ----------
    k1, b
        Saturation of a word's count, and strength of the length normalisation (0 to 1).
    """

    def __init__(self, *, k1: float = 1.5, b: float = 0.75) -> None:
        self._k1, self._b = k1, b
        self._parts: list[tuple[Int64, Int32, Int32]] = []
        self._sizes: list[Int64] = []

    def add(self, offsets: Int64, words: Int32) -> None:
        """The words of further entities, as `Vocabulary.learn` gives them."""
        rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        keys, counts = np.unique((rows << 32) | words, return_counts=True)
        per_row = np.bincount(keys >> 32, minlength=len(offsets) - 1)
        self._parts.append((per_row, (keys & 0xFFFFFFFF).astype(np.int32), counts.astype(np.int32)))
        self._sizes.append(np.diff(offsets))

    def finish(self, vocabulary: int) -> "FieldIndex":
        """Work out the statistics once all entities are in; `vocabulary` is how many words there are."""
        if not self._parts:
            raise DataError("There are no entities to index; give a catalogue with at least one.")
        per_row, words, counts = (np.concatenate(parts) for parts in zip(*self._parts, strict=True))
        self._parts = []
        self.starts = np.concatenate([[0], np.cumsum(per_row)]).astype(np.int64)
        self.words, self.counts = words, counts
        self.lengths: Int32 = np.concatenate(self._sizes).astype(np.int32)
        size = len(self.lengths)
        holding = np.bincount(words, minlength=vocabulary)
        self.idf: npt.NDArray[np.float64] = np.log(1 + (size - holding + 0.5) / (holding + 0.5))
        self.mean_length = float(self.lengths.mean())
        return self

    def score(
        self, queries: QueryWords, query_rows_P: Int32, entity_rows_P: Int32, own_P: Int32 | None = None
    ) -> tuple[Float32, UInt64]:
        """BM25 float32 (P,), and which of the query's words matched, a bit each, uint64 (P,).

        Parameters
        ----------
        query_rows_P, entity_rows_P
            Rows of `queries` and of the index; where either is -1 the score is NaN and no bit is set.
        own_P
            How many times the query's own text is part of the entity's field; it is taken out first.
        """
        scores = np.empty(len(query_rows_P), dtype=np.float32)
        matched = np.zeros(len(query_rows_P), dtype=np.uint64)
        own = np.zeros(0, dtype=np.int32) if own_P is None else own_P
        _score(
            queries.starts, queries.words, queries.counts, queries.lengths,
            self.starts, self.words, self.counts, self.lengths, self.idf,
            self._k1, self._b, self.mean_length,
            query_rows_P, entity_rows_P, own, scores, matched,
        )  # fmt: skip
        return scores, matched


@compiled
def _score(
    query_starts: Any, query_words: Any, query_counts: Any, query_lengths: Any,
    starts: Any, words: Any, counts: Any, lengths: Any, idf: Any,
    k1: Any, b: Any, mean_length: Any,
    query_rows: Any, entity_rows: Any, own: Any, scores: Any, matched: Any,
) -> None:  # fmt: skip
    for pair in range(len(query_rows)):
        query, entity = query_rows[pair], entity_rows[pair]
        if query < 0 or entity < 0:
            scores[pair] = np.float32(np.nan)
            continue
        taken = own[pair] if len(own) > 0 else 0
        length = lengths[entity] - taken * query_lengths[query]
        total = 0.0
        bits = np.uint64(0)
        for place in range(query_starts[query], query_starts[query + 1]):
            word = query_words[place]
            low, high = starts[entity], starts[entity + 1]
            while low < high:
                middle = (low + high) // 2
                if words[middle] < word:
                    low = middle + 1
                else:
                    high = middle
            if low == starts[entity + 1] or words[low] != word:
                continue
            count = counts[low] - taken * query_counts[place]
            if count <= 0:
                continue
            norm = k1 * (1 - b + b * length / mean_length)
            total += query_counts[place] * idf[word] * count / (count + norm)
            bits |= np.uint64(1) << np.uint64(place - query_starts[query])
        scores[pair] = np.float32(total)
        matched[pair] = bits


def bit_counts(bits: UInt64) -> Float32:
    """How many bits are set, float32 of the same shape."""
    return np.bitwise_count(bits).astype(np.float32)


def _offsets(lengths: Sequence[int]) -> Int64:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
