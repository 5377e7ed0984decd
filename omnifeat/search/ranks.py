"""Exact ranks of positives in a corpus that streams by, in the memory of one block.

A positive's rank is one more than the number of candidates that stand before it: with a higher score, or an equal one
and the smaller id. The score is `exact_scores`, one float32 number for a query and a candidate whatever else is
computed, so that the result depends on no block size, thread, processor or product. For nearly all candidates a quick
product with a proved bound (`omnifeat.search.bounds`) tells where they stand; those within the bound are decided
by the exact score. Equal scores are always within it, so that a tie is always seen, and the positive, which has the
score of itself, never counts.

Shape suffixes: Q queries, K known entities, D dimensions, P pairs, N candidates of a block, E entries.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.cores import thread_count
from omnifeat.errors import DataError, SettingError
from omnifeat.keys import KeyIndex
from omnifeat.ranks import Excluded
from omnifeat.search.bounds import MAX_LENGTH, CoarseQueries, error_bounds, extents
from omnifeat.search.exact import exact_scores
from omnifeat.search.products import Product, make_product

__all__ = ["CorpusBlock", "PositiveRanks", "RankedPairs", "positive_ranks"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_FIRST_ROWS = 1_024


@dataclass(frozen=True)
class CorpusBlock:
    """Some candidates: `ids` text (N,), each once in the whole corpus and none null, and `vectors` float32 (N, D)."""

    ids: pa.Array
    vectors: Float32


@dataclass(frozen=True)
class RankedPairs:
    """What is ranked.

    Attributes
    ----------
    queries : float32 (Q, D)
    known_ids : text (K,), each once
        The positives, and whatever else is excluded for a query.
    known : float32 (K, D)
        Their vectors, the same as in the corpus where they stand there.
    pair_queries, pair_positives : int64 (P,)
        Rows of `queries` and of `known`.
    excluded
        Rows of `known` that do not count, per query; the pair's own positive may be among them.
    competing
        Rows of `known` that stand in `excluded` as well, and that do count for `PositiveRanks.with_competing`: so two
        figures come from one reading of the corpus.
    """

    queries: Float32
    known_ids: pa.Array
    known: Float32
    pair_queries: Int64
    pair_positives: Int64
    excluded: Excluded | None = None
    competing: Excluded | None = None


@dataclass(frozen=True)
class PositiveRanks:
    """Ranks and what they took.

    Attributes
    ----------
    ranks : int64 (P,)
        From 1, the best. With `most`, a rank beyond it is given as `most` + 1.
    most
        The largest rank that is told apart; null for all.
    candidates
        Rows of the corpus.
    compared
        Quick products of a query and a candidate; with `most` fewer than queries times candidates.
    borderline
        Of pairs with candidates, how many were decided again by the exact score.
    product
        The quick product.
    with_competing
        Ranks where what `RankedPairs.competing` names does count; the same as `ranks` where it names nothing.
    """

    ranks: Int64
    most: int | None
    candidates: int
    compared: int
    borderline: int
    product: str
    with_competing: Int64


def positive_ranks(
    pairs: RankedPairs,
    corpus: Iterable[CorpusBlock],
    *,
    most: int | None = None,
    product: str = "auto",
    device: str = "cpu",
    threads: int | None = None,
    block_rows: int = 16_384,
    on_block: Callable[[int], None] | None = None,
) -> PositiveRanks:
    """Exact rank of each pair's positive among the candidates that `corpus` gives.

    Memory beyond the input: one block of the corpus, the queries in the product's numbers, and a table of scores for
    each thread; nothing grows with the corpus. A query whose pairs all have `most` candidates before them is left out
    of the rest, which saves most of the time where the hits at `most` are few.

    Parameters
    ----------
    pairs
        What is ranked.
    corpus
        Blocks of candidates of any size; read once, in order. A positive may stand in it or not.
    most
        The largest rank that matters, as for Recall@k the largest k; null for all ranks.
    product
        `int16`, `bfloat16`, `float32`, or `auto` for the quickest here. It changes the time, never the ranks.
    device
        Of torch, as `cuda`, for the products that torch does.
    threads
        Threads of the products and counts; null for the cores that this process may use.
    block_rows
        Candidates held at a time.
    on_block
        Called with the number of candidates of each block that is done.

    Raises
    ------
    DataError
        If vectors do not fit, hold NaN or infinity, or are longer than 1e18; or an id of the corpus is null.
    SettingError
        If a setting is not what it must be.
    """
    for what, number in (("most", most), ("block_rows", block_rows)):
        if number is not None and number < 1:
            raise SettingError(f"{what} must be 1 or more, got {number}")
    with ThreadPoolExecutor(thread_count(threads)) as pool:
        quick = make_product(product, pairs.queries.shape[1], pool, device)
        return _Counting(pairs, most, quick).over(corpus, block_rows, on_block)


class _Counting:
    """Counts of what stands before each positive, while the corpus goes by; pairs are held sorted by query."""

    def __init__(self, pairs: RankedPairs, most: int | None, product: Product) -> None:
        self._queries, self._known = _checked(pairs.queries, "query"), _checked(pairs.known, "known entity")
        if self._queries.shape[1] != self._known.shape[1] or len(pairs.known_ids) != len(self._known):
            raise DataError(
                f"{len(pairs.known_ids)} ids, their vectors {self._known.shape} and the queries' vectors "
                f"{self._queries.shape} do not fit; give one vector for each id, as wide as the queries"
            )
        self._product, self._most = product, most
        self._order = np.argsort(pairs.pair_queries, kind="stable")
        self._query_P = pairs.pair_queries[self._order]
        self._positive_P = pairs.pair_positives[self._order]
        self._ids = _text(pairs.known_ids)
        self._index = KeyIndex()
        if len(np.unique(self._index.intern(self._ids))) != len(self._ids):
            raise DataError("an id of the known entities is null or stands twice; give each once")
        self._score_P = exact_scores(self._queries, self._query_P, self._known, self._positive_P)
        self._before_P = np.zeros(len(self._query_P), np.int64)
        self._left_out_entity, self._left_out_pair = self._left_out(pairs.excluded)
        self._competing_entity, self._competing_pair = self._left_out(pairs.competing)
        self._present_K = np.zeros(len(self._ids), np.bool_)  # known entities that stood in the corpus so far
        self._coarse: CoarseQueries = product.queries(self._queries)
        self._candidates = self._compared = self._borderline = 0

    def over(
        self, corpus: Iterable[CorpusBlock], block_rows: int, on_block: Callable[[int], None] | None
    ) -> PositiveRanks:
        for block in _slices(corpus, block_rows):
            self._add(block)
            if on_block is not None:
                on_block(len(block.vectors))
        with_competing_P = self._before_P.copy()
        # a pair that was left early has `most` before it already, so that what stood later is of no account
        there = self._present_K[self._competing_entity]
        np.add.at(with_competing_P, self._competing_pair[there], 1)
        return PositiveRanks(
            self._ranks(self._before_P), self._most, self._candidates, self._compared, self._borderline,
            self._product.name, self._ranks(with_competing_P),
        )  # fmt: skip

    def _ranks(self, before_P: Int64) -> Int64:
        """Ranks in the order of the pairs as they were given."""
        ranks = np.empty(len(before_P), np.int64)
        ranks[self._order] = 1 + (before_P if self._most is None else np.minimum(before_P, self._most))
        return ranks

    def _add(self, block: CorpusBlock) -> None:
        ids = _text(block.ids)
        lengths_N, peaks_N = extents(block.vectors) if _fits(block, self._queries.shape[1], len(ids)) else _empty()
        _check_lengths(lengths_N, lambda row: f"the candidate {ids[row].as_py()!r}")
        if ids.null_count:
            row = self._candidates + 1 + ids.is_null().index(True).as_py()
            raise DataError(f"row {row} of the corpus has a null id; give every entity an id")
        self._candidates += len(ids)
        open_P = np.arange(len(self._query_P))
        if self._most is not None:
            open_P = np.flatnonzero(self._before_P < self._most)
        if not len(open_P) or not len(ids):
            return
        rows_A, first = np.unique(self._query_P[open_P], return_index=True)
        offsets_A1 = np.append(first, len(open_P))
        self._compared += len(rows_A) * len(ids)
        candidates = self._product.block(block.vectors, lengths_N, peaks_N)
        bounds_P = error_bounds(self._coarse, candidates, self._product.rounding)[self._query_P[open_P]]
        scores_P = self._score_P[open_P].astype(np.float64)
        near: list[int] = []

        def decide(pairs: Int64, rows: Int64) -> None:
            some = open_P[pairs]
            before = self._stand_before(some, rows, block.vectors, ids)
            np.add.at(self._before_P, some[before], 1)
            near.append(len(rows))

        # the counts of certain ones come at the end of the scan, those of `decide` in between: both add up
        certain_P = self._product.scan(
            self._coarse, rows_A, candidates, offsets_A1, scores_P + bounds_P, scores_P - bounds_P, decide
        )
        self._before_P[open_P] += certain_P
        self._borderline += sum(near)
        self._take_out(ids, open_P)

    def _stand_before(self, pairs: Int64, rows: Int64, vectors_ND: Float32, ids: pa.LargeStringArray) -> Bool:
        """Whether candidates stand before the positives of pairs, bool (E,), by the exact score and the id."""
        scores_E = exact_scores(self._queries, self._query_P[pairs], vectors_ND, rows)
        before_E: Bool = scores_E > self._score_P[pairs]
        tied = np.flatnonzero(scores_E == self._score_P[pairs])
        if len(tied):
            own = self._ids.take(pa.array(self._positive_P[pairs[tied]]))
            before_E[tied] = pc.less(ids.take(pa.array(rows[tied])), own).to_numpy(zero_copy_only=False)
        return before_E

    def _left_out(self, excluded: Excluded | None) -> tuple[Int64, Int64]:
        """Known entities that would stand before a pair's positive but do not count, sorted, and those pairs (E,)."""
        if excluded is None:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        counts_P = np.diff(excluded.offsets)[self._query_P]
        pairs_E = np.repeat(np.arange(len(self._query_P)), counts_P)
        within = np.arange(len(pairs_E)) - np.repeat(np.cumsum(counts_P) - counts_P, counts_P)
        entities_E = excluded.candidates[excluded.offsets[self._query_P[pairs_E]] + within]
        other = entities_E != self._positive_P[pairs_E]
        pairs_E, entities_E = pairs_E[other], entities_E[other]
        before_E = self._stand_before(pairs_E, entities_E, self._known, self._ids)
        pairs_E, entities_E = pairs_E[before_E], entities_E[before_E]
        order = np.argsort(entities_E, kind="stable")
        return entities_E[order], pairs_E[order]

    def _take_out(self, ids: pa.LargeStringArray, open_P: Int64) -> None:
        """Uncount what does not count and stands in this block, for the pairs that it was counted for."""
        if not len(self._left_out_pair) and not len(self._competing_pair):
            return
        rows = self._index.find(ids)
        present, counted = np.zeros(len(self._ids), np.bool_), np.zeros(len(self._query_P), np.bool_)
        present[rows[rows >= 0]] = True
        self._present_K |= present
        counted[open_P] = True
        taken = present[self._left_out_entity] & counted[self._left_out_pair]
        np.subtract.at(self._before_P, self._left_out_pair[taken], 1)


