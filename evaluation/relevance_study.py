"""A relevance study: score columns of one run against a dataset's judgments, with intervals over queries.

Shapes: Q queries, S score columns.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.bootstrap import Interval
from evaluation.judged import JudgedFigures, judgments_of_type
from evaluation.judged_means import MeansSettings, NewMeans, judged_means, new_means
from evaluation.runs import Run, checked_run, refuse_nothing_shared
from evaluation.seen_pairs import Knowledge, known_by_columns, known_to_encoders, what_columns_tell, what_is_known
from omnifeat.data.dataset import Dataset
from omnifeat.data.meeting import case_and_space
from omnifeat.errors import DataError, SettingError
from omnifeat.models.training_record import PAIR_KNOWN, UNKNOWN, TrainingRecord

__all__ = ["RelevanceSettings", "RelevanceStudy", "relevance_study"]

_FEW = 0.5  # of the judged pairs: a run that holds less of them is told
_SHOWN = 100_000  # distinct queries looked at to find those that differ in writing alone


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
    notes
        Sentences on what was left out, turned round, or is written otherwise than in the judgments.
    knowledge
        What the encoder was trained on of the judged pairs; null where nobody can tell.
    new
        `new pairs` and `new queries` -> the main measure over what was new to the encoder.
    known
        What is known of that in words, or why nothing is.
    judged_pairs, judged_pairs_in_run
        Distinct judged pairs, and how many of them the run holds.
    """

    figures: dict[str, JudgedFigures]
    intervals: dict[str, dict[str, Interval]]
    differences: dict[str, Interval | None]
    groups: dict[str, tuple[int, dict[str, Interval]]]
    reference: str
    notes: tuple[str, ...] = ()
    knowledge: Knowledge | None = None
    new: dict[str, NewMeans] = field(default_factory=dict)
    known: str = ""
    judged_pairs: int = 0
    judged_pairs_in_run: int = 0


