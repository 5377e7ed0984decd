"""`omnifeat classify`: classifiers of queries by interest, over a frozen encoder's query embeddings."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omnifeat.commands import classify_compare, classify_evaluate
from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, progress, report, result_table

if TYPE_CHECKING:
    import pyarrow as pa

app = typer.Typer(
    help="Train and apply classifiers of queries by interest.", no_args_is_help=True, rich_markup_mode=None
)

app.command("evaluate")(classify_evaluate.main)
app.command("compare")(classify_compare.main)

DataArgument = Annotated[str, typer.Argument(help="Dataset folder with interests and query_interests.")]
EncoderOption = Annotated[str, typer.Option("--encoder", "-e", help="Frozen encoder: a folder.")]
ClassifierOption = Annotated[Path, typer.Option("--classifier", "-c", help="Folder of the classifier.")]


@app.command()
def train(
    data: DataArgument,
    encoder: EncoderOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the classifier.")],
    part: Annotated[
        str, typer.Option("--part", help="Part of the split to learn from: train, development, test or all.")
    ] = "train",
    inverse_regularisation: Annotated[
        float, typer.Option("--inverse-regularisation", help="Lower keeps weights closer to zero.")
    ] = 0.1,
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Learn the interests of queries, level by level, and write the classifier as a folder."""
    from classifiers.examples import interest_examples
    from classifiers.interest import InterestClassifier
    from omnifeat.data.dataset import Dataset
    from omnifeat.frozen import FrozenEncoder

    _check_free(output, overwrite)
    examples = interest_examples(Dataset.open(data), None if part == "all" else part)
    frozen = FrozenEncoder.from_pretrained(encoder, threads=threads)
    embeddings = frozen.encode_queries(list(examples.queries))
    places, paths, weights = examples.training_rows()
    classifier = InterestClassifier(
        inverse_regularisation=inverse_regularisation, encoder_fingerprint=frozen.fingerprint
    ).fit(embeddings[places], paths, sample_weight=weights)
    classifier.save(output)
    classes = [len(classifier.classes_at(level)) for level in range(len(classifier.levels_))]
    summary = {
        "queries": len(examples.queries),
        "rows": len(paths),
        "classes": classes,
        "encoder_fingerprint": frozen.fingerprint,
        "output": str(output),
    }
    shown: list[Any] = [
        f"{len(examples.queries):,} queries with {len(paths):,} interests",
        result_table(("level", "interests"), list(enumerate(classes))),
        f"Wrote {output}",
    ]
    report(summary, as_json, shown)


@app.command()
def predict(
    queries: Annotated[str, typer.Argument(help="Table with a column of queries: Parquet, CSV, JSONL or Arrow.")],
    classifier: ClassifierOption,
    encoder: EncoderOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="Table to write.")],
    query_column: Annotated[str, typer.Option("--query-column", help="Column of the query of each row.")] = "query",
    strict: Annotated[bool, typer.Option("--strict", help="Fail at a query that is null or blank.")] = False,
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Add each query's most probable interest, one column a level; all columns and the order of rows are kept."""
    import pyarrow as pa

    from classifiers.interest import InterestClassifier
    from omnifeat.data.files import TableWriter, count_rows, iter_batches, read_schema
    from omnifeat.errors import DataError, SettingError
    from omnifeat.frozen import FrozenEncoder

    _check_free(output, overwrite)
    schema = read_schema(queries)
    if query_column not in schema.names:
        raise DataError(f"Table {queries} has no column {query_column!r}; it has {', '.join(schema.names)}.")
    loaded = InterestClassifier.load(classifier)
    frozen = FrozenEncoder.from_pretrained(encoder, threads=threads)
    loaded.check_encoder(frozen.fingerprint)
    added = []
    for level in range(len(loaded.levels_)):
        added += [pa.field(f"interest_{level}", pa.string()), pa.field(f"probability_{level}", pa.float64())]
    for field in added:
        if field.name in schema.names:
            raise SettingError(f"Table {queries} has a column {field.name!r} already; rename it first.")
        schema = schema.append(field)

    rows = unclassified = 0
    with progress("classifying", count_rows(queries)) as advance, TableWriter(output, schema) as writer:
        for batch in iter_batches(queries):
            part = pa.Table.from_batches([batch])
            texts = part[query_column].cast(pa.string()).to_pylist()
            blank = [place for place, text in enumerate(texts) if text is None or not text.strip()]
            if blank and strict:
                raise DataError(
                    f"Row {rows + blank[0]} of {queries} has a null or blank {query_column!r}; "
                    "fill it in or leave out --strict."
                )
            for field, column in zip(added, _interest_columns(loaded, frozen, texts), strict=True):
                part = part.append_column(field, column)
            writer.write(part)
            rows += len(texts)
            unclassified += len(blank)
            advance(len(texts))
    shown = [f"{rows:,} rows"]
    if unclassified:
        shown.append(f"{unclassified:,} rows have a null or blank query; their interests are null.")
    summary = {"rows": rows, "unclassified": unclassified, "output": str(output)}
    report(summary, as_json, [*shown, f"Wrote {output}"])


def _interest_columns(classifier: Any, encoder: Any, texts: list[str | None]) -> list["pa.Array"]:
    """Interest and probability of each level for each text; null beyond the end of a path and for blank texts."""
    import pyarrow as pa

    distinct = list(dict.fromkeys(text for text in texts if text is not None and text.strip()))
    levels = len(classifier.levels_)
    found: dict[str, list[tuple[str, float]]] = {}
    if distinct:
        embeddings = encoder.encode_queries(distinct)
        paths = classifier.predict(embeddings)
        probabilities = [classifier.predict_proba(embeddings, level) for level in range(levels)]
        place = [{path: column for column, path in enumerate(classifier.classes_at(level))} for level in range(levels)]
        for row, (text, path) in enumerate(zip(distinct, paths, strict=True)):
            found[text] = [
                (name, float(probabilities[level][row, place[level][path[: level + 1]]]))
                for level, name in enumerate(path)
            ]
    columns = []
    for level in range(levels):
        cells = [found[text][level] if text in found and len(found[text]) > level else None for text in texts]
        columns.append(pa.array([None if cell is None else cell[0] for cell in cells], pa.string()))
        columns.append(pa.array([None if cell is None else cell[1] for cell in cells], pa.float64()))
    return columns


def _check_free(output: Path, overwrite: bool) -> None:
    """Refuse an output that exists, before any work is done."""
    from omnifeat.errors import OutputError

    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists already; choose another place, or replace it with --overwrite.")
