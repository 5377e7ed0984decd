"""A study of human relevance on a dataset: queries drawn of its log, systems made of its entities (section 5.1)."""

from collections.abc import Callable

import pyarrow as pa

from evaluation.baselines import Row, entity_texts, lexical_row
from evaluation.catalogue import catalogue_ids, scored_entities
from evaluation.human_relevance import judge_retrievals
from evaluation.human_results import TOKEN_BASED, HumanRelevance, HumanSettings
from evaluation.judges import Judge
from evaluation.query_strata import part_batches, sample_queries
from evaluation.study_rows import ROWS, StudyRows
from evaluation.top import retrieve
from omnifeat.data.dataset import Dataset
from omnifeat.data.schema import ENTITY_TABLES
from omnifeat.errors import DataError
from omnifeat.frozen import FrozenEncoder
from omnifeat.known_queries import KnownQueries
from omnifeat.pretrained import PretrainedEncoder
from omnifeat.retrieval.lexical import lexical_scorer

__all__ = ["human_study"]


def human_study(
    dataset: Dataset,
    encoder: FrozenEncoder | None,
    judge: Judge,
    settings: HumanSettings,
    *,
    pretrained: PretrainedEncoder | None = None,
    known_queries: KnownQueries | None = None,
    on_system: Callable[[str], None] | None = None,
) -> HumanRelevance:
    """Sample head and tail queries, retrieve by each system, have every retrieved pair judged, and measure.

    Parameters
    ----------
    dataset
        Holds the entities, and `engagements` that tell head from tail. Without them all judged queries are one stratum.
    encoder, pretrained, known_queries
        For the systems that need them, as in `evaluation.recall_study.recall_studies`.
    judge
        Of the retrieved pairs.
    settings
        What is compared.
    on_system
        Called with the name of each system before it retrieves.

    Raises
    ------
    DataError
        If a table or column is missing, no query is left, or nothing that was retrieved was judged.
    SettingError
        If a system needs what is not given.
    """
    strata = sample_queries(
        dataset,
        settings.split,
        number=settings.queries,
        share=settings.share,
        seed=settings.seed,
        known=judge.queries,
    )
    queries = [query for stratum in strata.values() for query in stratum.queries]
    entities = _entities(dataset, settings.entity_type)
    ids = entities["id"].combine_chunks()
    made = StudyRows(
        settings.entity_type,
        entities,
        queries,
        encoder=encoder,
        pretrained=pretrained,
        pretrained_fields=settings.pretrained_fields,
        seed=settings.seed,
        known_queries=known_queries,
    )
    made.names(settings.systems)
    retrievals = {}
    for name in settings.systems:
        if on_system is not None:
            on_system(name)
        token_based = name in TOKEN_BASED
        row = _token_row(name, entities, queries, settings) if token_based else made.make(name)
        retrievals[name] = retrieve(row, len(queries), ids, settings.k, only_positive=token_based)
    engaged = _engaged(dataset, settings, {q for one in strata.values() for q in one.queries[: settings.examples]})
    texts = _shown_texts(entities)
    return judge_retrievals(strata, retrievals, ids, texts, judge, settings, engaged=engaged)


def _entities(dataset: Dataset, entity_type: str) -> pa.Table:
    """All entities of a type; queries in the order of their text."""
    if entity_type == "query":
        return scored_entities(dataset, entity_type, catalogue_ids(dataset, entity_type).sort())
    table, column = ENTITY_TABLES[entity_type]
    dataset.require(table, column)
    return dataset.read(table)


def _token_row(name: str, entities: pa.Table, queries: list[str], settings: HumanSettings) -> Row:
    there = [field for field in settings.token_fields if field in entities.column_names]
    if not there:
        raise DataError(
            f"entities of type {settings.entity_type} have none of the columns {', '.join(settings.token_fields)} that "
            "token-based systems see; name others with --token-fields"
        )
    scorer = lexical_scorer(name, settings.seed).fit(entity_texts(entities, there))
    return lexical_row(name, ROWS[name], scorer, queries)


def _engaged(dataset: Dataset, settings: HumanSettings, queries: set[str]) -> frozenset[tuple[str, str]]:
    """Pairs that people engaged with in the part of the split, of the queries that examples show."""
    if not dataset.has("engagements") or not queries:
        return frozenset()
    found: set[tuple[str, str]] = set()
    for rows in part_batches(dataset, settings.split, ["query", "entity_id", "entity_type"]):
        listed = zip(*(rows[name].to_pylist() for name in ("query", "entity_id", "entity_type")), strict=True)
        found |= {(query, one) for query, one, kind in listed if query in queries and kind == settings.entity_type}
    return frozenset(found)


def _shown_texts(entities: pa.Table) -> list[str]:
    """The first text that each entity has: title, description, caption."""
    found = [""] * entities.num_rows
    for field in ("title", "description", "caption"):
        if field in entities.column_names:
            values = entities[field].to_pylist()
            found = [text or (value or "") for text, value in zip(found, values, strict=True)]
    return found
