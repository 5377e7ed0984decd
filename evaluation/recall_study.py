"""A recall study: the trained encoder and its baselines on one dataset's pairs, with intervals and by groups.

Shapes: Q queries, N entities, P pairs, S rows (systems) of the study.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.baselines import Row
from evaluation.catalogue import pairs_in_corpus, scored_entities
from evaluation.fusion import fused_ranks, score_together
from evaluation.groups import pair_groups
from evaluation.hybrids import Hybrid, HybridRow, chosen_weights, development_pairs
from evaluation.judged_pairs import judged_positives, positives_of_split
from evaluation.recall import EvaluationPairs, ranks_by_corpus
from evaluation.recall_figures import GroupResult, RowResult, measure_average, measure_group
from evaluation.recall_settings import REFERENCE, RecallSettings, choose
from evaluation.run_rows import run_rows
from evaluation.runs import Run
from evaluation.seen_pairs import Knowledge, known_to_encoders
from evaluation.streamed import ranks_from_tables
from evaluation.study_rows import ROWS, StudyRows
from evaluation.training_positives import TrainingPositives, training_positives
from omnifeat.corpus_tables import CorpusTables
from omnifeat.data.dataset import Dataset
from omnifeat.data.schema import ENTITY_TABLES
from omnifeat.data.splits import split_rows
from omnifeat.errors import DataError
from omnifeat.frozen import FrozenEncoder
from omnifeat.known_queries import KnownQueries
from omnifeat.models.training_record import TrainingRecord
from omnifeat.pretrained import PretrainedEncoder

__all__ = ["GroupResult", "LeftOut", "RecallSettings", "RecallStudy", "RowResult", "recall_studies"]

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Figures:
    """Of all pairs, of the groups, of `new pairs` and `new queries`, and the mean of the groups; ranks by row."""

    overall: GroupResult
    groups: dict[str, GroupResult]
    new: dict[str, GroupResult]
    average: GroupResult | None
    ranks: dict[str, IntArray]


@dataclass(frozen=True)
class LeftOut:
    """The figures of a study in a corpus without each query's training positives, and which these are."""

    positives: TrainingPositives
    told: str
    figures: Figures


