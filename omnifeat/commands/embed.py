"""`omnifeat embed`: encode entities or queries into a table of vectors."""

from typing import Annotated

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, progress, report


def main(
    encoder: Annotated[str, typer.Option(help="Encoder: the folder that `omnifeat train` wrote, or a hub name.")],
    out: Annotated[str, typer.Option("--out", "-o", help="The embedding table to write, a .parquet file.")],
    entities: Annotated[
        list[str] | None,
        typer.Option(help="Table of entities, or a dataset folder (its pins and products); may be given repeatedly."),
    ] = None,
    queries: Annotated[
        str | None,
        typer.Option(help="Any table with a column query, or a dataset folder (its queries); each query once."),
    ] = None,
    entity_type: Annotated[
        str | None, typer.Option(help="pin or product: type of all entities, where the table doesn't say it.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Encoded at once; 1024 entities or 256 queries if not given.")
    ] = None,
    part_rows: Annotated[
        int, typer.Option(min=1, help="Rows of a part: held in memory, and lost at most if the run is killed.")
    ] = 65_536,
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Encode entities or queries into an embedding table that carries the encoder's fingerprint."""
    from dataclasses import asdict

    from omnifeat.embed import embed_entities, embed_queries
    from omnifeat.errors import SettingError

    if (entities is None or not entities) == (queries is None):
        raise SettingError("Give either --entities or --queries, to say what is to be embedded.")
    if queries is not None:
        if entity_type is not None:
            raise SettingError("The --entity-type goes with --entities, not with --queries.")
        result = embed_queries(
            queries,
            out,
            encoder=encoder,
            batch_size=batch_size or 256,
            part_rows=part_rows,
            threads=threads,
            overwrite=overwrite,
            progress=progress,
        )
    else:
        result = embed_entities(
            entities or [],
            out,
            encoder=encoder,
            entity_type=entity_type,
            batch_size=batch_size or 1_024,
            part_rows=part_rows,
            threads=threads,
            overwrite=overwrite,
            progress=progress,
        )
    lines = [f"{result.rows:,} {result.kind}, {result.dim} numbers each -> {result.path}"]
    if result.resumed_rows:
        lines.append(f"{result.resumed_rows:,} of them taken from a run that was stopped")
    if result.skipped:
        lines.append(f"skipped: {result.skipped:,} rows whose query is null or blank")
    if result.zero_vectors:
        lines.append(f"zero vectors: {result.zero_vectors:,}, with nothing that the encoder knows")
    report(asdict(result), as_json, lines)
