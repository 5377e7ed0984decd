"""Write tables, files and folders beside their place, and rename them when they are whole."""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import json
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from omnifeat.data.locations import FileFormat, Location, PathLike, local_path, locate, one_line, output_format
from omnifeat.data.publishing import as_the_user_knows, is_partial_of, make_partial, publish, refuse_taken
from omnifeat.errors import DataError, OmnifeatError, OutputError, SettingError
from omnifeat.owned import OwnedFolder, new_token

__all__ = ["TableWriter", "refuse_other_folder", "replace_when_whole"]

ROW_GROUP = 65_536


def output_error(target: object, error: OSError) -> OutputError:
    """The sentence for what the operating system refused."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            reason = "no space is left on the disk: free some, or write elsewhere"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            reason = "there is no permission to write there: choose another place"
        case errno.ENOTDIR | errno.EEXIST:
            reason = "a file stands where a folder must be: choose another place"
        case errno.EFBIG:
            reason = "the file would be larger than the system allows: write elsewhere"
        case errno.EISDIR:
            reason = "a folder stands there: choose another name"
        case errno.ENAMETOOLONG:
            reason = "the name is too long: choose a shorter one"
        case errno.ENOENT:
            reason = "its folder is not there and cannot be made: choose another place"
        case _:
            reason = f"{one_line(error.strerror or error)}: choose another place"
    return OutputError(f"{target} cannot be written: {reason}")


# how libraries that write by themselves say that the disk is full
_FULL = re.compile(
    r"no space left on device|os error 28\b|disk quota exceeded|os error 122\b"
    r"|pytorchstreamwriter failed|inline_container\.cc.*unexpected pos"  # torch
    r"|\d+ requested and \d+ written",  # NumPy
    re.IGNORECASE | re.DOTALL,
)


def refusal_within(error: BaseException) -> OSError | None:
    """The refusal of the operating system that a library's own error stands for; None where it stands for none."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            return seen
        if _FULL.search(str(seen)):
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        seen = seen.__cause__ or seen.__context__
    return None


def _partial_beside(target: Path, path: PathLike) -> OwnedFolder:
    try:
        return make_partial(target)
    except OSError as error:  # whatever it names, it is this output that cannot be made
        raise output_error(path, error) from error


@contextmanager
def replace_when_whole(path: PathLike, *, overwrite: bool = True, whatever: bool = False) -> Iterator[Path]:
    """Yield a temporary path for a file or a folder that the caller makes; put it at `path` on clean exit.

    Whatever stood at `path` stays until then, and stays if anything is raised; the temporary path is then removed.
    A missing parent folder is made. A folder that stood there and has no name in common with the new one is not an
    earlier output but something else of the user's, and is not replaced, except under `whatever`. See
    `omnifeat.data.publishing` for what kills and other runs may do meanwhile.

    Parameters
    ----------
    overwrite
        Replace what stands there. Without it nothing may stand there (an empty folder may, where a folder is made),
        neither now nor when all is done.

    Raises
    ------
    OutputError
        The operating system refused to write (no space, no permission), nothing was made, the folder that stands
        there is of something else, a link, a pipe or a device stands there, or the place is not free.
    SettingError
        The path is a URL of another file system.
    """
    target = local_path(path)
    try:
        with _partial_beside(target, path) as owned:
            refuse_taken(target, path, overwrite or _is_empty_folder(target))
            partial = owned.path / target.name
            yield partial
            if not partial.exists():
                raise OutputError(f"{path} cannot be written: nothing was made for it")
            if not whatever and partial.is_dir() and target.is_dir():
                refuse_other_folder(target, os.listdir(partial))
            publish(partial, target, path, overwrite)
    except OutputError as error:
        # an output inside this one may have been refused: say it of the place that the user knows
        said = as_the_user_knows(str(error), target, path)
        if said == str(error):
            raise
        raise OutputError(said) from error
    except OSError as error:
        if isinstance(error, OmnifeatError) or _is_of_another_file(error, target):
            raise
        raise output_error(path, refusal_within(error) or error) from error
    except Exception as error:
        refused = refusal_within(error)
        if refused is None or isinstance(error, OmnifeatError):
            raise
        raise output_error(path, refused) from error


def refuse_other_folder(folder: Path, names: Collection[str]) -> None:
    """Raise `OutputError` if a folder holds something, but nothing of these names."""
    there = sorted(os.listdir(folder))
    if there and not set(there) & set(names):
        raise OutputError(
            f"{folder} cannot be written: a folder of something else stands there (with {there[0]!r}); choose another "
            "place, or remove it yourself"
        )


def _is_empty_folder(target: Path) -> bool:
    return target.is_dir() and not target.is_symlink() and not os.listdir(target)


def _is_of_another_file(error: OSError, target: Path) -> bool:
    """Whether the error names a file that is not this output, such as an input that is missing."""
    if error.filename is None:
        return False
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)
    return not (name.startswith(str(target)) or is_partial_of(target, name))


