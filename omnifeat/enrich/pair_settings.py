"""What `make_pairs` is told: actions, caps, sizes of samples; and a split by days where none is recorded."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa

from omnifeat.data.dataset import Dataset
from omnifeat.data.schema import TIMESTAMP
from omnifeat.data.splits import MOST_GAP_DAYS, HashSplit, TimeSplit
from omnifeat.data.tasks import PAIR_TASKS
from omnifeat.errors import DataError, SettingError

__all__ = [
    "TABLE_1_ACTIONS",
    "PairSettings",
    "SplitRequest",
    "actions_that_pair",
    "options_for_log",
    "parse_actions",
    "split_of",
]

# Table 1 of the paper; sets of pairs that are not in it have no actions
TABLE_1_ACTIONS: dict[str, tuple[str, ...]] = {
    "pins": ("save", "long_click"),
    "products": ("save", "long_click"),
    "products_offsite": ("add_to_cart", "checkout"),
    "queries": ("click",),
}


@dataclass(frozen=True, kw_only=True)
class PairSettings:
    """What pairs are made of.

    Attributes
    ----------
    actions
        Set of pairs -> the actions that make its pairs.
    caps
        Entity type -> most pairs of one entity in each set of the training part; None for no cap.
    evaluation_pairs
        Most pairs of each entity type and action in the development and in the test part; None for all.
    corpus
        Entities of each type in the random sample; None for all.
    seed
        Of every choice.
    drop_unknown
        Leave out, and count, engagements of entities that are in no table.
    """

    actions: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict(TABLE_1_ACTIONS))
    caps: Mapping[str, int | None] = field(default_factory=lambda: {"pin": 50, "product": 200, "query": None})
    evaluation_pairs: int | None = 80_000
    corpus: int | None = 1_000_000
    seed: int = 0
    drop_unknown: bool = False

    def __post_init__(self) -> None:
        sizes = {f"cap of {kind} pairs": cap for kind, cap in self.caps.items()}
        sizes |= {"number of evaluation pairs": self.evaluation_pairs, "size of the corpus": self.corpus}
        for name, size in sizes.items():
            if size is not None and size < 1:
                raise SettingError(f"The {name} must be at least 1, but is {size}.")


def parse_actions(options: list[str]) -> dict[str, tuple[str, ...]]:
    """Table 1's actions, changed by options such as `pins=save,long_click,click`; `pins=` leaves the set out.

    Raises
    ------
    SettingError
        There is no such set of pairs, or no such action in it.
    """
    actions = dict(TABLE_1_ACTIONS)
    for option in options:
        name, equals, given = option.partition("=")
        if not equals or name not in PAIR_TASKS:
            raise SettingError(
                f"--actions {option} does not read SET=ACTION,ACTION, where SET is one of {', '.join(PAIR_TASKS)}."
            )
        chosen = tuple(action.strip() for action in given.split(",") if action.strip())
        wrong = next((action for action in chosen if action not in PAIR_TASKS[name][1]), None)
        if wrong is not None:
            raise SettingError(
                f"--actions {option} names '{wrong}', but pairs of '{name}' are made by "
                f"{', '.join(PAIR_TASKS[name][1])} alone."
            )
        actions[name] = chosen
    return {name: actions[name] for name in PAIR_TASKS if actions.get(name)}


def actions_that_pair(there: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Set of pairs -> those of some (entity type, action) that may make its pairs; without sets of none."""
    kinds = list(there)
    found = {
        name: [action for other, action in kinds if other == kind and action in allowed]
        for name, (kind, allowed) in PAIR_TASKS.items()
    }
    return {name: actions for name, actions in found.items() if actions}


def options_for_log(dataset: Dataset) -> list[str]:
    """Options of `omnifeat pairs` without which it would make no pair of this log; none where its own actions do."""
    if "engagements" not in dataset.tables():
        return []
    there: set[tuple[str, str]] = set()
    for batch in dataset.batches("engagements", ["entity_type", "action"]):
        kinds = pa.table(batch).group_by(["entity_type", "action"]).aggregate([]).to_pylist()
        there.update((row["entity_type"], row["action"]) for row in kinds)
    able = actions_that_pair(sorted(pair for pair in there if None not in pair))
    if any(action in TABLE_1_ACTIONS.get(name, ()) for name, actions in able.items() for action in actions):
        return []
    return [f"--actions {name}={','.join(actions)}" for name, actions in able.items()]


