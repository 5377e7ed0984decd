"""Engaged queries: golden values, and the engine against plain Python."""

import gzip
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omnifeat.data.schema import TIMESTAMP
from omnifeat.data.splits import HashSplit, TimeSplit
from omnifeat.enrich.queries import QuerySettings
from omnifeat.errors import DataError, SettingError
from tests.enrich.query_reference import Row, moment, reference, run, write_log

LOG = [
    # p1: sink 4 + 1 = 5, tap 2 + 2 = 4, bath 4 later than tap, oven 1
    Row("sink", "p1", "pin", "save", moment("2024-03-01")),
    Row("sink", "p1", "pin", "click", moment("2024-03-01")),
    Row("tap", "p1", "pin", "long_click", moment("2024-03-01")),
    Row("tap", "p1", "pin", "long_click", moment("2024-03-02")),
    Row("bath", "p1", "pin", "save", moment("2024-03-03")),
    Row("oven", "p1", "pin", "click", moment("2024-03-09")),
    # a product of the same id; the tie of score and day goes by the text
    Row("b", "p1", "product", "checkout", moment("2024-03-01", 1)),
    Row("a", "p1", "product", "checkout", moment("2024-03-01", 0)),
    Row("c", "p1", "product", "add_to_cart", moment("2024-03-01")),
    # a query that was clicked is no entity with engaged queries, but its time is a time of the log
    Row("sink", "basin", "query", "click", moment("2024-03-10")),
]
TOP = {("pin", "p1"): ["sink", "bath", "tap", "oven"], ("product", "p1"): ["a", "b", "c"]}


