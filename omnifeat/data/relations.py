"""Checks across rows and tables, in DuckDB with bounded memory: ids that stand twice, ids that stand nowhere, leaks.

Only ids and row numbers go into DuckDB, into a database on disk that is removed at the end.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.locations import one_line
from omnifeat.data.meeting import other_writing
from omnifeat.data.problems import Problem, ProblemList
from omnifeat.data.row_checks import CheckedBatch, RowPlaces
from omnifeat.data.schema import DERIVED_TABLES, ENTITY_TABLES, TABLES
from omnifeat.errors import OutputError
from omnifeat.scratch import temporary_folder
from omnifeat.stopping import interruptible

__all__ = ["IdStore", "Reference", "references", "unique_column"]

MEMORY_LIMIT = "1GB"
_KNOWN = TABLES | DERIVED_TABLES
_LOOKED_AT = 10_000  # ids among which one that is written otherwise is looked for


@dataclass(frozen=True)
class Reference:
    """Values of a column that must stand in a column of another table."""

    table: str
    column: str
    target: str
    target_column: str
    entity_type: str | None = None

    @property
    def name(self) -> str:
        """Name of the store's table of these values."""
        return f"ref_{self.table}_{self.column}"


def unique_column(table: str) -> str | None:
    """The column of a table that holds a value once."""
    keys = _KNOWN[table].unique_key
    return keys[0] if keys else None


def references(table: str) -> list[Reference]:
    """What the columns of a table point to.

    An entity of type query is a text, which needs no row in `queries`, unless there is that table.
    """
    names = {column.name for column in _KNOWN[table].columns}
    found = []
    if {"entity_id", "entity_type"} <= names:
        for entity_type, (target, column) in ENTITY_TABLES.items():
            found.append(Reference(table, "entity_id", target, column, entity_type))
    if "board_id" in names and table != "boards":
        found.append(Reference(table, "board_id", "boards", "board_id"))
    if "interest_id" in names and table != "interests":
        found.append(Reference(table, "interest_id", "interests", "interest_id"))
    if "parent_id" in names:
        found.append(Reference(table, "parent_id", "interests", "interest_id"))
    return found


@contextmanager
def _named_errors() -> Iterator[None]:
    """DuckDB's refusals as one sentence."""
    try:
        yield
    except duckdb.InterruptException as error:  # by a signal
        raise KeyboardInterrupt from error
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        raise OutputError(
            f"The ids do not fit in a temporary folder of {tempfile.gettempdir()} ({one_line(error)}): set TMPDIR to a "
            "larger disk"
        ) from error


