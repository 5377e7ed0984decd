"""`omnifeat simulate`: a dataset folder of a simulated world."""

from pathlib import Path
from typing import Annotated

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, progress, report, result_table


def main(
    out: Annotated[Path, typer.Option("--out", "-o", help="Dataset folder to write.")],
    scale: Annotated[str, typer.Option("--scale", help="Size of the world: tiny, small, standard or large.")] = "small",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed; the same seed writes the same bytes.")] = 0,
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a dataset folder of a simulated world."""
    from omnifeat.simulator.simulate import STEPS, simulate

    with progress("simulating", len(STEPS)) as advance:
        result = simulate(
            out, scale=scale, seed=seed, overwrite=overwrite, threads=threads, progress=lambda step: advance(1)
        )
    shown = result_table(["table", "rows"], [(name, f"{rows:,}") for name, rows in result.counts.items()])
    report(
        {"path": str(result.path), "counts": result.counts, "notes": result.notes},
        as_json,
        [f"Wrote {result.path}", shown, *result.notes],
    )
