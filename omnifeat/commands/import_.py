"""`omnifeat import`: dataset folders from public datasets and from one's own tables."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption, progress
from omnifeat.commands.import_common import (
    Development,
    DevelopmentFrom,
    DropUnknown,
    GapDays,
    JudgedPairs,
    MemoryLimit,
    Out,
    Salt,
    SplitMethod,
    Test,
    TestFrom,
    chosen_split,
    listed,
    pairs_of,
    report_import,
)
from omnifeat.commands.import_table import table

app = typer.Typer(
    help="Make a dataset folder from a public dataset or from tables of yours.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command()
def icecat(
    source: Annotated[Path, typer.Argument(help="Folder with 1.json.zip, 2.json.zip, ... and the CSV of ratings.")],
    out: Out,
    raters: Annotated[
        bool, typer.Option("--raters", help="Take the individual ratings, a judgment per rater, where there are any.")
    ] = False,
    drop_unknown: Annotated[
        bool, typer.Option("--drop-unknown", help="Leave out, and count, ratings of products not in the catalogue.")
    ] = False,
    pairs: Annotated[
        str,
        typer.Option("--pairs", help="Training pairs: 'titles' makes pseudo-queries from the catalogue, or 'none'."),
    ] = "titles",
    pairs_per_product: Annotated[
        int, typer.Option("--pairs-per-product", help="Pseudo-queries per product, at most.")
    ] = 6,
    test: Test = 0.1,
    development: Development = 0.1,
    salt: Salt = "",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the pseudo-queries.")] = 0,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Import Icecat products and people's ratings; make training pairs from the catalogue."""
    from omnifeat.importers.icecat import import_icecat

    result = import_icecat(
        source, out, raters=raters, drop_unknown=drop_unknown, pairs=pairs, pairs_per_product=pairs_per_product,
        test=test, development=development, salt=salt, seed=seed, overwrite=overwrite,
    )  # fmt: skip
    report_import(result, as_json)


