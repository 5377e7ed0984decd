"""How good predicted relevance is: as an order (NDCG, weighted relevance of the top), as a grade, and as a number."""

from typing import Any

import numpy as np
import numpy.typing as npt

from omnifeat.errors import DataError
from ranking.groups import check_grades, encode_queries
from ranking.metrics import QueryRanks

__all__ = ["accuracy", "spearman", "spearman_within", "top_weights", "weighted_top_relevance"]

FloatArray = npt.NDArray[np.float64]


def top_weights(k: int = 8) -> FloatArray:
    """Weight of each place, float64 (k,): w_i = 1 / log2(i + 1), as DCG discounts them."""
    found: FloatArray = 1 / np.log2(np.arange(2, k + 2))
    return found


def weighted_top_relevance(scores: Any, grades: Any, query_ids: Any, k: int = 8) -> FloatArray:
    """Weighted average grade of each query's first k rows by score, float64 (Q,), queries sorted.

    Section 5.2 calls relevance "the weighted average relevance of the top eight pins for each query" and does not
    give the weights. Here

        sum over i = 1..m of w_i grade_i / sum over i = 1..m of w_i,    w_i = 1 / log2(i + 1),    m = min(k, rows)

    with grade_i that of the i-th row by score. It is in units of the grade. A query with fewer rows is averaged over
    those. Among equal scores every order is as likely, and the figure is the expectation.
    """
    values = check_grades(grades, len(np.asarray(scores)), "grade").astype(np.float64)
    ranks = QueryRanks(scores, query_ids)
    weights = top_weights(k)
    whole = np.concatenate([[0.0], np.cumsum(weights)])
    found: FloatArray = ranks.sums(values, weights) / whole[np.minimum(ranks.sizes(), k)]
    return found


def accuracy(predicted: Any, grades: Any) -> float:
    """Share of rows whose predicted grade, rounded to the nearest whole number (half up), is the grade."""
    values = np.asarray(predicted, dtype=np.float64)
    return float((np.floor(values + 0.5) == check_grades(grades, len(values), "grade")).mean())


def spearman(predicted: Any, grades: Any) -> float:
    """Spearman's rank correlation over all rows, ties with the mean of their ranks; NaN if either never changes."""
    from scipy.stats import rankdata

    first, second = np.asarray(predicted, dtype=np.float64), np.asarray(grades, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape or len(first) == 0:
        raise DataError("There must be one prediction and one grade a row, and a row at least.")
    return _correlation(rankdata(first), rankdata(second))


def spearman_within(predicted: Any, grades: Any, query_ids: Any) -> FloatArray:
    """Spearman's rank correlation of each query's rows, float64 (Q,), queries sorted; NaN where it says nothing."""
    first, second = np.asarray(predicted, dtype=np.float64), np.asarray(grades, dtype=np.float64)
    codes, queries = encode_queries(query_ids, len(first))
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(queries)))
    rows = np.split(order, ends[:-1])
    return np.array([spearman(first[some], second[some]) for some in rows])


def _correlation(first: FloatArray, second: FloatArray) -> float:
    first, second = first - first.mean(), second - second.mean()
    under = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / under if under > 0 else float("nan")
