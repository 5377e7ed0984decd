"""Engaged queries of entities: the queries by which pins and products were found (section 3.2.3).

The paper sorts the queries of an entity "using a function based on the count for each type of engagement" and keeps the
top of the list. Here the function is a sum of counts with a weight for each action, the further from a mere look the
heavier (`WEIGHTS`), over the days of a window of two years:

    score(entity, query) = sum over actions of weight(action) * times(entity, query, action)

and the order is by score, then by the last day of engagement (latest first), then by the text's bytes. Query texts
count as they stand in the log.

The window ends with the day of `as_of`, or with the last day of the log, and, with a split by time, at the latest with
the last whole day of the training part. With a split by hash only rows of the training part count.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.dataset import Dataset
from omnifeat.data.files import Reader, TableWriter
from omnifeat.data.identity import content_of_file
from omnifeat.data.locations import PathLike
from omnifeat.data.schema import ACTIONS
from omnifeat.data.splits import HashSplit, TimeSplit
from omnifeat.data.unique_ids import refuse_duplicate_ids
from omnifeat.engines import Engine, RefusedRowError, name_in_sql
from omnifeat.enrich.carry import refuse_state_in_output
from omnifeat.enrich.filling import check_out, entity_tables, fill_column
from omnifeat.enrich.lists import write_lists
from omnifeat.enrich.log_parts import LogTables, log_parts, log_tables, raise_refused_row
from omnifeat.enrich.query_refresh import refresh_lists
from omnifeat.enrich.query_sql import best_first, counts_of_log, extent_of_log, pairs_of_log
from omnifeat.enrich.query_state import QueryState
from omnifeat.enrich.running import Progress, silent, temporary_folder
from omnifeat.enrich.window import Window, window_of
from omnifeat.errors import DataError, SettingError

__all__ = ["WEIGHTS", "QueriesResult", "QuerySettings", "engaged_queries", "enrich_queries"]

WEIGHTS: dict[str, int] = {"click": 1, "long_click": 2, "save": 4, "add_to_cart": 6, "checkout": 8}
_MOST_WEIGHT = 1_000_000


@dataclass(frozen=True, kw_only=True)
class QuerySettings:
    """How engaged queries are chosen.

    Attributes
    ----------
    top
        Most queries of an entity.
    window_days
        Days of the window (UTC); 730 are the paper's two years.
    as_of
        Last day of the window; the log's last day if None.
    weights
        Weight of each action, a whole number; an action of weight 0 doesn't count. `WEIGHTS` where none is given.

    Raises
    ------
    SettingError
        A setting is not what it must be.
    """

    top: int = 20
    window_days: int = 730
    as_of: date | None = None
    weights: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.top < 1:
            raise SettingError(f"There must be at least one query for each entity, not {self.top}.")
        if self.window_days < 1:
            raise SettingError(f"The window must have at least one day, not {self.window_days}.")
        for action, weight in self.weights.items():
            if action not in ACTIONS:
                raise SettingError(f"There is no action '{action}': give a weight to one of {', '.join(ACTIONS)}.")
            if not 0 <= weight <= _MOST_WEIGHT:
                raise SettingError(f"The weight of '{action}' must be from 0 to {_MOST_WEIGHT:,}, but is {weight}.")
        if not any(self.all_weights.values()):
            raise SettingError("All actions have the weight 0: give at least one a greater weight.")

    @property
    def all_weights(self) -> dict[str, int]:
        """The weight of every action."""
        return {**WEIGHTS, **self.weights}


@dataclass(frozen=True)
class Engaged:
    """What `engaged_queries` did: see `QueriesResult`."""

    window: Window
    parts: int
    new_parts: int
    rows: int
    new_rows: int
    notes: list[str]


@dataclass(frozen=True)
class QueriesResult:
    """What `enrich_queries` did.

    Attributes
    ----------
    path
        The new dataset folder.
    rows, filled
        Per table: its rows, and those that have an engaged query now.
    first_day, last_day
        The window.
    parts, new_parts, log_rows, new_log_rows
        Files of the log that count, with those that the state knew; those read now; and the same of their rows.
    unknown_entities
        Entities that have queries, but are in no table.
    notes
        Sentences, also in the new `dataset.json`.
    """

    path: str
    rows: dict[str, int]
    filled: dict[str, int]
    first_day: date
    last_day: date
    parts: int
    new_parts: int
    log_rows: int
    new_log_rows: int
    unknown_entities: int
    notes: list[str]


def enrich_queries(
    data: PathLike,
    out: PathLike,
    *,
    engine: Engine,
    settings: QuerySettings | None = None,
    logs: Sequence[PathLike] | None = None,
    state: PathLike | None = None,
    copy: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> QueriesResult:
    """Write the dataset folder `data` to `out`, with `engaged_queries` of pins and products filled (section 3.2.3).

    Parameters
    ----------
    logs
        Files or folders of the log; the dataset's engagements if not given.
    state
        Folder that remembers what was read, so that only new files are read; none if not given.
    copy
        Copy the other tables even where they could be linked.

    Raises
    ------
    DataError
        The log or the table of entities is missing or not what it must be.
    SettingError
        A setting is not what it must be, or the memory limit is too small.
    OutputError
        `out` stands there already, or it or the state cannot be written.
    """
    settings = settings or QuerySettings()
    check_out(out, overwrite)
    dataset = Dataset.open(data)
    refuse_state_in_output(state, out, dataset)
    entity_tables(dataset)
    refuse_duplicate_ids(dataset)
    parts = log_parts(dataset, logs)
    shown = progress or silent
    with temporary_folder() as folder:
        values = folder / "queries.parquet"
        engaged = engaged_queries(
            parts, values, split=dataset.info.split, settings=settings, engine=engine, state=state, folder=folder,
            where=dataset.path, progress=shown,
        )  # fmt: skip
        with shown("entities written", None) as advance:
            filled = fill_column(
                dataset, out, column="engaged_queries", values=values, engine=engine, folder=folder,
                notes=engaged.notes, overwrite=overwrite, copy=copy, advance=advance,
            )  # fmt: skip
    return QueriesResult(
        path=str(out), rows=filled.rows, filled=filled.filled, first_day=engaged.window.first,
        last_day=engaged.window.last, parts=engaged.parts, new_parts=engaged.new_parts, log_rows=engaged.rows,
        new_log_rows=engaged.new_rows, unknown_entities=filled.unknown, notes=engaged.notes,
    )  # fmt: skip


def engaged_queries(
    parts: Sequence[Reader],
    out: Path,
    *,
    split: HashSplit | TimeSplit | None,
    settings: QuerySettings,
    engine: Engine,
    folder: Path,
    state: PathLike | None = None,
    where: str = "the dataset",
    progress: Progress = silent,
) -> Engaged:
    """Write the engaged queries of each entity to a Parquet file: (entity_type, entity_id, values), no order of rows.

    With a state the rows are those that the whole log, all parts that were ever applied, would give at once.

    Parameters
    ----------
    parts
        Files of the log.
    folder
        Where temporary files may lie.
    where
        The dataset, as messages name it.

    Raises
    ------
    DataError, SettingError, OutputError
        See `enrich_queries`.
    """
    if isinstance(split, HashSplit) and split.column == "timestamp":
        raise DataError(f"{where}: the split hashes the column 'timestamp', which is no text: record another split")
    unique: dict[str, _Stamped] = {}
    with progress("log files hashed", len(parts)) as advance:
        for part in parts:  # twice the same content is once, with and without a state
            stamp = _stamp(part)
            unique.setdefault(content_of_file(part.location), _Stamped(part, stamp))
            advance(1)
    if state is None:
        return _from_log([stamped.part for stamped in unique.values()], out, split, settings, engine, folder, where)
    row_split = split if isinstance(split, HashSplit) else None
    with QueryState.open(state, row_split) as known:
        new = {content: stamped for content, stamped in unique.items() if not known.has(content)}
        before = known.rows
        with progress("new log files read", len(new)) as advance:
            for content, stamped in new.items():
                known.apply(content, functools.partial(_count, stamped, row_split, engine, folder))
                advance(1)
        seen = known.last_day
        if seen is None:
            raise DataError(f"the log of {where} has no rows: give a log with at least one")
        window, note = window_of(seen, settings.as_of, settings.window_days, split, where)
        refresh_lists(known, window, settings.top, settings.all_weights, engine, folder, out)
        # a date in the future must not empty the state: only days that the log itself left behind are let go
        if settings.as_of is None or settings.as_of <= seen:
            known.forget_before(window.first)
        rows = known.rows
        return Engaged(window, len(known), len(new), rows, rows - before, _notes(settings, window, split, note))


def _from_log(
    parts: Sequence[Reader],
    out: Path,
    split: HashSplit | TimeSplit | None,
    settings: QuerySettings,
    engine: Engine,
    folder: Path,
    where: str,
) -> Engaged:
    row_split = split if isinstance(split, HashSplit) else None
    extra = [row_split.column] if row_split else []
    log = log_tables(parts, folder, extra)
    with _named_rows(parts, extra):
        rows, _, seen = _extent(log, engine)
    if seen is None:
        raise_refused_row(parts, extra)
        raise DataError(f"the log of {where} has no rows: give a log with at least one")
    window, note = window_of(seen, settings.as_of, settings.window_days, split, where)
    with _named_rows(parts, extra):
        training = _training(log, row_split, engine, folder)
        pairs = pairs_of_log(
            log.sql, settings.all_weights, window.first, window.last, row_split.column if row_split else None
        )
        write_lists(engine, best_first(pairs), {**log.tables, **training}, out, settings.top)
    _remove(log, parts, training)
    return Engaged(window, len(parts), len(parts), rows, rows, _notes(settings, window, split, note))


@dataclass(frozen=True)
class _Stamped:
    """A file of the log, and its size and time before it was hashed."""

    part: Reader
    stamp: tuple[int, int] | None


def _count(
    stamped: _Stamped, row_split: HashSplit | None, engine: Engine, folder: Path, path: Path
) -> tuple[int, date | None, date | None]:
    """Write a part's counts per day to `path`; its rows, first day and last day."""
    part = stamped.part
    extra = [row_split.column] if row_split else []
    log = log_tables([part], folder, extra)
    with _named_rows([part], extra):
        training = _training(log, row_split, engine, folder)
        engine.write(counts_of_log(log.sql, row_split.column if row_split else None), {**log.tables, **training}, path)
        extent = _extent(log, engine)
    _remove(log, [part], training)
    if _stamp(part) != stamped.stamp:
        raise DataError(f"{part.location.name} was changed while it was read: run again when it is whole")
    return extent