@dataclass(frozen=True, kw_only=True)
class SplitRequest:
    """How to split a log that has no recorded split: by moments, or by shares of its rows.

    Attributes
    ----------
    development_from, test_from
        First moments of the two parts; both or neither.
    development, test
        Shares of the log's rows, for where no moments are given; 0 for no such part.
    gap_days
        Days left out before each part.
    """

    development_from: datetime | None = None
    test_from: datetime | None = None
    development: float = 0.1
    test: float = 0.1
    gap_days: float = 2.0

    def __post_init__(self) -> None:
        if (self.development_from is None) != (self.test_from is None):
            raise SettingError("A split by time needs both --development-from and --test-from, or neither.")
        if not 0 <= self.gap_days <= MOST_GAP_DAYS:  # NaN too
            raise SettingError(
                f"The gap in days must not be negative or above {MOST_GAP_DAYS:,}, but is {self.gap_days}."
            )
        if not (self.development >= 0 and self.test >= 0 and self.development + self.test < 1):
            raise SettingError(
                f"The development and test shares, {self.development} and {self.test}, must not be negative and must "
                "leave something to train on."
            )


def split_of(dataset: Dataset, request: SplitRequest | None) -> HashSplit | TimeSplit:
    """The dataset's recorded split, or one by time as asked for.

    Shares are met as nearly as whole days (UTC) allow: both parts begin at midnight.

    Raises
    ------
    SettingError
        The dataset records a split and another is asked for, or the moments are in the wrong order.
    DataError
        The log covers too few days for the shares.
    """
    recorded = dataset.info.split
    if recorded is not None:
        if request is not None:
            raise SettingError(
                f"{dataset.path} records a split in dataset.json, by {recorded.method} of '{recorded.column}', which "
                "its inputs may rest on: leave out the options of the split, or remove it there."
            )
        return recorded
    request = request or SplitRequest()
    if request.development_from is not None and request.test_from is not None:
        if request.test_from <= request.development_from:
            raise SettingError(
                f"The test part must begin after the development part, but begins {request.test_from} and not after "
                f"{request.development_from}."
            )
        start, end = request.development_from, request.test_from
    else:
        start, end = _days(dataset, request)
    return TimeSplit(development_from=start, test_from=end, gap_days=request.gap_days)


def _days(dataset: Dataset, request: SplitRequest) -> tuple[datetime, datetime]:
    table = dataset.log_table()
    dataset.require(table, "timestamp")
    rows: Counter[int] = Counter()
    for batch in dataset.batches(table, ["timestamp"]):
        micros = batch.column("timestamp").cast(TIMESTAMP, safe=False).cast(pa.int64()).to_numpy()
        days, counts = np.unique(micros // 86_400_000_000, return_counts=True)
        for day, count in zip(days.tolist(), counts.tolist(), strict=True):
            rows[day] += count
    days = np.array(sorted(rows), dtype=np.int64)
    counts = np.array([rows[day] for day in days.tolist()], dtype=np.float64)
    share_from = counts[::-1].cumsum()[::-1] / counts.sum()  # of rows on this day or later
    # the first day trains; a part of no share begins beyond the last day and its gap
    needed = 1 + (request.development > 0) + (request.test > 0)
    if len(days) < needed:
        raise DataError(
            f"{dataset.place(table)} covers {len(days)} day{'s' if len(days) > 1 else ''}, too few to split by days: "
            "give --development-from and --test-from with times, or record a split by hash in dataset.json"
        )
    place = len(days)
    test = int(days[-1]) + 1 + math.ceil(request.gap_days)
    if request.test > 0:
        place = int(np.argmin(np.abs(share_from[needed - 1 :] - request.test))) + needed - 1
        test = int(days[place])
    development = test
    if request.development > 0:
        place = int(np.argmin(np.abs(share_from[1:place] - request.development - request.test))) + 1
        development = int(days[place])
    first = date(1970, 1, 1)
    try:
        starts = [first + timedelta(days=day) for day in (development, test)]
    except OverflowError as error:
        raise DataError(
            f"{dataset.place(table)} has times in no year from 1 to 9999: correct them or leave the rows out"
        ) from error
    return (datetime(*starts[0].timetuple()[:3], tzinfo=UTC), datetime(*starts[1].timetuple()[:3], tzinfo=UTC))