def test_golden_order(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.parquet", LOG)
    assert run([log], tmp_path / "work") == TOP
    assert run([log], tmp_path / "work", state=tmp_path / "state") == TOP
    assert reference(LOG) == TOP


def test_top_weights_window_and_day(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.parquet", LOG)
    cases = [
        (QuerySettings(top=1), {("pin", "p1"): ["sink"], ("product", "p1"): ["a"]}),
        (
            QuerySettings(weights={"click": 9, "checkout": 0}),
            {("pin", "p1"): ["sink", "oven", "bath", "tap"], ("product", "p1"): ["c"]},
        ),
        # 2024-03-10 is the log's last day, so that 9 days begin with 2024-03-02
        (QuerySettings(window_days=9), {("pin", "p1"): ["bath", "tap", "oven"]}),
        (QuerySettings(window_days=2, as_of=date(2024, 3, 4)), {("pin", "p1"): ["bath"]}),
        (QuerySettings(as_of=date(2023, 1, 1)), {}),
    ]
    for chosen, found in cases:
        assert reference(LOG, settings=chosen) == found
        assert run([log], tmp_path / "work", settings=chosen) == found
        assert (
            run(
                [log],
                tmp_path / "work",
                settings=chosen,
                state=tmp_path / f"state{chosen.top, chosen.window_days, chosen.as_of}",
            )
            == found
        )


def test_only_whole_days_before_the_held_out_part_count(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.parquet", LOG)
    for hour in (0, 23):  # the training part ends with the 2nd, or within the 3rd
        split = TimeSplit(development_from=moment("2024-03-04", hour), test_from=moment("2024-03-05"), gap_days=1)
        found = {("pin", "p1"): ["sink", "tap"], ("product", "p1"): ["a", "b", "c"]}
        assert reference(LOG, split) == found
        assert run([log], tmp_path / "work", split) == found
        # an as-of within the held-out part reaches no further
        late = QuerySettings(as_of=date(2024, 3, 9))
        assert run([log], tmp_path / "work", split, late) == found
        # the same state serves both splits: what it counted doesn't depend on them
        assert run([log], tmp_path / "work", split, late, state=tmp_path / "state") == found


def test_only_training_rows_of_a_split_by_hash_count(tmp_path: Path) -> None:
    rows = [Row(f"query {i}", f"p{i % 5}", "pin", "click", moment("2024-03-01")) for i in range(60)]
    log = write_log(tmp_path / "log.parquet", rows)
    for split in (HashSplit(test=0.3, development=0.3), HashSplit(column="entity_id", test=0.4)):
        found = run([log], tmp_path / "work", split)
        assert found == reference(rows, split)
        assert 0 < sum(map(len, found.values())) < 60
        assert run([log], tmp_path / "work", split, state=tmp_path / f"state-{split.column}") == found


@pytest.mark.parametrize("how", ["csv", "csv.gz", "jsonl", "naive", "ns", "ns tz", "ms", "other zone", "dictionary"])
def test_every_form_of_a_log_gives_the_same(tmp_path: Path, how: str) -> None:
    rows = [*LOG, Row("früh", "p9", "pin", "click", datetime(1969, 12, 31, 23, 59, tzinfo=UTC))]
    table = pq.read_table(write_log(tmp_path / "log.parquet", rows))
    plain = write_log(tmp_path / "plain" / "log.parquet", rows[:5])
    types = {
        "naive": pa.timestamp("us"), "ns": pa.timestamp("ns"), "ns tz": pa.timestamp("ns", "UTC"),
        "ms": pa.timestamp("ms", "UTC"), "other zone": pa.timestamp("us", "America/New_York"),
    }  # fmt: skip
    log = tmp_path / (f"other.{how}" if "." in how or how in ("csv", "jsonl") else "other.parquet")
    if log.suffix == ".parquet":
        if how == "dictionary":
            table = table.set_column(0, "query", table["query"].dictionary_encode())
            table = table.set_column(1, "entity_id", table["entity_id"].cast(pa.large_string()))
        else:
            table = table.set_column(4, "timestamp", table["timestamp"].cast(types[how]))
        pq.write_table(table, log)
    elif how == "jsonl":
        lines = [
            f'{{"query":"{r.query}","entity_id":"{r.entity_id}","entity_type":"{r.entity_type}","action":"{r.action}","timestamp":"{r.timestamp.isoformat()}"}}'
            for r in rows
        ]
        log.write_text("\n".join(lines), encoding="utf-8")
    else:
        text = "\n".join([",".join(Row._fields), *(",".join([*r[:4], r.timestamp.isoformat()]) for r in rows)])
        log.write_bytes(gzip.compress(text.encode()) if how == "csv.gz" else text.encode())
    chosen = QuerySettings(window_days=30_000)
    # beside a file of the usual types, whose types must not be taken for those of all
    for split in (None, HashSplit(test=0.3)):
        assert run([plain, log], tmp_path / "work", split, chosen) == reference([*rows, *rows[:5]], split, chosen)
    assert run([plain, log], tmp_path / "work", None, chosen, tmp_path / "state") == reference(
        [*rows, *rows[:5]], None, chosen
    )


day = st.integers(0, 12).map(lambda n: datetime(2024, 3, 1, tzinfo=UTC) + timedelta(days=n, hours=n))
logs = st.lists(
    st.builds(
        Row,
        query=st.sampled_from(["sink", "Sink", "tap", "бак", "水槽", "😀", "\u00e9", "z"]),
        entity_id=st.sampled_from(["1", "2", "3"]),
        entity_type=st.sampled_from(["pin", "pin", "product", "query"]),
        action=st.sampled_from(["save", "click", "click", "long_click", "add_to_cart", "checkout"]),
        timestamp=day,
    ),
    min_size=1,
    max_size=60,
)
splits = st.one_of(
    st.none(),
    st.builds(HashSplit, test=st.just(0.3), salt=st.sampled_from(["", "x"])),
    day.flatmap(
        lambda d: st.builds(
            TimeSplit, development_from=st.just(d), test_from=st.just(d), gap_days=st.sampled_from([0, 1.5])
        )
    ),
)
chosen_settings = st.builds(
    QuerySettings,
    top=st.integers(1, 4),
    window_days=st.integers(1, 15),
    as_of=st.one_of(st.none(), day.map(lambda d: d.date())),
    weights=st.sampled_from([{}, {"click": 0}, {"click": 4}]),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=logs, split=splits, chosen=chosen_settings)
def test_any_log_as_in_plain_python(
    tmp_path: Path, rows: list[Row], split: HashSplit | TimeSplit | None, chosen: QuerySettings
) -> None:
    log = write_log(tmp_path / "log.parquet", rows)
    assert run([log], tmp_path / "work", split, chosen) == reference(rows, split, chosen)


def broken(**changed: object) -> dict[str, list[object]]:
    columns: dict[str, list[object]] = {name: [row[i] for row in LOG[:3]] for i, name in enumerate(Row._fields)}
    for name, value in changed.items():
        columns[name] = [columns[name][0], value, columns[name][2]]
    return columns


@pytest.mark.parametrize("stateful", [False, True])
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"action": "like"}, r"row 2: the action is 'like', but must be one of save, long_click"),
        ({"action": None}, "row 2 has no action"),
        ({"entity_type": "Pin"}, "row 2: the entity_type is 'Pin', but must be one of pin, product, query"),
        ({"entity_type": None}, "row 2 has no entity_type"),
        ({"query": None}, "row 2 has no query"),
        ({"query": " "}, "row 2: the query is ' ', but must not be blank"),
        ({"query": "\t\u3000"}, r"row 2: the query is '\\t\\u3000', but must not be blank"),
        ({"entity_id": ""}, "row 2: the entity_id is '', but must not be blank"),
        ({"timestamp": None}, "row 2 has no timestamp"),
        ({"timestamp": 10**18}, "row 2: the timestamp is 1,000,000,000,000,000,000 microseconds from 1970, in no year"),
        # whose time counts as one of the log's
        ({"timestamp": -(10**18), "entity_type": "query"}, "row 2: the timestamp is -1,000,000,000,000,000,000"),
    ],
)
def test_rows_that_must_not_be_there(tmp_path: Path, changed: dict, message: str, stateful: bool) -> None:
    columns = broken(**changed)
    times = [time if isinstance(time, int) else time and int(time.timestamp() * 10**6) for time in columns["timestamp"]]
    table = pa.table(columns | {"timestamp": pa.array(times, pa.int64()).cast(TIMESTAMP)})
    pq.write_table(table, tmp_path / "log.parquet")
    state = tmp_path / "state" if stateful else None
    with pytest.raises(DataError, match=rf"log\.parquet, {message}"):
        run([tmp_path / "log.parquet"], tmp_path / "work", state=state)
    if state:  # nothing of it is remembered, and the corrected part is taken
        good = write_log(tmp_path / "good.parquet", LOG)
        assert run([good], tmp_path / "work", state=state) == TOP


