"""What was told from a text file's first lines and may be otherwise, said with the option that says so."""

import re
from collections.abc import Iterator

from omnifeat.data.dialects import TextDialect, first_lines
from omnifeat.data.locations import FileFormat, Location

__all__ = ["doubts"]

_LONGEST = 30
_WORD = re.compile(rf"[^\W\d_]{{2,{_LONGEST}}}")


def doubts(location: Location, file_format: FileFormat, dialect: TextDialect, said: set[str]) -> Iterator[str]:
    """Sentences on a file of cells.

    Parameters
    ----------
    dialect
        How the file is read.
    said
        What of it the user said: names of attributes, of which nothing is in doubt.
    """
    text = first_lines(location, file_format, dialect.encoding)
    if dialect.encoding == "windows-1252" and "encoding" not in said:
        word = max(_WORD.findall(text), key=_foreign, default="")
        if _foreign(word):
            yield f"A word of it reads {word!r}: if that is none, name the file's encoding with --encoding NAME."
    if dialect.quote is None and "quote" not in said:
        cell = next(_enclosed(text, dialect.delimiter), None)
        if cell is not None:
            shown = cell[:_LONGEST]
            yield f"Cells such as {shown} keep their quotes, as the header has none: --quote '\"' takes them off."


def _foreign(word: str) -> int:
    return sum(not character.isascii() for character in word)


def _enclosed(text: str, delimiter: str) -> Iterator[str]:
    for line in text.splitlines()[1:]:
        for cell in line.split(delimiter):
            # a quote doubled within is read as of a quoted cell already
            if len(cell) > 2 and cell[0] == cell[-1] == '"' and '""' not in cell:
                yield cell
