"""The same ranker with other embedding features: none, each encoder's, and those of one that was not trained here.

Every arm has the same rows, the same settings and the same features of text, counts and freshness; arms differ by the
cosine columns alone. They learn from the training part of the dataset's split and are measured on its test part. Whole
queries are drawn again for the intervals, all arms on the same draws (`evaluation.ratios`).

Shape suffixes: n rows, Q queries, A arms.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.bootstrap import Interval, check_bootstrap
from evaluation.pretrained_columns import PRETRAINED_COLUMNS, TextEncoder, pretrained_columns
from evaluation.query_strata import head_and_tail
from evaluation.ranking_stages import COMPARED_STAGES, ComparedStage, FitSettings
from evaluation.ratios import Ratios
from evaluation.seen_pairs import Knowledge, known_to_encoders
from omnifeat.data.dataset import Dataset
from omnifeat.data.splits import SPLITS, split_rows
from omnifeat.errors import DataError, SettingError
from omnifeat.frozen import FrozenEncoder
from omnifeat.pair_vectors import Progress, no_progress
from ranking.base import LightGBMModel
from ranking.feature_table import PART, PairRows
from ranking.features import choose_features
from ranking.rank_features import RankFeatures

__all__ = [
    "NO_EMBEDDINGS",
    "PRETRAINED",
    "TOLD_NEW",
    "CompareSettings",
    "GroupFigures",
    "RankingComparison",
    "StageComparison",
    "compare_rankers",
]

NO_EMBEDDINGS, PRETRAINED = "none", "pretrained"
TOLD_NEW = "what the encoders knew"
"""Groups of test rows whose pair, or even whose query, no encoder was trained on."""

BoolArray = npt.NDArray[np.bool_]
Quiet = Callable[[str], None]


@dataclass(frozen=True)
class CompareSettings:
    """What is compared and how.

    Attributes
    ----------
    stages
        Names of `COMPARED_STAGES`.
    train_parts
        Parts of the split that rankers learn from; None for what `parts_to_learn_from` says.
    reference
        The arm that others are compared with.
    largest_groups
        Countries that are shown at most, those with the most test rows.
    """

    stages: tuple[str, ...] = ("l2", "l1", "relevance", "ads-engagement", "ads-relevance")
    train_parts: tuple[str, ...] | None = None
    reference: str = NO_EMBEDDINGS
    fit: FitSettings = field(default_factory=FitSettings)
    resamples: int = 1000
    level: float = 0.95
    largest_groups: int = 5
    counts: bool = True
    window_days: int = 28
    memory_limit: str = "4GB"

    def check(self, arms: Sequence[str]) -> None:
        """Raise `SettingError` for a stage, part or arm that there is not."""
        for given, known, what in (
            (self.stages, COMPARED_STAGES, "stage"),
            (self.train_parts or SPLITS[:1], SPLITS[:2], "part to train on"),
            ((self.reference,), arms, "arm"),
        ):
            for name in given:
                if name not in known:
                    raise SettingError(f"There is no {what} '{name}'; choose from {', '.join(known)}.")
            if len(set(given)) < len(given) or not given:
                raise SettingError(f"Each {what} must be named once, and one at least.")
        check_bootstrap(self.resamples, self.level)


@dataclass(frozen=True)
class GroupFigures:
    """Figures over one group of the test rows.

    `figures` maps a figure to the interval of each arm, `differences` to each arm less every arm before it:
    `differences[figure][arm][earlier arm]`.
    """

    rows: int
    queries: int
    figures: dict[str, dict[str, Interval]]
    differences: dict[str, dict[str, dict[str, Interval]]]

    def difference(self, figure: str, arm: str, other: str) -> Interval | None:
        """`arm` less `other`, whichever of them comes first; None for an arm with itself."""
        if arm == other:
            return None
        if other in self.differences[figure][arm]:
            return self.differences[figure][arm][other]
        turned = self.differences[figure][other][arm]
        return Interval(-turned.value, -turned.high, -turned.low)


@dataclass(frozen=True)
class StageComparison:
    """One stage: what was learnt from, figures over all test rows and by group, and trees and features of each arm.

    `knowledge` says what any of the encoders was trained on of the test rows; None where none of them records it.
    """

    stage: str
    train_parts: tuple[str, ...]
    train_rows: int
    test_rows: int
    overall: GroupFigures
    groups: dict[str, dict[str, GroupFigures]]
    importances: dict[str, dict[str, float]]
    knowledge: Knowledge | None = None


@dataclass(frozen=True)
class RankingComparison:
    """The whole: arms with the columns that only they have, encoders' fingerprints, and the stages."""

    arms: dict[str, tuple[str, ...]]
    shared: tuple[str, ...]
    fingerprints: dict[str, str]
    stages: tuple[StageComparison, ...]
    skipped: dict[str, str]


