"""Tables of one's own, in CSV, JSONL, Parquet or Arrow files, into a dataset folder: columns mapped, types converted.

Tables stream through in batches; nothing but one batch and the distinct ids is held in memory.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.dataset import DatasetInfo, DatasetWriter
from omnifeat.data.schema import (
    TABLES,
    VECTOR,
    VECTOR_LIST,
    Column,
    TableSchema,
    did_you_mean,
    missing_column_message,
    vector_width,
)
from omnifeat.data.splits import HashSplit, TimeSplit
from omnifeat.errors import DataError, SettingError
from omnifeat.importers.conversion import TIME_UNITS, convert_column
from omnifeat.importers.reading import source_batches, source_schema
from omnifeat.importers.sources import ImportResult

__all__ = ["import_table"]


@dataclass(frozen=True)
class _Plan:
    """Where each column of one table comes from: a column of the file, or one constant text."""

    table: str
    path: str
    columns: dict[str, str]  # target -> column of the file
    constants: dict[str, str]  # target -> text
    widths: dict[str, int] = field(default_factory=dict)  # of vector columns
    empty: tuple[str, ...] = ()  # vector columns without any vector: left out

    @property
    def schema(self) -> TableSchema:
        return TABLES[self.table]


@dataclass(frozen=True)
class _Formats:
    """How lists and times are written in the files."""

    list_separator: str
    time_unit: str


def import_table(
    tables: Mapping[str, str | Path],
    out: str | Path,
    *,
    mapping: Mapping[str, str] | None = None,
    constants: Mapping[str, str] | None = None,
    split: HashSplit | TimeSplit | None = None,
    name: str | None = None,
    source: str = "tables",
    licence: str = "not stated",
    list_separator: str = "|",
    time_unit: str = "s",
    keep_extra: bool = True,
    overwrite: bool = False,
) -> ImportResult:
    """Make a dataset folder from files.

    Parameters
    ----------
    tables
        Table of the dataset folder -> file (`.parquet`, `.csv`, `.csv.gz`, `.jsonl`, `.arrow`, a folder of parts).
    out
        Dataset folder to write.
    mapping
        `"pins.title": "name"`: the column `title` of `pins` is the file's column `name`. A column that is not mapped
        is the file's column of the same name.
    constants
        `"engagements.action": "click"`: every row has this value.
    split
        Recorded in `dataset.json`; the rows are not moved.
    name, source, licence
        Recorded in `dataset.json`; the name is that of the folder if None.
    list_separator, time_unit
        How lists are written in a text column, and what numbers count that stand for times ("s", "ms", "us").
    keep_extra
        Keep columns of the files that the schema does not know and that are not mapped.
    overwrite
        Replace `out` if it exists.

    Raises
    ------
    SettingError
        For an unknown table, a mapping of a table that is not given, a target set twice.
    DataError
        For a missing file or column, and for the first value that cannot be converted, with its row.
    OutputError
        Where `out` cannot be written.
    """
    if not tables:
        raise SettingError(f"No table is given; give a file for at least one of: {', '.join(TABLES)}.")
    if time_unit not in TIME_UNITS:
        raise SettingError(f"Unknown time unit '{time_unit}'; choose one of: {', '.join(TIME_UNITS)}.")
    if not list_separator:
        raise SettingError("The list separator is empty; give the text that stands between the items of a list.")
    _check_targets(tables, mapping or {}, constants or {})
    notes: list[str] = []
    formats = _Formats(list_separator, time_unit)
    plans = [
        _plan(table, str(path), mapping or {}, constants or {}, keep_extra, notes) for table, path in tables.items()
    ]
    if split is not None:
        _check_split(split, plans)
    plans = [_with_widths(plan, formats, notes) for plan in plans]
    info = DatasetInfo(
        name=name or Path(out).name, source=source, licence=licence, created_by="omnifeat import table",
        split=split, notes=notes,
    )  # fmt: skip
    counts: dict[str, int] = {}
    with DatasetWriter(out, info, overwrite=overwrite) as writer:
        for plan in plans:
            writer.write(plan.table, _converted(plan, formats, counts))
    return ImportResult(Path(out), counts, notes)


def _check_targets(tables: Mapping[str, str | Path], mapping: Mapping[str, str], constants: Mapping[str, str]) -> None:
    for table in tables:
        if table not in TABLES:
            raise SettingError(f"Unknown table '{table}'{did_you_mean(table, TABLES)}; there are: {', '.join(TABLES)}.")
    for target in [*mapping, *constants]:
        table, _, column = target.partition(".")
        if not table or not column:
            raise SettingError(f"'{target}' does not name a column as TABLE.COLUMN, such as pins.title.")
        if table not in tables:
            raise SettingError(f"'{target}' is of the table '{table}', which is not given; give --{table} FILE too.")
        if target in mapping and target in constants:
            raise SettingError(f"'{target}' is both mapped and set to a constant; do one of the two.")


def _plan(
    table: str,
    path: str,
    mapping: Mapping[str, str],
    constants: Mapping[str, str],
    keep_extra: bool,
    notes: list[str],
) -> _Plan:
    there = source_schema(path).names
    prefix = f"{table}."
    mapped = {key.removeprefix(prefix): column for key, column in mapping.items() if key.startswith(prefix)}
    fixed = {key.removeprefix(prefix): value for key, value in constants.items() if key.startswith(prefix)}
    absent = [column for column in mapped.values() if column not in there]
    if absent:
        raise DataError(f"{missing_column_message(path, absent, there)}; correct the mapping.".replace("?;", ";"))
    schema = TABLES[table]
    columns = dict(mapped)
    used = set(mapped.values())
    for name in there:
        known = schema.column(name) is not None
        if name in columns or name in fixed:
            if columns.get(name) != name and name not in used:
                notes.append(
                    f"Table {table}: the file's own column '{name}' was not taken, as '{name}' is set otherwise."
                )
        elif known or (keep_extra and name not in used):
            columns[name] = name
    missing = [name for name in schema.required if name not in columns and name not in fixed]
    if missing:
        sentence = missing_column_message(path, missing, there).rstrip("?")
        raise DataError(
            f"{sentence}; name the right one with --map {table}.{missing[0]}=COLUMN "
            f"or one value for all rows with --set {table}.{missing[0]}=VALUE."
        )
    for name, value in fixed.items():
        column = schema.column(name)
        if column is not None and column.choices and value not in column.choices:
            raise SettingError(f"'{table}.{name}' cannot be '{value}'; it is one of: {', '.join(column.choices)}.")
    return _Plan(table, path, columns, fixed)


def _check_split(split: HashSplit | TimeSplit, plans: Sequence[_Plan]) -> None:
    if not any(split.column in plan.columns or split.column in plan.constants for plan in plans):
        raise SettingError(f"No table has the column '{split.column}' that the split goes by; name another one.")


def _with_widths(plan: _Plan, formats: _Formats, notes: list[str]) -> _Plan:
    """Find the width of vector columns ahead: the first rows of a file may hold none."""
    widths, empty = {}, []
    for name, column in plan.columns.items():
        known = plan.schema.column(name)
        if known is None or known.type not in (VECTOR, VECTOR_LIST):
            continue
        width = vector_width(source_schema(plan.path).field(column).type)
        if width < 0:
            width = _first_width(plan, name, known, formats)
        if width < 0:
            empty.append(name)
            notes.append(f"Table {plan.table}: the column '{name}' holds no vector and was left out.")
        else:
            widths[name] = width
    return _Plan(plan.table, plan.path, plan.columns, plan.constants, widths, tuple(empty))


def _first_width(plan: _Plan, name: str, known: Column, formats: _Formats) -> int:
    column, row = plan.columns[name], 1
    for batch in source_batches(plan.path, [column]):
        values = _convert(plan, batch, name, known, row, formats)
        if vector_width(values.type) > 0:
            return vector_width(values.type)
        row += batch.num_rows
    return -1


def _convert(
    plan: _Plan, batch: pa.RecordBatch, name: str, known: Column, first_row: int, formats: _Formats
) -> pa.Array:
    return convert_column(
        batch.column(plan.columns[name]), known.type, file=plan.path, column=plan.columns[name], first_row=first_row,
        list_separator=formats.list_separator, time_unit=formats.time_unit, width=plan.widths.get(name),
    )  # fmt: skip


def _converted(plan: _Plan, formats: _Formats, counts: dict[str, int]) -> Iterator[pa.RecordBatch]:
    """The batches of one table in the types of the schema; counts rows as they pass."""
    counts[plan.table] = 0
    seen: dict[tuple[Any, ...], int] = {}
    wanted = list(dict.fromkeys(plan.columns.values()))
    extra = [column for name, column in plan.columns.items() if plan.schema.column(name) is None]
    typed = {column for name, column in plan.columns.items() if plan.schema.column(name) is not None}
    for batch in source_batches(plan.path, wanted, [column for column in dict.fromkeys(extra) if column not in typed]):
        first_row = counts[plan.table] + 1
        columns: dict[str, pa.Array] = {}
        for name, column in plan.columns.items():
            known = plan.schema.column(name)
            if known is None:
                columns[name] = batch.column(column)
            elif name not in plan.empty:
                values = _convert(plan, batch, name, known, first_row, formats)
                if name in plan.widths and pa.types.is_null(values.type):
                    values = values.cast(_vector_type(known, plan.widths[name]))
                _check_values(plan, known, values, first_row)
                columns[name] = values
        for name, value in plan.constants.items():
            columns[name] = _constant(plan, name, value, batch.num_rows, formats)
        _check_unique(plan, columns, first_row, seen)
        counts[plan.table] += batch.num_rows
        yield pa.RecordBatch.from_pydict(_in_order(plan.schema, columns))
    if counts[plan.table] == 0:
        raise DataError(f"{plan.path} holds no rows; give a file with rows, or leave --{plan.table} out.")


def _vector_type(known: Column, width: int) -> pa.DataType:
    vector = pa.list_(pa.float32(), width)
    return vector if known.type is VECTOR else pa.list_(vector)


def _in_order(schema: TableSchema, columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
    known = [column.name for column in schema.columns if column.name in columns]
    return {name: columns[name] for name in [*known, *(name for name in columns if name not in known)]}


def _constant(plan: _Plan, name: str, value: str, rows: int, formats: _Formats) -> pa.Array:
    texts = pa.array([value] * rows, pa.string())
    known = plan.schema.column(name)
    if known is None:
        return texts
    return convert_column(
        texts, known.type, file=f"--set {plan.table}.{name}", column=name, first_row=1,
        list_separator=formats.list_separator, time_unit=formats.time_unit,
    )  # fmt: skip


def _check_values(plan: _Plan, known: Column, values: pa.Array, first_row: int) -> None:
    """Raise for the first key that is null or empty, null where there must be a value, or value not of the choices."""
    where = f"{plan.path}, column '{plan.columns[known.name]}', row"
    if known.key or not known.nullable:
        absent = pc.is_null(values)
        if known.key:
            absent = pc.or_(absent, pc.fill_null(pc.equal(values, ""), True))
        if pc.any(absent).as_py():
            row = first_row + pc.index(absent, True).as_py()
            raise DataError(
                f"{where} {row}: there is no value, but '{plan.table}.{known.name}' must have one; fill it in."
            )
    if known.choices:
        strange = pc.and_(pc.is_valid(values), pc.invert(pc.is_in(values, pa.array(known.choices, pa.string()))))
        if pc.any(strange).as_py():
            position = pc.index(strange, True).as_py()
            raise DataError(
                f"{where} {first_row + position}: '{values[position].as_py()}' is not one of "
                f"{', '.join(known.choices)}; correct it or set one value with --set {plan.table}.{known.name}=VALUE."
            )


def _check_unique(
    plan: _Plan, columns: Mapping[str, pa.Array], first_row: int, seen: dict[tuple[Any, ...], int]
) -> None:
    key = [name for name in plan.schema.unique_key if name in columns]
    if not key:
        return
    for position, values in enumerate(zip(*(columns[name].to_pylist() for name in key), strict=True)):
        row = first_row + position
        earlier = seen.setdefault(values, row)
        if earlier != row:
            shown = ", ".join(repr(value) for value in values)
            raise DataError(
                f"{plan.path}, row {row}: the {' and '.join(key)} {shown} stands in row {earlier} too; keep one."
            )
