"""What was done and shown, day by day, so that a row counts only what lay before its day and before the split.

A popularity that is counted over the whole log knows the future, and knows the very click that it is to predict.
Here every count is of whole days before the row's own, and of rows of the training part alone. Days are of UTC.

Shape suffixes: M (key, day) entries, A counted things, P pairs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.compiled import compiled
from omnifeat.data.dataset import Dataset
from omnifeat.data.splits import HashSplit, TimeSplit
from omnifeat.engines import Store
from omnifeat.errors import DataError
from omnifeat.text.normalise import normalise

__all__ = ["COUNTED", "STRONG_ACTIONS", "DayCounts", "counted_batches", "day_numbers"]

STRONG_ACTIONS = ("save", "long_click", "add_to_cart", "checkout")
COUNTED = ("engaged", "strong", "shown", "shown_engaged")
"""Of the log: rows, and rows of a strong action. Of impressions: rows, and rows with an action."""

DAY_US = 86_400_000_000
_COLUMNS = ("query", "entity_id", "entity_type", "action", "timestamp")
_SCHEMA = pa.schema(
    [
        ("query", pa.string()),
        ("entity_type", pa.string()),
        ("entity_id", pa.string()),
        ("day", pa.int32()),
        ("engaged", pa.int32()),
        ("strong", pa.int32()),
        ("shown", pa.int32()),
        ("shown_engaged", pa.int32()),
    ]
)

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DayCounts:
    """Counts of keys by day: `codes` rising, entries of code c at `starts[c]:starts[c + 1]`, days rising within.

    `sums` int64 (M + 1, A) are running totals over all entries, so that any stretch of days is one difference.
    """

    codes: Int64
    starts: Int64
    days: Int32
    sums: Int64

    @classmethod
    def of(cls, codes: Int64, days: Int32, values: Int64) -> "DayCounts":
        """Sum values (n, A) of the same code and day."""
        order = np.lexsort((days, codes))
        codes, days, values = codes[order], days[order], values[order]
        new = np.ones(len(codes), dtype=np.bool_)
        new[1:] = (codes[1:] != codes[:-1]) | (days[1:] != days[:-1])
        first = np.flatnonzero(new)
        sums = np.zeros((len(values) + 1, values.shape[1]), dtype=np.int64)
        np.cumsum(values, axis=0, out=sums[1:])
        kept = codes[first]
        begins = np.flatnonzero(np.r_[True, kept[1:] != kept[:-1]]) if len(kept) else np.zeros(0, dtype=np.int64)
        return cls(
            kept[begins],
            np.append(begins, len(kept)).astype(np.int64),
            days[first],
            sums[np.append(first, len(values))],
        )

    def between(self, codes_P: Int64, first_P: Int32, stop_P: Int32) -> tuple[Int64, Int32, Int32]:
        """Counts int64 (P, A) of the days first <= day < stop, and the first and last day before `stop` with any.

        A code that is not known has counts of 0; a day that is not there is -1.
        """
        out = np.zeros((len(codes_P), self.sums.shape[1]), dtype=np.int64)
        earliest = np.full(len(codes_P), -1, dtype=np.int32)
        latest = np.full(len(codes_P), -1, dtype=np.int32)
        _between(self.codes, self.starts, self.days, self.sums, codes_P, first_P, stop_P, out, earliest, latest)
        return out, earliest, latest


@compiled
def _between(
    codes: Any, starts: Any, days: Any, sums: Any, wanted: Any, first: Any, stop: Any, out: Any, earliest: Any,
    latest: Any,
) -> None:  # fmt: skip
    for pair in range(len(wanted)):
        place = np.searchsorted(codes, wanted[pair])
        if place == len(codes) or codes[place] != wanted[pair]:
            continue
        begin, end = starts[place], starts[place + 1]
        low = begin + np.searchsorted(days[begin:end], first[pair])
        high = begin + np.searchsorted(days[begin:end], stop[pair])
        if high > begin:
            earliest[pair] = days[begin]
            latest[pair] = days[high - 1]
        if high > low:
            for column in range(sums.shape[1]):
                out[pair, column] = sums[high, column] - sums[low, column]


def day_numbers(times: pa.Array) -> Int32:
    """Whole days from 1970 (UTC) of timestamps of microseconds, int32; no time may be null."""
    return np.asarray(pc.cast(times, pa.int64()).to_numpy(zero_copy_only=False) // DAY_US, dtype=np.int32)


def counted_batches(store: Store, dataset: Dataset, split: HashSplit | TimeSplit) -> Iterator[pa.RecordBatch]:
    """The log and the impressions of the training part, counted by query, entity and day; in the order of all four.

    Raises
    ------
    DataError
        A table lacks a column or a value, or is not what it must be.
    """
    store.run(
        "CREATE TABLE counted (query VARCHAR, entity_type VARCHAR, entity_id VARCHAR, day INTEGER, "
        + ", ".join(f"{name} INTEGER" for name in COUNTED)
        + ")"
    )
    tables = [dataset.log_table()] if dataset.has(dataset.log_table()) else []
    if dataset.has_column("impressions", "timestamp"):
        tables.append("impressions")
    group = "query, entity_type, entity_id, day"
    sums = ", ".join(f"sum({name})::INTEGER" for name in COUNTED)
    for table in tables:
        store.read(
            "incoming",
            _SCHEMA,
            _training_rows(dataset, table, split),
            f"INSERT INTO counted SELECT {group}, {sums} FROM incoming GROUP BY {group}",
        )
    yield from store.batches(
        f"SELECT {group}, {', '.join(f'sum({name})::INTEGER AS {name}' for name in COUNTED)} FROM counted "
        f"GROUP BY {group} ORDER BY {group}"
    )


def _training_rows(dataset: Dataset, table: str, split: HashSplit | TimeSplit) -> Iterator[pa.RecordBatch]:
    columns = list(dict.fromkeys([*_COLUMNS, split.column]))
    dataset.require(table, *columns)
    first_row = 1
    for batch in dataset.batches(table, columns):
        for name in ("query", "entity_id", "entity_type", "timestamp"):
            if batch.column(name).null_count:
                row = first_row + pc.index(batch.column(name).is_null(), True).as_py()
                raise DataError(
                    f"{dataset.place(table)}, row {row}: {name} is null, so the row cannot be counted; fill it or "
                    "leave the row out."
                )
        kept = batch.filter(pc.equal(split.assign(batch), "train"))
        first_row += batch.num_rows
        if kept.num_rows == 0:
            continue
        acted = pc.is_valid(kept.column("action"))
        strong = pc.fill_null(pc.is_in(kept.column("action"), pa.array(STRONG_ACTIONS)), False)
        ones, zeros = (pa.array(np.full(kept.num_rows, value, dtype=np.int32)) for value in (1, 0))
        of_log = [pc.cast(acted, pa.int32()), pc.cast(strong, pa.int32()), zeros, zeros]
        of_shown = [zeros, zeros, ones, pc.cast(acted, pa.int32())]
        yield pa.RecordBatch.from_arrays(
            [
                _normal(kept.column("query")),
                pc.cast(kept.column("entity_type"), pa.string()),
                pc.cast(kept.column("entity_id"), pa.string()),
                pa.array(day_numbers(kept.column("timestamp"))),
                *(of_shown if table == "impressions" else of_log),
            ],
            schema=_SCHEMA,
        )


def _normal(queries: pa.Array) -> pa.Array:
    """Normalised queries, each distinct one once."""
    encoded = pc.dictionary_encode(queries)
    return pc.cast(normalise(encoded.dictionary).take(encoded.indices), pa.string())
