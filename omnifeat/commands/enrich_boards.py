"""`omnifeat enrich boards`: board titles of pins and products."""

from typing import Annotated

import typer
from rich.table import Table

from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, progress, report, result_table
from omnifeat.commands.enrich_split import warn_without_split


def main(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="Dataset folder with boards, saves, and pins or products.")
    ],
    out: Annotated[str, typer.Option("--out", "-o", help="Dataset folder to write; DATA itself with --overwrite.")],
    top: Annotated[int, typer.Option("--top", min=1, help="Most titles of an entity.")] = 10,
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy the tables that stay as they are; linked where possible if not given.")
    ] = False,
    memory_limit: Annotated[
        str, typer.Option(help="What the aggregation may hold in memory; beyond it, it spills to a temporary folder.")
    ] = "4GB",
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fill `board_titles`: at most ten unique titles of the boards that an entity was saved to."""
    from dataclasses import asdict

    from omnifeat.engines import LocalEngine
    from omnifeat.enrich.boards import enrich_boards

    result = enrich_boards(
        data, out, engine=LocalEngine(memory_limit, threads), top=top, copy=copy, overwrite=overwrite,
        progress=progress,
    )  # fmt: skip
    table = result_table(
        ("table", "rows", "with board titles"),
        [(name, f"{rows:,}", f"{result.filled[name]:,}") for name, rows in result.rows.items()],
    )
    lines: list[str | Table] = [
        f"Wrote {result.path}",
        table,
        f"{result.saves:,} saves to {result.boards:,} boards, {result.noisy_boards:,} of them with a noisy title",
    ]
    if result.unknown_boards:
        lines.append(f"left out: {result.unknown_boards:,} saves to boards that are not in the table")
    if result.unknown_entities:
        lines.append(f"left out: titles of {result.unknown_entities:,} entities that are in no table")
    report(asdict(result), as_json, [*lines, *result.notes])
    warn_without_split(data, "saves")