@app.command()
def emojibase(
    source: Annotated[Path, typer.Argument(help="Folder with LANGUAGE/data.json.gz and meta/groups.json.")],
    out: Out,
    languages: Annotated[
        str | None,
        typer.Option("--languages", help="Languages, such as en,de; titles are in the first. All if not given."),
    ] = None,
    test: Test = 0.1,
    development: Development = 0.1,
    salt: Salt = "",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Import emoji as pins, their search tags as queries, their groups as interests."""
    from omnifeat.importers.emojibase import import_emojibase

    chosen = None if languages is None else listed(languages)
    result = import_emojibase(
        source, out, languages=chosen, test=test, development=development, salt=salt, overwrite=overwrite
    )
    report_import(result, as_json)


@app.command()
def unsplash(
    source: Annotated[Path, typer.Argument(help="Folder with photos.tsv000 and the other part files.")],
    out: Out,
    split: SplitMethod = "hash",
    test: Test = 0.1,
    development: Development = 0.1,
    salt: Salt = "",
    development_from: DevelopmentFrom = None,
    test_from: TestFrom = None,
    gap_days: GapDays = 0,
    memory_limit: MemoryLimit = "1GB",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Import Unsplash's photos as pins, its collections as boards, its search conversions as engagements."""
    from omnifeat.importers.unsplash import import_unsplash

    chosen = chosen_split(split, None, development, test, salt, development_from, test_from, gap_days)
    with progress("rows read") as advance:
        result = import_unsplash(
            source, out, split=chosen, memory_limit=memory_limit, overwrite=overwrite, advance=advance
        )
    report_import(result, as_json)


@app.command()
def esci(
    source: Annotated[Path, typer.Argument(help="Folder with the Parquet files of examples and products.")],
    out: Out,
    locales: Annotated[str, typer.Option("--locales", help="Locales to take, some of us,es,jp.")] = "us,es,jp",
    version: Annotated[
        str, typer.Option("--version", help="The publisher's version: 'large' (tasks 2 and 3) or 'small' (task 1).")
    ] = "large",
    part: Annotated[str, typer.Option("--part", help="The publisher's part to take: train, test or all.")] = "all",
    pairs: JudgedPairs = "none",
    drop_unknown: DropUnknown = False,
    test: Test = 0.1,
    development: Development = 0.1,
    salt: Salt = "",
    memory_limit: MemoryLimit = "1GB",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Import Amazon's Shopping Queries: products of three locales, and judgments in four grades."""
    from omnifeat.importers.esci import import_esci

    with progress("rows read") as advance:
        result = import_esci(
            source, out, locales=listed(locales), version=version, part=part, pairs=pairs, drop_unknown=drop_unknown,
            test=test, development=development, salt=salt, memory_limit=memory_limit, overwrite=overwrite,
            advance=advance,
        )  # fmt: skip
    report_import(result, as_json)


@app.command()
def wands(
    source: Annotated[Path, typer.Argument(help="Folder with product.csv, query.csv and label.csv.")],
    out: Out,
    pairs: JudgedPairs = "none",
    drop_unknown: DropUnknown = False,
    test: Test = 0.1,
    development: Development = 0.1,
    salt: Salt = "",
    memory_limit: MemoryLimit = "1GB",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Import Wayfair's WANDS: products, judgments in three grades, classes as interests."""
    from omnifeat.importers.wands import import_wands

    with progress("rows read") as advance:
        result = import_wands(
            source, out, pairs=pairs, drop_unknown=drop_unknown, test=test, development=development, salt=salt,
            memory_limit=memory_limit, overwrite=overwrite, advance=advance,
        )  # fmt: skip
    report_import(result, as_json)


@app.command()
def ubi(
    source: Annotated[Path, typer.Argument(help="Folder of .ndjson files of queries and events, or one such file.")],
    out: Out,
    action: Annotated[
        list[str] | None,
        typer.Option("--action", help="NAME=ACTION: events of that name are save, long_click, click, ... May repeat."),
    ] = None,
    entity_type: Annotated[
        Literal["product", "pin"], typer.Option("--entity-type", help="What the objects of the log are.")
    ] = "product",
    split: SplitMethod = "hash",
    test: Test = 0.1,
    development: Development = 0.1,
    salt: Salt = "",
    development_from: DevelopmentFrom = None,
    test_from: TestFrom = None,
    gap_days: GapDays = 0,
    memory_limit: MemoryLimit = "1GB",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Import User Behavior Insights logs: responses as impressions, events as engagements."""
    from omnifeat.importers.ubi import import_ubi

    with progress("rows read") as advance:
        result = import_ubi(
            source, out, actions=pairs_of("--action", action or [], "NAME=ACTION, such as wishlist=save"),
            entity_type=entity_type,
            split=chosen_split(split, None, development, test, salt, development_from, test_from, gap_days),
            memory_limit=memory_limit, overwrite=overwrite, advance=advance,
        )  # fmt: skip
    report_import(result, as_json)


@app.command()
def clinc150(
    source: Annotated[Path, typer.Argument(help="Folder with data_full.json and domains.json.")],
    out: Out,
    part: Annotated[str, typer.Option("--part", help="The publisher's part to take: train, val, test or all.")] = "all",
    in_scope: Annotated[
        bool, typer.Option("--in-scope", help="Leave out, and count, the utterances that have no intent.")
    ] = False,
    test: Test = 0.1,
    development: Development = 0.1,
    salt: Salt = "",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Import CLINC150: utterances as queries, their intents and domains as interests."""
    from omnifeat.importers.clinc150 import import_clinc150

    result = import_clinc150(
        source, out, part=part, out_of_scope=not in_scope, test=test, development=development, salt=salt,
        overwrite=overwrite,
    )  # fmt: skip
    report_import(result, as_json)


@app.command()
def qrels(
    source: Annotated[Path, typer.Argument(help="TREC's judgments: query-id 0 entity-id grade, a line each.")],
    out: Out,
    topics: Annotated[
        Path | None, typer.Option("--topics", help="Texts of the queries: query-id, tab, text; the ids if not given.")
    ] = None,
    entity_type: Annotated[
        Literal["product", "pin"], typer.Option("--entity-type", help="What the judged things are.")
    ] = "product",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Import TREC qrels as judgments, with the texts of their topics as queries."""
    from omnifeat.importers.qrels import import_qrels

    report_import(import_qrels(source, out, topics=topics, entity_type=entity_type, overwrite=overwrite), as_json)


app.command()(table)
