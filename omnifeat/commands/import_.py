"""`omnifeat import`: dataset folders from public datasets and from one's own tables."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption, progress, report, result_table
from omnifeat.errors import SettingError

if TYPE_CHECKING:
    from omnifeat.data.splits import HashSplit, TimeSplit
    from omnifeat.importers.sources import ImportResult

app = typer.Typer(
    help="Make a dataset folder from a public dataset or from tables of yours.",
    no_args_is_help=True,
    add_completion=False,
)

Out = Annotated[Path, typer.Option("--out", "-o", help="Dataset folder to write.")]
Test = Annotated[float, typer.Option("--test", help="Fraction of the query texts held out for testing.")]
Development = Annotated[float, typer.Option("--development", help="Fraction of the query texts held out for tuning.")]
Salt = Annotated[str, typer.Option("--salt", help="Text mixed into the hash: another salt, another split.")]
SplitMethod = Annotated[Literal["hash", "time"], typer.Option("--split", help="How to split: by query or by time.")]
DevelopmentFrom = Annotated[
    str | None, typer.Option("--development-from", help="Time split: first day, as 2024-03-01.")
]
TestFrom = Annotated[str | None, typer.Option("--test-from", help="Time split: first day, as 2024-03-15.")]
GapDays = Annotated[float, typer.Option("--gap-days", help="Time split: days left out before each part.")]
DropUnknown = Annotated[
    bool, typer.Option("--drop-unknown", help="Leave out, and count, judgments of products not in the catalogue.")
]
JudgedPairs = Annotated[
    str, typer.Option("--pairs", help="Training pairs: 'exact' takes the best judgments for clicks, or 'none'.")
]
MemoryLimit = Annotated[
    str, typer.Option("--memory-limit", help="What the checks hold in memory before they go to disk, such as 512MB.")
]


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
    _report(result, as_json)


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

    chosen = None if languages is None else _listed(languages)
    result = import_emojibase(
        source, out, languages=chosen, test=test, development=development, salt=salt, overwrite=overwrite
    )
    _report(result, as_json)


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

    chosen = _split(split, None, development, test, salt, development_from, test_from, gap_days)
    with progress("rows read") as advance:
        result = import_unsplash(
            source, out, split=chosen, memory_limit=memory_limit, overwrite=overwrite, advance=advance
        )
    _report(result, as_json)


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
            source, out, locales=_listed(locales), version=version, part=part, pairs=pairs, drop_unknown=drop_unknown,
            test=test, development=development, salt=salt, memory_limit=memory_limit, overwrite=overwrite,
            advance=advance,
        )  # fmt: skip
    _report(result, as_json)


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
    _report(result, as_json)


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
            source, out, actions=_pairs_of("--action", action or [], "NAME=ACTION, such as wishlist=save"),
            entity_type=entity_type,
            split=_split(split, None, development, test, salt, development_from, test_from, gap_days),
            memory_limit=memory_limit, overwrite=overwrite, advance=advance,
        )  # fmt: skip
    _report(result, as_json)


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
    _report(result, as_json)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _file(table: str) -> object:
    return typer.Option(f"--{table.replace('_', '-')}", help=f"File of {table}.")


@app.command()
def table(
    out: Out,
    pins: Annotated[Path | None, _file("pins")] = None,
    products: Annotated[Path | None, _file("products")] = None,
    queries: Annotated[Path | None, _file("queries")] = None,
    engagements: Annotated[Path | None, _file("engagements")] = None,
    boards: Annotated[Path | None, _file("boards")] = None,
    saves: Annotated[Path | None, _file("saves")] = None,
    judgments: Annotated[Path | None, _file("judgments")] = None,
    impressions: Annotated[Path | None, _file("impressions")] = None,
    interests: Annotated[Path | None, _file("interests")] = None,
    query_interests: Annotated[Path | None, _file("query_interests")] = None,
    mapping: Annotated[
        list[str] | None, typer.Option("--map", help="TABLE.COLUMN=SOURCE, such as pins.title=name; may be repeated.")
    ] = None,
    constants: Annotated[
        list[str] | None,
        typer.Option("--set", help="TABLE.COLUMN=VALUE for all rows, such as engagements.action=click."),
    ] = None,
    split: Annotated[Literal["none", "hash", "time"], typer.Option("--split", help="How to split.")] = "none",
    split_column: Annotated[
        str | None, typer.Option("--split-column", help="Column to split by: query (hash) or timestamp (time).")
    ] = None,
    test: Test = 0.1,
    development: Development = 0.1,
    salt: Salt = "",
    development_from: DevelopmentFrom = None,
    test_from: TestFrom = None,
    gap_days: GapDays = 0,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the dataset; that of the folder if not given.")
    ] = None,
    licence: Annotated[str, typer.Option("--licence", help="Licence of the data, to be recorded.")] = "not stated",
    list_separator: Annotated[
        str, typer.Option("--list-separator", help="Between items of a list in a text column.")
    ] = "|",
    time_unit: Annotated[
        Literal["s", "ms", "us"], typer.Option("--time-unit", help="What times written as numbers count since 1970.")
    ] = "s",
    drop_extra: Annotated[
        bool, typer.Option("--drop-extra", help="Leave out columns that are neither known nor mapped.")
    ] = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Import CSV, JSONL, Parquet or Arrow files, with columns mapped by options."""
    from omnifeat.importers.tables import import_table

    given = {
        "pins": pins, "products": products, "queries": queries, "engagements": engagements, "boards": boards,
        "saves": saves, "judgments": judgments, "impressions": impressions, "interests": interests,
        "query_interests": query_interests,
    }  # fmt: skip
    result = import_table(
        {table: path for table, path in given.items() if path is not None},
        out,
        mapping=_pairs_of("--map", mapping or []),
        constants=_pairs_of("--set", constants or []),
        split=_split(split, split_column, development, test, salt, development_from, test_from, gap_days),
        name=name,
        licence=licence,
        list_separator=list_separator,
        time_unit=time_unit,
        keep_extra=not drop_extra,
        overwrite=overwrite,
    )
    _report(result, as_json)


def _pairs_of(
    option: str, values: list[str], form: str = "TABLE.COLUMN=VALUE, such as pins.title=name"
) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for value in values:
        target, equals, given = value.partition("=")
        target = target.strip()
        if not equals or not given:
            raise SettingError(f"{option} {value} does not read {form}.")
        if target in pairs:
            raise SettingError(f"{option} names '{target}' twice; name it once.")
        pairs[target] = given
    return pairs


def _split(
    method: str, column: str | None, development: float, test: float, salt: str,
    development_from: str | None, test_from: str | None, gap_days: float,
) -> "HashSplit | TimeSplit | None":  # fmt: skip
    from omnifeat.importers.splitting import hash_split, time_split

    if method == "hash":
        return hash_split(column=column or "query", salt=salt, development=development, test=test)
    if method == "time":
        return time_split(
            column=column or "timestamp", development_from=development_from, test_from=test_from, gap_days=gap_days
        )
    return None


def _report(result: "ImportResult", as_json: bool) -> None:
    shown = result_table(["table", "rows"], [(name, f"{rows:,}") for name, rows in result.counts.items()])
    report(
        {"path": str(result.path), "counts": result.counts, "notes": result.notes},
        as_json,
        [f"Wrote {result.path}", shown, *result.notes],
    )
