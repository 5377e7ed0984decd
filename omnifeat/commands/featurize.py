"""`omnifeat featurize`: cosine features for a table of (query, entity) pairs."""

from collections.abc import Mapping
from typing import Annotated

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, progress, report, warn


def main(
    pairs: Annotated[
        str,
        typer.Argument(
            metavar="PAIRS",
            help="Table with columns query, entity_id and maybe entity_type: CSV, JSONL, Parquet or Arrow.",
        ),
    ],
    encoder: Annotated[str, typer.Option(help="Encoder: the folder that `omnifeat train` wrote, or a hub name.")],
    out: Annotated[str, typer.Option("--out", "-o", help="Where the pairs with their features go; format by suffix.")],
    entities: Annotated[
        list[str] | None,
        typer.Option(help="Table of entities, or a dataset folder (its pins and products); may be given repeatedly."),
    ] = None,
    embeddings: Annotated[
        list[str] | None,
        typer.Option(help="Embedding table made by `omnifeat embed` with this encoder; may be given repeatedly."),
    ] = None,
    entity_type: Annotated[
        str | None, typer.Option(help="pin or product: type of all entities, where the tables don't say it.")
    ] = None,
    leave_out_own_query: Annotated[
        bool,
        typer.Option(
            "--leave-out-own-query/--keep-own-query",
            help="Leave a pair's own query out of its entity's engaged queries, where it would give the label away.",
        ),
    ] = True,
    column_prefix: Annotated[str, typer.Option(help="Put before the names of the new columns.")] = "",
    strict: Annotated[bool, typer.Option("--strict", help="Fail at the first pair that cannot be scored.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Pairs worked on at once.")] = 65_536,
    memory_limit: Annotated[
        str, typer.Option(help="What the vectors may take in memory; beyond it they go to a temporary file.")
    ] = "4GB",
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Add cosine features to a table of (query, entity) pairs; rows and columns stay as they are."""
    from dataclasses import asdict

    from omnifeat.featurize import featurize_file

    result = featurize_file(
        pairs,
        out,
        encoder=encoder,
        entities=entities or None,
        embeddings=embeddings or None,
        entity_type=entity_type,
        leave_out_own_query=leave_out_own_query,
        column_prefix=column_prefix,
        strict=strict,
        batch_size=batch_size,
        memory_limit=memory_limit,
        threads=threads,
        overwrite=overwrite,
        progress=progress,
    )
    lines = [
        f"{result.rows:,} pairs of {result.queries:,} queries and {result.entities:,} entities "
        f"({result.queries_encoded:,} and {result.entities_encoded:,} encoded) -> {out}",
        f"new columns: {', '.join(result.columns)}",
    ]
    lines.append(_knowledge(result.trained_on))
    lines += [f"unscored: {count:,} rows, {reason}" for reason, count in result.unscored.items()]
    if result.hint is not None:
        all_or_some = "all" if result.unscored_rows == result.rows else f"{result.unscored_rows:,} of"
        warn(f"{all_or_some} {result.rows:,} pairs are unscored: {result.hint}")
    report({**asdict(result), "unscored_rows": result.unscored_rows, "out": out}, as_json, lines)


def _knowledge(trained_on: Mapping[str, int] | None) -> str:
    """How many of the rows are no news to the encoder."""
    if trained_on is None:
        return "trained on: unknown, as this encoder records no training pairs; train again to have them recorded"
    return (
        f"trained on: {trained_on['pair']:,} pairs, and the queries of {trained_on['query']:,} more; "
        f"{trained_on['neither']:,} pairs are of queries new to the encoder (column trained_on)"
    )
