"""`omnifeat enrich text`: vectors of text by a pretrained encoder."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, progress, report, result_table
from omnifeat.commands.enrich_captions import names

if TYPE_CHECKING:
    from rich.table import Table

    from omnifeat.enrich.text import TextReport


def main(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Dataset folder, or the URL of one.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Dataset folder to write.")],
    model: Annotated[str, typer.Option(help="Text encoder of Hugging Face, a folder or hub name.")],
    fields: Annotated[
        str, typer.Option(help="Columns of text, separated by commas, that are joined in this order.")
    ] = "title",
    tables: Annotated[
        str | None, typer.Option(help="Tables to fill, separated by commas; pins and products, as far as there are.")
    ] = None,
    column: Annotated[str, typer.Option(help="Column to fill; its name ends in _embedding.")] = "text_embedding",
    pooling: Annotated[Literal["mean", "cls"], typer.Option(help="How the last layer is pooled.")] = "mean",
    prefix: Annotated[
        str, typer.Option(help='What the model wants before each text, such as "passage: " for E5.')
    ] = "",
    max_length: Annotated[
        int | None, typer.Option(help="Word pieces that are kept of a text; 128, or as many as the model reads.")
    ] = None,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16"],
        typer.Option(help="Numbers that the model computes in; auto takes bfloat16 where the processor has it."),
    ] = "auto",
    batch_size: Annotated[int, typer.Option(help="Texts that the model takes at once.")] = 128,
    part_texts: Annotated[
        int, typer.Option(help="Texts of a part: held in memory, and lost at most if the run is killed.")
    ] = 4_096,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    state: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps vectors by their texts, so that a later run encodes new ones."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace vectors that are there.")] = False,
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make `text_embedding` from text; killed and run again, it goes on where it was."""
    from omnifeat.data.dataset import Dataset
    from omnifeat.enrich.text import enrich_text

    result = enrich_text(
        Dataset.open(data), out, model=model, fields=names(fields), tables=None if tables is None else names(tables),
        column=column, pooling=pooling, prefix=prefix, max_length=max_length, dtype=dtype, batch_size=batch_size,
        part_texts=part_texts, device=device, threads=threads, state=state, replace=replace,
        overwrite=overwrite, progress=progress,
    )  # fmt: skip
    report({**asdict(result), "path": str(result.path)}, as_json, _shown(result))


def _shown(result: "TextReport") -> "list[str | Table]":
    rows = [
        (table, counts.rows, counts.filled, counts.without_text, counts.without_vector)
        for table, counts in result.tables.items()
    ]
    absent = [
        f"{table} has no column {', '.join(counts.absent_fields)}: its vectors are of the other fields"
        for table, counts in result.tables.items()
        if counts.absent_fields
    ]
    return [
        f"Wrote {result.path}, with {result.column} of {result.dim} numbers, computed in {result.dtype}",
        result_table(("table", "rows", "with vector", "no text", "no vector"), rows),
        f"{result.texts:,} distinct texts: {result.encoded:,} encoded, {result.resumed:,} from an earlier run",
        *absent,
    ]
