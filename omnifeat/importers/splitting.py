"""Splits from options, checked so that a wrong one is answered in one sentence."""

from datetime import UTC, datetime

from omnifeat.data.splits import MOST_GAP_DAYS, HashSplit, TimeSplit
from omnifeat.errors import SettingError

__all__ = ["hash_split", "time_split"]


def hash_split(*, column: str = "query", salt: str = "", development: float = 0.1, test: float = 0.1) -> HashSplit:
    """A split by a hash of a column's text. Raises `SettingError` for fractions that leave no training part."""
    for name, fraction in (("test", test), ("development", development)):
        if not 0 <= fraction < 1:  # NaN too
            raise SettingError(f"The {name} fraction must be at least 0 and below 1, but is {fraction}.")
    if test + development >= 1:
        raise SettingError(f"The test and development fractions, {test} and {development}, leave nothing to train on.")
    return HashSplit(column=column, salt=salt, development=development, test=test)


def time_split(
    *, column: str = "timestamp", development_from: str | None, test_from: str | None, gap_days: float = 0
) -> TimeSplit:
    """A split by time; days are ISO dates or times, UTC unless they say otherwise.

    Raises `SettingError` for a day that is missing or no date, a test part that begins before the development part, or
    a negative gap.
    """
    start, end = _moment("development-from", development_from), _moment("test-from", test_from)
    if end <= start:
        raise SettingError(
            f"The test part must begin after the development part, but begins {end} and not after {start}."
        )
    if not 0 <= gap_days <= MOST_GAP_DAYS:  # NaN too
        raise SettingError(f"The gap in days must not be negative or above {MOST_GAP_DAYS:,}, but is {gap_days}.")
    return TimeSplit(column=column, development_from=start, test_from=end, gap_days=gap_days)


def _moment(name: str, text: str | None) -> datetime:
    if text is None:
        raise SettingError(f"A time split needs --{name}, a day such as 2024-03-01.")
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise SettingError(f"--{name} '{text}' is not a day such as 2024-03-01.") from error
