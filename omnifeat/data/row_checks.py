"""Check one table row by row, batch by batch: what is wrong within a row, whatever other rows hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.checks import not_finite_rows, not_utf8, type_problems
from omnifeat.data.close_names import nearly, same_but_for_case
from omnifeat.data.conform import conform_array
from omnifeat.data.dataset import Dataset
from omnifeat.data.files import BATCH_SIZE, column_names, settled_schema
from omnifeat.data.problems import Problem, ProblemList
from omnifeat.data.schema import VECTOR, VECTOR_LIST, Column, TableSchema, missing_column_message, vector_width
from omnifeat.data.times import odd_times
from omnifeat.errors import DataError

__all__ = ["CheckedBatch", "RowPlaces", "checked_batches"]

# says, for one value, what was found and what to do
_Say = Callable[[object], str]


@dataclass
class RowPlaces:
    """Where the rows of a table lie: global row numbers (from 0) to a file and its row (from 1)."""

    names: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)

    def add(self, name: str, start: int) -> None:
        """The next file begins at this global row."""
        self.names.append(name)
        self.starts.append(start)

    def place(self, row: int) -> tuple[str, int]:
        """File and row in it, from 1."""
        part = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.names[part], row - self.starts[part] + 1


@dataclass(frozen=True)
class CheckedBatch:
    """A batch whose columns are sound enough to go on with: `first_row` is global, from 0.

    Columns in which the batch's text or type is wrong are left out.
    """

    columns: dict[str, pa.Array]
    first_row: int
    rows: int


def checked_batches(
    dataset: Dataset, table: str, known: TableSchema, problems: ProblemList, places: RowPlaces
) -> Iterator[CheckedBatch]:
    """Read a table, add what is wrong to `problems`, and give the batches for checks across rows.

    A file that cannot be read any further is one problem, and ends the table.
    """
    try:
        yield from _checked_batches(dataset, table, known, problems, places)
    except DataError as error:
        problems.add(Problem("unreadable", table, None, None, None, str(error)))


def _checked_batches(
    dataset: Dataset, table: str, known: TableSchema, problems: ProblemList, places: RowPlaces
) -> Iterator[CheckedBatch]:
    parts = dataset.parts(table)
    names = column_names(parts)
    where = dataset.place(table)
    for column in known.required:
        if column not in names:
            message = missing_column_message(where, [column], names)
            problems.add(Problem("missing column", table, column, None, None, message))
    schema = settled_schema(parts, names)
    wrong_types = type_problems(known, schema, where)
    for name, message in wrong_types.items():
        problems.add(Problem("wrong type", table, name, None, None, message))
    first_row = 0
    for part in parts:
        there = set(part.names())
        columns = [name for name in names if name in there]
        places.add(part.location.name, first_row)
        for batch in part.batches(columns, BATCH_SIZE, schema):
            checker = _BatchChecker(table, known, problems, places, first_row, batch)
            sound = {}
            for name in columns:
                array = checker.check(name, batch.column(name), schema.field(name).type, name in wrong_types)
                if array is not None:
                    sound[name] = array
            yield CheckedBatch(sound, first_row, batch.num_rows)
            first_row += batch.num_rows
    _doubt_names(known, table, where, names, problems, first_row)
    if first_row == 0:
        message = f"{where} has no rows: give a table with at least one, or leave the table out"
        problems.add(Problem("empty", table, None, None, None, message))


def _doubt_names(
    known: TableSchema, table: str, where: str, names: list[str], problems: ProblemList, rows: int
) -> None:
    """Doubt columns that are the table's but for how their names are written: no command reads them."""
    own = {column.name for column in known.columns}
    strange = [name for name in names if name not in own]
    for name in sorted(own.difference(names, known.required)):
        near = next(iter(same_but_for_case(name, strange)), None) or nearly(name, strange)
        if near is not None and rows:
            problems.doubt(table, name, f"{where} has no column '{name}', but '{near}', which nothing reads", rows)


