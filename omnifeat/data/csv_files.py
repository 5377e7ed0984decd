"""Read CSV in blocks, with bounded memory.

A CSV file carries no types. Columns that the schema knows by name have the schema's types, those ending in `_id` or
`_key` are text, and for all others the whole file decides: a column is int64 if every value in it is written as an
integer without leading zeros that int64 holds, float64 if every value is a number, bool if all are true or false, and
text otherwise.
Lists and vectors are JSON in a cell. An empty cell is null; a quoted empty cell is an empty text.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from omnifeat.data.conform import type_name
from omnifeat.data.locations import FileFormat, Location, one_line
from omnifeat.data.schema import TIMESTAMP, VECTOR, VECTOR_LIST, did_you_mean, known_type
from omnifeat.data.times import not_a_time, parse_times
from omnifeat.errors import DataError

__all__ = ["CsvReader"]

BLOCK_BYTES = 1 << 20  # Arrow reads some 30 blocks ahead
_LARGEST_BLOCK = 1 << 30
# text forms that make a column int64, float64 or bool; a leading zero ("00123") or sign "+" keeps it text
_FORMS = {
    "int": r"^-?(0|[1-9][0-9]{0,18})$",
    "float": r"^-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$|^(nan|NaN|-?inf|-?Infinity)$",
    "bool": r"^(true|false|True|False)$",
}
_KINDS = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "string": pa.string()}


class CsvReader:
    """One CSV file; every column is read as bytes first, so that a wrong value can be named with its row."""

    def __init__(self, location: Location, file_format: FileFormat) -> None:
        self.location = location
        self.format = file_format
        self._names: list[str] | None = None
        self._header_rows = 1

    def names(self) -> list[str]:
        """Column names of the header line."""
        if self._names is None:
            self._names = self._read_header()
        return self._names

    def _read_header(self) -> list[str]:
        names: list[str] | None
        try:
            with self.location.open_stream(self.format.gzip) as stream:
                text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
                names = None
                for row, cells in enumerate(csv.reader(text, delimiter=self.format.delimiter)):
                    if cells:  # empty lines may stand before the header
                        names, self._header_rows = cells, row + 1
                        break
        except (OSError, csv.Error) as error:
            name = self.location.name
            raise DataError(f"{name} cannot be read as CSV ({one_line(error)}): write it again") from error
        if not names:
            raise DataError(f"{self.location.name} is empty: give a CSV file with a header line and rows")
        if any("\udc80" <= character <= "\udcff" for name in names for character in name):
            raise DataError(f"{self.location.name}: the header is not UTF-8 text: save the file as UTF-8")
        return names

    def count_rows(self) -> int:
        """Rows, counted by reading the file."""
        return sum(batch.num_rows for batch in self._blocks(self.names()[:1]))

    def schema(self, columns: Sequence[str]) -> pa.Schema:
        """The types of the columns, from their names, or from all values where the name is not known."""
        found: dict[str, pa.DataType] = {}
        undecided: dict[str, str | None] = {}
        for name in columns:
            wanted = known_type(name)
            if wanted in (VECTOR, VECTOR_LIST) or wanted is None:
                undecided[name] = None
            else:
                found[name] = wanted
        if undecided:
            found |= self._infer(undecided)
        return pa.schema([(name, found[name]) for name in columns])

    def _infer(self, undecided: dict[str, str | None]) -> dict[str, pa.DataType]:
        found: dict[str, pa.DataType] = {}
        row = 1
        for batch in self._blocks(list(undecided)):
            for name in [name for name in undecided if name not in found]:
                texts = self._text(name, batch.column(name), row)
                wanted = known_type(name)
                if wanted in (VECTOR, VECTOR_LIST):
                    width = self._width(name, texts, row)
                    if width is not None:
                        vector = pa.list_(pa.float32(), width)
                        found[name] = vector if wanted is VECTOR else pa.list_(vector)
                    continue
                undecided[name] = _widen(undecided[name], texts)
                if undecided[name] == "string":
                    found[name] = pa.string()
            row += batch.num_rows
            if len(found) == len(undecided):
                break
        for name, kind in undecided.items():
            if name not in found:
                empty = pa.list_(pa.float32()) if known_type(name) is VECTOR else pa.list_(pa.list_(pa.float32()))
                found[name] = empty if known_type(name) is not None else _KINDS[kind or "string"]
        return found

    def _width(self, name: str, texts: pa.Array, first_row: int) -> int | None:
        for place, text in enumerate(texts):
            value = self._json(name, text.as_py(), first_row + place) if text.is_valid else None
            if value and known_type(name) is VECTOR_LIST:
                value = value[0] if isinstance(value[0], list) else None
            if value:
                return len(value)
        return None

    def batches(self, columns: Sequence[str], batch_size: int, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Batches in the types of `schema`."""
        row = 1
        for block in self._blocks(columns):
            arrays = []
            for name in columns:
                texts = self._text(name, block.column(name), row)
                arrays.append(self._typed(name, texts, schema.field(name).type, row))
            yield pa.record_batch(arrays, names=list(columns))
            row += block.num_rows

    def _blocks(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Blocks of the file, every column as bytes."""
        names = self.names()
        block_bytes, done = BLOCK_BYTES, 0
        while True:
            try:
                with self.location.open_stream(self.format.gzip) as stream:
                    counting = _QuoteCounter(stream)
                    seen = 0
                    for batch in self._open(counting, names, columns, block_bytes):
                        seen += batch.num_rows
                        if seen > done:
                            fresh = batch.slice(max(0, batch.num_rows - (seen - done)))
                            done = seen
                            yield fresh
                    odd = counting.quotes % 2 == 1
                if odd:
                    self._refuse_open_quote()
                return
            except pa.ArrowInvalid as error:
                message = str(error)
                if "straddl" in message:
                    if block_bytes >= _LARGEST_BLOCK:
                        raise DataError(
                            f"{self.location.name}, row {done + 1} does not end: close the quote that a cell opens"
                        ) from error
                    # a row longer than a block: read again with larger ones
                    block_bytes = min(block_bytes * 8, _LARGEST_BLOCK)
                elif "CSV parse error" in message:
                    raise self._ragged(names, message) from error
                elif "Empty CSV" in message or "file is empty" in message:
                    return
                else:
                    raise DataError(f"{self.location.name} cannot be read as CSV ({one_line(error)})") from error
            except OSError as error:
                raise DataError(
                    f"{self.location.name} is truncated or corrupt ({one_line(error)}): write it again"
                ) from error

    def _open(
        self, stream: io.RawIOBase, names: Sequence[str], columns: Sequence[str], block_bytes: int
    ) -> Iterator[pa.RecordBatch]:
        yield from pacsv.open_csv(
            pa.PythonFile(stream, mode="r"),
            read_options=pacsv.ReadOptions(
                use_threads=False,
                block_size=block_bytes,
                column_names=list(names),
                skip_rows_after_names=self._header_rows,
            ),
            parse_options=pacsv.ParseOptions(
                delimiter=self.format.delimiter,
                newlines_in_values=True,
                # in a file of one column an empty line is a row that holds null
                ignore_empty_lines=len(names) > 1,
            ),
            convert_options=pacsv.ConvertOptions(
                check_utf8=False,
                column_types=dict.fromkeys(columns, pa.binary()),
                include_columns=list(columns),
                null_values=[""],  # "NA" and "null" are words like any other
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )

    def _ragged(self, names: Sequence[str], message: str) -> DataError:
        """The first line with too few or too many cells; found by a second, plain reading."""
        line = 1
        with self._plain_reader(strict=False) as reader, contextlib.suppress(OSError, csv.Error):
            for cells in reader:
                if cells and len(cells) != len(names):
                    return DataError(
                        f"{self.location.name}, line {line} has {len(cells)} columns, but the header has "
                        f"{len(names)}: correct the line, or quote the cell that holds a '{self.format.delimiter}'"
                    )
                line = reader.line_num + 1
        return DataError(f"{self.location.name} cannot be read as CSV ({one_line(message)}): correct the line")

    def _refuse_open_quote(self) -> None:
        """Refuse a file that ends within a quoted cell, which would swallow all lines after it.

        Called where the number of quotes is odd, which a stray quote within a cell may be the reason for as well.
        """
        line = 1
        with self._plain_reader(strict=True) as reader:
            try:
                for _ in reader:
                    line = reader.line_num + 1
            except csv.Error as error:
                if "unexpected end of data" in str(error):
                    raise DataError(
                        f"{self.location.name}, line {line}: a cell opens a quote that is never closed: close it"
                    ) from error

    @contextmanager
    def _plain_reader(self, strict: bool) -> Iterator[Any]:
        """Python's own CSV reader over the file: slow, but it knows lines. For telling what is wrong only."""
        limit = csv.field_size_limit(sys.maxsize)
        try:
            with self.location.open_stream(self.format.gzip) as stream:
                text = io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="")
                yield csv.reader(text, delimiter=self.format.delimiter, strict=strict)
        finally:
            csv.field_size_limit(limit)

    def _text(self, name: str, raw: pa.Array, first_row: int) -> pa.Array:
        try:
            return pc.cast(raw, pa.string())
        except pa.ArrowInvalid as error:
            raise self._not_utf8(name, raw, first_row) from error

    def _not_utf8(self, name: str, raw: pa.Array, first_row: int) -> DataError:
        row, value = next((row, value) for row, value in enumerate(raw.to_pylist()) if not _is_utf8(value))
        return DataError(
            f"{self.location.name}, row {first_row + row}, column '{name}' is not UTF-8 text "
            f"({value[:40]!r}): save the file as UTF-8"
        )

    def _json(self, name: str, text: str, row: int) -> list[Any] | None:
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            raise self._wrong(name, text, row, "a JSON list") from error
        if value is not None and not isinstance(value, list):
            raise self._wrong(name, text, row, "a JSON list")
        return value

    def _wrong(self, name: str, value: object, row: int, wanted: str) -> DataError:
        return DataError(
            f"{self.location.name}, row {row}, column '{name}': {_shown(value)} is not {wanted}: correct it"
            + (did_you_mean(str(value), ("true", "false")) if wanted == "bool" else "")
        )

    def _typed(self, name: str, texts: pa.Array, target: pa.DataType, first_row: int) -> pa.Array:
        if pa.types.is_string(target):
            return texts
        if pa.types.is_list(target) or pa.types.is_fixed_size_list(target):
            return self._lists(name, texts, target, first_row)
        if target.equals(TIMESTAMP):
            return self._times(name, texts, first_row)
        try:
            return pc.cast(pc.utf8_trim_whitespace(texts), target)
        except pa.ArrowInvalid as error:
            for row, text in enumerate(texts):
                try:
                    pc.cast(pc.utf8_trim_whitespace(text), target)
                except pa.ArrowInvalid:
                    raise self._wrong(name, text.as_py(), first_row + row, type_name(target)) from error
            raise

    def _lists(self, name: str, texts: pa.Array, target: pa.DataType, first_row: int) -> pa.Array:
        values = [
            self._json(name, text, first_row + row) if text is not None else None
            for row, text in enumerate(texts.to_pylist())
        ]
        try:
            return pa.array(values, type=target)
        except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError) as error:
            for row, value in enumerate(values):
                try:
                    pa.array([value], type=target)
                except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError):
                    size = target.list_size if pa.types.is_fixed_size_list(target) else None
                    wanted = f"a list of {size} numbers" if size else f"a {type_name(target)}"
                    if size and value is not None and len(value) != size:
                        wanted += f" (it has {len(value)})"
                    raise self._wrong(name, texts[row].as_py(), first_row + row, wanted) from error
            raise

    def _times(self, name: str, texts: pa.Array, first_row: int) -> pa.Array:
        def wrong(row: int, text: str) -> DataError:
            return DataError(
                f"{self.location.name}, row {first_row + row}, column '{name}': {_shown(text)} {not_a_time(text)}"
            )

        return parse_times(texts, wrong)


