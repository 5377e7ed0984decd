"""Times of any form as UTC: the one parser, for files of every format and for the importers.

A time is ISO 8601 text in its many forms (`2024-03-01`, `2024-03-01 12:00:00 UTC`, a fraction after a point or a comma,
an offset with or without a colon, `T24:00` for the next midnight), a date of eight digits or a moment of fourteen
(`20240301`, `20240301120000`), MongoDB's `{"$date": ...}`, an Arrow time or date, or a number that counts a unit
since 1970. What is finer than a microsecond is cut off. A time without a zone is UTC. The years go from 1 to 9999.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.schema import TIMESTAMP
from omnifeat.data.time_looks import other_look
from omnifeat.errors import DataError

__all__ = ["TIME_FORM", "TIME_UNITS", "OddTimes", "likely_unit", "look_of", "not_a_time", "odd_times", "parse_times"]

TIME_FORM = "a time such as 2024-05-01T12:30:00Z"
TIME_UNITS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}  # nanoseconds in one
UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}

# says what is wrong with a row (from 0) and its value
Wrong = Callable[[int, Any], DataError]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = -62_135_596_800_000_000  # 0001-01-01, microseconds since 1970
_LAST = 253_402_300_799_999_999  # the last of 9999-12-31
# a log of searches is of the web's years; clocks that go wrong are not wrong by five
_PLAUSIBLE_FROM = datetime(1990, 1, 1, tzinfo=UTC)
_PLACES = 100  # of odd times, to look at what was written there
_PLAUSIBLE_AHEAD = timedelta(days=5 * 365)
_ZONED = r"[T ].*(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_CLOCK = re.compile(
    r"(?P<date>\d{4}-?\d{2}-?\d{2}|\d{4}-?W\d{2}(?:-?\d)?)"
    r"(?:(?:[Tt]|\s+)(?P<clock>\d{2}(?::?\d{2}(?::?\d{2})?)?)(?:[.,](?P<fraction>\d+))?"
    r"\s*(?P<zone>[Zz]|UTC|utc|GMT|gmt|Etc/UTC|[+-]\d{2}(?::?\d{2})?)?)?"
)


def parse_times(values: pa.Array, wrong: Wrong, unit: str | None = None) -> pa.Array:
    """Times (n) of any Arrow type as microseconds in UTC.

    Parameters
    ----------
    values
        Text, times, dates, numbers, or `{"$date": ...}`. Null, an empty text and a number that is NaN stay null.
    wrong
        Called with the row (from 0) and the value of the first one that is no time; gives the error to raise.
    unit
        What numbers count since 1970: one of `TIME_UNITS`. Without it, of numbers only dates of eight digits and
        moments of fourteen are times. These are read as such under any unit.

    Raises
    ------
    DataError
        What `wrong` gives.
    """
    kind = values.type
    if pa.types.is_dictionary(kind):
        return parse_times(values.dictionary_decode(), wrong, unit)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _from_arrow(values, wrong)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _from_numbers(values, wrong, unit)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _from_texts(pc.cast(values, pa.string()), wrong, unit)
    return _one_by_one(values, wrong, unit)


def not_a_time(value: Any) -> str:
    """The end of a sentence on a value that is no time, with what to do where it is a number."""
    number = _number(value)
    if number is None:
        return f"is not {TIME_FORM}: correct it"
    unit = likely_unit(pa.array([float(number)]))
    if unit is None:
        look = look_of(value)
        return f"is not {TIME_FORM}: {f'it looks like {look}' if look else 'correct it'}"
    return (
        f"is not {TIME_FORM}: it looks like {UNIT_NAMES[unit]} since 1970, which `omnifeat import table` reads with "
        f"--time-unit {unit}"
    )


def look_of(value: Any) -> str | None:
    """What a number that counts nothing since 1970 looks like, and what to write (`other_look`); None for others."""
    number = _number(value.replace(",", ".") if isinstance(value, str) else value)
    return None if number is None or not number.is_finite() else other_look(number)


def likely_unit(numbers: pa.Array) -> str | None:
    """The unit that makes the middle one of some numbers (n) a plausible time of a log; None where there is none."""
    there = pc.cast(numbers, pa.float64(), safe=False).drop_null().to_numpy(zero_copy_only=False)
    there = there[np.isfinite(there)]
    if not len(there):
        return None
    middle = float(np.sort(there)[len(there) // 2])
    first, last = (moment.timestamp() for moment in _plausible())
    return next((unit for unit, size in TIME_UNITS.items() if first <= middle * size / 1e9 <= last), None)


@dataclass(frozen=True)
class OddTimes:
    """Times of a column that no log has.

    Attributes
    ----------
    rows
        How many.
    first_row
        The first such row, from 0.
    first
        Its time.
    reason
        "before 1990", or "in the future", and the mistake of units that explains it where one does.
    places
        The first such rows, from 0.
    """

    rows: int
    first_row: int
    first: datetime
    reason: str
    places: tuple[int, ...]


def odd_times(times: pa.Array) -> OddTimes | None:
    """Times (n, microseconds in UTC) that are implausible for a log: before 1990 or years ahead; None if all are fine.

    Where seconds taken for milliseconds (or the like) explain them, `reason` says so.
    """
    first, last = (_microseconds(moment) for moment in _plausible())
    numbers = pc.fill_null(pc.cast(times, pa.int64()), first).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero((numbers < first) | (numbers > last))
    if not len(rows):
        return None
    middle = int(np.sort(numbers[rows])[len(rows) // 2])
    reason = "before 1990" if middle < first else "years in the future"
    # times are what was read with some unit: read with another, would they be plausible?
    for taken, size in TIME_UNITS.items():
        for meant, other in TIME_UNITS.items():
            if size != other and first <= middle * other // size <= last:
                reason += f", as if {UNIT_NAMES[meant]} had been taken for {UNIT_NAMES[taken]}"
                return _odd(rows, numbers, reason)
    return _odd(rows, numbers, reason)


def _odd(rows: np.ndarray, numbers: np.ndarray, reason: str) -> OddTimes:
    first = int(rows[0])
    return OddTimes(len(rows), first, _moment(int(numbers[first])), reason, tuple(rows[:_PLACES].tolist()))


def _plausible() -> tuple[datetime, datetime]:
    return _PLAUSIBLE_FROM, datetime.now(UTC) + _PLAUSIBLE_AHEAD


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _from_arrow(values: pa.Array, wrong: Wrong) -> pa.Array:
    """Arrow's times and dates; computed as integers, because its own casts wrap around without a word."""
    if pa.types.is_date(values.type):
        days = pa.types.is_date32(values.type)
        numbers = pc.cast(pc.cast(values, pa.int32() if days else pa.int64()), pa.int64())
        return _scaled(numbers, 86_400 * TIME_UNITS["s"] if days else TIME_UNITS["ms"], values, wrong)
    return _scaled(pc.cast(values, pa.int64()), TIME_UNITS[values.type.unit], values, wrong)


