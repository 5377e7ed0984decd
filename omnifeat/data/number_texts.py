"""Text columns that were meant as numbers: one `n/a` or `12%` makes a text column of a column of scores.

Such a column is neither used nor passed over: the value in the way is named.
"""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["is_number_type", "meant_as_numbers", "no_number_message"]

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?|nan", re.IGNORECASE)
# what people write for numbers, beside the above: 12%, 1,200.50, $5, 3 cm, TRUE
_MEANT = re.compile(r"[+-]?\s*[^\w\s]?\s*\d[\d.,' ]*([eE][+-]?\d+)?\s*(%|\S{1,3})?|true|false", re.IGNORECASE)
_MISSING = re.compile(r"|-+|\?|n/?a|#n/a|nan|null|none|nil|missing|\.", re.IGNORECASE)
_LOOKED_AT = 100_000  # distinct values


def is_number_type(arrow_type: pa.DataType) -> bool:
    """Whether a column of this type holds numbers; truth values are none."""
    types = pa.types
    return bool(types.is_integer(arrow_type) or types.is_floating(arrow_type) or types.is_decimal(arrow_type))


def meant_as_numbers(column: pa.Array | pa.ChunkedArray) -> bool:
    """Whether at least half of a text column's distinct values are numbers as people write them.

    Null, empty and what stands for them (`n/a`, `-`) count for neither side.
    """
    values = [value.strip() for value in _distinct(column)]
    told = [value for value in values if not _MISSING.fullmatch(value)]
    meant = sum(_MEANT.fullmatch(value) is not None or _NUMBER.fullmatch(value) is not None for value in told)
    return meant > 0 and 2 * meant >= len(told)


def no_number_message(column: pa.Array | pa.ChunkedArray, where: str) -> str:
    """The sentence that names the first value of a column that is no number, with its row from 1.

    Parameters
    ----------
    where
        Table and column, as messages say them.
    """
    if not _is_text(column.type):
        return f"{where} holds {column.type}, which is no number"
    wrong = next((value for value in _distinct(column) if not _NUMBER.fullmatch(value.strip())), None)
    if wrong is None:
        return f"{where} holds numbers as text: write them as numbers"
    row = pc.index(pc.cast(column, pa.string()), wrong).as_py() + 1
    return f"{where}, row {row}: {wrong!r} is not a number; write a number, or nothing where there is none"


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _distinct(column: pa.Array | pa.ChunkedArray) -> list[str]:
    """Distinct texts in the order in which they first stand; none of a column that holds no text."""
    if not _is_text(column.type):
        return []
    found: list[str] = pc.unique(pc.cast(column, pa.string()).drop_null()).slice(0, _LOOKED_AT).to_pylist()
    return found
