"""Read JSONL (one object a line) in blocks, with bounded memory.

Columns that the schema knows by name have the schema's types: an id written as a number becomes text. Other columns
have the type that holds all of the file's values; text that looks like a time stays text. NaN, which is no JSON, is
null; a number in a column of text is never the word for NaN or infinity. See `json_lines` for what is refused.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pajson

from omnifeat.data.conform import conform_array, conformed_type, first_width, needs_width, plain_type, value_name
from omnifeat.data.json_lines import Block, blocks, parse_line
from omnifeat.data.locations import FileFormat, Location
from omnifeat.data.schema import TIMESTAMP, VECTOR, VECTOR_LIST, ByName, is_key, types_by_name
from omnifeat.data.times import not_a_time, parse_times
from omnifeat.errors import DataError

__all__ = ["JsonlReader"]

_FLOATS = pa.list_(pa.float32())


class JsonlReader:
    """One JSONL file.

    Parameters
    ----------
    by_name
        Whether columns that the schema knows have the schema's types. Without it the values alone decide.
    """

    def __init__(self, location: Location, file_format: FileFormat, by_name: ByName = True) -> None:
        self.location = location
        self.format = file_format
        self._known_type = types_by_name(by_name)
        self._inferred: pa.Schema | None = None

    def names(self) -> list[str]:
        """Names of all fields that any line has, in the order in which they come first."""
        return list(self._infer().names)

    def count_rows(self) -> int:
        """Lines that are not blank."""
        return sum(block.rows for block in self._blocks())

    def schema(self, columns: Sequence[str]) -> pa.Schema:
        """The types in which the columns are read."""
        inferred = self._infer()
        return pa.schema([inferred.field(name) for name in columns])

    def batches(self, columns: Sequence[str], batch_size: int, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Batches in the types of `schema`."""
        wanted = pa.schema([(name, self._read_type(name, schema.field(name).type)) for name in columns])
        for block in self._blocks():
            table = self._parse(block, wanted, infer=False)
            arrays = []
            for name in columns:
                column = _whole(table.column(name))
                target = schema.field(name).type
                where = f"{self.location.name}, column '{name}'"
                if target.equals(TIMESTAMP):
                    arrays.append(parse_times(column, _time_error(where, block.first_row)))
                else:
                    arrays.append(conform_array(_without_nan(column), target, where, block.first_row))
            yield pa.record_batch(arrays, names=list(columns))

    def _infer(self) -> pa.Schema:
        """One pass over the file: every field, its type, and the width of its vectors."""
        if self._inferred is not None:
            return self._inferred
        types: dict[str, pa.DataType] = {}
        widths: dict[str, int] = {}
        for block in self._blocks():
            known = pa.schema([(n, self._read_type(n, t)) for n, t in types.items() if self._known_type(n) is not None])
            table = self._parse(block, known, infer=True)
            if any("\0" in name for name in table.schema.names):
                raise DataError(f"{self.location.name}: the name of a field holds a NUL character: rename it")
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

    def _blocks(self) -> Iterator[Block]:
        return blocks(self.location, self.format)

    def _parse(self, block: Block, wanted: pa.Schema, infer: bool) -> pa.Table:
        """A block as a table with the columns `wanted`, and with all others as well if `infer`."""
        if wanted.names or infer:
            try:
                table = pajson.read_json(
                    io.BytesIO(block.data),
                    read_options=pajson.ReadOptions(use_threads=False, block_size=len(block.data) + 1),
                    parse_options=pajson.ParseOptions(
                        explicit_schema=wanted, unexpected_field_behavior="infer" if infer else "ignore"
                    ),
                )
                # Arrow takes two objects in one line, or one in two lines, for rows
                if table.num_rows == block.rows and not (infer and _loses_digits(table.schema, block.data)):
                    return table
            except pa.ArrowException:
                pass  # the slow way below names the line, or brings numbers to text
        return self._parse_slowly(block, wanted, infer)

    def _parse_slowly(self, block: Block, wanted: pa.Schema, infer: bool) -> pa.Table:
        rows: list[dict[str, Any]] = []
        lines: list[int] = []
        for line, text in enumerate(block.data.split(b"\n"), block.first_line):
            if text.strip():
                rows.append(parse_line(text, self.location.name, line))
                lines.append(line)
        names = dict.fromkeys(wanted.names)
        if infer:
            names |= dict.fromkeys(name for row in rows for name in row)
        arrays = []
        for name in names:
            values = [row.get(name) for row in rows]
            if name in wanted.names:
                arrays.append(self._column(name, values, lines, wanted.field(name).type))
            elif self._known_type(name) is not None:
                arrays.append(self._column(name, values, lines, self._read_type(name, pa.null())))
            else:
                arrays.append(self._of_any_type(name, values, lines))
        return pa.table(arrays, names=list(names))

    def _of_any_type(self, name: str, values: list[Any], lines: Sequence[int]) -> pa.Array:
        try:
            return pa.array(values)
        except (pa.ArrowException, OverflowError, TypeError):
            return self._column(name, values, lines, pa.string())

    def _column(self, name: str, values: list[Any], lines: Sequence[int], target: pa.DataType) -> pa.Array:
        try:
            return pa.array([self._value(name, value, target) for value in values], type=target)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            for value, line in zip(values, lines, strict=True):
                try:
                    pa.array([self._value(name, value, target)], type=target)
                except (pa.ArrowException, TypeError, ValueError, OverflowError):
                    shown = json.dumps(value, ensure_ascii=False)
                    shown = shown if len(shown) <= 60 else shown[:57] + "..."
                    raise DataError(
                        f"{self.location.name}, line {line}, field '{name}': {shown} is not "
                        f"{value_name(target)}: correct it"
                    ) from error
            raise

    def _value(self, name: str, value: Any, target: pa.DataType) -> Any:
        """A value as Python's form of the type; raises `ValueError` for what must not become text."""
        if pa.types.is_string(target):
            known = self._known_type(name)
            key = is_key(name)
            return as_text(value, is_key=key, nested=not key and (known is None or known.equals(TIMESTAMP)))
        if pa.types.is_list(target) and pa.types.is_string(target.value_type) and isinstance(value, list):
            return [as_text(item, is_key=False, nested=False) for item in value]
        # an integer beyond 2**53 is no error in a column of floats
        return float(value) if pa.types.is_floating(target) and type(value) is int else value


