"""The lines of a CSV file: recoded to UTF-8, watched for quotes that do not come out, and told apart one by one."""

from __future__ import annotations

import codecs
import csv
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from omnifeat.data.dialects import TextDialect
from omnifeat.errors import DataError

__all__ = ["QuoteWatch", "Recoded", "WithoutLines", "check_lines", "text_lines"]

_CHUNK = 1 << 20
_NEWLINE, _RETURN, _QUOTE = b'\n\r"'


class _Stream(io.RawIOBase):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True


class Recoded(_Stream):
    """A stream of another encoding as UTF-8. Raises `DataError` for bytes that the encoding does not have."""

    def __init__(self, stream: Any, encoding: str, name: str) -> None:
        super().__init__(stream)
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._encoding, self._name = encoding, name
        self._ended = False

    def read(self, size: int = -1) -> bytes:
        while not self._ended:
            data = bytes(self._stream.read(size if size > 0 else _CHUNK))
            self._ended = not data
            try:
                text = self._decoder.decode(data, final=self._ended).encode("utf-8")
            except UnicodeError as error:
                raise DataError(
                    f"{self._name} is not {self._encoding} text: save it as UTF-8, or name its encoding with "
                    "--encoding NAME"
                ) from error
            if text:
                return text
        return b""


class WithoutLines(_Stream):
    """A stream without its first lines."""

    def __init__(self, stream: Any, lines: int) -> None:
        super().__init__(stream)
        self._left = lines

    def read(self, size: int = -1) -> bytes:
        while True:
            data = bytes(self._stream.read(size if size > 0 else _CHUNK))
            while self._left and data:
                _, end, data = data.partition(b"\n")
                self._left -= bool(end)
            if data or not self._left:
                return data
            # the lines go on in the next chunk, or the file ends within them
            more = bytes(self._stream.read(_CHUNK))
            if not more:
                return b""
            self._stream = _Before(more, self._stream)


class _Before(_Stream):
    """Bytes, then a stream."""

    def __init__(self, first: bytes, stream: Any) -> None:
        super().__init__(stream)
        self._first = first

    def read(self, size: int = -1) -> bytes:
        first, self._first = self._first, b""
        return first or bytes(self._stream.read(size))


class QuoteWatch(_Stream):
    """A stream that sees whether the quotes in it are all where quotes of CSV must be.

    Attributes
    ----------
    doubtful
        Whether a quote opens within a cell, a cell goes on after its closing quote, or the last is not closed.
    spans_lines
        Whether a line ends within quotes.
    """

    def __init__(self, stream: Any, dialect: TextDialect) -> None:
        super().__init__(stream)
        # with an escape sign, the places of quotes alone say nothing
        self.doubtful = dialect.escape is not None
        self.spans_lines = False
        self._watched = dialect.quote == '"' and dialect.escape is None
        self._beside = np.array([ord(dialect.delimiter), _NEWLINE, _RETURN, _QUOTE], dtype=np.uint8)
        self._inside = 0
        self._kept = b"\n"  # the last byte looked at, and the one after it
        self._ended = False

    def read(self, size: int = -1) -> bytes:
        data = bytes(self._stream.read(size if size >= 0 else None))
        if self._watched and not self._ended:
            self._ended = not data
            self._look(self._kept + (data or b"\n"))
        return data

    def _look(self, data: bytes) -> None:
        """Look at all bytes but the first and last, which are there for their neighbours."""
        self._kept = data[-2:]
        inside = self._inside
        if data.count(b'"') or inside:
            found = np.frombuffer(data, dtype=np.uint8)
            places = np.flatnonzero(found[1:-1] == _QUOTE) + 1
            closing = (inside + np.arange(len(places))) % 2 == 1
            neighbours = np.where(closing, found[places + 1], found[places - 1])
            self.doubtful = self.doubtful or not np.isin(neighbours, self._beside).all()
            lines = np.flatnonzero(found[1:-1] == _NEWLINE) + 1
            self.spans_lines = self.spans_lines or bool(((inside + np.searchsorted(places, lines)) % 2 == 1).any())
            self._inside = (inside + len(places)) % 2
        if self._ended and self._inside:
            self.doubtful = True


def text_lines(source: Any) -> Iterator[str]:
    """Lines of a stream of UTF-8 with their ends, without a mark of byte order.

    Bytes that are not UTF-8 stand in them as lone surrogates.
    """
    # all that the wrapper calls is there, if not all of a `BinaryIO`
    buffered: Any = _Buffered(source)
    return iter(io.TextIOWrapper(buffered, encoding="utf-8-sig", errors="surrogateescape", newline=""))


class _Buffered(_Stream):
    """A stream of any kind with the methods that `TextIOWrapper` calls; it leaves the stream open."""

    def read(self, size: int | None = -1) -> bytes:
        return bytes(self._stream.read(size if size is not None and size > 0 else _CHUNK))

    read1 = read


@contextmanager
def _cells_of_any_size() -> Iterator[None]:
    limit = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def check_lines(
    source: Any, dialect: TextDialect, name: str, width: int, header_is_quoted: bool, otherwise: str
) -> None:
    """Look at a file line by line, by Python's own CSV reader: slow, but it knows lines.

    A quoted cell may go on over several lines. Where each of these could be a row of its own, a stray quote has most
    likely swallowed them; files whose header is quoted quote all text, and there a line cannot be taken for a row.

    Parameters
    ----------
    source
        The file's bytes as UTF-8, from its header on.
    width
        Number of columns of the header.
    otherwise
        What to do where quotes are escaped another way.

    Raises
    ------
    DataError
        Names the first line that has too many or too few cells, in which a cell goes on after its closing quote, or
        opens a quote that is never closed or that swallows rows.
    """
    first = line = 1 + dialect.skip_lines
    recorded: list[str] = []

    def lines() -> Iterator[str]:
        for text in text_lines(source):
            recorded.append(text)
            yield text

    reader = csv.reader(lines(), strict=True, **dialect.reader_settings())  # type: ignore[arg-type]
    with _cells_of_any_size():
        try:
            for cells in reader:
                if cells and len(cells) != width:
                    raise DataError(
                        f"{name}, line {line} has {len(cells)} columns, but the header has {width}: correct the line, "
                        f"or quote the cell that holds a '{dialect.delimiter}'"
                    )
                if len(recorded) > 1 and not header_is_quoted and _are_rows(recorded, dialect.delimiter, width):
                    raise DataError(
                        f"{name}, line {line}: a cell opens a quote that goes on to line {line + len(recorded) - 1} "
                        "and holds what look like rows: double a quote that is a character, and quote its cell"
                    )
                recorded.clear()
                line = reader.line_num + first
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                raise DataError(f"{name}, line {line}: a cell opens a quote that is never closed: close it") from error
            at = reader.line_num + first - 1
            raise DataError(
                f"{name}, line {max(at, line)}: a cell goes on after its closing quote: double a quote that is a "
                f"character, or {otherwise} where quotes are escaped otherwise"
            ) from error


def _are_rows(lines: list[str], delimiter: str, width: int) -> bool:
    return width > 1 and all(line.count(delimiter) == width - 1 and f"{delimiter} " not in line for line in lines)
