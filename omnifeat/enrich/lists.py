"""Sorted rows to lists: the first values of each entity, written as one row."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.files import TableWriter
from omnifeat.engines import Engine
from omnifeat.engines.engine import Tables

__all__ = ["LISTS", "add_lists", "first_values", "write_lists"]

LISTS = pa.schema([("entity_type", pa.string()), ("entity_id", pa.string()), ("values", pa.list_(pa.string()))])
_BATCH = 65_536


def write_lists(engine: Engine, sql: str, tables: Tables, out: Path, most: int) -> None:
    """Run a query that gives (entity_type, entity_id, value), sorted by entity and then best first; write the lists.

    Sorting spills to disk where it must. DuckDB's own `list` holds the lists of all entities in memory: it fails on 20
    million rows of a log under 512 MB.

    Raises
    ------
    See `Engine.batches`.
    """
    with TableWriter(out, LISTS) as writer:
        add_lists(engine, sql, tables, writer, most)


def add_lists(engine: Engine, sql: str, tables: Tables, writer: TableWriter, most: int) -> None:
    """Write the lists to a writer of the schema `LISTS` that is open; see `write_lists`."""
    with contextlib.closing(engine.batches(sql, tables, _BATCH)) as batches:
        for lists in first_values(batches, most):
            writer.write(lists)


def first_values(batches: Iterable[pa.RecordBatch], most: int) -> Iterator[pa.RecordBatch]:
    """The first `most` values of each entity.

    Parameters
    ----------
    batches
        (entity_type, entity_id, value), the rows of an entity next to each other. An entity may go over several
        batches; only what it keeps is held.

    Yields
    ------
    pa.RecordBatch
        Of the schema `LISTS`; each entity once, in the order of the rows.
    """
    held: pa.RecordBatch | None = None  # rows of the entity that the next batch may go on with, `most` at the most
    for batch in batches:
        rows = batch if held is None else pa.concat_batches([held, batch.cast(held.schema)])
        if not rows.num_rows:
            continue
        starts = _starts(rows)
        last = int(starts[-1])
        if last:
            yield _lists(rows.slice(0, last), starts[:-1], most)
        held = rows.slice(last, min(most, rows.num_rows - last))
    if held is not None:
        yield _lists(held, np.zeros(1, dtype=np.int64), most)


def _starts(rows: pa.RecordBatch) -> np.ndarray:
    """Where each entity's rows begin, int64."""
    other = np.zeros(rows.num_rows, dtype=np.bool_)
    other[0] = True
    for name in ("entity_type", "entity_id"):
        column = rows.column(name)
        other[1:] |= pc.not_equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
    return np.flatnonzero(other)


def _lists(rows: pa.RecordBatch, starts: np.ndarray, most: int) -> pa.RecordBatch:
    lengths = np.diff(np.append(starts, rows.num_rows))
    place = np.arange(rows.num_rows) - np.repeat(starts, lengths)
    values = rows.column("value").filter(pa.array(place < most))
    offsets = np.concatenate([[0], np.cumsum(np.minimum(lengths, most))]).astype(np.int32)
    lists = pa.ListArray.from_arrays(pa.array(offsets), values.cast(pa.string()))
    first = pa.array(starts)
    columns = [rows.column(name).take(first).cast(pa.string()) for name in ("entity_type", "entity_id")]
    return pa.record_batch([*columns, lists.cast(LISTS.field("values").type)], schema=LISTS)