def _scaled(numbers: pa.Array, nanoseconds: int, values: pa.Array, wrong: Wrong) -> pa.Array:
    """Integers (n) that count so many nanoseconds since 1970, as times."""
    found = pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False)
    if nanoseconds >= 1_000:
        size = nanoseconds // 1_000
        out = (found < -(-_FIRST // size)) | (found > _LAST // size)
        found = np.where(out, 0, found) * size
    else:
        out = np.zeros(len(found), dtype=bool)
        found = found // (1_000 // nanoseconds)
    if out.any():
        row = int(np.flatnonzero(out)[0])
        raise wrong(row, _shown(values, row))
    return pc.cast(pa.array(found, pa.int64(), mask=_nulls(numbers)), TIMESTAMP)


def _nulls(values: pa.Array) -> np.ndarray:
    return values.is_null().to_numpy(zero_copy_only=False)


def _shown(values: pa.Array, row: int) -> Any:
    """A value for a message; a time beyond Python's years is shown as its number."""
    try:
        return values[row].as_py()
    except (ValueError, OverflowError):
        return pc.cast(values.slice(row, 1), pa.int64() if values.type.bit_width == 64 else pa.int32())[0].as_py()


def _from_numbers(values: pa.Array, wrong: Wrong, unit: str | None) -> pa.Array:
    if pa.types.is_uint64(values.type) or pa.types.is_floating(values.type):
        found = pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        whole = np.isnan(found) | ((np.abs(found) < 2**53) & (found == np.floor(found)))
        if not whole.all():
            return _one_by_one(values, wrong, unit)
        nulls = _nulls(values) | np.isnan(found)
        integers = np.where(nulls, 0, found).astype(np.int64)
    else:
        nulls = _nulls(values)
        integers = pc.cast(pc.fill_null(values, 0), pa.int64()).to_numpy(zero_copy_only=False)
    dates, moments = _dates_of_digits(integers)
    if unit is None:
        odd = np.flatnonzero(~(moments | nulls))
        if len(odd):
            raise wrong(int(odd[0]), values[int(odd[0])].as_py())
        return pc.cast(pa.array(dates, pa.int64(), mask=nulls), TIMESTAMP)
    counted = _scaled(pa.array(np.where(moments, 0, integers), mask=nulls), TIME_UNITS[unit], values, wrong)
    if not moments.any():
        return counted
    return pc.if_else(pa.array(moments), pc.cast(pa.array(dates, pa.int64(), mask=nulls), TIMESTAMP), counted)


def _dates_of_digits(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Microseconds (n) of numbers such as 20240301 and 20240301120000, and which numbers (n) are such.

    As counts of seconds or milliseconds they would lie in 1970 or after 2600.
    """
    long = (numbers >= 19_000_101_000_000) & (numbers <= 21_001_231_235_959)
    day, clock = np.where(long, numbers // 1_000_000, numbers), np.where(long, numbers % 1_000_000, 0)
    found = (day >= 19_000_101) & (day <= 21_001_231)
    day = np.where(found, day, 19_700_101)
    year, month, date_ = day // 10_000, day // 100 % 100, day % 100
    months = ((year - 1970) * 12 + np.clip(month, 1, 12) - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (date_ - 1)
    found &= (month >= 1) & (month <= 12) & (date_ >= 1) & (days.astype("datetime64[M]") == months)
    hour, minute, second = clock // 10_000, clock // 100 % 100, clock % 100
    found &= (hour < 24) & (minute < 60) & (second < 60)
    seconds = days.astype(np.int64) * 86_400 + hour * 3_600 + minute * 60 + second
    return seconds * 1_000_000, found


def _from_texts(texts: pa.Array, wrong: Wrong, unit: str | None) -> pa.Array:
    trimmed = pc.utf8_trim_whitespace(texts)
    try:
        return _in_range(_by_arrow(trimmed), texts, wrong)
    except pa.ArrowInvalid:
        pass  # the next most common forms, then any
    try:
        return _in_range(_by_arrow(_plainer(trimmed)), texts, wrong)
    except pa.ArrowInvalid:
        return _one_by_one(trimmed, wrong, unit)


def _by_arrow(texts: pa.Array) -> pa.Array:
    """ISO 8601 texts as Arrow reads them: of the two forms, with a zone and without, one a column at a time."""
    zoned = pc.match_substring_regex(texts, _ZONED)
    nothing = pa.scalar(None, pa.string())
    plain = pc.cast(pc.cast(pc.if_else(zoned, nothing, texts), pa.timestamp("us")), TIMESTAMP)
    return pc.coalesce(pc.cast(pc.if_else(zoned, texts, nothing), TIMESTAMP), plain)


def _plainer(texts: pa.Array) -> pa.Array:
    """The texts with their most common other forms in Arrow's: a named zone, a comma, nanoseconds; empty is null."""
    texts = pc.replace_substring_regex(texts, r"\s*(UTC|GMT)$", "Z")
    texts = pc.replace_substring_regex(texts, r"(:\d{2})[.,](\d{1,6})\d*", r"\1.\2")
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def _in_range(times: pa.Array, texts: pa.Array, wrong: Wrong) -> pa.Array:
    numbers = pc.fill_null(pc.cast(times, pa.int64()), 0).to_numpy(zero_copy_only=False)
    out = np.flatnonzero((numbers < _FIRST) | (numbers > _LAST))
    if len(out):
        raise wrong(int(out[0]), texts[int(out[0])].as_py())
    return times


def _one_by_one(values: pa.Array, wrong: Wrong, unit: str | None) -> pa.Array:
    found: list[int | None] = []
    for row, value in enumerate(values.to_pylist()):
        try:
            found.append(_one(value, unit))
        except (ValueError, OverflowError, InvalidOperation) as error:
            raise wrong(row, value) from error
    return pc.cast(pa.array(found, pa.int64()), TIMESTAMP)


def _one(value: Any, unit: str | None) -> int | None:
    """One value as microseconds; raises `ValueError` or `OverflowError` for what is no time."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, datetime):
        moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return _microseconds(moment)
    if isinstance(value, date):
        return _microseconds(datetime.combine(value, time(), UTC))
    if isinstance(value, str) and value.startswith("{"):
        value = json.loads(value)
    if isinstance(value, dict):
        return _mongo(value)
    number = _number(value)
    if number is not None:
        return _counted(number, unit)
    if not isinstance(value, str):
        raise ValueError
    return _clock(value.strip())


def _mongo(value: dict[str, Any]) -> int | None:
    """MongoDB's extended JSON: in `$date` a text, milliseconds, or `{"$numberLong": "milliseconds"}`."""
    if set(value) != {"$date"}:
        raise ValueError
    inner = value["$date"]
    if isinstance(inner, dict):
        if set(inner) != {"$numberLong"}:
            raise ValueError
        inner = inner["$numberLong"]
    return _one(inner, "ms")


def _number(value: Any) -> Decimal | None:
    if isinstance(value, str):
        text = value.strip()
        return Decimal(text) if _NUMBER.fullmatch(text) and text.isascii() else None
    return Decimal(value) if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else None


def _counted(number: Decimal, unit: str | None) -> int:
    if not number.is_finite() or abs(number) > 10**20:
        raise ValueError
    if number == int(number) and abs(number) < 2**62:
        dates, found = _dates_of_digits(np.array([int(number)], dtype=np.int64))
        if found[0]:
            return int(dates[0])
    if unit is None:
        raise ValueError
    # floats hold seconds to some tenths of microseconds: round those, but cut true nanoseconds off
    exact = number * TIME_UNITS[unit] / 1_000
    microseconds = math.floor(exact) if unit == "ns" else round(exact)
    return _checked(microseconds)


def _checked(microseconds: int) -> int:
    if not _FIRST <= microseconds <= _LAST:
        raise ValueError
    return microseconds


def _clock(text: str) -> int:
    match = _CLOCK.fullmatch(text)
    if match is None or not text.isascii():
        raise ValueError
    clock, zone = match["clock"] or "00", (match["zone"] or "Z").upper()
    digits = clock.replace(":", "").ljust(6, "0")
    next_day = digits == "240000" and not (match["fraction"] or "").strip("0")
    if match["fraction"] and len(clock.replace(":", "")) < 6:
        raise ValueError  # a fraction of an hour or minute
    moment = datetime.fromisoformat(match["date"]).replace(tzinfo=UTC)
    shift = timedelta(days=1) if next_day else timedelta()
    if not next_day:
        hour, minute, second = int(digits[:2]), int(digits[2:4]), int(digits[4:])
        moment = datetime.combine(moment.date(), time(hour, minute, second), UTC)
    microseconds = int((match["fraction"] or "0")[:6].ljust(6, "0"))
    if zone[0] in "+-":
        offset = zone[1:].replace(":", "").ljust(4, "0")
        if int(offset[2:]) > 59 or int(offset[:2]) > 23:
            raise ValueError
        sign = -1 if zone[0] == "+" else 1
        shift += sign * timedelta(hours=int(offset[:2]), minutes=int(offset[2:]))
    return _checked(_microseconds(moment) + shift // timedelta(microseconds=1) + microseconds)
