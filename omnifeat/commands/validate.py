"""`omnifeat validate`."""

from typing import Annotated

import typer

from omnifeat.commands.console import JsonOption, progress, report, result_table, warn


def main(
    data: Annotated[str, typer.Argument(metavar="DIR", help="Dataset folder, or the URL of one.")],
    leaks: Annotated[
        bool, typer.Option("--leaks", help="Look for what the split holds out in the inputs as well.")
    ] = False,
    most: Annotated[int, typer.Option("--most", min=1, help="List this many problems of each kind; all count.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Check a dataset folder against the schema: every table, every row, every id."""
    from omnifeat.data.leak_remedies import mending_steps
    from omnifeat.data.validate import validate

    with progress("rows checked") as advance:
        result = validate(data, check_leaks=leaks, most=most, advance=advance)
    mend = mending_steps(result.problems, data)
    for sentence in result.warnings:
        warn(sentence)
    if as_json:
        report({**result.as_json(), "mend": mend}, True, [])
    else:
        for problem in result.problems:
            typer.echo(f"error: {problem.message}", err=True)
        for sentence in result.unlisted():
            typer.echo(f"error: {sentence}", err=True)
        if mend:
            typer.echo("\n".join(["to mend the leaks:", *(f"    {step}" for step in mend)]), err=True)
    if not result.ok:
        raise typer.Exit(2)
    if not as_json:
        table = result_table(("table", "rows"), list(result.counts.items()))
        checked = "no problems, no leaks" if leaks else "no problems"
        report({}, False, [table, f"{data}: {checked}"])
