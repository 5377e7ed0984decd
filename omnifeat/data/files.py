"""Read a table of any format, from one file or a folder of part files, whole or in batches.

Formats go by suffix: ``.parquet``, ``.csv``, ``.tsv``, ``.jsonl``/``.ndjson``/``.json`` (these also with ``.gz`` and
``.zst``) and ``.arrow``/``.feather``. Folders named ``column=value`` within a table's folder add that column; a part
that lacks a column of other parts has null there. A path may be a URL of any file system that fsspec or Arrow reads.
Whatever the format, a column comes in the type that the dataset's schema has for its name (see
`omnifeat.data.conform`), text is checked to be UTF-8 and vectors to be finite.

Writing lies in `omnifeat.data.writing`, other libraries' tables in `omnifeat.data.frames`; both are offered here too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.checks import check_finite, check_text
from omnifeat.data.columnar import ArrowReader, ParquetReader
from omnifeat.data.conform import conform_array
from omnifeat.data.csv_files import CsvReader
from omnifeat.data.dialects import TextDialect
from omnifeat.data.frames import as_table, like_input
from omnifeat.data.jsonl_files import JsonlReader
from omnifeat.data.locations import Location, PathLike, file_format, locate, part_files
from omnifeat.data.partitions import PartitionReader
from omnifeat.data.schema import ByName, is_key, missing_column_message
from omnifeat.data.writing import TableWriter, refuse_other_folder, replace_when_whole
from omnifeat.errors import DataError, SettingError

__all__ = [
    "TableWriter",
    "as_table",
    "count_rows",
    "iter_batches",
    "like_input",
    "read_schema",
    "read_table",
    "refuse_other_folder",
    "replace_when_whole",
]

logger = logging.getLogger(__name__)

BATCH_SIZE = 65_536
_LARGEST_BLANK = 64  # bytes of a compressed file that may hold nothing


class Reader(Protocol):
    """What a file of each format can do."""

    @property
    def location(self) -> Location:
        """Where the file lies."""

    def names(self) -> list[str]:
        """Column names."""

    def count_rows(self) -> int:
        """Number of rows."""

    def schema(self, columns: Sequence[str]) -> pa.Schema:
        """Types in which the columns are read."""

    def batches(self, columns: Sequence[str], batch_size: int, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Batches with exactly these columns."""


def open_parts(
    path: PathLike | Location, *, dialect: TextDialect | None = None, by_name: ByName = True
) -> list[Reader]:
    """A reader for each file of a table, in order; files without a byte are left out where others have some.

    Parameters
    ----------
    dialect
        How the cells of text files are written; that of `default_dialect` if None.
    by_name
        Whether columns that the schema knows have the schema's types; with `keys`, ids, queries and entity types alone.
        Other columns come as they stand in the file, and in files without types the values decide.
    """
    parts = part_files(path)
    filled = [part for part in parts if not _is_blank(part)] if len(parts) > 1 else parts
    return [_reader(part, dialect, by_name) for part in filled or parts[:1]]


def _is_blank(part: Location) -> bool:
    """Whether a file holds nothing, as parts of tools that write in parallel may."""
    kind = file_format(part.name)
    if kind.compression is None:
        return part.size() == 0
    if part.size() > _LARGEST_BLANK:
        return False
    with part.open_stream(kind.compression) as stream:
        try:
            return not stream.read(1)
        except OSError:
            return False  # what is wrong with it is told when it is read


def _reader(part: Location, dialect: TextDialect | None, by_name: ByName) -> Reader:
    kind = file_format(part.name)
    reader: Reader
    match kind.kind:
        case "parquet":
            reader = ParquetReader(part, by_name)
        case "arrow":
            reader = ArrowReader(part, by_name)
        case "csv":
            reader = CsvReader(part, kind, dialect, by_name)
        case _:
            reader = JsonlReader(part, kind, by_name)
    return PartitionReader(reader, by_name) if part.partition else reader


def column_names(parts: Sequence[Reader]) -> list[str]:
    """Columns of a table: those of any part, in the order in which they come first.

    A name that stands twice in a part is listed once; to read it is refused.
    """
    names = list(dict.fromkeys(name for part in parts for name in part.names()))
    if not names:
        raise DataError(f"{parts[0].location.name} is empty: give a table with columns and rows")
    return names


def settled_schema(parts: Sequence[Reader], columns: Sequence[str]) -> pa.Schema:
    """The one schema in which all parts of a table are read.

    Raises
    ------
    DataError
        No part has a column, a part lacks a column of ids or the like, or the parts' types are of no common kind.
    """
    schemas = []
    for part in parts:
        there = part.names()
        lacking = [name for name in columns if name not in there]
        # lines of JSON may leave fields out
        may_lack = file_format(part.location.name).kind == "jsonl"
        keys = [name for name in lacking if is_key(name) and not may_lack]
        if keys and part.count_rows():
            raise DataError(missing_column_message(part.location.name, keys, there))
        if lacking and not may_lack and any(set(lacking) & set(other.names()) for other in parts):
            _tell_lacking(part.location.name, tuple(lacking))
        schemas.append(part.schema([name for name in columns if name not in lacking]))
    fields = []
    for name in columns:
        found = [
            (part, schema.field(name).type) for part, schema in zip(parts, schemas, strict=True) if name in schema.names
        ]
        if not found:
            raise DataError(missing_column_message(parts[0].location.name, [name], parts[0].names()))
        first = found[0][1]
        for part, other in found[1:]:
            first = _common_type(name, first, other, part, found[0][0])
        fields.append(pa.field(name, first))
    return pa.schema(fields, metadata=schemas[0].metadata)


