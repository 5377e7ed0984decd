"""`omnifeat simulate`: a dataset folder of a simulated world."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, progress, report, result_table


def main(
    out: Annotated[Path, typer.Option("--out", "-o", help="Dataset folder to write.")],
    scale: Annotated[str, typer.Option("--scale", help="Size of the world: tiny, small, standard or large.")] = "small",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed; the same seed writes the same bytes.")] = 0,
    candidates: Annotated[
        Literal["words", "mixed"] | None,
        typer.Option(
            "--candidates",
            help="Where the engine finds what it shows: by words, or by words, earlier behaviour and popularity.",
        ),
    ] = None,
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a dataset folder of a simulated world."""
    from omnifeat.simulator import DEFAULT_SOURCES, STEPS, simulate

    with progress("simulating", len(STEPS)) as advance:
        result = simulate(
            out, scale=scale, seed=seed, candidates=candidates or DEFAULT_SOURCES, overwrite=overwrite,
            threads=threads, progress=lambda step: advance(1),
        )  # fmt: skip
    shown = result_table(["table", "rows"], [(name, f"{rows:,}") for name, rows in result.counts.items()])
    report(
        {"path": str(result.path), "candidates": result.candidates, "counts": result.counts, "notes": result.notes},
        as_json,
        [f"Wrote {result.path} (candidates: {result.candidates})", shown, *result.notes],
    )
