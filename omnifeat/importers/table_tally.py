"""What was met in one table on its way into a dataset folder, counted and told."""

import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

from omnifeat.importers.reading import NullsMet
from omnifeat.importers.table_plan import Plan

__all__ = ["Tally", "commonest"]

_MOST = 5


@dataclass
class Tally:
    """What was met in one table on the way."""

    rows: int = 0  # read
    written: int = 0
    skipped: Counter[str] = field(default_factory=Counter)  # by column
    repeated: int = 0
    emptied: Counter[str] = field(default_factory=Counter)
    first_emptied: dict[str, str] = field(default_factory=dict)
    unknown: dict[str, Counter[str]] = field(default_factory=dict)  # texts of columns with choices that were emptied
    html: Counter[str] = field(default_factory=Counter)
    currencies: Counter[str] = field(default_factory=Counter)
    odd_times: Counter[str] = field(default_factory=Counter)
    first_odd: dict[str, tuple[int, datetime, str]] = field(default_factory=dict)
    nulls: NullsMet = field(default_factory=NullsMet)  # by column of the file
    not_numbers: Counter[str] = field(default_factory=Counter)  # NaN
    unwrapped: Counter[str] = field(default_factory=Counter)
    first_unwrapped: dict[str, tuple[str, str]] = field(default_factory=dict)
    untitled: int = 0  # rows written

    def told(self, plan: Plan, time_unit: str) -> Iterator[str]:
        """Sentences on what was left out, changed or odd."""
        begin = f"Table {plan.table}:"
        for name, count in self.skipped.items():
            yield f"{begin} {count:,} rows without '{name}' were left out."
        if plan.keep_first:
            key = plan.schema.unique_key[0]
            yield f"{begin} {self.repeated:,} rows whose '{key}' stands in an earlier row were left out."
        for name in sorted(plan.lenient):
            first = f", first {self.first_emptied[name]}" if name in self.first_emptied else ""
            texts = f": {commonest(self.unknown[name])}" if name in self.unknown else first
            yield f"{begin} {self.emptied[name]:,} values of '{name}' that cannot be read were left empty{texts}."
        for name, count in self.html.items():
            if count:
                yield f"{begin} HTML was taken out of {count:,} cells of '{name}'; --keep-html keeps it."
        if self.currencies:
            shown = ", ".join(f"{unit} ({count:,})" for unit, count in self.currencies.most_common(_MOST))
            several = " They are not converted into one." if len(self.currencies) > 1 else ""
            yield f"{begin} prices were read without their currency: {shown}.{several}"
        for name, count in self.odd_times.items():
            row, moment, reason = self.first_odd[name]
            yield (
                f"{begin} {count:,} times in '{name}' are {reason}, first {moment:%Y-%m-%d %H:%M} in row {row}: "
                f"check --time-unit (it is {time_unit})."
            )
        for name, count in self.unwrapped.items():
            before, after = self.first_unwrapped[name]
            yield f"{begin} {count:,} ids in '{name}' were taken out of their wrapping: {before!r} is {after!r} now."
        if self.untitled:
            yield (
                f"{begin} {self.untitled:,} of {self.written:,} rows have no 'title'; what another row says of the "
                "same thing is not copied into them."
            )
        for name, count in self.not_numbers.items():
            if count:
                yield f"{begin} {count:,} values of '{name}' are NaN and were read as nothing."
        yield from self._told_of_nulls(plan)

    def _told_of_nulls(self, plan: Plan) -> Iterator[str]:
        begin = f"Table {plan.table}:"
        for column, words in self.nulls.emptied.items():
            if words:
                yield f"{begin} cells of '{column}' were read as nothing: {commonest(words)}."
        numbers = {
            column
            for name in plan.columns
            if (known := plan.known(name)) is not None and known.type != pa.string()
            for column in plan.sources(name)
        }
        for column, words in self.nulls.kept.items():
            if words and column not in numbers:
                option = " ".join(f"--null-word {shlex.quote(word)}" for word in words)
                yield f"{begin} cells of '{column}' hold the words {commonest(words)}; {option} takes them for nothing."


def commonest(texts: Counter[str]) -> str:
    """The commonest of some texts with how often they are there, for a message."""
    shown = ", ".join(f"{text[:40]!r} ({count:,})" for text, count in texts.most_common(_MOST))
    more = len(texts) - _MOST
    return f"{shown} and {more:,} other{'s' if more > 1 else ''}" if more > 0 else shown
