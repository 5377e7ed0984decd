"""From a dataset folder to everything that training holds in memory: pairs, tasks, tokens, vectors."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from omnifeat.data.conform import first_width
from omnifeat.data.dataset import Dataset
from omnifeat.data.splits import HashSplit, Split, split_rows
from omnifeat.errors import DataError, SettingError
from omnifeat.models.config import EncoderConfig, fitted_to
from omnifeat.models.entity_features import EntityTable, entity_texts
from omnifeat.models.query import make_query_tokenizer, make_text_tokenizer, with_width
from omnifeat.models.query_table import QueryTable
from omnifeat.models.query_tokenizer import QueryTokenizer
from omnifeat.models.training_record import TrainingRecord, id_hashes, pair_hashes, query_hashes
from omnifeat.models.vectors import VectorColumn, vector_column
from omnifeat.text import NgramSizes, NgramTokenizer
from omnifeat.training.tasks import ENTITY, QUERY, Catalogue, PairSet, Task, build_pair_sets, chosen_tasks, tasks_of

__all__ = ["TrainingData", "prepare_training_data"]

_ENTITY_TABLES = {"pin": "pins", "product": "products"}
# PinSage stands for pins and ItemSage for products (section 3.4.3); any other column for every table that has it.
_TYPE_OF_EMBEDDING = {"pinsage": "pin", "itemsage": "product"}
_ENGAGEMENT_COLUMNS = ["query", "entity_id", "entity_type", "action"]
# Entity text that a WordPiece vocabulary is trained on, beside all queries: enough for its few thousand pieces.
_WORDPIECE_ENTITY_TEXTS = 100_000


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What training holds in memory.

    Attributes
    ----------
    config
        Settings with the widths that the data has.
    query_tokenizer, ngram_tokenizer, text_tokenizer
        Fitted on the train part's queries and on the entities' text (a pretrained encoder brings its own for queries).
    catalogue, pair_sets, tasks
        The train part; see `omnifeat.training.tasks`.
    queries
        The catalogue's queries, tokenised.
    entities
        Entity type -> the prepared table.
    exclude_query
        Entity type -> int64 per query: the query's index among the table's engaged queries, -1 where it isn't one.
    vectors
        (entity type, embedding) -> the existing embeddings of the type.
    development_catalogue, development_pair_sets
        The same of the development part; no sets where the dataset has no split.
    """

    config: EncoderConfig
    query_tokenizer: QueryTokenizer | None
    ngram_tokenizer: NgramTokenizer
    catalogue: Catalogue
    pair_sets: list[PairSet]
    tasks: list[Task]
    queries: QueryTable
    entities: dict[str, EntityTable]
    exclude_query: dict[str, NDArray[np.int64]]
    vectors: dict[tuple[str, str], VectorColumn]
    development_catalogue: Catalogue
    development_pair_sets: list[PairSet]
    text_tokenizer: QueryTokenizer | None = None

    def present(self, task: Task) -> NDArray[np.bool_] | None:
        """For each entity of the task's type, whether it has the task's existing embedding; None: all do."""
        column = self.vectors.get((self.entity_type(task), task.encoder))
        return None if column is None else column.present

    def entity_type(self, task: Task) -> str:
        """Type of the task's entities."""
        return next(pairs.entity_type for pairs in self.pair_sets if pairs.name == task.pairs)

    def negatives_catalogue(self, task: Task) -> int:
        """Number of entities that the task's random negatives are drawn from."""
        present = self.present(task)
        return self.catalogue.size(self.entity_type(task)) if present is None else max(int(present.sum()), 1)

    def summary(self) -> dict[str, Any]:
        """Counts for logs, and for telling whether a run is taken up again on the same data."""
        return {
            "queries": len(self.catalogue.queries),
            "entities": {kind: len(table) for kind, table in self.entities.items()},
            "train_pairs": {pairs.name: len(pairs) for pairs in self.pair_sets},
            "development_pairs": {pairs.name: len(pairs) for pairs in self.development_pair_sets},
            "tasks": [task.name for task in self.tasks],
            "ngrams": self.ngram_tokenizer.fingerprint(),
        }

    def record(self) -> TrainingRecord:
        """What the tasks are trained on, as hashes: each set's pairs, and the queries that stand in them on any side.

        Queries of the development part, or of sets that no task needs, are not among them: no gradient came from them.
        """
        queries = query_hashes(self.catalogue.queries)
        entities = {kind: id_hashes(ids) for kind, ids in self.catalogue.ids.items()} | {QUERY: queries}
        read = [queries[pairs.queries] for pairs in self.pair_sets]
        read += [queries[pairs.entities] for pairs in self.pair_sets if pairs.entity_type == QUERY]
        return TrainingRecord.of(
            read,
            (
                pair_hashes(queries[pairs.queries], pairs.entity_type, entities[pairs.entity_type][pairs.entities])
                for pairs in self.pair_sets
            ),
        )


