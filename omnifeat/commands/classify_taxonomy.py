"""`omnifeat classify taxonomy`: a tree of interests, checked and shown."""

from pathlib import Path
from typing import Annotated

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption, check_free, report


def main(
    source: Annotated[
        str, typer.Argument(help="Dataset folder, table of interests with parents, or file of paths a > b > c (.txt).")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Picture of the tree to write: .svg or .png.")
    ] = None,
    children: Annotated[
        int, typer.Option("--children", min=1, help="Children of each interest that are shown at most.")
    ] = 12,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check a tree of interests for cycles, missing parents and names that stand twice, and show it."""
    from classifiers.taxonomy import Taxonomy
    from classifiers.taxonomy_plot import PICTURES, draw_taxonomy
    from omnifeat.data.files import replace_when_whole
    from omnifeat.errors import SettingError

    if output is not None:
        if output.suffix.lower() not in PICTURES:
            raise SettingError(f"{output} is no {' or '.join(PICTURES)}; end its name with one of them.")
        check_free(output, overwrite)
    taxonomy = Taxonomy.read(source)
    counts = taxonomy.counts()
    if output is not None:
        with replace_when_whole(output, overwrite=overwrite) as partial:
            draw_taxonomy(taxonomy, partial, kind=output.suffix.lower(), most=children)
    leaves = len(taxonomy.leaves())
    summary = {
        "interests": len(taxonomy.parents),
        "levels": counts,
        "roots": list(taxonomy.children(None)),
        "leaves": leaves,
        "output": None if output is None else str(output),
    }
    levels = ", ".join(f"{count:,}" for count in counts)
    shown = [
        *taxonomy.as_text(children),
        f"{len(taxonomy.parents):,} interests, {leaves:,} of them leaves, by level: {levels}",
    ]
    report(summary, as_json, shown if output is None else [*shown, f"Wrote {output}"])
