"""A recall study: the trained encoder and its baselines on one dataset's pairs, with intervals and by groups.

Shapes: Q queries, N entities, P pairs, S rows (systems) of the study.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.bootstrap import Interval, cluster_intervals, paired_differences
from evaluation.catalogue import CORPORA, pairs_in_corpus, scored_entities
from evaluation.groups import pair_groups
from evaluation.judged_pairs import group_mean_figures, judged_positives, positives_of_split
from evaluation.recall import EvaluationPairs, check_ks, per_query_sums, ranks_from_score_blocks
from evaluation.run_rows import run_rows
from evaluation.runs import Run
from evaluation.seen_pairs import Knowledge, known_to_encoders
from evaluation.streamed import ranks_from_tables
from evaluation.study_rows import ROWS, StudyRows
from omnifeat.corpus_tables import CorpusTables
from omnifeat.data.dataset import Dataset
from omnifeat.data.schema import ENTITY_TABLES
from omnifeat.data.splits import SPLITS, split_rows
from omnifeat.errors import DataError, SettingError
from omnifeat.frozen import FrozenEncoder
from omnifeat.known_queries import KnownQueries
from omnifeat.pretrained import PretrainedEncoder

__all__ = ["GroupResult", "RecallSettings", "RecallStudy", "RowResult", "recall_studies"]

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

POSITIVES = ("engagements", "judgments")
REFERENCE = "learned"  # highlighted, and what the other rows are compared with unless other references are named


@dataclass(frozen=True, kw_only=True)
class RecallSettings:
    """What a study measures.

    Attributes
    ----------
    split
        Part of the recorded split whose pairs are evaluated, or `all`.
    positives
        `engagements`, or `judgments`: the relevant judged pairs (see `evaluation.judged_pairs`), by country where it is
        known. Judgments have no time, so that a split by time does not part them.
    relevant_grade
        Grades of judgments from here on are relevant; null for more than half of the highest.
    rows
        Names in `ROWS`; null for all that the input allows.
    entity_types
        `pin`, `product`, `query`; null for all that have pairs. Each has a corpus, and a study, of its own.
    actions
        Engagements that count; null for all.
    by
        Column of `engagements`, or else of `queries`, whose values make groups of pairs; null for none. The values of
        a list are groups each, and `language` also means a column `languages`. `seen` makes two groups: new pairs, and
        pairs that stand in the training part of the log, too; `frequency` and `has_title`: see `evaluation.groups`.
    groups
        Values of `by` that make groups, in this order; null for all.
    ks
        Cut-offs of recall; the first one is the main one.
    references
        Rows that each other row is compared with; null for `learned` where it is measured.
    most
        The largest rank that is told apart: those beyond count as 0 in the mean reciprocal rank, for every row. Null
        for all. With a corpus in tables, a small one saves time.
    corpus
        `table` for the entities that the dataset's table `corpus` lists, `all` for the whole catalogue, `auto` for the
        table where it has entities of the type, and else all.
    corpus_size
        Random entities in the corpus instead; null for none.
    leave_out_other_positives
        Whether the query's other positives do not count against the positive.
    pretrained_fields
        Columns of the text that the pretrained encoder sees of an entity.
    resamples, level, seed
        Of the bootstrap; the seed also draws the corpus and the random row.
    """

    split: str = "test"
    positives: str = "engagements"
    relevant_grade: int | None = None
    rows: tuple[str, ...] | None = None
    entity_types: tuple[str, ...] | None = None
    actions: tuple[str, ...] | None = None
    by: str | None = None
    groups: tuple[str, ...] | None = None
    ks: tuple[int, ...] = (10,)
    references: tuple[str, ...] | None = None
    most: int | None = None
    corpus: str = "auto"
    corpus_size: int | None = None
    leave_out_other_positives: bool = True
    pretrained_fields: tuple[str, ...] = ("title", "description", "caption", "engaged_queries")
    resamples: int = 1000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        check_ks(self.ks)
        if self.groups is not None and self.by is None:
            raise SettingError("groups are named but not the column that makes them; give --by with --groups")
        _choose("kind of positives", (self.positives,), POSITIVES)
        if self.positives == "judgments" and self.actions is not None:
            raise SettingError("judgments have no action; leave out --action, or give --positives engagements")
        if self.positives != "judgments" and self.relevant_grade is not None:
            raise SettingError("engagements have no grade; leave out --relevant-grade, or give --positives judgments")
        if self.most is not None and self.most < max(self.ks):
            raise SettingError(
                f"ranks are told apart to {self.most}, but recall is asked at {max(self.ks)}; raise --most"
            )
        _choose("corpus", (self.corpus,), CORPORA)
        _choose("split", (self.split,), (*SPLITS, "all"))
        _choose("row", self.rows or (), tuple(ROWS))
        _choose("entity type", self.entity_types or (), tuple(ENTITY_TABLES))


@dataclass(frozen=True)
class RowResult:
    """Figures of one row on one group of pairs.

    Attributes
    ----------
    recall
        k -> Recall@k with its interval.
    mean_reciprocal_rank
        With its interval.
    differences
        Reference row -> recall at the first k less the reference's, on the same resamples; null for the reference
        itself.
    """

    recall: dict[int, Interval]
    mean_reciprocal_rank: Interval
    differences: dict[str, Interval | None]


@dataclass(frozen=True)
class GroupResult:
    """All rows on one group of pairs; pairs and queries are counted once each."""

    pairs: int
    queries: int
    rows: dict[str, RowResult]


@dataclass(frozen=True)
class RecallStudy:
    """A study of one entity type: overall, and by group, the largest first or as chosen.

    `corpus_source` says in words where the corpus is from; `grouped_by` is the table and column of the groups, such as
    `queries.languages`; `ranks` are of each row's pairs, at most one beyond the setting `most`.
    `knowledge` is what the encoder was trained on of the pairs, null where it records nothing or there is none; `new`
    holds the figures of `new pairs` and `new queries`, each positive ranked as it is among all.
    Of judged pairs `average` is the mean of the groups' figures, each group weighing the same, and `positives` says
    which pairs these are.
    """

    entity_type: str
    corpus: int
    corpus_source: str
    overall: GroupResult
    groups: dict[str, GroupResult]
    grouped_by: str | None
    ranks: dict[str, IntArray]
    pairs: EvaluationPairs
    positives: str | None = None
    average: GroupResult | None = None
    knowledge: Knowledge | None = None
    new: dict[str, GroupResult] = field(default_factory=dict)


def recall_studies(
    dataset: Dataset,
    encoder: FrozenEncoder | None,
    pretrained: PretrainedEncoder | None,
    settings: RecallSettings,
    on_row: Callable[[str], None] | None = None,
    run: Run | None = None,
    known_queries: KnownQueries | None = None,
    corpus_tables: CorpusTables | None = None,
    threads: int | None = None,
) -> list[RecallStudy]:
    """One study for each entity type that has pairs in the split.

    Parameters
    ----------
    dataset
        Holds `engagements` and the entities' tables; its recorded split chooses the pairs.
    encoder
        Trained; null leaves its rows out.
    pretrained
        Not trained here; null leaves its rows out.
    settings
        What is measured.
    on_row
        Called with the name of each row before it is measured.
    run
        Scored pairs; its columns become rows of the study beside the others.
    known_queries
        Encodes queries for the trained encoder, from tables where they hold them; null for the encoder itself.
    corpus_tables
        Embeddings of the pins and products by the trained encoder: the row `learned` reads its corpus from there, block
        by block, and no entity is encoded. Where it is the only row, the entities' own tables are read for their ids.
    threads
        That rank among those blocks; null for the cores that this process may use.

    Raises
    ------
    DataError
        If a table or column that is needed is not there, or no pairs are left.
    SettingError
        If a row is asked for that the input does not allow, or a reference is not among the rows.
    """
    judged = settings.positives == "judgments"
    positives: dict[str, str] = {}
    if judged:
        found = judged_positives(dataset, entity_types=settings.entity_types, relevant_grade=settings.relevant_grade)
        engagements, positives = positives_of_split(dataset, found, settings.split)
    else:
        engagements = _engagements(dataset, settings)
    present = set(pc.unique(engagements["entity_type"]).to_pylist())
    wanted = settings.entity_types or tuple(name for name in ENTITY_TABLES if name in present)
    missing = [name for name in wanted if name not in present]
    if missing or not wanted:
        raise DataError(
            f"{dataset.path} has no {'relevant ' * judged}{settings.positives} with entity_type "
            f"{', '.join(missing) or 'pin, product or query'} in split '{settings.split}'; check --split, "
            f"--entity-type and {'--relevant-grade' if judged else '--action'}"
        )
    studies = []
    for entity_type in wanted:
        rows = engagements.filter(pc.equal(engagements["entity_type"], entity_type))
        # queries are found by their text, which `known_queries` holds; the tables are of pins and products
        tables = None if entity_type == "query" else corpus_tables
        given = (encoder, pretrained, known_queries, tables)
        study = _study(dataset, entity_type, rows, given, settings, on_row, run, threads)
        studies.append(replace(study, positives=positives.get(entity_type)))
    return studies


def _engagements(dataset: Dataset, settings: RecallSettings) -> pa.Table:
    dataset.require("engagements", "query", "entity_id", "entity_type")
    engagements = dataset.read("engagements")
    if settings.split != "all":
        if dataset.info.split is None:
            raise DataError(
                f"{dataset.path} records no split in dataset.json, so there is no part '{settings.split}'; import it "
                "with a split, or give --split all"
            )
        engagements = split_rows(engagements, dataset.info.split, settings.split)
    if settings.actions is not None:
        dataset.require("engagements", "action")
        engagements = engagements.filter(pc.is_in(engagements["action"], pa.array(settings.actions, pa.string())))
    return engagements


def _study(
    dataset: Dataset,
    entity_type: str,
    engagements: pa.Table,
    encoders: tuple[FrozenEncoder | None, PretrainedEncoder | None, KnownQueries | None, CorpusTables | None],
    settings: RecallSettings,
    on_row: Callable[[str], None] | None,
    run: Run | None,
    threads: int | None,
) -> RecallStudy:
    encoder, pretrained, known_queries, tables = encoders
    pairs, corpus_source = pairs_in_corpus(
        dataset, entity_type, engagements, corpus=settings.corpus, corpus_size=settings.corpus_size, seed=settings.seed
    )
    judged = settings.positives == "judgments"
    by = "country" if judged and settings.by is None and "country" in engagements.column_names else settings.by
    positives = (settings.positives, engagements)
    groups, grouped_by = pair_groups(dataset, entity_type, positives, pairs, by, settings.groups)
    if tables is not None and settings.rows == (REFERENCE,):
        entities = pa.table({"id": pairs.entity_ids})  # nothing but their vectors is needed
    else:
        entities = scored_entities(dataset, entity_type, pairs.entity_ids)
    ranks: dict[str, IntArray] = {}
    rows = StudyRows(
        entity_type,
        entities,
        pairs.queries,
        encoder=encoder,
        pretrained=pretrained,
        pretrained_fields=settings.pretrained_fields,
        seed=settings.seed,
        known_queries=known_queries,
        corpus_tables=tables,
    )
    of_run = {} if run is None else {row.name: row for row in run_rows(run, pairs)}
    names = rows.names(settings.rows)
    double = next((name for name in of_run if name in names), None)
    if double is not None:
        raise DataError(f"column '{double}' of the run has the name of a row of the study; rename the column")
    _choose("row to compare with", settings.references or (), (*names, *of_run))
    for name in [*names, *of_run]:
        if on_row is not None:
            on_row(name)
        left_out = settings.leave_out_other_positives
        if name == REFERENCE and tables is not None:
            vectors_QD = rows.learned_queries()
            ranks[name] = ranks_from_tables(
                vectors_QD, tables, entity_type, pairs,
                leave_out_other_positives=left_out, most=settings.most, threads=threads,
            ).ranks  # fmt: skip
        else:
            row = of_run[name] if name in of_run else rows.make(name)
            ranks[name] = ranks_from_score_blocks(
                row.blocks(len(pairs.queries)), pairs, leave_out_other_positives=left_out
            )
        if settings.most is not None:
            ranks[name] = np.minimum(ranks[name], settings.most + 1)
        logger.info("%s: Recall@%d %.4f", name, settings.ks[0], (ranks[name] <= settings.ks[0]).mean())
    everything = np.ones(len(pairs.pair_queries), dtype=bool)
    known = _known(encoder, entity_type, pairs)
    return RecallStudy(
        entity_type,
        pairs.corpus_count,
        corpus_source,
        _measure(ranks, pairs, everything, settings),
        {name: _measure(ranks, pairs, members, settings) for name, members in groups.items()},
        grouped_by,
        ranks,
        pairs,
        average=_average(ranks, pairs, groups, settings) if judged and groups else None,
        knowledge=known,
        new={} if known is None else {of: _measure(ranks, pairs, some, settings) for of, some in known.new.items()},
    )


def _known(encoder: FrozenEncoder | None, entity_type: str, pairs: EvaluationPairs) -> Knowledge | None:
    """What the encoder was trained on of the pairs."""
    if encoder is None or encoder.record is None:
        return None
    queries = pa.array(pairs.queries, pa.large_string()).take(pa.array(pairs.pair_queries))
    types = pa.DictionaryArray.from_arrays(np.zeros(len(queries), np.int32), [entity_type])
    ids = pairs.entity_ids.take(pa.array(pairs.pair_positives))
    return known_to_encoders({"its training record": encoder.record}, queries, types, ids)


def _measure(
    ranks: dict[str, IntArray], pairs: EvaluationPairs, members: BoolArray, settings: RecallSettings
) -> GroupResult:
    queries = pairs.pair_queries[members]
    ranks_PS = np.column_stack([of_row[members] for of_row in ranks.values()])
    intervals = partial(cluster_intervals, resamples=settings.resamples, level=settings.level, seed=settings.seed)
    less = partial(paired_differences, resamples=settings.resamples, level=settings.level, seed=settings.seed)

    def sums(values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        return per_query_sums(values, queries, len(pairs.queries))

    recall = {k: intervals(*sums((ranks_PS <= k).astype(np.float64))) for k in settings.ks}
    within = ranks_PS <= settings.most if settings.most is not None else np.ones_like(ranks_PS, dtype=bool)
    reciprocal = intervals(*sums(within / ranks_PS))
    hits = sums((ranks_PS <= settings.ks[0]).astype(np.float64))
    differences = {other: less(*hits, list(ranks).index(other)) for other in _references(ranks, settings)}
    return _result(list(ranks), recall, reciprocal, differences, queries)


def _average(
    ranks: dict[str, IntArray], pairs: EvaluationPairs, groups: dict[str, BoolArray], settings: RecallSettings
) -> GroupResult:
    """The mean of the groups' figures."""
    ranks_PS = np.column_stack(list(ranks.values()))
    mean = partial(group_mean_figures, resamples=settings.resamples, level=settings.level, seed=settings.seed)
    hits = {k: mean((ranks_PS <= k).astype(np.float64), pairs, groups) for k in settings.ks}
    main, recall = hits[settings.ks[0]], {k: figures.intervals() for k, figures in hits.items()}
    differences = {other: main.less(list(ranks).index(other)).intervals() for other in _references(ranks, settings)}
    queries = pairs.pair_queries[np.logical_or.reduce(list(groups.values()))]
    return _result(list(ranks), recall, mean(1 / ranks_PS, pairs, groups).intervals(), differences, queries)


def _references(ranks: dict[str, IntArray], settings: RecallSettings) -> tuple[str, ...]:
    return settings.references if settings.references is not None else (REFERENCE,) * (REFERENCE in ranks)


def _result(
    names: list[str],
    recall: dict[int, list[Interval]],
    reciprocal: list[Interval],
    differences: dict[str, list[Interval]],
    queries: IntArray,
) -> GroupResult:
    """Figures of all rows by row; `queries` holds that of each pair."""
    rows = {
        name: RowResult(
            {k: intervals[place] for k, intervals in recall.items()},
            reciprocal[place],
            {other: None if other == name else found[place] for other, found in differences.items()},
        )
        for place, name in enumerate(names)
    }
    return GroupResult(len(queries), len(np.unique(queries)), rows)


def _choose(what: str, given: Sequence[str], allowed: Sequence[str]) -> None:
    unknown = next((name for name in given if name not in allowed), None)
    if unknown is not None:
        raise SettingError(f"there is no {what} '{unknown}'; choose from {', '.join(allowed)}")