def compare_rankers(
    dataset: Dataset,
    encoders: Mapping[str, FrozenEncoder],
    settings: CompareSettings,
    *,
    pretrained: TextEncoder | None = None,
    threads: int | None = None,
    progress: Progress = no_progress,
    on_step: Quiet = lambda text: None,
) -> RankingComparison:
    """Train and measure every arm at every stage.

    Stages whose table the dataset does not have, or that have no rows to learn from, are skipped and named.

    Raises
    ------
    SettingError
        A setting is not what it must be, or there is nothing to compare.
    DataError
        The dataset lacks a split or a table, or no stage is left.
    """
    arms = [NO_EMBEDDINGS, *([PRETRAINED] if pretrained is not None else []), *encoders]
    if len(arms) < 2:
        raise SettingError("There is nothing to compare: name an encoder with --encoder NAME=FOLDER.")
    for name in encoders:
        if name in (NO_EMBEDDINGS, PRETRAINED):
            raise SettingError(f"The name '{name}' is taken; give the encoder another.")
    settings.check(arms)
    if dataset.info.split is None:
        raise DataError(f"{dataset.path} records no split in dataset.json to train and test by; import it with one.")
    needed = list(dict.fromkeys(COMPARED_STAGES[name].table for name in settings.stages))
    tables = _tables(dataset, [name for name in needed if dataset.has(name)], encoders, settings, threads, progress)
    if pretrained is not None:
        on_step("encoding with the pretrained encoder")
        extra = pretrained_columns(dataset.path, list(tables.values()), pretrained)
        tables = {
            name: pa.table([*table.columns, *more.columns], names=[*table.column_names, *more.column_names])
            for (name, table), more in zip(tables.items(), extra, strict=True)
        }
    own = {
        arm: tuple(
            dict.fromkeys(
                name
                for table in tables.values()
                for name in table.column_names
                if (name in PRETRAINED_COLUMNS if arm == PRETRAINED else arm in encoders and name.startswith(f"{arm}_"))
            )
        )
        for arm in arms
    }
    strata = _strata(dataset)
    countries = _countries(dataset)
    stages, skipped = [], {}
    shared: dict[str, None] = {}
    taught: dict[str, LightGBMModel] = {}

    def teach(arm: str, columns: Sequence[str]) -> LightGBMModel:
        """The arm's L2, which is a stage of its own and teaches L1; trained once."""
        if arm not in taught:
            shown = _own_names(tables["impressions"], arm, own[arm])
            parts = settings.train_parts or parts_to_learn_from("impressions", shown)
            of_train = shown.filter(pc.is_in(shown[PART], pa.array(parts)))
            taught[arm] = COMPARED_STAGES["l2"].fit(of_train, columns, settings.fit, None)
        return taught[arm]

    for name in settings.stages:
        stage = COMPARED_STAGES[name]
        if stage.table not in tables:
            skipped[name] = f"the dataset has no {stage.table}"
            continue
        rows = tables[stage.table]
        parts = settings.train_parts or parts_to_learn_from(stage.table, rows)
        train = stage.prepare(rows.filter(pc.is_in(rows[PART], pa.array(parts))))
        test = stage.prepare(rows.filter(pc.equal(rows[PART], "test")))
        if not train.num_rows or not test.num_rows:
            skipped[name] = f"no rows of {stage.table} in {', '.join(parts)} or in test"
            continue
        features = _features(rows, own)
        pair = (test["query"], test["entity_type"], test["entity_id"])
        known = known_to_encoders({arm: one.record for arm, one in encoders.items()}, *pair)
        groups = _groups(test, strata, countries, known, settings)
        shared |= dict.fromkeys(features)
        compared = _compare_stage(name, stage, (train, test), features, own, settings, groups, teach, on_step)
        stages.append(replace(compared, train_parts=parts, knowledge=known))
    if not stages:
        reasons = "; ".join(f"{name}: {why}" for name, why in skipped.items())
        raise DataError(f"{dataset.path} has nothing to compare rankers on ({reasons}).")
    fingerprints = {name: one.fingerprint for name, one in encoders.items()}
    return RankingComparison(own, tuple(shared), fingerprints, tuple(stages), skipped)