def test_only_the_row_that_is_refused_is_named(tmp_path: Path) -> None:
    """A blank user is one like any other for a split by users; the unknown action is what is wrong."""
    first, second = tmp_path / "1.parquet", tmp_path / "2.parquet"
    pq.write_table(pa.table(broken() | {"user_id": ["", "u", "u"]}), first)
    pq.write_table(pa.table(broken(action="like") | {"user_id": ["u", "u", "u"]}), second)
    with pytest.raises(DataError, match=r"2\.parquet, row 2: the action is 'like'"):
        run([first, second], tmp_path / "work", HashSplit(column="user_id"))


def test_columns_are_told_apart_by_case(tmp_path: Path) -> None:
    table = pq.read_table(write_log(tmp_path / "log.parquet", LOG))
    table = table.add_column(0, "Query", pa.array(["raw"] * len(LOG)))
    pq.write_table(table, tmp_path / "log.parquet")
    assert run([tmp_path / "log.parquet"], tmp_path / "work") == TOP


def test_ids_that_are_numbers_are_their_text(tmp_path: Path) -> None:
    numbered = [Row(row.query, str(ord(row.entity_id[0])), row.entity_type, row.action, row.timestamp) for row in LOG]
    table = pq.read_table(write_log(tmp_path / "log.parquet", numbered))
    for kind in (pa.int64(), pa.float64()):
        numbers = table.column("entity_id").cast(pa.int64()).cast(kind)
        pq.write_table(
            table.set_column(table.schema.get_field_index("entity_id"), "entity_id", numbers), tmp_path / "n.parquet"
        )
        assert run([tmp_path / "n.parquet"], tmp_path / "work") == reference(numbered)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.parquet", LOG)
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(log.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"cut\.parquet cannot be read as Parquet"):
        run([log, cut], tmp_path / "work")
    pq.write_table(pq.read_table(log).drop_columns(["action"]), tmp_path / "less.parquet")
    with pytest.raises(DataError, match=r"less\.parquet has no column 'action'"):
        run([tmp_path / "less.parquet"], tmp_path / "work")
    table = pq.read_table(log)
    truths = pa.array([True] * table.num_rows)
    pq.write_table(table.set_column(1, "entity_id", truths), tmp_path / "truth.parquet")
    with pytest.raises(DataError, match=r"truth\.parquet, column 'entity_id' is bool, but must be text"):
        run([tmp_path / "truth.parquet"], tmp_path / "work")
    pq.write_table(table.slice(0, 0), tmp_path / "empty.parquet")
    with pytest.raises(DataError, match="has no rows"):
        run([tmp_path / "empty.parquet"], tmp_path / "work")
    with pytest.raises(DataError, match="has no column 'user_id'"):
        run([log], tmp_path / "work", HashSplit(column="user_id"))
    with pytest.raises(DataError, match="the split hashes the column 'timestamp', which is no text"):
        run([log], tmp_path / "work", HashSplit(column="timestamp"))
    pq.write_table(table.append_column('a "b"', pa.array(range(table.num_rows))), tmp_path / "odd.parquet")
    with pytest.raises(DataError, match="column 'a \"b\"', which the split hashes, is int64: it must be text"):
        run([tmp_path / "odd.parquet"], tmp_path / "work", HashSplit(column='a "b"'))
    other = TimeSplit(column="day", development_from=moment("2024-03-04"), test_from=moment("2024-03-05"))
    with pytest.raises(DataError, match="the split reads the times of column 'day'"):
        run([log], tmp_path / "work", other)


