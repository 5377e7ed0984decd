"""`omnifeat rank evaluate`: the figures of a model on a table, with intervals over queries."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omnifeat.commands.console import (
    JsonOption,
    OverwriteOption,
    ThreadsOption,
    check_free,
    report,
    result_table,
    warn,
)
from omnifeat.commands.rank_common import (
    QueryOption,
    SeedOption,
    TableArgument,
    named_table,
    numbers,
    require_columns,
    write_table,
)
from omnifeat.commands.rank_stages import (
    PositionOption,
    StageLabelOption,
    StageOption,
    TeacherOption,
    labels_of,
    rows_of_type,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from evaluation.seen_pairs import Knowledge
    from ranking.stage import Evaluation

_EXPLAINED = 2000  # rows at most that SHAP values are computed of


def main(
    table: TableArgument,
    model: Annotated[Path, typer.Option("--model", "--ranker", "-r", help="Folder of the model.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for figures and pictures; only printed if not given.")
    ] = None,
    stage: StageOption = None,
    label: StageLabelOption = None,
    query_column: QueryOption = "query",
    position_column: PositionOption = None,
    teacher: TeacherOption = None,
    k: Annotated[int, typer.Option("--k", min=1, help="Cut-off of figures.")] = 10,
    top: Annotated[int, typer.Option("--top", min=1, help="Of l1: how many of the reference's first to keep.")] = 10,
    within: Annotated[str, typer.Option("--within", help="Of l1: how many it lets through, with commas.")] = "50,100",
    bootstrap: Annotated[int, typer.Option("--bootstrap", min=0, help="Resamples of the queries.")] = 1000,
    seed: SeedOption = 0,
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a model; with an output also figures of each query, importances and SHAP values as pictures."""
    import json
    import time

    import numpy as np
    import pyarrow as pa

    from evaluation.seen_pairs import known_by_columns, what_columns_tell
    from omnifeat.data.files import read_table, replace_when_whole
    from omnifeat.errors import SettingError
    from ranking.features import select_features
    from ranking.pictures import save_importances
    from ranking.stage import MeasureSettings
    from ranking.stages import load_for_stage, stage_of_kind

    if output is not None:
        check_free(output, overwrite, "results.json")
    loaded: Any = load_for_stage(model, stage)
    loaded.set_params(threads=threads)
    chosen = stage_of_kind(loaded.kind)
    if teacher is not None and not chosen.teacher:
        raise SettingError(f"--teacher goes with models that keep up with another, not with kind {loaded.kind!r}.")
    try:
        lets_through = tuple(int(part) for part in within.split(","))
    except ValueError:
        raise SettingError(f"--within must be whole numbers with commas between; got {within!r}.") from None
    if position_column is not None and not chosen.as_shown:
        raise SettingError(
            f"A model of kind {loaded.kind!r} scores rows wherever they were shown; leave --position-column out."
        )
    rows = read_table(table, by_name="keys")
    learned = _learned_from(table, loaded.tables_)
    with named_table(table):
        rows, other_types = rows_of_type(rows, chosen)
        require_columns(rows, query_column, *([] if position_column is None else [position_column]))
        labels = labels_of(rows, chosen, label, teacher, threads)
        features = select_features(rows, loaded.manifest_.names)
        shown = {} if position_column is None else {"positions": rows[position_column]}
        scores = loaded.predict(features, **shown)
        known = known_by_columns(rows, loaded.manifest_.names)

        def measured(members: Any = None) -> "Evaluation":
            """Figures of the rows that are members, or of all."""
            some, of_rows, queries = labels, scores, rows[query_column]
            if members is not None:
                some = some[members] if isinstance(some, np.ndarray) else some.filter(pa.array(members))
                of_rows, queries = of_rows[members], queries.filter(pa.array(members))
            return chosen.measure(loaded, some, of_rows, queries, MeasureSettings(k, top, lets_through))

        found = measured()
        new = {name: (members, measured(members)) for name, members in _of_new(known).items() if members.any()}
    summary: dict[str, Any] = {
        "table": table,
        "kind": loaded.kind,
        "rows": rows.num_rows,
        "figures": _intervals(found, bootstrap, seed),
        "totals": found.totals,
        "counts": found.counts,
        "trained_on": None if known is None else known.counts,
        "learned_from_this_table": learned,
        "new": {
            name: {
                "rows": int(members.sum()),
                "figures": _intervals(some, bootstrap, seed),
                "totals": some.totals,
                "counts": some.counts,
            }
            for name, (members, some) in new.items()
        },
        "resamples": bootstrap,
        "encoder_fingerprint": loaded.encoder_fingerprint_,
    }
    if other_types:
        summary["rows_of_other_types"] = other_types
    if output is not None:
        with replace_when_whole(output, overwrite=overwrite) as folder:
            folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
            (folder / "results.json").write_text(text, encoding="utf-8")
            if found.per_query:
                write_table(folder / "per_query.parquet", _per_query(found, query_column))
            importances = dict(zip(loaded.manifest_.names, loaded.feature_importances_.tolist(), strict=True))
            save_importances(folder / "importance.png", importances)
            pictures = ["importance.png", *_explained(folder, loaded, features)]
            if chosen.pictures is not None:
                pictures += chosen.pictures(folder, labels, scores)
        summary["output"] = str(output)
    if chosen.kind == "l1":  # a speed differs from run to run, and stands in no file
        loaded.set_params(threads=1)
        start = time.perf_counter()
        loaded.predict(features)
        summary["candidates_per_second_per_core"] = rows.num_rows / (time.perf_counter() - start)
    if learned is not None:
        warn(
            f"{table} is the {learned} table of the model: the figures tell what it knows by heart, not how it ranks "
            "other queries; measure it on a table that it has not seen"
        )
    lines = [*_lines(summary), what_columns_tell(known, rows.schema.metadata)]
    for name, some in summary["new"].items():
        lines += [f"of {name} alone:", *_lines(some)]
    if output is not None:
        lines.append(f"Wrote {output}: results.json, {', '.join(pictures)}")
    report(summary, as_json, lines)


