"""How a file of cells is written: what stands between cells, quotes, escapes, the encoding, signs within numbers.

A `.csv` is RFC 4180 in UTF-8 unless someone says otherwise. Shops' exports are not: `guess_dialect` tells from the
first lines how a file is written, for `omnifeat import table` to use and to tell. Readers of a dataset don't guess;
they refuse a file that is plainly written another way, and say which (`refuse_other_dialect`).
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.locations import FileFormat, Location, one_line, refuse_other_bytes
from omnifeat.errors import DataError, SettingError

__all__ = ["TextDialect", "default_dialect", "first_lines", "guess_dialect", "plain_numbers"]

DELIMITERS = (",", ";", "\t", "|")
_NAMES = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
_SAMPLE_BYTES = 1 << 16
# what Python knows beside: names of hosts, and literals of programs
_NO_FILES = ("idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape")
_SEP_LINE = re.compile(r'"?sep=(.)"?\r?(\n|$)', re.IGNORECASE)
# numbers that can be read in one way only: 1,234 may be either, 12,5 and 1.234,50 may not
_COMMA_DECIMAL = re.compile(r"-?(\d+,(\d{1,2}|\d{4})|\d{1,3}(?:([.' \u00a0\u202f])\d{3})(?:\3\d{3})*,\d{1,4})")
_POINT_DECIMAL = re.compile(r"-?(\d+\.(\d{1,2}|\d{4})|\d{1,3}(?:([,' \u00a0\u202f])\d{3})(?:\3\d{3})*\.\d{1,4})")
_GROUPS = re.compile(r"-?\d{1,3}([.,' \u00a0\u202f])\d{3}(\1\d{3})+")


@dataclass(frozen=True)
class TextDialect:
    """How the cells of a text file are written.

    Attributes
    ----------
    delimiter
        The one character between cells.
    quote
        What encloses a cell that holds the delimiter or line ends; doubled within it. None: quotes are characters
        like any other.
    escape
        What makes a quote within quotes a character, where it is not doubled (a backslash); None for none.
    encoding
        A name that Python knows.
    decimal, thousands
        The signs within numbers; no sign between thousands if None.
    skip_lines
        Lines before the header, such as Excel's `sep=;`.
    """

    delimiter: str = ","
    quote: str | None = '"'
    escape: str | None = None
    encoding: str = "utf-8"
    decimal: str = "."
    thousands: str | None = None
    skip_lines: int = 0

    def __post_init__(self) -> None:
        for name in ("delimiter", "quote", "escape", "decimal", "thousands"):
            sign = getattr(self, name)
            if sign is not None and (len(sign) != 1 or sign in "\r\n\0"):
                raise SettingError(
                    f"the {name} of a text file must be one character, not {sign!r}: give one, or tab for a tab"
                )
            if name in ("delimiter", "quote", "escape") and sign is not None and not sign.isascii():
                raise SettingError(f"the {name} of a text file must be an ASCII character, not {sign!r}: give one")
        if self.delimiter in (self.quote, self.escape):
            raise SettingError(f"{self.delimiter!r} cannot be the delimiter and the quote of a file: give two signs")
        if self.decimal == self.thousands:
            raise SettingError(
                f"{self.decimal!r} cannot be the decimal sign and stand between thousands: give two signs"
            )
        try:
            "".encode(self.encoding)
            name = codecs.lookup(self.encoding).name
        except (LookupError, ValueError, UnicodeError) as error:
            raise SettingError(f"no encoding is called {self.encoding!r}: give one such as windows-1252") from error
        if name in _NO_FILES:
            raise SettingError(f"no file is written in {self.encoding!r}: give an encoding such as windows-1252")

    def in_words(self) -> str:
        """What departs from plain CSV, for messages: ``semicolons between cells, windows-1252 text``; or nothing."""
        said = []
        if self.delimiter != ",":
            said.append(f"{_NAMES.get(self.delimiter, repr(self.delimiter))} between cells")
        if self.quote is None:
            said.append("quotes as characters like any other")
        elif self.quote != '"':
            said.append(f"{self.quote} as the quote")
        if self.escape is not None:
            said.append(f"quotes escaped by {self.escape}")
        if self.encoding != "utf-8":
            said.append(f"{self.encoding} text")
        if self.decimal != ".":
            said.append(f"'{self.decimal}' as the decimal sign")
        if self.thousands is not None:
            said.append(f"'{self.thousands}' between thousands")
        if self.skip_lines:
            said.append(f"{self.skip_lines} line{'s' if self.skip_lines > 1 else ''} before the header")
        return ", ".join(said)

    def reader_settings(self) -> dict[str, object]:
        """The settings of Python's `csv.reader` for it."""
        return {
            "delimiter": self.delimiter,
            "quotechar": self.quote,
            "quoting": csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            "escapechar": self.escape,
            "doublequote": True,
        }


