"""What the subcommands of `omnifeat classify` share: options, and checks of outputs."""

from pathlib import Path
from typing import Annotated

import typer

DataArgument = Annotated[str, typer.Argument(help="Dataset folder with interests and query_interests.")]
EncoderOption = Annotated[
    list[str],
    typer.Option(
        "--encoder",
        "-e",
        help="Frozen encoder, or a folder of a Transformers model; repeat to put the vectors of several side by side.",
    ),
]
PrefixOption = Annotated[
    str, typer.Option("--pretrained-prefix", help="Put before each text that a Transformers model reads.")
]
PoolingOption = Annotated[str, typer.Option("--pretrained-pooling", help="Of a Transformers model: mean or cls.")]
ClassifierOption = Annotated[Path, typer.Option("--classifier", "-c", help="Folder of the classifier.")]


def check_free(output: Path, overwrite: bool) -> None:
    """Refuse an output that exists, before any work is done."""
    from omnifeat.errors import OutputError

    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists already; choose another place, or replace it with --overwrite.")
