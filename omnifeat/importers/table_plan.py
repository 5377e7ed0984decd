"""Where each column of a table comes from: what the user said of columns, put together with what the file has."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from omnifeat.data.close_names import nearly, same_but_for_case
from omnifeat.data.schema import TABLES, Column, TableSchema, did_you_mean, known_type, missing_column_message
from omnifeat.errors import DataError, SettingError
from omnifeat.importers.number_texts import NumberForm

T = TypeVar("T")

__all__ = ["Choices", "Plan", "make_plan"]


@dataclass(frozen=True)
class Choices:
    """What is said of columns, each written as TABLE.COLUMN with the name that it has in the dataset folder.

    Attributes
    ----------
    mapping
        Target -> column of the file.
    mapping_if_there
        Target -> columns of the file; each row has the first value that one of them has there. None may be there.
    constants
        Target -> one text for all rows.
    values
        Target -> the texts that stand for values in the file, and the values; other texts stay.
    drop
        Columns to leave out, known or not.
    skip_rows_without
        Rows without a value there are left out and counted.
    empty_if_unreadable
        Values there that cannot be converted are left empty and counted.
    keep_first
        Tables of whose rows with one id the first is kept and the others are counted.
    if_there
        Those of the columns above that a file may lack: a mapping is of many files.
    """

    mapping: Mapping[str, str] = field(default_factory=dict)
    mapping_if_there: Mapping[str, Sequence[str]] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    drop: Collection[str] = ()
    skip_rows_without: Collection[str] = ()
    empty_if_unreadable: Collection[str] = ()
    keep_first: Collection[str] = ()
    if_there: Collection[str] = ()

    def check(self, tables: Collection[str]) -> None:
        """Raise `SettingError` for an unknown table, a target of a table that is not given, or what contradicts."""
        for table in [*tables, *self.keep_first]:
            if table not in TABLES:
                raise SettingError(
                    f"Unknown table '{table}'{did_you_mean(table, TABLES)}; there are: {', '.join(TABLES)}."
                )
        targets = [
            *self.mapping, *self.constants, *self.values, *self.drop, *self.skip_rows_without,
            *self.empty_if_unreadable,
        ]  # fmt: skip
        for target in targets:
            table, _, column = target.partition(".")
            if not table or not column:
                raise SettingError(f"'{target}' does not name a column as TABLE.COLUMN, such as pins.title.")
            if table not in tables:
                raise SettingError(
                    f"'{target}' is of the table '{table}', which is not given; give --{table} FILE too."
                )
            if target in self.mapping and target in self.constants:
                raise SettingError(f"'{target}' is both mapped and set to a constant; do one of the two.")
            if target in self.drop and (target in self.mapping or target in self.constants):
                raise SettingError(f"'{target}' is both left out and mapped or set; do one of the two.")
        for table in self.keep_first:
            if table not in tables:
                raise SettingError(f"--keep-first names the table '{table}', which is not given; give --{table} FILE.")
            if not TABLES[table].unique_key:
                raise SettingError(f"Rows of the table '{table}' may repeat: --keep-first has nothing to do there.")


@dataclass(frozen=True)
class Plan:
    """Where each column of one table comes from: a column of the file, or one constant text."""

    table: str
    path: str
    columns: dict[str, str]  # target -> column of the file
    constants: dict[str, str]  # target -> text
    skip: tuple[str, ...] = ()  # rows without a value in these are left out
    lenient: frozenset[str] = frozenset()  # values of these that cannot be converted are left empty
    keep_first: bool = False
    values: dict[str, Mapping[str, str]] = field(default_factory=dict)  # target -> text in the file -> value
    typed: dict[str, Column] = field(default_factory=dict)  # columns of other tables' names that hold what they should
    widths: dict[str, int] = field(default_factory=dict)  # of vector columns
    numbers: dict[str, NumberForm] = field(default_factory=dict)  # of columns of numbers that are texts in the file
    further: dict[str, tuple[str, ...]] = field(default_factory=dict)  # target -> columns for rows with nothing there

    @property
    def schema(self) -> TableSchema:
        """The table's schema."""
        return TABLES[self.table]

    def sources(self, name: str) -> tuple[str, ...]:
        """The columns of the file that a target is read from, in order."""
        return (self.columns[name], *self.further.get(name, ()))

    def known(self, name: str) -> Column | None:
        """What the column must be; None where it may be anything."""
        return self.schema.column(name) or self.typed.get(name)

    def foreign(self) -> list[Column]:
        """Columns that this table has no use for, but whose names have a type in other tables."""
        return [
            Column(name, known_type(name))
            for name in self.columns
            if self.schema.column(name) is None and known_type(name) is not None
        ]

    def without(self, names: Collection[str]) -> "Plan":
        """The plan without some columns."""
        return replace(self, columns={name: column for name, column in self.columns.items() if name not in names})

    def remedy(self, known: Column) -> str:
        """What to do about a value that cannot be converted."""
        target = f"{self.table}.{known.name}"
        ways = ["correct it", "map another column"]
        if known.name in self.constants:
            return "correct it"
        if not known.required:
            ways.append(f"leave the column out with --drop {target}")
        if known.nullable:
            ways.append(f"leave such values empty with --empty-if-unreadable {target}")
        else:
            ways.append(f"leave such rows out with --empty-if-unreadable {target} --skip-rows-without {target}")
        return f"{', '.join(ways[:-1])} or {ways[-1]}"