class IdStore:
    """Ids of all tables, each with its row. Make one with `IdStore.open`."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._tables: set[str] = set()

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[IdStore]:
        """An empty store on disk, removed at the end.

        Raises
        ------
        OutputError
            There is no room for it.
        """
        with _named_errors(), temporary_folder() as folder:
            connection = duckdb.connect(f"{folder}/ids.duckdb", config={"memory_limit": MEMORY_LIMIT, "threads": "2"})
            try:
                connection.execute("SET preserve_insertion_order = false")
                # it would go to standard output, amid the JSON that stands there
                connection.execute("SET enable_progress_bar = false")
                with interruptible(connection):
                    yield cls(connection)
            finally:
                connection.close()

    def insert(self, name: str, columns: dict[str, pa.Array]) -> None:
        """Add rows to a table of the store, which is made if need be."""
        self._connection.register("incoming", pa.table(columns))
        if name in self._tables:
            self._connection.execute(f'INSERT INTO "{name}" SELECT * FROM incoming')
        else:
            self._connection.execute(f'CREATE TABLE "{name}" AS SELECT * FROM incoming')
            self._tables.add(name)
        self._connection.unregister("incoming")

    def query(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query, `?` in it standing for the values."""
        rows: list[tuple[Any, ...]] = self._connection.execute(sql, list(values)).fetchall()
        return rows

    def has(self, name: str) -> bool:
        """Whether the store has the table."""
        return name in self._tables

    def add_batch(self, table: str, batch: CheckedBatch) -> None:
        """Keep the ids of a batch, and the values that point to other tables."""
        rows = pa.array(np.arange(batch.first_row, batch.first_row + batch.rows))
        key = unique_column(table)
        if key is not None and key in batch.columns:
            extra = {}
            if table == "interests" and "level" in batch.columns:
                extra["level"] = batch.columns["level"]
            self._insert_valid(f"ids_{table}", {"row": rows, "value": batch.columns[key], **extra})
        for name, column, with_type in {(r.name, r.column, r.entity_type is not None) for r in references(table)}:
            if column not in batch.columns or (with_type and "entity_type" not in batch.columns):
                continue
            columns = {"row": rows, "value": batch.columns[column]}
            if with_type:
                columns["entity_type"] = batch.columns["entity_type"]
            if column == "parent_id":
                if "level" in batch.columns:
                    columns["level"] = batch.columns["level"]
                # a root has no parent
                columns["value"] = pc.if_else(pc.equal(columns["value"], ""), None, columns["value"])
            self._insert_valid(name, columns)

    def _insert_valid(self, name: str, columns: dict[str, pa.Array]) -> None:
        table = pa.table(columns)
        self.insert(name, dict(zip(table.column_names, table.filter(pc.is_valid(table["value"])).columns, strict=True)))

    def add_duplicates(self, table: str, places: RowPlaces, problems: ProblemList) -> None:
        """Add a problem for each id that stands in several rows."""
        column = unique_column(table)
        if column is None or not self.has(f"ids_{table}"):
            return
        twice = f'SELECT value, count(*) AS n, min(row) AS first FROM "ids_{table}" GROUP BY value HAVING count(*) > 1'
        count = self.query(f"SELECT count(*) FROM ({twice})")[0][0]
        shown = []
        for value, times, _ in self.query(f"{twice} ORDER BY first LIMIT {problems.most}") if count else []:
            lines = self.query(f'SELECT row FROM "ids_{table}" WHERE value = ? ORDER BY row LIMIT 2', [value])
            (file, row), (other_file, other) = (places.place(line[0]) for line in lines)
            also = f"row {other}" if other_file == file else f"row {other} of {other_file}"
            more = f" ({times} times in all)" if times > 2 else ""
            message = (
                f"{file}: the {column} '{value}' stands in row {row} and again in {also}{more}: keep one row for each"
            )
            shown.append(Problem("duplicate", table, column, other, value, message))
        problems.add_all(shown, count)

    def add_dangling(self, reference: Reference, places: RowPlaces, problems: ProblemList) -> None:
        """Add a problem for each row that names an id which its table does not have."""
        if not self.has(reference.name):
            return
        condition = f"WHERE r.entity_type = '{reference.entity_type}'" if reference.entity_type else ""
        source = f'FROM "{reference.name}" r'
        if not self.has(f"ids_{reference.target}"):
            count = self.query(f"SELECT count(*) {source} {condition}")[0][0]
            if count and reference.entity_type != "query":
                message = (
                    f"the table '{reference.table}' names {reference.target} in {count:,} rows, but there is no table "
                    f"'{reference.target}' with a sound column '{reference.target_column}': add it"
                )
                problems.add(Problem("missing table", reference.table, reference.column, None, None, message))
            return
        wrong = f'{source} ANTI JOIN "ids_{reference.target}" t ON r.value = t.value {condition}'
        count = self.query(f"SELECT count(*) {wrong}")[0][0]
        shown = []
        sample = f'SELECT value FROM "ids_{reference.target}" LIMIT {_LOOKED_AT}'
        others = [found for (found,) in self.query(sample)] if count else []
        for line, value in self.query(f"SELECT row, r.value {wrong} ORDER BY row LIMIT {problems.most}"):
            file, row = places.place(line)
            alike = other_writing([value], others)
            hint = f"; '{alike[1]}' is there, and differs in {alike[2]}" if alike else ""
            message = (
                f"{file}, row {row}: {reference.column} '{value}' is not in column '{reference.target_column}' of the "
                f"table '{reference.target}': add it there or remove the row{hint}"
            )
            shown.append(Problem("unknown id", reference.table, reference.column, row, value, message))
        problems.add_all(shown, count)

    def add_wrong_levels(self, places: RowPlaces, problems: ProblemList) -> None:
        """Add a problem for each interest that does not lie deeper than its parent; so there are no cycles."""
        child = "ref_interests_parent_id"
        if not self.has(child) or not self.has("ids_interests"):
            return
        names = {row[0] for row in self.query(f"SELECT column_name FROM (DESCRIBE {child})")}
        if "level" not in names:
            return
        wrong = (
            f"FROM {child} c JOIN ids_interests p ON c.value = p.value JOIN ids_interests me ON me.row = c.row "
            "WHERE c.level <= p.level"
        )
        count = self.query(f"SELECT count(*) {wrong}")[0][0]
        shown = []
        sql = f"SELECT c.row, me.value, c.level, p.value, p.level {wrong} ORDER BY c.row LIMIT {problems.most}"
        for line, value, level, parent, parent_level in self.query(sql):
            file, row = places.place(line)
            message = (
                f"{file}, row {row}: interest '{value}' has level {level}, but its parent '{parent}' has level "
                f"{parent_level}: a parent's level must be smaller"
            )
            shown.append(Problem("wrong level", "interests", "level", row, value, message))
        problems.add_all(shown, count)
