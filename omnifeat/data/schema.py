"""The tables of a dataset folder: their columns, their types, and what a value of each must be.

The same column name has the same meaning in every table, so that a CSV or JSONL file, which carries no types,
can be read by the names alone (`known_type`).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import pyarrow as pa

from omnifeat.errors import DataError

__all__ = [
    "ACTIONS",
    "DERIVED_TABLES",
    "ENTITY_TABLES",
    "ENTITY_TYPES",
    "TABLES",
    "TIMESTAMP",
    "VECTOR",
    "VECTOR_LIST",
    "ByName",
    "Column",
    "TableSchema",
    "did_you_mean",
    "is_vector",
    "is_vector_list",
    "known_type",
    "table_schema",
    "types_by_name",
    "vector_width",
]

ENTITY_TYPES = ("pin", "product", "query")
ACTIONS = ("save", "long_click", "click", "add_to_cart", "checkout")
# where the ids of each entity type live: (table, column)
ENTITY_TABLES = {"pin": ("pins", "id"), "product": ("products", "id"), "query": ("queries", "query")}


@dataclass(frozen=True)
class _AnyWidth:
    """A type whose width is the data's: every value of the column has the same one."""

    name: str

    def __str__(self) -> str:
        return self.name


VECTOR = _AnyWidth("fixed_size_list<float32>[any width]")
VECTOR_LIST = _AnyWidth("list<fixed_size_list<float32>[any width]>")
TIMESTAMP = pa.timestamp("us", tz="UTC")
_STRING = pa.string()
_STRINGS = pa.list_(pa.string())

# an Arrow type, VECTOR or VECTOR_LIST; Arrow carries no types for the type checker
ColumnType: TypeAlias = Any


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    name, type
        The type is an Arrow type, `VECTOR` or `VECTOR_LIST`.
    required
        Whether the table must have the column.
    key
        Whether a value may be neither null nor empty.
    unique
        Whether a value may stand there once only.
    choices
        The values that there are; empty for any.
    nullable
        Whether a row may go without a value.
    """

    name: str
    type: ColumnType
    required: bool = False
    key: bool = False
    unique: bool = False
    choices: tuple[str, ...] = ()
    nullable: bool = True


@dataclass(frozen=True)
class TableSchema:
    """One table of the dataset folder. Columns that are not listed are allowed and kept."""

    name: str
    columns: tuple[Column, ...]

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the columns that must be there."""
        return tuple(column.name for column in self.columns if column.required)

    @property
    def unique_key(self) -> tuple[str, ...]:
        """Names of the columns that together name a row once; empty if rows may repeat."""
        return tuple(column.name for column in self.columns if column.unique)

    def column(self, name: str) -> Column | None:
        """The column of that name, or None; `f_*` columns are float64 features."""
        for column in self.columns:
            if column.name == name:
                return column
        if name.startswith("f_"):
            return Column(name, pa.float64())
        return None


def _key(name: str, unique: bool = False, choices: tuple[str, ...] = ()) -> Column:
    return Column(name, _STRING, required=True, key=True, unique=unique, choices=choices, nullable=False)


def _texts(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, _STRING) for name in names)


_ENTITY_ID = _key("entity_id")
_ENTITY_TYPE = _key("entity_type", choices=ENTITY_TYPES)
_QUERY = _key("query")

_PINS = (
    _key("id", unique=True),
    *_texts("title", "description", "caption", "link_domain"),
    Column("board_titles", _STRINGS),
    Column("engaged_queries", _STRINGS),
    Column("image_embedding", VECTOR),
    Column("text_embedding", VECTOR),
    Column("pinsage", VECTOR),
    *_texts("image_path", "language"),
)

TABLES: dict[str, TableSchema] = {
    schema.name: schema
    for schema in (
        TableSchema("pins", _PINS),
        TableSchema(
            "products",
            (
                *_PINS,
                *_texts("brand", "color", "material", "product_type"),
                Column("price", pa.float64()),
                Column("image_embeddings", VECTOR_LIST),
                Column("itemsage", VECTOR),
            ),
        ),
        TableSchema(
            "queries", (_key("query", unique=True), *_texts("language", "country"), Column("interests", _STRINGS))
        ),
        TableSchema(
            "engagements",
            (
                _QUERY,
                _ENTITY_ID,
                _ENTITY_TYPE,
                _key("action", choices=ACTIONS),
                Column("timestamp", TIMESTAMP, required=True, nullable=False),
                *_texts("country", "user_id"),
            ),
        ),
        TableSchema("boards", (_key("board_id", unique=True), Column("title", _STRING, required=True))),
        TableSchema("saves", (_key("board_id"), _ENTITY_ID, _ENTITY_TYPE, Column("timestamp", TIMESTAMP))),
        TableSchema(
            "judgments",
            (
                _QUERY,
                _ENTITY_ID,
                _ENTITY_TYPE,
                Column("grade", pa.float64(), required=True, nullable=False),
                *_texts("country", "rater"),
            ),
        ),
        TableSchema(
            "impressions",
            (
                _key("request_id"),
                _QUERY,
                _ENTITY_ID,
                _ENTITY_TYPE,
                Column("position", pa.int64(), required=True, nullable=False),
                Column("action", _STRING, required=True, choices=ACTIONS),
                Column("timestamp", TIMESTAMP),
            ),
        ),
        TableSchema(
            "interests",
            (
                _key("interest_id", unique=True),
                Column("name", _STRING, required=True, nullable=False),
                Column("parent_id", _STRING, required=True),
                Column("level", pa.int64(), required=True, nullable=False),
            ),
        ),
        TableSchema("query_interests", (_QUERY, _key("interest_id"))),
    )
}

