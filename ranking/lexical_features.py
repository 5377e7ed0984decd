"""Features of (query, entity) pairs that need no encoder: token matches, lengths and price.

They stand for the text features that a search engine's ranker already has, beside which cosines must prove their worth.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.entity_types import type_texts
from omnifeat.data.files import as_table
from omnifeat.data.id_texts import id_texts
from omnifeat.errors import DataError, SettingError
from omnifeat.retrieval.lexical import BM25Scorer, TfidfScorer, split_words
from omnifeat.text.normalise import normalise

__all__ = ["TEXT_FIELDS", "lexical_features"]

# What an entity says of itself. Engaged queries are left out: they repeat the logs that grades are often made from.
TEXT_FIELDS = ("title", "description", "caption", "brand", "color", "material", "product_type")

FloatArray = npt.NDArray[np.float32]


def lexical_features(pairs: Any, entities: Any, text_fields: Sequence[str] | None = None) -> pa.Table:
    """Text features of each pair, in the order of the pairs, all float32.

    | column | what it holds |
    |---|---|
    | `bm25_title`, `bm25_text` | BM25 over words of the title, and of all text fields joined |
    | `tfidf_cosine_title`, `tfidf_cosine_text` | cosine of TF-IDF vectors of character 2-4-grams, 0 to 1 |
    | `matched_tokens` | distinct words of the query that the text holds |
    | `matched_share` | the same over the distinct words of the query; 0 for a query without words |
    | `query_length`, `title_length`, `text_length` | words |
    | `price` | as in the entities; only where they have the column |

    Token statistics are of all entities given, so give the whole catalogue. Title columns are made where there is a
    title. A pair without a query has null features; so has one whose entity is unknown, but for `query_length`.

    Parameters
    ----------
    pairs : table with `query` and `entity_id`
        pandas, Polars, Arrow, a dict of columns or a path.
    entities : table with `id`, text fields and [`price`]
        Where both tables have `entity_type`, an id is looked up within its type.
    text_fields : sequence of str or None
        Text columns to search, text or lists of text; None takes those of `TEXT_FIELDS` that are there.

    Raises
    ------
    DataError
        A column is missing or is not of text, or an id stands twice among the entities.
    SettingError
        `text_fields` is empty.
    """
    pair_table, entity_table = as_table(pairs), as_table(entities)
    for table, name, columns in (
        (pair_table, "pairs", ("query", "entity_id")),
        (entity_table, "entities", ("id",)),
    ):
        for column in columns:
            if column not in table.column_names:
                raise DataError(
                    f"The table of {name} has no column {column!r}; it has {', '.join(table.column_names)}."
                )
    fields = _fields(entity_table, text_fields)
    titles = _texts(entity_table, ["title"]) if "title" in entity_table.column_names else None
    texts = _texts(entity_table, fields)

    found = _entity_rows(pair_table, entity_table)
    queries = normalise(_as_text(pair_table["query"], "query")).to_pylist()
    has_query = pc.is_valid(pair_table["query"]).to_numpy()
    scored = (found >= 0) & has_query
    rows = np.where(scored, found, 0)

    columns_out: dict[str, pa.Array] = {}

    def add(name: str, values: npt.NDArray[Any], valid: npt.NDArray[np.bool_] = scored) -> None:
        columns_out[name] = pa.array(values.astype(np.float32), mask=~valid)

    searched = [("text", texts)] if titles is None else [("title", titles), ("text", texts)]
    if entity_table.num_rows == 0:
        raise DataError("The table of entities has no rows; give the catalogue that the pairs are from.")
    for field, of_field in searched:
        add(f"bm25_{field}", BM25Scorer(split_words).fit(of_field).pair_scores(queries, rows))
        add(f"tfidf_cosine_{field}", TfidfScorer().fit(of_field).pair_scores(queries, rows))

    query_words = {query: frozenset(split_words(query)) for query in set(queries)}
    used = np.unique(rows[scored])
    text_words = {int(row): frozenset(split_words(texts[row])) for row in used}
    matched = np.array(
        [
            len(query_words[query] & text_words[row]) if known else 0
            for query, row, known in zip(queries, rows.tolist(), scored.tolist(), strict=True)
        ],
        dtype=np.float64,
    )
    distinct_words = np.array([len(query_words[query]) for query in queries], dtype=np.float64)
    add("matched_tokens", matched)
    add("matched_share", matched / np.maximum(distinct_words, 1))
    lengths = {query: len(split_words(query)) for query in query_words}
    add("query_length", np.array([lengths[query] for query in queries], dtype=np.float64), has_query)
    for field, of_field in searched:
        length_of = np.zeros(entity_table.num_rows)
        length_of[used] = [len(split_words(of_field[row])) for row in used]
        add(f"{field}_length", length_of[rows])
    if "price" in entity_table.column_names:
        prices = _prices(entity_table["price"])[rows]
        add("price", prices, scored & ~np.isnan(prices))
    return pa.table(columns_out)


def _fields(entities: pa.Table, text_fields: Sequence[str] | None) -> list[str]:
    if text_fields is None:
        fields = [field for field in TEXT_FIELDS if field in entities.column_names]
        if not fields:
            raise DataError(
                f"The table of entities has none of the text fields {', '.join(TEXT_FIELDS)}; "
                f"name others among {', '.join(entities.column_names)}."
            )
        return fields
    if not text_fields:
        raise SettingError("The text fields must name at least one column of the entities; got none.")
    for field in text_fields:
        if field not in entities.column_names:
            raise DataError(
                f"Text field {field!r} is not a column of the entities, which have {', '.join(entities.column_names)}."
            )
    return list(text_fields)


def _as_text(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """A text column as plain strings; lists of text are joined by spaces."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _as_text(pc.cast(column, kind.value_type), name)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        joined = [
            None if items is None else " ".join(item for item in items if item is not None)
            for items in column.to_pylist()
        ]
        return pa.chunked_array([pa.array(joined, pa.string())])
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
        raise DataError(f"Column {name!r} must hold text; it is of type {kind}.")
    return pc.cast(column, pa.string())


