"""`omnifeat classify predict`: interests beside the queries of a table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omnifeat.commands.classify_common import ClassifierOption, EncoderOption, PoolingOption, PrefixOption
from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, check_free, progress, report

if TYPE_CHECKING:
    import pyarrow as pa


def main(
    queries: Annotated[str, typer.Argument(help="Table with a column of queries: Parquet, CSV, JSONL or Arrow.")],
    classifier: ClassifierOption,
    encoder: EncoderOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="Table to write.")],
    query_column: Annotated[str, typer.Option("--query-column", help="Column of the query of each row.")] = "query",
    several: Annotated[
        bool, typer.Option("--several", help="Add all interests that reach their threshold, or a half without.")
    ] = False,
    top: Annotated[int, typer.Option("--top", min=0, help="Add so many of the most probable interests.")] = 0,
    nearest: Annotated[int, typer.Option("--nearest", min=0, help="Add so many of the nearest training queries.")] = 0,
    thresholds: Annotated[
        bool, typer.Option("--thresholds/--no-thresholds", help="Keep to the classifier's thresholds, if it has any.")
    ] = True,
    strict: Annotated[bool, typer.Option("--strict", help="Fail at a query that is null or blank.")] = False,
    pretrained_prefix: PrefixOption = "",
    pretrained_pooling: PoolingOption = "mean",
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Add each query's most probable interest, one column a level; all columns and the order of rows are kept."""
    import pyarrow as pa

    from classifiers.interest import InterestClassifier
    from omnifeat.data.files import TableWriter, count_rows, iter_batches, read_schema
    from omnifeat.errors import DataError, SettingError
    from omnifeat.keys import as_strings
    from omnifeat.query_encoders import open_query_encoder

    check_free(output, overwrite)
    schema = read_schema(queries)
    if query_column not in schema.names:
        raise DataError(f"Table {queries} has no column {query_column!r}; it has {', '.join(schema.names)}.")
    loaded = InterestClassifier.load(classifier)
    loaded.set_params(threads=threads)
    if not thresholds:
        loaded.thresholds_ = None
    if nearest and loaded.examples_ is None:
        raise SettingError(f"Classifier {classifier} kept no training queries; leave out --nearest.")
    frozen = open_query_encoder(encoder, prefix=pretrained_prefix, pooling=pretrained_pooling, threads=threads)
    loaded.check_encoder(frozen.fingerprint)
    added = _fields(len(loaded.levels_), several or loaded.several_, top, nearest)
    for field in added:
        if field.name in schema.names:
            raise SettingError(f"Table {queries} has a column {field.name!r} already; rename it first.")
        schema = schema.append(field)

    rows = unclassified = abstained = 0
    with (
        progress("classifying", count_rows(queries)) as advance,
        TableWriter(output, schema, overwrite=overwrite) as writer,
    ):
        for batch in iter_batches(queries):
            part = pa.Table.from_batches([batch])
            texts = as_strings(part[query_column], f"Column {query_column!r} of {queries}").to_pylist()
            blank = [place for place, text in enumerate(texts) if text is None or not text.strip()]
            if blank and strict:
                raise DataError(
                    f"Row {rows + blank[0]} of {queries} has a null or blank {query_column!r}; "
                    "fill it in or leave out --strict."
                )
            columns = _columns(loaded, frozen, texts, added, top, nearest)
            for field in added:
                part = part.append_column(field, columns[field.name])
            writer.write(part)
            rows += len(texts)
            unclassified += len(blank)
            abstained += columns["interest_0"].null_count - len(blank)
            advance(len(texts))
    shown = [f"{rows:,} rows"]
    if unclassified:
        shown.append(f"{unclassified:,} rows have a null or blank query; their interests are null.")
    if abstained:
        shown.append(f"{abstained:,} rows reach no interest's threshold; their interests are null.")
    summary = {"rows": rows, "unclassified": unclassified, "abstained": abstained, "output": str(output)}
    report(summary, as_json, [*shown, f"Wrote {output}"])


def _fields(levels: int, several: bool, top: int, nearest: int) -> list["pa.Field"]:
    import pyarrow as pa

    fields = []
    for level in range(levels):
        fields += [pa.field(f"interest_{level}", pa.string()), pa.field(f"probability_{level}", pa.float64())]
    names = [("interests", "interest_probabilities")] if several else []
    names += [("top_interests", "top_probabilities")] if top else []
    names += [("nearest_queries", "nearest_cosines")] if nearest else []
    for one, other in names:
        fields += [pa.field(one, pa.list_(pa.string())), pa.field(other, pa.list_(pa.float64()))]
    return fields


def _columns(
    classifier: Any, encoder: Any, texts: list[str | None], fields: list["pa.Field"], top: int, nearest: int
) -> dict[str, "pa.Array"]:
    """A column of each field for the texts; null below the end of a path, where it abstains and for blank texts."""
    import numpy as np
    import pyarrow as pa

    distinct = list(dict.fromkeys(text for text in texts if text is not None and text.strip()))
    wanted = {field.name for field in fields}
    cells: dict[str, list[Any]] = {field.name: [None] * len(distinct) for field in fields}
    if distinct:
        embeddings = encoder.encode_queries(distinct)
        place = classifier.tree_.place
        nodes = classifier.predict_proba(embeddings).astype(np.float64)
        for row, path in enumerate(classifier.predict(embeddings)):
            for level, name in enumerate(path):
                cells[f"interest_{level}"][row] = name
                cells[f"probability_{level}"][row] = nodes[row, place[path[: level + 1]]]
        if "interests" in wanted:
            for row, paths in enumerate(classifier.predict_several(embeddings)):
                cells["interests"][row] = [path[-1] for path in paths]
                cells["interest_probabilities"][row] = [nodes[row, place[path]] for path in paths]
        if top:
            for row, best in enumerate(classifier.top_paths(embeddings, top)):
                cells["top_interests"][row] = [path[-1] for path, _ in best]
                cells["top_probabilities"][row] = [share for _, share in best]
        if nearest:
            for row, near in enumerate(classifier.explain(embeddings, nearest)):
                cells["nearest_queries"][row] = [str(one.row) if one.query is None else one.query for one in near]
                cells["nearest_cosines"][row] = [one.cosine for one in near]
    rows = {text: row for row, text in enumerate(distinct)}
    at = pa.array([rows.get(text) if text is not None else None for text in texts], pa.int64())
    return {field.name: pa.array(cells[field.name], field.type).take(at) for field in fields}
