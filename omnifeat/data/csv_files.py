"""Read CSV in blocks, with bounded memory.

A CSV file carries no types. Columns that the schema knows by name have the schema's types, those ending in `_id` or
`_key` are text, and for all others the whole file decides: a column is int64 if every value in it is written as an
integer without leading zeros that int64 holds, float64 if every value is a number, bool if all are true or false, and
text otherwise.
Lists and vectors are JSON in a cell. An empty cell is null; a quoted empty cell is an empty text.

How cells are written is a `TextDialect`. Arrow takes what stands after a closing quote as part of the cell, and a quote
that is opened by mistake swallows the lines up to the next one: `QuoteWatch` sees where that may have happened, and
`csv_lines` then looks line by line.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from omnifeat.data.conform import type_name, value_name
from omnifeat.data.csv_lines import QuoteWatch, Recoded, WithoutLines, check_lines, text_lines
from omnifeat.data.dialects import TextDialect, default_dialect, plain_numbers
from omnifeat.data.locations import FileFormat, Location, one_line
from omnifeat.data.schema import TIMESTAMP, VECTOR, VECTOR_LIST, ByName, did_you_mean, refuse_doubled, types_by_name
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
    """One CSV file; every column is read as bytes first, so that a wrong value can be named with its row.

    Parameters
    ----------
    dialect
        How its cells are written; that of `default_dialect` if None.
    by_name
        Whether columns that the schema knows have the schema's types. Without it the values alone decide.
    """

    def __init__(
        self, location: Location, file_format: FileFormat, dialect: TextDialect | None = None, by_name: ByName = True
    ) -> None:
        self.location = location
        self.format = file_format
        self._dialect = dialect
        self._is_import = dialect is not None  # by someone who can say how the file is written
        self._known_type = types_by_name(by_name)
        self._names: list[str] | None = None
        self._header_rows = 1
        self._header_is_quoted = False

    @property
    def dialect(self) -> TextDialect:
        """How the cells are written."""
        if self._dialect is None:
            self._dialect = default_dialect(self.location, self.format)
        return self._dialect

    def names(self) -> list[str]:
        """Column names of the header line."""
        if self._names is None:
            self._names = self._read_header()
        return self._names

    def _read_header(self) -> list[str]:
        place = self.location.name
        names: list[str] | None = None
        try:
            with self._source() as source:
                recorded: list[str] = []
                for row, cells in enumerate(csv.reader(_kept(text_lines(source), recorded), **self._settings())):
                    if cells:  # empty lines may stand before the header
                        names, self._header_rows = cells, row + 1
                        break
        except (OSError, csv.Error) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{place} cannot be read as CSV ({one_line(error)}): write it again") from error
        if not names:
            raise DataError(f"{place} is empty: give a CSV file with a header line and rows")
        if any("\udc80" <= character <= "\udcff" for name in names for character in name):
            raise DataError(f"{place}: the header is not UTF-8 text: {self._other_encoding()}")
        if any("\0" in name for name in names):
            raise DataError(f"{place}: the header holds a NUL character: save the file as UTF-8 text")
        self._header_is_quoted = any('"' in line for line in recorded)
        return _unquoted_list(names) if self.dialect.quote is None else names

    def _other_encoding(self) -> str:
        return f"save the file as UTF-8{', or name its encoding with --encoding NAME' if self._is_import else ''}"

    def _settings(self) -> dict[str, Any]:
        return self.dialect.reader_settings()

    @contextmanager
    def _source(self) -> Iterator[Any]:
        """The file's bytes as UTF-8, without the lines before the header."""
        dialect = self.dialect
        with self.location.open_stream(self.format.compression) as stream:
            source = stream
            if dialect.encoding not in ("utf-8", "utf8", "utf-8-sig"):
                source = Recoded(stream, dialect.encoding, self.location.name)
            if dialect.skip_lines:
                source = WithoutLines(source, dialect.skip_lines)
            yield source

    def count_rows(self) -> int:
        """Rows, counted by reading the file."""
        names = self.names()
        single = next((name for name in names if names.count(name) == 1), None)
        if single is None:
            refuse_doubled(self.location.name, names, names)
        return sum(batch.num_rows for batch in self._blocks([str(single)]))

    def schema(self, columns: Sequence[str]) -> pa.Schema:
        """The types of the columns, from their names, or from all values where the name is not known.

        Raises
        ------
        DataError
            The file cannot be read, or has two columns of one of these names.
        """
        refuse_doubled(self.location.name, self.names(), columns)
        found: dict[str, pa.DataType] = {}
        undecided: dict[str, str | None] = {}
        for name in columns:
            wanted = self._known_type(name)
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
                wanted = self._known_type(name)
                if wanted in (VECTOR, VECTOR_LIST):
                    width = self._width(name, texts, row)
                    if width is not None:
                        vector = pa.list_(pa.float32(), width)
                        found[name] = vector if wanted is VECTOR else pa.list_(vector)
                    continue
                undecided[name] = _widen(undecided[name], plain_numbers(texts, self.dialect))
                if undecided[name] == "string":
                    found[name] = pa.string()
            row += batch.num_rows
            if len(found) == len(undecided):
                break
        for name, kind in undecided.items():
            if name not in found:
                empty = pa.list_(pa.float32()) if self._known_type(name) is VECTOR else pa.list_(pa.list_(pa.float32()))
                found[name] = empty if self._known_type(name) is not None else _KINDS[kind or "string"]
        return found

    def _width(self, name: str, texts: pa.Array, first_row: int) -> int | None:
        for place, text in enumerate(texts):
            value = self._json(name, text.as_py(), first_row + place) if text.is_valid else None
            if value and self._known_type(name) is VECTOR_LIST:
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
                with self._source() as source:
                    watch = QuoteWatch(source, self.dialect)
                    seen = 0
                    for batch in self._open(watch, names, columns, block_bytes):
                        seen += batch.num_rows
                        if seen > done:
                            fresh = batch.slice(max(0, batch.num_rows - (seen - done)))
                            done = seen
                            yield fresh
                if watch.doubtful or (watch.spans_lines and not self._header_is_quoted):
                    self._check_lines()
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
                elif "Empty CSV" in message or "file is empty" in message:
                    return
                else:
                    self._check_lines()
                    raise DataError(
                        f"{self.location.name} cannot be read as CSV ({one_line(error)}): correct the line"
                    ) from error
            except OSError as error:
                if isinstance(error, DataError):
                    raise
                raise DataError(
                    f"{self.location.name} is truncated or corrupt ({one_line(error)}): write it again"
                ) from error

    def _open(
        self, stream: io.RawIOBase, names: Sequence[str], columns: Sequence[str], block_bytes: int
    ) -> Iterator[pa.RecordBatch]:
        dialect = self.dialect
        yield from pacsv.open_csv(
            pa.PythonFile(stream, mode="r"),
            read_options=pacsv.ReadOptions(
                use_threads=False,
                block_size=block_bytes,
                # a second column of one name is not read, but must have a name of its own
                column_names=[name if name not in names[:place] else f"\0{place}" for place, name in enumerate(names)],
                skip_rows_after_names=self._header_rows,
            ),
            parse_options=pacsv.ParseOptions(
                delimiter=dialect.delimiter,
                quote_char=dialect.quote or False,
                escape_char=dialect.escape or False,
                newlines_in_values=dialect.quote is not None,
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

    def _check_lines(self) -> None:
        with self._source() as source:
            check_lines(
                source, self.dialect, self.location.name, len(self.names()), self._header_is_quoted,
                "say --escape or --quote" if self._is_import else "read the file with `omnifeat import table`",
            )  # fmt: skip

    def _text(self, name: str, raw: pa.Array, first_row: int) -> pa.Array:
        try:
            texts = pc.cast(raw, pa.string())
        except pa.ArrowInvalid as error:
            raise self._not_utf8(name, raw, first_row) from error
        return _unquoted(texts) if self.dialect.quote is None else texts

    def _not_utf8(self, name: str, raw: pa.Array, first_row: int) -> DataError:
        row, value = next((row, value) for row, value in enumerate(raw.to_pylist()) if not _is_utf8(value))
        return DataError(
            f"{self.location.name}, row {first_row + row}, column '{name}' is not UTF-8 text "
            f"({value[:40]!r}): {self._other_encoding()}"
        )

    def _json(self, name: str, text: str, row: int) -> list[Any] | None:
        try:
            value = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise self._wrong(name, text, row, "a JSON list") from error
        if value is not None and not isinstance(value, list):
            raise self._wrong(name, text, row, "a JSON list")
        return value

    def _wrong(self, name: str, value: object, row: int, wanted: str) -> DataError:
        return DataError(
            f"{self.location.name}, row {row}, column '{name}': {_shown(value)} is not {wanted}: correct it"
            + (did_you_mean(str(value), ("true", "false")) if wanted == "true or false" else "")
        )

    def _typed(self, name: str, texts: pa.Array, target: pa.DataType, first_row: int) -> pa.Array:
        if pa.types.is_string(target):
            return texts
        if pa.types.is_list(target) or pa.types.is_fixed_size_list(target):
            return self._lists(name, texts, target, first_row)
        if target.equals(TIMESTAMP):
            return self._times(name, texts, first_row)
        plain = pc.utf8_trim_whitespace(texts)
        if pa.types.is_floating(target) or pa.types.is_integer(target):
            plain = plain_numbers(plain, self.dialect)
        try:
            return pc.cast(plain, target)
        except pa.ArrowInvalid as error:
            for row, text in enumerate(plain):
                try:
                    pc.cast(text, target)
                except pa.ArrowInvalid:
                    raise self._wrong(name, texts[row].as_py(), first_row + row, value_name(target)) from error
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


def _unquoted(texts: pa.Array) -> pa.Array:
    """Cells of a table without quoting in which a quote is written as in CSV: `"24"" monitor"` is `24" monitor`.

    Tools that quote where they must write such cells; without doubled quotes within, quotes are the text's own.
    """
    quoted = pc.match_substring_regex(texts, '^"([^"]|"")*""([^"]|"")*"$|^""$')
    if not pc.any(quoted).as_py():
        return texts
    inner = pc.replace_substring(pc.replace_substring_regex(texts, '^"((?s:.)*)"$', r"\1"), '""', '"')
    return pc.if_else(quoted, inner, texts)


def _unquoted_list(names: list[str]) -> list[str]:
    found: list[str] = _unquoted(pa.array(names)).to_pylist()
    return found


def _kept(lines: Iterator[str], kept: list[str]) -> Iterator[str]:
    for line in lines:
        kept.append(line)
        yield line


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
