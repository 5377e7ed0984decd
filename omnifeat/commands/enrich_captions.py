"""`omnifeat enrich captions`: captions of pictures by an image-to-text model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, progress, report, result_table

if TYPE_CHECKING:
    from omnifeat.enrich.pictures import PicturesResult


def main(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Dataset folder, or the URL of one.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Dataset folder to write.")],
    model: Annotated[
        str, typer.Option(help="BLIP or BLIP-2 model, a folder or hub name.")
    ] = "Salesforce/blip-image-captioning-base",
    images: Annotated[
        str | None, typer.Option(help="Folder that relative paths start from; the dataset's own.")
    ] = None,
    tables: Annotated[str, typer.Option(help="Tables to fill, separated by commas.")] = "pins,products",
    batch_size: Annotated[int, typer.Option(help="Pictures that the model takes at once.")] = 16,
    max_tokens: Annotated[int, typer.Option(help="Most tokens of a caption.")] = 30,
    beams: Annotated[int, typer.Option(help="Beams of the search; 1 is greedy.")] = 1,
    prompt: Annotated[str, typer.Option(help='How each caption begins, such as "a photograph of".')] = "",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    redo: Annotated[bool, typer.Option("--redo", help="Write captions of entities that have one too.")] = False,
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write captions of pictures for entities that have none; killed and run again, it goes on where it was."""
    import torch

    from omnifeat.data.dataset import Dataset
    from omnifeat.enrich.picture_columns import enrich_captions

    if threads is not None:
        torch.set_num_threads(threads)
    with progress("pictures") as advance:
        result = enrich_captions(
            Dataset.open(data), out, model=model, tables=names(tables), images=images, batch_size=batch_size,
            max_tokens=max_tokens, beams=beams, prompt=prompt, device=device, redo=redo, overwrite=overwrite,
            advance=advance,
        )  # fmt: skip
    report_pictures(result, as_json)


def names(text: str) -> list[str]:
    """Names from one option, separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def report_pictures(result: "PicturesResult", as_json: bool) -> None:
    """Print what became of the pictures of each table."""
    counts = {
        table: {
            "encoded": result.encoded[table],
            "resumed": result.resumed[table],
            "kept": result.kept[table],
            "without": result.without[table],
            "empty": result.empty[table],
            "broken": sum(row[0] == table for row in result.broken),
        }
        for table in result.encoded
    }
    columns = ["table", "encoded", "from an earlier run", "kept", "no picture", "no value", "broken"]
    lines = [f"{len(result.broken):,} broken pictures are listed in {result.broken_file}"] if result.broken else []
    report(
        {
            "path": str(result.path),
            "tables": counts,
            "broken_file": None if result.broken_file is None else str(result.broken_file),
        },
        as_json,
        [
            f"Wrote {result.path}",
            result_table(columns, [(table, *row.values()) for table, row in counts.items()]),
            *lines,
        ],
    )