@cache  # a table's schema is settled more than once
def _tell_lacking(part: str, names: tuple[str, ...]) -> None:
    shown = ", ".join(f"'{name}'" for name in names)
    logger.warning(
        "%s has no column%s %s, as other parts have: its rows are null there", part, "s" * (len(names) > 1), shown
    )


def _common_type(name: str, one: pa.DataType, other: pa.DataType, part: Reader, first: Reader) -> pa.DataType:
    if one.equals(other):
        return one
    # a part without one vector does not know their width: the others do
    no_width = pa.list_(pa.float32())
    for mine, theirs in ((one, other), (other, one)):
        if mine.equals(no_width) and pa.types.is_fixed_size_list(theirs):
            return theirs
        if mine.equals(pa.list_(no_width)) and pa.types.is_list(theirs):
            return theirs
    fields = (pa.schema([(name, one)]), pa.schema([(name, other)]))
    try:
        return pa.unify_schemas(fields, promote_options="permissive").field(0).type
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        if file_format(part.location.name).kind in ("csv", "jsonl"):
            return pa.string()
        # pandas writes a column of texts of which a part has none as numbers that are all missing
        for reader, mine, theirs in ((first, one, other), (part, other, one)):
            if pa.types.is_floating(mine) and pa.types.is_string(theirs) and _all_missing(reader, name):
                return theirs
        raise DataError(
            f"{part.location.name}, column '{name}' is {other}, but in {first.location.name} it is {one}: "
            "write all parts with the same types"
        ) from error


def _all_missing(part: Reader, name: str) -> bool:
    """Whether a column of numbers holds none."""
    return all(
        pc.all(pc.is_null(batch.column(0), nan_is_null=True)).as_py() is not False
        for batch in part.batches([name], BATCH_SIZE, pa.schema([]))
    )


def read_schema(path: PathLike, *, dialect: TextDialect | None = None, by_name: ByName = True) -> pa.Schema:
    """Column names and types in which a table is read, and the first part's metadata; see `open_parts`.

    CSV and JSONL carry no types: of those the whole file may be read (see `omnifeat.data.csv_files`).

    Raises
    ------
    DataError
        The table is missing, of unknown format, or cannot be read.
    """
    parts = open_parts(path, dialect=dialect, by_name=by_name)
    return settled_schema(parts, column_names(parts))


def count_rows(path: PathLike) -> int:
    """Number of rows of a table; 0 for an empty one.

    Raises
    ------
    DataError
        The table is missing, of unknown format, or cannot be read.
    """
    return sum(part.count_rows() for part in open_parts(path))


def iter_batches(
    path: PathLike,
    columns: Sequence[str] | None = None,
    batch_size: int = BATCH_SIZE,
    *,
    allow_empty: bool = False,
    dialect: TextDialect | None = None,
    by_name: ByName = True,
) -> Iterator[pa.RecordBatch]:
    """Read a table in batches; memory is bounded by the batch, not by the file.

    Parameters
    ----------
    path
        A file, a folder of part files, or a URL.
    columns
        The columns to read, in this order; all of them if None.
    batch_size
        Most rows of a batch; batches may be smaller.
    allow_empty
        Give no batch for a table without rows instead of refusing it.
    dialect, by_name
        See `open_parts`.

    Raises
    ------
    DataError
        The table is missing, of unknown format, truncated or corrupt, or has no rows; a column is missing; text is
        not UTF-8; a vector has another width than the column's first one, or holds NaN or infinity.
    """
    parts = open_parts(path, dialect=dialect, by_name=by_name)
    there = column_names(parts)
    if columns is None:
        columns = there
    if not columns:
        raise SettingError(f"no column of {locate(path).name} is asked for: name at least one")
    missing = [name for name in columns if name not in there]
    if missing:
        raise DataError(missing_column_message(locate(path).name, missing, there))
    schema = settled_schema(parts, columns)
    some = False
    for part in parts:
        for batch in conformed_batches(part, schema, batch_size):
            some = some or batch.num_rows > 0
            if batch.num_rows:
                yield batch
    if not some and not allow_empty:
        raise DataError(f"{locate(path).name} has no rows: give a table with at least one")


def conformed_batches(part: Reader, schema: pa.Schema, batch_size: int) -> Iterator[pa.RecordBatch]:
    """One part's batches, checked, in the types of `schema`, of at most `batch_size` rows."""
    there = set(part.names())
    columns = [name for name in schema.names if name in there]
    if not columns:  # nothing to read, but its rows are there
        left = part.count_rows() if schema.names else 0
        for start in range(0, left, batch_size):
            rows = min(batch_size, left - start)
            yield pa.RecordBatch.from_arrays([pa.nulls(rows, field.type) for field in schema], schema=schema)
        return
    row = 1
    for raw in part.batches(columns, batch_size, schema):
        arrays = []
        for field in schema:
            if field.name not in there:
                arrays.append(pa.nulls(raw.num_rows, field.type))
                continue
            column = raw.column(field.name)
            where = f"{part.location.name}, column '{field.name}'"
            check_text(column, where, row)
            array = conform_array(column, field.type, where, row)
            check_finite(field.name, array, where, row)
            arrays.append(array)
        row += raw.num_rows
        batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
        for start in range(0, batch.num_rows, batch_size):
            yield batch.slice(start, batch_size)


def read_table(
    path: PathLike, columns: Sequence[str] | None = None, *, allow_empty: bool = False, by_name: ByName = True
) -> pa.Table:
    """Read a whole table into memory; see `iter_batches` for the parameters and what is raised."""
    batches = list(iter_batches(path, columns, allow_empty=allow_empty, by_name=by_name))
    if batches:
        return pa.Table.from_batches(batches)
    parts = open_parts(path, by_name=by_name)
    return settled_schema(parts, column_names(parts) if columns is None else columns).empty_table()
