"""`omnifeat classify`: each subcommand lies in a module of its own and is registered here."""

import typer

from omnifeat.commands import (
    classify_compare,
    classify_evaluate,
    classify_predict,
    classify_taxonomy,
    classify_train,
)

app = typer.Typer(
    help="Train and apply classifiers of queries by interest.", no_args_is_help=True, rich_markup_mode=None
)
app.command("taxonomy")(classify_taxonomy.main)
app.command("train")(classify_train.main)
app.command("predict")(classify_predict.main)
app.command("evaluate")(classify_evaluate.main)
app.command("compare")(classify_compare.main)
