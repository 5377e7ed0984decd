"""The `omnifeat` command. Subcommands are imported when they are called, so that `--help` stays quick."""

import importlib
import logging
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from omnifeat import __version__
from omnifeat.commands.failures import ended_by, flush_output, quieten_threads, say_and_exit
from omnifeat.stopping import handle_signals

# name on the command line -> (module, one line of help). A module has `app` (a group) or `main` (one command).
COMMANDS: dict[str, tuple[str, str]] = {
    "validate": ("omnifeat.commands.validate", "Check a dataset folder against the schema."),
    "import": ("omnifeat.commands.import_", "Make a dataset folder from a public dataset or from tables of yours."),
    "simulate": ("omnifeat.commands.simulate", "Make a dataset folder of a small simulated world."),
    "enrich": ("omnifeat.commands.enrich", "Fill columns of pins and products from boards, logs and pictures."),
    "pairs": ("omnifeat.commands.pairs", "Choose training and evaluation pairs from the log of engagements."),
    "train": ("omnifeat.commands.train", "Train an encoder on a dataset folder and freeze it."),
    "embed": ("omnifeat.commands.embed", "Encode entities or queries into a table of vectors."),
    "featurize": ("omnifeat.commands.featurize", "Add cosine features to a table of (query, entity) pairs."),
    "index": ("omnifeat.commands.index", "Build an index of embeddings and search it."),
    "evaluate": ("omnifeat.commands.evaluate", "Measure Recall@k and relevance beside baselines."),
    "reproduce": ("omnifeat.commands.reproduce", "The paper's Tables 2 to 6 on a dataset, with a report."),
    "rank": ("omnifeat.commands.rank", "Train, apply and cross-validate LightGBM rankers."),
    "classify": ("omnifeat.commands.classify", "Train and apply classifiers of queries by interest."),
}


class LazyGroup(TyperGroup):
    """A group that knows its subcommands by name and imports one only to run it or to show its help."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module_name, short_help = COMMANDS[cmd_name]
        module = importlib.import_module(module_name)
        if hasattr(module, "app"):
            command = get_command(module.app)
        else:
            single = typer.Typer(add_completion=False)
            single.command()(module.main)
            command = get_command(single)
        command.name = cmd_name
        command.short_help = short_help
        return command

    def invoke(self, ctx: Any) -> Any:
        """Run; an error of the input becomes one sentence and exit code 2, as does what the machine refused."""
        try:
            return super().invoke(ctx)
        except (Exception, KeyboardInterrupt) as error:
            ended = ended_by(error)
            if ended is None:
                raise
            raise say_and_exit(*ended) from error

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the subcommands from the table above, importing none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, short_help) for name, (_, short_help) in COMMANDS.items()])


def _version(value: bool) -> None:
    if value:
        typer.echo(f"omnifeat {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=LazyGroup, add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
)


@app.callback()
def _options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what is done, with times.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Search embeddings, trained on logs, frozen, and reused as features of rankers and classifiers."""
    # The one place where logging is set up.
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )


def main() -> None:
    """Entry point of the console script."""
    handle_signals()
    quieten_threads()
    try:
        app()
    finally:
        flush_output()


if __name__ == "__main__":
    main()
