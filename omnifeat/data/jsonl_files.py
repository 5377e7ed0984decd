"""Read JSONL (one object a line) in blocks, with bounded memory.

Columns that the schema knows by name have the schema's types: an id written as a number becomes text. Other columns
have the type that holds all of the file's values; text that looks like a time stays text.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pajson

from omnifeat.data.conform import conform_array, conformed_type, first_width, needs_width, plain_type, type_name
from omnifeat.data.locations import FileFormat, Location, one_line
from omnifeat.data.schema import TIMESTAMP, VECTOR, VECTOR_LIST, known_type
from omnifeat.data.times import not_a_time, parse_times
from omnifeat.errors import DataError

__all__ = ["JsonlReader"]

BLOCK_BYTES = 4 << 20
_FLOATS = pa.list_(pa.float32())


class JsonlReader:
    """One JSONL file.

    Parameters
    ----------
    by_name
        Whether columns that the schema knows have the schema's types. Without it the values alone decide.
    """

    def __init__(self, location: Location, file_format: FileFormat, by_name: bool = True) -> None:
        self.location = location
        self.format = file_format
        self._known_type = known_type if by_name else lambda _: None
        self._inferred: pa.Schema | None = None

    def names(self) -> list[str]:
        """Names of all fields that any line has, in the order in which they come first."""
        return list(self._infer().names)

    def count_rows(self) -> int:
        """Lines that are not blank."""
        return sum(sum(1 for line in block.splitlines() if line.strip()) for block, _, _ in self._blocks())

    def schema(self, columns: Sequence[str]) -> pa.Schema:
        """The types in which the columns are read."""
        inferred = self._infer()
        return pa.schema([inferred.field(name) for name in columns])

    def batches(self, columns: Sequence[str], batch_size: int, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Batches in the types of `schema`."""
        wanted = pa.schema([(name, self._read_type(name, schema.field(name).type)) for name in columns])
        for block, first_line, first_row in self._blocks():
            table = self._parse(block, first_line, wanted, infer=False)
            arrays = []
            for name in columns:
                column = _whole(table.column(name))
                target = schema.field(name).type
                where = f"{self.location.name}, column '{name}'"
                if target.equals(TIMESTAMP):
                    arrays.append(parse_times(column, _time_error(where, first_row)))
                else:
                    arrays.append(conform_array(column, target, where, first_row))
            yield pa.record_batch(arrays, names=list(columns))

    def _infer(self) -> pa.Schema:
        """One pass over the file: every field, its type, and the width of its vectors."""
        if self._inferred is not None:
            return self._inferred
        types: dict[str, pa.DataType] = {}
        widths: dict[str, int] = {}
        for block, first_line, _ in self._blocks():
            known = pa.schema([(n, self._read_type(n, t)) for n, t in types.items() if self._known_type(n) is not None])
            table = self._parse(block, first_line, known, infer=True)
            for field, column in zip(table.schema, table.columns, strict=True):
                seen = types.get(field.name, pa.null())
                types[field.name] = _merge(seen, _without_times(field.type))
                if self._known_type(field.name) and needs_width(field.name, field.type) and field.name not in widths:
                    width = first_width(field.name, column.chunks)
                    if width is not None:
                        widths[field.name] = width
        fields = []
        for name, found in types.items():
            wanted = self._known_type(name)
            if wanted in (VECTOR, VECTOR_LIST) or wanted is None:
                typed = conformed_type(name, found, widths.get(name)) if wanted is not None else plain_type(found)
                fields.append(pa.field(name, typed))
            else:
                fields.append(pa.field(name, wanted))
        self._inferred = pa.schema(fields)
        return self._inferred

    def _read_type(self, name: str, settled: pa.DataType) -> pa.DataType:
        """The type in which Arrow's JSON reader gives a column: it knows no vectors, and few forms of times."""
        wanted = self._known_type(name)
        if wanted is VECTOR:
            return _FLOATS
        if wanted is VECTOR_LIST:
            return pa.list_(_FLOATS)
        if wanted is None:
            return plain_type(settled)
        return pa.string() if wanted.equals(TIMESTAMP) else wanted

    def _blocks(self) -> Iterator[tuple[bytes, int, int]]:
        """Blocks of whole lines, each with the numbers of its first line and first row, from 1."""
        line = row = 1
        rest: list[bytes] = []
        try:
            with self.location.open_stream(self.format.compression) as stream:
                beginning = True
                while True:
                    chunk = stream.read(BLOCK_BYTES)
                    if beginning:
                        chunk, beginning = chunk.removeprefix(b"\xef\xbb\xbf"), False
                    cut = chunk.rfind(b"\n") + 1 if chunk else 0
                    if chunk and not cut:  # a line longer than a block
                        rest.append(chunk)
                        continue
                    block = b"".join([*rest, chunk[:cut]])
                    rest = [chunk[cut:]]
                    if block.strip():
                        self._check_utf8(block, line)
                        yield block, line, row
                        row += sum(1 for text in block.split(b"\n") if text.strip())
                    line += block.count(b"\n")
                    if not chunk:
                        return
        except (OSError, EOFError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"{self.location.name} is truncated or corrupt ({one_line(error)}): write it again"
            ) from error

    def _check_utf8(self, block: bytes, first_line: int) -> None:
        try:
            pc.cast(pa.array([block], pa.large_binary()), pa.large_string())
        except pa.ArrowInvalid as error:
            for place, text in enumerate(block.split(b"\n")):
                try:
                    text.decode("utf-8")
                except UnicodeDecodeError as wrong:
                    raise DataError(
                        f"{self.location.name}, line {first_line + place} is not UTF-8 text "
                        f"({text[max(0, wrong.start - 20) : wrong.start + 20]!r}): save the file as UTF-8"
                    ) from error

    def _parse(self, block: bytes, first_line: int, wanted: pa.Schema, infer: bool) -> pa.Table:
        """A block as a table with the columns `wanted`, and with all others as well if `infer`."""
        if wanted.names or infer:
            try:
                table = pajson.read_json(
                    io.BytesIO(block),
                    read_options=pajson.ReadOptions(use_threads=False, block_size=len(block) + 1),
                    parse_options=pajson.ParseOptions(
                        explicit_schema=wanted, unexpected_field_behavior="infer" if infer else "ignore"
                    ),
                )
                # Arrow takes two objects in one line, or one in two lines, for rows
                if table.num_rows == sum(1 for line in block.split(b"\n") if line.strip()):
                    return table
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                pass  # the slow way below names the line, or brings numbers to text
        return self._parse_slowly(block, first_line, wanted, infer)

    def _parse_slowly(self, block: bytes, first_line: int, wanted: pa.Schema, infer: bool) -> pa.Table:
        rows: list[dict[str, Any]] = []
        lines: list[int] = []
        for place, text in enumerate(block.split(b"\n")):
            if not text.strip():
                continue
            rows.append(self._object(text, first_line + place))
            lines.append(first_line + place)
        names = dict.fromkeys(wanted.names)
        if infer:
            names |= dict.fromkeys(name for row in rows for name in row)
        arrays = []
        for name in names:
            values = [row.get(name) for row in rows]
            if name in wanted.names:
                arrays.append(self._column(name, values, lines, wanted.field(name).type))
                continue
            target = self._known_type(name)
            if target is not None:
                arrays.append(self._column(name, values, lines, self._read_type(name, pa.null())))
                continue
            try:
                arrays.append(pa.array(values))
            except (pa.ArrowInvalid, pa.ArrowTypeError):
                arrays.append(pa.array([_as_text(value) for value in values]))
        return pa.table(arrays, names=list(names))

    def _object(self, text: bytes, line: int) -> dict[str, Any]:
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{self.location.name}, line {line} is not JSON ({error.msg} at character {error.pos + 1}): "
                "give one JSON object a line"
            ) from error
        if not isinstance(value, dict):
            raise DataError(
                f"{self.location.name}, line {line} holds {type(value).__name__} instead of an object: "
                "give one JSON object a line"
            )
        return value

    def _column(self, name: str, values: list[Any], lines: Sequence[int], target: pa.DataType) -> pa.Array:
        if pa.types.is_string(target):
            values = [_as_text(value) for value in values]
        elif pa.types.is_list(target) and pa.types.is_string(target.value_type):
            values = [[_as_text(item) for item in value] if isinstance(value, list) else value for value in values]
        elif pa.types.is_floating(target):  # an integer beyond 2**53 is no error here
            values = [float(value) if type(value) is int else value for value in values]
        try:
            return pa.array(values, type=target)
        except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, OverflowError) as error:
            for value, line in zip(values, lines, strict=True):
                try:
                    pa.array([value], type=target)
                except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, OverflowError):
                    shown = json.dumps(value, ensure_ascii=False)
                    shown = shown if len(shown) <= 60 else shown[:57] + "..."
                    raise DataError(
                        f"{self.location.name}, line {line}, field '{name}': {shown} is not a value of type "
                        f"{type_name(target)}: correct it"
                    ) from error
            raise


def _time_error(where: str, first_row: int) -> Any:
    return lambda row, text: DataError(f"{where}, row {first_row + row}: {text!r} {not_a_time(text)}")


def _without_times(arrow_type: pa.DataType) -> pa.DataType:
    """Arrow's reader takes text that looks like a time for one; here it stays text."""
    if pa.types.is_temporal(arrow_type):
        return pa.string()
    if pa.types.is_list(arrow_type):
        return pa.list_(_without_times(arrow_type.value_type))
    if pa.types.is_struct(arrow_type):
        return pa.struct([(field.name, _without_times(field.type)) for field in arrow_type])
    return arrow_type


def _merge(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The narrowest type that holds both; text where there is no other."""
    fields = (pa.schema([("value", one)]), pa.schema([("value", other)]))
    try:
        return pa.unify_schemas(fields, promote_options="permissive").field(0).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.string()


def _as_text(value: Any) -> Any:
    """A number or a truth value as the text that JSON writes for it; nested values as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
