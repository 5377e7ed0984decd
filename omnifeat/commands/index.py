"""`omnifeat index`: an index of embeddings, and what it retrieves for queries."""

from pathlib import Path
from typing import Annotated

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, check_free, progress, report

app = typer.Typer(
    help="Build an index of embeddings and search it: retrieval of pins, products and product ads.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def build(
    tables: Annotated[
        list[str], typer.Argument(metavar="TABLE...", help="Embedding tables of entities, made by `omnifeat embed`.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the index.")],
    entity_type: Annotated[
        str | None, typer.Option("--entity-type", help="pin or product: index these alone, as for product ads.")
    ] = None,
    only: Annotated[
        str | None,
        typer.Option("--only", help="Table with a column id: index these alone, such as what is advertised."),
    ] = None,
    neighbours: Annotated[int, typer.Option("--neighbours", min=2, help="Links of an entity on each layer.")] = 32,
    breadth: Annotated[
        int, typer.Option("--breadth", min=1, help="Candidates kept while links are chosen: slower and better.")
    ] = 200,
    exact_below: Annotated[
        int, typer.Option("--exact-below", min=0, help="Up to so many entities every search is exact.")
    ] = 20_000,
    threads: Annotated[
        int, typer.Option("--threads", min=1, help="With more than one, quicker, but not twice the same index.")
    ] = 1,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Build an index of embeddings that carries its encoder's fingerprint."""
    from omnifeat.data.files import read_table, replace_when_whole
    from omnifeat.errors import SettingError
    from omnifeat.retrieval.hnsw import HnswIndex, HnswSettings

    check_free(output, overwrite)
    if entity_type not in (None, "pin", "product"):
        raise SettingError(f"The --entity-type must be pin or product; got {entity_type!r}.")
    settings = HnswSettings(neighbours=neighbours, breadth=breadth, exact_below=exact_below)
    ids = read_table(only, columns=["id"])["id"] if only is not None else None
    index = HnswIndex.from_tables(tables, entity_type=entity_type, only=ids, settings=settings, threads=threads)
    with replace_when_whole(output, overwrite=overwrite) as folder:
        index.save(folder)
    summary = {
        "entities": len(index),
        "dim": index.dim,
        "exact": index.exact,
        "zero_vectors": index.zero_vectors,
        "fingerprint": index.fingerprint,
        "output": str(output),
    }
    lines = [f"{len(index):,} entities, {index.dim} numbers each, {'searched exactly' if index.exact else 'a graph'}"]
    if index.zero_vectors:
        lines.append(f"left out: {index.zero_vectors:,} with the zero vector, of which the encoder knows nothing")
    report(summary, as_json, [*lines, f"Wrote {output}"])


@app.command()
def search(
    index: Annotated[Path, typer.Argument(help="Folder of the index.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Table to write: query, entity_id, rank, score.")],
    queries: Annotated[
        str,
        typer.Option("--queries", help="Table with a column query, dataset folder, or embedding table of queries."),
    ],
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="Encoder of the index; not needed for an embedding table.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Entities for each query.")] = 100,
    breadth: Annotated[
        int | None,
        typer.Option("--breadth", min=1, help="Candidates kept on the way: slower and better; 128 or 2 k by itself."),
    ] = None,
    min_score: Annotated[
        float | None, typer.Option("--min-score", help="Leave out what has a smaller cosine with the query.")
    ] = None,
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Retrieve the nearest entities of each query as a run."""
    import numpy as np

    from omnifeat.data.files import TableWriter
    from omnifeat.frozen import FrozenEncoder
    from omnifeat.retrieval.hnsw import HnswIndex
    from omnifeat.retrieval.vector_retriever import RUN_SCHEMA, search_table

    check_free(output, overwrite)
    loaded = HnswIndex.load(index)
    frozen = None if encoder is None else FrozenEncoder.from_pretrained(encoder, threads=threads)
    asked = answered = rows = 0
    with progress("searching") as advance, TableWriter(output, RUN_SCHEMA, overwrite=overwrite) as writer:
        for count, found in search_table(
            loaded, queries, k, encoder=frozen, breadth=breadth, min_score=min_score, threads=threads
        ):
            writer.write(found)
            asked += count
            rows += found.num_rows
            answered += int(np.count_nonzero(found["rank"].to_numpy() == 1))
            advance(count)
    summary = {"queries": asked, "without_hit": asked - answered, "rows": rows, "output": str(output)}
    lines = [f"{asked:,} queries, {rows:,} rows ({asked - answered:,} queries without a hit)", f"Wrote {output}"]
    report(summary, as_json, lines)
