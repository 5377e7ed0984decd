"""`omnifeat rank cross-validate`: sets of features compared by rankers that never saw the query."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from omnifeat.commands.console import (
    JsonOption,
    OverwriteOption,
    ThreadsOption,
    check_free,
    progress,
    report,
    result_table,
)
from omnifeat.commands.rank_common import (
    IncreasingOption,
    LabelOption,
    LearningRateOption,
    LeavesOption,
    QueryOption,
    SeedOption,
    TableArgument,
    TreesOption,
    named_table,
    numbers,
    require_columns,
    rising,
    write_table,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from evaluation.bootstrap import Interval


def main(
    table: TableArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for scores, figures and pictures.")],
    feature_set: Annotated[
        list[str],
        typer.Option(
            "--feature-set", help="NAME=COLUMN,COLUMN,... with * in columns; repeat. The first is the reference."
        ),
    ],
    stage: Annotated[
        Literal["relevance"] | None,
        typer.Option("--stage", help="relevance for the model of grades; the plain ranker if not given."),
    ] = None,
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

    import pandas as pd

    from evaluation.bootstrap import Interval
    from evaluation.judged_means import MeansSettings, judged_means, new_means
    from evaluation.plots import BarPanel, save_bars
    from evaluation.reports import new_rows
    from evaluation.seen_pairs import known_by_columns, what_columns_tell
    from evaluation.tables import text_table
    from omnifeat.data.files import read_table, replace_when_whole
    from omnifeat.errors import SettingError
    from omnifeat.feature_columns import is_trained_on
    from ranking.cross_validation import cross_validate as run_folds
    from ranking.features import expand_feature_sets
    from ranking.pictures import save_importances
    from ranking.ranker import LambdaRanker
    from ranking.relevance import RelevanceModel

    check_free(output, overwrite, "results.json")
    rows = read_table(table, by_name="keys")
    with named_table(table):
        require_columns(rows, label, query_column, id_column)
        sets = expand_feature_sets(feature_set, rows.column_names)
        taken = next((n for names in sets.values() for n in names if n in (label, query_column, id_column)), None)
        if taken is not None:
            raise SettingError(f"Column {taken!r} holds the label, the query or an id, and cannot be a feature.")
        known = known_by_columns(rows, [name for names in sets.values() for name in names])
        ranker = (RelevanceModel if stage == "relevance" else LambdaRanker)(
            n_estimators=trees,
            learning_rate=learning_rate,
            num_leaves=leaves,
            monotonic_cst=rising(increasing, [name for names in sets.values() for name in names]),
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
        names = list(sets)
        settings = MeansSettings(gain=gain, resamples=resamples, seed=seed)
        means = judged_means(judged, scored, names, names[0], settings)
        # figures for new pairs would be those of an encoder that cannot tell
        new = (
            {} if known is None or known.silent else new_means(judged, known, scored, known, names, names[0], settings)
        )
    figures = means.figures[names[0]]
    intervals = [means.intervals[name]["nDCG@10"] for name in names]
    summary: dict[str, Any] = {
        "table": table,
        "stage": stage,
        "rows": rows.num_rows,
        "queries": len(figures.queries),
        "queries_without_positive": figures.queries_without_positive,
        "folds": folds,
        "seeds": list(range(seed, seed + seeds)),
        "gain": gain,
        "resamples": resamples,
        "reference": names[0],
        "feature_sets": {
            name: {
                "features": sets[name],
                "ndcg@10": numbers(interval),
                "difference": numbers(means.differences[name] or Interval(0.0, 0.0, 0.0)),
                "importances": dict(zip(sets[name], result.importances[name].tolist(), strict=True)),
            }
            for name, interval in zip(names, intervals, strict=True)
        },
        "trained_on": None if known is None else known.counts,
        "new": {name: group.as_json() for name, group in new.items()},
        "output": str(output),
    }
    told = [name for name in rows.column_names if is_trained_on(name)]
    with replace_when_whole(output, overwrite=overwrite) as folder:
        folder.mkdir(parents=True, exist_ok=True)
        write_table(
            folder / "out_of_fold.parquet",
            _with_scores(rows.select([query_column, id_column, label, *told]), result.scores),
        )
        (folder / "results.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        save_bars(
            folder / "ndcg.png",
            names,
            [
                BarPanel("all pairs", tuple(intervals)),
                *(BarPanel(of, tuple(group.intervals.values())) for of, group in new.items() if group.queries),
            ],
            title=f"NDCG@10 of {'relevance models' if stage else 'rankers'} by feature set, {folds}-fold by query",
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
                _difference(means.differences[name]),
            )
            for name, interval in zip(names, intervals, strict=True)
        ],
    )
    without = figures.queries_without_positive
    lines: list[Any] = [
        f"{rows.num_rows:,} rows, {len(figures.queries):,} queries with a positive ({without:,} without one left out), "
        f"{folds} folds, {seeds} seed{'s' if seeds > 1 else ''}",
        shown,
        what_columns_tell(known, rows.schema.metadata),
        *([text_table(*new_rows(len(figures.queries), new, "NDCG@10", 4, 1.0))] if new else []),
        f"Wrote {output}: results.json, out_of_fold.parquet, ndcg.png, importance.png (of {names[-1]})",
    ]
    report(summary, as_json, lines)


def _difference(difference: "Interval | None") -> str:
    if difference is None:
        return ""
    return f"{difference.value:+.4f} ({difference.low:+.4f} to {difference.high:+.4f})"


def _with_scores(rows: "pa.Table", scores: dict[str, Any]) -> "pa.Table":
    import pyarrow as pa

    for name, of_set in scores.items():
        rows = rows.append_column(f"score_{name}", pa.array(of_set))
    return rows