def _extent(log: LogTables, engine: Engine) -> tuple[int, date | None, date | None]:
    """How many rows the log has, and its first and last day (UTC); None where no row has a time."""
    rows, *ends = engine.rows(extent_of_log(log.sql), log.tables)[0]
    start = datetime(1970, 1, 1, tzinfo=UTC)
    try:
        first, last = (None if end is None else (start + timedelta(microseconds=end)).date() for end in ends)
    except OverflowError as error:
        raise RefusedRowError("a row has a time that is of no year") from error
    return rows, first, last


def _training(log: LogTables, split: HashSplit | None, engine: Engine, folder: Path) -> dict[str, list[Path]]:
    """The table `training`, the texts of the split's column that are in the training part; nothing without a split."""
    if split is None:
        return {}
    path = folder / "training.parquet"
    with (
        TableWriter(path, pa.schema([("value", pa.string())])) as writer,
        contextlib.closing(
            engine.batches(f"SELECT DISTINCT {name_in_sql(split.column)} AS value FROM ({log.sql})", log.tables, 65_536)
        ) as distinct,
    ):
        for batch in distinct:
            if batch.column("value").null_count:
                raise RefusedRowError(f"a row has no {split.column}")
            part = split.assign(batch.rename_columns([split.column]))
            writer.write(batch.filter(pc.equal(part, "train")))
    return {"training": [path]}


@contextlib.contextmanager
def _named_rows(parts: Sequence[Reader], extra: Sequence[str]) -> Iterator[None]:
    """Where an aggregation refuses a row, find it and name it."""
    try:
        yield
    except RefusedRowError:
        raise_refused_row(parts, extra)
        raise


def _remove(log: LogTables, parts: Sequence[Reader], training: Mapping[str, Sequence[Path]]) -> None:
    """Make room: what was written for one part is not needed for the next."""
    given = {Path(part.location.path) for part in parts}
    for files in (*log.tables.values(), *training.values()):
        for file in files:
            if file not in given:
                file.unlink()


def _stamp(part: Reader) -> tuple[int, int] | None:
    if not part.location.local:
        return None
    status = os.stat(part.location.path)
    return status.st_size, status.st_mtime_ns


def _notes(settings: QuerySettings, window: Window, split: HashSplit | TimeSplit | None, note: str | None) -> list[str]:
    notes = [f"at most {settings.top} queries by weighted counts of actions of the days {window}"]
    if isinstance(split, HashSplit):
        notes.append(f"of the training part alone, by a hash of '{split.column}'")
    elif note is not None:
        notes.append(note)
    elif split is None:
        notes.append("no split is recorded, so that every engagement counts")
    return notes
