"""Rows of a recall study from a run: a table of (query, entity) rows with score columns, such as a ranker's output.

Shapes: Q queries, N entities, B queries of one block, R rows of the run.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.baselines import FloatArray, Row
from evaluation.recall import EvaluationPairs
from evaluation.runs import Run, refuse_nothing_shared
from omnifeat.errors import DataError

__all__ = ["RUN_ROW", "run_rows"]

RUN_ROW = "score column of the run; what the run does not hold stands behind what it holds"


def run_rows(run: Run, pairs: EvaluationPairs) -> list[Row]:
    """One row for each score column of a run, on the queries and entities of the pairs.

    Rows of the run with other queries or entities are not looked at. An entity that the run does not hold for a query,
    or that has no finite score, stands behind all that it holds.

    Parameters
    ----------
    run
        Scored pairs.
    pairs
        Their queries (Q) and entities (N) are scored.

    Raises
    ------
    DataError
        If the run has none of the pairs' queries or entities, or a query of the pairs is not in the run.
    """
    refuse_nothing_shared(run, pa.array(pairs.queries, pa.string()), pairs.entity_ids, "the evaluated pairs")
    queries = pc.index_in(run.queries, pa.array(pairs.queries, pa.large_string()))
    entities = pc.index_in(run.entity_ids, pc.cast(pairs.entity_ids, pa.large_string()))
    known = pc.and_(pc.is_valid(queries), pc.is_valid(entities))
    query_R = queries.filter(known).to_numpy().astype(np.int64)
    entity_R = entities.filter(known).to_numpy().astype(np.int64)
    order = np.argsort(query_R, kind="stable")
    query_R, entity_R = query_R[order], entity_R[order]
    offsets = np.searchsorted(query_R, np.arange(len(pairs.queries) + 1))
    absent = np.flatnonzero(np.diff(offsets) == 0)
    if len(absent):
        raise DataError(
            f"{run.name} holds no entity for {len(absent):,} of {len(pairs.queries):,} queries, such as "
            f"'{pairs.queries[absent[0]]}'; add them, or evaluate the split that the run was made for"
        )
    kept = np.flatnonzero(known.to_numpy(zero_copy_only=False))[order]

    def row(column: str) -> Row:
        places_R = _places(query_R, run.scores[column][kept])

        def score(first: int, last: int) -> FloatArray:
            scores_BN = np.zeros((last - first, len(pairs.entity_ids)), dtype=np.float32)
            rows = slice(offsets[first], offsets[last])
            scores_BN[query_R[rows] - first, entity_R[rows]] = places_R[rows]
            return scores_BN

        return Row(column, RUN_ROW, score, len(pairs.entity_ids))

    return [row(column) for column in run.scores]


def _places(query_R: npt.NDArray[np.int64], score_R: npt.NDArray[np.float64]) -> FloatArray:
    """Places of distinct scores within each query from 1, the best the highest; 0 for NaN. float32 (R,).

    A ranking is all that counts of scores; as float32 themselves, some that differ would be equal, or infinite.
    """
    order = np.lexsort((score_R, query_R))  # NaN last within its query
    query, score = query_R[order], score_R[order]
    starts = np.append(True, query[1:] != query[:-1])
    changes = np.append(True, score[1:] != score[:-1]) | starts
    distinct = np.cumsum(changes)
    first = np.maximum.accumulate(np.where(starts, distinct, 0))
    places = np.empty(len(order), np.float32)
    places[order] = np.where(np.isnan(score), 0, distinct - first + 1)
    return places
