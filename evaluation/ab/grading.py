"""Grades of what the arms show, by the raters of the world's panel; a pair is judged once for all arms.

Shapes: Q queries, B sessions, P places.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evaluation.judges import PanelJudge
from omnifeat.data.schema import ENTITY_TYPES
from ranking.stack import Catalogue

__all__ = ["first_of_type", "grade_lists", "mean_grades"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def first_of_type(rows_QL: IntArray, catalogue: Catalogue, entity_type: str, number: int) -> IntArray:
    """Rows int64 (Q, number) of the first entities of a type in each list; -1 where there are no more."""
    of_type = (rows_QL >= 0) & (catalogue.kinds[rows_QL] == ENTITY_TYPES.index(entity_type))
    order = np.argsort(~of_type, axis=1, kind="stable")[:, :number]
    kept = np.take_along_axis(of_type, order, axis=1)
    found = np.full((len(rows_QL), number), -1, np.int64)
    found[:, : order.shape[1]] = np.where(kept, np.take_along_axis(rows_QL, order, axis=1), -1)
    return found


def grade_lists(
    lists: Mapping[str, IntArray], queries: list[str], catalogue: Catalogue, entity_type: str, judge: PanelJudge
) -> dict[str, FloatArray]:
    """Arm -> grades float64 (Q, P), 0 to 1, the mean of a pair's raters; NaN at an empty place.

    `lists` holds rows of the catalogue, (Q, P) for each arm, all of the given type.
    """
    size = len(catalogue)
    keys = {name: np.where(rows >= 0, np.arange(len(rows))[:, None] * size + rows, -1) for name, rows in lists.items()}
    distinct = np.unique(np.concatenate([one.ravel() for one in keys.values()]))
    distinct = distinct[distinct >= 0]
    grades = np.zeros(0)
    if len(distinct):
        asked = pa.array(queries, pa.string()).take(pa.array(distinct // size)).to_pylist()
        ids = catalogue.ids.take(pa.array(distinct % size)).to_pylist()
        given = judge.judge(asked, ids, entity_type)["grade"].to_numpy()
        grades = given.reshape(len(distinct), -1).mean(axis=1) / judge.highest_grade
    found = {}
    for name, one in keys.items():
        place = np.searchsorted(distinct, np.maximum(one, 0))
        found[name] = np.where(one >= 0, np.append(grades, np.nan)[np.minimum(place, len(grades))], np.nan)
    return found


def mean_grades(grades_QP: FloatArray) -> FloatArray:
    """Mean over the places that hold something, float64 (Q,); NaN where none does."""
    known = ~np.isnan(grades_QP)
    counts = known.sum(axis=1)
    return np.divide(np.nansum(grades_QP, axis=1), counts, out=np.full(len(counts), np.nan), where=counts > 0)
