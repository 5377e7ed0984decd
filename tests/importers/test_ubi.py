"""The published schema, version 1.3.0, and the forms in which OpenSearch gives records: plain, in bulk, as hits."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from omnifeat.data.dataset import Dataset
from omnifeat.importers import import_ubi

Imported = Callable[..., tuple[dict[str, Any], Dataset]]
Refused = Callable[..., str]
Record = dict[str, Any]


def query(identifier: str | None, text: str | None, hits: Any = None, **more: Any) -> Record:
    record = {
        "application": "shop", "query_id": identifier, "client_id": "client-1", "user_query": text,
        "query_attributes": {},
        "timestamp": "2024-05-01T12:00:00.250Z",
    }  # fmt: skip
    return record | ({} if hits is None else {"query_response_id": "r", "query_response_hit_ids": hits}) | more


def event(action: str, identifier: str | None, thing: Any, position: Any = None, **more: Any) -> Record:
    attributes: Record = {"object": {"object_id": thing, "object_id_field": "sku"}}
    if position is not None:
        attributes["position"] = {"ordinal": position}
    return {
        "application": "shop", "action_name": action, "query_id": identifier, "client_id": "client-2",
        "session_id": "s",
        "timestamp": "2024-05-01T12:00:10+02:00", "message_type": None, "event_attributes": attributes, **more,
    }  # fmt: skip


QUERIES = [
    query("q1", "copper  sink", ["p1", "p2", "p1", "p3"]),
    query("q1", "copper  sink", ["p1", "p2", "p1", "p3"]),  # again
    query("q1", "copper sink", ["p9"]),  # the next page
    query("q2", "Lamp", timestamp=1_714_564_800_000),  # no response is logged
    query("q3", "copper sink", "p2", timestamp="2024-05-02T00:00:00"),  # one hit comes without brackets
    query("q4", "", ["p1"]),
    query(None, "sofa", ["p1"]),
]
EVENTS = [
    event("click", "q1", "p2", 2),
    event("click", "q1", "p2", 2),  # again
    event("add_to_cart", "q1", "p2", user_id="ann"),
    event("purchase", "q1", 4),  # an id that is a number, and was not shown
    event("impression", "q1", "p1", 1),
    event("impression", "q2", "l1", 1),
    event("impression", "q2", "l2", 2),
    event("impression", "q2", "l3"),
    event("click_through", "q2", "l2", 2, timestamp=1_714_564_805_000),
    event("view", "q2", "l2", 2),
    event("wishlist", "q2", "l2", 2),
    event("click", "q9", "l2", 2),
    event("click", None, "l2", 2),
    event("click", "q2", None, 2),
    event("click", "q2", "l2", 2, timestamp=None),
]
EVENTS[2]["event_attributes"]["object"] |= {"name": "Copper sink", "description": "Large"}


def put(path: Path, records: list[Any], end: str = "\n") -> None:
    path.write_text(
        "".join(json.dumps(record, ensure_ascii=False) + end for record in records), encoding="utf-8", newline=""
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "ubi"
    folder.mkdir()
    put(folder / "ubi_events.ndjson", EVENTS)
    put(folder / "ubi_queries.ndjson", QUERIES, end="\r\n\n")
    return folder


def test_tables(source: Path, imported: Imported) -> None:
    result, dataset = imported("ubi", source)
    assert dataset.read("queries")["query"].to_pylist() == ["copper sink", "Lamp"]
    impressions = [tuple(row.values()) for row in dataset.read("impressions").to_pylist()]
    noon = datetime(2024, 5, 1, 12, 0, 0, 250_000, UTC)
    event_time = datetime(2024, 5, 1, 10, 0, 10, tzinfo=UTC)
    assert impressions == [
        ("q1", "copper sink", "p1", "product", 1, None, noon),
        ("q1", "copper sink", "p2", "product", 2, "add_to_cart", noon),  # the stronger of two
        ("q1", "copper sink", "p3", "product", 4, None, noon),
        ("q2", "Lamp", "l1", "product", 1, None, event_time),
        ("q2", "Lamp", "l2", "product", 2, "click", event_time),
        ("q3", "copper sink", "p2", "product", 1, None, datetime(2024, 5, 2, tzinfo=UTC)),
    ]
    engagements = [tuple(row.values()) for row in dataset.read("engagements").to_pylist()]
    assert engagements == [
        ("copper sink", "p2", "product", "click", event_time, "client-2"),
        ("copper sink", "p2", "product", "add_to_cart", event_time, "ann"),
        ("copper sink", "4", "product", "checkout", event_time, "client-2"),
        ("Lamp", "l2", "product", "click", datetime(2024, 5, 1, 12, 0, 5, tzinfo=UTC), "client-2"),
    ]
    products = {row["id"]: (row["title"], row["description"]) for row in dataset.read("products").to_pylist()}
    assert list(products) == ["4", "l1", "l2", "l3", "p1", "p2", "p3"]
    assert products["p2"] == ("Copper sink", "Large")
    assert products["p1"] == (None, None)
    for note in (
        "1 query records that stand again, equal in all that is taken, were left out.",
        "1 query records without a query_id were left out.",
        "1 query records without a user_query were left out.",
        "1 further records of a query_id, such as its next pages, were left out.",
        "1 events that stand again, equal in all that is taken, were left out.",
        "2 events that are no engagement (view: 1, wishlist: 1) were left out.",
        "2 events without a query_id that the queries' log has were left out.",
        "1 events without an object_id were left out.",
        "1 engagements without a time were left out.",
        "1 impression events of searches whose response is logged were not needed.",
        "1 impression events without a position were left out.",
        "1 objects that one search shows again were left out; the highest place is kept.",
    ):
        assert note in result["notes"], note
    assert any(note.startswith("1 engagements are of objects that no response") for note in result["notes"])


def test_other_actions_and_pins(source: Path, imported: Imported) -> None:
    _, dataset = imported(
        "ubi", source, "--action", "wishlist=save", "--action", "click=long_click", "--entity-type", "pin"
    )
    actions = dataset.read("engagements")["action"].to_pylist()
    assert actions == ["long_click", "add_to_cart", "checkout", "click", "save"]
    assert dataset.read("pins").num_rows == 7
    assert set(dataset.read("impressions")["entity_type"].to_pylist()) == {"pin"}
    assert dataset.read("impressions")["action"].to_pylist() == [None, "add_to_cart", None, None, "save", None]


def test_one_file_in_bulk_form_and_hits(tmp_path: Path, imported: Imported) -> None:
    """As the generator of samples writes it: action lines between records, ranks from 0 beside the object."""
    shown = event("impression", "q1", "p1")
    shown["event_attributes"]["rank"] = 0
    records = [
        {"index": {"_index": "ubi_queries", "_id": "1"}},
        query("q1", "копия"),
        {"create": {"_index": "ubi_events", "_id": "2"}},
        shown,
        {"_index": "ubi_events", "_id": "3", "_source": event("click", "q1", "p1")},
    ]
    text = "".join(json.dumps(record) + "\n" for record in records)
    path = tmp_path / "ubi_queries_events.ndjson.gz"
    path.write_bytes(gzip.compress(text.encode()))
    _, dataset = imported("ubi", path)
    assert [tuple(row.values())[:6] for row in dataset.read("impressions").to_pylist()] == [
        ("q1", "копия", "p1", "product", 1, "click")
    ]


def test_many_records_come_in_order(source: Path, imported: Imported) -> None:
    count = 20_000
    put(
        source / "ubi_queries.ndjson",
        [query(f"q{number}", f"text {number % 97}", ["a", "b"]) for number in range(count)],
    )
    put(source / "ubi_events.ndjson", [event("click", f"q{number}", "b") for number in range(count)])
    _, dataset = imported("ubi", source, "--memory-limit", "64MB")
    rows = dataset.read("impressions", ["request_id", "position", "action"]).to_pydict()
    assert rows["request_id"][::2] == [f"q{number}" for number in range(count)]
    assert rows["action"] == [None, "click"] * count
    assert dataset.read("queries").num_rows == 97


def test_same_bytes_again(source: Path, imported: Imported) -> None:
    imported("ubi", source)
    imported("ubi", source, "--memory-limit", "64MB", out="again")
    for path in (source.parent / "out").iterdir():
        assert path.read_bytes() == (source.parent / "again" / path.name).read_bytes(), path.name


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"query_id": "x"', "ubi_queries.ndjson, line 1 is not JSON"),
        (b"[1]", "line 1 must be a JSON object but is a list"),
        (b'{"a": 1}', "line 1 is neither a query (user_query) nor an event (action_name)"),
        (b'{"user_query": "\xff"}', "line 1 is not UTF-8"),
        (b'{"user_query": "a\\ud83d", "query_id": "1"}', "line 1 holds half a surrogate pair"),
        (b'{"user_query": ["a"], "query_id": "1"}', "'user_query' must be text but is ['a']"),
        (b'{"user_query": "a", "query_id": "1", "timestamp": "soon"}', "'timestamp' must be a time"),
        (b'{"user_query": "a", "query_id": "1", "timestamp": true}',
            "'timestamp' must be a time"),
        (b'{"user_query": "a", "query_id": "1", "query_response_hit_ids": [{}]}',
            "'query_response_hit_ids' must be text"),
        (b'{"action_name": ""}',
            "'action_name' is empty"),
        (b'{"action_name": "click", "event_attributes": [1]}',
            "'event_attributes' must be an object"),
        (b'{"action_name": "x", "event_attributes": {"position": {"ordinal": 1.5}}}', "'ordinal' must be a whole"),
        ('{"action_name": "x", "event_attributes": {"position": {"ordinal": "²"}}}'.encode(),
            "'ordinal' must be a whole number but is '²'"),
        (b'{"action_name": "x", "event_attributes": {"position": {"ordinal": "' + b"9" * 5_000 + b'"}}}',
            "'ordinal' must be a whole number but is '999"),
        (b'{"action_name": "x", "query_id": ' + b"9" * 5_000 + b"}", "line 1 holds a number that is too long"),
        (b"[" * 100_000, "line 1 is n"),
    ],
)  # fmt: skip
def test_bad_lines(source: Path, refused: Refused, line: bytes, said: str) -> None:
    path = source / "ubi_queries.ndjson"
    path.write_bytes(line + b"\n" + path.read_bytes())
    assert said in refused("ubi", source)


def test_bad_logs(source: Path, refused: Refused) -> None:
    put(source / "ubi_queries.ndjson", [query("q1", "sink", ["a"]), query("q1", "lamp", ["a"])])
    assert "The query_id 'q1' stands for two queries, 'sink' and 'lamp'" in refused("ubi", source)
    put(source / "ubi_queries.ndjson", [query(None, "sink", ["a"])])
    assert "None of the 1 query records has both a query_id and a user_query" in refused("ubi", source)
    put(source / "ubi_queries.ndjson", [query("q8", "sink")])
    assert "could be taken for an impression or an engagement" in refused("ubi", source)
    (source / "ubi_queries.ndjson").write_text("\n")
    assert "hold no query" in refused("ubi", source)
    (source / "more.jsonl.gz").write_bytes(gzip.compress(b"{}" * 1000)[:-9])
    assert "more.jsonl.gz is damaged" in refused("ubi", source)
    for path in source.iterdir():
        path.unlink()
    assert "holds no file that ends in one of" in refused("ubi", source)
    (source / "log.txt").write_text("")
    assert "must end in one of" in refused("ubi", source / "log.txt")
    assert "does not exist" in refused("ubi", source / "missing")


def test_bad_settings(source: Path, refused: Refused) -> None:
    assert "Unknown action 'buy' for 'wishlist'" in refused("ubi", source, "--action", "wishlist=buy")
    assert "does not read NAME=ACTION" in refused("ubi", source, "--action", "wishlist")
    assert "needs --development-from" in refused("ubi", source, "--split", "time")


@pytest.mark.parametrize(
    "moment",
    [
        1_709_294_400, 1_709_294_400_000, "1709294400000", 1_709_294_400_000_000, 1_709_294_400_000_000_000,
        "2024-03-01T12:00:00Z", "2024-03-01 12:00:00 UTC", "2024-03-01T12:00:00.000000000Z",
    ],
)  # fmt: skip
def test_seconds_and_milliseconds_give_one_time_and_never_1970(tmp_path: Path, moment: object) -> None:
    record = {"query_id": "s", "user_query": "mug", "timestamp": moment, "query_response_hit_ids": [1, 2]}
    (tmp_path / "log.ndjson").write_text(json.dumps(record) + "\n")
    import_ubi(tmp_path / "log.ndjson", tmp_path / "out")
    shown = Dataset.open(tmp_path / "out").read("impressions")
    assert shown["timestamp"].to_pylist() == [datetime(2024, 3, 1, 12, tzinfo=UTC)] * 2
    assert shown["entity_id"].to_pylist() == ["1", "2"]  # whole numbers as ids become text


def test_html_in_the_names_of_objects_is_taken_out(tmp_path: Path) -> None:
    thing = {"object_id": "1", "name": "Mug &amp; cup", "description": "<p>Red</p>"}
    rows = [
        {"query_id": "s", "user_query": "mug", "timestamp": 1_709_294_400_000},
        {
            "action_name": "click",
            "query_id": "s",
            "timestamp": 1_709_294_400_001,
            "event_attributes": {"object": thing},
        },
    ]
    (tmp_path / "log.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    import_ubi(tmp_path / "log.ndjson", tmp_path / "out")
    products = Dataset.open(tmp_path / "out").read("products").to_pylist()
    assert products == [{"id": "1", "title": "Mug & cup", "description": "Red"}]


def test_times_that_no_log_has_are_told(source: Path, imported: Imported) -> None:
    put(source / "ubi_queries.ndjson", [query("q1", "sink", ["p1"], timestamp=0), query("q2", "lamp", ["p1"])])
    put(source / "ubi_events.ndjson", [event("click", "q1", "p1", timestamp="2099-01-01T00:00:00Z")])
    result, _ = imported("ubi", source)
    said = "check the clock or the unit of what wrote the log."
    assert (
        f"Table impressions: 1 times are before 1990, first 1970-01-01 00:00 of the query 'sink': {said}"
        in (result["notes"])
    )
    assert any(
        note.startswith("Table engagements: 1 times are years in the future, first 2099-01-01")
        for note in result["notes"]
    )


@pytest.mark.parametrize("moment", [202403, "2024030112", 45352])
def test_numbers_that_count_nothing_are_refused(source: Path, refused: Refused, moment: object) -> None:
    put(source / "ubi_queries.ndjson", [query("q1", "sink", ["p1"], timestamp=moment)])
    assert "line 1: 'timestamp' is" in (said := refused("ubi", source))
    assert "which looks like a" in said
