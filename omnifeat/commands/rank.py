"""`omnifeat rank`: each subcommand lies in a module of its own and is registered here."""

import typer

from omnifeat.commands import (
    rank_compare,
    rank_cross_validate,
    rank_evaluate,
    rank_features,
    rank_predict,
    rank_train,
    rank_tune,
)

app = typer.Typer(
    help="Train, tune, apply, measure and cross-validate LightGBM rankers.", no_args_is_help=True, rich_markup_mode=None
)
app.command("features")(rank_features.main)
app.command("train")(rank_train.main)
app.command("tune")(rank_tune.main)
app.command("predict")(rank_predict.main)
app.command("evaluate")(rank_evaluate.main)
app.command("cross-validate")(rank_cross_validate.main)
app.command("compare")(rank_compare.main)