def _time_error(where: str, first_row: int) -> Any:
    return lambda row, text: DataError(f"{where}, row {first_row + row}: {text!r} {not_a_time(text)}")


def _without_times(arrow_type: pa.DataType) -> pa.DataType:
    """Arrow's reader takes text that looks like a time for one; here it stays text.

    So do values with empty objects in them, which no table can hold otherwise.
    """
    if pa.types.is_temporal(arrow_type) or "struct<>" in str(arrow_type):
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


_LONG_NUMBER = re.compile(rb":\s*-?[0-9]{16}")


def _loses_digits(schema: pa.Schema, block: bytes) -> bool:
    """Whether long integers, such as ids, may have become floats."""
    return any(pa.types.is_floating(field.type) for field in schema) and _LONG_NUMBER.search(block) is not None


def as_text(value: Any, *, is_key: bool, nested: bool) -> str | None:
    """A value of JSON as text.

    Numbers are written out, whole ones without a fraction; of MongoDB's `{"$oid": ...}` and `{"$numberLong": ...}` the
    text in them counts, and the texts of a list are joined by spaces.

    Parameters
    ----------
    is_key
        Whether the text is an id or the like: then truth values, fractions and lists are refused.
    nested
        Whether objects, and lists of others than texts, are written as JSON instead of refused.

    Raises
    ------
    ValueError
        The value must not become text.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict) and len(value) == 1:
        (sign, inner), *_ = value.items()
        if sign in ("$oid", "$numberLong", "$numberInt", "$numberDecimal") and isinstance(inner, str):
            return inner
    if isinstance(value, float):
        if not math.isfinite(value) or (is_key and (value != int(value) or abs(value) >= 2**53)):
            raise ValueError
        return str(int(value)) if value == int(value) and abs(value) < 2**53 else json.dumps(value)
    if isinstance(value, int) and not (is_key and isinstance(value, bool)):
        return json.dumps(value)
    if nested:
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list) and not is_key and all(item is None or isinstance(item, str) for item in value):
        return " ".join(item for item in value if item) or None
    raise ValueError


def _without_nan(column: pa.Array) -> pa.Array:
    """NaN is no value of JSON; what writes it means that there is none."""
    if not pa.types.is_floating(column.type):
        return column
    return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
