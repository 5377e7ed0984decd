"""`omnifeat enrich`: each subcommand lies in a module of its own and is registered here."""

import typer

from omnifeat.commands import (
    enrich_boards,
    enrich_captions,
    enrich_graph,
    enrich_images,
    enrich_queries,
    enrich_text,
)

app = typer.Typer(
    help="Fill columns of pins and products from boards, logs, pictures and text; the result is a new dataset folder.",
    no_args_is_help=True,
    add_completion=False,
)
app.command("boards")(enrich_boards.main)
app.command("queries")(enrich_queries.main)
app.command("captions")(enrich_captions.main)
app.command("images")(enrich_images.main)
app.command("graph")(enrich_graph.main)
app.command("text")(enrich_text.main)
