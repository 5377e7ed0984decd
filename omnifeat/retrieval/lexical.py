"""Token-based scorers of entities for queries: BM25 on words or trigrams, TF-IDF cosine, and random.

All have one interface: `fit(texts)` takes one text per entity; `scores`, `score_blocks` and `pair_scores` then score
queries against them. A query with no known token scores 0 with every entity; what is equal is ordered by whoever ranks.

Shapes: Q queries, N entities, P pairs, V tokens of the vocabulary, B queries of one block.
"""

import logging
import math
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse as sp
import xxhash

from omnifeat.data.text_lists import refuse_tables
from omnifeat.errors import DataError, SettingError
from omnifeat.text.codepoints import IGNORED, MARK, SINGLE, WORD, code_point_class
from omnifeat.text.normalise import normalise

__all__ = [
    "LEXICAL_SCORERS",
    "BM25Scorer",
    "LexicalScorer",
    "RandomScorer",
    "TfidfScorer",
    "lexical_scorer",
    "split_trigrams",
    "split_words",
]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

_BLOCK_BYTES = 64 * 1024 * 1024

# One letter for the class of each character; a word is found among the letters and cut from the characters.
_LETTERS = {WORD: "w", SINGLE: "s", MARK: "m", IGNORED: ""}
_WORD = re.compile("sm*|[wm]+")


class _Classes(dict[int, str]):
    """Translates characters to their class's letter, or to themselves less those that are ignored."""

    def __init__(self, to_letters: bool) -> None:
        super().__init__()
        self._to_letters = to_letters

    def __missing__(self, code_point: int) -> str:
        letter = _LETTERS.get(code_point_class(code_point), " ")
        found = letter if self._to_letters or not letter else chr(code_point)
        self[code_point] = found
        return found


_TO_LETTERS, _WITHOUT_IGNORED = _Classes(True), _Classes(False)


def split_words(text: str) -> list[str]:
    """Words of a normalised text, as the entity encoder's tokenizer has them.

    A word is a run of letters, digits and marks; a letter of a script that is written without spaces (Han, kana, Thai
    and so on) or a symbol such as an emoji is a word of its own, so that any script yields tokens.
    """
    shown = text.translate(_WITHOUT_IGNORED)
    return [shown[match.start() : match.end()] for match in _WORD.finditer(text.translate(_TO_LETTERS))]


def split_trigrams(text: str) -> list[str]:
    """Character trigrams of each word of a normalised text, with a boundary before and after the word.

    The boundaries give words of one character a token: "猫" is " 猫 ".
    """
    padded = [f" {word} " for word in split_words(text)]
    return [word[start : start + 3] for word in padded for start in range(len(word) - 2)]


