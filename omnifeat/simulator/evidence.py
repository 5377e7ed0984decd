"""What the early part of log and saves says of an entity: the queries that found it, the titles it was saved under."""

from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["START", "Lists", "earlier_counts", "most_frequent", "times"]

START = datetime(2024, 1, 1, tzinfo=UTC)


def times(seconds: npt.NDArray[np.integer]) -> pa.Array:
    """Seconds since the world's first day as UTC timestamps."""
    microseconds = seconds.astype(np.int64) * 1_000_000 + int(START.timestamp()) * 1_000_000
    return pa.array(microseconds, pa.int64()).cast(pa.timestamp("us", tz="UTC"))


class Lists:
    """For each of N entities a list of numbers of texts."""

    def __init__(self, offsets: npt.NDArray[np.int64], members: npt.NDArray[np.int64]) -> None:
        self.offsets = offsets  # (N + 1,)
        self.members = members

    def texts(self, rows: slice, texts: pa.Array) -> pa.Array:
        """The lists of these rows as a list column."""
        offsets = self.offsets[rows.start : rows.stop + 1]
        members = texts.take(pa.array(self.members[offsets[0] : offsets[-1]]))
        return pa.ListArray.from_arrays(pa.array((offsets - offsets[0]).astype(np.int32)), members)


def most_frequent(
    entities: npt.NDArray[np.integer], members: npt.NDArray[np.integer], number: int, of: int, kept: int
) -> Lists:
    """For each of `number` entities its `kept` most frequent members (numbers below `of`); of equals the lower."""
    pairs, counts = np.unique(entities.astype(np.int64) * of + members, return_counts=True)
    owner = pairs // of
    order = np.lexsort((pairs, -counts, owner))
    owner, pairs = owner[order], pairs[order]
    place = np.arange(len(owner)) - np.searchsorted(owner, owner)
    inside = place < kept
    return Lists(np.searchsorted(owner[inside], np.arange(number + 1)), pairs[inside] % of)


def earlier_counts(
    entities: npt.NDArray[np.integer],
    seconds: npt.NDArray[np.integer],
    asked: npt.NDArray[np.integer],
    before: npt.NDArray[np.integer],
    span: int,
) -> npt.NDArray[np.int64]:
    """How many events each asked entity has before a moment; `entities` and `seconds` are all events, in any order.

    `span` is above every moment.
    """
    keys = np.sort(entities.astype(np.int64) * span + seconds)
    first = np.searchsorted(keys, asked.astype(np.int64) * span, side="left")
    last = np.searchsorted(keys, asked.astype(np.int64) * span + before, side="left")
    return last - first
