"""`omnifeat enrich`: columns of pins and products from boards, logs and pictures."""

import typer

from omnifeat.commands import enrich_boards, enrich_queries

app = typer.Typer(
    help="Fill columns of pins and products from boards and logs.", no_args_is_help=True, add_completion=False
)
app.command("boards")(enrich_boards.main)
app.command("queries")(enrich_queries.main)
