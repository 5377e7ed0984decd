"""Exact ranks of positives, by counting.

A positive's rank among N candidates is one more than the number of candidates that stand before it. A candidate
stands before it if its score is higher, or equal with a smaller id (so that results do not depend on the order of
rows or on block sizes). The positive never counts against itself, and neither do the candidates that the caller
excludes for that query, such as its other positives.

Shapes: Q queries, N candidates, D dimensions, P pairs, B queries of one block.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Excluded", "id_order", "ranks_by_exclusion", "ranks_from_blocks", "ranks_of_positives", "score_blocks"]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

_BLOCK_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True)
class Excluded:
    """Candidates that do not count for a query, as compressed rows.

    Attributes
    ----------
    offsets : int64 (Q + 1,)
        Where each query's candidates start in `candidates`.
    candidates : int64 (E,)
        Rows of the corpus.
    """

    offsets: IntArray
    candidates: IntArray

    @classmethod
    def from_pairs(cls, queries_P: IntArray, candidates_P: IntArray, query_count: int) -> "Excluded":
        """Every candidate that stands in a pair with the query; a pair may repeat."""
        pairs = np.unique(np.stack([queries_P, candidates_P], axis=1), axis=0) if len(queries_P) else np.empty((0, 2))
        queries, candidates = pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64)
        offsets = np.zeros(query_count + 1, dtype=np.int64)
        np.cumsum(np.bincount(queries, minlength=query_count), out=offsets[1:])
        return cls(offsets, np.ascontiguousarray(candidates))

    @classmethod
    def none(cls, query_count: int) -> "Excluded":
        """Nothing is excluded."""
        return cls(np.zeros(query_count + 1, dtype=np.int64), np.empty(0, dtype=np.int64))

    @property
    def queries(self) -> IntArray:
        """Query of each of `candidates`, int64 (E,)."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def union(self, other: "Excluded") -> "Excluded":
        """What stands in either, each candidate once."""
        queries, candidates = (
            np.concatenate([mine, others])
            for mine, others in ((self.queries, other.queries), (self.candidates, other.candidates))
        )
        return Excluded.from_pairs(queries, candidates, len(self.offsets) - 1)

    def without(self, other: "Excluded") -> "Excluded":
        """What does not stand in the other as well."""
        width = 1 + max((int(one.candidates.max()) for one in (self, other) if len(one.candidates)), default=0)
        kept = ~np.isin(self.queries * width + self.candidates, other.queries * width + other.candidates)
        return Excluded.from_pairs(self.queries[kept], self.candidates[kept], len(self.offsets) - 1)


def id_order(ids: pa.Array | pa.ChunkedArray) -> IntArray:
    """Place of each id (N,) in the sorted order of ids, by which ties are broken; int64 (N,)."""
    order = np.empty(len(ids), dtype=np.int64)
    order[pc.array_sort_indices(ids if isinstance(ids, pa.Array) else ids.combine_chunks()).to_numpy()] = np.arange(
        len(ids)
    )
    return order


