"""A relevance study: score columns of one run against a dataset's judgments, with intervals over queries.

Shapes: Q queries, S score columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from evaluation.bootstrap import Interval
from evaluation.judged import JudgedFigures, judgments_of_type
from evaluation.judged_means import MeansSettings, NewMeans, judged_means, new_means
from evaluation.seen_pairs import Knowledge, known_by_columns, known_to_encoders
from omnifeat.data.dataset import Dataset
from omnifeat.errors import DataError, SettingError
from omnifeat.models.training_record import PAIR_KNOWN, UNKNOWN, TrainingRecord

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

    @property
    def means(self) -> MeansSettings:
        """What the means are of."""
        return MeansSettings(
            measures=self.measures, gain=self.gain, resamples=self.resamples, level=self.level, seed=self.seed
        )


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
    knowledge
        What the encoder was trained on of the judged pairs; null where nobody can tell.
    new
        `new pairs` and `new queries` -> the main measure over what was new to the encoder.
    """

    figures: dict[str, JudgedFigures]
    intervals: dict[str, dict[str, Interval]]
    differences: dict[str, Interval | None]
    groups: dict[str, tuple[int, dict[str, Interval]]]
    reference: str
    knowledge: Knowledge | None = None
    new: dict[str, NewMeans] = field(default_factory=dict)


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


def relevance_study(
    dataset: Dataset, run: pa.Table, settings: RelevanceSettings, record: TrainingRecord | None = None
) -> RelevanceStudy:
    """Measure each score column of the run against the dataset's judgments.

    Parameters
    ----------
    dataset
        Holds `judgments`.
    run
        Columns query, entity_id and scores; one row per pair.
    settings
        What is measured.
    record
        What the encoder behind the scores was trained on; null for what the run's own columns `trained_on` say.

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
    typed = [] if record is None else ["entity_type"]
    judgments = judgments_of_type(dataset, ["query", "entity_id", "grade", *grouped, *typed], settings.entity_type)
    rows: pd.DataFrame = run.select(["query", "entity_id", *columns]).to_pandas()
    kept = np.ones(len(rows), np.bool_)
    if settings.judged_only:
        keys = pd.MultiIndex.from_frame(judgments[["query", "entity_id"]])
        kept = pd.MultiIndex.from_frame(rows[["query", "entity_id"]]).isin(keys)
        rows = rows[kept]
    if not rows["query"].isin(judgments["query"]).any():
        raise DataError(
            "no query of the run has a judgment in the dataset; check that both hold the queries in the same writing"
        )
    means = judged_means(judgments, rows, columns, reference, settings.means)
    groups: dict[str, tuple[int, dict[str, Interval]]] = {}
    if settings.by is not None:
        for value, members in judgments.groupby(settings.by, sort=True):
            part = judged_means(members, rows, columns, reference, settings.means)
            groups[str(value)] = (
                len(part.figures[reference].queries),
                {column: part.intervals[column][settings.measures[0]] for column in columns},
            )
    known, in_run = _known(judgments, run, kept, record)
    new = {}
    if known is not None and in_run is not None:
        new = new_means(judgments, known, rows, in_run, columns, reference, settings.means)
    return RelevanceStudy(means.figures, means.intervals, means.differences, groups, reference, known, new)


def _known(
    judgments: pd.DataFrame, run: pa.Table, kept: npt.NDArray[np.bool_], record: TrainingRecord | None
) -> tuple[Knowledge | None, Knowledge | None]:
    """What the encoder was trained on of the judged pairs, and of the rows of the run that are kept.

    A run's columns tell nothing of a judged pair that the run does not hold: it is new where its query is, and else
    taken to be known, so that no pair is called new that may not be.
    """
    if record is not None:
        told = {"its training record": record}
        columns = (pa.array(judgments[name], pa.string()) for name in ("query", "entity_type", "entity_id"))
        types = run["entity_type"] if "entity_type" in run.column_names else None
        in_run = known_to_encoders(told, run["query"], types, run["entity_id"])
        return known_to_encoders(told, *columns), None if in_run is None else in_run.of(kept)
    in_run = known_by_columns(run)
    if in_run is None:
        return None, None
    codes = pd.Series(
        in_run.codes, index=pd.MultiIndex.from_arrays([run["query"].to_pylist(), run["entity_id"].to_pylist()])
    )
    of_query = codes.groupby(level=0).max()
    pairs = codes[~codes.index.duplicated()].reindex(pd.MultiIndex.from_frame(judgments[["query", "entity_id"]]))
    unsaid = np.where(judgments["query"].map(of_query) == UNKNOWN, UNKNOWN, PAIR_KNOWN)
    of_judgments = np.where(pairs.isna(), unsaid, pairs.fillna(0)).astype(np.uint8)
    return Knowledge(of_judgments, in_run.told_by), in_run.of(kept)
