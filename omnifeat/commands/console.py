"""What commands share on the terminal: progress, results as text or JSON."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]
ThreadsOption = Annotated[int | None, typer.Option("--threads", min=1, help="Threads to use; all cores if not given.")]

_PLAIN_SECONDS = 10.0  # without a terminal, one line this often


def check_free(output: Path, overwrite: bool, holds: str | None = None) -> None:
    """Refuse an output that exists, before any work is done.

    Parameters
    ----------
    overwrite
        Take it all the same, unless it is a folder without the file that such outputs hold.
    holds
        The name of that file, where the output is a folder.
    """
    from omnifeat.data.files import refuse_other_folder
    from omnifeat.data.publishing import refuse_taken, sweep_partials

    sweep_partials(output.absolute())
    refuse_taken(output.absolute(), output, overwrite)
    if holds is not None and output.is_dir():
        refuse_other_folder(output, [holds])


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show progress on standard error: a bar on a terminal, a plain line now and then elsewhere.

    Yields a function to call with the number of units done since the last call.
    """
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(description, total=total)
            yield lambda count: bar.advance(task, count)
        return
    done, last = 0, time.monotonic()

    def advance(count: int) -> None:
        nonlocal done, last
        done += count
        if time.monotonic() - last >= _PLAIN_SECONDS:
            last = time.monotonic()
            of = f" of {total:,}" if total is not None else ""
            print(f"{description}: {done:,}{of}", file=sys.stderr, flush=True)

    yield advance


def result_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> Table:
    """A rich table; numbers to the right."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        numeric = all(isinstance(row[index], int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in row))
    return table


def warn(message: str) -> None:
    """Say on standard error what the result is to be read with, as one line."""
    typer.echo(f"warning: {message}", err=True)


def report(result: Mapping[str, Any], as_json: bool, shown: Sequence[str | Table]) -> None:
    """Print the result on standard output: as one JSON object, or as the given lines and tables."""
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False, default=str))
        return
    console = Console(highlight=False, soft_wrap=True)
    for item in shown:
        if isinstance(item, str):
            typer.echo(item)
        else:
            console.print(item)
