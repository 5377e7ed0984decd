"""`omnifeat rank features`: features beside the pairs that a ranker learns from or scores."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption, report
from omnifeat.commands.rank_common import check_free, write_table

if TYPE_CHECKING:
    import pyarrow as pa


def main(
    pairs: Annotated[
        str, typer.Argument(help="Table of pairs (query, entity_id), or a dataset folder: its judgments.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Table to write.")],
    entities: Annotated[
        str | None, typer.Option("--entities", help="Table of entities; a dataset folder has its own.")
    ] = None,
    text_fields: Annotated[
        str | None, typer.Option("--text-fields", help="Text columns of the entities, with commas between.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if a pair cannot be scored.")] = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Add token matches, lengths and price to pairs; all their columns and the order of rows are kept."""
    import pyarrow.compute as pc

    from omnifeat.data.files import read_table
    from omnifeat.errors import DataError, SettingError
    from ranking.lexical_features import lexical_features

    check_free(output, overwrite)
    pair_table, entity_table = _pairs_and_entities(pairs, entities)
    fields = text_fields.split(",") if text_fields else None
    columns = lexical_features(pair_table, read_table(entities) if entities else entity_table, fields)
    unscored = pc.is_null(columns["bm25_text"])
    count = pc.sum(unscored).as_py() or 0
    if strict and count:
        row = pc.index(unscored, True).as_py()
        raise DataError(
            f"Pair in row {row} of {pairs} (query {pair_table['query'][row].as_py()!r}, entity "
            f"{pair_table['entity_id'][row].as_py()!r}) has no query or an unknown entity; correct it, "
            "or leave out --strict."
        )
    result = pair_table
    for name in columns.column_names:
        if name in pair_table.column_names:
            raise SettingError(f"Table {pairs} has a column {name!r} already; rename it first.")
        result = result.append_column(name, columns[name])
    write_table(output, result)
    summary = {
        "rows": result.num_rows,
        "unscored": count,
        "features": columns.column_names,
        "output": str(output),
    }
    lines = [f"{result.num_rows:,} pairs, {columns.num_columns} features: {', '.join(columns.column_names)}"]
    if count:
        lines.append(f"{count:,} pairs could not be scored (no query, or an unknown entity); their features are null.")
    report(summary, as_json, [*lines, f"Wrote {output}"])


def _pairs_and_entities(pairs: str, entities: str | None) -> tuple["pa.Table", "pa.Table | None"]:
    """The pairs, and, for a dataset folder, its catalogue with a column that says pin or product."""
    import pyarrow as pa

    from omnifeat.data.dataset import Dataset
    from omnifeat.data.files import read_table
    from omnifeat.errors import DataError, SettingError
    from ranking.judgments import agreed_grades
    from ranking.lexical_features import TEXT_FIELDS

    if not (Path(pairs) / "dataset.json").is_file():
        if entities is None:
            raise SettingError(f"{pairs} is no dataset folder, so say with --entities where the entities are.")
        return read_table(pairs), None
    dataset = Dataset.open(pairs)
    dataset.require("judgments", "query", "entity_id", "grade")
    parts = []
    for name, entity_type in (("pins", "pin"), ("products", "product")):
        if dataset.has(name):
            columns = [c for c in ("id", *TEXT_FIELDS, "price") if dataset.has_column(name, c)]
            part = dataset.read(name, columns=columns)
            parts.append(part.append_column("entity_type", pa.array([entity_type] * part.num_rows, pa.string())))
    if not parts:
        raise DataError(f"Dataset {pairs} has neither pins nor products; name a table with --entities.")
    catalogue = pa.concat_tables(parts, promote_options="permissive")
    return agreed_grades(dataset.read("judgments")), catalogue
