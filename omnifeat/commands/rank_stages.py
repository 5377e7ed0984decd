"""What `omnifeat rank train`, `evaluate` and `tune` share: options of stages, and tables as data for `fit`."""

import json
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omnifeat.commands.console import warn
from omnifeat.commands.rank_common import IDS, named_table, require_columns, rising

if TYPE_CHECKING:
    import pyarrow as pa

    from ranking.base import LightGBMModel
    from ranking.stage import FitData, Stage

# Columns of a log or of judgments, which nobody takes for features.
_NO_FEATURES = ("action", "country", "grade", "rater", "request_id", "timestamp", "user_id")

StageOption = Annotated[
    str | None,
    typer.Option("--stage", help="l1, l2 and others (see the page of the command); a plain ranker of grades if not."),
]
StageLabelOption = Annotated[
    str | None, typer.Option("--label", help="Column of labels: of l1 score, of l2 action, else grade.")
]
FeaturesOption = Annotated[
    str | None,
    typer.Option("--features", help="Columns to use, with commas between and * as wanted; all numeric ones if not."),
]
ExcludeOption = Annotated[
    list[str] | None, typer.Option("--exclude", help="Column not to use; repeat for more, or put commas between.")
]
TeacherOption = Annotated[
    Path | None, typer.Option("--teacher", help="Folder of the model whose scores are the labels (stage l1).")
]
PositionOption = Annotated[
    str | None, typer.Option("--position-column", help="Column of where a row was shown, for position bias.")
]
SplitOption = Annotated[
    str | None,
    typer.Option("--split-column", help="Column that decides what is held out; the query column if not given."),
]
ValidationOption = Annotated[
    float | None,
    typer.Option("--validation-fraction", help="Share of the queries held out for early stopping, by their hash."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="NAME=VALUE for any setting of the model, the value as JSON or plain text; repeat."),
]
GainsOption = Annotated[
    str | None, typer.Option("--gains", help="Gains of actions (stage l2): click=1,long_click=3,save=4.")
]


def build_model(
    stage: "Stage",
    *,
    settings: Sequence[str] | None,
    gains: str | None = None,
    increasing: str | None = None,
    features: list[str],
    **given: Any,
) -> "LightGBMModel":
    """The stage's model with its defaults, but for what is given and not None."""
    from omnifeat.errors import SettingError
    from ranking.saving import model_class

    model = model_class(stage.kind)()
    known = model.get_params(deep=False)
    wanted = {name: value for name, value in given.items() if value is not None}
    if gains is not None:
        wanted["action_gains"] = read_gains(gains)
    constraints = rising(increasing, features)
    if constraints is not None:
        wanted["monotonic_cst"] = constraints
    for text in settings or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise SettingError(f"--set {text!r} must read NAME=VALUE.")
        try:
            wanted[name.strip()] = json.loads(value)
        except json.JSONDecodeError:
            wanted[name.strip()] = value
    for name in wanted:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            meant = f" (did you mean {close[0]!r}?)" if close else ""
            raise SettingError(
                f"A {type(model).__name__} has no setting {name!r}{meant}; it has {', '.join(sorted(known))}."
            )
    model.set_params(**wanted)
    return model


def read_gains(text: str) -> dict[str, float]:
    """Gains of actions from `click=1,save=4`."""
    from omnifeat.errors import SettingError

    gains = {}
    for item in text.split(","):
        action, equals, number = item.partition("=")
        try:
            gains[action.strip()] = float(number)
        except ValueError:
            equals = ""
        if not equals or not action.strip():
            raise SettingError(f"--gains has {item!r}; it must read ACTION=NUMBER,ACTION=NUMBER.")
    return gains


def rows_of_type(rows: "pa.Table", stage: "Stage") -> tuple["pa.Table", int]:
    """The rows of the stage's type of entity, and how many others were left out; without `entity_type`, all rows."""
    import pyarrow.compute as pc

    from omnifeat.data.entity_types import type_texts
    from omnifeat.errors import DataError

    if stage.entity_type is None or "entity_type" not in rows.column_names:
        return rows, 0
    # a row that does not say its type is taken to be of the right one
    kept = rows.filter(
        pc.fill_null(pc.equal(type_texts(rows["entity_type"], "Column 'entity_type'"), stage.entity_type), True)
    )
    if kept.num_rows == 0:
        raise DataError(
            f"No row has the entity_type {stage.entity_type!r}, which a model of kind {stage.kind!r} is of; give rows "
            "of it."
        )
    return kept, rows.num_rows - kept.num_rows