@dataclass(frozen=True)
class RecallStudy:
    """A study of one entity type: overall, and by group, the largest first or as chosen.

    `corpus_source` says in words where the corpus is from; `grouped_by` is the table and column of the groups, such as
    `queries.languages`; `ranks` are of each row's pairs, at most one beyond the setting `most`.
    `knowledge` is what the encoder was trained on of the pairs, null where it records nothing or there is none; `new`
    holds the figures of `new pairs` and `new queries`, each positive ranked as it is among all. `left_out` has all
    figures once more in a corpus without the query's training positives, the same for every row; null where neither a
    recorded split nor an encoder's record tells which these are.
    `hybrids` holds what hybrid rows were measured with, in words.
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
    left_out: LeftOut | None = None
    hybrids: dict[str, str] = field(default_factory=dict)


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
        engagements = _engagements(dataset, settings, settings.split)
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


def _engagements(dataset: Dataset, settings: RecallSettings, part: str) -> pa.Table:
    dataset.require("engagements", "query", "entity_id", "entity_type")
    engagements = dataset.read("engagements")
    if part != "all":
        if dataset.info.split is None:
            raise DataError(
                f"{dataset.path} records no split in dataset.json, so there is no part '{part}'; import it "
                "with a split, or give --split all"
            )
        engagements = split_rows(engagements, dataset.info.split, part)
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
    if tables is not None and settings.rows == (REFERENCE,) and not settings.hybrids:
        entities = pa.table({"id": pairs.entity_ids})  # nothing but their vectors is needed
    else:
        entities = scored_entities(dataset, entity_type, pairs.entity_ids)
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
    fused = {hybrid.name: hybrid for hybrid in settings.hybrids}
    allowed = [name for name in rows.names(None) if "+" not in name]
    for hybrid in settings.hybrids:
        rows.names([part for part in hybrid.parts if part in ROWS] or None)  # which says what a row lacks
        choose(f"row to fuse in {hybrid.name} named", hybrid.parts, (*allowed, *of_run))
    choose("row to compare with", settings.references or (), (*names, *of_run, *fused))
    records = {"the encoder's training record": None if encoder is None else encoder.record}
    training = training_positives(dataset, entity_type, pairs, records)
    others = pairs.excluded(settings.leave_out_other_positives)
    exclusions = [others] if training is None else [others, others.union(training.entities)]
    measured: list[dict[str, IntArray]] = [{} for _ in exclusions]
    hybrids: dict[str, str] = {}
    again = {part for hybrid in settings.hybrids for part in hybrid.parts}
    for name in [*names, *of_run, *fused]:
        if on_row is not None:
            on_row(name)
        if name == REFERENCE and tables is not None:
            found = ranks_from_tables(
                rows.learned_queries(), tables, entity_type, pairs,
                leave_out_other_positives=settings.leave_out_other_positives,
                left_out=None if training is None else training.entities, most=settings.most, threads=threads,
            )  # fmt: skip
            ranks_VP = np.stack([found.with_competing, found.ranks][: len(exclusions)])
        elif name in fused:
            made = [of_run[part] if part in of_run else rows.make(part, again=True) for part in fused[name].parts]
            weights = _weights(fused[name], rows, of_run, dataset, entity_type, pairs, settings, records)
            hybrids[name] = weights.sentence(fused[name].parts, settings.rrf_k)
            blocks = score_together(made, len(pairs.queries))
            ranks_VP = fused_ranks(blocks, pairs, exclusions, [weights.weights], k=settings.rrf_k)[:, 0]
        else:
            row = of_run[name] if name in of_run else rows.make(name, again=name in again)
            ranks_VP = ranks_by_corpus(row.blocks(len(pairs.queries)), pairs, exclusions)
        if settings.most is not None:
            ranks_VP = np.minimum(ranks_VP, settings.most + 1)
        for of_corpus, ranks_P in zip(measured, ranks_VP, strict=True):
            of_corpus[name] = ranks_P
        logger.info("%s: Recall@%d %.4f", name, settings.ks[0], (ranks_VP[0] <= settings.ks[0]).mean())
    known = _known(encoder, entity_type, pairs)
    among_all, *without = (_figures(ranks, pairs, groups, known, settings, judged=judged) for ranks in measured)
    return RecallStudy(
        entity_type,
        pairs.corpus_count,
        corpus_source,
        among_all.overall,
        among_all.groups,
        grouped_by,
        among_all.ranks,
        pairs,
        average=among_all.average,
        knowledge=known,
        new=among_all.new,
        left_out=None if training is None else LeftOut(training, training.sentence(pairs), without[0]),
        hybrids=hybrids,
    )


def _figures(
    ranks: dict[str, IntArray],
    pairs: EvaluationPairs,
    groups: Mapping[str, BoolArray],
    known: Knowledge | None,
    settings: RecallSettings,
    *,
    judged: bool,
) -> Figures:
    everything = np.ones(len(pairs.pair_queries), dtype=bool)
    new = {} if known is None else known.new
    return Figures(
        measure_group(ranks, pairs, everything, settings),
        {name: measure_group(ranks, pairs, members, settings) for name, members in groups.items()},
        {name: measure_group(ranks, pairs, members, settings) for name, members in new.items()},
        measure_average(ranks, pairs, dict(groups), settings) if judged and groups else None,
        ranks,
    )


def _weights(
    hybrid: Hybrid,
    rows: StudyRows,
    of_run: Mapping[str, Row],
    dataset: Dataset,
    entity_type: str,
    pairs: EvaluationPairs,
    settings: RecallSettings,
    records: Mapping[str, TrainingRecord | None],
) -> HybridRow:
    """The weights that were given, those that development pairs choose, or equal ones, and why."""
    equal = (1.0,) * len(hybrid.parts)
    if hybrid.weights is not None:
        return HybridRow(hybrid.weights, "as given")
    if settings.split not in ("test", "train"):
        return HybridRow(equal, f"equal: the pairs of split {settings.split} are measured, and choose nothing")
    if any(part in of_run for part in hybrid.parts):
        return HybridRow(equal, "equal: a run scores no development pairs")
    if dataset.info.split is None or not dataset.has_column("engagements", dataset.info.split.column):
        return HybridRow(equal, "equal: the dataset has no development pairs")
    engaged = _engagements(dataset, settings, "development")
    engaged = engaged.filter(pc.equal(engaged["entity_type"], entity_type))
    found = development_pairs(pairs, engaged["query"].to_pylist(), engaged["entity_id"].to_pylist(), settings.seed)
    if found is None:
        return HybridRow(equal, "equal: no development pair is among the entities that are ranked")
    other = rows.for_queries(found.queries)
    return chosen_weights(
        [other.make(part, again=True) for part in hybrid.parts], found, dataset, entity_type, records,
        first=settings.ks[0], k=settings.rrf_k, leave_out_other_positives=settings.leave_out_other_positives,
    )  # fmt: skip


def _known(encoder: FrozenEncoder | None, entity_type: str, pairs: EvaluationPairs) -> Knowledge | None:
    """What the encoder was trained on of the pairs."""
    if encoder is None or encoder.record is None:
        return None
    queries = pa.array(pairs.queries, pa.large_string()).take(pa.array(pairs.pair_queries))
    types = pa.DictionaryArray.from_arrays(np.zeros(len(queries), np.int32), [entity_type])
    ids = pairs.entity_ids.take(pa.array(pairs.pair_positives))
    return known_to_encoders({"its training record": encoder.record}, queries, types, ids)
