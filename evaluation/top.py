"""The first k entities of each query by any row's scores, exactly: by (-score, id).

Shapes: Q queries, N entities, B queries of one block, K places.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evaluation.baselines import Row
from omnifeat.errors import DataError, SettingError
from omnifeat.ranks import id_order

__all__ = ["Retrieval", "retrieve"]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Retrieval:
    """What a system retrieves for each query, the best first.

    Attributes
    ----------
    rows : int64 (Q, K)
        Rows of the entities; -1 for a place that stays empty.
    scores : float32 (Q, K)
        Their scores; NaN for an empty place.
    """

    rows: IntArray
    scores: FloatArray


def retrieve(row: Row, query_count: int, entity_ids: pa.Array, k: int, *, only_positive: bool = False) -> Retrieval:
    """The first k entities of each query.

    Parameters
    ----------
    row
        Scores all entities, in the order of `entity_ids`.
    query_count
        Queries that the row knows.
    entity_ids
        Ids (N,), which order equal scores.
    k
        Places; those beyond N stay empty.
    only_positive
        Whether an entity with a score of zero or less is not retrieved: a token-based system does not find what shares
        no token with the query.

    Raises
    ------
    SettingError
        If `k` is less than one.
    DataError
        If a score is NaN or infinite.
    """
    if k < 1:
        raise SettingError(f"k must be 1 or more, got {k}")
    order_N = id_order(entity_ids)
    rows = np.full((query_count, k), -1, np.int64)
    scores = np.full((query_count, k), np.nan, np.float32)
    for start, scores_BN in row.blocks(query_count):
        if not np.isfinite(scores_BN).all():
            raise DataError(f"row '{row.name}' gives a score that is not a finite number; check its vectors")
        for place, of_query in enumerate(scores_BN, start):
            found = _first(of_query, order_N, k)
            if only_positive:
                found = found[of_query[found] > 0]
            rows[place, : len(found)] = found
            scores[place, : len(found)] = of_query[found]
    return Retrieval(rows, scores)


def _first(scores_N: FloatArray, order_N: IntArray, k: int) -> IntArray:
    candidates = np.arange(len(scores_N))
    if k < len(scores_N):
        # all that reach the k-th score, so that the ids decide among equals at the border
        candidates = np.flatnonzero(scores_N >= np.partition(scores_N, len(scores_N) - k)[len(scores_N) - k])
    best = np.lexsort((order_N[candidates], -scores_N[candidates]))[:k]
    return candidates[best]