class _QuoteCounter(io.RawIOBase):
    """A stream that counts the quotes that are read from it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.quotes = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._stream.read(size if size >= 0 else None)
        self.quotes += data.count(b'"')
        return data


def _shown(value: object) -> str:
    return repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."


def _is_utf8(value: bytes | None) -> bool:
    try:
        (value or b"").decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _widen(kind: str | None, texts: pa.Array) -> str | None:
    """The narrowest kind that holds what was seen before and these values as well."""
    order = {None: ("int", "float", "bool"), "int": ("int", "float"), "float": ("float",), "bool": ("bool",)}
    there = texts.drop_null()
    if kind == "string" or len(there) == 0:
        return kind
    for candidate in order[kind]:
        if pc.all(pc.match_substring_regex(there, _FORMS[candidate])).as_py() and _fits(candidate, there):
            return candidate
    return "string"


def _fits(candidate: str, texts: pa.Array) -> bool:
    """Whether the type holds the numbers as they are written: long ids go beyond int64 and are no floats."""
    if candidate == "float":
        return not pc.any(pc.match_substring_regex(texts, "^-?[0-9]{17,}$")).as_py()
    if candidate == "int" and pc.max(pc.binary_length(texts)).as_py() >= 19:
        try:
            pc.cast(texts, pa.int64())
        except pa.ArrowInvalid:
            return False
    return True