def prepare_training_data(dataset: Dataset, config: EncoderConfig, tasks: Sequence[str] | None = None) -> TrainingData:
    """Read, split, tokenise.

    Vocabularies come from all pairs and entities, whatever tasks are chosen: models of different tasks then differ in
    nothing else.

    Parameters
    ----------
    tasks
        Names or patterns of the tasks that are kept, with the sets of pairs that they need; None keeps all.

    Raises
    ------
    DataError
        A table or column that is needed is missing, an engagement's entity is in no table, or there is no pair to
        train on.
    EncoderError
        The pretrained query encoder's tokenizer cannot be loaded.
    SettingError
        A pattern names no task.
    """
    dataset.require("engagements", *_ENGAGEMENT_COLUMNS)
    tables = _entity_tables(dataset, config)
    config = fitted_to(config, {_ENTITY_TABLES[kind]: _with_widths(table, config) for kind, table in tables.items()})
    if config.text.model:
        there = {name for table in tables.values() for name in table.column_names}
        for name in config.text.fields:
            if name not in there:
                raise SettingError(
                    f"The 'text.fields' setting names '{name}', which is a column of none of "
                    f"{', '.join(_ENTITY_TABLES[kind] for kind in tables)}; name "
                    "columns of text that the entities have."
                )
    config = replace(config, text=with_width(config.text))
    ids = {kind: table.column("id").combine_chunks() for kind, table in tables.items()}

    train, development = _parts(dataset)
    catalogue, pair_sets = build_pair_sets(train, ids)
    if not pair_sets:
        raise DataError(f"Table 'engagements' of '{dataset.path}' has no pair in its train part; add engagements.")
    if development is None:
        development = train.slice(0, 0)
    development_catalogue, development_pair_sets = build_pair_sets(development, ids)

    sizes = NgramSizes(trigrams=config.entity.trigrams, words=config.entity.words, bigrams=config.entity.bigrams)
    texts = [t for kind, table in tables.items() for t in entity_texts(table, config.entity, name=_ENTITY_TABLES[kind])]
    ngram_tokenizer = NgramTokenizer.fit([*texts, catalogue.queries], sizes)
    some_texts = _wordpiece_texts(catalogue.queries, texts)
    query_tokenizer = make_query_tokenizer(config.query, some_texts)
    text_tokenizer = make_text_tokenizer(config.text, some_texts)
    of_entities = None if text_tokenizer is None else text_tokenizer.with_prefix(config.text.entity_prefix)
    entities = {
        kind: EntityTable.prepare(table, ngram_tokenizer, config, name=_ENTITY_TABLES[kind], text_tokenizer=of_entities)
        for kind, table in tables.items()
    }
    vectors = _existing_embeddings(tables, config)
    compatibility = {kind: [name for other, name in vectors if other == kind] for kind in tables}
    kept = chosen_tasks(tasks_of(pair_sets, compatibility), tasks)
    names = {task.pairs for task in kept}
    is_trained = any(task.encoder == ENTITY for task in kept)
    config = replace(config, entity=replace(config.entity, trained=is_trained))
    return TrainingData(
        config=config,
        query_tokenizer=query_tokenizer,
        ngram_tokenizer=ngram_tokenizer,
        catalogue=catalogue,
        pair_sets=[pairs for pairs in pair_sets if pairs.name in names],
        tasks=kept,
        queries=QueryTable.prepare(catalogue.queries.to_pylist(), ngram_tokenizer, query_tokenizer, text_tokenizer),
        entities=entities,
        exclude_query={kind: table.engaged_query_index(catalogue.queries) for kind, table in entities.items()},
        vectors=vectors,
        development_catalogue=development_catalogue,
        development_pair_sets=[pairs for pairs in development_pair_sets if pairs.name in names],
        text_tokenizer=text_tokenizer,
    )