def relevance_study(
    dataset: Dataset,
    run: pa.Table,
    settings: RelevanceSettings,
    record: TrainingRecord | None = None,
    name: str = "the run",
    encoder: str | None = None,
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
    name
        What messages call the run.
    encoder
        The encoder behind the scores, as messages call it; null where none is named.

    Raises
    ------
    DataError
        If the judgments or the run are not as they must be, or share no query or no entity, or no grade is above 0.
    SettingError
        If the reference, a measure or the gain is unknown.
    """
    checked = checked_run(run, settings.columns, name, settings.entity_type)
    columns = list(checked.scores)
    reference = settings.reference or columns[0]
    if reference not in columns:
        raise SettingError(f"the reference '{reference}' is not among the score columns {', '.join(columns)}")
    grouped = [] if settings.by is None else [settings.by]
    typed = [] if record is None else ["entity_type"]
    judgments = judgments_of_type(dataset, ["query", "entity_id", "grade", *grouped, *typed], settings.entity_type)
    _refuse_two_types(dataset, judgments, settings)
    place = str(dataset.place("judgments"))
    if not (judgments["grade"] > 0).any():
        raise DataError(f"{place} has no grade above 0, so there is nothing to find; check the grades")
    judged = [pa.array(judgments[column].unique(), pa.large_string()) for column in ("query", "entity_id")]
    refuse_nothing_shared(checked, judged[0], judged[1], place)
    rows = pd.DataFrame({"query": checked.queries, "entity_id": checked.entity_ids, **checked.scores})
    keys = pd.MultiIndex.from_frame(judgments[["query", "entity_id"]])
    is_judged = pd.MultiIndex.from_frame(rows[["query", "entity_id"]]).isin(keys)
    notes = [*checked.notes, *_other_writings(checked, judged[0], place)]
    covered, of_judged = int(is_judged.sum()), len(keys.unique())
    if not covered:
        notes.append(f"no row of {name} is a judged pair, so that all figures are 0; check that both belong together")
    elif covered < _FEW * of_judged:
        notes.append(
            f"{name} holds {covered:,} of the {of_judged:,} judged pairs ({covered / of_judged:.1%}); the others count "
            "as not found: check that both are of the same queries and catalogue"
        )
    kept = is_judged if settings.judged_only else np.ones(len(rows), np.bool_)
    rows = rows[kept]
    means = judged_means(judgments, rows, columns, reference, settings.means)
    groups: dict[str, tuple[int, dict[str, Interval]]] = {}
    if settings.by is not None:
        for value, members in judgments.groupby(settings.by, sort=True):
            part = judged_means(members, rows, columns, reference, settings.means)
            groups[str(value)] = (
                len(part.figures[reference].queries),
                {column: part.intervals[column][settings.measures[0]] for column in columns},
            )
    known, in_run = _known(judgments, run.take(pa.array(checked.rows)), checked, kept, record)
    new = {}
    if known is not None and in_run is not None:
        new = new_means(judgments, known, rows, in_run, columns, reference, settings.means)
    return RelevanceStudy(
        means.figures,
        means.intervals,
        means.differences,
        groups,
        reference,
        tuple(notes),
        known,
        new,
        judged_pairs=of_judged,
        judged_pairs_in_run=covered,
        known=what_columns_tell(known, run.schema.metadata) if encoder is None else what_is_known(known, encoder),
    )


def _refuse_two_types(dataset: Dataset, judgments: pd.DataFrame, settings: RelevanceSettings) -> None:
    """Refuse judgments of one id as an entity of two types, which a run's ids cannot tell apart."""
    if settings.entity_type is not None or not dataset.has_column("judgments", "entity_type"):
        return
    kinds = dataset.read("judgments", ["entity_type"])["entity_type"].to_pandas().to_numpy()
    pairs = judgments[["query", "entity_id"]].assign(kind=kinds)
    several = pairs.groupby(["query", "entity_id"])["kind"].nunique() > 1
    if several.any():
        query, entity_id = several.index[int(several.to_numpy().argmax())]
        raise DataError(
            f"{dataset.place('judgments')} judges the id '{entity_id}' as entities of several types for the query "
            f"'{query}'; name one with --entity-type"
        )


def _other_writings(run: Run, judged: pa.Array, place: str) -> list[str]:
    """How many judged queries the run has in another letter case or spacing alone."""
    absent = judged.filter(pc.invert(pc.is_in(judged, run.queries)))
    strange = pc.unique(run.queries.filter(pc.invert(pc.is_in(run.queries, judged)))).slice(0, _SHOWN).to_pylist()
    forms = {case_and_space(query): query for query in reversed(strange)}
    found = [(query, forms[form]) for query in absent.to_pylist() if (form := case_and_space(query)) in forms]
    if not found:
        return []
    return [
        f"{len(found):,} judged queries stand in {run.name} in another letter case or spacing alone and count as "
        f"absent, such as {found[0][1]!r} for {found[0][0]!r} in {place}; write them alike"
    ]


def _known(
    judgments: pd.DataFrame,
    table: pa.Table,
    run: Run,
    kept: npt.NDArray[np.bool_],
    record: TrainingRecord | None,
) -> tuple[Knowledge | None, Knowledge | None]:
    """What the encoder was trained on of the judged pairs, and of the rows of the run (R,) that are kept.

    `table` has the run's other columns, in its rows.

    A run's columns tell nothing of a judged pair that the run does not hold: it is new where its query is, and else
    taken to be known, so that no pair is called new that may not be.
    """
    if record is not None:
        told = {"its training record": record}
        columns = (pa.array(judgments[name], pa.string()) for name in ("query", "entity_type", "entity_id"))
        types = table["entity_type"] if "entity_type" in table.column_names else None
        in_run = known_to_encoders(told, run.queries, types, run.entity_ids)
        return known_to_encoders(told, *columns), None if in_run is None else in_run.of(kept)
    in_run = known_by_columns(table, run.scores)
    if in_run is None:
        return None, None
    codes = pd.Series(
        in_run.codes, index=pd.MultiIndex.from_arrays([run.queries.to_pylist(), run.entity_ids.to_pylist()])
    )
    of_query = codes.groupby(level=0).max()
    pairs = codes[~codes.index.duplicated()].reindex(pd.MultiIndex.from_frame(judgments[["query", "entity_id"]]))
    unsaid = np.where(judgments["query"].map(of_query) == UNKNOWN, UNKNOWN, PAIR_KNOWN)
    of_judgments = np.where(pairs.isna(), unsaid, pairs.fillna(0)).astype(np.uint8)
    return Knowledge(of_judgments, in_run.told_by), in_run.of(kept)