def plain_numbers(texts: pa.Array, dialect: TextDialect) -> pa.Array:
    """Numbers (n texts) as they are written in the dialect, with a decimal point and nothing between thousands."""
    if dialect.thousands is not None:
        between = rf"(\d)[{re.escape(dialect.thousands)}](\d\d\d)"
        for _ in range(2):  # groups that touch are found by a second look
            texts = pc.replace_substring_regex(texts, between, r"\1\2")
    if dialect.decimal != ".":
        # where the sign is a comma, a point that is left is none
        texts = pc.if_else(pc.match_substring(texts, "."), texts, pc.replace_substring(texts, dialect.decimal, "."))
    return texts


def _sample(location: Location, file_format: FileFormat) -> bytes:
    chunks, size = [], 0
    try:
        with location.open_stream(file_format.compression) as stream:
            while size < _SAMPLE_BYTES:
                chunk = bytes(stream.read(_SAMPLE_BYTES - size))
                if not chunk:
                    break
                chunks.append(chunk)
                size += len(chunk)
    except OSError as error:
        raise DataError(f"{location.name} is truncated or corrupt ({one_line(error)}): write it again") from error
    sample = b"".join(chunks)
    refuse_other_bytes(location.name, sample)
    return sample


def _encoding(sample: bytes, whole: bool) -> str:
    """The encoding of a file's first bytes."""
    if sample.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    pairs = len(sample) // 2
    if pairs >= 2 and sample[1 : 2 * pairs : 2].count(0) > pairs // 2:
        return "utf-16-le"
    if pairs >= 2 and sample[0 : 2 * pairs : 2].count(0) > pairs // 2:
        return "utf-16-be"
    try:
        sample.decode("utf-8")
    except UnicodeDecodeError as error:
        # the last character may be cut
        if (whole or error.start < len(sample) - 4) and not _mostly_utf8(sample):
            return "windows-1252"
    return "utf-8"


def _mostly_utf8(sample: bytes) -> bool:
    """Whether bytes that are not UTF-8 stand among many that are: a damaged file, and no other encoding.

    Other encodings hardly ever make valid sequences of several bytes.
    """
    text = sample.decode("utf-8", errors="replace")
    damaged = text.count("\ufffd")
    return sum(not character.isascii() for character in text) - damaged > damaged


def _lines(sample: bytes, encoding: str, whole: bool) -> str:
    text = sample.decode(encoding, errors="replace").removeprefix("\ufeff")
    return text if whole else text[: text.rfind("\n") + 1] or text


def first_lines(location: Location, file_format: FileFormat, encoding: str) -> str:
    """The whole lines at a file's beginning. Raises `DataError` where it cannot be read."""
    sample = _sample(location, file_format)
    return _lines(sample, encoding, len(sample) < _SAMPLE_BYTES)


def default_dialect(location: Location, file_format: FileFormat) -> TextDialect:
    """The dialect in which a dataset's file is read: RFC 4180 for `.csv`.

    In a `.tsv` a quote is a character like any other, unless the header's cells are all quoted, as `TableWriter`
    and others write them: then cells are quoted as in CSV.

    Raises
    ------
    DataError
        The file is plainly written another way: in UTF-16, after a line `sep=;`, or with another delimiter.
    """
    sample = _sample(location, file_format)
    whole = len(sample) < _SAMPLE_BYTES
    encoding = _encoding(sample, whole)
    other = "save it as UTF-8 with commas between cells, or read it with `omnifeat import table`"
    if encoding.startswith("utf-16"):
        raise DataError(f"{location.name} is UTF-16, not UTF-8 text: {other}")
    text = _lines(sample, encoding, whole)
    if _SEP_LINE.match(text):
        line = text.splitlines()[0]
        raise DataError(f"{location.name} begins with Excel's line {line!r} instead of its header: {other}")
    lines = [line for line in text.split("\n") if line.strip()]
    header = lines[0] if lines else ""
    if '"' not in header and file_format.delimiter not in header:
        for sign in DELIMITERS:
            if sign in header and all(sign in line for line in lines[1:3]) and len(lines) > 1:
                raise DataError(
                    f"{location.name} has {_NAMES[sign]} between its cells ({header.strip()[:60]!r}), not "
                    f"{_NAMES[file_format.delimiter]}: {other}"
                )
    if file_format.delimiter == "\t" and not file_format.quoted and not _all_quoted(header.strip("\r"), "\t"):
        return TextDialect("\t", quote=None)
    return TextDialect(file_format.delimiter)


