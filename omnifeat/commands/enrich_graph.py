"""`omnifeat enrich graph`: vectors of pins and products from the boards that they were saved to."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, progress, report, result_table
from omnifeat.commands.enrich_split import warn_without_split
from omnifeat.errors import SettingError


def main(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Dataset folder with saves, or the URL of one.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Dataset folder to write.")],
    width: Annotated[int, typer.Option(help="Width of the vectors.")] = 64,
    until: Annotated[
        str | None, typer.Option(help="Take saves before this day or time; the end of the training part.")
    ] = None,
    undated: Annotated[bool, typer.Option("--undated", help="Take saves without a timestamp too.")] = False,
    boards_from: Annotated[
        str | None, typer.Option(help="Folder of an earlier run: place entities by its board vectors, fit nothing.")
    ] = None,
    least_saves: Annotated[int, typer.Option(help="Entities with fewer saves are placed, not fitted.")] = 2,
    fitted: Annotated[int, typer.Option(help="Most entities that are fitted; the rest are placed.")] = 200_000,
    replace: Annotated[bool, typer.Option("--replace", help="Replace pinsage and itemsage that are there.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the factorisation.")] = 0,
    memory_limit: Annotated[str, typer.Option(help="Memory of the aggregation, as 512MB.")] = "1GB",
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make `pinsage` and `itemsage` from the graph of boards, for those who have none."""
    from omnifeat.data.dataset import Dataset
    from omnifeat.enrich.graph_columns import GraphSettings, enrich_graph

    settings = GraphSettings(
        width=width, least_saves=least_saves, fitted=fitted, seed=seed, until=_moment(until), undated=undated
    )
    with progress("saves") as advance:
        result = enrich_graph(
            Dataset.open(data), out, settings, boards_from=boards_from, replace=replace, memory_limit=memory_limit,
            threads=threads, overwrite=overwrite, advance=advance,
        )  # fmt: skip
    rows = [(table, count, result.without[table]) for table, count in result.with_vector.items()]
    report(
        {
            "path": str(result.path),
            "saves": result.saves,
            "boards": result.boards,
            "fitted": result.fitted,
            "with_vector": result.with_vector,
            "without": result.without,
        },
        as_json,
        [
            f"Wrote {result.path}",
            result_table(("table", "with vector", "without"), rows),
            f"From {result.saves:,} saves to {result.boards:,} boards; {result.fitted:,} entities fitted.",
        ],
    )
    warn_without_split(data, "saves")


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise SettingError(f"--until '{text}' is not a day such as 2024-03-01.") from error
