"""Columns of any source into the types of the schema, with errors that name file, column and row."""

import json
import math
import re
import shlex
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.id_texts import id_texts
from omnifeat.data.schema import TIMESTAMP, VECTOR, VECTOR_LIST, Column
from omnifeat.data.times import TIME_FORM, TIME_UNITS, likely_unit, look_of, odd_times, parse_times
from omnifeat.errors import DataError
from omnifeat.importers.cells import LIKELY_NULLS, ROUNDED, holds_ids, unwrapped
from omnifeat.importers.number_texts import AmbiguousError, NumberForm

__all__ = ["TIME_UNITS", "UnreadableError", "convert_column", "null_hint"]

_WHOLE = re.compile(r"[-+]?[0-9]{1,19}(?:\.0*)?")
_DIGITS = r"^\s*-?[0-9]{1,18}\s*$"
_JSON_TEXTS = r'^\s*\[\s*(".*")?\s*\]\s*$'
_REMEDY = "correct it or map another column"


class UnreadableError(DataError):
    """A value that cannot be converted. `what` is the sentence without what to do about it."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}.")
        self.what = what


def null_hint(value: object) -> str:
    """What to say where a word that programs write for nothing cannot be read; empty for any other value."""
    word = value.strip() if isinstance(value, str) else ""
    return f"say --null-word {shlex.quote(word)} if it stands for nothing" if word in LIKELY_NULLS else ""


def convert_column(
    values: pa.Array,
    column: Column,
    *,
    file: str,
    source: str,
    first_row: int,
    list_separator: str = "|",
    time_unit: str | None = "s",
    numbers: NumberForm = NumberForm(),
    width: int | None = None,
    remedy: str = _REMEDY,
) -> pa.Array:
    """Convert the values of one column of one batch.

    Parameters
    ----------
    values
        The values, of any Arrow type.
    column
        What the values are to be. A list of texts in a column of text becomes the texts joined; beside a `price` may
        stand its currency.
    file, source, first_row
        The file and the column in it that they come from: for messages. Rows count from 1.
    list_separator
        Between the items of a list written as text; a text that begins with `[` is read as JSON.
    time_unit
        What a time written as a number counts since 1970: "s", "ms", "us" or "ns".
    numbers
        How texts write numbers.
    width
        Width that vectors must have; that of the first one if None.
    remedy
        What to do about a value that cannot be converted, the end of the sentence.

    Raises
    ------
    DataError
        For the first value that cannot be converted: names file, column, row and value.
    """
    wanted = column.type
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    values = _unwrapped(values)
    place = _Place(file, source, first_row, remedy)
    if wanted is VECTOR or wanted is VECTOR_LIST:
        return (_vectors if wanted is VECTOR else _vector_lists)(values, place, width)
    if wanted.equals(TIMESTAMP):
        return _times(values, place, time_unit)
    if pa.types.is_string(wanted):
        read = _ids if holds_ids(column) else _names if column.key else _texts
        return read(values, place)
    if pa.types.is_list(wanted):
        return _lists(values, wanted, list_separator, place)
    if pa.types.is_integer(wanted):
        return _numbers(values, wanted, _whole, "a whole number", place)
    quick = numbers.decimal == "." and (numbers.sure or numbers.plain_points)
    real = partial(_real, numbers=numbers, money=column.name == "price")
    return _numbers(values, wanted, real, "a finite number", place, by_arrow=quick)


def _unwrapped(values: pa.Array) -> pa.Array:
    """The values in MongoDB's objects, such as `{"$oid": "65a1"}`; its times are left to the parser of times."""
    while pa.types.is_struct(values.type) and values.type.num_fields == 1:
        name = values.type.field(0).name
        if not name.startswith("$") or name == "$date":
            break
        values = pc.struct_field(values, 0)
    return values


class _Place:
    """Where a batch of values comes from, and what to do about a wrong one."""

    def __init__(self, file: str, column: str, first_row: int, remedy: str) -> None:
        self.file, self.column, self.first_row, self.remedy = file, column, first_row, remedy

    def error(self, position: int, value: object, wanted: str, why: str = "") -> DataError:
        shown = repr(value)
        shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
        why = why or null_hint(value)
        return UnreadableError(
            f"{self.file}, column '{self.column}', row {self.first_row + position}: {shown} is not {wanted}"
            f"{f' ({why})' if why else ''}",
            self.remedy,
        )


def _each(values: pa.Array, wanted: pa.DataType, convert: Callable[[Any], Any], what: str, place: _Place) -> pa.Array:
    return pa.array(_rows(values, place, convert, what), wanted)


def _lists(values: pa.Array, wanted: pa.DataType, separator: str, place: _Place) -> pa.Array:
    if values.type.equals(wanted):
        return values
    return _each(values, wanted, lambda value: _string_list(value, separator), "a list of texts", place)


def _times(values: pa.Array, place: _Place, unit: str | None) -> pa.Array:
    def wrong(position: int, value: Any) -> DataError:
        number = isinstance(value, int | float) or (isinstance(value, str) and _WHOLE.fullmatch(value.strip()))
        fits = likely_unit(pa.array([float(value)])) if number else None
        look = None if fits else look_of(value)
        why = f"say --time-unit {fits}" if fits else f"it looks like {look}" if look else ""
        return place.error(position, value, TIME_FORM, why)

    if pa.types.is_string(values.type) and pc.all(pc.match_substring_regex(values, _DIGITS)).as_py():
        values = pc.utf8_trim_whitespace(values).cast(pa.int64())  # the quick way for a log of counts
    times = parse_times(values, wrong, unit)
    _refuse_other_look(values, times, place)
    return times