@pytest.mark.parametrize(
    ("given_settings", "message"),
    [
        ({"top": 0}, "at least one query for each entity, not 0"),
        ({"window_days": 0}, "at least one day, not 0"),
        ({"weights": {"like": 1}}, "There is no action 'like'"),
        ({"weights": {"save": -1}}, "The weight of 'save' must be from 0"),
        ({"weights": dict.fromkeys(["save", "click", "long_click", "checkout", "add_to_cart"], 0)}, "All actions"),
    ],
)
def test_settings_that_make_no_sense(given_settings: dict, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        QuerySettings(**given_settings)


def test_windows_at_the_ends_of_the_calendar(tmp_path: Path) -> None:
    log, later = write_log(tmp_path / "log.parquet", LOG[:5]), write_log(tmp_path / "later.parquet", LOG[5:])
    for number, day in enumerate([date.min, date.max]):
        chosen = QuerySettings(as_of=day, window_days=1 if day == date.min else 3_650_000)
        found = {} if day == date.min else TOP
        assert run([log, later], tmp_path / "work", settings=chosen) == found
        state = tmp_path / f"state-{number}"
        run([log], tmp_path / "work", settings=chosen, state=state)
        assert run([later], tmp_path / "work", settings=chosen, state=state) == found


def test_a_window_before_all_times(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.parquet", LOG)
    with pytest.raises(SettingError, match="begins before"):
        run([log], tmp_path / "work", settings=QuerySettings(window_days=10_000_000))


def test_times_as_text_are_read_in_a_typed_file(tmp_path: Path) -> None:
    table = pq.read_table(write_log(tmp_path / "log.parquet", LOG))
    texts = pa.array([row.timestamp.strftime("%Y-%m-%d %H:%M:%S UTC") for row in LOG])
    pq.write_table(
        table.set_column(table.schema.get_field_index("timestamp"), "timestamp", texts), tmp_path / "t.parquet"
    )
    assert run([tmp_path / "t.parquet"], tmp_path / "work") == TOP


def test_a_wrong_clock_does_not_empty_the_window(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.parquet", [*LOG, Row("late", "p1", "pin", "save", moment("2199-01-01"))])
    for state in (None, tmp_path / "state"):
        with pytest.raises(DataError, match=r"the log's last day is 2199-01-01, which is to come.*--as-of"):
            run([log], tmp_path / "work", state=state)
    assert run([log], tmp_path / "work", settings=QuerySettings(as_of=date(2024, 3, 10))) == TOP