def parts_to_learn_from(table: str, rows: pa.Table) -> tuple[str, ...]:
    """Parts of the split that a stage learns from where none is asked for.

    An encoder has read the queries that led to an entity in the training part, so that on impressions of that part its
    cosine knows what was clicked, and a ranker would trust it more than it may: rankers learn from the development
    part, whose impressions came after all that the encoder has read. Grades are no engagements: all are learnt from.
    """
    if table == "judgments":
        return SPLITS[:2]
    has_development = bool(pc.any(pc.equal(rows[PART], "development")).as_py())
    return ("development",) if has_development else ("train",)


def _tables(
    dataset: Dataset,
    names: Sequence[str],
    encoders: Mapping[str, FrozenEncoder],
    settings: CompareSettings,
    threads: int | None,
    progress: Progress,
) -> dict[str, pa.Table]:
    """The pairs of each table with all features; float32 columns, held in memory as training needs them."""
    rows = {name: PairRows(dataset, name) for name in names}
    if not rows:
        raise DataError(f"{dataset.path} has neither impressions nor judgments to compare rankers on.")
    wanted = pa.concat_tables([one.entities() for one in rows.values()])
    with RankFeatures.from_dataset(
        dataset,
        encoders=encoders,
        entities=wanted,
        counts=settings.counts,
        window_days=settings.window_days,
        memory_limit=settings.memory_limit,
        threads=threads,
        progress=progress,
    ) as features:
        found = {}
        for name, one in rows.items():
            parts = []
            for batch in one.batches():
                computed = features.compute(batch)
                parts.append(
                    pa.table([*batch.columns, *computed.columns], names=[*batch.column_names, *computed.column_names])
                )
            found[name] = pa.concat_tables(parts)
        return found