def fit_columns(
    rows: "pa.Table",
    stage: "Stage",
    *,
    label: str | None,
    query_column: str,
    features: str | None,
    exclude: Sequence[str] | None,
    position_column: str | None,
    split_column: str | None,
    teacher: Path | None,
) -> list[str]:
    """Names of the features; refuses columns that are not there, and options that the stage does not know."""
    from omnifeat.errors import SettingError
    from ranking.features import choose_features, empty_features, expand_columns, no_features

    if teacher is not None and not stage.teacher:
        raise SettingError("--teacher goes with a stage that learns from another model's scores: --stage l1.")
    if teacher is not None and label is not None:
        raise SettingError("Labels come from --teacher or from the column of --label; give one of the two.")
    if position_column is not None and not stage.positions:
        raise SettingError(f"A model of kind {stage.kind!r} takes no positions; leave --position-column out.")
    named = [label or stage.label] if teacher is None else []
    others = [column for column in (position_column, split_column) if column is not None]
    require_columns(rows, *named, query_column, *others)
    wanted = None
    if features is not None:
        listed = [part.strip() for part in features.split(",") if part.strip()]
        wanted = expand_columns(listed, rows.column_names, "--features")
    excluded = [name.strip() for item in exclude or [] for name in item.split(",")]
    if wanted is None:  # where and when a row was shown is no feature, unless it is asked for
        excluded += [name for name in ("position", "request_id", "timestamp") if name in rows.column_names]
    reserved = (*named, query_column, *others, *IDS)
    chosen = choose_features(rows, features=wanted, exclude=excluded, reserved=reserved)
    passed = [] if wanted is not None else no_features(rows, chosen, [*excluded, *reserved, *_NO_FEATURES])
    if passed:
        warn(f"columns that hold no numbers and are no features: {', '.join(passed)}")
    empty = empty_features(rows, chosen)
    if empty:
        warn(f"features without a value in any row, which teach nothing: {', '.join(empty)}")
    return chosen


def fit_data(
    table: str,
    rows: "pa.Table",
    stage: "Stage",
    names: list[str],
    *,
    label: str | None,
    query_column: str,
    position_column: str | None,
    split_column: str | None,
    teacher: Path | None,
    development: str | None,
    threads: int | None,
) -> "FitData":
    """The table's rows as `fit` takes them, and those of the development table where there is one."""
    from omnifeat.data.files import read_table
    from ranking.features import select_features
    from ranking.stage import FitData

    more: dict[str, Any] = {}
    label_column = [] if teacher is not None else [label or stage.label]
    if development is not None:
        held_out = read_table(development, by_name="keys")
        with named_table(development):
            held_out, _ = rows_of_type(held_out, stage)
            require_columns(held_out, query_column)
            if position_column is not None and stage.as_shown:
                require_columns(held_out, position_column)
                more["eval_positions"] = held_out[position_column]
            more["eval_labels"] = labels_of(held_out, stage, label, teacher, threads)
            more["eval_features"] = select_features(held_out, names)
            more["eval_query_ids"] = held_out[query_column]
        _refuse_known(development, held_out, table, rows, _keys(held_out, rows, query_column, *names, *label_column))
    with named_table(table):
        return FitData(
            select_features(rows, names),
            labels_of(rows, stage, label, teacher, threads),
            rows[query_column],
            positions=None if position_column is None else rows[position_column],
            split_ids=None if split_column is None else rows[split_column],
            **more,
        )


def _keys(held_out: "pa.Table", rows: "pa.Table", *columns: str) -> list[str]:
    """The columns that tell rows apart: these, and the entity's id where both tables have it."""
    both = [name for name in IDS if name in held_out.column_names and name in rows.column_names]
    return list(dict.fromkeys([*columns, *both]))


def _refuse_known(development: str, held_out: "pa.Table", table: str, rows: "pa.Table", columns: list[str]) -> None:
    """Refuse a development table of rows that the model learns from, and tell how many there are of some."""
    from omnifeat.data.identity import rows_shared
    from omnifeat.errors import SettingError

    shared = rows_shared(held_out.select(columns), rows)
    if shared and shared == held_out.num_rows:
        raise SettingError(
            f"Every row of {development} stands in the training table {table} too, so that nothing is held out and "
            "training would stop at what was learned by heart; give --development a table of other queries, or leave "
            "it out and name a share of the queries with --validation-fraction."
        )
    if shared:
        warn(
            f"{shared:,} of {held_out.num_rows:,} rows of {development} stand in {table} too: what is held out is "
            "partly learned by heart; take them out of one of the two"
        )


def labels_of(rows: "pa.Table", stage: "Stage", label: str | None, teacher: Path | None, threads: int | None) -> Any:
    """The column of labels, or the teacher's scores of the rows."""
    from ranking.features import select_features
    from ranking.saving import load_model

    if teacher is None:
        require_columns(rows, label or stage.label)
        return rows[label or stage.label]
    loaded: Any = load_model(teacher)
    loaded.set_params(threads=threads)
    return loaded.predict(select_features(rows, loaded.manifest_.names))
