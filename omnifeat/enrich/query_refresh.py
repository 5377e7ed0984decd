"""Engaged queries brought up to date: only entities that something happened to are counted anew (section 3.2.3).

Something happened to an entity if it has counts in a part of the log that is new, or on a day that came into the window
or went out of it. The lists of all others are what they were in the run before. So a run costs what is new and what
grew too old, beside one reading of the ids of the counts and one copy of the lists. Where the top or a weight is
another one, or there are no lists, every entity is counted.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from omnifeat.data.files import TableWriter
from omnifeat.engines import Engine
from omnifeat.enrich.lists import LISTS, add_lists
from omnifeat.enrich.query_sql import best_first, pairs_of_counts
from omnifeat.enrich.query_state import ListsMade, QueryState
from omnifeat.enrich.window import Window

__all__ = ["moved_days", "refresh_lists"]

_BATCH = 16_384


def refresh_lists(
    state: QueryState, window: Window, top: int, weights: Mapping[str, int], engine: Engine, folder: Path, out: Path
) -> None:
    """Write the engaged queries of each entity in a window to `out`, as of all parts that the state has.

    Parameters
    ----------
    out
        Parquet of (entity_type, entity_id, values), no order of rows; the state keeps a copy for the next run.
    folder
        Where temporary files may lie.

    Raises
    ------
    SettingError
        The window begins before the days that the state keeps.
    See `Engine.write` for the others.
    """
    made = ListsMade(first_day=window.first, last_day=window.last, top=top, weights=dict(weights))
    counts = state.counts(window)
    before = state.lists
    comparable = before is not None and (before[0].top, before[0].weights) == (made.top, made.weights)

    def write(path: Path) -> None:
        with TableWriter(path, LISTS) as writer:
            writer.write(LISTS.empty_table())  # where nobody has a query
            if before is None or not comparable:
                _count(engine, "SELECT * FROM counts", counts, {}, made, writer)
                return
            touched = folder / "touched.parquet"
            _write_touched(state, window, before[0].window, engine, touched)
            old = {"lists": [before[1]], "touched": [touched]}
            others = "SELECT * FROM lists ANTI JOIN touched USING (entity_type, entity_id)"
            with contextlib.closing(engine.batches(others, old, _BATCH)) as batches:
                for batch in batches:
                    writer.write(batch.cast(LISTS))
            some = "SELECT * FROM counts SEMI JOIN touched USING (entity_type, entity_id)"
            _count(engine, some, counts, {"touched": [touched]}, made, writer)
            touched.unlink()

    shutil.copyfile(state.take_lists(made, write), out)


def moved_days(now: Window, before: Window) -> list[Window]:
    """The days that are in one of two windows alone, as at most two spans."""
    day = timedelta(days=1)
    if now.last < before.first or before.last < now.first:
        return [now, before]
    spans = []
    if now.first != before.first:
        spans.append(Window(min(now.first, before.first), max(now.first, before.first) - day))
    if now.last != before.last:
        spans.append(Window(min(now.last, before.last) + day, max(now.last, before.last)))
    return spans


def _write_touched(state: QueryState, window: Window, before: Window, engine: Engine, out: Path) -> None:
    """(entity_type, entity_id) of those that something happened to, each once."""
    spans = [(state.unlisted_counts(window), window)]
    spans += [(state.counts(span), span) for span in moved_days(window, before)]
    selects, tables = ["SELECT NULL::VARCHAR AS entity_type, NULL::VARCHAR AS entity_id WHERE false"], {}
    for number, (files, span) in enumerate(spans):
        if files:
            tables[f"span_{number}"] = files
            selects.append(
                f"SELECT entity_type, entity_id FROM span_{number} "
                f"WHERE day BETWEEN DATE '{span.first}' AND DATE '{span.last}'"
            )
    engine.write(" UNION ".join(selects), tables, out)


def _count(
    engine: Engine, rows: str, files: list[Path], tables: Mapping[str, list[Path]], made: ListsMade, writer: TableWriter
) -> None:
    if files:
        pairs = pairs_of_counts(f"({rows})", made.weights, made.first_day, made.last_day)
        add_lists(engine, best_first(pairs), {"counts": files, **tables}, writer, made.top)
