"""The warning of `omnifeat enrich` where nothing says what is held out."""

import shlex

from omnifeat.commands.console import warn


def warn_without_split(data: str, rows: str) -> None:
    """Say on standard error that a dataset records no split, so that all of its `rows` go into the inputs."""
    from omnifeat.data.dataset import Dataset
    from omnifeat.enrich.pair_settings import options_for_log
    from omnifeat.errors import DataError

    dataset = Dataset.open(data)
    if dataset.info.split is not None:
        return
    try:
        options = "".join(f" {option}" for option in options_for_log(dataset))
    except DataError:  # the log has nothing to do with what was enriched: `omnifeat pairs` names what is wrong with it
        options = ""
    pairs = f"{data.rstrip('/').rsplit('/', 1)[-1]}-pairs"
    warn(
        f"{data} records no split in dataset.json, so that all its {rows} go into what the encoder reads, "
        "those too that it will be measured on, and figures will flatter it: run "
        f"`omnifeat pairs {shlex.quote(data)} -o {shlex.quote(pairs)}{options}` first, which records a split, and "
        "enrich what it writes."
    )
