"""`omnifeat rank train`: a model of a stage of ranking from a table of features."""

from pathlib import Path
from typing import Annotated, Any

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, check_free, report, result_table
from omnifeat.commands.rank_common import (
    IncreasingOption,
    QueryOption,
    SeedOption,
    TableArgument,
    named_table,
)
from omnifeat.commands.rank_stages import (
    ExcludeOption,
    FeaturesOption,
    GainsOption,
    PositionOption,
    SetOption,
    SplitOption,
    StageLabelOption,
    StageOption,
    TeacherOption,
    ValidationOption,
    build_model,
    fit_columns,
    fit_data,
    rows_of_type,
)


def main(
    table: TableArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the model.")],
    stage: StageOption = None,
    label: StageLabelOption = None,
    query_column: QueryOption = "query",
    features: FeaturesOption = None,
    exclude: ExcludeOption = None,
    development: Annotated[
        str | None,
        typer.Option("--development", help="Table of queries for early stopping, not in the training table."),
    ] = None,
    validation_fraction: ValidationOption = None,
    split_column: SplitOption = None,
    position_column: PositionOption = None,
    teacher: TeacherOption = None,
    gains: GainsOption = None,
    trees: Annotated[int | None, typer.Option("--trees", min=1, help="Trees at most; l1 20, others 300.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", help="Weight of each tree.")] = None,
    leaves: Annotated[int | None, typer.Option("--leaves", min=2, help="Leaves of a tree at most.")] = None,
    increasing: IncreasingOption = None,
    settings: SetOption = None,
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
    """Train a model and write it as a folder, with a picture of what its features are worth."""
    from evaluation.seen_pairs import known_by_columns, what_columns_tell
    from omnifeat.data.files import read_table, replace_when_whole
    from omnifeat.data.identity import content_of_path
    from ranking.pictures import save_importances
    from ranking.stages import stage_named

    chosen = stage_named(stage)
    check_free(output, overwrite, "manifest.json")
    rows = read_table(table, by_name="keys")
    columns: dict[str, Any] = {
        "label": label,
        "query_column": query_column,
        "position_column": position_column,
        "split_column": split_column,
        "teacher": teacher,
    }
    with named_table(table):
        rows, other_types = rows_of_type(rows, chosen)
        names = fit_columns(rows, chosen, features=features, exclude=exclude, **columns)
    model: Any = build_model(
        chosen,
        settings=settings,
        gains=gains,
        increasing=increasing,
        features=names,
        n_estimators=trees,
        learning_rate=learning_rate,
        num_leaves=leaves,
        validation_fraction=validation_fraction,
        seed=seed,
        threads=threads,
        encoder_fingerprint=encoder_fingerprint,
    )
    with named_table(table):
        known = known_by_columns(rows, names)
    data = fit_data(table, rows, chosen, names, development=development, threads=threads, **columns)
    with named_table(table):
        chosen.fit(model, data)
    used: list[str] = list(model.manifest_.names)
    importances: dict[str, float] = dict(zip(used, model.feature_importances_.tolist(), strict=True))
    model.tables_ = {"training": content_of_path(table)}
    if development is not None:
        model.tables_["development"] = content_of_path(development)
    with replace_when_whole(output, overwrite=overwrite) as folder:
        model.save(folder)
        save_importances(folder / "importance.png", importances)
    summary: dict[str, Any] = {
        "stage": stage,
        "kind": model.kind,
        "rows": rows.num_rows,
        "queries": getattr(model, "queries_", None),
        "queries_without_positive": getattr(model, "queries_without_positive_", None),
        "trees": getattr(model, "best_iteration_", None),
        "best_score": getattr(model, "best_score_", None),
        "importances": importances,
        "encoder_fingerprint": model.encoder_fingerprint_,
        "trained_on": None if known is None else known.counts,
        "output": str(output),
    }
    if other_types:
        summary["rows_of_other_types"] = other_types
    for name in (
        *("cost_", "left_out_", "actions_", "actions_left_out_", "eval_queries_without_positive_"),
        *("classes_", "base_rate_", "uses_position_", "trees_", "held_out_rows_", "held_out_queries_"),
    ):
        if hasattr(model, name):
            summary[name.rstrip("_")] = getattr(model, name)
    of_encoder = known is not None or any(name.endswith("cosine") for name in names)
    told = [what_columns_tell(known, rows.schema.metadata)] if of_encoder else []
    report(
        summary,
        as_json,
        [*_lines(model, summary), *told, _gains(importances), f"Wrote {output}: a model and its picture"],
    )


def _lines(model: Any, summary: dict[str, Any]) -> list[str]:
    """What there is to say of this kind of model."""
    lines = [f"{summary['rows']:,} rows"]
    if summary["queries"] is not None and "held_out_rows" not in summary:
        lines[0] += f", {summary['queries']:,} queries"
    if summary["queries_without_positive"] is not None:
        lines[0] += f" ({summary['queries_without_positive']:,} without a positive, which teach no order)"
    if summary["trees"] is not None and "held_out_rows" not in summary:
        best = summary["best_score"]
        shown = f", held-out NDCG@{model.eval_at} {best:.4f}" if best is not None and hasattr(model, "eval_at") else ""
        lines.append(f"{summary['trees']} trees{shown}")
    if "rows_of_other_types" in summary:
        lines.append(f"left out: {summary['rows_of_other_types']:,} rows that are no products")
    if "trees" in summary and "held_out_rows" in summary:
        trees = summary["trees"] if isinstance(summary["trees"], list) else [summary["trees"]]
        lines.append(
            f"{' + '.join(map(str, trees))} trees, grown on {model.rows_:,} rows of {model.queries_:,} queries"
        )
        lines.append(
            f"calibrated on {summary['held_out_rows']:,} rows of {summary['held_out_queries']:,} queries held out"
        )
    if "classes" in summary:
        lines.append(f"grades: {', '.join(map(str, summary['classes']))}")
    if "base_rate" in summary:
        lines.append(
            f"{summary['base_rate']:.2%} of the rows with a long click; "
            + ("debiased by position" if summary["uses_position"] else "positions not known")
        )
    if summary.get("actions"):
        lines.append("actions: " + ", ".join(f"{count:,} {action}" for action, count in summary["actions"].items()))
    if summary.get("actions_left_out"):
        lines.append(f"no booster for {', '.join(summary['actions_left_out'])}: no row to learn from")
    if "cost" in summary:
        cost = summary["cost"]
        lines.append(
            f"cost of a candidate: {cost['total']:.1f} ({cost['node_visits']:.1f} visits to nodes, features "
            f"{cost['features']:g})"
        )
    if summary.get("left_out"):
        lines.append(f"features left out: {', '.join(summary['left_out'])}")
    return lines


def _gains(importances: dict[str, float]) -> Any:
    ordered = sorted(importances, key=lambda name: -importances[name])
    return result_table(("feature", "gain"), [(name, importances[name]) for name in ordered])
