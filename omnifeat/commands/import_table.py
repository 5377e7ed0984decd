"""`omnifeat import table`: tables of one's own, with columns mapped by options or by a mapping file."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption
from omnifeat.commands.import_common import (
    DevelopmentFrom,
    Out,
    TestFrom,
    chosen_split,
    pairs_of,
    report_import,
)
from omnifeat.errors import SettingError

__all__ = ["table"]


def _file(table: str) -> Any:
    return typer.Option(f"--{table.replace('_', '-')}", help=f"File of {table}.", rich_help_panel="Files")


def _columns(option: str, text: str) -> Any:
    return typer.Option(option, help=text, rich_help_panel="Columns")


def _written(option: str, text: str) -> Any:
    return typer.Option(option, help=text, rich_help_panel="How files are written")


# an option that is not given is None: then the mapping's value counts, and then the default
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
        str | None,
        typer.Option("--mapping", help="File of these options (.toml), or a ready one: shopify, ga4, movielens, ..."),
    ] = None,
    maps: Annotated[
        list[str] | None, _columns("--map", "TABLE.COLUMN=SOURCE, such as pins.title=name; may be repeated.")
    ] = None,
    constants: Annotated[
        list[str] | None, _columns("--set", "TABLE.COLUMN=VALUE for all rows, such as engagements.action=click.")
    ] = None,
    values: Annotated[
        list[str] | None,
        _columns("--value", "TABLE.COLUMN:TEXT=VALUE: what a text stands for, as engagements.action:buy=checkout."),
    ] = None,
    drop: Annotated[list[str] | None, _columns("--drop", "TABLE.COLUMN to leave out, such as products.price.")] = None,
    skip_rows_without: Annotated[
        list[str] | None,
        _columns("--skip-rows-without", "TABLE.COLUMN: leave out, and count, rows that have nothing there."),
    ] = None,
    empty_if_unreadable: Annotated[
        list[str] | None,
        _columns("--empty-if-unreadable", "TABLE.COLUMN: leave empty, and count, values that cannot be read."),
    ] = None,
    keep_first: Annotated[
        list[str] | None,
        _columns("--keep-first", "TABLE: of rows with one id keep the first, and count the others."),
    ] = None,
    drop_extra: Annotated[
        bool | None, _columns("--drop-extra/--keep-extra", "Leave out columns that are neither known nor mapped.")
    ] = None,
    delimiter: Annotated[str | None, _written("--delimiter", "Between cells: one character, or 'tab'.")] = None,
    quote: Annotated[str | None, _written("--quote", "Around cells: one character, or 'none'.")] = None,
    escape: Annotated[str | None, _written("--escape", "Before a quote within quotes, such as a backslash.")] = None,
    encoding: Annotated[str | None, _written("--encoding", "Such as windows-1252.")] = None,
    decimal: Annotated[str | None, _written("--decimal", "Decimal sign, '.' or ','.")] = None,
    list_separator: Annotated[
        str | None, _written("--list-separator", "Between items of a list in a text column: '|' if not given.")
    ] = None,
    time_unit: Annotated[
        Literal["s", "ms", "us", "ns"] | None,
        _written("--time-unit", "What times written as numbers count since 1970: 's' if not given."),
    ] = None,
    keep_html: Annotated[
        bool | None, _written("--keep-html/--strip-html", "Leave HTML in titles, descriptions and the like.")
    ] = None,
    null_words: Annotated[
        list[str] | None, _written("--null-word", "A text that stands for nothing, such as NULL; may be repeated.")
    ] = None,
    split: Annotated[
        Literal["none", "hash", "time"] | None, typer.Option("--split", help="How to split: 'none' if not given.")
    ] = None,
    split_column: Annotated[
        str | None, typer.Option("--split-column", help="Column to split by: query (hash) or timestamp (time).")
    ] = None,
    test: Annotated[float | None, typer.Option("--test", help="Fraction of the query texts for testing (0.1).")] = None,
    development: Annotated[
        float | None, typer.Option("--development", help="Fraction of the query texts for tuning (0.1).")
    ] = None,
    salt: Annotated[str | None, typer.Option("--salt", help="Text mixed into the hash of the split.")] = None,
    development_from: DevelopmentFrom = None,
    test_from: TestFrom = None,
    gap_days: Annotated[
        float | None, typer.Option("--gap-days", help="Time split: days left out before each part (0).")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the dataset; that of the folder if not given.")
    ] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="Licence of the data, to be recorded.")] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Import CSV, JSONL, Parquet or Arrow files, with columns mapped by options or a mapping file."""
    from omnifeat.importers.mapping_files import TableMapping, merged, read_mapping
    from omnifeat.importers.reading import TextOptions
    from omnifeat.importers.table_plan import Choices
    from omnifeat.importers.tables import import_table

    files = {
        "pins": pins, "products": products, "queries": queries, "engagements": engagements, "boards": boards,
        "saves": saves, "judgments": judgments, "impressions": impressions, "interests": interests,
        "query_interests": query_interests,
    }  # fmt: skip
    tables = {table: path for table, path in files.items() if path is not None}
    given = {
        "drop-extra": drop_extra, "delimiter": delimiter, "quote": quote, "escape": escape, "encoding": encoding,
        "decimal": decimal, "list-separator": list_separator, "time-unit": time_unit, "keep-html": keep_html,
        "split": split, "split-column": split_column, "test": test, "development": development, "salt": salt,
        "development-from": development_from, "test-from": test_from, "gap-days": gap_days, "name": name,
        "licence": licence,
    }  # fmt: skip
    kept = TableMapping() if mapping is None else read_mapping(mapping, tables)
    options = {**kept.options, **{option: value for option, value in given.items() if value is not None}}
    choices = Choices(
        mapping=pairs_of("--map", maps or []),
        constants=pairs_of("--set", constants or []),
        values=_values(values or []),
        drop=drop or [],
        skip_rows_without=skip_rows_without or [],
        empty_if_unreadable=empty_if_unreadable or [],
        keep_first=keep_first or [],
    )
    choices.check(tables)
    result = import_table(
        tables,
        out,
        choices=merged(kept.choices, choices),
        split=chosen_split(
            options.get("split", "none"), options.get("split-column"), options.get("development", 0.1),
            options.get("test", 0.1), options.get("salt", ""), options.get("development-from"),
            options.get("test-from"), options.get("gap-days", 0.0),
        ),
        name=options.get("name"),
        licence=options.get("licence", "not stated"),
        list_separator=options.get("list-separator", "|"),
        time_unit=options.get("time-unit", "s"),
        text=TextOptions(
            **{sign: options.get(sign) for sign in ("delimiter", "quote", "escape", "encoding", "decimal")},
            null_words=(*options.get("null-words", ()), *(null_words or ())),
        ),
        keep_html=options.get("keep-html", False),
        keep_extra=not options.get("drop-extra", False),
        overwrite=overwrite,
    )  # fmt: skip
    report_import(result, as_json)


def _values(given: list[str]) -> dict[str, dict[str, str]]:
    """`TABLE.COLUMN:TEXT=VALUE` options by their columns."""
    form = "TABLE.COLUMN:TEXT=VALUE, such as engagements.action:buy=checkout"
    found: dict[str, dict[str, str]] = {}
    for left, value in pairs_of("--value", given, form).items():
        target, colon, text = left.partition(":")
        if not colon or not text:
            raise SettingError(f"--value {left}={value} does not read {form}.")
        found.setdefault(target.strip(), {})[text] = value
    return found