def _refuse_other_look(values: pa.Array, times: pa.Array, place: _Place) -> None:
    """Raise where half or more of the times that no log has are numbers of another meaning, such as 202403."""
    odd = odd_times(times)
    if odd is None:
        return
    looks = [(row, look) for row in odd.places if (look := look_of(values[row].as_py())) is not None]
    if 2 * len(looks) >= len(odd.places):
        row, look = looks[0]
        raise place.error(row, values[row].as_py(), TIME_FORM, f"it looks like {look}")


def _ids(values: pa.Array, place: _Place) -> pa.Array:
    ids = _names(values, place)
    if not pa.types.is_string(values.type):
        return ids
    ids = unwrapped(ids)
    rounded = pc.match_substring_regex(ids, f"^{ROUNDED.pattern}$")
    if pc.any(rounded).as_py():
        position = pc.index(rounded, True).as_py()
        why = "a spreadsheet cut its digits off: format the column there as text and write the ids again"
        raise place.error(position, values[position].as_py(), "an id", why)
    return ids


def _names(values: pa.Array, place: _Place) -> pa.Array:
    where = f"{place.file}, column '{place.column}'"
    return pc.cast(id_texts(values, where, place.first_row), pa.string())


def _texts(values: pa.Array, place: _Place) -> pa.Array:
    kind = values.type
    if (
        pa.types.is_large_string(kind)
        or pa.types.is_string(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_null(kind)
        or kind == pa.string_view()
    ):
        texts = values.cast(pa.string())
        if pa.types.is_integer(kind) or not pc.any(pc.match_substring_regex(texts, _JSON_TEXTS)).as_py():
            return texts
        return _each(texts, pa.string(), _text_of_json, "text", place)
    return _each(values, pa.string(), _text, "text", place)


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return _text_of_json(value)
    if isinstance(value, list):
        texts = [_text(item) for item in value if item is not None]
        return " ".join(text for text in texts if text) or None
    if isinstance(value, float) and math.isnan(value):
        return None  # pandas writes it where there is nothing
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # a column of whole numbers with holes arrives as floats
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return str(value)
    raise ValueError


def _text_of_json(text: str) -> str | None:
    """The texts of a JSON list joined; any other text as it is."""
    if not re.match(_JSON_TEXTS, text, re.DOTALL):
        return text
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not all(isinstance(item, str) for item in items):
        return text
    return " ".join(item for item in items if item) or None


def _numbers(
    values: pa.Array,
    wanted: pa.DataType,
    convert: Callable[[Any], Any],
    what: str,
    place: _Place,
    by_arrow: bool = False,
) -> pa.Array:
    if (pa.types.is_integer(values.type) and not pa.types.is_uint64(values.type)) or (
        pa.types.is_floating(values.type) and pa.types.is_floating(wanted)
    ):
        # the quick way, for what needs no look at single values
        # an integer beyond 2**53 is no error in a column of floats
        return _finite(values.cast(wanted, safe=False), place) if pa.types.is_floating(wanted) else values.cast(wanted)
    if by_arrow and pa.types.is_string(values.type):
        try:
            found = values.cast(wanted)
        except pa.ArrowInvalid:
            pass
        else:
            if not pc.any(pc.invert(pc.is_finite(found))).as_py():
                return found
    return _each(values, wanted, convert, what, place)


def _finite(values: pa.Array, place: _Place) -> pa.Array:
    values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)  # as pandas writes nothing
    wrong = pc.fill_null(pc.invert(pc.is_finite(values)), False)
    if pc.any(wrong).as_py():
        position = pc.index(wrong, True).as_py()
        raise place.error(position, values[position].as_py(), "a finite number")
    return values


def _real(value: Any, numbers: NumberForm = NumberForm(), money: bool = False) -> float:
    if isinstance(value, str):
        number = numbers.read(value, money)
    else:
        known = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
        number = float(value) if known else math.nan
    if not math.isfinite(number):
        raise ValueError
    return number


def _whole(value: Any) -> int:
    if isinstance(value, str):
        if not _WHOLE.fullmatch(value.strip()):
            raise ValueError
        value = value.strip().split(".")[0]
    if isinstance(value, bool):
        raise ValueError
    number = int(value)
    if not isinstance(value, str) and number != value:  # 1.5
        raise ValueError
    if not -(2**63) <= number < 2**63:
        raise ValueError
    return number


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
        if not text.startswith("[") and re.search(r"[0-9],[0-9]", text) and re.search(r"[0-9][\s|]", text):
            raise ValueError  # "0,1 0,2": two numbers with a decimal comma, or four
        value = json.loads(text) if text.startswith("[") else text.replace(",", " ").replace("|", " ").split()
    return [_component(item) for item in value]


def _component(value: Any) -> float:
    return _real(float(value) if isinstance(value, str) else value)


def _checked(vector: list[float], width: int | None, position: int, value: object, place: _Place) -> int:
    if not vector or (width is not None and len(vector) != width):
        wanted = "a vector of numbers" if width is None else f"a vector of {width} numbers like those before it"
        raise place.error(position, value, wanted)
    return len(vector)


def _rows(values: pa.Array, place: _Place, convert: Callable[[Any], Any], what: str) -> list[Any]:
    rows: list[Any] = []
    for position, value in enumerate(values.to_pylist()):
        nothing = value is None or value == "" or (isinstance(value, float) and math.isnan(value))
        if nothing or (isinstance(value, str) and not value.strip() and what != "text"):
            rows.append(None)
            continue
        try:
            rows.append(convert(value))
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise place.error(position, value, what, _reason(error)) from error
    return rows


def _reason(error: Exception) -> str:
    """What a number's text might be taken for, where that is why it is refused."""
    return (
        f"it may be {' or '.join(error.readings)}; say which with --decimal"
        if isinstance(error, AmbiguousError)
        else ""
    )


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
