"""Write a dataset folder again with a column of its pins and products filled."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.dataset import Dataset, DatasetInfo
from omnifeat.data.dataset_writer import refuse_existing
from omnifeat.data.files import TableWriter
from omnifeat.data.locations import PathLike, local_path
from omnifeat.data.meeting import nothing_shared, other_writing
from omnifeat.data.schema import ENTITY_TABLES
from omnifeat.engines import Engine
from omnifeat.engines.engine import Tables
from omnifeat.enrich.carry import enriched_dataset
from omnifeat.errors import DataError

__all__ = ["Filled", "check_out", "entity_tables", "fill_column"]

# entity type -> its table; queries have no columns that could be filled here
_TABLES = {kind: table for kind, (table, _) in ENTITY_TABLES.items() if kind != "query"}
_BATCH = 16_384


@dataclass
class Filled:
    """What `fill_column` did.

    Attributes
    ----------
    rows, filled
        Per table: its rows, and those that got at least one value.
    unknown
        Entities that have values, but are in no table.
    """

    rows: dict[str, int] = field(default_factory=dict)
    filled: dict[str, int] = field(default_factory=dict)
    unknown: int = 0


def entity_tables(dataset: Dataset) -> dict[str, str]:
    """Entity type -> table, of those that the dataset has. Raises `DataError` where it has none."""
    found = {kind: table for kind, table in _TABLES.items() if dataset.has(table)}
    if not found:
        raise DataError(f"{dataset.path} has neither pins nor products: add the table whose column is to be filled")
    for table in found.values():
        dataset.require(table, "id")
    return found


def check_out(out: PathLike, overwrite: bool) -> None:
    """Refuse an output that could not be written, before the work for it is done. Raises `OutputError`."""
    refuse_existing(local_path(out), out, overwrite)


def fill_column(
    dataset: Dataset,
    out: PathLike,
    *,
    column: str,
    values: Path,
    engine: Engine,
    folder: Path,
    notes: list[str],
    overwrite: bool = False,
    copy: bool = False,
    advance: Callable[[int], None] = lambda count: None,
) -> Filled:
    """Write the dataset to `out` with a column of lists of text filled in its pins and products.

    Rows, their order and all other columns stay; an entity without values gets an empty list, and what stood in the
    column goes. All other tables and files are carried over: as hard links where the file system has them, else as
    copies. `out` may be the dataset's own folder, if it may be overwritten.

    Parameters
    ----------
    values
        Parquet of (entity_type, entity_id, values), each entity once.
    folder
        Where temporary files may lie.
    notes
        Sentences for `dataset.json`; they replace those of an earlier filling of the column.
    copy
        Copy the other tables even where they could be linked.

    Raises
    ------
    DataError
        There is no table of entities, or one cannot be read.
    OutputError
        `out` stands there already, lies inside the dataset's folder, or cannot be written.
    """
    tables = entity_tables(dataset)
    filled = Filled()
    kept = [note for note in dataset.info.notes if not note.startswith(f"{column}: ")]
    info: DatasetInfo = dataset.info.model_copy(update={"notes": kept + [f"{column}: {note}" for note in notes]})
    replaced = set(tables.values())
    with enriched_dataset(dataset, out, info, replaced=replaced, overwrite=overwrite, copy=copy) as writer:
        for kind, table in tables.items():
            ids = folder / f"ids-{table}.parquet"
            _write_ids(dataset, table, ids)
            # an entity stands in `values` once, so that there is a row for each row of the table
            sql = (
                f"SELECT coalesce(v.values, []) AS values FROM ids i LEFT JOIN v ON v.entity_type = '{kind}' "
                "AND v.entity_id = i.id ORDER BY i.row"
            )
            counted = _Counted()
            with contextlib.closing(engine.batches(sql, {"ids": [ids], "v": [values]}, _BATCH)) as lists:
                writer.write(table, _with_column(dataset, table, column, lists, counted, advance))
            filled.rows[table], filled.filled[table] = counted.rows, counted.filled
            filled.unknown += engine.rows(
                f"SELECT count(*) FROM v ANTI JOIN ids i ON v.entity_id = i.id WHERE v.entity_type = '{kind}'",
                {"ids": [ids], "v": [values]},
            )[0][0]
            if not counted.filled:
                _refuse_nothing_met(dataset, table, kind, {"ids": [ids], "v": [values]}, engine)
            ids.unlink()
        for kind in _TABLES.keys() - tables.keys():
            filled.unknown += engine.rows(f"SELECT count(*) FROM v WHERE entity_type = '{kind}'", {"v": [values]})[0][0]
    return filled


def _refuse_nothing_met(dataset: Dataset, table: str, kind: str, tables: Tables, engine: Engine) -> None:
    """Refuse values of many entities of which not one is in the table: their ids are written in two ways."""
    met = f"SELECT 1 FROM v JOIN ids i ON v.entity_id = i.id WHERE v.entity_type = '{kind}' LIMIT 1"
    if engine.rows(met, tables):
        return
    some = [row[0] for row in engine.rows(f"SELECT entity_id FROM v WHERE entity_type = '{kind}' LIMIT 10000", tables)]
    there = [row[0] for row in engine.rows("SELECT id FROM ids LIMIT 10000", tables)]
    if other_writing(some, there):
        raise DataError(nothing_shared("entity_id", f"the {kind}s' log", some, dataset.place(table), there))


@dataclass
class _Counted:
    rows: int = 0
    filled: int = 0


def _write_ids(dataset: Dataset, table: str, path: Path) -> None:
    row = 0
    with TableWriter(path, pa.schema([("row", pa.int64()), ("id", pa.string())])) as writer:
        for batch in dataset.batches(table, ["id"]):
            rows = pa.array(range(row, row + batch.num_rows), pa.int64())
            writer.write(pa.record_batch([rows, batch.column("id")], names=["row", "id"]))
            row += batch.num_rows


def _with_column(
    dataset: Dataset,
    table: str,
    column: str,
    lists: Iterator[pa.RecordBatch],
    counted: _Counted,
    advance: Callable[[int], None],
) -> Iterator[pa.Table]:
    """The table's batches, each with as many of the lists, in their order."""
    waiting = pa.chunked_array([], pa.list_(pa.string()))
    for batch in dataset.batches(table, batch_size=_BATCH):
        while len(waiting) < batch.num_rows:
            more = next(lists, None)
            if more is None:
                break
            waiting = pa.chunked_array([*waiting.chunks, more.column("values").cast(waiting.type)], waiting.type)
        taken, waiting = waiting.slice(0, batch.num_rows), waiting.slice(batch.num_rows)
        rows = pa.Table.from_batches([batch])
        place = rows.column_names.index(column) if column in rows.column_names else None
        counted.rows += batch.num_rows
        counted.filled += pc.sum(pc.greater(pc.list_value_length(taken), 0)).as_py() or 0
        yield rows.append_column(column, taken) if place is None else rows.set_column(place, column, taken)
        advance(batch.num_rows)
