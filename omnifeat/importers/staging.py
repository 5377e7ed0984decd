"""Checks across the rows of tables that do not fit in memory: rows that stand twice, ids that stand nowhere.

A source is read twice. The first reading leaves in a DuckDB database on disk what is to be compared, row by row: its
number, its keys, and a digest of all its values. SQL finds the rows to leave out; the second reading, in batches in the
order of the file, leaves them out. Memory is bounded by one batch and DuckDB's limit, whatever the size of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from omnifeat.errors import OutputError
from omnifeat.scratch import parse_bytes, temporary_folder
from omnifeat.stopping import interruptible

__all__ = ["MEMORY_LIMIT", "Staging"]

MEMORY_LIMIT = "1GB"
_BATCH_ROWS = 65_536


class Staging:
    """A database on disk, gone at the end. Make one with `Staging.open`. Rows are numbered from 1 within a table."""

    def __init__(self, connection: Any, advance: Callable[[int], None] | None = None) -> None:
        self._connection = connection
        self._advance = advance or (lambda rows: None)
        self._counts: dict[str, int] = {}

    @classmethod
    @contextmanager
    def open(
        cls, memory_limit: str | int = MEMORY_LIMIT, advance: Callable[[int], None] | None = None
    ) -> Iterator[Staging]:
        """An empty database in the system's folder for temporary files.

        Parameters
        ----------
        memory_limit
            What DuckDB may hold before it goes to disk, such as "512MB".
        advance
            Called with the number of rows read since the last call; a file that is read twice counts twice.

        Raises
        ------
        SettingError
            The limit is no size.
        OutputError
            The temporary folder cannot be made, or the disk is full.
        """
        config = {"memory_limit": f"{parse_bytes(memory_limit)}B", "threads": "2"}
        try:
            with temporary_folder() as folder:
                config["temp_directory"] = f"{folder}/spill"
                connection = duckdb.connect(f"{folder}/staging.duckdb", config=config)
                try:
                    # every result that is read in order is sorted
                    connection.execute("SET preserve_insertion_order = false")
                    _silence(connection)
                    with interruptible(connection):
                        yield cls(connection, advance)
                finally:
                    connection.close()
        except duckdb.InterruptException as error:  # by a signal
            raise KeyboardInterrupt from error
        except duckdb.OutOfMemoryException as error:
            raise OutputError(
                f"The import needs more memory than the limit of {memory_limit}; raise it with --memory-limit."
            ) from error
        except duckdb.IOException as error:
            raise OutputError(
                f"The temporary folder cannot be used: {' '.join(str(error).split())}; set TMPDIR to a larger disk."
            ) from error

    def load(
        self, name: str, batches: Iterable[pa.RecordBatch], keep: Sequence[str], identity: Sequence[str] = ()
    ) -> int:
        """Stage a table; the number of its rows.

        Parameters
        ----------
        batches
            Columns of text, lists of text or numbers.
        keep
            Columns that the staged table has, beside `row`.
        identity
            Columns of text over which `digest` is taken, by which rows are equal; without any there is no digest.
        """
        kept = ", ".join(f'"{column}"' for column in keep)
        # a length before each value: no two rows of values are one text
        parts = " || ".join(f"coalesce(length(\"{c}\")::VARCHAR || ':' || \"{c}\", '-')" for c in identity)
        digest = f", md5_number({parts}) AS digest" if identity else ""
        for batch in batches:
            first = self._counts.get(name, 0) + 1
            rows = pa.array(np.arange(first, first + batch.num_rows, dtype=np.int64))
            self._connection.register("incoming", pa.table([rows, *batch.columns], names=["row", *batch.schema.names]))
            select = f"SELECT row{', ' if kept else ''}{kept}{digest} FROM incoming"
            if name in self._counts:
                self._connection.execute(f"INSERT INTO {name} {select}")
            else:
                self._connection.execute(f"CREATE TABLE {name} AS {select}")
            self._connection.unregister("incoming")
            self._counts[name] = self._counts.get(name, 0) + batch.num_rows
            self._advance(batch.num_rows)
        return self._counts.get(name, 0)

    def count(self, name: str) -> int:
        """Rows of a staged table; 0 where there is none of that name."""
        return self._counts.get(name, 0)

    def execute(self, sql: str, values: Sequence[object] = ()) -> None:
        """Run a statement."""
        self._connection.execute(sql, list(values))

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """A small result, whole."""
        found: list[tuple[Any, ...]] = self._connection.execute(sql, list(values)).fetchall()
        return found

    def value(self, sql: str) -> int:
        """One number."""
        return int(self.rows(sql)[0][0] or 0)

    def batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        """A large result in batches; several may be read at once."""
        cursor = self._connection.cursor()
        try:
            _silence(cursor)
            relation = cursor.sql(sql)
            # older releases of DuckDB have another name for it
            reader = getattr(relation, "to_arrow_reader", None) or relation.fetch_record_batch
            yield from reader(_BATCH_ROWS)
        finally:
            cursor.close()

    def reject_repeated(self, name: str) -> int:
        """Begin the table `NAME_out` of rows to leave out with those equal to an earlier one; how many there are."""
        self.execute(
            f"CREATE TABLE {name}_again AS SELECT digest, min(row) AS first FROM {name} "
            "GROUP BY digest HAVING count(*) > 1"
        )
        self.execute(
            f"CREATE TABLE {name}_out AS SELECT t.row FROM {name} t JOIN {name}_again a "
            "ON t.digest = a.digest WHERE t.row > a.first"
        )
        return self.value(f"SELECT count(*) FROM {name}_out")

    def reject(self, name: str, condition: str) -> int:
        """Add the rows for which the condition holds (on alias `t`) to `NAME_out`; how many are new there."""
        before = self.value(f"SELECT count(*) FROM {name}_out")
        self.execute(
            f"INSERT INTO {name}_out SELECT t.row FROM {name} t ANTI JOIN {name}_out o ON t.row = o.row "
            f"WHERE {condition}"
        )
        return self.value(f"SELECT count(*) FROM {name}_out") - before

    def first_conflict(self, name: str, key: str) -> tuple[Any, ...] | None:
        """Key value and the first two rows that bear it, of the rows not left out; None where each stands once."""
        found = self.rows(
            f"SELECT any_value({key}), min(row) AS first, min_by(row, row, 2)[2] FROM {name} t ANTI JOIN {name}_out o "
            f"USING (row) GROUP BY {key} HAVING count(*) > 1 ORDER BY first LIMIT 1"
        )
        return found[0] if found else None

    def kept(self, name: str, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches of the second reading without the rows in `NAME_out`."""
        rejected = _Ascending(self.batches(f"SELECT row FROM {name}_out ORDER BY row"))
        first = 1
        for batch in batches:
            mask = rejected.keep(first, batch.num_rows)
            first += batch.num_rows
            self._advance(batch.num_rows)
            left = batch if mask.all() else batch.filter(pa.array(mask))
            if left.num_rows:
                yield left


def _silence(connection: Any) -> None:
    # DuckDB would show its own bar on standard output, amid the JSON that stands there
    connection.execute("SET enable_progress_bar = false")


class _Ascending:
    """Row numbers in ascending order, read as far as they are needed."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._waiting: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._ended = False

    def keep(self, first: int, count: int) -> npt.NDArray[np.bool_]:
        """For the rows from `first` on (count), which of them are not among the numbers."""
        end = first + count
        while not self._ended and (len(self._waiting) == 0 or self._waiting[-1] < end):
            batch = next(self._batches, None)
            if batch is None:
                self._ended = True
            else:
                self._waiting = np.concatenate([self._waiting, batch.column(0).to_numpy()])
        cut = int(np.searchsorted(self._waiting, end))
        mask = np.ones(count, np.bool_)
        mask[self._waiting[:cut] - first] = False
        self._waiting = self._waiting[cut:]
        return mask
