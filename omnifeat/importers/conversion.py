"""Columns of any source into the types of the schema, with errors that name file, column and row."""

import json
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.schema import TIMESTAMP, VECTOR, VECTOR_LIST
from omnifeat.errors import DataError

__all__ = ["TIME_UNITS", "convert_column"]

TIME_UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1}  # microseconds in one
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def convert_column(
    values: pa.Array,
    wanted: Any,
    *,
    file: str,
    column: str,
    first_row: int,
    list_separator: str = "|",
    time_unit: str = "s",
    width: int | None = None,
) -> pa.Array:
    """Convert the values of one column of one batch.

    Parameters
    ----------
    values
        The values, of any Arrow type.
    wanted
        A type of `omnifeat.data.schema`: an Arrow type, `VECTOR` or `VECTOR_LIST`.
    file, column, first_row
        Where they come from: for messages. Rows count from 1.
    list_separator
        Between the items of a list written as text; a text that begins with `[` is read as JSON.
    time_unit
        What a time written as a number counts since 1970: "s", "ms" or "us".
    width
        Width that vectors must have; that of the first one if None.

    Raises
    ------
    DataError
        For the first value that cannot be converted: names file, column, row and value.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    place = _Place(file, column, first_row)
    if wanted is VECTOR or wanted is VECTOR_LIST:
        return (_vectors if wanted is VECTOR else _vector_lists)(values, place, width)
    if values.type.equals(wanted):
        return _finite(values, place) if pa.types.is_floating(wanted) else values
    if pa.types.is_string(wanted):
        return _texts(values, place)
    if wanted.equals(TIMESTAMP):
        return _each(values, TIMESTAMP, lambda value: _time(value, TIME_UNITS[time_unit]), "a time", place)
    if pa.types.is_list(wanted):
        return _each(values, wanted, lambda value: _string_list(value, list_separator), "a list of texts", place)
    convert, what = (_real, "a finite number") if pa.types.is_floating(wanted) else (_whole, "a whole number")
    return _numbers(values, wanted, convert, what, place)


class _Place:
    """Where a batch of values comes from."""

    def __init__(self, file: str, column: str, first_row: int) -> None:
        self.file, self.column, self.first_row = file, column, first_row

    def error(self, position: int, value: object, wanted: str) -> DataError:
        shown = repr(value)
        shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
        return DataError(
            f"{self.file}, column '{self.column}', row {self.first_row + position}: {shown} is not {wanted}; "
            "correct it or map another column."
        )


def _each(values: pa.Array, wanted: pa.DataType, convert: Callable[[Any], Any], what: str, place: _Place) -> pa.Array:
    return pa.array(_rows(values, place, convert, what), wanted)


def _texts(values: pa.Array, place: _Place) -> pa.Array:
    kind = values.type
    if (
        pa.types.is_large_string(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_null(kind)
        or kind == pa.string_view()
    ):
        return values.cast(pa.string())
    return _each(values, pa.string(), _text, "text", place)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # a column of whole numbers with holes arrives as floats
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError


def _numbers(
    values: pa.Array, wanted: pa.DataType, convert: Callable[[Any], Any], what: str, place: _Place
) -> pa.Array:
    if (pa.types.is_integer(values.type) and not pa.types.is_uint64(values.type)) or (
        pa.types.is_floating(values.type) and pa.types.is_floating(wanted)
    ):
        # the quick way, for what needs no look at single values
        return _finite(values.cast(wanted), place) if pa.types.is_floating(wanted) else values.cast(wanted)
    return _each(values, wanted, convert, what, place)


def _finite(values: pa.Array, place: _Place) -> pa.Array:
    wrong = pc.fill_null(pc.invert(pc.is_finite(values)), False)
    if pc.any(wrong).as_py():
        position = pc.index(wrong, True).as_py()
        raise place.error(position, values[position].as_py(), "a finite number")
    return values


def _real(value: Any) -> float:
    number = (
        float(value) if isinstance(value, str | int | float | Decimal) and not isinstance(value, bool) else math.nan
    )
    if not math.isfinite(number):
        raise ValueError
    return number


def _whole(value: Any) -> int:
    if isinstance(value, bool):
        raise ValueError
    number = int(value)
    if not isinstance(value, str) and number != value:  # 1.5
        raise ValueError
    if not -(2**63) <= number < 2**63:
        raise ValueError
    return number


def _time(value: Any, unit: int) -> datetime:
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    if isinstance(value, str):
        text = value.strip()
        # digits alone count time, though some of them would also pass for an ISO date
        if text.lstrip("-").isdigit():
            value = int(text)
        else:
            return _time(datetime.fromisoformat(text), unit)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return _EPOCH + timedelta(microseconds=round(value * unit))


def _string_list(value: Any, separator: str) -> list[str]:
    if isinstance(value, str):
        text = value.strip()
        items = json.loads(text) if text.startswith("[") else [part.strip() for part in text.split(separator)]
    else:
        items = list(value)
    if not all(isinstance(item, str) for item in items):
        raise ValueError
    return [item for item in items if item]


def _vector(value: Any) -> list[float]:
    if isinstance(value, str):
        text = value.strip()
        value = json.loads(text) if text.startswith("[") else text.replace(",", " ").replace("|", " ").split()
    return [_real(item) for item in value]


def _checked(vector: list[float], width: int | None, position: int, value: object, place: _Place) -> int:
    if not vector or (width is not None and len(vector) != width):
        wanted = "a vector of numbers" if width is None else f"a vector of {width} numbers like those before it"
        raise place.error(position, value, wanted)
    return len(vector)


def _rows(values: pa.Array, place: _Place, convert: Callable[[Any], Any], what: str) -> list[Any]:
    rows: list[Any] = []
    for position, value in enumerate(values.to_pylist()):
        if value is None or value == "":
            rows.append(None)
            continue
        try:
            rows.append(convert(value))
        except (ValueError, TypeError, OverflowError) as error:
            raise place.error(position, value, what) from error
    return rows


def _vectors(values: pa.Array, place: _Place, width: int | None) -> pa.Array:
    rows = _rows(values, place, _vector, "a vector of finite numbers")
    for position, row in enumerate(rows):
        if row is not None:
            width = _checked(row, width, position, values[position].as_py(), place)
    # a batch without any vector, before the first one, cannot know the width
    return pa.nulls(len(rows)) if width is None else _vector_array(rows, width)


def _vector_lists(values: pa.Array, place: _Place, width: int | None) -> pa.Array:
    def convert(value: Any) -> list[list[float]]:
        return [_vector(item) for item in (json.loads(value) if isinstance(value, str) else value)]

    rows = _rows(values, place, convert, "a list of vectors of finite numbers")
    for position, row in enumerate(rows):
        for vector in row or ():
            width = _checked(vector, width, position, values[position].as_py(), place)
    if width is None:
        return pa.nulls(len(rows))
    flat = _vector_array([vector for row in rows for vector in row or ()], width)
    lengths = [0 if row is None else len(row) for row in rows]
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, flat, mask=pa.array([row is None for row in rows]))


def _vector_array(rows: list[list[float] | None], width: int) -> pa.FixedSizeListArray:
    numbers = np.array([row if row is not None else [0.0] * width for row in rows], dtype=np.float32)
    mask = pa.array([row is None for row in rows], pa.bool_())
    return pa.FixedSizeListArray.from_arrays(pa.array(numbers.reshape(-1), pa.float32()), width, mask=mask)