def _slices(corpus: Iterable[CorpusBlock], block_rows: int) -> Iterator[CorpusBlock]:
    """The corpus in blocks of at most `block_rows`; the first are small, so that hopeless pairs are soon left out."""
    size = min(_FIRST_ROWS, block_rows)
    for block in corpus:
        vectors, start = np.ascontiguousarray(block.vectors, dtype=np.float32), 0
        while start < len(vectors):
            yield CorpusBlock(block.ids.slice(start, size), vectors[start : start + size])
            start += size
            size = min(2 * size, block_rows)


def _text(ids: pa.Array) -> pa.LargeStringArray:
    whole = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    return whole.cast(pa.large_string())


def _fits(block: CorpusBlock, width: int, count: int) -> bool:
    if block.vectors.shape != (count, width):
        raise DataError(
            f"a block of the corpus has {count} ids and vectors {block.vectors.shape}; give one vector of width "
            f"{width} for each id"
        )
    return count > 0


def _empty() -> tuple[Float64, Float32]:
    return np.empty(0, np.float64), np.empty(0, np.float32)


def _checked(vectors: Float32, what: str) -> Float32:
    """The vectors as contiguous float32, refused if one is not finite or too long."""
    values = np.ascontiguousarray(vectors, dtype=np.float32)
    _check_lengths(extents(values)[0], lambda row: f"{what} {row}")
    return values


def _check_lengths(lengths_N: Float64, name: Callable[[int], str]) -> None:
    wrong = np.flatnonzero(~(lengths_N <= MAX_LENGTH))
    if len(wrong):
        row = int(wrong[0])
        found = "is longer than 1e18" if np.isfinite(lengths_N[row]) else "holds NaN or infinity"
        raise DataError(f"the vector of {name(row)} {found}, so there is no rank; embed again")
