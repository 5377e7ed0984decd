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


def check_part(part: str) -> None:
    """Refuse a part that there is not, before any work is done."""
    from omnifeat.data.splits import SPLITS
    from omnifeat.errors import SettingError

    if part not in (*SPLITS, "all"):
        raise SettingError(f"There is no part {part!r}; choose {', '.join(SPLITS)} or all.")