def score_blocks(
    queries_QD: FloatArray, corpus_ND: FloatArray, block_bytes: int = _BLOCK_BYTES
) -> Iterator[tuple[int, FloatArray]]:
    """Dot products of all queries with the whole corpus, in blocks of queries: (first query, scores float32 (B, N))."""
    size = max(1, block_bytes // max(1, 4 * len(corpus_ND)))
    for start in range(0, len(queries_QD), size):
        yield start, queries_QD[start : start + size] @ corpus_ND.T


def ranks_from_blocks(
    blocks: Iterator[tuple[int, FloatArray]],
    id_order_N: IntArray,
    pair_queries_P: IntArray,
    pair_positives_P: IntArray,
    excluded: Excluded,
    on_block: Callable[[int], None] | None = None,
) -> IntArray:
    """Ranks of the positives of P pairs from blocks of scores.

    Parameters
    ----------
    blocks
        (first query, scores float32 (B, N)), covering every query that has a pair.
    id_order_N : int64 (N,)
        Decides ties; the smaller comes first. See `id_order`.
    pair_queries_P, pair_positives_P : int64 (P,)
        Row of the pair's query, and of its positive in the corpus.
    excluded
        Candidates that do not count, per query; the pair's own positive may stand among them.
    on_block
        Called with the number of queries of each block that is done.

    Returns
    -------
    int64 (P,)
        From 1, the best.
    """
    one = ranks_by_exclusion(blocks, id_order_N, pair_queries_P, pair_positives_P, [excluded], on_block)
    return one[0]


def ranks_by_exclusion(
    blocks: Iterable[tuple[int, FloatArray]],
    id_order_N: IntArray,
    pair_queries_P: IntArray,
    pair_positives_P: IntArray,
    exclusions: Sequence[Excluded],
    on_block: Callable[[int], None] | None = None,
) -> IntArray:
    """As `ranks_from_blocks`, for each of V sets of candidates that do not count: int64 (V, P), in one pass.

    A query is scored, and its candidates are counted, once, whatever is taken off the count afterwards.
    """
    order_of_pairs = np.argsort(pair_queries_P, kind="stable")
    sorted_queries = pair_queries_P[order_of_pairs]
    ranks_VP = np.zeros((len(exclusions), len(pair_queries_P)), dtype=np.int64)
    for start, scores_BN in blocks:
        first, last = np.searchsorted(sorted_queries, [start, start + len(scores_BN)])
        rows = order_of_pairs[first:last]
        scores = np.ascontiguousarray(scores_BN, dtype=np.float32)
        pairs = (scores, start, id_order_N, pair_queries_P[rows], pair_positives_P[rows])
        before = _count(*pairs)
        for ranks_P, excluded in zip(ranks_VP, exclusions, strict=True):
            ranks_P[rows] = 1 + before - _uncount(*pairs, excluded.offsets, excluded.candidates)
        if on_block is not None:
            on_block(len(scores_BN))
    return ranks_VP


def ranks_of_positives(
    queries_QD: FloatArray,
    corpus_ND: FloatArray,
    id_order_N: IntArray,
    pair_queries_P: IntArray,
    pair_positives_P: IntArray,
    excluded: Excluded | None = None,
) -> IntArray:
    """Ranks int64 (P,), from 1, of the positives by dot product; memory is one block of scores, not Q x N.

    Scores come from one matrix product a block, the positive's own included, so that it is compared with numbers of
    the same rounding. Between block sizes the last digits of a score may differ (about 1e-7 for unit vectors).
    """
    none = Excluded.none(len(queries_QD)) if excluded is None else excluded
    return ranks_from_blocks(score_blocks(queries_QD, corpus_ND), id_order_N, pair_queries_P, pair_positives_P, none)


@numba.njit(parallel=True, nogil=True, cache=True)
def _count(scores_BN, start, id_order_N, queries, positives):  # type: ignore[no-untyped-def]
    """How many candidates stand before each positive."""
    counts = np.empty(len(queries), dtype=np.int64)
    for pair in numba.prange(len(queries)):
        scores = scores_BN[queries[pair] - start]
        positive = positives[pair]
        score, place = scores[positive], id_order_N[positive]
        before = 0
        for candidate in range(len(scores)):
            other = scores[candidate]
            if other > score or (other == score and id_order_N[candidate] < place):
                before += 1
        counts[pair] = before
    return counts


@numba.njit(parallel=True, nogil=True, cache=True)
def _uncount(scores_BN, start, id_order_N, queries, positives, offsets, candidates):  # type: ignore[no-untyped-def]
    """How many of the candidates that do not count stand before each positive."""
    counts = np.empty(len(queries), dtype=np.int64)
    for pair in numba.prange(len(queries)):
        scores = scores_BN[queries[pair] - start]
        positive = positives[pair]
        score, place = scores[positive], id_order_N[positive]
        before = 0
        for index in range(offsets[queries[pair]], offsets[queries[pair] + 1]):
            candidate = candidates[index]
            other = scores[candidate]
            if candidate != positive and (other > score or (other == score and id_order_N[candidate] < place)):
                before += 1
        counts[pair] = before
    return counts
