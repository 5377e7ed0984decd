"""SQL over tables larger than the memory: DuckDB on a database on disk, under a memory limit.

The one place of pairs and graph vectors that knows which engine runs their SQL.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa

from omnifeat.data.locations import one_line
from omnifeat.errors import OutputError, SettingError
from omnifeat.scratch import parse_bytes

__all__ = ["MEMORY_LIMIT", "SqlStore"]

MEMORY_LIMIT = "1GB"
_LEAST_MEMORY = 64 * 2**20
_ROWS = 65_536


class SqlStore:
    """A database of its own in a temporary folder, removed at the end. Make one with `SqlStore.open`."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @classmethod
    @contextmanager
    def open(cls, memory_limit: str = MEMORY_LIMIT, threads: int | None = None) -> Iterator[SqlStore]:
        """An empty store.

        Parameters
        ----------
        memory_limit
            What DuckDB may hold in memory, such as 512MB; what does not fit goes to the temporary folder.
        threads
            Threads of DuckDB; as many as there are cores if not given.

        Raises
        ------
        SettingError
            The memory limit is no size, or less than 64 MiB.
        OutputError
            No temporary folder can be made.
        """
        size = parse_bytes(memory_limit)
        if size < _LEAST_MEMORY:
            raise SettingError(f"The memory limit must be at least 64MiB, but is {memory_limit}.")
        # insertion order would have to be held in memory; results are ordered where it matters
        config: dict[str, Any] = {"memory_limit": f"{size // 2**20}MiB", "preserve_insertion_order": "false"}
        if threads is not None:
            config["threads"] = str(threads)
        try:
            folder = tempfile.TemporaryDirectory(prefix="omnifeat-")
        except OSError as error:
            raise OutputError(f"No temporary folder can be made: {error}; set TMPDIR to a writable folder.") from error
        with folder as place:
            connection = duckdb.connect(f"{place}/store.duckdb", config=config)
            try:
                connection.execute("SET TimeZone = 'UTC'")
                connection.execute("SET enable_progress_bar = false")  # it would go to standard output
                yield cls(connection)
            finally:
                connection.close()

    def run(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement, `?` in it standing for the values; its rows.

        Raises
        ------
        OutputError
            The statement needs more memory or disk than there is.
        """
        try:
            rows: list[tuple[Any, ...]] = self._connection.execute(sql, list(values)).fetchall()
        except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
            raise _no_room(error) from error
        return rows

    def read(self, name: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch], sql: str) -> None:
        """Run a statement that reads the batches once, as a table of that name.

        What the iterator raises is raised here as it is.
        """
        failed: list[BaseException] = []

        def watched() -> Iterator[pa.RecordBatch]:
            try:
                yield from batches
            except BaseException as error:
                # DuckDB would hand on no more than its text
                failed.append(error)
                raise

        self._connection.register(name, pa.RecordBatchReader.from_batches(schema, watched()))
        try:
            self._connection.execute(sql)
        except duckdb.Error as error:
            if failed:
                raise failed[0] from None
            if isinstance(error, duckdb.OutOfMemoryException | duckdb.IOException):
                raise _no_room(error) from error
            raise
        finally:
            self._connection.unregister(name)

    def batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        """The rows of a query in batches. Raises what `run` raises."""
        try:
            yield from self._connection.sql(sql).to_arrow_reader(_ROWS)
        except (duckdb.OutOfMemoryException, duckdb.IOException, pa.ArrowInvalid, OSError) as error:
            raise _no_room(error) from error


def _no_room(error: Exception) -> OutputError:
    reason = one_line(str(error).split("\n", 1)[0])
    return OutputError(f"The aggregation found no room ({reason}): raise --memory-limit or set TMPDIR to a larger disk")
