"""What the commands that import share: options, splits, and what is printed at the end."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from omnifeat.commands.console import report, result_table
from omnifeat.errors import SettingError

if TYPE_CHECKING:
    from omnifeat.data.splits import HashSplit, TimeSplit
    from omnifeat.importers.sources import ImportResult

Out = Annotated[Path, typer.Option("--out", "-o", help="Dataset folder to write.")]
Test = Annotated[float, typer.Option("--test", help="Fraction of the query texts held out for testing.")]
Development = Annotated[float, typer.Option("--development", help="Fraction of the query texts held out for tuning.")]
Salt = Annotated[str, typer.Option("--salt", help="Text mixed into the hash: another salt, another split.")]
SplitMethod = Annotated[Literal["hash", "time"], typer.Option("--split", help="How to split: by query or by time.")]
DevelopmentFrom = Annotated[
    str | None, typer.Option("--development-from", help="Time split: first day, as 2024-03-01.")
]
TestFrom = Annotated[str | None, typer.Option("--test-from", help="Time split: first day, as 2024-03-15.")]
GapDays = Annotated[float, typer.Option("--gap-days", help="Time split: days left out before each part.")]
DropUnknown = Annotated[
    bool, typer.Option("--drop-unknown", help="Leave out, and count, judgments of products not in the catalogue.")
]
JudgedPairs = Annotated[
    str, typer.Option("--pairs", help="Training pairs: 'exact' takes the best judgments for clicks, or 'none'.")
]
MemoryLimit = Annotated[
    str, typer.Option("--memory-limit", help="What the checks hold in memory before they go to disk, such as 512MB.")
]


def listed(text: str) -> list[str]:
    """Words between commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def pairs_of(
    option: str, values: list[str], form: str = "TABLE.COLUMN=VALUE, such as pins.title=name"
) -> dict[str, str]:
    """`NAME=VALUE` options as a dictionary. Raises `SettingError` for one that does not read so, or stands twice."""
    pairs: dict[str, str] = {}
    for value in values:
        # a text of a file may hold the sign itself: --value T.C:a=b=VALUE
        target, equals, given = value.rpartition("=") if value.count(":") and "TEXT" in form else value.partition("=")
        target = target.strip()
        if not equals or not given:
            raise SettingError(f"{option} {value} does not read {form}.")
        if target in pairs:
            raise SettingError(f"{option} names '{target}' twice; name it once.")
        pairs[target] = given
    return pairs


def chosen_split(
    method: str, column: str | None, development: float, test: float, salt: str,
    development_from: str | None, test_from: str | None, gap_days: float,
) -> "HashSplit | TimeSplit | None":  # fmt: skip
    """The split that is to be recorded; None for the method "none"."""
    from omnifeat.importers.splitting import hash_split, time_split

    if method == "hash":
        return hash_split(column=column or "query", salt=salt, development=development, test=test)
    if method == "time":
        return time_split(
            column=column or "timestamp", development_from=development_from, test_from=test_from, gap_days=gap_days
        )
    return None


def report_import(result: "ImportResult", as_json: bool) -> None:
    """Print what an import wrote and what it met."""
    shown = result_table(["table", "rows"], [(name, f"{rows:,}") for name, rows in result.counts.items()])
    report(
        {"path": str(result.path), "counts": result.counts, "notes": result.notes},
        as_json,
        [f"Wrote {result.path}", shown, *result.notes],
    )