def _entity_tables(dataset: Dataset, config: EncoderConfig) -> dict[str, pa.Table]:
    """Entity type -> the columns of its table that the encoder reads."""
    wanted = {
        "id",
        *config.entity_columns,
        *(config.entity.continuous or ("pinsage", "itemsage", "image_embedding")),
        "image_embeddings",
        *config.compatibility,
    }
    tables = {}
    for kind, name in _ENTITY_TABLES.items():
        if dataset.has(name):
            dataset.require(name, "id")
            tables[kind] = dataset.read(name, [c for c in dataset.schema(name).names if c in wanted])
    return tables


def _with_widths(table: pa.Table, config: EncoderConfig) -> pa.Schema:
    """The table's schema, with a width for the user's own vector columns that the settings name.

    The dataset gives the vectors of its schema their width; a column of lists with any other name is known to hold
    vectors only because the settings say so.
    """
    schema = table.schema
    for name in {*config.entity.continuous, *config.compatibility} & set(table.column_names):
        column = table.column(name)
        if pa.types.is_list(column.type) and pa.types.is_floating(column.type.value_type):
            width = first_width(name, column.chunks)
            if width:
                schema = schema.set(schema.get_field_index(name), pa.field(name, pa.list_(pa.float32(), width)))
    return schema


def _parts(dataset: Dataset) -> tuple[pa.Table, pa.Table | None]:
    """Train and development engagements; without a recorded split all are for training."""
    split = dataset.info.split
    if split is None:
        return dataset.read("engagements", _ENGAGEMENT_COLUMNS), None
    columns = list(dict.fromkeys([*_ENGAGEMENT_COLUMNS, split.column]))
    dataset.require("engagements", *columns)
    engagements = dataset.read("engagements", columns)
    train, development = (split_rows(engagements, split, part) for part in ("train", "development"))
    return _without_held_out_suggestions(train, split), development


def _without_held_out_suggestions(train: pa.Table, split: Split) -> pa.Table:
    """Query-query pairs whose second query is held out are left out: no text stands on both sides of a hash split."""
    is_query = pc.equal(train.column("entity_type"), QUERY)
    if not isinstance(split, HashSplit) or split.column != "query" or not pc.any(is_query).as_py():
        return train
    suggestions = train.set_column(train.column_names.index("query"), "query", train.column("entity_id"))
    held_out = pc.and_(is_query, pc.not_equal(pa.chunked_array([split.assign(suggestions)]), "train"))
    return train.filter(pc.invert(held_out))


def _wordpiece_texts(queries: pa.Array, texts: Iterable[pa.Array]) -> list[str]:
    chosen = [text for text in queries.to_pylist() if text]
    room = _WORDPIECE_ENTITY_TEXTS
    for array in texts:
        # evenly over the column: its first rows may be of one kind
        taken = array.take(pa.array(np.unique(np.linspace(0, len(array) - 1, min(room, len(array))).astype(np.int64))))
        chosen += [text for text in taken.to_pylist() if text]
        room = max(room - len(taken), 0)
    return chosen


def _existing_embeddings(tables: Mapping[str, pa.Table], config: EncoderConfig) -> dict[tuple[str, str], VectorColumn]:
    """Columns of existing embeddings that some entity of the type has."""
    vectors = {}
    for kind, table in tables.items():
        for name, width in config.compatibility_widths.items():
            if name in table.column_names and _TYPE_OF_EMBEDDING.get(name, kind) == kind:
                column = vector_column(table, name, width, name=_ENTITY_TABLES[kind], ids=table.column("id"))
                if column.present.any():
                    vectors[kind, name] = column
    return vectors
