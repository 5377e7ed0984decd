"""Engaged queries in plain Python, from the page's words, and ways to write logs and run the real thing."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from omnifeat.data.files import open_parts
from omnifeat.data.schema import TIMESTAMP
from omnifeat.data.splits import HashSplit, TimeSplit
from omnifeat.engines import LocalEngine
from omnifeat.enrich.queries import WEIGHTS, QuerySettings, engaged_queries

Found = dict[tuple[str, str], list[str]]
ENGINE = LocalEngine("200MB", threads=1)


class Row(NamedTuple):
    query: str
    entity_id: str
    entity_type: str
    action: str
    timestamp: datetime


def moment(day: str, hour: int = 12) -> datetime:
    return datetime.fromisoformat(day).replace(hour=hour, tzinfo=UTC)


def write_log(path: Path, rows: Iterable[Row]) -> Path:
    columns = list(zip(*rows, strict=True)) or [()] * 5
    arrays = [
        pa.array(column, TIMESTAMP if name == "timestamp" else pa.string())
        for name, column in zip(Row._fields, columns, strict=True)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(arrays, names=list(Row._fields)), path)
    return path


def reference(
    rows: Sequence[Row], split: HashSplit | TimeSplit | None = None, settings: QuerySettings | None = None
) -> Found:
    settings = settings or QuerySettings()
    weights = {**WEIGHTS, **settings.weights}
    last = settings.as_of or max(row.timestamp for row in rows).date()
    if isinstance(split, TimeSplit):
        until = split.development_from - timedelta(days=split.gap_days)
        while datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(days=1) > until:
            last -= timedelta(days=1)
    scores: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    days: dict[tuple[str, str, str], date] = {}
    for row in rows:
        day = row.timestamp.date()
        if row.entity_type == "query" or not timedelta(0) <= last - day < timedelta(days=settings.window_days):
            continue
        if isinstance(split, HashSplit) and split.part_of(getattr(row, split.column)) != "train":
            continue
        if not weights[row.action]:
            continue
        entity = (row.entity_type, row.entity_id)
        scores[entity][row.query] += weights[row.action]
        days[(*entity, row.query)] = max(day, days.get((*entity, row.query), day))
    return {
        entity: sorted(found, key=lambda q: (-found[q], -days[(*entity, q)].toordinal(), q.encode()))[: settings.top]
        for entity, found in scores.items()
    }


def run(
    logs: Sequence[Path],
    folder: Path,
    split: HashSplit | TimeSplit | None = None,
    settings: QuerySettings | None = None,
    state: Path | None = None,
) -> Found:
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / "out.parquet"
    parts = [part for log in logs for part in open_parts(log)]
    engaged_queries(
        parts, out, split=split, settings=settings or QuerySettings(), engine=ENGINE, folder=folder, state=state
    )
    table = pq.read_table(out).to_pydict()
    found = dict(zip(zip(table["entity_type"], table["entity_id"], strict=True), table["values"], strict=True))
    assert len(found) == len(table["values"])  # an entity stands once
    return found