def _features(rows: pa.Table, own: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Columns that all arms share: features of text, counts and freshness, and the log's own `f_*`."""
    not_shared = {name for columns in own.values() for name in columns}
    reserved = ("grade", "position", "rater")
    computed = choose_features(rows, reserved=reserved)
    return [
        name
        for name in computed
        if name not in not_shared and (name.startswith("f_") or pa.types.is_float32(rows.schema.field(name).type))
    ]


def _compare_stage(
    name: str,
    stage: ComparedStage,
    rows: tuple[pa.Table, pa.Table],
    shared: Sequence[str],
    own: Mapping[str, tuple[str, ...]],
    settings: CompareSettings,
    groups: Mapping[str, Mapping[str, BoolArray]],
    teach: Callable[[str, Sequence[str]], LightGBMModel],
    on_step: Quiet,
) -> StageComparison:
    scores, importances = {}, {}
    for arm, more in own.items():
        train, test = (_own_names(some, arm, more) for some in rows)
        on_step(f"training {name} with {'no' if arm == NO_EMBEDDINGS else arm} embedding features")
        columns = [*shared, *(_bare(column, arm) for column in more)]
        if name == "l2":
            model = teach(arm, columns)
        else:
            model = stage.fit(train, columns, settings.fit, teach(arm, columns) if name == "l1" else None)
        scores[arm] = model.predict(test.select(model_columns(model)))
        importances[arm] = _importances(model)
    train, test = rows
    everything = np.ones(test.num_rows, dtype=np.bool_)
    by_group = {
        by: {group: _figures(stage, test, scores, members, settings) for group, members in some.items()}
        for by, some in groups.items()
    }
    overall = _figures(stage, test, scores, everything, settings)
    return StageComparison(name, (), train.num_rows, test.num_rows, overall, by_group, importances)


def _bare(column: str, arm: str) -> str:
    return column.removeprefix(f"{arm}_")


def _own_names(rows: pa.Table, arm: str, own: Sequence[str]) -> pa.Table:
    """The arm's columns without its name: trees break ties between features by name, and no arm must win by that."""
    return rows.rename_columns([_bare(name, arm) if name in own else name for name in rows.column_names])


def model_columns(model: LightGBMModel) -> list[str]:
    """The features that a model asks for."""
    return [str(name) for name in model.feature_names_in_]


def _importances(model: LightGBMModel) -> dict[str, float]:
    gains = np.asarray(model.feature_importances_, dtype=np.float64)
    return dict(zip(model_columns(model), gains.tolist(), strict=True))


def _figures(
    stage: ComparedStage,
    test: pa.Table,
    scores: Mapping[str, npt.NDArray[np.float64]],
    members: BoolArray,
    settings: CompareSettings,
) -> GroupFigures:
    """Figures of every arm over the rows that are members, with all differences on the same draws."""
    some = test.filter(pa.array(members))
    encoded = pc.dictionary_encode(some["query"].combine_chunks())
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    queries = len(encoded.dictionary)
    totals = {arm: stage.measure(some, of_arm[members], codes, queries, settings.fit) for arm, of_arm in scores.items()}
    arms = list(totals)
    figures, differences = {}, {}
    for figure in totals[arms[0]]:
        sums = np.column_stack([totals[arm][figure][0] for arm in arms])
        counts = np.column_stack([totals[arm][figure][1] for arm in arms])
        ratios = Ratios.make(sums, counts, resamples=settings.resamples, level=settings.level, seed=settings.fit.seed)
        figures[figure] = dict(zip(arms, ratios.intervals(), strict=True))
        differences[figure] = {
            arm: {other: ratios.less(column).intervals()[place] for column, other in enumerate(arms[:place])}
            for place, arm in enumerate(arms)
        }
    return GroupFigures(some.num_rows, queries, figures, differences)


def _groups(
    test: pa.Table,
    strata: Mapping[str, str],
    countries: Mapping[str, str],
    known: Knowledge | None,
    settings: CompareSettings,
) -> dict[str, dict[str, BoolArray]]:
    """Groups of test rows: what is new to the encoders, frequency and country of the query, with a title or not."""
    queries = test["query"].to_pylist()
    found: dict[str, dict[str, BoolArray]] = {} if known is None else {TOLD_NEW: known.new}
    if strata:
        of_row = np.array([strata.get(query, "tail") for query in queries])
        found["frequency"] = {name: of_row == name for name in ("head", "between", "tail")}
    if countries:
        of_row = np.array([countries.get(query, "") for query in queries])
        common = Counter(of_row[of_row != ""].tolist()).most_common(settings.largest_groups)
        found["country"] = {name: of_row == name for name, _ in common}
    if "title_words" in test.column_names:
        titled = pc.fill_null(pc.greater(test["title_words"], 0), False).to_numpy()
        found["title"] = {"with a title": titled, "without a title": ~titled}
    return {by: {name: rows for name, rows in some.items() if rows.any()} for by, some in found.items()}


def _strata(dataset: Dataset) -> dict[str, str]:
    """Query -> `head`, `between` or `tail` by its rows in the training part of the log; unseen queries are absent."""
    table, split = dataset.log_table(), dataset.info.split
    if not dataset.has(table) or split is None:
        return {}
    counts: Counter[str] = Counter()
    for batch in dataset.batches(table, list(dict.fromkeys(["query", split.column]))):
        rows = split_rows(pa.Table.from_batches([batch]), split, "train")
        for item in pc.value_counts(rows["query"].combine_chunks()).to_pylist():
            counts[item["values"]] += item["counts"]
    if not counts:
        return {}
    named = {query: name for name, queries in head_and_tail(counts).items() for query in queries}
    return {query: named.get(query, "between") for query in counts}


def _countries(dataset: Dataset) -> dict[str, str]:
    if not dataset.has_column("queries", "country"):
        return {}
    rows = dataset.read("queries", ["query", "country"])
    return {
        query: country
        for query, country in zip(rows["query"].to_pylist(), rows["country"].to_pylist(), strict=True)
        if country
    }
