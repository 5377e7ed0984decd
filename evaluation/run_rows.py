"""Rows of a recall study from a run: a table of (query, entity) rows with score columns, such as a ranker's output.

Shapes: Q queries, N entities, B queries of one block, R rows of the run.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.baselines import FloatArray, Row
from evaluation.recall import EvaluationPairs
from omnifeat.errors import DataError

__all__ = ["RUN_ROW", "run_rows"]

RUN_ROW = "score column of the run; what the run does not hold stands behind what it holds"


def run_rows(run: pa.Table, columns: Sequence[str], pairs: EvaluationPairs) -> list[Row]:
    """One row for each score column of a run, on the queries and entities of the pairs.

    Rows of the run with other queries or entities are not looked at. An entity that the run does not hold for a query,
    or whose score is null, stands behind all that it holds.

    Parameters
    ----------
    run
        `query`, `entity_id` and the score columns.
    columns
        Numeric columns of the run.
    pairs
        Their queries (Q) and entities (N) are scored.

    Raises
    ------
    DataError
        If a column is not there or not numeric, a pair stands twice, or a query of the pairs is not in the run.
    """
    for column in ("query", "entity_id", *columns):
        if column not in run.column_names:
            raise DataError(f"the run has no column '{column}'; its columns are {', '.join(run.column_names)}")
    queries = pc.index_in(run["query"], pa.array(pairs.queries, pa.string()))
    entities = pc.index_in(run["entity_id"], pairs.entity_ids)
    known = pc.and_(pc.is_valid(queries), pc.is_valid(entities))
    query_R = queries.filter(known).to_numpy().astype(np.int64)
    entity_R = entities.filter(known).to_numpy().astype(np.int64)
    order = np.lexsort((entity_R, query_R))
    query_R, entity_R = query_R[order], entity_R[order]
    double = np.flatnonzero((np.diff(query_R) == 0) & (np.diff(entity_R) == 0))
    if len(double):
        query, entity = pairs.queries[query_R[double[0]]], pairs.entity_ids[int(entity_R[double[0]])]
        raise DataError(f"the run holds query '{query}' with entity '{entity}' more than once; keep one row for a pair")
    offsets = np.searchsorted(query_R, np.arange(len(pairs.queries) + 1))
    absent = np.flatnonzero(np.diff(offsets) == 0)
    if len(absent):
        raise DataError(
            f"the run holds no entity for {len(absent):,} of {len(pairs.queries):,} queries, such as "
            f"'{pairs.queries[absent[0]]}'; add them, or evaluate the split that the run was made for"
        )

    def row(column: str) -> Row:
        try:
            values = run[column].filter(known).cast(pa.float32()).to_numpy()[order]
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(f"column '{column}' of the run is not numeric; name score columns only") from error
        lowest = float(np.nanmin(values, initial=0.0)) - 1.0
        values = np.where(np.isnan(values), np.float32(lowest), values)

        def score(first: int, last: int) -> FloatArray:
            scores_BN = np.full((last - first, len(pairs.entity_ids)), lowest, dtype=np.float32)
            rows = slice(offsets[first], offsets[last])
            scores_BN[query_R[rows] - first, entity_R[rows]] = values[rows]
            return scores_BN

        return Row(column, RUN_ROW, score, len(pairs.entity_ids))

    return [row(column) for column in columns]