def _all_quoted(header: str, delimiter: str) -> bool:
    return all(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in header.split(delimiter))


def guess_dialect(location: Location, file_format: FileFormat) -> TextDialect:
    """Tell from the first lines how a file of cells is written; `in_words` says what was found.

    Raises
    ------
    DataError
        The file cannot be read.
    """
    sample = _sample(location, file_format)
    whole = len(sample) < _SAMPLE_BYTES
    encoding = _encoding(sample, whole)
    text = _lines(sample, encoding, whole)
    sep = _SEP_LINE.match(text)
    if sep and sep[1] in DELIMITERS:
        rows, escape = _parsed(text[sep.end() :], sep[1])
        delimiter = sep[1]
    else:
        delimiter, rows, escape = _best_delimiter(text, file_format.delimiter)
    quote: str | None = '"'
    if delimiter == "\t" and file_format.delimiter == "\t":
        lines = text.lstrip("\r\n").split("\n", 1)
        quote = '"' if file_format.quoted or _all_quoted(lines[0].strip("\r"), "\t") else None
    decimal, thousands = _signs(rows[1:])
    return TextDialect(
        delimiter, quote, escape if quote else None, encoding, decimal, thousands, skip_lines=1 if sep else 0
    )


def _best_delimiter(text: str, usual: str) -> tuple[str, list[list[str]], str | None]:
    """The sign that splits the lines into the most even rows; the usual one where none does better."""
    best, found = (0.0, 0, False), (usual, *_parsed(text, usual))
    for sign in DELIMITERS:
        rows, escape = _parsed(text, sign)
        if not rows or len(rows[0]) < 2:
            continue
        even = sum(len(row) == len(rows[0]) for row in rows) / len(rows)
        score = (even, len(rows[0]), sign == usual)
        if score > best:
            best, found = score, (sign, rows, escape)
    return found


def _parsed(text: str, delimiter: str) -> tuple[list[list[str]], str | None]:
    """Rows of a sample, and the escape sign with which they could be read."""
    plain = _rows(text, TextDialect(delimiter))
    if '\\"' not in text:
        return plain or [], None
    escaped = _rows(text, TextDialect(delimiter, escape="\\")) or []
    if plain is not None and _uneven(plain) <= _uneven(escaped):
        return plain, None
    return escaped, "\\"


def _uneven(rows: Sequence[Sequence[str]]) -> int:
    return sum(len(row) != len(rows[0]) for row in rows) if rows else 0


def _rows(text: str, dialect: TextDialect) -> list[list[str]] | None:
    """Rows of a sample that may end within one; None where its quotes do not come out."""
    rows: list[list[str]] = []
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, **dialect.reader_settings())  # type: ignore[arg-type]
    try:
        for row in reader:
            if row:
                rows.append(row)
    except csv.Error as error:
        return rows if "unexpected end of data" in str(error) else None
    return rows


def _signs(rows: Sequence[Sequence[str]]) -> tuple[str, str | None]:
    """Decimal sign and what stands between thousands, from the cells that are numbers of only one reading."""
    commas, points = Counter[str | None](), Counter[str | None]()
    for row in rows:
        for cell in row:
            text = cell.strip()
            if match := _COMMA_DECIMAL.fullmatch(text):
                commas[match[3]] += 1
            elif match := _POINT_DECIMAL.fullmatch(text):
                points[match[3]] += 1
            elif match := _GROUPS.fullmatch(text):
                (commas if match[1] == "." else points)[match[1]] += 1
    found, decimal = (commas, ",") if commas.total() > points.total() else (points, ".")
    grouped = [(count, sign) for sign, count in found.items() if sign is not None]
    return decimal, max(grouped)[1] if grouped else None
