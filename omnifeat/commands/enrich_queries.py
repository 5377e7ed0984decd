"""`omnifeat enrich queries`: engaged queries of pins and products."""

from datetime import date
from typing import Annotated

import typer
from rich.table import Table

from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, progress, report, result_table
from omnifeat.commands.enrich_split import warn_without_split
from omnifeat.errors import SettingError


def main(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Dataset folder with engagements, and pins or products.")],
    out: Annotated[str, typer.Option("--out", "-o", help="Dataset folder to write; DATA itself with --overwrite.")],
    state: Annotated[
        str | None,
        typer.Option("--state", help="Folder that remembers what was read, so that only new log files are read."),
    ] = None,
    log: Annotated[
        list[str] | None,
        typer.Option("--log", help="File or folder of the log, instead of DATA's engagements; may be repeated."),
    ] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="Last day that counts, as 2024-03-01; the log's last if not given.")
    ] = None,
    window_days: Annotated[int, typer.Option("--window-days", min=1, help="Days that count.")] = 730,
    top: Annotated[int, typer.Option("--top", min=1, help="Most queries of an entity.")] = 20,
    weight: Annotated[
        list[str] | None,
        typer.Option("--weight", help="ACTION=N, such as save=4: what one such action counts; may be repeated."),
    ] = None,
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
    """Fill `engaged_queries`: the top queries by which an entity was engaged with, before the held-out part."""
    from dataclasses import asdict

    from omnifeat.engines import LocalEngine
    from omnifeat.enrich.queries import QuerySettings, enrich_queries

    settings = QuerySettings(top=top, window_days=window_days, as_of=_day(as_of), weights=_weights(weight or []))
    result = enrich_queries(
        data, out, engine=LocalEngine(memory_limit, threads), settings=settings, logs=log or None, state=state,
        copy=copy, overwrite=overwrite, progress=progress,
    )  # fmt: skip
    table = result_table(
        ("table", "rows", "with engaged queries"),
        [(name, f"{rows:,}", f"{result.filled[name]:,}") for name, rows in result.rows.items()],
    )
    lines: list[str | Table] = [
        f"Wrote {result.path}",
        table,
        f"log: {result.parts:,} files with {result.log_rows:,} rows, of which {result.new_parts:,} files with "
        f"{result.new_log_rows:,} rows were read now",
    ]
    if result.unknown_entities:
        lines.append(f"left out: queries of {result.unknown_entities:,} entities that are in no table")
    report(asdict(result), as_json, [*lines, *result.notes])
    warn_without_split(data, "engagements")


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise SettingError(f"--as-of '{text}' is not a day such as 2024-03-01.") from error


def _weights(values: list[str]) -> dict[str, int]:
    weights: dict[str, int] = {}
    for value in values:
        action, _, number = value.partition("=")
        if not number.strip().isdecimal():
            raise SettingError(f"--weight {value} does not read ACTION=N with a whole number, such as save=4.")
        if action.strip() in weights:
            raise SettingError(f"--weight names '{action.strip()}' twice; name it once.")
        weights[action.strip()] = int(number)
    return weights