# what `omnifeat pairs` adds: the whole log that its pairs were chosen from, and a random sample of each entity type
DERIVED_TABLES: dict[str, TableSchema] = {
    schema.name: schema
    for schema in (
        TableSchema("log", TABLES["engagements"].columns),
        TableSchema("corpus", (_ENTITY_TYPE, _ENTITY_ID)),
    )
}

# `vector` stands in embedding tables, which are no part of the dataset folder
_KNOWN_TYPES: dict[str, ColumnType] = {"vector": VECTOR} | {
    column.name: column.type for schema in TABLES.values() for column in schema.columns
}


def known_type(name: str) -> ColumnType:
    """The type that a column of this name has in every table, or None for a name that no table knows.

    Names ending in `_id` or `_key` are text, those ending in `_embedding` vectors, and those beginning with `f_`
    float64, known or not.
    """
    if name in _KNOWN_TYPES:
        return _KNOWN_TYPES[name]
    if name.endswith(("_id", "_key")):
        return _STRING
    if name.endswith("_embedding"):
        return VECTOR
    return pa.float64() if name.startswith("f_") else None


ByName = bool | Literal["keys"]
"""Whether columns that the schema knows have its types: all of them, none, or `keys`, those that say which rows belong
together, so that a column that nobody asked for stops no command, whatever stands in it."""


def types_by_name(by_name: ByName) -> Callable[[str], ColumnType]:
    """`known_type` of the names that are to have it, None for the others."""
    if by_name == "keys":
        return lambda name: known_type(name) if is_key(name) else None
    return known_type if by_name else lambda _: None


def is_key(name: str) -> bool:
    """Whether columns of this name hold ids, or what stands for one: a query, an entity's type."""
    return name in ("id", "query", "entity_type") or name.endswith(("_id", "_key"))


def table_schema(name: str) -> TableSchema | None:
    """The schema of the table of that name; None for a table of the user's own."""
    return TABLES.get(name) or DERIVED_TABLES.get(name)


def is_vector(arrow_type: pa.DataType) -> bool:
    """Whether the type is a fixed-size list of float32."""
    return bool(pa.types.is_fixed_size_list(arrow_type) and pa.types.is_float32(arrow_type.value_type))


def is_vector_list(arrow_type: pa.DataType) -> bool:
    """Whether the type is a list of vectors."""
    return bool(pa.types.is_list(arrow_type) and is_vector(arrow_type.value_type))


def vector_width(arrow_type: pa.DataType) -> int:
    """Width of a vector or of the vectors of a list; -1 where the type does not fix one."""
    if pa.types.is_list(arrow_type):
        arrow_type = arrow_type.value_type
    return int(arrow_type.list_size) if pa.types.is_fixed_size_list(arrow_type) else -1


def matches(arrow_type: pa.DataType, wanted: ColumnType) -> bool:
    """Whether a column of this Arrow type is what the schema asks for."""
    if wanted is VECTOR:
        return is_vector(arrow_type)
    if wanted is VECTOR_LIST:
        return is_vector_list(arrow_type)
    if pa.types.is_list(arrow_type):  # the name of the list's field is no part of the type here
        return bool(pa.types.is_list(wanted) and arrow_type.value_type.equals(wanted.value_type))
    return bool(arrow_type.equals(wanted))


_MOST_NAMES = 40
_LONGEST_NAME = 60


def did_you_mean(name: str, there: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing where no name is near."""
    names = list(there)
    alike = [other for other in names if other.strip().casefold() == name.strip().casefold()]
    near = alike[:1] or difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"; did you mean '{listed_names(near)}'?" if near else ""


def refuse_doubled(where: str, names: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse to read a column whose name stands twice. Raises `DataError`."""
    twice = next((name for name in wanted if list(names).count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{where} has two columns named '{twice}': give each column its own name")


def missing_column_message(where: str, missing: Sequence[str], there: Sequence[str]) -> str:
    """The sentence for columns that are not there: names them, lists those there are, and a near name."""
    names = ", ".join(f"'{name}'" for name in missing)
    plural = "s" if len(missing) > 1 else ""
    return (
        f"{where} has no column{plural} {names}: it has {listed_names(there) or 'no columns'}"
        f"{did_you_mean(missing[0], there)}"
    )


def listed_names(names: Sequence[str]) -> str:
    """Names of a stranger's columns in one line of a message: the first ones, cut, without what steers a terminal."""
    safe = ["".join(sign if sign.isprintable() else "?" for sign in name) for name in names[:_MOST_NAMES]]
    shown = ", ".join(name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..." for name in safe)
    return shown + (f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else "")
