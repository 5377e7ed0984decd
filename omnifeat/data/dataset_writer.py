"""Write a dataset folder, which appears whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from omnifeat.data.checks import check_finite, check_nulls, check_text, type_problems
from omnifeat.data.conform import conform_array, conformed_type, first_width, needs_width
from omnifeat.data.info import INFO_FILE, DatasetInfo
from omnifeat.data.locations import PathLike, local_path, one_line
from omnifeat.data.publishing import refuse_taken, sweep_partials
from omnifeat.data.schema import (
    TABLES,
    VECTOR,
    VECTOR_LIST,
    TableSchema,
    did_you_mean,
    known_type,
    missing_column_message,
    table_schema,
)
from omnifeat.data.writing import TableWriter, replace_when_whole
from omnifeat.errors import DataError, OutputError, SettingError

__all__ = ["DatasetWriter"]


class DatasetWriter:
    """Write a dataset folder, which appears whole or not at all.

    >>> with DatasetWriter("mine", DatasetInfo(name="mine")) as writer:  # doctest: +SKIP
    ...     writer.write("pins", pins)

    Tables are written as Parquet. Vectors are stored as lists, because a fixed-size list that is null cannot be read
    again by Arrow; when the folder is read they are fixed-size lists.

    Parameters
    ----------
    path
        Local folder to make.
    info
        What `dataset.json` is to say; the counts are filled in.
    overwrite
        Replace a dataset folder that stands there. A folder that is no dataset is never replaced.

    Raises
    ------
    OutputError
        Something stands at `path` already, or the operating system refused to write.
    SettingError
        `path` is a URL of another file system.
    DataError
        A table is not what the schema asks for; see `write`.
    """

    def __init__(self, path: PathLike, info: DatasetInfo, overwrite: bool = False) -> None:
        self.path = path
        self.info = info
        self.overwrite = overwrite
        self.counts: dict[str, int] = {}
        self._stack = contextlib.ExitStack()
        self._folder: Path | None = None

    @property
    def folder(self) -> Path:
        """The temporary folder, for files that are no tables; valid inside the `with` block."""
        if self._folder is None:
            raise SettingError("a DatasetWriter writes only inside its `with` block")
        return self._folder

    def __enter__(self) -> Self:
        refuse_existing(local_path(self.path), self.path, self.overwrite)
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(replace_when_whole(self.path, overwrite=self.overwrite))
            try:
                folder.mkdir()
            except OSError as error:
                raise OutputError(f"{self.path} cannot be written: {one_line(error.strerror or error)}") from error
            self._stack = stack.pop_all()
        self._folder = folder
        return self

    def write(self, name: str, data: pa.Table | pa.RecordBatch | Iterable[pa.RecordBatch | pa.Table]) -> None:
        """Write one table, whole or from batches.

        Raises
        ------
        DataError
            The schema has no such table, a required column is missing, a column has another type than the schema's,
            a column that must hold a value has a null, vectors of one column differ in width or are not finite, text
            is not UTF-8, or there are no rows.
        OutputError
            The operating system refused to write.
        """
        target = self.folder / f"{name}.parquet"
        known = table_schema(name)
        if known is None:
            raise DataError(f"there is no table '{name}' in a dataset folder{did_you_mean(name, TABLES)}")
        if name in self.counts:
            raise DataError(f"the table '{name}' was written before: write each table once")
        if isinstance(data, pa.Table | pa.RecordBatch):
            data = [data]
        widths: dict[str, int] = {}
        writer: TableWriter | None = None
        row = 1
        with contextlib.ExitStack() as stack:
            for piece in data:
                table = pa.Table.from_batches([piece]) if isinstance(piece, pa.RecordBatch) else piece
                ready = _ready(known, table, widths, row)
                if writer is None:
                    missing = [column for column in known.required if column not in ready.schema.names]
                    if missing:
                        raise DataError(missing_column_message(f"the table '{name}'", missing, ready.schema.names))
                    writer = stack.enter_context(TableWriter(target, _stored(ready.schema)))
                writer.write(ready)
                row += ready.num_rows
            if row == 1:
                raise DataError(f"the table '{name}' has no rows: give it at least one, or leave it out")
        self.counts[name] = row - 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        folder, self._folder = self._folder, None
        if error is not None or folder is None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            info = self.info.model_copy(update={"counts": {**self.info.counts, **self.counts}})
            (folder / INFO_FILE).write_text(info.model_dump_json(indent=2) + "\n", encoding="utf-8")


def refuse_existing(target: Path, name: PathLike, overwrite: bool) -> None:
    """Refuse a target that stands there, unless it is empty, or is a dataset that may be overwritten."""
    sweep_partials(target)
    refuse_taken(target, name, overwrite=True)  # a link, a pipe or a device
    if not target.exists():
        return
    if not target.is_dir():
        raise OutputError(f"{name} is a file: give a folder that does not exist yet")
    with contextlib.suppress(PermissionError):
        if not any(target.iterdir()):
            return
    if not overwrite:
        raise OutputError(f"{name} exists and is not empty: choose another folder, or ask to overwrite it")
    if not (target / INFO_FILE).is_file():
        raise OutputError(f"{name} is not a dataset folder (it has no {INFO_FILE}) and is not overwritten: remove it")


def _ready(known: TableSchema, table: pa.Table, widths: dict[str, int], first_row: int) -> pa.Table:
    """The table in the schema's types, checked; `widths` collects the widths of its vectors."""
    fields, columns = [], []
    for field, column in zip(table.schema, table.columns, strict=True):
        where = f"the table '{known.name}', column '{field.name}'"
        if needs_width(field.name, field.type) and field.name not in widths:
            width = first_width(field.name, column.chunks)
            if width is not None:
                widths[field.name] = width
        target = conformed_type(field.name, field.type, widths.get(field.name))
        if field.name in widths and pa.types.is_null(field.type):
            vector = pa.list_(pa.float32(), widths[field.name])
            target = vector if known_type(field.name) is VECTOR else pa.list_(vector)
        chunks, row = [], first_row
        for chunk in column.chunks:
            check_text(chunk, where, row)
            chunks.append(conform_array(chunk, target, where, row))
            check_finite(field.name, chunks[-1], where, row)
            row += len(chunk)
        columns.append(pa.chunked_array(chunks, type=target))
        fields.append(pa.field(field.name, target))
    ready = pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata=table.schema.metadata))
    for message in type_problems(known, ready.schema, f"the table '{known.name}'").values():
        raise DataError(message)
    for batch in ready.to_batches():
        check_nulls(known, batch, f"the table '{known.name}'", first_row)
        first_row += batch.num_rows
    return ready


def _stored(schema: pa.Schema) -> pa.Schema:
    """The types in which a table of a dataset is stored: vectors as lists."""
    fields = []
    for field in schema:
        wanted = known_type(field.name)
        if wanted is VECTOR:
            fields.append(field.with_type(pa.list_(pa.float32())))
        elif wanted is VECTOR_LIST:
            fields.append(field.with_type(pa.list_(pa.list_(pa.float32()))))
        else:
            fields.append(field)
    return pa.schema(fields, metadata=schema.metadata)
