"""The log of engagements as an engine reads it: its files checked, those that are not plain Parquet made so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from omnifeat.data.checks import check_nulls, type_problems
from omnifeat.data.columnar import ParquetReader
from omnifeat.data.conform import plain_type
from omnifeat.data.dataset import Dataset
from omnifeat.data.files import BATCH_SIZE, Reader, TableWriter, conformed_batches, open_parts, settled_schema
from omnifeat.data.locations import PathLike
from omnifeat.data.schema import ACTIONS, ENTITY_TYPES, table_schema
from omnifeat.engines import name_in_sql
from omnifeat.errors import DataError

__all__ = ["LOG_COLUMNS", "LogTables", "content_of", "log_parts", "log_tables", "raise_refused_row"]

LOG_COLUMNS = ("query", "entity_id", "entity_type", "action", "timestamp")
_CHUNK = 1 << 22


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


def content_of(part: Reader) -> str:
    """The content of a file: XXH3 of 128 bits over its bytes, as 32 hexadecimal digits."""
    digest = xxhash.xxh3_128()
    with part.location.open_stream() as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


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
    if any(name not in raw.names for name in columns):
        return None
    known = (pa.types.is_string, pa.types.is_timestamp, pa.types.is_date32)
    kinds = [plain_type(raw.field(name).type) for name in columns if not pa.types.is_null(raw.field(name).type)]
    plain = len(kinds) == len(columns) and all(any(is_kind(kind) for is_kind in known) for kind in kinds)
    return raw if plain else None


def raise_refused_row(parts: Sequence[Reader], extra: Sequence[str] = ()) -> None:
    """Find the row that an aggregation refused, and name it.

    Raises
    ------
    DataError
        A value is missing or blank, or an entity type or action is not known.
    """
    known = table_schema("engagements")
    columns = list(dict.fromkeys([*LOG_COLUMNS, *extra]))
    choices = {"entity_type": ENTITY_TYPES, "action": ACTIONS}
    for part in parts:
        row = 1
        for batch in conformed_batches(part, settled_schema([part], columns), BATCH_SIZE):
            check_nulls(known, batch, part.location.name, row)
            for name in columns:
                array = batch.column(name)
                if name in choices:
                    wrong = pc.invert(pc.is_in(array, pa.array(choices[name])))
                elif pa.types.is_string(array.type):
                    wrong = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(array), ""), True)
                else:
                    wrong = pc.is_null(array)
                at = pc.index(wrong, pa.scalar(True)).as_py()
                if at >= 0:
                    needed = f"must be one of {', '.join(choices[name])}" if name in choices else "must not be blank"
                    raise DataError(
                        f"{part.location.name}, row {row + at}: the {name} is {array[at].as_py()!r}, "
                        f"but {needed}: correct it or leave the row out"
                    )
            row += batch.num_rows
