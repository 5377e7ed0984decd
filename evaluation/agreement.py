"""How far the raters of judgments agree: Krippendorff's alpha, through NLTK, and the share of equal judgments.

    alpha = 1 - observed disagreement / disagreement expected by chance

It is 1 where all raters of a pair always agree, about 0 where they judge at random, and takes any number of raters a
pair, who need not be the same from pair to pair. A disagreement weighs by the distance of the two grades:

    ordinal    the square of how many judgments lie between the two, half of the two grades' own counted (the default)
    interval   the square of the grades' difference
    nominal    1 for any two grades

Pairs that one rater judged say nothing about agreement; they are left out and counted.

Shapes: U judged pairs (units) of two raters or more, V distinct grades, Q queries, R resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.bootstrap import Interval, check_bootstrap, resampled_totals
from omnifeat.errors import DataError, SettingError

__all__ = ["METRICS", "Agreement", "rater_agreement"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

METRICS = ("ordinal", "interval", "nominal")
_UNIT = ["query", "entity_type", "entity_id"]
_MOST_GRADES = 64  # distinct ones up to which each query's coincidences are held, from which intervals come


@dataclass(frozen=True)
class Agreement:
    """Agreement of raters, with intervals over queries.

    Attributes
    ----------
    alpha
        Krippendorff's alpha; NaN where all judgments are of one grade, as then nothing says what chance would do.
    same_grade
        Of all two judgments of one pair, the share that give the same grade (each pair weighs as its judgments do).
    same_side
        Of all two judgments of one pair, the share that are both relevant or both not.
    pairs, judgments, raters, queries
        What was compared.
    of_one_rater
        Pairs that are left out because one rater judged them.
    without_rater
        Judgments that are left out because they name no rater.
    """

    alpha: Interval
    same_grade: Interval
    same_side: Interval
    pairs: int
    judgments: int
    raters: int
    queries: int
    of_one_rater: int
    without_rater: int


def rater_agreement(
    judgments: pd.DataFrame,
    relevant_grade: float,
    *,
    metric: str = "ordinal",
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Agreement:
    """Agreement of the raters of judged pairs.

    Parameters
    ----------
    judgments
        Columns query, entity_id, grade, rater, and entity_type where ids of several types stand together. The order of
        rows and the names of raters do not matter.
    relevant_grade
        Grades from here on are relevant.
    metric
        One of `METRICS`.
    resamples, level, seed
        Of the bootstrap over whole queries. There are no intervals of one query, or of more than 64 distinct grades.

    Raises
    ------
    DataError
        If a grade is null or not finite, a rater judged a pair twice, or no pair was judged by two raters.
    SettingError
        If the metric is unknown, or `resamples` or `level` is wrong.
    """
    if metric not in METRICS:
        raise SettingError(f"there is no metric of agreement '{metric}'; choose one of {', '.join(METRICS)}")
    check_bootstrap(resamples, level)
    unit_columns = [column for column in _UNIT if column in judgments.columns]
    _check_grades(judgments)
    rows = judgments[judgments["rater"].notna()]
    double = rows.duplicated([*unit_columns, "rater"])
    if double.any():
        row = rows.loc[double].iloc[0]
        raise DataError(
            f"rater '{row['rater']}' judged query '{row['query']}' with entity '{row['entity_id']}' more than once; "
            "keep one judgment of a rater for each pair"
        )
    size = rows.groupby(unit_columns)["grade"].transform("size")
    compared = rows[size >= 2]
    if compared.empty:
        raise DataError(
            f"none of the {len(judgments[unit_columns].drop_duplicates()):,} judged pairs was judged by two raters, so "
            "there is no agreement to measure; import judgments with one row for each rater"
        )
    unit_U = compared.groupby(unit_columns, sort=True).ngroup().to_numpy()
    grades_V, grade = np.unique(compared["grade"].to_numpy(np.float64), return_inverse=True)
    counts_UV = np.zeros((int(unit_U.max()) + 1, len(grades_V)))
    np.add.at(counts_UV, (unit_U, grade), 1)
    query_U = np.zeros(len(counts_UV), np.int64)
    query_U[unit_U] = pd.factorize(compared["query"], sort=True)[0]
    places_V = _places(counts_UV.sum(axis=0), grades_V, metric)
    value = _library_alpha(compared["rater"].tolist(), unit_U.tolist(), grade.tolist(), places_V, metric)
    figures = _figures(counts_UV, query_U, grades_V, grades_V >= relevant_grade, metric, resamples, seed)
    tail = (1 - level) / 2
    intervals = []
    for whole, drawn in zip((value, *figures[0][1:]), figures[1:].T, strict=True):
        known = drawn[~np.isnan(drawn)]
        low, high = np.quantile(known, [tail, 1 - tail]) if len(known) else (np.nan, np.nan)
        intervals.append(Interval(float(whole), float(low), float(high)))
    units = len(rows[unit_columns].drop_duplicates())
    alpha, same_grade, same_side = intervals
    return Agreement(
        alpha=alpha,
        same_grade=same_grade,
        same_side=same_side,
        pairs=len(counts_UV),
        judgments=len(compared),
        raters=int(compared["rater"].nunique()),
        queries=int(query_U.max()) + 1,
        of_one_rater=units - len(counts_UV),
        without_rater=len(judgments) - len(rows),
    )


def _check_grades(judgments: pd.DataFrame) -> None:
    grades = pd.to_numeric(judgments["grade"], errors="coerce").to_numpy(dtype=np.float64)
    invalid = ~np.isfinite(grades)
    if invalid.any():
        row = int(invalid.argmax())
        raise DataError(
            f"row {row + 1} of the judgments has grade {judgments['grade'].iloc[row]} for query "
            f"'{judgments['query'].iloc[row]}'; grades must be finite numbers"
        )


def _places(frequency_V: FloatArray, grades_V: FloatArray, metric: str) -> FloatArray:
    """Where each grade stands on a line, on which the distance of two grades is the square of their difference."""
    if metric == "ordinal":
        return np.cumsum(frequency_V, axis=-1) - frequency_V / 2
    return np.broadcast_to(grades_V, frequency_V.shape)


def _library_alpha(
    raters: Sequence[str], units: Sequence[int], grades: Sequence[int], places_V: FloatArray, metric: str
) -> float:
    from nltk.metrics.agreement import AnnotationTask

    if len(places_V) == 1:
        return float("nan")
    places: list[float] = places_V.tolist()
    if metric == "nominal":
        task = AnnotationTask(list(zip(raters, units, grades, strict=True)))
    else:
        task = AnnotationTask(
            list(zip(raters, units, grades, strict=True)),
            distance=lambda one, other: (places[one] - places[other]) ** 2,
        )
    return float(task.alpha())


def _figures(
    counts_UV: FloatArray,
    query_U: IntArray,
    grades_V: FloatArray,
    relevant_V: npt.NDArray[np.bool_],
    metric: str,
    resamples: int,
    seed: int,
) -> FloatArray:
    """Alpha, share of the same grade, share of the same side (1 + R, 3): of the data, then of each resample.

    All follow from the coincidences (Krippendorff 2011): each pair of judgments of one unit counts 1 / (raters - 1).
    """
    width = len(grades_V)
    if width > _MOST_GRADES or query_U.max() == 0:
        resamples = 0
    weight_U = 1 / (counts_UV.sum(axis=1) - 1)
    queries = int(query_U.max()) + 1
    by_query = np.zeros((queries, width * width))
    block = max(1, 4_000_000 // (width * width))
    for start in range(0, len(counts_UV), block):
        part = counts_UV[start : start + block]
        products = part[:, :, None] * part[:, None, :] - part[:, :, None] * np.eye(width)
        products *= weight_U[start : start + block, None, None]
        np.add.at(by_query, query_U[start : start + block], products.reshape(len(part), -1))
    totals = [by_query.sum(axis=0, keepdims=True)]
    if resamples:
        totals.append(resampled_totals(by_query, resamples, seed))
    observed = np.concatenate(totals).reshape(-1, width, width)
    frequency = observed.sum(axis=2)
    total = frequency.sum(axis=1)
    expected = frequency[:, :, None] * frequency[:, None, :] - frequency[:, :, None] * np.eye(width)
    expected /= (total - 1)[:, None, None]
    if metric == "nominal":
        distance = np.broadcast_to(1 - np.eye(width), observed.shape)
    else:
        places = _places(frequency, grades_V, metric)
        distance = (places[:, :, None] - places[:, None, :]) ** 2
    by_chance = (expected * distance).sum(axis=(1, 2))
    ratio = np.full(len(observed), np.nan)
    np.divide((observed * distance).sum(axis=(1, 2)), by_chance, out=ratio, where=by_chance > 0)
    same = np.trace(observed, axis1=1, axis2=2) / total
    alike = (relevant_V[:, None] == relevant_V[None, :]).astype(np.float64)
    return np.column_stack([1 - ratio, same, (observed * alike).sum(axis=(1, 2)) / total])
