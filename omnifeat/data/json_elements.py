"""The elements of a JSON array, or objects one after another, from a stream, with bounded memory."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

from omnifeat.data.locations import json_reason, one_line
from omnifeat.errors import DataError

__all__ = ["elements"]

_CHUNK = 1 << 20
_BLANKS = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def elements(name: str, first: bytes, stream: Any) -> Iterator[str]:
    """The text of each element of an array, or of each object where the stream begins with none.

    Parameters
    ----------
    name
        The file, for messages.
    first, stream
        The file's first bytes, and the stream with the others.

    Raises
    ------
    DataError
        Names the element that cannot be read, from 1.
    """
    buffer = _Buffer(first, stream)
    number = 0
    try:
        in_array = buffer.next_sign() == "["
        buffer.place += in_array
        while True:
            sign = buffer.next_sign()
            if in_array and sign == "]":
                buffer.place += 1
                if buffer.next_sign():
                    raise DataError(f"{name} goes on after its array of {number} elements: give one array a file")
                return
            if not sign:
                if in_array:
                    raise DataError(f"{name} ends within its array, after element {number}: write it again")
                return
            if in_array and number:
                if sign != ",":
                    raise DataError(
                        f"{name}, element {number}: {sign!r} stands after it instead of a comma: correct it"
                    )
                buffer.place += 1
                buffer.next_sign()
            yield buffer.element()
            number += 1
    except UnicodeDecodeError as error:
        raise DataError(f"{name}, after element {number}, is not UTF-8 text: save it as UTF-8") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{name}, element {number + 1} is not JSON ({json_reason(error)}): correct it") from error
    except (RecursionError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{name}, element {number + 1} cannot be read ({one_line(error)}): correct it") from error


class _Buffer:
    """Text of a stream, of which what was used goes when more is read."""

    def __init__(self, first: bytes, stream: Any) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._first = first
        self._text = ""
        self._ended = False
        self.place = 0

    def _more(self) -> bool:
        if self._ended:
            return False
        data, self._first = self._first or bytes(self._stream.read(_CHUNK)), b""
        self._ended = not data
        self._text = self._text[self.place :] + self._decoder.decode(data, final=self._ended)
        self.place = 0
        return True

    def next_sign(self) -> str:
        """Go to the next character that is no blank; empty at the end."""
        while True:
            match = _BLANKS.match(self._text, self.place)
            self.place = match.end() if match else self.place
            if self.place < len(self._text) or not self._more():
                return self._text[self.place : self.place + 1]

    def element(self) -> str:
        """The text of the value that begins here. Raises what `json` raises."""
        while True:
            try:
                _, end = _DECODER.raw_decode(self._text, self.place)
            except json.JSONDecodeError:
                if not self._more():
                    raise
            else:
                text = self._text[self.place : end]
                self.place = end
                return text
