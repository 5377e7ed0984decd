"""Where entities come from: tables in memory, files, or the pins and products of a dataset folder."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from omnifeat.data.dataset import Dataset
from omnifeat.data.entity_types import type_texts
from omnifeat.data.files import as_table, iter_batches, read_schema
from omnifeat.data.schema import ENTITY_TABLES
from omnifeat.embedding_table import refuse_duplicates, typed_keys
from omnifeat.errors import DataError, SettingError
from omnifeat.keys import as_strings

__all__ = ["EntitySource", "entity_sources", "is_dataset_folder"]

# the entity types that have a table of entities; a query is its own text
_TABLE_OF = {kind: table for kind, (table, _) in ENTITY_TABLES.items() if kind != "query"}
_TYPE_OF = {table: kind for kind, table in _TABLE_OF.items()}


@dataclass(frozen=True)
class EntitySource:
    """A table of entities with a column `id`.

    `entity_type` is the type of all its rows; None where the table has a column `entity_type`, or says nothing.
    """

    name: str
    entity_type: str | None
    schema: pa.Schema
    read: Callable[[Sequence[str], int], Iterator[pa.RecordBatch]]

    @property
    def type_column(self) -> bool:
        """Whether each row says its own type."""
        return self.entity_type is None and "entity_type" in self.schema.names

    def batches(self, columns: Sequence[str], batch_size: int) -> Iterator[pa.RecordBatch]:
        """Batches of some columns; `id`, and `entity_type` where rows have one, always among them."""
        wanted = dict.fromkeys(["id", *(["entity_type"] if self.type_column else []), *columns])
        return self.read([name for name in wanted if name in self.schema.names], batch_size)

    @contextmanager
    def named(self) -> Iterator[None]:
        """Put the source's name before what is wrong with its columns, where the message does not have it."""
        try:
            yield
        except DataError as error:
            raise DataError(str(error) if self.name in str(error) else f"{self.name}: {error}") from error

    def ids(self, batch: pa.RecordBatch, first_row: int) -> pa.LargeStringArray:
        """The ids of a batch.

        Raises
        ------
        DataError
            If an id is null; names the row.
        """
        ids = as_strings(batch.column("id"), f"{self.name}: column 'id'", first_row)
        if ids.null_count:
            row = first_row + ids.is_null().index(True).as_py()
            raise DataError(f"{self.name}: column 'id' is null in row {row}; give each entity an id.")
        return ids

    def types(self, batch: pa.RecordBatch, first_row: int) -> pa.LargeStringArray | None:
        """The entity types of a batch; None where the source says nothing.

        Raises
        ------
        DataError
            If a type is none; names the row.
        """
        if self.type_column:
            return type_texts(batch.column("entity_type"), f"{self.name}: column 'entity_type'", first_row)
        if self.entity_type is None:
            return None
        return pa.repeat(pa.scalar(self.entity_type, pa.large_string()), batch.num_rows)

    def check_unique(self, batch_size: int = 131_072) -> None:
        """Refuse a source that has an id twice (of one type, where rows have types).

        Raises
        ------
        DataError
            Names the id and both rows.
        """

        def keys() -> Iterator[pa.LargeStringArray]:
            first_row = 1
            for batch in self.batches([], batch_size):
                types = self.types(batch, first_row) if self.type_column else None
                yield typed_keys(self.ids(batch, first_row), types)
                first_row += batch.num_rows

        refuse_duplicates(keys, self.name, "id")


def is_dataset_folder(data: Any) -> bool:
    """Whether this is a path to a dataset folder."""
    return isinstance(data, str | os.PathLike) and os.path.isfile(os.path.join(data, "dataset.json"))


def _checked(source: EntitySource) -> EntitySource:
    if "id" not in source.schema.names:
        raise DataError(
            f"{source.name} has no column 'id' to know entities by; its columns are {', '.join(source.schema.names)}."
        )
    return source


def _from_path(path: str, entity_type: str | None) -> EntitySource:
    schema = read_schema(path)
    if entity_type is None and "entity_type" not in schema.names:
        # `pins.parquet` holds pins; a file of another name says nothing, and its ids match pairs of any type
        entity_type = _TYPE_OF.get(os.path.basename(path.rstrip("/")).split(".")[0])
    return EntitySource(
        path, entity_type, schema, lambda columns, size: iter_batches(path, columns=columns, batch_size=size)
    )


def _from_dataset(path: str, entity_type: str | None) -> list[EntitySource]:
    dataset = Dataset.open(path)
    kinds = [kind for kind, table in _TABLE_OF.items() if dataset.has(table) and entity_type in (None, kind)]
    if not kinds:
        wanted = list(_TABLE_OF.values()) if entity_type is None else [_TABLE_OF[entity_type]]
        raise DataError(f"{path} has no table {' or '.join(wanted)}; give a dataset that holds entities.")

    def source(kind: str) -> EntitySource:
        table = _TABLE_OF[kind]
        return EntitySource(
            f"{path}: table {table}",
            kind,
            dataset.schema(table),
            lambda columns, size: dataset.batches(table, columns=columns, batch_size=size),
        )

    return [source(kind) for kind in kinds]


def _from_memory(data: Any, entity_type: str | None) -> EntitySource:
    table = as_table(data)
    if table.num_rows == 0:
        raise DataError("the entities table has no rows: give at least one entity.")
    return EntitySource(
        "the entities table",
        entity_type,
        table.schema,
        lambda columns, size: iter(table.select(columns).to_batches(max_chunksize=size)),
    )


def entity_sources(entities: Any, entity_type: str | None = None) -> list[EntitySource]:
    """Sources of entities from a table, a path, a dataset folder, or a list of these.

    Parameters
    ----------
    entities : path of a table or of a dataset folder (then its pins and products), pandas, Polars or Arrow table,
        or a list of these.
    entity_type : `pin` or `product`, where the tables don't say it. A table's own column `entity_type` is not
        looked at then. Without it, files named `pins` and `products` are taken for what they are called.

    Raises
    ------
    DataError
        If a table is missing or has no column `id`.
    SettingError
        If the entity type is not known.
    """
    if entity_type is not None and entity_type not in _TABLE_OF:
        raise SettingError(f"The entity type must be one of {', '.join(_TABLE_OF)}; got {entity_type!r} instead.")
    sources: list[EntitySource] = []
    for data in entities if isinstance(entities, list | tuple) else [entities]:
        if is_dataset_folder(data):
            sources.extend(_from_dataset(os.fspath(data), entity_type))
        elif isinstance(data, str | os.PathLike):
            sources.append(_from_path(os.fspath(data), entity_type))
        else:
            sources.append(_from_memory(data, entity_type))
    return [_checked(source) for source in sources]
