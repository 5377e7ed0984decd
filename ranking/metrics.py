"""Figures of rankings by query: gains of any size, ties by expectation, and what L1 keeps of L2.

Small ensembles give many equal scores. Every figure here is the expectation over a random order of rows with equal
scores, so that the order in which a table happens to stand says nothing. Rows may stand in any order.

Without ties, `ndcg` and `mrr` are those of ir-measures (see the tests), which takes whole grades and no ties.
"""

from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt

from omnifeat.errors import DataError, SettingError
from ranking.groups import encode_queries

__all__ = ["QueryRanks", "kept_of_top"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class QueryRanks:
    """The rankings of many queries, made once for several figures.

    Parameters
    ----------
    scores : (n,)
        Higher is better; NaN stands last.
    query_ids : (n,)
        The query of each row, in any order.

    Attributes
    ----------
    queries : (Q,)
        Distinct queries, sorted; figures are float64 (Q,) in this order, NaN for a query that they say nothing of.
    """

    def __init__(self, scores: Any, query_ids: Any) -> None:
        found = np.asarray(scores, dtype=np.float64)
        self.codes, self.queries = encode_queries(query_ids, len(found))
        found = np.where(np.isnan(found), -np.inf, found)
        self._order = np.lexsort((-found, self.codes))
        codes, ordered = self.codes[self._order], found[self._order]
        new_query = np.r_[True, codes[1:] != codes[:-1]]
        new_tie = new_query | np.r_[True, ordered[1:] != ordered[:-1]]
        self._place = np.arange(len(codes)) - np.flatnonzero(new_query)[np.cumsum(new_query) - 1]
        self._tie = np.cumsum(new_tie) - 1
        self._tie_size = np.bincount(self._tie)
        self._tie_start = self._place[new_tie]
        self._tie_query = codes[new_tie]

    def sums(self, values: FloatArray, weights_by_place: FloatArray) -> FloatArray:
        """Per query, the expected sum of value x weight of the place; places past the weights weigh nothing."""
        weights = np.zeros(len(self._place))
        within = self._place < len(weights_by_place)
        weights[within] = weights_by_place[self._place[within]]
        mean_weight = np.bincount(self._tie, weights=weights) / self._tie_size
        per_row = mean_weight[self._tie] * values[self._order]
        sums = np.bincount(self.codes[self._order], weights=per_row, minlength=len(self.queries))
        return sums.astype(np.float64)

    def ndcg(self, gains: Any, k: int = 10) -> FloatArray:
        """NDCG@k with these gains, float64 (Q,); NaN for a query without a gain above zero."""
        gains = self._checked(gains)
        discounts = 1 / np.log2(np.arange(2, _depth(k) + 2))
        ideal = QueryRanks(gains, self.codes).sums(gains, discounts)
        return _ratio(self.sums(gains, discounts), ideal)

    def mrr(self, relevant: Any) -> FloatArray:
        """Reciprocal rank of the first relevant row, float64 (Q,); NaN for a query without one."""
        hits = np.bincount(self._tie, weights=np.asarray(relevant, dtype=bool)[self._order]).astype(np.int64)
        found = np.full(len(self.queries), np.nan)
        some = np.flatnonzero(hits)
        queries, first = np.unique(self._tie_query[some], return_index=True)
        for query, tie in zip(queries, some[first], strict=True):
            found[query] = _expected_reciprocal(int(self._tie_start[tie]), int(self._tie_size[tie]), int(hits[tie]))
        return found

    def recall(self, relevant: Any, k: int = 10) -> FloatArray:
        """Share of a query's relevant rows among its first k, float64 (Q,); NaN for a query without one."""
        wanted = np.asarray(relevant, dtype=np.float64)
        return _ratio(self.sums(wanted, np.ones(_depth(k))), self._per_query(wanted))

    def precision(self, relevant: Any, k: int = 10) -> FloatArray:
        """Share of relevant rows among a query's first k, or among all of a shorter one, float64 (Q,)."""
        wanted = np.asarray(relevant, dtype=np.float64)
        return self.sums(wanted, np.ones(_depth(k))) / np.minimum(k, self.sizes())

    def top(self, k: int) -> FloatArray:
        """Probability of each row to stand among its query's first k, float64 (n,), in the order of the rows."""
        within = (self._place < _depth(k)).astype(np.float64)
        probability = np.empty(len(self._place))
        probability[self._order] = (np.bincount(self._tie, weights=within) / self._tie_size)[self._tie]
        return probability

    def sizes(self) -> IntArray:
        """Rows of each query, int64 (Q,)."""
        return np.bincount(self.codes, minlength=len(self.queries)).astype(np.int64)

    def _per_query(self, values: FloatArray) -> FloatArray:
        return np.bincount(self.codes, weights=values, minlength=len(self.queries)).astype(np.float64)

    def _checked(self, gains: Any) -> FloatArray:
        found = np.asarray(gains, dtype=np.float64)
        if found.shape != self.codes.shape or not (np.isfinite(found) & (found >= 0)).all():
            raise DataError(f"There must be a gain from 0 for each of the {len(self.codes)} rows.")
        return found


def kept_of_top(reference: Any, scores: Any, query_ids: Any, *, top: int = 10, within: int = 100) -> FloatArray:
    """Recall of the reference's first `top` among the first `within` by `scores`, float64 (Q,) (queries sorted).

    For L1: the share of what L2 would put on top that L1 lets through. A query of at most `within` rows has 1.

    Raises
    ------
    SettingError
        `top` is below 1 or above `within`.
    """
    if not 1 <= top <= within:
        raise SettingError(f"The top {top} cannot be kept within the first {within}; give 1 <= top <= within.")
    first, second = QueryRanks(reference, query_ids), QueryRanks(scores, query_ids)
    wanted = first.top(top)
    kept = np.bincount(first.codes, weights=wanted * second.top(within), minlength=len(first.queries))
    return kept / np.minimum(top, first.sizes())


def _expected_reciprocal(start: int, size: int, hits: int) -> float:
    """E[1 / rank] of the first of `hits` among `size` rows in random order, behind `start` other rows."""
    ways = comb(size, hits)
    return sum(comb(size - place - 1, hits - 1) / ways / (start + place + 1) for place in range(size - hits + 1))


def _ratio(over: FloatArray, under: FloatArray) -> FloatArray:
    return np.divide(over, under, out=np.full(len(over), np.nan), where=under > 0)


def _depth(k: int) -> int:
    if k < 1:
        raise SettingError(f"A cut-off must be 1 or more; got {k}.")
    return k
