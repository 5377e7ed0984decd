"""JSON as one object a line: blocks of lines from JSONL, from an array, from objects that go over several lines.

What Arrow's reader would take without a word, or could not survive, is refused here before it gets a line: a line
that holds no object (`null` as the first one ends the process), nesting without end, a name twice in an object.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.json_elements import elements
from omnifeat.data.locations import FileFormat, Location, json_reason, one_line, refuse_other_bytes
from omnifeat.errors import DataError

__all__ = ["Block", "blocks", "parse_line"]

BLOCK_BYTES = 4 << 20
_BOM = b"\xef\xbb\xbf"
_NO_OBJECT = re.compile(rb"(?:^|\n)[ \t\r]*(?=[^\s{])")
# `.jsonl` promises one object a line, `.json` does not
_SPREAD_NAME = re.compile(r"\.json(\.gz|\.zst)?$", re.IGNORECASE)
_DEEPEST = 100  # Arrow's reader and Python's both recurse: far deeper ends the process


class _DoubledError(ValueError):
    """A name stands twice in an object."""


class Block(NamedTuple):
    """Whole lines: their bytes, the numbers of the first line and the first row (from 1), and the rows in them."""

    data: bytes
    first_line: int
    first_row: int
    rows: int


def blocks(location: Location, file_format: FileFormat) -> Iterator[Block]:
    """Blocks of whole lines of a file.

    Each line that is not blank begins with an object. Of a file that holds one array, each element is a line.

    Raises
    ------
    DataError
        The file cannot be read, is not UTF-8, or holds something else than objects; names the line.
    """
    line = row = 1
    try:
        for data in _raw_blocks(location, file_format):
            ends = data.count(b"\n")
            if data.strip():
                _check_utf8(data, location.name, line)
                lines = ends + (not data.endswith(b"\n"))
                if data.startswith(b"{") and data.count(b"\n{") == lines - 1:  # each line opens an object: most blocks
                    rows = lines
                else:
                    _check_objects(data, location.name, line)
                    rows = sum(1 for text in data.split(b"\n") if text.strip())
                _check_depth(data, location.name, line, ends)
                yield Block(data, line, row, rows)
                row += rows
            line += ends
    except (OSError, EOFError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{location.name} is truncated or corrupt ({one_line(error)}): write it again") from error


def _raw_blocks(location: Location, file_format: FileFormat) -> Iterator[bytes]:
    with location.open_stream(file_format.compression) as stream:
        first = bytes(stream.read(BLOCK_BYTES))
        refuse_other_bytes(location.name, first)
        if first.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DataError(f"{location.name} is UTF-16, not UTF-8 text: save it as UTF-8")
        first = first.removeprefix(_BOM)
        if first.lstrip().startswith(b"[") or (_is_spread(first) and _SPREAD_NAME.search(location.name)):
            yield from _blocks_of_elements(location.name, first, stream)
            return
        rest: list[bytes] = []
        chunk = first
        while True:
            cut = chunk.rfind(b"\n") + 1 if chunk else 0
            if chunk and not cut:  # a line longer than a block
                rest.append(chunk)
            else:
                yield b"".join([*rest, chunk[:cut]])
                rest = [chunk[cut:]]
            if not chunk:
                return
            chunk = bytes(stream.read(BLOCK_BYTES))


def _is_spread(first: bytes) -> bool:
    """Whether the first object goes over several lines, as tools write it for people to read."""
    line, end, _ = first.lstrip().partition(b"\n")
    return bool(end) and line.startswith(b"{") and not line.rstrip().endswith(b"}")


def _blocks_of_elements(name: str, first: bytes, stream: Any) -> Iterator[bytes]:
    """The elements of an array, or objects one after another, a line each."""
    lines: list[bytes] = []
    size = 0
    for element in elements(name, first, stream):
        # in JSON, line ends stand only where blanks may
        line = element.encode("utf-8", "surrogatepass").translate(_LINE_ENDS) + b"\n"
        lines.append(line)
        size += len(line)
        if size >= BLOCK_BYTES:
            yield b"".join(lines)
            lines, size = [], 0
    yield b"".join(lines)


_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")


def _check_utf8(block: bytes, name: str, first_line: int) -> None:
    try:
        pc.cast(pa.array([block], pa.large_binary()), pa.large_string())
    except pa.ArrowInvalid as error:
        for place, text in enumerate(block.split(b"\n")):
            try:
                text.decode("utf-8")
            except UnicodeDecodeError as wrong:
                raise DataError(
                    f"{name}, line {first_line + place} is not UTF-8 text "
                    f"({text[max(0, wrong.start - 20) : wrong.start + 20]!r}): save the file as UTF-8"
                ) from error


def _check_objects(block: bytes, name: str, first_line: int) -> None:
    found = _NO_OBJECT.search(block)
    if found is not None:
        place = block.count(b"\n", 0, found.end())
        parse_line(block.split(b"\n")[place], name, first_line + place)


def _check_depth(block: bytes, name: str, first_line: int, ends: int) -> None:
    # most lines open no more than one
    if block.count(b"{") + block.count(b"[") <= ends + _DEEPEST:
        return
    found = np.frombuffer(block, dtype=np.uint8)
    opens = (found == ord("[")) | (found == ord("{"))
    closes = (found == ord("]")) | (found == ord("}"))
    depth = np.cumsum(opens.astype(np.int8) - closes.astype(np.int8), dtype=np.int64)
    starts = np.concatenate([[0], np.flatnonzero(found[:-1] == ord("\n")) + 1])
    before = np.concatenate([[0], depth[starts[1:] - 1]])
    deep = np.flatnonzero(np.maximum.reduceat(depth, starts) - before > _DEEPEST)
    # brackets within text are no nesting: these lines are looked at by themselves
    lines = block.split(b"\n") if len(deep) else []
    for place in deep.tolist():
        if _depth(parse_line(lines[place], name, first_line + place)) > _DEEPEST:
            raise _too_deep(name, first_line + place)


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        inner = [item for item in level if isinstance(item, dict | list)]
        level = [part for item in inner for part in (item.values() if isinstance(item, dict) else item)]
    return depth


def _too_deep(name: str, line: int) -> DataError:
    return DataError(f"{name}, line {line} is nested more than {_DEEPEST} deep: leave out what is of no use")


def parse_line(text: bytes, name: str, line: int) -> dict[str, Any]:
    """The object of one line; NaN is None.

    Raises
    ------
    DataError
        The line is not JSON, holds no object, a name twice in one, or half of a character.
    """
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{name}, line {line} is not JSON ({json_reason(error)} at character {error.pos + 1}): give one JSON "
            "object a line"
        ) from error
    except RecursionError as error:
        raise _too_deep(name, line) from error
    except _DoubledError as error:
        raise DataError(f"{name}, line {line} has the field {str(error)!r} twice: keep one") from error
    except ValueError as error:  # an integer of thousands of digits
        raise DataError(f"{name}, line {line} cannot be read ({one_line(error)}): correct it") from error
    if not isinstance(value, dict):
        raise DataError(
            f"{name}, line {line} holds {_in_words(value)} instead of an object: give one JSON object a line"
        )
    if b"\\u" in text:
        _check_characters(value, name, line)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _DoubledError(next(name for name in names if names.count(name) > 1))
    return found


def _constant(word: str) -> float | None:
    return None if word == "NaN" else float(word)


def _in_words(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return "a list" if isinstance(value, list) else "a text" if isinstance(value, str) else "a number"


def _check_characters(value: dict[str, Any], name: str, line: int) -> None:
    for field, inner in value.items():
        try:
            json.dumps({field: inner}, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            half = error.object[error.start]
            raise DataError(
                f"{name}, line {line}, field '{ascii(field)[1:-1]}': {half!a} is half of a character (a surrogate "
                "without its other half), as cut text has: remove it"
            ) from error