def _learned_from(table: str, tables: dict[str, str]) -> str | None:
    """`training` or `development` where the model learned from a file of this content."""
    from omnifeat.data.identity import content_of_path

    if not tables:
        return None
    content = content_of_path(table)
    return next((name for name, of_table in tables.items() if of_table == content), None)


def _of_new(known: "Knowledge | None") -> "dict[str, npt.NDArray[np.bool_]]":
    # figures for new pairs would be those of an encoder that cannot tell
    return {} if known is None or known.silent else known.new


def _intervals(found: "Evaluation", resamples: int, seed: int) -> dict[str, Any]:
    """Means over the queries that a figure says something of, with their intervals."""
    import numpy as np

    from evaluation.bootstrap import cluster_intervals

    intervals = {}
    for name, values in found.per_query.items():
        known = values[~np.isnan(values)]
        if len(known):
            ones = np.ones(len(known))
            interval = cluster_intervals(known[:, None], ones, resamples=resamples, seed=seed)[0]
            intervals[name] = {**numbers(interval), "queries": len(known)}
    return intervals


def _lines(summary: dict[str, Any]) -> list[Any]:
    """What there is to say of the figures."""
    lines: list[Any] = [
        f"{summary['rows']:,} rows" + "".join(f", {count:,} {name}" for name, count in summary["counts"].items()),
    ]
    if "rows_of_other_types" in summary:
        lines.append(f"left out: {summary['rows_of_other_types']:,} rows that are no products")
    if summary["figures"]:
        cells = [
            (name, item["value"], f"{item['low']:.4f} to {item['high']:.4f}", item["queries"])
            for name, item in summary["figures"].items()
        ]
        lines.append(result_table(("figure", "value", "95% interval", "queries"), cells))
    if summary["totals"]:
        lines.append(result_table(("of the whole table", "value"), list(summary["totals"].items())))
    if "candidates_per_second_per_core" in summary:
        lines.append(f"{summary['candidates_per_second_per_core']:,.0f} candidates a second on one core")
    return lines


def _per_query(found: "Evaluation", query_column: str) -> Any:
    """Figures by query as a table; null where one says nothing."""
    import pyarrow as pa

    columns = {query_column: pa.array(found.queries.tolist())}
    for name, values in found.per_query.items():
        columns[name] = pa.array(values, from_pandas=True)
    return pa.table(columns)


def _explained(folder: Path, model: Any, features: Any) -> list[str]:
    """SHAP pictures of each booster with one output, on rows spread evenly over the table; their names."""
    import numpy as np

    from omnifeat.errors import SettingError
    from ranking.explain import explain, save_shap

    rows = np.unique(np.linspace(0, features.num_rows - 1, min(_EXPLAINED, features.num_rows)).astype(int))
    names = []
    for booster in model.boosters_:
        try:
            explanation = explain(model, features.take(rows), booster=booster)
        except SettingError:  # several outputs a row
            continue
        name = f"shap-{booster}.png" if booster else "shap.png"
        title = f"What moves the score of {booster}" if booster else "What moves the model's score"
        save_shap(folder / name, explanation, title=title)
        names.append(name)
    return names