def make_plan(
    table: str, path: str, there: Sequence[str], choices: Choices, keep_extra: bool, notes: list[str]
) -> Plan:
    """The plan of one table, from the names of its file's columns.

    Raises
    ------
    DataError
        A mapped column or one that the table must have is not there, or a column that is to be read stands twice.
    SettingError
        A constant is none of the values that there are, or rows are to be skipped by a column that is not taken.
    """
    schema = TABLES[table]
    fixed = _of(table, choices.constants)
    columns, further = _columns(schema, path, there, choices, keep_extra, notes)
    _check_required(schema, path, there, columns, fixed)
    for name, value in fixed.items():
        column = schema.column(name)
        _check_choice(f"'{table}.{name}'", column, value)
    more = [column for names in further.values() for column in names]
    read = [*columns.values(), *more]
    _note_near_names(schema, there, columns, [*fixed, *_names(table, choices.drop), *more], notes)
    twice = next((column for column in read if there.count(column) > 1), None)
    if twice is not None:
        raise DataError(
            f"{path} has two columns named '{twice}'; give each its own name, or leave them out with --drop "
            f"{table}.{twice}."
        )
    skip = _names(table, choices.skip_rows_without)
    lenient = _names(table, choices.empty_if_unreadable)
    values = _of(table, choices.values)
    known = [name for name in columns if schema.column(name) is not None]
    for name, meant in values.items():
        for text, value in meant.items():
            _check_choice(f"--value {table}.{name}:{text}={value}: '{table}.{name}'", schema.column(name), value)
    may_lack = _names(table, choices.if_there)
    _check_names(f"--skip-rows-without {table}", skip, [*columns, *may_lack], f"column that is taken from {path}")
    for option, names in (("--empty-if-unreadable", lenient), ("--value", values)):
        _check_names(f"{option} {table}", names, [*known, *may_lack], "column that the table knows and the file has")
    return Plan(
        table, path, columns, fixed, tuple(name for name in skip if name in columns),
        frozenset(lenient).intersection(known), table in choices.keep_first, values, further=further,
    )  # fmt: skip