class TableWriter:
    """Write one table file in batches; the suffix gives the format.

    >>> with TableWriter("pairs.parquet", schema) as writer:  # doctest: +SKIP
    ...     writer.write(batch)

    The file is written beside its place and renamed on clean exit; on an exception nothing is left. In CSV, lists and
    vectors are JSON in a cell, null is an empty cell and an empty text a quoted empty one.

    Parameters
    ----------
    path
        Local path or fsspec URL that ends in a known suffix.
    schema
        Arrow schema of the batches to come; its metadata is kept in Parquet and Arrow files.
    overwrite
        Replace a file that stands there, now or when all is written.

    Raises
    ------
    DataError
        The suffix is unknown, or a batch does not have the schema's columns and types.
    OutputError
        The operating system refused to write.
    """

    def __init__(self, path: PathLike, schema: pa.Schema, *, overwrite: bool = True) -> None:
        self.path = path
        self.schema = schema
        self.overwrite = overwrite
        self.rows = 0
        self._format = output_format(path)
        self._stack = contextlib.ExitStack()
        self._sink: _Sink | None = None

    def __enter__(self) -> Self:
        if str(self.path).lower().startswith(("http://", "https://")):
            raise OutputError(f"{self.path} cannot be written: web addresses can only be read; name a local file")
        location = locate(self.path)
        with contextlib.ExitStack() as stack:
            if location.local:
                partial = stack.enter_context(replace_when_whole(self.path, overwrite=self.overwrite))
                try:
                    raw = partial.open("wb")
                except OSError as error:
                    raise output_error(self.path, error) from error
                stream = stack.enter_context(_named_errors(self.path, raw))
            else:
                stream = stack.enter_context(_remote(location, self.overwrite))
            try:
                self._sink = _sink(stream, self.schema, self._format)
            except pa.ArrowNotImplementedError as error:  # a type that the format has not
                raise DataError(f"{self.path} cannot be written: {one_line(error)}") from error
            except OSError as error:
                raise output_error(self.path, error) from error
            self._stack = stack.pop_all()
        return self

    def write(self, data: pa.RecordBatch | pa.Table) -> None:
        """Add rows.

        Raises
        ------
        DataError
            The columns or types are not the schema's.
        OutputError
            The operating system refused to write.
        """
        if self._sink is None:
            raise SettingError("a TableWriter writes only inside its `with` block")
        table = pa.Table.from_batches([data]) if isinstance(data, pa.RecordBatch) else data
        if table.schema.names != self.schema.names:
            raise DataError(
                f"{self.path}: a batch has the columns {', '.join(table.schema.names)}, "
                f"but the table has {', '.join(self.schema.names)}: write the same columns in the same order"
            )
        try:
            table = table.cast(self.schema)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, ValueError) as error:
            raise DataError(f"{self.path}: a batch does not have the table's types ({one_line(error)})") from error
        try:
            self._sink.write(table)
        except OSError as error:
            raise output_error(self.path, error) from error
        self.rows += table.num_rows

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sink, self._sink = self._sink, None
        failure: BaseException | None = error
        if sink is not None and error is None:
            try:
                sink.close()
            except OSError as refused:
                failure = output_error(self.path, refused)
        if sink is not None and failure is not None:
            sink.abandon()
        if failure is None:
            self._stack.close()
            return
        self._stack.__exit__(type(failure), failure, failure.__traceback__)
        if error is None:
            raise failure


@contextmanager
def _named_errors(path: PathLike, stream: Any) -> Iterator[Any]:
    try:
        yield stream
    finally:
        try:
            stream.close()
        except OSError as error:
            raise output_error(path, error) from error


