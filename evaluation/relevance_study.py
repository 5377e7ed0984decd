"""A relevance study: score columns of one run against a dataset's judgments, with intervals over queries.

Shapes: Q queries, S score columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa

from evaluation.bootstrap import Interval, cluster_intervals, paired_differences
from evaluation.judged import JudgedFigures, judged_figures, judgments_of_type
from omnifeat.data.dataset import Dataset
from omnifeat.errors import DataError, SettingError

__all__ = ["RelevanceSettings", "RelevanceStudy", "relevance_study", "score_columns"]

_NOT_SCORES = {"query", "entity_id", "entity_type", "grade", "position", "fold"}


@dataclass(frozen=True, kw_only=True)
class RelevanceSettings:
    """What a relevance study measures.

    Attributes
    ----------
    columns
        Score columns of the run; null for all numeric ones.
    reference
        The column that the others are compared with; null for the first.
    measures
        Names that ir-measures knows; the first is the main one.
    gain
        `linear` or `exponential` (see `evaluation.judged.as_qrels`).
    entity_type
        Only judgments of this type; null for all.
    by
        Column of the judgments whose values make groups; null for none.
    judged_only
        Whether rows of the run that were not judged are left out, instead of counting as irrelevant.
    resamples, level, seed
        Of the bootstrap over queries.
    """

    columns: tuple[str, ...] | None = None
    reference: str | None = None
    measures: tuple[str, ...] = ("nDCG@10",)
    gain: str = "linear"
    entity_type: str | None = None
    by: str | None = None
    judged_only: bool = False
    resamples: int = 1000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.measures:
            raise SettingError("there is no measure; name at least one, such as nDCG@10")


@dataclass(frozen=True)
class RelevanceStudy:
    """Figures of each score column.

    Attributes
    ----------
    figures
        Score column -> its measures per query.
    intervals
        Score column -> measure -> mean over the queries with a positive judgment, with its interval.
    differences
        Score column -> the main measure less the reference's, on the same resamples; null for the reference.
    groups
        Value of the `by` column -> (number of queries, score column -> main measure).
    reference
        The column compared with.
    """

    figures: dict[str, JudgedFigures]
    intervals: dict[str, dict[str, Interval]]
    differences: dict[str, Interval | None]
    groups: dict[str, tuple[int, dict[str, Interval]]]
    reference: str


def score_columns(run: pa.Table, asked: Sequence[str] | None) -> list[str]:
    """The score columns that are asked for, or all numeric ones.

    Raises
    ------
    DataError
        If query or entity_id or a column that is asked for is not there, or no column is numeric.
    """
    there = run.column_names
    for column in ("query", "entity_id", *(asked or ())):
        if column not in there:
            raise DataError(f"the run has no column '{column}'; its columns are {', '.join(there)}")
    if asked is not None:
        return list(asked)
    found = [
        field.name
        for field in run.schema
        if field.name not in _NOT_SCORES and (pa.types.is_floating(field.type) or pa.types.is_integer(field.type))
    ]
    if not found:
        raise DataError(f"the run has no numeric score column; its columns are {', '.join(there)}")
    return found


def relevance_study(dataset: Dataset, run: pa.Table, settings: RelevanceSettings) -> RelevanceStudy:
    """Measure each score column of the run against the dataset's judgments.

    Parameters
    ----------
    dataset
        Holds `judgments`.
    run
        Columns query, entity_id and scores; one row per pair.
    settings
        What is measured.

    Raises
    ------
    DataError
        If the judgments or the run are not as they must be, or share no query.
    SettingError
        If the reference, a measure or the gain is unknown.
    """
    columns = score_columns(run, settings.columns)
    reference = settings.reference or columns[0]
    if reference not in columns:
        raise SettingError(f"the reference '{reference}' is not among the score columns {', '.join(columns)}")
    grouped = [] if settings.by is None else [settings.by]
    judgments = judgments_of_type(dataset, ["query", "entity_id", "grade", *grouped], settings.entity_type)
    rows: pd.DataFrame = run.select(["query", "entity_id", *columns]).to_pandas()
    if settings.judged_only:
        keys = pd.MultiIndex.from_frame(judgments[["query", "entity_id"]])
        rows = rows[pd.MultiIndex.from_frame(rows[["query", "entity_id"]]).isin(keys)]
    if not rows["query"].isin(judgments["query"]).any():
        raise DataError(
            "no query of the run has a judgment in the dataset; check that both hold the queries in the same writing"
        )
    figures, intervals, differences = _measure(judgments, rows, columns, reference, settings)
    groups: dict[str, tuple[int, dict[str, Interval]]] = {}
    if settings.by is not None:
        for value, members in judgments.groupby(settings.by, sort=True):
            part, means, _ = _measure(members, rows, columns, reference, settings)
            groups[str(value)] = (
                len(part[reference].queries),
                {column: means[column][settings.measures[0]] for column in columns},
            )
    return RelevanceStudy(figures, intervals, differences, groups, reference)


def _measure(
    judgments: pd.DataFrame, rows: pd.DataFrame, columns: list[str], reference: str, settings: RelevanceSettings
) -> tuple[dict[str, JudgedFigures], dict[str, dict[str, Interval]], dict[str, Interval | None]]:
    figures = {
        column: judged_figures(judgments, rows, column, settings.measures, gain=settings.gain) for column in columns
    }
    counts = np.ones(len(figures[columns[0]].queries))
    intervals: dict[str, dict[str, Interval]] = {column: {} for column in columns}
    differences: dict[str, Interval | None] = {}
    mean = partial(cluster_intervals, resamples=settings.resamples, level=settings.level, seed=settings.seed)
    less = partial(paired_differences, resamples=settings.resamples, level=settings.level, seed=settings.seed)
    for place, measure in enumerate(settings.measures):
        values_QS = np.column_stack([figures[column].values[:, place] for column in columns])
        for column, interval in zip(columns, mean(values_QS, counts), strict=True):
            intervals[column][measure] = interval
        if place == 0:
            found = less(values_QS, counts, columns.index(reference))
            differences = dict(zip(columns, found, strict=True)) | {reference: None}
    return figures, intervals, differences