def _columns(
    schema: TableSchema, path: str, there: Sequence[str], choices: Choices, keep_extra: bool, notes: list[str]
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Target -> column of the file, and target -> columns for the rows that have nothing there."""
    fixed = _of(schema.name, choices.constants)
    columns = _of(schema.name, choices.mapping)
    further: dict[str, tuple[str, ...]] = {}
    for name in (*columns, *fixed):
        near = nearly(name, [column.name for column in schema.columns])
        if schema.column(name) is None and known_type(name) is None and near is not None:
            notes.append(
                f"Table {schema.name}: '{name}' is no column that the table knows, and becomes one of your own; did "
                f"you mean '{near}'?"
            )
    absent = [column for column in columns.values() if column not in there]
    if absent:
        raise DataError(f"{missing_column_message(path, absent, there)}; correct the mapping.".replace("?;", ";"))
    dropped = _names(schema.name, choices.drop)
    known = [*there, *(column.name for column in schema.columns), *_names(schema.name, choices.if_there)]
    _check_names(f"--drop {schema.name}", dropped, known, f"column of {path} or of the table")
    for name, candidates in _of(schema.name, choices.mapping_if_there).items():
        found = list(dict.fromkeys(column for one in candidates for column in _there(one, there)))
        if found and name not in (*columns, *fixed, *dropped):
            columns[name], further[name] = found[0], tuple(found[1:])
    _take_other_writings(schema, there, columns, [*fixed, *dropped], notes)
    used = {*columns.values(), *(column for names in further.values() for column in names)}
    for name in there:
        if name in dropped:
            continue
        if name in columns or name in fixed:
            if columns.get(name) != name and name not in used:
                notes.append(
                    f"Table {schema.name}: the file's own column '{name}' was not taken, as '{name}' is set otherwise."
                )
        elif schema.column(name) is not None or (keep_extra and name not in used):
            columns[name] = name
    _add_other_writings(schema, there, columns, further, dropped, notes)
    return columns, further


def _there(name: str, there: Sequence[str]) -> list[str]:
    """The column of that name, or the one that differs in letter case or blanks; nothing where it may be several."""
    alike = [name] if name in there else same_but_for_case(name, there)
    return alike if len(alike) == 1 else []


def _take_other_writings(
    schema: TableSchema, there: Sequence[str], columns: dict[str, str], settled: Collection[str], notes: list[str]
) -> None:
    """Add columns that the table knows and the file writes otherwise, such as `Title` for `title`."""
    for name in (column.name for column in schema.columns if column.name not in (*columns, *settled, *there)):
        alike = [other for other in same_but_for_case(name, there) if other not in (*columns.values(), *settled)]
        if len(alike) == 1:
            columns[name] = alike[0]
            notes.append(f"Table {schema.name}: the file's column '{alike[0]}' is taken for '{name}'.")
        elif alike:
            shown = " and ".join(f"'{other}'" for other in alike)
            notes.append(
                f"Table {schema.name}: {shown} may both be '{name}', and neither was taken for it; say which with "
                f"--map {schema.name}.{name}=COLUMN."
            )


def _add_other_writings(
    schema: TableSchema, there: Sequence[str], columns: Mapping[str, str], further: dict[str, tuple[str, ...]],
    dropped: Collection[str], notes: list[str],
) -> None:  # fmt: skip
    """Let columns that one part writes `title` and the next `Title` be one."""
    for name in [name for name, column in columns.items() if name == column and schema.column(name) is not None]:
        read = {column for target, column in columns.items() if target != column}
        alike = [other for other in same_but_for_case(name, there) if other not in read and other not in dropped]
        if alike and name not in further:
            further[name] = tuple(alike)
            shown = ", ".join(f"'{other}'" for other in alike)
            notes.append(f"Table {schema.name}: {shown} is taken for '{name}' in rows that have nothing there.")


def _note_near_names(
    schema: TableSchema, there: Sequence[str], columns: Mapping[str, str], settled: Collection[str], notes: list[str]
) -> None:
    """Tell of columns that nobody took and that are a letter or two from one that the table knows."""
    own = {column.name for column in schema.columns}
    used = {column for name, column in columns.items() if name != column}  # and not kept under its own name
    strange = [name for name in there if name not in own and name not in used and name not in settled]
    for name in sorted(own.difference(columns, settled)):
        near = nearly(name, strange)
        if near is not None:
            notes.append(
                f"Table {schema.name}: there is no column '{name}', but '{near}' is close to it; --map "
                f"{schema.name}.{name}={near} takes it."
            )


def _check_choice(what: str, column: Column | None, value: str) -> None:
    if column is not None and column.choices and value not in column.choices:
        hint = did_you_mean(value, column.choices).rstrip("?")
        raise SettingError(f"{what} cannot be '{value}'; it is one of: {', '.join(column.choices)}{hint}.")


def _check_names(option: str, names: Collection[str], there: Collection[str], what: str) -> None:
    for name in names:
        if name not in there:
            hint = did_you_mean(name, there).removesuffix("?") or f"; there are: {', '.join(there)}"
            raise SettingError(f"{option}.{name} names no {what}{hint}.")


def _check_required(
    schema: TableSchema, path: str, there: Sequence[str], columns: Mapping[str, str], fixed: Mapping[str, str]
) -> None:
    missing = [name for name in schema.required if name not in columns and name not in fixed]
    if missing:
        sentence = missing_column_message(path, missing, there).rstrip("?")
        if re.search(rf"(^|[/\\\\]){re.escape(missing[0])}=[^/\\\\]+[/\\\\]", path):
            raise DataError(
                f"{sentence}; a folder's name gives '{missing[0]}': give the folder above it in place of the file."
            )
        raise DataError(
            f"{sentence}; name the right one with --map {schema.name}.{missing[0]}=COLUMN "
            f"or one value for all rows with --set {schema.name}.{missing[0]}=VALUE."
        )


def _of(table: str, targets: Mapping[str, T]) -> dict[str, T]:
    prefix = f"{table}."
    return {key.removeprefix(prefix): value for key, value in targets.items() if key.startswith(prefix)}


def _names(table: str, targets: Collection[str]) -> list[str]:
    prefix = f"{table}."
    return list(dict.fromkeys(target.removeprefix(prefix) for target in targets if target.startswith(prefix)))
