"""The dataset folder, open for reading: tables and a `dataset.json` that says what they are.

Writing one lies in `omnifeat.data.dataset_writer`, and is offered here too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Self

import pyarrow as pa
import pyarrow.fs as pafs

from omnifeat.data.checks import check_nulls, type_problems
from omnifeat.data.dataset_writer import DatasetWriter
from omnifeat.data.files import (
    BATCH_SIZE,
    Reader,
    column_names,
    conformed_batches,
    count_rows,
    open_parts,
    settled_schema,
)
from omnifeat.data.info import INFO_FILE, DatasetInfo, read_info
from omnifeat.data.locations import Location, PathLike, locate, table_stem
from omnifeat.data.schema import DERIVED_TABLES, TABLES, did_you_mean, missing_column_message, table_schema
from omnifeat.errors import DataError

__all__ = ["INFO_FILE", "Dataset", "DatasetInfo", "DatasetWriter"]


class Dataset:
    """A dataset folder, open for reading. Make one with `Dataset.open`.

    Attributes
    ----------
    path : str
        The folder or URL as the caller gave it.
    info : DatasetInfo
        What `dataset.json` says.
    """

    def __init__(self, path: PathLike, info: DatasetInfo) -> None:
        self.path = os.fspath(path)
        self.info = info
        self._places: dict[str, Location] | None = None
        self._schemas: dict[str, pa.Schema] = {}

    @classmethod
    def open(cls, path: PathLike) -> Self:
        """Open a dataset folder.

        Raises
        ------
        DataError
            There is no such folder, it has no `dataset.json`, or that file is not what it must be.
        """
        location = locate(path)
        kind = location.kind()
        if kind == pafs.FileType.NotFound:
            raise DataError(f"{location.name} does not exist: give a dataset folder")
        if kind != pafs.FileType.Directory:
            raise DataError(f"{location.name} is a file: give a dataset folder, which holds tables and {INFO_FILE}")
        return cls(path, read_info(location.child(INFO_FILE)))

    def tables(self) -> list[str]:
        """Names of the schema's tables that are there, in the schema's order."""
        return [name for name in (*TABLES, *DERIVED_TABLES) if self.has(name)]

    def log_table(self) -> str:
        """Name of the table that holds the whole log: `log` beside the pairs chosen from it, else `engagements`."""
        return "log" if self.has("log") else "engagements"

    def has(self, table: str) -> bool:
        """Whether the table is there."""
        return table in self._find()

    def has_column(self, table: str, column: str) -> bool:
        """Whether the table is there and has the column."""
        return self.has(table) and column in self.columns(table)

    def columns(self, table: str) -> list[str]:
        """Column names of a table. Raises `DataError` if it is missing or cannot be read."""
        if table in self._schemas:
            return list(self._schemas[table].names)
        return column_names(self.parts(table))

    def schema(self, table: str) -> pa.Schema:
        """Column names and the types in which they are read. Raises `DataError` if the table cannot be read."""
        if table not in self._schemas:
            parts = self.parts(table)
            self._schemas[table] = settled_schema(parts, column_names(parts))
        return self._schemas[table]

    def count(self, table: str) -> int:
        """Number of rows of a table. Raises `DataError` if it is missing or cannot be read."""
        self.require(table)
        return count_rows(self._find()[table].name)

    def require(self, table: str, *columns: str) -> None:
        """Make sure that a table is there and has these columns.

        Raises
        ------
        DataError
            Names what is missing and what there is.
        """
        if not self.has(table):
            there = self.tables()
            raise DataError(
                f"{self.path} has no table '{table}': it has {', '.join(there) or 'no tables'}"
                f"{did_you_mean(table, there)}"
            )
        if columns:
            there = self.columns(table)
            missing = [name for name in columns if name not in there]
            if missing:
                raise DataError(missing_column_message(self._find()[table].name, missing, there))

    def read(self, table: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a table, or some of its columns, into memory. Raises what `batches` raises."""
        return pa.Table.from_batches(self.batches(table, columns))

    def batches(
        self, table: str, columns: Sequence[str] | None = None, batch_size: int = BATCH_SIZE
    ) -> Iterator[pa.RecordBatch]:
        """Read a table in batches of at most `batch_size` rows, in the types of the schema.

        Raises
        ------
        DataError
            The table or a column is missing, the file cannot be read, a column has another type than the schema's,
            a column that must hold a value in every row has a null, or the table has no rows.
        """
        self.require(table, *(columns or ()))
        parts = self.parts(table)
        names = list(columns) if columns is not None else column_names(parts)
        schema = settled_schema(parts, names)
        place = self._find()[table].name
        known = table_schema(table)
        for message in type_problems(known, schema, place).values():
            raise DataError(message)
        some = False
        for part in parts:
            row = 1
            for batch in conformed_batches(part, schema, batch_size):
                check_nulls(known, batch, part.location.name, row)
                row += batch.num_rows
                if batch.num_rows:
                    some = True
                    yield batch
        if not some:
            raise DataError(f"{place} has no rows: give a table with at least one, or leave the table out")

    def place(self, table: str) -> str:
        """The table's file or folder, as messages name it. Raises `DataError` if the table is missing."""
        self.require(table)
        return self._find()[table].name

    def parts(self, table: str) -> list[Reader]:
        """Readers of a table's files. Raises `DataError` if the table is missing."""
        self.require(table)
        return open_parts(self._find()[table])

    def _find(self) -> dict[str, Location]:
        """Where each table lies; a table that lies there twice is refused."""
        if self._places is None:
            folder = locate(self.path)
            places: dict[str, Location] = {}
            for name in folder.names():
                place = folder.child(name)
                stem = table_stem(name)
                if stem is None:
                    stem = name
                    if "." in name or (table_schema(name) is None and place.kind() != pafs.FileType.Directory):
                        continue
                if stem in places:
                    raise DataError(
                        f"{self.path} has the table '{stem}' twice, as {places[stem].name} and {place.name}: remove one"
                    )
                places[stem] = place
            self._places = places
        return self._places
