"""Part files whose folders carry columns in their names, as Hive writes them: `log/dt=2024-03-01/part-0.csv`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.conform import type_name
from omnifeat.data.locations import Location
from omnifeat.data.schema import TIMESTAMP, ByName, types_by_name
from omnifeat.data.times import not_a_time, parse_times
from omnifeat.errors import DataError

__all__ = ["PartitionReader"]


class PartitionReader:
    """A file's reader, and the columns that its folders' names give; a column of the file itself goes first.

    These columns have the schema's type where it knows the name, and are text otherwise.
    """

    def __init__(self, reader: Any, by_name: ByName = True) -> None:
        self._reader = reader
        self._values = dict(reader.location.partition)
        self._known_type = types_by_name(by_name)

    @property
    def location(self) -> Location:
        """Where the file lies."""
        found: Location = self._reader.location
        return found

    def _given(self) -> list[str]:
        there = self._reader.names()
        return [name for name in self._values if name not in there]

    def names(self) -> list[str]:
        """Column names: the file's, then the folders'."""
        return [*self._reader.names(), *self._given()]

    def count_rows(self) -> int:
        """Number of rows."""
        return int(self._reader.count_rows())

    def schema(self, columns: Sequence[str]) -> pa.Schema:
        """Types in which the columns are read."""
        given = self._given()
        found = self._reader.schema([name for name in columns if name not in given])
        fields = [found.field(name) if name not in given else pa.field(name, self._type(name)) for name in columns]
        return pa.schema(fields, metadata=found.metadata)

    def _type(self, name: str) -> pa.DataType:
        wanted = self._known_type(name)
        return wanted if isinstance(wanted, pa.DataType) and not pa.types.is_nested(wanted) else pa.string()

    def batches(self, columns: Sequence[str], batch_size: int, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Batches with exactly these columns."""
        given = self._given()
        values = {name: self._value(name) for name in columns if name in given}
        own = [name for name in columns if name not in given]
        # rows are counted by the file's columns: without one, its first is read
        read = own or self._reader.names()[:1]
        if not own:
            schema = pa.schema([*schema, *self._reader.schema(read)])
        for batch in self._reader.batches(read, batch_size, schema):
            arrays = [
                pa.repeat(values[name], batch.num_rows) if name in given else batch.column(name) for name in columns
            ]
            yield pa.record_batch(arrays, names=list(columns))

    def _value(self, name: str) -> pa.Scalar:
        target, text = self._type(name), self._values[name]
        value = pa.array([text], pa.string())
        where = f"{self.location.name}, column '{name}' of the folder's name"
        if target.equals(TIMESTAMP):
            return parse_times(value, lambda _, found: DataError(f"{where}: {found!r} {not_a_time(found)}"))[0]
        try:
            return pc.cast(value, target)[0]
        except pa.ArrowInvalid as error:
            raise DataError(f"{where}: {text!r} is not {type_name(target)}: rename the folder") from error
