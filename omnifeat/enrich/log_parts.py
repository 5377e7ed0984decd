"""The log of engagements as an engine reads it: its files checked, those that are not plain Parquet made so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.checks import check_nulls, type_problems
from omnifeat.data.columnar import ParquetReader
from omnifeat.data.conform import plain_type
from omnifeat.data.dataset import Dataset
from omnifeat.data.files import BATCH_SIZE, Reader, TableWriter, conformed_batches, open_parts, settled_schema
from omnifeat.data.locations import PathLike
from omnifeat.data.schema import ACTIONS, ENTITY_TYPES, table_schema
from omnifeat.engines import name_in_sql
from omnifeat.errors import DataError

__all__ = [
    "LOG_COLUMNS", "LogTables", "check_rows", "log_parts", "log_tables", "microseconds", "no_time_in_sql",
    "raise_refused_row",
]  # fmt: skip

LOG_COLUMNS = ("query", "entity_id", "entity_type", "action", "timestamp")
_DAY_US = 86_400_000_000


def microseconds(day: date) -> int:
    """Microseconds from 1970 to the beginning of a day (UTC)."""
    return (day.toordinal() - date(1970, 1, 1).toordinal()) * _DAY_US


# outside of them there are no dates in Python, nor in most of what reads Parquet: a time in another unit than it says
_TIMES = (microseconds(date.min), microseconds(date.max) + _DAY_US - 1)


def no_time_in_sql() -> str:
    """SQL of whether a row of a log has no time, or one that is of no year from 1 to 9999."""
    return f"(us IS NULL OR us NOT BETWEEN {_TIMES[0]} AND {_TIMES[1]})"


@dataclass(frozen=True)
class LogTables:
    """The log for an engine: `sql` gives its rows with the time as `us`, microseconds since 1970, from `tables`."""

    sql: str
    tables: dict[str, list[Path]]


def log_parts(dataset: Dataset, logs: Sequence[PathLike] | None) -> list[Reader]:
    """The files of the log: of the dataset's engagements, or of files and folders given instead.

    Raises
    ------
    DataError
        There is no such table, file or folder.
    """
    if not logs:
        return dataset.parts(dataset.log_table())  # beside pairs chosen from it, the log itself
    return [part for path in logs for part in open_parts(path)]


def log_tables(parts: Sequence[Reader], folder: Path, extra: Sequence[str] = ()) -> LogTables:
    """Check the files' columns, and bring those that are not plain Parquet on this machine into `folder` as such.

    Parameters
    ----------
    extra
        More columns that are needed, beside `LOG_COLUMNS`.

    Raises
    ------
    DataError
        A file is corrupt or empty, lacks a column or has one of another type than the schema's.
    """
    columns = list(dict.fromkeys([*LOG_COLUMNS, *extra]))
    groups: dict[tuple[str, ...], list[Path]] = {}
    whole = settled_schema(parts, columns)
    for number, part in enumerate(parts):
        schema = settled_schema([part], [name for name in columns if name in part.names()])
        for message in type_problems(table_schema("engagements"), schema, part.location.name).values():
            raise DataError(message)
        raw = _plain_parquet(part, columns)
        if raw is None:
            path, raw = folder / f"log-{number}.parquet", whole
            with TableWriter(path, whole) as writer:
                row = 1
                for batch in conformed_batches(part, whole, BATCH_SIZE):
                    check_nulls(table_schema("engagements"), batch, part.location.name, row)
                    row += batch.num_rows
                    writer.write(batch)
        else:
            path = Path(part.location.path)
        # one reading of several files takes the types of the first: only files of the same types are read together
        groups.setdefault(tuple(str(plain_type(raw.field(name).type)) for name in columns), []).append(path)
    selects, tables = [], {}
    for number, (types, files) in enumerate(groups.items()):
        name = f"log_{number}"
        tables[name] = files
        kind = types[columns.index("timestamp")]
        # only this type has no epoch_us in DuckDB; what is cut off is less than a microsecond
        moment = "timestamp::TIMESTAMPTZ" if kind.startswith("timestamp[ns, tz") else "timestamp"
        more = "".join(f", {name_in_sql(column)}" for column in columns if column not in LOG_COLUMNS)
        selects.append(f"SELECT query, entity_id, entity_type, action, epoch_us({moment}) AS us{more} FROM {name}")
    return LogTables(" UNION ALL ".join(selects), tables)


def _plain_parquet(part: Reader, columns: Sequence[str]) -> pa.Schema | None:
    """The types of a local Parquet file that DuckDB reads as the schema means them; None for any other file."""
    if not isinstance(part, ParquetReader) or not part.location.local:
        return None
    raw = part.raw_schema()
    folded = [name.casefold() for name in raw.names]
    # DuckDB takes `Query` for `query`: where a file has both, it would read the first
    if any(name not in raw.names or folded.count(name.casefold()) > 1 for name in columns):
        return None
    times = (pa.types.is_timestamp, pa.types.is_date32)
    for name in columns:
        kind = plain_type(raw.field(name).type)
        known = times if name == "timestamp" else (pa.types.is_string, *times)  # times as text are for our own parser
        if not any(is_kind(kind) for is_kind in known):
            return None
    return raw


def raise_refused_row(parts: Sequence[Reader], extra: Sequence[str] = ()) -> None:
    """Find the row that an aggregation refused, and name it.

    Parameters
    ----------
    extra
        Columns beside `LOG_COLUMNS` in which a value must stand.

    Raises
    ------
    DataError
        See `check_rows`.
    """
    columns = list(dict.fromkeys([*LOG_COLUMNS, *extra]))
    for part in parts:
        row = 1
        for batch in conformed_batches(part, settled_schema([part], columns), BATCH_SIZE):
            check_rows(batch, part.location.name, row, extra)
            row += batch.num_rows


def check_rows(batch: pa.RecordBatch, place: str, first_row: int, extra: Sequence[str] = ()) -> None:
    """Refuse a row that no aggregation takes, and name it.

    Raises
    ------
    DataError
        A value is missing, a query or id is blank, an entity type or action is not known, or a time is of no year.
    """
    check_nulls(table_schema("engagements"), batch, place, first_row)
    choices = {"entity_type": ENTITY_TYPES, "action": ACTIONS}
    times = batch.column("timestamp").cast(pa.int64())
    wrong = {name: pc.equal(pc.utf8_trim_whitespace(batch.column(name)), "") for name in ("query", "entity_id")}
    wrong |= {name: pc.invert(pc.is_in(batch.column(name), pa.array(known))) for name, known in choices.items()}
    wrong["timestamp"] = pc.or_(pc.less(times, _TIMES[0]), pc.greater(times, _TIMES[1]))
    wrong |= {name: pc.is_null(batch.column(name)) for name in extra if name not in LOG_COLUMNS}
    for name, mask in wrong.items():
        at = pc.index(mask, pa.scalar(True)).as_py()
        if at < 0:
            continue
        where, what = f"{place}, row {first_row + at}", "correct it or leave the row out"
        if name == "timestamp":
            raise DataError(
                f"{where}: the timestamp is {times[at].as_py():,} microseconds from 1970, in no year from 1 to 9999: "
                f"{what}; perhaps it is in another unit than the column says"
            )
        if name in extra and name not in LOG_COLUMNS:
            raise DataError(f"{where} has no {name}, by which the rows are split: fill it or leave the row out")
        needed = f"must be one of {', '.join(choices[name])}" if name in choices else "must not be blank"
        raise DataError(f"{where}: the {name} is {batch.column(name)[at].as_py()!r}, but {needed}: {what}")
