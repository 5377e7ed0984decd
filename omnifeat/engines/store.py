"""Tables that one aggregation after another makes and reads: DuckDB under a memory limit, spilling to disk.

`LocalEngine` runs one query over files. What takes several steps, each of which reads what the last one made, has a
store: its tables lie in memory as far as the limit allows, and otherwise in a temporary folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from omnifeat.engines.bounds import Bounds, add_views
from omnifeat.engines.engine import Tables

__all__ = ["MEMORY_LIMIT", "Store"]

MEMORY_LIMIT = "1GB"
_ROWS = 65_536


class Store:
    """A database that is gone at the end. Make one with `Store.open`."""

    def __init__(self, connection: Any, bounds: Bounds) -> None:
        self._connection = connection
        self._bounds = bounds
        self._files: dict[str, list[str | Path]] = {}

    @classmethod
    @contextmanager
    def open(
        cls, memory_limit: str | int = MEMORY_LIMIT, threads: int | None = None, temporary: str | Path | None = None
    ) -> Iterator[Store]:
        """An empty store; see `Bounds` for the parameters.

        Raises
        ------
        SettingError
            The memory limit or the number of threads is not what it must be.
        OutputError
            No temporary folder can be made.
        """
        bounds = Bounds(memory_limit, threads, temporary)
        with bounds.connect() as connection:
            yield cls(connection, bounds)

    def attach(self, tables: Tables) -> None:
        """Let names stand for Parquet files, which each query reads anew. Raises what `run` raises."""
        self._files |= {name: list(files) for name, files in tables.items()}
        with self._bounds.named_errors(self._files):
            add_views(self._connection, tables)

    def run(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement, `?` in it standing for the values; its rows, which must fit in memory.

        Raises
        ------
        RefusedRowError
            The SQL refused a row.
        DataError
            A file that was attached is corrupt.
        SettingError
            The memory limit is too small for the statement.
        OutputError
            There is no room on the disk.
        """
        with self._bounds.named_errors(self._files):
            rows: list[tuple[Any, ...]] = self._connection.execute(sql, list(values)).fetchall()
        return rows

    def read(self, name: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch], sql: str) -> None:
        """Run a statement that reads the batches once, as a table of that name.

        What the iterator raises is raised here as it is; otherwise what `run` raises.
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
            with self._bounds.named_errors({}):  # no file is read by DuckDB here
                self._connection.execute(sql)
        except Exception:
            if failed:
                raise failed[0] from None
            raise
        finally:
            self._connection.unregister(name)

    def batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        """The rows of a query in batches, to be read before the store does anything else. Raises what `run` raises."""
        with self._bounds.named_errors(self._files):
            reader = self._connection.sql(sql).to_arrow_reader(_ROWS)
        while True:
            with self._bounds.named_errors(self._files):
                batch = next(reader, None)
            if batch is None:
                return
            yield batch
