"""OpenSearch's User Behavior Insights: responses to queries as impressions, events as engagements.

Records stream into the database of `staging`, a batch at a time, and come out of it joined by their query ids.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from omnifeat.data.dataset import DatasetInfo, DatasetWriter
from omnifeat.data.schema import ACTIONS, ENTITY_TABLES, TIMESTAMP
from omnifeat.data.splits import HashSplit, TimeSplit
from omnifeat.data.times import odd_times
from omnifeat.errors import DataError, SettingError
from omnifeat.importers.judged import with_notes
from omnifeat.importers.sources import ImportResult
from omnifeat.importers.splitting import hash_split
from omnifeat.importers.staging import MEMORY_LIMIT, Staging
from omnifeat.importers.ubi_records import Event, Query, log_files, read_records

__all__ = ["UBI_ACTIONS", "import_ubi"]

# names that the schema suggests, and the actions that they are; other names are the user's to map
UBI_ACTIONS = {"click": "click", "click_through": "click", "add_to_cart": "add_to_cart", "purchase": "checkout"}
IMPRESSION = "impression"
# an impression has one action: the strongest, which stands last here
_STRENGTH = ("click", "long_click", "save", "add_to_cart", "checkout")
_BATCH = 16_384
_QUERY_TYPES = {
    "query_id": pa.string(), "query": pa.string(), "client": pa.string(), "time": pa.int64(),
    "hits": pa.list_(pa.string()), "identity": pa.string(),
}  # fmt: skip
_EVENT_TYPES = {
    "query_id": pa.string(), "name": pa.string(), "action": pa.string(), "object_id": pa.string(), "user": pa.string(),
    "time": pa.int64(), "position": pa.int64(), "title": pa.string(), "description": pa.string(),
    "identity": pa.string(),
}  # fmt: skip
_KEPT_EVENTS = "events e ANTI JOIN events_out o ON e.row = o.row JOIN searches s ON s.query_id = e.query_id"


def import_ubi(
    source: str | Path,
    out: str | Path,
    *,
    actions: Mapping[str, str] | None = None,
    entity_type: str = "product",
    split: HashSplit | TimeSplit | None = None,
    memory_limit: str = MEMORY_LIMIT,
    overwrite: bool = False,
    advance: Callable[[int], None] | None = None,
) -> ImportResult:
    """Make a dataset folder from UBI logs.

    Tables: `queries`, `impressions`, `engagements`, and `products` (or `pins`) with what the logs say of objects: their
    ids, and names and descriptions where events carry them.

    Parameters
    ----------
    source
        Folder with `.ndjson` or `.jsonl` files of queries and events, or one such file.
    out
        Dataset folder to write.
    actions
        Names of events and the actions that they are, beside and before `UBI_ACTIONS`.
    entity_type
        What the objects are: "product" or "pin".
    split
        Recorded in `dataset.json`; a hash split of the query's text if None.
    memory_limit
        What the database may hold in memory before it goes to disk.
    overwrite
        Replace `out` if it exists.
    advance
        Called with the number of rows read since the last call; what is read twice counts twice.

    Raises
    ------
    SettingError
        For an unknown action or entity type.
    DataError
        For missing or damaged files, lines that are no records (see `read_records`), a query id that stands for two
        texts, logs without a query, an impression or an engagement.
    OutputError
        Where `out` cannot be written.
    """
    for name, action in (actions or {}).items():
        if action not in ACTIONS:
            raise SettingError(f"Unknown action '{action}' for '{name}'; choose one of: {', '.join(ACTIONS)}.")
    if entity_type not in ("product", "pin"):
        raise SettingError(f"Unknown entity type '{entity_type}'; choose product or pin.")
    files = log_files(source)
    known = UBI_ACTIONS | dict(actions or {})
    notes = ["Events as actions: " + ", ".join(f"{name} is {action}" for name, action in known.items()) + "."]
    info = DatasetInfo(
        name="ubi", source="User Behavior Insights logs", licence="the log's owner's",
        created_by="omnifeat import ubi", split=split or hash_split(),
    )  # fmt: skip
    with Staging.open(memory_limit, advance) as staging, DatasetWriter(out, info, overwrite=overwrite) as writer:
        _load(staging, files, known)
        _join_queries(staging, files, notes)
        _sift_events(staging, notes)
        _make_impressions(staging, notes)
        has = {
            name: staging.value(f"SELECT count(*) FROM {source_sql}") > 0
            for name, source_sql in (("impressions", "shown"), ("engagements", "engaged"))
        }
        if not any(has.values()):
            raise DataError(
                f"{source} holds no response and no event that could be taken for an impression or an engagement; "
                "name the log's own events with --action NAME=ACTION."
            )
        writer.write("queries", _queries(staging))
        writer.write(ENTITY_TABLES[entity_type][0], _entities(staging))
        if has["engagements"]:
            writer.write("engagements", _noting_times("engagements", _engagements(staging, entity_type), notes))
        if has["impressions"]:
            writer.write("impressions", _noting_times("impressions", _impressions(staging, entity_type), notes))
        notes.append(
            f"The table {ENTITY_TABLES[entity_type][0]} has the objects' ids, and titles and descriptions where "
            "events carry them: put your catalogue in its place."
        )
        with_notes(writer, notes)
    return ImportResult(Path(out), dict(writer.counts), notes)


def _load(staging: Staging, files: list[Path], known: Mapping[str, str]) -> None:
    queries: list[dict[str, object]] = []
    events: list[dict[str, object]] = []
    for _, record in read_records(files):
        if isinstance(record, Query):
            queries.append(_query_row(record))
        else:
            events.append(_event_row(record, known))
        if len(queries) >= _BATCH:
            _flush(staging, "queries", queries, _QUERY_TYPES)
        if len(events) >= _BATCH:
            _flush(staging, "events", events, _EVENT_TYPES)
    # an empty batch makes the table that is not there yet
    _flush(staging, "queries", queries, _QUERY_TYPES)
    _flush(staging, "events", events, _EVENT_TYPES)


def _query_row(query: Query) -> dict[str, object]:
    identity = [query.query_id, query.text, query.client, query.time, query.hits]
    return {
        "query_id": query.query_id,
        "query": query.text,
        "client": query.client,
        "time": query.time,
        "hits": list(query.hits),
        "identity": json.dumps(identity),
    }


def _event_row(event: Event, known: Mapping[str, str]) -> dict[str, object]:
    identity = [
        event.query_id, event.action, event.object_id, event.user, event.time, event.position, event.client,
        event.session,
    ]  # fmt: skip
    return {
        "query_id": event.query_id,
        "name": event.action,
        "action": known.get(event.action),
        "object_id": event.object_id,
        "user": event.user or event.client,
        "time": event.time,
        "position": event.position,
        "title": event.name,
        "description": event.description,
        "identity": json.dumps(identity),
    }


def _flush(staging: Staging, table: str, rows: list[dict[str, object]], types: Mapping[str, pa.DataType]) -> None:
    batch = pa.RecordBatch.from_pydict(
        {name: pa.array([row[name] for row in rows], type_) for name, type_ in types.items()}
    )
    staging.load(table, [batch], [name for name in types if name != "identity"], ["identity"])
    rows.clear()


def _say(notes: list[str], count: int, what: str) -> None:
    notes.append(f"{count:,} {what} were left out.")


def _join_queries(staging: Staging, files: list[Path], notes: list[str]) -> None:
    """Leaves `searches`: one row per query id, with its text, its hits and its first time."""
    count = staging.count("queries")
    if not count:
        raise DataError(
            f"{', '.join(map(str, files))} hold no query (a record with user_query); give the queries' log too."
        )
    _say(notes, staging.reject_repeated("queries"), "query records that stand again, equal in all that is taken,")
    _say(notes, staging.reject("queries", "t.query_id IS NULL"), "query records without a query_id")
    _say(notes, staging.reject("queries", "t.query IS NULL"), "query records without a user_query")
    kept = "FROM queries t ANTI JOIN queries_out o ON t.row = o.row"
    twice = staging.rows(
        f"SELECT query_id, arg_min(query, t.row), arg_max(query, t.row), min(t.row) AS first {kept} GROUP BY query_id "
        "HAVING count(DISTINCT query) > 1 ORDER BY first LIMIT 1"
    )
    if twice:
        raise DataError(
            f"The query_id '{twice[0][0]}' stands for two queries, '{twice[0][1]}' and '{twice[0][2]}'; give each "
            "search an id of its own."
        )
    # a record with hits is preferred to one without, and then the earlier one
    late = 1 << 40
    staging.execute(
        f"CREATE TABLE first_of AS SELECT min(t.row + CASE WHEN len(hits) > 0 THEN 0 ELSE {late} END) % {late} AS row "
        f"{kept} GROUP BY query_id"
    )
    later = staging.reject("queries", "NOT EXISTS (SELECT 1 FROM first_of f WHERE f.row = t.row)")
    _say(notes, later, "further records of a query_id, such as its next pages,")
    staging.execute(f"CREATE TABLE searches AS SELECT t.* {kept}")
    if not staging.value("SELECT count(*) FROM searches"):
        raise DataError(f"None of the {count:,} query records has both a query_id and a user_query; check the logs.")


def _sift_events(staging: Staging, notes: list[str]) -> None:
    """Leaves `engaged`: events that are engagements of a known search."""
    _say(notes, staging.reject_repeated("events"), "events that stand again, equal in all that is taken,")
    other = staging.rows(
        f"SELECT name, count(*) AS n FROM events t ANTI JOIN events_out o ON t.row = o.row WHERE action IS NULL "
        f"AND name <> '{IMPRESSION}' GROUP BY name ORDER BY n DESC, name"
    )
    names = ", ".join(f"{name}: {number:,}" for name, number in other[:10])
    count = staging.reject("events", f"t.action IS NULL AND t.name <> '{IMPRESSION}'")
    _say(notes, count, f"events that are no engagement{f' ({names})' if names else ''}")
    unknown = "NOT EXISTS (SELECT 1 FROM searches s WHERE s.query_id = t.query_id)"
    _say(notes, staging.reject("events", unknown), "events without a query_id that the queries' log has")
    _say(notes, staging.reject("events", "t.object_id IS NULL"), "events without an object_id")
    timeless = staging.reject("events", f"t.\"time\" IS NULL AND t.name <> '{IMPRESSION}'")
    _say(notes, timeless, "engagements without a time")
    staging.execute(
        'CREATE TABLE engaged AS SELECT e.row, s.query_id, s.query, e.object_id, e.action, e."time", '
        f'coalesce(e."user", s.client) AS "user" FROM {_KEPT_EVENTS} WHERE e.action IS NOT NULL'
    )


def _make_impressions(staging: Staging, notes: list[str]) -> None:
    """Leaves `shown`: the objects of each response, or of impression events where a search has no response."""
    staging.execute(
        'CREATE TABLE responses AS SELECT row, query_id, query, "time", unnest(hits) AS object_id, '
        "unnest(range(1, len(hits) + 1)) AS position FROM searches"
    )
    staging.execute(
        'CREATE TABLE seen AS SELECT s.row, s.query_id, s.query, coalesce(e."time", s."time") AS "time", e.object_id, '
        f"e.position FROM {_KEPT_EVENTS} WHERE e.action IS NULL AND len(s.hits) = 0"
    )
    answered = staging.value(f"SELECT count(*) FROM {_KEPT_EVENTS} WHERE e.action IS NULL AND len(s.hits) > 0")
    unplaced = staging.value("SELECT count(*) FROM seen WHERE position IS NULL")
    staging.execute(
        'CREATE TABLE placed AS SELECT min(row) AS row, query_id, any_value(query) AS query, min("time") AS "time", '
        "object_id, min(position) AS position FROM (SELECT * FROM responses UNION ALL SELECT * FROM seen "
        "WHERE position IS NOT NULL) GROUP BY query_id, object_id"
    )
    twice = staging.value("SELECT count(*) FROM responses") + staging.value("SELECT count(position) FROM seen")
    twice -= staging.value("SELECT count(*) FROM placed")
    strength = ", ".join(f"'{action}'" for action in _STRENGTH)
    staging.execute(
        "CREATE TABLE shown AS SELECT p.*, a.action FROM placed p LEFT JOIN (SELECT query_id, object_id, "
        f"arg_max(action, list_position([{strength}], action)) AS action FROM engaged GROUP BY query_id, object_id) a "
        "ON a.query_id = p.query_id AND a.object_id = p.object_id"
    )
    beside = staging.value("SELECT count(*) FROM engaged e ANTI JOIN placed p USING (query_id, object_id)")
    notes += [
        f"{answered:,} impression events of searches whose response is logged were not needed.",
        f"{unplaced:,} impression events without a position were left out.",
        f"{twice:,} objects that one search shows again were left out; the highest place is kept.",
        f"{beside:,} engagements are of objects that no response or impression of their search names; they are in "
        "the log and not among the impressions.",
    ]


def _queries(staging: Staging) -> Iterator[pa.RecordBatch]:
    for batch in staging.batches("SELECT query, min(row) AS first FROM searches GROUP BY query ORDER BY first"):
        yield pa.RecordBatch.from_pydict({"query": batch.column(0).cast(pa.string())})


def _entities(staging: Staging) -> Iterator[pa.RecordBatch]:
    sql = (
        f"SELECT object_id, arg_min(title, row), arg_min(description, row) FROM (SELECT e.object_id, e.title, "
        f"e.description, e.row FROM {_KEPT_EVENTS} UNION ALL SELECT object_id, NULL, NULL, 0 FROM placed) "
        "GROUP BY object_id ORDER BY object_id"
    )
    for batch in staging.batches(sql):
        columns = [column.cast(pa.string()) for column in batch.columns]
        yield pa.RecordBatch.from_arrays(columns, names=["id", "title", "description"])


def _engagements(staging: Staging, entity_type: str) -> Iterator[pa.RecordBatch]:
    for batch in staging.batches('SELECT query, object_id, action, "time", "user" FROM engaged ORDER BY row'):
        query, thing, action, moment, user = batch.columns
        yield pa.RecordBatch.from_pydict(
            {
                "query": query.cast(pa.string()),
                "entity_id": thing.cast(pa.string()),
                "entity_type": pa.array([entity_type] * batch.num_rows, pa.string()),
                "action": action.cast(pa.string()),
                "timestamp": moment.cast(pa.int64()).cast(TIMESTAMP),
                "user_id": user.cast(pa.string()),
            }
        )


def _noting_times(table: str, batches: Iterator[pa.RecordBatch], notes: list[str]) -> Iterator[pa.RecordBatch]:
    """The batches as they are; times that no log has are counted and told."""
    count, first = 0, ""
    for batch in batches:
        odd = odd_times(batch.column("timestamp"))
        if odd is not None:
            query = batch.column("query")[odd.first_row].as_py()
            first = first or f"{odd.reason}, first {odd.first:%Y-%m-%d %H:%M} of the query {query!r}"
            count += odd.rows
        yield batch
    if count:
        notes.append(f"Table {table}: {count:,} times are {first}: check the clock or the unit of what wrote the log.")


def _impressions(staging: Staging, entity_type: str) -> Iterator[pa.RecordBatch]:
    sql = 'SELECT query_id, query, object_id, position, action, "time" FROM shown ORDER BY row, position, object_id'
    for batch in staging.batches(sql):
        request, query, thing, position, action, moment = batch.columns
        yield pa.RecordBatch.from_pydict(
            {
                "request_id": request.cast(pa.string()),
                "query": query.cast(pa.string()),
                "entity_id": thing.cast(pa.string()),
                "entity_type": pa.array([entity_type] * batch.num_rows, pa.string()),
                "position": position.cast(pa.int64()),
                "action": action.cast(pa.string()),
                "timestamp": moment.cast(pa.int64()).cast(TIMESTAMP),
            }
        )
