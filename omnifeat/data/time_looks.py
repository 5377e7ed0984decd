"""Numbers in a column of times that count nothing since 1970: what they look like, and what to write instead."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

__all__ = ["other_look"]

# what so many digits may be -> what to write; 8 and 14 digits are read as they stand
_DIGITS = {
    4: ("%Y", "a year", "%Y-01-01"),
    6: ("%Y%m", "a year and a month", "%Y-%m-01"),
    10: ("%Y%m%d%H", "a day and an hour", "%Y-%m-%dT%H:00"),
    12: ("%Y%m%d%H%M", "a day, an hour and a minute", "%Y-%m-%dT%H:%M"),
    17: ("%Y%m%d%H%M%S%f", "a day, a time and milliseconds", "%Y-%m-%dT%H:%M:%S.%f"),
}
_FIRST_YEAR, _LAST_YEAR = 1990, 2099
# a spreadsheet counts days from here on (its 1900 has a day too many, which lies before)
_SHEET = datetime(1899, 12, 30, tzinfo=UTC)
_SHEET_DAYS = (32_874, 55_153)  # 1990 to 2050


def other_look(number: Decimal | float) -> str | None:
    """What a number is most likely, where no log has the time that it counts, and what to write; None if nothing.

    Examples
    --------
    ``a year and a month: write 2024-03-01`` for 202403.
    """
    if _SHEET_DAYS[0] <= number < _SHEET_DAYS[1]:
        day = _SHEET + timedelta(days=int(number))
        return (
            f"a spreadsheet's number for {day:%Y-%m-%d}: format the column there as yyyy-mm-dd hh:mm:ss and save it "
            "again"
        )
    if number != int(number):
        return None
    digits = str(int(number))
    if len(digits) not in _DIGITS or not re.fullmatch(r"[0-9]+", digits):
        return None
    form, what, written = _DIGITS[len(digits)]
    try:
        moment = datetime.strptime(digits, form)
    except ValueError:
        return None
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        return None
    return f"{what}: write {moment.strftime(written)}"
