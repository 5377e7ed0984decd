"""`omnifeat simulate`: a dataset folder of a simulated world."""

from pathlib import Path
from typing import Annotated

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption, report, result_table


def main(
    out: Annotated[Path, typer.Option("--out", "-o", help="Dataset folder to write.")],
    scale: Annotated[str, typer.Option("--scale", help="Size of the world: tiny or small.")] = "small",
    seed: Annotated[int, typer.Option("--seed", help="Seed; the same seed writes the same bytes.")] = 0,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a dataset folder of a small simulated world."""
    from omnifeat.simulator.simulate import simulate

    result = simulate(out, scale=scale, seed=seed, overwrite=overwrite)
    shown = result_table(["table", "rows"], [(name, f"{rows:,}") for name, rows in result.counts.items()])
    report(
        {"path": str(result.path), "counts": result.counts, "notes": result.notes},
        as_json,
        [f"Wrote {result.path}", shown, *result.notes],
    )