def _texts(entities: pa.Table, fields: Sequence[str]) -> list[str]:
    """Normalised text of each entity: its fields joined by spaces, missing ones left out."""
    columns = [pc.fill_null(_as_text(entities[field], field), "") for field in fields]
    joined = pc.binary_join_element_wise(*columns, " ") if len(columns) > 1 else columns[0]
    texts: list[str] = normalise(joined).to_pylist()
    return texts


def _entity_rows(pairs: pa.Table, entities: pa.Table) -> npt.NDArray[np.int64]:
    """The entity's row for each pair, int64 (pairs,), -1 where there is none.

    A type that is not said, of a pair or of an entity, fits any.

    Raises
    ------
    DataError
        An id stands twice among the entities, or is of several types and a pair doesn't say which.
    """
    ids = id_texts(entities["id"], "the entities: column 'id'")
    wanted = id_texts(pairs["entity_id"], "the pairs: column 'entity_id'")
    types, wanted_types = _types(entities, len(ids)), _types(pairs, len(wanted))
    if "entity_type" not in pairs.column_names:
        types = pa.repeat(pa.scalar("", pa.large_string()), len(ids))
    elif "entity_type" not in entities.column_names:
        wanted_types = pa.repeat(pa.scalar("", pa.large_string()), len(wanted))
    keys = _keys(types, ids)
    if pc.count_distinct(keys, mode="all").as_py() < len(keys):
        seen: set[str | None] = set()
        for row, key in enumerate(keys.to_pylist()):
            if key in seen:
                raise DataError(
                    f"Id {ids[row].as_py()!r} stands more than once among the entities, "
                    f"again in row {row + 1}; keep one row per id."
                )
            seen.add(key)
    found = pc.index_in(_keys(wanted_types, wanted), value_set=keys, skip_nulls=True)
    unsaid = pa.repeat(pa.scalar("", pa.large_string()), len(wanted))
    found = pc.coalesce(found, pc.index_in(_keys(unsaid, wanted), value_set=keys, skip_nulls=True))
    of_any = pc.if_else(pc.equal(wanted_types, ""), wanted, None)
    _refuse_several(of_any, ids)
    found = pc.coalesce(found, pc.index_in(of_any, value_set=ids, skip_nulls=True))
    return np.asarray(pc.fill_null(found, -1).to_numpy(zero_copy_only=False), dtype=np.int64)


def _types(table: pa.Table, rows: int) -> pa.LargeStringArray:
    """The entity types of rows, empty where nothing says one."""
    if "entity_type" not in table.column_names:
        return pa.repeat(pa.scalar("", pa.large_string()), rows)
    return pc.fill_null(type_texts(table["entity_type"], "column 'entity_type'"), "")


def _keys(types: pa.Array, ids: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(types, ids, pa.scalar("\x1f", pa.large_string()))


def _refuse_several(wanted: pa.Array, ids: pa.Array) -> None:
    """Refuse an id that stands several times among the entities, where pairs don't say its type."""
    counts = pc.value_counts(ids.filter(pc.is_in(ids, pc.unique(wanted).drop_null())))
    several = [item["values"].as_py() for item in counts if item["counts"].as_py() > 1]
    if several:
        raise DataError(
            f"The id {several[0]!r} is of entities of several types, and the pairs don't say which they mean; give the "
            "pairs a column 'entity_type' with a type in each row."
        )


def _prices(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_null(column.type)):
        raise DataError(f"Column 'price' of the entities must hold numbers; it is of type {column.type}.")
    return np.asarray(pc.fill_null(pc.cast(column, pa.float64()), float("nan")).to_numpy(), dtype=np.float64)
