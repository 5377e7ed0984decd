"""What the subcommands of `omnifeat rank` share: options, and checks of tables and outputs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import pyarrow as pa

TableArgument = Annotated[str, typer.Argument(help="Table of pairs with features: Parquet, CSV, JSONL or Arrow.")]
LabelOption = Annotated[str, typer.Option("--label", help="Column of grades: whole numbers, higher is better.")]
QueryOption = Annotated[str, typer.Option("--query-column", help="Column of the query of each row.")]
TreesOption = Annotated[int, typer.Option("--trees", min=1, help="Trees at most.")]
LearningRateOption = Annotated[float, typer.Option("--learning-rate", help="Weight of each tree.")]
LeavesOption = Annotated[int, typer.Option("--leaves", min=2, help="Leaves of a tree at most.")]
IncreasingOption = Annotated[
    str | None,
    typer.Option("--increasing", help="Features with which a score never falls, with commas and * as wanted."),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of all that is drawn.")]

# Columns of pairs that name things rather than describe them.
IDS = ("query", "entity_id", "entity_type")


def write_table(path: Path, table: "pa.Table", *, overwrite: bool = True) -> None:
    """Write a table in the form that the path's ending names."""
    from omnifeat.data.files import TableWriter

    with TableWriter(path, table.schema, overwrite=overwrite) as writer:
        writer.write(table)


def numbers(interval: Any) -> dict[str, float]:
    """An interval as JSON values."""
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def require_columns(table: "pa.Table", *columns: str) -> None:
    """Refuse a table that lacks one of the columns."""
    from omnifeat.errors import DataError

    for column in columns:
        if column not in table.column_names:
            raise DataError(f"Column {column!r} is not there; the columns are {', '.join(table.column_names)}.")


@contextmanager
def named_table(table: str) -> Iterator[None]:
    """Put the table's name before what is wrong with its content."""
    from omnifeat.errors import DataError, FingerprintError

    try:
        yield
    except (DataError, FingerprintError) as error:
        message = str(error)
        raise type(error)(message if table in message else f"Table {table}: {message}") from error


def rising(increasing: str | None, features: list[str]) -> dict[str, int] | None:
    """`monotonic_cst` of the features that `--increasing` names."""
    from ranking.features import expand_columns

    if increasing is None:
        return None
    named = [part.strip() for part in increasing.split(",") if part.strip()]
    return dict.fromkeys(expand_columns(named, list(dict.fromkeys(features)), "--increasing"), 1)