@contextmanager
def _remote(location: Location, overwrite: bool) -> Iterator[Any]:
    """A stream to a temporary name of another file system, which is renamed on clean exit."""
    folder, _, name = location.path.rpartition("/")
    partial = f"{folder}/.{name}.partial-{new_token()}" if folder else f".{name}.partial-{new_token()}"
    files = location.filesystem
    try:
        _refuse_remote(location, overwrite)
        if folder:
            files.create_dir(folder, recursive=True)
        with files.open_output_stream(partial) as stream:
            yield stream
        _refuse_remote(location, overwrite)  # no such file system can look and rename in one step
        files.move(partial, location.path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            files.delete_file(partial)
        if isinstance(error, OSError) and not isinstance(error, OutputError | DataError):
            raise output_error(location.name, error) from error
        raise


def _refuse_remote(location: Location, overwrite: bool) -> None:
    if not overwrite and location.kind() != pafs.FileType.NotFound:
        raise OutputError(f"{location.name} exists already; choose another place, or replace it with --overwrite.")


class _Sink:
    """Where batches of one format go."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table)

    def close(self) -> None:
        self._writer.close()

    def abandon(self) -> None:
        """Let go of the writer; what it still wants to say about a file that goes anyway is of no interest."""
        with contextlib.suppress(OSError, pa.ArrowException):
            self._writer.close()


class _ParquetSink(_Sink):
    """Row groups of `ROW_GROUP` rows, whatever the size of the batches that come.

    Fixed-size lists that may be null are stored as lists: Arrow writes the null ones as empty and then cannot read
    them ("Expected all lists to be of size ..."). The readers here make them fixed-size again.
    """

    def __init__(self, stream: Any, schema: pa.Schema) -> None:
        fields = [field.with_type(_stored_type(field.type)) if field.nullable else field for field in schema]
        self._schema = pa.schema(fields, metadata=schema.metadata)
        super().__init__(pq.ParquetWriter(stream, self._schema, compression="zstd"))
        self._waiting: list[pa.Table] = []
        self._rows = 0

    def write(self, table: pa.Table) -> None:
        self._waiting.append(table.cast(self._schema))
        self._rows += table.num_rows
        if self._rows >= ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting), row_group_size=ROW_GROUP)
            self._waiting, self._rows = [], 0

    def close(self) -> None:
        self._flush()
        self._writer.close()


class _TextSink(_Sink):
    """CSV or JSONL, perhaps compressed."""

    def __init__(self, stream: Any, schema: pa.Schema, file_format: FileFormat) -> None:
        # no time stamp in the gzip header: the same rows give the same bytes
        self._stream = gzip.GzipFile(fileobj=stream, mode="wb", mtime=0, filename="") if file_format.gzip else stream
        self._zipped = file_format.gzip
        self._format = file_format
        if file_format.kind == "csv":
            self._stream.write(_csv_bytes(_csv_ready(schema.empty_table()), file_format, header=True))

    def write(self, table: pa.Table) -> None:
        for start in range(0, table.num_rows, ROW_GROUP):
            rows = table.slice(start, ROW_GROUP)
            if self._format.kind == "csv":
                self._stream.write(_csv_bytes(_csv_ready(rows), self._format, header=False))
            else:
                self._stream.write(_json_lines(rows))

    def close(self) -> None:
        if self._zipped:
            self._stream.close()

    def abandon(self) -> None:
        with contextlib.suppress(OSError):
            self.close()


def _sink(stream: Any, schema: pa.Schema, file_format: FileFormat) -> _Sink:
    if file_format.kind == "parquet":
        return _ParquetSink(stream, schema)
    if file_format.kind == "arrow":
        return _Sink(pa.ipc.new_file(stream, schema))
    return _TextSink(stream, schema, file_format)


def _stored_type(arrow_type: pa.DataType) -> pa.DataType:
    if pa.types.is_fixed_size_list(arrow_type) or pa.types.is_list(arrow_type):
        return pa.list_(_stored_type(arrow_type.value_type))
    return arrow_type


def _csv_bytes(table: pa.Table, file_format: FileFormat, header: bool) -> bytes:
    buffer = io.BytesIO()
    pacsv.write_csv(table, buffer, pacsv.WriteOptions(include_header=header, delimiter=file_format.delimiter))
    return buffer.getvalue()


def _csv_ready(table: pa.Table) -> pa.Table:
    """The table with JSON text where CSV has no form of its own."""
    columns = []
    for column in table.columns:
        if pa.types.is_nested(column.type):
            columns.append(pa.array(_json_cells(column), pa.string()))
        elif pa.types.is_timestamp(column.type) and column.type.tz is not None:
            columns.append(pc.strftime(column, format="%Y-%m-%dT%H:%M:%SZ"))
        else:
            columns.append(column)
    return pa.table(columns, names=table.schema.names)


def _json_cells(column: pa.ChunkedArray) -> list[str | None]:
    values = _python_values(column)
    return [None if value is None else _JSON.encode(value) for value in values]


def _python_values(column: pa.ChunkedArray) -> list[Any]:
    """Python values; float32 with the fewest digits that read back to the same number."""
    values = column.to_pylist()
    return [_short(value) for value in values] if _holds_float32(column.type) else values


def _holds_float32(arrow_type: pa.DataType) -> bool:
    while pa.types.is_nested(arrow_type) and not pa.types.is_struct(arrow_type) and not pa.types.is_map(arrow_type):
        arrow_type = arrow_type.value_type
    return bool(pa.types.is_float32(arrow_type))


def _short(value: Any) -> Any:
    if isinstance(value, list):
        return [_short(item) for item in value]
    return value if value is None else float(str(np.float32(value)))


def _json_lines(table: pa.Table) -> bytes:
    columns = [_python_values(column) for column in table.columns]
    names = table.schema.names
    lines = []
    for row in zip(*columns, strict=True):
        record = dict(zip(names, row, strict=True))
        lines.append(_JSON.encode(record) + "\n")
    return "".join(lines).encode("utf-8")


def _json_form(value: Any) -> str:
    if hasattr(value, "isoformat"):
        return str(value.isoformat()).replace("+00:00", "Z")
    return str(value)


# `json.dumps` would make a new encoder for every row
_JSON = json.JSONEncoder(ensure_ascii=False, default=_json_form)
