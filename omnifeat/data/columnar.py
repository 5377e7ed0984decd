"""Read Parquet and Arrow files in batches."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from omnifeat.data.conform import conformed_type, first_width, needs_width, plain_type
from omnifeat.data.locations import Location, one_line
from omnifeat.data.schema import ByName, refuse_doubled, types_by_name
from omnifeat.errors import DataError

__all__ = ["ArrowReader", "ParquetReader"]

# Arrow would hold whole column chunks ahead (1 GB of a table of 1 GB); read in steps, the same table takes 83 MB.
# INT96, in which Spark writes times, holds the years up to 9999 only as microseconds.
_STREAMING: dict[str, Any] = {"pre_buffer": False, "buffer_size": 1 << 20, "coerce_int96_timestamp_unit": "us"}


class ParquetReader:
    """One Parquet file."""

    def __init__(self, location: Location, by_name: ByName = True) -> None:
        self.location = location
        self._by_name = by_name

    def _file(self, lists: bool = False) -> Any:
        """The open file; with `lists`, one that gives its vectors as lists of any length."""
        source = self.location.open()
        try:
            file = pq.ParquetFile(source, **_STREAMING)
            list(file.schema_arrow.names)  # names that are not UTF-8 are found here
            if lists and any(_has_fixed_size(field.type) for field in file.schema_arrow):
                return pq.ParquetFile(source, metadata=_without_fixed_sizes(file), **_STREAMING)
            return file
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _corrupt(self.location, "Parquet", error) from error

    def names(self) -> list[str]:
        """Column names in file order."""
        return list(self._file().schema_arrow.names)

    def count_rows(self) -> int:
        """Rows, from the file's footer."""
        return int(self._file().metadata.num_rows)

    def raw_schema(self) -> pa.Schema:
        """The types as they stand in the file."""
        return self._file().schema_arrow

    def schema(self, columns: Sequence[str]) -> pa.Schema:
        """The types in which the columns are read, with the file's own metadata."""
        raw = self._file().schema_arrow
        return _settle(
            self.location, raw, columns, lambda name: self.batches([name], 4096, pa.schema([])), self._by_name
        )

    def batches(self, columns: Sequence[str], batch_size: int, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Batches of at most `batch_size` rows, in the types of the file."""
        file = self._file(lists=True)
        try:
            for batch in file.iter_batches(batch_size=batch_size, columns=list(columns)):
                yield batch.select(list(columns))  # in the order asked for, not in the file's
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _corrupt(self.location, "Parquet", error) from error


def _has_fixed_size(arrow_type: pa.DataType) -> bool:
    types = pa.types
    if types.is_fixed_size_list(arrow_type):
        return True
    is_list = types.is_list(arrow_type) or types.is_large_list(arrow_type)
    return bool(is_list and _has_fixed_size(arrow_type.value_type))


def _as_lists(arrow_type: pa.DataType) -> pa.DataType:
    if not _has_fixed_size(arrow_type):
        return arrow_type
    return pa.list_(arrow_type.value_field.with_type(_as_lists(arrow_type.value_type)))


def _without_fixed_sizes(file: Any) -> Any:
    """The file's footer, rewritten in memory to give fixed-size lists as lists.

    Arrow writes a null fixed-size list as an empty one and then refuses to read it ("Expected all lists to be of
    size ..."). Read as lists of any length, the same bytes are fine; `conform_array` then makes vectors of them.
    """
    schema = file.schema_arrow
    fields = [field.with_type(_as_lists(field.type)) for field in schema]
    footer = io.BytesIO()
    pq.write_metadata(pa.schema(fields, metadata=schema.metadata), footer, metadata_collector=[file.metadata])
    return pq.read_metadata(io.BytesIO(footer.getvalue()))


class ArrowReader:
    """One Arrow IPC file (Feather version 2) or stream."""

    def __init__(self, location: Location, by_name: ByName = True) -> None:
        self.location = location
        self._by_name = by_name

    def _open(self) -> tuple[Any, bool]:
        """The open reader, and whether it is of the file form, which has the batches' places at its end."""
        source = self.location.open()
        try:
            return _named(pa.ipc.open_file(source)), True
        except (pa.ArrowException, OSError, ValueError):
            source.seek(0)
        try:
            return _named(pa.ipc.open_stream(source)), False
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _corrupt(self.location, "Arrow", error) from error

    def names(self) -> list[str]:
        """Column names in file order."""
        return list(self._open()[0].schema.names)

    def count_rows(self) -> int:
        """Rows, counted over the batches."""
        return sum(batch.num_rows for batch in self._raw_batches())

    def raw_schema(self) -> pa.Schema:
        """The types as they stand in the file."""
        return self._open()[0].schema

    def schema(self, columns: Sequence[str]) -> pa.Schema:
        """The types in which the columns are read, with the file's own metadata."""
        raw = self.raw_schema()
        return _settle(
            self.location, raw, columns, lambda name: self.batches([name], 4096, pa.schema([])), self._by_name
        )

    def _raw_batches(self) -> Iterator[pa.RecordBatch]:
        reader, is_file = self._open()
        try:
            batches = map(reader.get_batch, range(reader.num_record_batches)) if is_file else iter(reader)
            for batch in batches:
                for column in batch.columns:
                    _check_layout(column)
                yield batch
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _corrupt(self.location, "Arrow", error) from error

    def batches(self, columns: Sequence[str], batch_size: int, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Batches as they lie in the file, in the types of the file."""
        for batch in self._raw_batches():
            yield batch.select(list(columns))


def _named(reader: Any) -> Any:
    """The reader, once its column names are known to be text; `UnicodeDecodeError` is a `ValueError`."""
    list(reader.schema.names)
    return reader


def _check_layout(column: pa.Array) -> None:
    """Refuse a column whose buffers do not fit together: to touch its values could end the process.

    Raises `pyarrow.ArrowInvalid`. Text that is not UTF-8 passes, for it is found and named later.
    """
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        if "UTF8" not in str(error):
            raise


def _settle(
    location: Location,
    raw: pa.Schema,
    columns: Sequence[str],
    read_column: Callable[[str], Iterator[pa.RecordBatch]],
    by_name: ByName,
) -> pa.Schema:
    """Types to read columns in; where a vector's width is not in the type, the first value says it."""
    refuse_doubled(location.name, raw.names, columns)
    fields, known_type = [], types_by_name(by_name)
    for name in columns:
        field = raw.field(name)
        width, known = None, known_type(name) is not None
        if known and needs_width(name, field.type):
            width = first_width(name, (batch.column(0) for batch in read_column(name)))
        target = conformed_type(name, field.type, width) if known else plain_type(field.type)
        fields.append(pa.field(name, target))
    return pa.schema(fields, metadata=raw.metadata)


def _corrupt(location: Location, kind: str, error: BaseException) -> DataError:
    return DataError(
        f"{location.name} cannot be read as {kind}: it is truncated or corrupt ({one_line(error)}): write it again"
    )
