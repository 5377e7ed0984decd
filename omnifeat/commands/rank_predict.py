"""`omnifeat rank predict`: the scores of a model beside the rows of a table."""

from pathlib import Path
from typing import Annotated, Any

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, check_free, progress, report
from omnifeat.commands.rank_common import (
    TableArgument,
    named_table,
)


def main(
    table: TableArgument,
    ranker: Annotated[Path, typer.Option("--ranker", "--model", "-r", help="Folder of the model.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Table to write.")],
    stage: Annotated[
        str | None, typer.Option("--stage", help="Refuse a model of another stage; any model is taken if not given.")
    ] = None,
    score_column: Annotated[str, typer.Option("--score-column", help="Name of the new column.")] = "score",
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Add the model's score to each row; all columns and the order of rows are kept."""
    import pyarrow as pa

    from omnifeat.data.files import TableWriter, count_rows, iter_batches, read_schema
    from omnifeat.errors import SettingError
    from ranking.features import FINGERPRINT_KEY, select_features
    from ranking.stages import load_for_stage

    if not score_column.strip():
        raise SettingError("--score-column is empty; give the new column a name, such as score.")
    check_free(output, overwrite)
    loaded: Any = load_for_stage(ranker, stage)
    loaded.set_params(threads=threads)
    schema = read_schema(table, by_name="keys")
    if score_column in schema.names:
        raise SettingError(f"Table {table} has a column {score_column!r} already; choose another --score-column.")
    stored = (schema.metadata or {}).get(FINGERPRINT_KEY.encode())
    fingerprint = stored.decode() if stored else None
    names = loaded.manifest_.names
    rows = 0
    with (
        named_table(table),
        progress("scoring", count_rows(table)) as advance,
        TableWriter(output, schema.append(pa.field(score_column, pa.float64())), overwrite=overwrite) as writer,
    ):
        for batch in iter_batches(table, by_name="keys"):
            part = pa.Table.from_batches([batch])
            scores = loaded.predict(select_features(part, names), encoder_fingerprint=fingerprint)
            scored = part.append_column(score_column, pa.array(scores))
            writer.write(scored)
            rows += part.num_rows
            advance(part.num_rows)
    report({"rows": rows, "output": str(output)}, as_json, [f"{rows:,} rows scored", f"Wrote {output}"])
