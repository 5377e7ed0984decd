"""Which days of the log count: a window that ends with a day, and never reaches the held-out part."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from omnifeat.data.splits import HashSplit, TimeSplit
from omnifeat.errors import DataError, SettingError

__all__ = ["Window", "training_end", "window_of"]


@dataclass(frozen=True)
class Window:
    """Days of UTC, both counted in."""

    first: date
    last: date

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"


def training_end(split: TimeSplit) -> date:
    """The last day that lies wholly in the training part."""
    end = split.development_from - timedelta(days=split.gap_days)
    return end.astimezone(UTC).date() - timedelta(days=1)


def window_of(
    seen: date, as_of: date | None, days: int, split: HashSplit | TimeSplit | None, where: str
) -> tuple[Window, str | None]:
    """The window, and a sentence where the split cuts it short.

    It ends with `as_of`, or with the last day that the log has (`seen`), and with a split by time at the latest with
    the last whole day of the training part: a day that the split cuts is left out, so that counts per day are enough.

    Raises
    ------
    SettingError
        There is less than one day, or the window would begin before the year 1.
    DataError
        The split reads another column than the log's time.
    """
    if days < 1:
        raise SettingError(f"The window must have at least one day, not {days}.")
    if as_of is None and seen > datetime.now(UTC).date() + timedelta(days=1):
        raise DataError(
            f"{where}: the log's last day is {seen}, which is to come: a wrong clock would leave the window empty; "
            "correct the row, or name the last day with --as-of"
        )
    last, note = as_of or seen, None
    if isinstance(split, TimeSplit):
        if split.column != "timestamp":
            raise DataError(
                f"{where}: the split reads the times of column '{split.column}', but engagements count by their "
                "'timestamp': record a split by that"
            )
        end = training_end(split)
        if end < last:
            note = f"engagements after {end}, the last whole day of the training part, don't count"
            last = end
    try:
        return Window(last - timedelta(days=days - 1), last), note
    except OverflowError as error:
        raise SettingError(
            f"A window of {days} days before {last} begins before all times; make it shorter."
        ) from error
