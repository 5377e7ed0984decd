"""`omnifeat rank train`: a LightGBM ranker from a table of features."""

from pathlib import Path
from typing import Annotated, Any

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, report, result_table
from omnifeat.commands.rank_common import (
    IDS,
    IncreasingOption,
    LabelOption,
    LearningRateOption,
    LeavesOption,
    QueryOption,
    SeedOption,
    TableArgument,
    TreesOption,
    check_free,
    named_table,
    require_columns,
    rising,
)


def main(
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

    check_free(output, overwrite)
    rows = read_table(table)
    excluded = [name for item in exclude or [] for name in item.split(",")]
    with named_table(table):
        require_columns(rows, label, query_column)
        reserved = (label, query_column, *IDS)
        names = choose_features(
            rows, features=features.split(",") if features else None, exclude=excluded, reserved=reserved
        )
        ranker = LambdaRanker(
            n_estimators=trees,
            learning_rate=learning_rate,
            num_leaves=leaves,
            monotonic_cst=rising(increasing, names),
            seed=seed,
            threads=threads,
            encoder_fingerprint=encoder_fingerprint,
        )
        evaluation: dict[str, Any] = {}
        if development is not None:
            held_out = read_table(development)
            with named_table(development):
                require_columns(held_out, label, query_column)
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
