"""What an engine is: an aggregation is a SQL text over tables, and its result goes to Parquet or comes in batches.

The SQL is what DuckDB understands. A text that is to give the same rows on every engine keeps to integers where sums
are compared, names every order to the last tie, and reads no setting of the session (time zone, collation).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import pyarrow as pa

from omnifeat.errors import DataError

__all__ = ["REFUSED", "Engine", "RefusedRowError", "Tables", "blank_in_sql", "name_in_sql"]

# name in the SQL -> the Parquet files that together are the table, all with the same columns and types
Tables: TypeAlias = Mapping[str, Sequence[str | Path]]

# An aggregation refuses a row that must not be there by `error('omnifeat: refused row')` in its SQL: the check costs
# no second reading of the table, and the caller looks for the row only when there is one.
REFUSED = "omnifeat: refused row"


class RefusedRowError(DataError):
    """An aggregation met a row that its SQL refuses; the caller finds and names it."""


def name_in_sql(name: str) -> str:
    """The name of a column or table as SQL quotes it."""
    return '"' + name.replace('"', '""') + '"'


# what `pyarrow.compute.utf8_trim_whitespace` trims
_WHITE = "".join(map(chr, [*range(9, 14), *range(28, 33), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029,
                           0x202F, 0x205F, 0x3000]))  # fmt: skip


def blank_in_sql(text: str) -> str:
    """SQL of whether a text, given as SQL, is empty or white space alone, as `omnifeat validate` sees it."""
    # few texts begin with white space or beyond ASCII: the others are told by their first byte
    codes = " || ".join(f"chr({ord(sign)})" for sign in _WHITE)
    return f"CASE WHEN {text} < '!' OR {text} >= chr(128) THEN trim({text}, {codes}) = '' ELSE false END"


class Engine(Protocol):
    """Runs aggregations."""

    def write(self, sql: str, tables: Tables, out: Path) -> int:
        """Run a query, write its rows to a Parquet file that appears when it is whole, and return their number.

        Raises
        ------
        RefusedRowError
            The SQL refused a row.
        DataError
            A file is corrupt.
        SettingError
            The memory limit is too small for the query.
        OutputError
            There is no room on the disk.
        """

    def batches(self, sql: str, tables: Tables, batch_size: int) -> Generator[pa.RecordBatch, None, None]:
        """Run a query and give its rows in batches of at most `batch_size`; raises what `write` raises."""

    def rows(self, sql: str, tables: Tables) -> list[tuple[Any, ...]]:
        """Run a query whose few rows fit in memory; raises what `write` raises."""