class _BatchChecker:
    """Checks the columns of one batch."""

    def __init__(
        self,
        table: str,
        known: TableSchema,
        problems: ProblemList,
        places: RowPlaces,
        first_row: int,
        batch: pa.RecordBatch,
    ) -> None:
        self.table = table
        self.known = known
        self.problems = problems
        self.places = places
        self.first_row = first_row
        key = known.unique_key[0] if known.unique_key else None
        self._ids = batch.column(key) if key in batch.schema.names else None

    def check(self, name: str, array: pa.Array, target: pa.DataType, wrong_type: bool) -> pa.Array | None:
        """Add what is wrong with a column; the column in its type, or None where that cannot be had."""
        found = not_utf8(array)
        if found is not None:
            self._text_rows(name, array)
            return None
        if wrong_type:
            return None
        column = self.known.column(name)
        if column is not None and column.type in (VECTOR, VECTOR_LIST):
            self._vectors(name, array, vector_width(target))
            return None
        try:
            array = conform_array(array, target, name, 1)
        except DataError as error:
            file, row = self.places.place(self.first_row)
            message = f"{file}, in the {len(array)} rows from {row} on: {error}"
            self.problems.add(Problem("wrong value", self.table, name, None, None, message))
            return None
        if column is not None:
            self._values(column, array)
        return array

    def _text_rows(self, name: str, array: pa.Array) -> None:
        rows = [row for row in range(len(array)) if not_utf8(array.slice(row, 1)) is not None]
        self._add("not UTF-8", name, np.array(rows), array, lambda _: "holds text that is not UTF-8: save it as UTF-8")

    def _vectors(self, name: str, array: pa.Array, width: int) -> None:
        wrong = _wrong_width_rows(array, width)
        self._add(
            "wrong width",
            name,
            wrong,
            None,
            lambda _: f"holds a vector whose width is not {width}, as the column's first one has: give all one width",
        )
        self._add(
            "not finite",
            name,
            not_finite_rows(array),
            None,
            lambda _: (
                "holds a vector with a number that is null, NaN or infinite: "
                "give finite numbers, or null for a vector that is missing"
            ),
        )

    def _values(self, column: Column, array: pa.Array) -> None:
        text = pa.types.is_string(array.type)
        if not column.nullable:
            self._add("null", column.name, _rows(pc.is_null(array)), None, lambda _: "is null: fill it")
        if column.key and text:
            blank = pc.equal(pc.utf8_trim_whitespace(array), "")
            self._add("blank", column.name, _rows(blank), array, lambda _: "is blank: fill it")
        if column.choices and text:
            known = pc.or_kleene(pc.is_in(array, pa.array(column.choices)), pc.is_null(array))
            there = ", ".join(column.choices)
            say: _Say = lambda value: f"holds {value!r}: it must be one of {there}"  # noqa: E731
            self._add("unknown value", column.name, _rows(pc.invert(known)), array, say)
        if pa.types.is_timestamp(array.type):
            self._times(column.name, array)
        if column.name == "grade":
            sound = pc.and_(pc.is_finite(array), pc.greater_equal(array, 0))
            say = lambda value: f"holds {value!r}: a grade must be a finite number of at least 0"  # noqa: E731
            self._add("wrong grade", column.name, _rows(pc.invert(sound)), array, say)

    def _times(self, name: str, array: pa.Array) -> None:
        odd = odd_times(array)
        if odd is not None:
            file, place = self.places.place(self.first_row + odd.first_row)
            said = f"{file}, row {place}: column '{name}' holds {odd.first:%Y-%m-%d %H:%M}, which is {odd.reason}"
            self.problems.doubt(self.table, name, said, odd.rows)

    def _add(self, kind: str, name: str, rows: np.ndarray, array: pa.Array | None, say: _Say) -> None:
        """Problems of one kind in these rows of the batch; sentences only for those that are listed."""
        shown = []
        for row in rows[: self.problems.most].tolist():
            file, place = self.places.place(self.first_row + row)
            value = None if array is None or kind == "not UTF-8" else array[row].as_py()
            found_id = self._id(row)
            named = f" (id '{found_id}')" if found_id else ""
            message = f"{file}, row {place}{named}: column '{name}' {say(value)}"
            shown.append(Problem(kind, self.table, name, place, found_id, message))
        self.problems.add_all(shown, len(rows))

    def _id(self, row: int) -> str | None:
        if self._ids is None or not_utf8(self._ids.slice(row, 1)) is not None:
            return None
        value = self._ids[row].as_py()
        return None if value is None else str(value)


def _rows(mask: pa.Array) -> np.ndarray:
    """Rows where the mask is true; null is false."""
    return np.flatnonzero(pc.fill_null(mask, False).to_numpy(zero_copy_only=False))


def _wrong_width_rows(array: pa.Array, width: int) -> np.ndarray:
    """Rows (ascending) with a vector of another width; a list column is looked into."""
    owners = np.arange(len(array))
    inner = array
    if pa.types.is_list(array.type) and not pa.types.is_primitive(array.type.value_type):
        owners = np.repeat(owners, pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False))
        inner = array.flatten()
    lengths = pc.fill_null(pc.list_value_length(inner), width).to_numpy(zero_copy_only=False)
    return np.unique(owners[lengths != width])
