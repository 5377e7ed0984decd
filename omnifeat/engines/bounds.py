"""What DuckDB may take on this machine, and the sentences for what goes wrong there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from omnifeat.cores import thread_count
from omnifeat.data.locations import one_line
from omnifeat.engines.engine import REFUSED, RefusedRowError, Tables, name_in_sql
from omnifeat.errors import DataError, OutputError, SettingError
from omnifeat.scratch import TEMPORARY_PREFIX, parse_bytes, temporary_folder
from omnifeat.stopping import interruptible

__all__ = ["Bounds", "add_views", "quoted"]

# DuckDB cannot hold the buffers of two threads and a table in less
_LEAST_MEMORY = 64 * 10**6

# what a broken file comes out as; parser, binder and catalogue errors are mistakes of the program
_OF_FILES = (
    duckdb.ConversionException,
    duckdb.InvalidInputException,
    duckdb.IOException,
    duckdb.SerializationException,
    pa.ArrowException,
)


class Bounds:
    """Memory, threads and a place for what does not fit in memory.

    Parameters
    ----------
    memory_limit
        A size such as ``512MB`` or ``4GiB``. The process takes up to 0.4 GiB more.
    threads
        All cores if not given.
    temporary
        Folder in which the temporary folders are made; the system's place (`TMPDIR`) if not given.

    Raises
    ------
    SettingError
        The memory limit is not a size, or is below 64 MB; or there is less than one thread.
    """

    def __init__(self, memory_limit: str | int, threads: int | None, temporary: str | Path | None = None) -> None:
        size = parse_bytes(memory_limit)
        if size < _LEAST_MEMORY:
            raise SettingError(f"The memory limit must be at least 64MB, but is {memory_limit}; raise it.")
        if threads is not None and threads < 1:
            raise SettingError(f"There must be at least one thread, not {threads}.")
        self.memory_limit = str(memory_limit)
        self.threads = threads
        self._bytes = size
        self._temporary = temporary

    @contextmanager
    def connect(self) -> Iterator[Any]:
        """A database of its own in memory, which spills to a temporary folder; both are gone at the end.

        Raises
        ------
        OutputError
            No temporary folder can be made.
        """
        with temporary_folder(self._temporary) as folder:
            config = {
                "memory_limit": f"{self._bytes}B",
                "threads": str(thread_count(self.threads)),
                "temp_directory": str(folder),
                # nothing is fetched from anywhere
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
            }
            connection = duckdb.connect(config=config)
            try:
                # rows come in the order that the SQL asks for, or in none; to keep that of the files costs memory
                connection.execute("SET preserve_insertion_order = false")
                connection.execute("SET enable_progress_bar = false")  # it would go to standard output
                with interruptible(connection):
                    yield connection
            finally:
                connection.close()

    @contextmanager
    def named_errors(self, tables: Tables) -> Iterator[None]:
        """Raise as one sentence what the user can put right; `tables` are the files that are read."""
        try:
            yield
        except duckdb.InterruptException as error:  # by a signal
            raise KeyboardInterrupt from error
        except (duckdb.Error, pa.ArrowException) as error:  # Arrow's, where a stream of batches breaks off
            raised = self._sentence(error, tables)
            if raised is None:  # a mistake in the SQL is ours
                raise
            raise raised from error

    def _sentence(self, error: Any, tables: Tables) -> Exception | None:
        """The error of the user's input that DuckDB's error stands for; None where it is the program's."""
        text = str(error)
        lower = text.lower()
        place = self._temporary or tempfile.gettempdir()
        reason = one_line(text.split("\n", maxsplit=1)[0])
        if REFUSED in text:
            return RefusedRowError("an aggregation met a row that it refuses")
        if "no space left" in lower or "max_temp_directory_size" in lower:
            return OutputError(
                f"The disk of {place} has no room for what does not fit in memory: "
                "free some, raise the memory limit, or set TMPDIR to a larger disk."
            )
        if isinstance(error, duckdb.OutOfMemoryException) or "out of memory error" in lower:
            return SettingError(
                f"A memory limit of {self.memory_limit} with {thread_count(self.threads)} threads is too small for "
                "these tables: raise the limit, or take fewer threads."
            )
        if isinstance(error, duckdb.IOException) and TEMPORARY_PREFIX in text:
            return OutputError(
                f"What does not fit in memory cannot go to {place} ({reason}): raise the memory limit, or set TMPDIR "
                "to another folder."
            )
        if isinstance(error, duckdb.IOException) and "for writing" in lower:
            return OutputError(f"An aggregation's result cannot be written: {one_line(text)}.")
        return _broken_file(error, tables, text, reason)


def _broken_file(error: Any, tables: Tables, text: str, reason: str) -> DataError | None:
    files = [str(file) for several in tables.values() for file in several]
    if not files or not isinstance(error, _OF_FILES):
        return None
    name = next((file for file in files if file in text), files[0] if len(files) == 1 else None)
    where = name or f"one of {', '.join(files[:3])}{', ...' if len(files) > 3 else ''}"
    return DataError(f"{where} cannot be read: it is truncated or corrupt ({reason}): write it again")


def add_views(connection: Any, tables: Tables) -> None:
    """Let the names of the tables stand for their Parquet files."""
    for name, files in tables.items():
        listed = ", ".join(quoted(file, pattern=True) for file in files)
        # a folder that is named like `action=click` must not take the place of the file's own column
        connection.execute(
            f"CREATE VIEW {name_in_sql(name)} AS SELECT * FROM read_parquet([{listed}], hive_partitioning = false)"
        )


def quoted(path: str | Path, pattern: bool = False) -> str:
    """A path as a text of SQL; where DuckDB reads patterns, with their signs made plain."""
    text = os.fspath(path)
    if pattern:
        text = "".join(f"[{sign}]" if sign in "*?[" else sign for sign in text)
    return "'" + text.replace("'", "''") + "'"
