"""`omnifeat rank`: lexical features, and LightGBM rankers over tables of features."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, progress, report, result_table

if TYPE_CHECKING:
    import pyarrow as pa

app = typer.Typer(help="Train, apply and cross-validate LightGBM rankers.", no_args_is_help=True, rich_markup_mode=None)

TableArgument = Annotated[str, typer.Argument(help="Table of pairs with features: Parquet, CSV, JSONL or Arrow.")]
LabelOption = Annotated[str, typer.Option("--label", help="Column of grades: whole numbers, higher is better.")]
QueryOption = Annotated[str, typer.Option("--query-column", help="Column of the query of each row.")]
TreesOption = Annotated[int, typer.Option("--trees", min=1, help="Trees at most.")]
LearningRateOption = Annotated[float, typer.Option("--learning-rate", help="Weight of each tree.")]
LeavesOption = Annotated[int, typer.Option("--leaves", min=2, help="Leaves of a tree at most.")]
IncreasingOption = Annotated[
    str | None,
    typer.Option("--increasing", help="Features with which a score never falls, with commas and * as wanted."),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of all that is drawn.")]

# Columns of pairs that name things rather than describe them.
_IDS = ("query", "entity_id", "entity_type")


@app.command()
def features(
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

    _check_free(output, overwrite)
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
    _write(output, result)
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


@app.command()
def train(
    table: TableArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the ranker.")],
    label: LabelOption = "grade",
    query_column: QueryOption = "query",
    features: Annotated[
        str | None,
        typer.Option("--features", help="Columns to use, with commas between; all numeric ones if not given."),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", help="Column not to use; repeat for more, or put commas between.")
    ] = None,
    development: Annotated[
        str | None,
        typer.Option("--development", help="Table of queries for early stopping, not in the training table."),
    ] = None,
    trees: TreesOption = 300,
    learning_rate: LearningRateOption = 0.05,
    leaves: LeavesOption = 15,
    increasing: IncreasingOption = None,
    seed: SeedOption = 0,
    encoder_fingerprint: Annotated[
        str | None,
        typer.Option(
            "--encoder-fingerprint", help="Encoder of the features, where the table does not carry it (CSV, JSONL)."
        ),
    ] = None,
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a LambdaRank ranker and write it as a folder, with a picture of what its features are worth."""
    from omnifeat.data.files import read_table, replace_when_whole
    from ranking.features import choose_features, select_features
    from ranking.pictures import save_importances
    from ranking.ranker import LambdaRanker

    _check_free(output, overwrite)
    rows = read_table(table)
    excluded = [name for item in exclude or [] for name in item.split(",")]
    with _named(table):
        _require(rows, label, query_column)
        reserved = (label, query_column, *_IDS)
        names = choose_features(
            rows, features=features.split(",") if features else None, exclude=excluded, reserved=reserved
        )
        ranker = LambdaRanker(
            n_estimators=trees,
            learning_rate=learning_rate,
            num_leaves=leaves,
            monotonic_cst=_rising(increasing, names),
            seed=seed,
            threads=threads,
            encoder_fingerprint=encoder_fingerprint,
        )
        evaluation: dict[str, Any] = {}
        if development is not None:
            held_out = read_table(development)
            with _named(development):
                _require(held_out, label, query_column)
                evaluation = {
                    "eval_X": select_features(held_out, names),
                    "eval_y": held_out[label],
                    "eval_query_ids": held_out[query_column],
                }
        ranker.fit(select_features(rows, names), rows[label], query_ids=rows[query_column], **evaluation)
    importances: dict[str, float] = dict(zip(names, ranker.feature_importances_.tolist(), strict=True))
    with replace_when_whole(output) as folder:
        ranker.save(folder)
        save_importances(folder / "importance.png", importances)
    summary = {
        "rows": rows.num_rows,
        "queries": ranker.queries_,
        "queries_without_positive": ranker.queries_without_positive_,
        "trees": ranker.best_iteration_,
        "best_score": ranker.best_score_,
        "importances": importances,
        "encoder_fingerprint": ranker.encoder_fingerprint_,
        "output": str(output),
    }
    shown: list[Any] = [
        f"{rows.num_rows:,} rows, {ranker.queries_:,} queries "
        f"({ranker.queries_without_positive_:,} without a positive, which teach nothing)",
        f"{ranker.best_iteration_} trees"
        + (f", development NDCG@{ranker.eval_at} {ranker.best_score_:.4f}" if ranker.best_score_ is not None else ""),
        result_table(
            ("feature", "gain"),
            [(name, importances[name]) for name in sorted(names, key=lambda name: -importances[name])],
        ),
        f"Wrote {output}: model.txt, manifest.json, importance.png",
    ]
    report(summary, as_json, shown)


