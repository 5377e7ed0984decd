"""`omnifeat rank tune`: settings of a ranker by a search within a budget."""

from pathlib import Path
from typing import Annotated, Any

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
    QueryOption,
    SeedOption,
    TableArgument,
    named_table,
    write_table,
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
)


def main(
    table: TableArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the best model, with all trials.")],
    stage: StageOption = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Settings to try at most.")] = 50,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="No new trial begins after so many minutes.")
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option("--search", help="NAME=LOW:HIGH of a setting to search, NAME=LOW:HIGH:log; repeat."),
    ] = None,
    judged_fraction: Annotated[
        float, typer.Option("--judged-fraction", help="Share of the queries that judge the trials.")
    ] = 0.3,
    label: StageLabelOption = None,
    query_column: QueryOption = "query",
    features: FeaturesOption = None,
    exclude: ExcludeOption = None,
    validation_fraction: ValidationOption = None,
    split_column: SplitOption = None,
    position_column: PositionOption = None,
    teacher: TeacherOption = None,
    gains: GainsOption = None,
    increasing: IncreasingOption = None,
    settings: SetOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Search for the settings that rank held-out queries best, and train with them on all rows."""
    import json

    import pyarrow as pa

    from omnifeat.data.files import read_table, replace_when_whole
    from omnifeat.data.identity import content_of_path
    from omnifeat.errors import SettingError
    from ranking.pictures import save_importances
    from ranking.ranker import LambdaRanker
    from ranking.stages import stage_named
    from ranking.tuning import tune

    chosen = stage_named(stage)
    check_free(output, overwrite, "manifest.json")
    space = _space(search)
    rows = read_table(table, by_name="keys")
    columns: dict[str, Any] = {
        "label": label,
        "query_column": query_column,
        "position_column": position_column,
        "split_column": split_column,
        "teacher": teacher,
    }
    with named_table(table):
        names = fit_columns(rows, chosen, features=features, exclude=exclude, **columns)
    model = build_model(
        chosen,
        settings=settings,
        gains=gains,
        increasing=increasing,
        features=names,
        validation_fraction=validation_fraction,
        seed=seed,
        threads=threads,
    )
    if not isinstance(model, LambdaRanker):
        raise SettingError(f"Only rankers are tuned (no stage, l1 or l2); a {type(model).__name__} is none.")
    data = fit_data(table, rows, chosen, names, development=None, threads=threads, **columns)
    with named_table(table), progress("trials", trials) as advance:
        found = tune(
            model,
            data.features,
            data.labels,
            query_ids=data.query_ids,
            positions=data.positions,
            split_ids=data.split_ids,
            trials=trials,
            seconds=None if minutes is None else 60 * minutes,
            judged_fraction=judged_fraction,
            space=space,
            seed=seed,
            advance=advance,
        )
    summary: dict[str, Any] = {
        "table": table,
        "kind": model.kind,
        "rows": rows.num_rows,
        "trials": len(found.trials),
        "first": found.first,
        "best": found.value,
        "settings": found.best,
        "output": str(output),
    }
    used = found.ranker.manifest_.names
    found.ranker.tables_ = {"training": content_of_path(table)}
    with replace_when_whole(output, overwrite=overwrite) as folder:
        found.ranker.save(folder)
        importances = dict(zip(used, found.ranker.feature_importances_.tolist(), strict=True))
        save_importances(folder / "importance.png", importances)
        write_table(folder / "trials.csv", pa.Table.from_pylist(found.trials))
        text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
        (folder / "tuning.json").write_text(text, encoding="utf-8")
    lines: list[Any] = [
        f"{len(found.trials)} trials: {found.first:.4f} with the settings given, {found.value:.4f} with the best",
        result_table(("setting", "value"), list(found.best.items())),
        f"Wrote {output}: the model of the best settings, tuning.json, trials.csv, importance.png",
    ]
    report(summary, as_json, lines)


def _space(search: list[str] | None) -> Any:
    """Ranges from texts such as `num_leaves=4:63:log`; whole where both ends are written as whole numbers."""
    from omnifeat.errors import SettingError
    from ranking.tuning import Range

    if not search:
        return None
    space = {}
    for text in search:
        name, _, ends = text.partition("=")
        parts = [part.strip() for part in ends.split(":")]
        log = len(parts) == 3 and parts[2] == "log"
        try:
            low, high = float(parts[0]), float(parts[1])
        except (IndexError, ValueError):
            raise SettingError(f"--search {text!r} must read NAME=LOW:HIGH or NAME=LOW:HIGH:log.") from None
        if len(parts) > 2 and not log:
            raise SettingError(f"--search {text!r} must read NAME=LOW:HIGH or NAME=LOW:HIGH:log.")
        whole = all(part.lstrip("+-").isdigit() for part in parts[:2])
        space[name.strip()] = Range(low, high, log, whole)
    return space