class LexicalScorer(ABC):
    """What all token-based scorers share: fitting on texts, scores in blocks and scores of pairs."""

    @abstractmethod
    def fit(self, texts: Sequence[str | None]) -> Self:
        """Learn from one text per entity (N); null is an empty text. Raises `DataError` if there are none."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of entities that were fitted."""

    @abstractmethod
    def scores(self, queries: Sequence[str]) -> FloatArray:
        """Scores float32 (Q, N) of all entities for each query, higher is better."""

    @abstractmethod
    def pair_scores(self, queries: Sequence[str], rows: IntArray) -> FloatArray:
        """Scores float32 (P,) of pairs: one query text and one row of the fitted entities per pair."""

    def score_blocks(self, queries: Sequence[str], block_bytes: int = _BLOCK_BYTES) -> Iterator[tuple[int, FloatArray]]:
        """Blocks of `scores`: (first query, float32 (B, N)), each at most `block_bytes` large or one query."""
        size = max(1, block_bytes // max(1, 4 * self.size))
        for start in range(0, len(queries), size):
            yield start, self.scores(queries[start : start + size])


class _SparseScorer(LexicalScorer):
    """Scores are the product of a query's token weights with each entity's token weights."""

    def __init__(self) -> None:
        self._entities_NV: sp.csr_matrix | None = None
        self._entities_VN: sp.csr_matrix | None = None

    @abstractmethod
    def _fit_entities(self, texts: list[str]) -> Any:
        """Sparse token weights (N, V) of normalised texts."""

    @abstractmethod
    def _query_weights(self, queries: list[str]) -> Any:
        """Sparse token weights (Q, V) of normalised queries."""

    def fit(self, texts: Sequence[str | None]) -> Self:
        """Learn the vocabulary and weights from one text per entity; null is an empty text."""
        if len(texts) == 0:
            raise DataError("there are no texts to fit a lexical scorer on; give at least one entity")
        self._entities_NV = sp.csr_matrix(self._fit_entities(_normalised(texts)), dtype=np.float32)
        self._entities_VN = sp.csr_matrix(self._entities_NV.T)
        return self

    @property
    def size(self) -> int:
        """Number of entities that were fitted."""
        return int(self._fitted()[0].shape[0])

    def _fitted(self) -> tuple[sp.csr_matrix, sp.csr_matrix]:
        if self._entities_NV is None or self._entities_VN is None:
            raise SettingError("this lexical scorer has not been fitted yet; call fit(texts) first")
        return self._entities_NV, self._entities_VN

    def scores(self, queries: Sequence[str]) -> FloatArray:
        """Scores float32 (Q, N); memory is the whole matrix, so use `score_blocks` for many queries."""
        _, entities_VN = self._fitted()
        product: FloatArray = (self._query_weights(_normalised(queries)) @ entities_VN).toarray()
        return product.astype(np.float32, copy=False)

    def pair_scores(self, queries: Sequence[str], rows: IntArray) -> FloatArray:
        """Scores float32 (P,); each distinct query is split into tokens once."""
        entities_NV, _ = self._fitted()
        distinct, place = _distinct(queries)
        weights = sp.csr_matrix(self._query_weights(_normalised(distinct)), dtype=np.float32)
        scores = np.empty(len(queries), dtype=np.float32)
        for start in range(0, len(scores), 65_536):  # a sparse copy of the pairs' rows is made for each block
            block = slice(start, start + 65_536)
            product = weights[place[block]].multiply(entities_NV[rows[block]])
            scores[block] = np.asarray(product.sum(axis=1), dtype=np.float32).ravel()
        return scores


class BM25Scorer(_SparseScorer):
    """BM25 as Lucene has it, over words or character trigrams (`split` says which).

    score(q, e) = sum over tokens t of q of idf(t) * tf / (tf + k1 * (1 - b + b * length(e) / mean length)) with
    idf(t) = ln(1 + (N - n_t + 0.5) / (n_t + 0.5)), tf the count of t in e and n_t the number of entities holding t.
    A token that the query repeats counts each time.

    Parameters
    ----------
    split
        Tokens of a normalised text: `split_words` or `split_trigrams`.
    k1, b
        Saturation of the token count, and strength of the length normalisation (0 to 1).
    """

    def __init__(self, split: Callable[[str], list[str]] = split_words, *, k1: float = 1.5, b: float = 0.75) -> None:
        super().__init__()
        if k1 < 0 or not 0 <= b <= 1:
            raise SettingError(f"BM25 needs k1 of 0 or more and b between 0 and 1, got k1 = {k1} and b = {b}")
        self._split, self._k1, self._b = split, k1, b
        self._vocabulary: dict[str, int] = {}

    def _fit_entities(self, texts: list[str]) -> Any:
        import bm25s

        # its import sets its logger to DEBUG; the level is for whoever sets up logging
        logging.getLogger("bm25s").setLevel(logging.NOTSET)
        vocabulary: dict[str, int] = {}
        tokens = [[vocabulary.setdefault(token, len(vocabulary)) for token in self._split(text)] for text in texts]
        self._vocabulary = vocabulary
        if not vocabulary:
            return sp.csr_matrix(np.zeros((len(texts), 0), np.float32))
        index = bm25s.BM25(method="lucene", k1=self._k1, b=self._b)
        index.index((tokens, vocabulary), create_empty_token=False, show_progress=False)
        columns = index.scores
        return sp.csc_matrix(
            (columns["data"], columns["indices"], columns["indptr"]), shape=(len(texts), len(vocabulary))
        )

    def _query_weights(self, queries: list[str]) -> Any:
        counts = [
            Counter(self._vocabulary[token] for token in self._split(query) if token in self._vocabulary)
            for query in queries
        ]
        offsets = np.zeros(len(counts) + 1, dtype=np.int64)
        np.cumsum([len(count) for count in counts], out=offsets[1:])
        tokens = np.fromiter(chain.from_iterable(counts), dtype=np.int64, count=int(offsets[-1]))
        weights = np.fromiter(
            chain.from_iterable(count.values() for count in counts), dtype=np.float32, count=int(offsets[-1])
        )
        return sp.csr_matrix((weights, tokens, offsets), shape=(len(queries), len(self._vocabulary)))


class TfidfScorer(_SparseScorer):
    """Cosine of TF-IDF vectors over character n-grams inside words (with a space at each end of a word).

    Weights are (1 + ln count) * (1 + ln((1 + N) / (1 + n_t))), vectors scaled to length one, so scores lie in [0, 1].

    Parameters
    ----------
    smallest, largest
        Lengths of the n-grams.
    """

    def __init__(self, smallest: int = 2, largest: int = 4) -> None:
        super().__init__()
        if not 1 <= smallest <= largest:
            raise SettingError(f"n-grams need 1 <= smallest <= largest, got {smallest} and {largest}")
        self._range = (smallest, largest)
        self._vectorizer: Any = None

    def _fit_entities(self, texts: list[str]) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer

        if not any(text.strip() for text in texts):  # scikit-learn refuses an empty vocabulary
            self._vectorizer = None
            return sp.csr_matrix(np.zeros((len(texts), 0), np.float32))
        self._vectorizer = TfidfVectorizer(
            analyzer="char_wb", ngram_range=self._range, lowercase=False, sublinear_tf=True, dtype=np.float32
        )
        return self._vectorizer.fit_transform(texts)

    def _query_weights(self, queries: list[str]) -> Any:
        if self._vectorizer is None or not queries:  # scikit-learn refuses to transform nothing
            width = 0 if self._vectorizer is None else len(self._vectorizer.vocabulary_)
            return sp.csr_matrix(np.zeros((len(queries), width), np.float32))
        return self._vectorizer.transform(queries)


class RandomScorer(LexicalScorer):
    """Uniform scores in [0, 1) that depend on the seed, the query's text and the entity's row alone."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._size = 0

    def fit(self, texts: Sequence[str | None]) -> Self:
        """Remember how many entities there are."""
        if len(texts) == 0:
            raise DataError("there are no texts to fit a random scorer on; give at least one entity")
        self._size = len(texts)
        return self

    @property
    def size(self) -> int:
        """Number of entities that were fitted."""
        return self._size

    def scores(self, queries: Sequence[str]) -> FloatArray:
        """Scores float32 (Q, N)."""
        keys_Q = self._keys(queries)
        return _uniform(keys_Q[:, None], np.arange(self._size, dtype=np.uint64)[None, :])

    def pair_scores(self, queries: Sequence[str], rows: IntArray) -> FloatArray:
        """Scores float32 (P,), the same numbers as in `scores`."""
        return _uniform(self._keys(queries), rows.astype(np.uint64))

    def _keys(self, queries: Sequence[str]) -> npt.NDArray[np.uint64]:
        seed = self._seed & 0xFFFFFFFF
        return np.array([xxhash.xxh64_intdigest(query.encode(), seed=seed) for query in queries], dtype=np.uint64)


def _uniform(keys: npt.NDArray[np.uint64], counters: npt.NDArray[np.uint64]) -> FloatArray:
    """SplitMix64 of the counters from each key, as float32 in [0, 1)."""
    with np.errstate(over="ignore"):
        state = keys + (counters + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return ((state >> np.uint64(40)).astype(np.float64) * math.ldexp(1, -24)).astype(np.float32)


LEXICAL_SCORERS: dict[str, Callable[[int], LexicalScorer]] = {
    "random": RandomScorer,
    "bm25-words": lambda seed: BM25Scorer(split_words),
    "bm25-trigrams": lambda seed: BM25Scorer(split_trigrams),
    "tfidf": lambda seed: TfidfScorer(),
}
"""Name -> function of a seed that makes the scorer."""


def lexical_scorer(name: str, seed: int = 0) -> LexicalScorer:
    """A scorer by its name in `LEXICAL_SCORERS`; the seed matters to `random` alone. Raises `SettingError`."""
    if name not in LEXICAL_SCORERS:
        raise SettingError(f"there is no lexical scorer '{name}'; choose one of {', '.join(LEXICAL_SCORERS)}")
    return LEXICAL_SCORERS[name](seed)


def _normalised(texts: Sequence[str | None]) -> list[str]:
    refuse_tables(texts, "texts")
    normal: list[str] = normalise(pa.array(texts, pa.string())).to_pylist()
    return normal


def _distinct(queries: Sequence[str]) -> tuple[list[str], IntArray]:
    refuse_tables(queries)
    places: dict[str, int] = {}
    place = np.fromiter((places.setdefault(query, len(places)) for query in queries), np.int64, count=len(queries))
    return list(places), place