@app.command()
def predict(
    table: TableArgument,
    ranker: Annotated[Path, typer.Option("--ranker", "-r", help="Folder of the ranker.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Table to write.")],
    score_column: Annotated[str, typer.Option("--score-column", help="Name of the new column.")] = "score",
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Add the ranker's score to each row; all columns and the order of rows are kept."""
    import pyarrow as pa

    from omnifeat.data.files import TableWriter, count_rows, iter_batches, read_schema
    from omnifeat.errors import SettingError
    from ranking.features import FINGERPRINT_KEY, select_features
    from ranking.ranker import LambdaRanker

    _check_free(output, overwrite)
    loaded = LambdaRanker.load(ranker)
    loaded.set_params(threads=threads)
    schema = read_schema(table)
    if score_column in schema.names:
        raise SettingError(f"Table {table} has a column {score_column!r} already; choose another --score-column.")
    stored = (schema.metadata or {}).get(FINGERPRINT_KEY.encode())
    fingerprint = stored.decode() if stored else None
    names = loaded.manifest_.names
    rows = 0
    with (
        _named(table),
        progress("scoring", count_rows(table)) as advance,
        TableWriter(output, schema.append(pa.field(score_column, pa.float64()))) as writer,
    ):
        for batch in iter_batches(table):
            part = pa.Table.from_batches([batch])
            scores = loaded.predict(select_features(part, names), encoder_fingerprint=fingerprint)
            scored = part.append_column(score_column, pa.array(scores))
            writer.write(scored)
            rows += part.num_rows
            advance(part.num_rows)
    report({"rows": rows, "output": str(output)}, as_json, [f"{rows:,} rows scored", f"Wrote {output}"])


@app.command("cross-validate")
def cross_validate(
    table: TableArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for scores, figures and pictures.")],
    feature_set: Annotated[
        list[str],
        typer.Option(
            "--feature-set", help="NAME=COLUMN,COLUMN,... with * in columns; repeat. The first is the reference."
        ),
    ],
    label: LabelOption = "grade",
    query_column: QueryOption = "query",
    id_column: Annotated[str, typer.Option("--id-column", help="Column of the entity's id.")] = "entity_id",
    folds: Annotated[int, typer.Option("--folds", min=2, help="Parts that the queries are cut into.")] = 5,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="Repetitions to average, each with folds of its own.")
    ] = 1,
    seed: SeedOption = 0,
    trees: TreesOption = 300,
    learning_rate: LearningRateOption = 0.05,
    leaves: LeavesOption = 15,
    increasing: IncreasingOption = None,
    gain: Annotated[str, typer.Option("--gain", help="Gain of a grade in NDCG: linear or exponential.")] = "linear",
    resamples: Annotated[int, typer.Option("--resamples", min=0, help="Bootstrap resamples of the queries.")] = 1000,
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare sets of features: NDCG@10 of rankers that never saw the query, with intervals and paired differences."""
    import json

    import numpy as np
    import pandas as pd

    from evaluation.bootstrap import cluster_intervals, paired_differences
    from evaluation.judged import judged_figures
    from evaluation.plots import BarPanel, save_bars
    from omnifeat.data.files import read_table, replace_when_whole
    from ranking.cross_validation import cross_validate as run_folds
    from ranking.features import expand_feature_sets
    from ranking.pictures import save_importances
    from ranking.ranker import LambdaRanker

    _check_free(output, overwrite)
    rows = read_table(table)
    with _named(table):
        _require(rows, label, query_column, id_column)
        sets = expand_feature_sets(feature_set, rows.column_names)
        ranker = LambdaRanker(
            n_estimators=trees,
            learning_rate=learning_rate,
            num_leaves=leaves,
            monotonic_cst=_rising(increasing, [name for names in sets.values() for name in names]),
            threads=threads,
        )
        with progress("training rankers", folds * seeds * len(sets)) as advance:
            result = run_folds(
                rows,
                rows[label],
                rows[query_column],
                sets,
                folds=folds,
                seeds=range(seed, seed + seeds),
                ranker=ranker,
                advance=advance,
            )
        judged = pd.DataFrame(
            {
                "query": rows[query_column].to_numpy(),
                "entity_id": rows[id_column].to_numpy(),
                "grade": rows[label].to_numpy(),
            }
        )
        scored = judged.assign(**result.scores)
        figures = [judged_figures(judged, scored, name, ("nDCG@10",), gain=gain) for name in sets]
    values_QS = np.column_stack([figure.values[:, 0] for figure in figures])
    ones = np.ones(len(values_QS))
    intervals = cluster_intervals(values_QS, ones, resamples=resamples, seed=seed)
    differences = paired_differences(values_QS, ones, 0, resamples=resamples, seed=seed)

    names = list(sets)
    summary: dict[str, Any] = {
        "table": table,
        "rows": rows.num_rows,
        "queries": figures[0].values.shape[0],
        "queries_without_positive": figures[0].queries_without_positive,
        "folds": folds,
        "seeds": list(range(seed, seed + seeds)),
        "gain": gain,
        "resamples": resamples,
        "reference": names[0],
        "feature_sets": {
            name: {
                "features": sets[name],
                "ndcg@10": _numbers(interval),
                "difference": _numbers(difference),
                "importances": dict(zip(sets[name], result.importances[name].tolist(), strict=True)),
            }
            for name, interval, difference in zip(names, intervals, differences, strict=True)
        },
        "output": str(output),
    }
    with replace_when_whole(output) as folder:
        folder.mkdir(parents=True, exist_ok=True)
        _write(
            folder / "out_of_fold.parquet", _with_scores(rows.select([query_column, id_column, label]), result.scores)
        )
        (folder / "results.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        save_bars(
            folder / "ndcg.png",
            names,
            [BarPanel("all queries", tuple(intervals))],
            title=f"NDCG@10 of rankers by feature set, {folds}-fold by query",
            label="NDCG@10, percent, with 95% bootstrap intervals",
            highlight=names[-1],
        )
        save_importances(folder / "importance.png", summary["feature_sets"][names[-1]]["importances"])
    shown = result_table(
        ("feature set", "features", "NDCG@10", "95% interval", f"against {names[0]}"),
        [
            (
                name,
                len(sets[name]),
                interval.value,
                f"{interval.low:.4f} to {interval.high:.4f}",
                ""
                if name == names[0]
                else f"{difference.value:+.4f} ({difference.low:+.4f} to {difference.high:+.4f})",
            )
            for name, interval, difference in zip(names, intervals, differences, strict=True)
        ],
    )
    without = figures[0].queries_without_positive
    lines: list[Any] = [
        f"{rows.num_rows:,} rows, {len(values_QS):,} queries with a positive ({without:,} without one left out), "
        f"{folds} folds, {seeds} seed{'s' if seeds > 1 else ''}",
        shown,
        f"Wrote {output}: results.json, out_of_fold.parquet, ndcg.png, importance.png (of {names[-1]})",
    ]
    report(summary, as_json, lines)


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


def _with_scores(rows: "pa.Table", scores: dict[str, Any]) -> "pa.Table":
    import pyarrow as pa

    for name, of_set in scores.items():
        rows = rows.append_column(f"score_{name}", pa.array(of_set))
    return rows


def _write(path: Path, table: "pa.Table") -> None:
    from omnifeat.data.files import TableWriter

    with TableWriter(path, table.schema) as writer:
        writer.write(table)


def _numbers(interval: Any) -> dict[str, float]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def _require(table: "pa.Table", *columns: str) -> None:
    from omnifeat.errors import DataError

    for column in columns:
        if column not in table.column_names:
            raise DataError(f"Column {column!r} is not there; the columns are {', '.join(table.column_names)}.")


def _check_free(output: Path, overwrite: bool) -> None:
    """Refuse an output that exists, before any work is done."""
    from omnifeat.errors import OutputError

    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists already; choose another place, or replace it with --overwrite.")


@contextmanager
def _named(table: str) -> Iterator[None]:
    """Put the table's name before what is wrong with its content."""
    from omnifeat.errors import DataError

    try:
        yield
    except DataError as error:
        message = str(error)
        raise DataError(message if table in message else f"Table {table}: {message}") from error


def _rising(increasing: str | None, features: list[str]) -> dict[str, int] | None:
    """`monotonic_cst` of the features that `--increasing` names."""
    from ranking.features import expand_columns

    if increasing is None:
        return None
    named = [part.strip() for part in increasing.split(",") if part.strip()]
    return dict.fromkeys(expand_columns(named, list(dict.fromkeys(features)), "--increasing"), 1)
