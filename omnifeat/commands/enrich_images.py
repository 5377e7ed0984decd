"""`omnifeat enrich images`: vectors of pictures by a vision model."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, progress
from omnifeat.commands.enrich_captions import names, report_pictures


def main(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Dataset folder, or the URL of one.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Dataset folder to write.")],
    model: Annotated[str, typer.Option(help="Vision model of Hugging Face, a folder or hub name.")],
    pooling: Annotated[Literal["cls", "mean"], typer.Option(help="How the last layer is pooled.")] = "cls",
    images: Annotated[
        str | None, typer.Option(help="Folder that relative paths start from; the dataset's own.")
    ] = None,
    tables: Annotated[str, typer.Option(help="Tables to fill, separated by commas.")] = "pins,products",
    batch_size: Annotated[int, typer.Option(help="Pictures that the model takes at once.")] = 16,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    replace: Annotated[bool, typer.Option("--replace", help="Replace vectors that are there.")] = False,
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make `image_embedding` from pictures; killed and run again, it goes on where it was."""
    import torch

    from omnifeat.data.dataset import Dataset
    from omnifeat.enrich.picture_columns import enrich_images

    if threads is not None:
        torch.set_num_threads(threads)
    with progress("pictures") as advance:
        result = enrich_images(
            Dataset.open(data), out, model=model, pooling=pooling, tables=names(tables), images=images,
            batch_size=batch_size, device=device, replace=replace, overwrite=overwrite, advance=advance,
        )  # fmt: skip
    report_pictures(result, as_json)
