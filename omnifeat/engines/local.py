"""The engine of this machine: DuckDB under a memory limit, spilling to a temporary folder."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from omnifeat.data.files import replace_when_whole
from omnifeat.engines.bounds import Bounds, add_views, quoted
from omnifeat.engines.engine import Tables

__all__ = ["LocalEngine"]


class LocalEngine:
    """Runs SQL in DuckDB on this machine.

    Each query has a database of its own in memory, which spills to a temporary folder beyond the limit. The folder is
    removed when the query is over, and nothing else is kept.

    Parameters
    ----------
    memory_limit, threads, temporary
        See `Bounds`, which raises what is wrong with them.
    """

    def __init__(
        self, memory_limit: str | int = "4GB", threads: int | None = None, temporary: str | Path | None = None
    ) -> None:
        self._bounds = Bounds(memory_limit, threads, temporary)

    def write(self, sql: str, tables: Tables, out: Path) -> int:
        """Run a query into a Parquet file that appears when it is whole; the number of rows. See `Engine.write`."""
        with self._connection(tables) as connection, replace_when_whole(out) as partial:
            copied = connection.execute(f"COPY ({sql}) TO {quoted(partial)} (FORMAT parquet, COMPRESSION zstd)")
            return int(copied.fetchall()[0][0])

    def batches(self, sql: str, tables: Tables, batch_size: int) -> Generator[pa.RecordBatch, None, None]:
        """Run a query and stream its rows in batches. See `Engine.batches`."""
        with self._connection(tables) as connection:
            reader = connection.sql(sql).to_arrow_reader(batch_size)
            for batch in reader:
                for start in range(0, batch.num_rows, batch_size):
                    yield batch.slice(start, batch_size)

    def rows(self, sql: str, tables: Tables) -> list[tuple[Any, ...]]:
        """Run a query whose few rows fit in memory. See `Engine.rows`."""
        with self._connection(tables) as connection:
            return list(connection.execute(sql).fetchall())

    @contextmanager
    def _connection(self, tables: Tables) -> Iterator[Any]:
        with self._bounds.named_errors(tables), self._bounds.connect() as connection:
            add_views(connection, tables)
            yield connection
