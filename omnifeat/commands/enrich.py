"""`omnifeat enrich`: each subcommand lies in a module of its own and is registered here."""

import typer

from omnifeat.commands import enrich_captions, enrich_graph, enrich_images

app = typer.Typer(
    help="Fill in what a dataset lacks; the result is a new dataset folder.",
    no_args_is_help=True,
    add_completion=False,
)
app.command("captions")(enrich_captions.main)
app.command("images")(enrich_images.main)
app.command("graph")(enrich_graph.main)
