"""Tables of one's own, in files of any format, into a dataset folder: columns mapped, types converted.

What the user says of columns is put together with the file's in `table_plan`, rows are converted in `table_rows`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from omnifeat.data.dataset import DatasetInfo, DatasetWriter
from omnifeat.data.schema import TABLES, VECTOR, VECTOR_LIST, Column, vector_width
from omnifeat.data.splits import HashSplit, TimeSplit
from omnifeat.data.times import TIME_UNITS
from omnifeat.data.trec import is_trec_file
from omnifeat.errors import DataError, SettingError
from omnifeat.importers.judged import with_notes
from omnifeat.importers.meetings import Meetings
from omnifeat.importers.number_texts import NumberForm
from omnifeat.importers.reading import Source, TextOptions, is_parquet_type
from omnifeat.importers.sources import ImportResult
from omnifeat.importers.table_plan import Choices, Plan, make_plan
from omnifeat.importers.table_rows import Formats, convert, converted_batches, told_of
from omnifeat.importers.table_tally import Tally

__all__ = ["import_table"]


def import_table(
    tables: Mapping[str, str | Path],
    out: str | Path,
    *,
    mapping: Mapping[str, str] | None = None,
    constants: Mapping[str, str] | None = None,
    choices: Choices | None = None,
    split: HashSplit | TimeSplit | None = None,
    name: str | None = None,
    source: str = "tables",
    licence: str = "not stated",
    list_separator: str = "|",
    time_unit: str = "s",
    text: TextOptions = TextOptions(),
    keep_html: bool = False,
    keep_extra: bool = True,
    overwrite: bool = False,
) -> ImportResult:
    """Make a dataset folder from files.

    Parameters
    ----------
    tables
        Table of the dataset folder -> file (CSV, TSV, JSONL, Parquet or Arrow; perhaps compressed), or a folder of
        parts.
    out
        Dataset folder to write.
    mapping
        `"pins.title": "name"`: the column `title` of `pins` is the file's column `name`. A column that is not mapped
        is the file's column of the same name.
    constants
        `"engagements.action": "click"`: every row has this value.
    choices
        What else is said of columns (left out, skipped by, ...), in place of `mapping` and `constants`.
    split
        Recorded in `dataset.json`; the rows are not moved.
    name, source, licence
        Recorded in `dataset.json`; the name is that of the folder if None.
    list_separator, time_unit
        How lists are written in a text column, and what numbers count that stand for times ("s", "ms", "us", "ns").
    text
        How cells of CSV and TSV files, and numbers, are written; what it leaves open is told from the first lines.
    keep_html
        Leave HTML in titles, descriptions and the like as it is.
    keep_extra
        Keep columns of the files that the schema does not know and that are not mapped.
    overwrite
        Replace `out` if it exists.

    Raises
    ------
    SettingError
        For an unknown table or column, a mapping of a table that is not given, a target set twice.
    DataError
        For a missing file or column, for the first value that cannot be converted, with its row, and where none of the
        ids that one table names stands in the catalogue given beside it.
    OutputError
        Where `out` cannot be written.
    """
    if not tables:
        raise SettingError(f"No table is given; give a file for at least one of: {', '.join(TABLES)}.")
    if time_unit not in TIME_UNITS:
        raise SettingError(f"Unknown time unit '{time_unit}'; choose one of: {', '.join(TIME_UNITS)}.")
    if not list_separator:
        raise SettingError("The list separator is empty; give the text that stands between the items of a list.")
    choices = choices or Choices(mapping or {}, constants=constants or {})
    choices.check(tables)
    _refuse_trec(tables)
    notes: list[str] = []
    formats = Formats(list_separator, time_unit, keep_html)
    sources = {table: Source(str(path), text) for table, path in tables.items()}
    plans = []
    for table, file in sources.items():
        notes += [f"Table {table}: {said}" for said in file.told()]
        plans.append(make_plan(table, file.path, file.names(), choices, keep_extra, notes))
    if split is not None:
        _check_split(split, plans)
    plans = [_settled(plan, sources[plan.table], formats, text.decimal, notes) for plan in plans]
    info = DatasetInfo(
        name=name or Path(out).name, source=source, licence=licence, created_by="omnifeat import table",
        split=split, notes=notes,
    )  # fmt: skip
    counts: dict[str, int] = {}
    meetings = Meetings(tables)
    with DatasetWriter(out, info, overwrite=overwrite) as writer:
        for plan in plans:
            tally = Tally()
            rows = converted_batches(plan, sources[plan.table], formats, tally)
            writer.write(plan.table, meetings.watched(plan.table, rows))
            counts[plan.table] = tally.written
            notes += tally.told(plan, time_unit)
        notes += meetings.told()
        with_notes(writer, notes)
    return ImportResult(Path(out), counts, notes)


def _refuse_trec(tables: Mapping[str, str | Path]) -> None:
    path = tables.get("judgments")
    if path is not None and is_trec_file(path):
        raise SettingError(
            f"{path} looks like TREC's judgments, which have no header; bring them in with `omnifeat import qrels "
            f"{path} -o OUT`, and give --topics FILE for the queries' texts."
        )


def _check_split(split: HashSplit | TimeSplit, plans: Sequence[Plan]) -> None:
    if not any(split.column in plan.columns or split.column in plan.constants for plan in plans):
        raise SettingError(f"No table has the column '{split.column}' that the split goes by; name another one.")


def _settled(plan: Plan, source: Source, formats: Formats, decimal: str | None, notes: list[str]) -> Plan:
    """The plan with what only the values tell: how numbers are written, which columns hold what their name says."""
    needed = [column.name for column in plan.schema.columns if column.key or column.required]
    source.refuse_parts_without([plan.columns[name] for name in needed if name in plan.columns])
    plan = _with_numbers(plan, source, decimal, notes)
    plan = _with_foreign(_without_unwritable(plan, source, notes), source, formats, notes)
    return _with_widths(plan, source, formats, notes)


def _with_numbers(plan: Plan, source: Source, decimal: str | None, notes: list[str]) -> Plan:
    """Tell the decimal sign of columns of numbers that are texts in the file, from their first values."""
    floats = [column for column in plan.schema.columns if column.type == pa.float64()]
    floats += [Column(name, pa.float64()) for name in plan.columns if name.startswith("f_")]
    floats += [column for column in plan.foreign() if column.type == pa.float64()]
    columns = {
        known.name: plan.columns[known.name]
        for known in floats
        if known.name in plan.columns and pa.types.is_string(source.type(plan.columns[known.name]))
    }
    if decimal is not None:
        return replace(plan, numbers=dict.fromkeys(columns, NumberForm(decimal, sure=True)))
    first = next(source.batches(list(dict.fromkeys(columns.values()))), None) if columns else None
    if first is None:
        return plan
    numbers = {
        name: NumberForm.guessed(first.column(column), not source.has_semicolons) for name, column in columns.items()
    }
    notes += [
        f"Table {plan.table}: numbers in '{columns[name]}' are read with a decimal comma; --decimal . takes the comma "
        "for what stands between thousands."
        for name, form in numbers.items()
        if form.decimal == ","
    ]
    return replace(plan, numbers=numbers)


def _without_unwritable(plan: Plan, source: Source, notes: list[str]) -> Plan:
    """Leave out columns of types that Parquet has not, such as objects without a field (`"details": {}`)."""
    left_out: list[str] = []
    for name, column in plan.columns.items():
        kind = source.type(column)
        if plan.schema.column(name) is None and not is_parquet_type(kind):
            left_out.append(name)
            notes.append(f"Table {plan.table}: the column '{name}' was left out, as Parquet cannot hold its {kind}.")
    return plan.without(left_out)


def _with_foreign(plan: Plan, source: Source, formats: Formats, notes: list[str]) -> Plan:
    """Convert columns whose name has a type in other tables only; leave out those that hold something else.

    Nobody asked for them (such as `timestamp` among judgments), so that they must not stop an import.
    """
    typed: dict[str, Column] = {}
    left_out: list[str] = []
    for known in plan.foreign():
        row, width = 1, None
        try:
            for batch in source.batches(list(plan.sources(known.name))):
                values = convert(replace(plan, widths={known.name: width} if width else {}), batch, known, row, formats)
                width = width or max(vector_width(values.type), 0) or None
                row += batch.num_rows
        except DataError as error:
            if known.name in plan.skip:
                raise
            left_out.append(known.name)
            notes.append(f"Table {plan.table}: the column '{known.name}' was left out, as {told_of(error)}.")
        else:
            typed[known.name] = known
    return replace(plan.without(left_out), typed=typed)


def _with_widths(plan: Plan, source: Source, formats: Formats, notes: list[str]) -> Plan:
    """Find the width of vector columns ahead: the first rows of a file may hold none."""
    widths: dict[str, int] = {}
    empty: list[str] = []
    for name, column in plan.columns.items():
        known = plan.known(name)
        if known is None or known.type not in (VECTOR, VECTOR_LIST):
            continue
        width = vector_width(source.type(column))
        if width < 0:
            width = _first_width(plan, source, known, formats)
        if width < 0:
            empty.append(name)
            notes.append(f"Table {plan.table}: the column '{name}' holds no vector and was left out.")
        else:
            widths[name] = width
    return replace(plan.without(empty), widths=widths)


def _first_width(plan: Plan, source: Source, known: Column, formats: Formats) -> int:
    row = 1
    for batch in source.batches(list(plan.sources(known.name))):
        values = convert(plan, batch, known, row, formats)
        if vector_width(values.type) > 0:
            return vector_width(values.type)
        row += batch.num_rows
    return -1
