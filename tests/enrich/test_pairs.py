import json
import re
import tempfile
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from omnifeat.cli import app
from omnifeat.data.dataset import Dataset, DatasetInfo, DatasetWriter
from omnifeat.data.files import TableWriter
from omnifeat.data.splits import HashSplit, TimeSplit, split_rows
from omnifeat.data.tasks import PAIR_TASKS
from omnifeat.data.validate import validate
from omnifeat.enrich.pair_settings import PairSettings, SplitRequest, options_for_log, parse_actions
from omnifeat.enrich.pairs import make_pairs
from omnifeat.errors import DataError, SettingError
from omnifeat.simulator.simulate import simulate
from omnifeat.training.tasks import build_pair_sets

START = datetime(2024, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SPLIT = TimeSplit(development_from=START + 10 * DAY, test_from=START + 15 * DAY, gap_days=2)
COLUMNS = ("query", "entity_id", "entity_type", "action", "timestamp", "country")
Row = tuple[str, str, str, str, datetime, str | None]


def write(folder: Path, rows: list[Row], split: HashSplit | TimeSplit | None = SPLIT, **more: pa.Table) -> Path:
    columns = list(zip(*rows, strict=True))
    types = {"timestamp": pa.timestamp("us", tz="UTC")}
    log = pa.table({n: pa.array(c, types.get(n, pa.string())) for n, c in zip(COLUMNS, columns, strict=True)})
    with DatasetWriter(folder, DatasetInfo(name="log", split=split), overwrite=True) as writer:
        tables = {
            "pins": pa.table({"id": [f"p{n}" for n in range(4)]}),
            "products": pa.table({"id": ["q0", "q1"]}),
            "engagements": log,
        }
        for name, table in (tables | more).items():
            writer.write(name, table)
    return folder


def pairs_of(folder: Path, part: str) -> set[tuple[str, str, str, str]]:
    dataset = Dataset.open(folder)
    assert dataset.info.split is not None
    rows = split_rows(dataset.read("engagements"), dataset.info.split, part)
    return set(zip(*(rows[name].to_pylist() for name in COLUMNS[:4]), strict=True))


def test_by_hand(tmp_path: Path) -> None:
    def at(day: float) -> datetime:
        return START + day * DAY

    rows: list[Row] = [
        ("sink", "p0", "pin", "save", at(1), "US"),
        ("sink", "p0", "pin", "save", at(0.5), "FR"),  # the same pair, earlier
        ("sink", "p0", "pin", "long_click", at(2), None),  # the same pair by another action
        ("sink", "p1", "pin", "click", at(1), "US"),  # no action of Table 1
        ("sink", "p1", "pin", "save", at(9), "US"),  # in the gap
        ("sink", "q0", "product", "checkout", at(3), "DE"),
        ("sink", "q0", "product", "save", at(11), "DE"),
        ("sink", "tap", "query", "click", at(4), "US"),
        ("sink", "sink", "query", "click", at(4), "US"),  # itself
        ("sink", "p0", "pin", "save", at(20), "US"),  # the first pair again, in the test part
        ("tap", "p2", "pin", "save", at(20), "US"),
    ]
    data = write(tmp_path / "data", rows)
    result = make_pairs(Dataset.open(data), tmp_path / "out")
    counts = result.counts
    assert counts.log_rows == 11
    assert counts.rows_written == 7
    assert {reason: count for reason, count in counts.left_out.items() if count} == {
        "gap": 1, "other action": 1, "query with itself": 1, "repeated": 1,
    }  # fmt: skip
    assert counts.pairs == {
        "pins": {"train": 1, "development": 0, "test": 2},
        "products": {"train": 0, "development": 1, "test": 0},
        "products_offsite": {"train": 1, "development": 0, "test": 0},
        "queries": {"train": 1, "development": 0, "test": 0},
    }
    assert counts.test_pairs_seen_in_training == {"pins": 1}
    written = Dataset.open(tmp_path / "out").read("engagements")
    first = written.slice(0, 1).to_pylist()[0]
    assert first == dict(zip(COLUMNS, rows[1], strict=True)) | {"log_rows": 2}
    assert written["timestamp"].to_pylist() == sorted(written["timestamp"].to_pylist())
    assert written.slice(1, 1).to_pylist()[0]["country"] is None
    # the report
    report = (tmp_path / "out" / "pairs.md").read_text()
    assert "| Pair | Source | Actions | Size | Train | Development | Test |" in report
    assert "| Query-Pin | Query logs | save, long click | 3 | 1 | 0 | 2 |" in report
    assert "| Query-Product | Offsite logs | add to cart, checkout | 1 | 1 | 0 | 0 |" in report
    assert json.loads((tmp_path / "out" / "pairs.json").read_text())["pairs"] == counts.pairs
    # the rest is there, and the log as it was
    assert (tmp_path / "out" / "log.parquet").read_bytes() == (data / "engagements.parquet").read_bytes()
    corpus = Dataset.open(tmp_path / "out").read("corpus").to_pylist()
    assert [row["entity_id"] for row in corpus if row["entity_type"] == "product"] == ["q0", "q1"]
    assert [row["entity_id"] for row in corpus if row["entity_type"] == "query"] == ["sink", "tap"]
    assert validate(tmp_path / "out", check_leaks=True).ok


def plain_pairs(rows: list[Row], cap: int) -> tuple[dict[str, set[tuple[str, str, str, str]]], Counter[str]]:
    """What a reader of the page would do by hand; of entities over the cap only the number is told."""
    tasks = {(PAIR_TASKS[n][0], action): n for n, actions in PairSettings().actions.items() for action in actions}
    parts = SPLIT.assign(pa.table({"timestamp": pa.array([row[4] for row in rows], pa.timestamp("us", tz="UTC"))}))
    found: dict[str, set[tuple[str, str, str, str]]] = {"train": set(), "development": set(), "test": set()}
    per_entity: dict[tuple[str, str], set[str]] = defaultdict(set)
    for (query, entity, kind, action, *_), part in zip(rows, parts.to_pylist(), strict=True):
        if (kind, action) in tasks and part != "gap" and not (kind == "query" and query == entity):
            found[part].add((query, entity, kind, action))
            if part == "train":
                per_entity[tasks[kind, action], entity].add(query)
    sizes = Counter({f"{task} {entity}": min(len(queries), cap) for (task, entity), queries in per_entity.items()
                     if task == "pins"})  # fmt: skip
    return found, sizes


log_rows = st.lists(
    st.tuples(
        st.sampled_from(["sink", "tap", "bath", "lamp", "Straße", "猫"]),
        st.sampled_from([("p0", "pin"), ("p1", "pin"), ("q0", "product"), ("tap", "query"), ("bath", "query")]),
        st.sampled_from(["save", "long_click", "click", "add_to_cart", "checkout"]),
        st.integers(0, 20 * 24),
        st.sampled_from(["US", "FR", None]),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=12, deadline=None)
@given(log_rows, st.integers(1, 3), st.integers(0, 3), st.randoms())
def test_against_a_plain_implementation(drawn: list[Any], cap: int, seed: int, random: Any) -> None:
    rows: list[Row] = [(q, e, kind, action, START + timedelta(hours=h), c) for q, (e, kind), action, h, c in drawn]
    rows.append(("sink", "p0", "pin", "save", START, "US"))  # so that there is something to train on
    expected, sizes = plain_pairs(rows, cap)
    choice = PairSettings(caps={"pin": cap, "product": None, "query": None}, seed=seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = make_pairs(Dataset.open(write(folder / "data", rows)), folder / "out", choice, threads=1)
        counts = result.counts
        assert counts.log_rows == len(rows) == counts.rows_written + sum(counts.left_out.values())
        for part in ("development", "test"):
            assert pairs_of(folder / "out", part) == expected[part]
        train = pairs_of(folder / "out", "train")
        assert train <= expected["train"]
        assert {row for row in train if row[2] != "pin"} == {row for row in expected["train"] if row[2] != "pin"}
        kept = {(query, entity) for query, entity, kind, _ in train if kind == "pin"}
        assert Counter(f"pins {entity}" for _, entity in kept) == sizes
        # a pair that is kept is kept with all its actions
        assert {row for row in train if row[2] == "pin"} == {
            row for row in expected["train"] if row[2] == "pin" and row[:2] in kept
        }
        # another order of the log chooses the same
        random.shuffle(rows)
        make_pairs(Dataset.open(write(folder / "data", rows)), folder / "again", choice)
        assert (folder / "again" / "pairs.json").read_bytes() == (folder / "out" / "pairs.json").read_bytes()
        columns = list(COLUMNS[:5])
        one, two = (Dataset.open(folder / name).read("engagements", columns) for name in ("out", "again"))
        assert one.equals(two)


def test_caps_choose_fairly(tmp_path: Path) -> None:
    """Each of 40 queries is kept about as often, though they come in order and some come often."""
    rows: list[Row] = []
    for number in range(40):
        rows += [(f"q{number:02}", "p0", "pin", "save", START + timedelta(minutes=number), "US")] * (1 + number % 5)
    data = write(tmp_path / "data", rows)
    kept: Counter[str] = Counter()
    runs = 20
    for seed in range(runs):
        choice = PairSettings(caps={"pin": 20}, seed=seed)
        make_pairs(Dataset.open(data), tmp_path / "out", choice, overwrite=True, threads=1)
        queries = [row[0] for row in pairs_of(tmp_path / "out", "train")]
        assert len(queries) == 20
        kept.update(queries)
    # binomial, n = 20, p = 1/2: mean 10, standard deviation 2.2
    assert len(kept) == 40
    assert all(0 < count < 20 for count in kept.values())
    groups = [sum(kept[f"q{n:02}"] for n in range(40) if n % 5 == rest) for rest in range(5)]
    assert all(abs(group - 80) < 32 for group in groups), groups


def test_a_larger_cap_keeps_what_a_smaller_one_keeps(tmp_path: Path) -> None:
    rows: list[Row] = [(f"q{n}", "p0", "pin", "save", START, "US") for n in range(30)]
    data = Dataset.open(write(tmp_path / "data", rows))
    for cap in (5, 6):
        make_pairs(data, tmp_path / f"cap{cap}", PairSettings(caps={"pin": cap}))
    assert pairs_of(tmp_path / "cap5", "train") < pairs_of(tmp_path / "cap6", "train")


def test_evaluation_pairs_are_a_sample_per_action(tmp_path: Path) -> None:
    rows: list[Row] = [("sink", "p0", "pin", "save", START, "US")]
    for number in range(30):
        for action in ("save", "long_click"):
            rows.append((f"q{number}", f"p{number % 4}", "pin", action, START + 20 * DAY, "US"))
    data = Dataset.open(write(tmp_path / "data", rows))
    result = make_pairs(data, tmp_path / "out", PairSettings(evaluation_pairs=7))
    test = pairs_of(tmp_path / "out", "test")
    assert Counter(row[3] for row in test) == {"save": 7, "long_click": 7}
    assert {row[0] for row in test} != {f"q{n}" for n in range(7)}
    assert result.counts.left_out["over the number of evaluation pairs"] == 46


def test_corpus_is_a_seeded_sample(tmp_path: Path) -> None:
    rows: list[Row] = [("sink", "p0", "pin", "save", START, "US")]
    data = Dataset.open(write(tmp_path / "data", rows, pins=pa.table({"id": [f"p{n}" for n in range(100)]})))
    drawn = []
    for seed in (0, 1):
        make_pairs(data, tmp_path / f"out{seed}", PairSettings(corpus=10, seed=seed))
        corpus = Dataset.open(tmp_path / f"out{seed}").read("corpus").to_pylist()
        drawn.append({row["entity_id"] for row in corpus if row["entity_type"] == "pin"})
    assert [len(ids) for ids in drawn] == [10, 10]
    assert drawn[0] != drawn[1]


def test_pairs_of_pairs_are_the_same(tmp_path: Path) -> None:
    simulate(tmp_path / "world", scale="tiny")
    for source, out in (("world", "pairs"), ("pairs", "again")):
        make_pairs(Dataset.open(tmp_path / source), tmp_path / out, PairSettings(caps={"pin": 3}))
    for name in ("engagements.parquet", "log.parquet", "corpus.parquet", "pairs.json", "dataset.json"):
        assert (tmp_path / "pairs" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    # engaged queries were known before the split by rows that the caps have left out: no leak
    assert validate(tmp_path / "pairs", check_leaks=True).ok


def test_training_reads_the_pairs_that_the_report_counts(tmp_path: Path) -> None:
    simulate(tmp_path / "world", scale="tiny")
    result = make_pairs(Dataset.open(tmp_path / "world"), tmp_path / "out", PairSettings(caps={"pin": 3}))
    dataset = Dataset.open(tmp_path / "out")
    train = split_rows(dataset.read("engagements"), result.split, "train")
    ids = {kind: dataset.read(f"{kind}s")["id"].combine_chunks() for kind in ("pin", "product")}
    _, sets = build_pair_sets(train, ids)
    assert {pairs.name: len(pairs) for pairs in sets} == {n: c["train"] for n, c in result.counts.pairs.items()}


def test_a_hash_split_is_honoured(tmp_path: Path) -> None:
    split = HashSplit(test=0.3, development=0.2)
    queries = [f"query {n}" for n in range(60)]
    rows: list[Row] = [(query, "p0", "pin", "save", START, None) for query in queries]
    rows += [(query, other, "query", "click", START, None) for query, other in pairwise(queries)]
    result = make_pairs(Dataset.open(write(tmp_path / "data", rows, split)), tmp_path / "out")
    part = {query: split.part_of(query) for query in queries}
    for name in ("train", "development", "test"):
        found = pairs_of(tmp_path / "out", name)
        assert {row[0] for row in found} == {query for query in queries if part[query] == name}
        if name == "train":
            assert all(part[row[1]] == "train" for row in found if row[2] == "query")
    held = sum(part[a] == "train" and part[b] != "train" for a, b in pairwise(queries))
    assert result.counts.left_out["held-out suggestion"] == held > 0


def test_a_split_by_another_column_of_the_log(tmp_path: Path) -> None:
    split = HashSplit(column="user_id", test=0.4, development=0.1)
    users = [f"u{n}" for n in range(20)]
    log = pa.table(
        {
            "query": ["sink"] * 20, "entity_id": ["p0"] * 20, "entity_type": ["pin"] * 20, "action": ["save"] * 20,
            "timestamp": pa.array([START] * 20, pa.timestamp("us", tz="UTC")), "user_id": users,
        }
    )  # fmt: skip
    rows: list[Row] = [("sink", "p0", "pin", "save", START, None)]
    make_pairs(Dataset.open(write(tmp_path / "data", rows, split, engagements=log)), tmp_path / "out")
    parts = {split.part_of(user) for user in users}
    written = Dataset.open(tmp_path / "out").read("engagements")
    assert set(split.assign(written).to_pylist()) == parts
    assert written.num_rows == len(parts)


def test_split_by_shares_of_whole_days(tmp_path: Path) -> None:
    rows: list[Row] = [("sink", "p0", "pin", "save", START + timedelta(hours=6 * n), None) for n in range(40)]
    data = write(tmp_path / "data", rows, None)
    result = make_pairs(Dataset.open(data), tmp_path / "out", split=SplitRequest(development=0.2, test=0.1, gap_days=1))
    # four rows a day for ten days: the last day is a tenth, the two before it a fifth
    expected = TimeSplit(development_from=START + 7 * DAY, test_from=START + 9 * DAY, gap_days=1)
    assert result.split == expected
    assert Dataset.open(tmp_path / "out").info.split == expected
    assert result.counts.left_out["gap"] == 8


@pytest.mark.parametrize(("shares", "rows"), [((0, 0), (40, 0, 0)), ((0.2, 0), (28, 8, 0)), ((0, 0.1), (32, 0, 4))])
def test_a_share_of_nothing_makes_no_part_and_no_gap(
    tmp_path: Path, shares: tuple[float, float], rows: tuple[int, int, int]
) -> None:
    log: list[Row] = [("sink", "p0", "pin", "save", START + timedelta(hours=6 * n), None) for n in range(40)]
    request = SplitRequest(development=shares[0], test=shares[1], gap_days=1)
    data = Dataset.open(write(tmp_path / "data", log, None))
    split = make_pairs(data, tmp_path / "out", split=request).split
    parts = split.assign(data.read("engagements")).to_pylist()
    assert tuple(parts.count(part) for part in ("train", "development", "test")) == rows


def test_actions_can_be_named() -> None:
    assert parse_actions([])["pins"] == ("save", "long_click")
    chosen = parse_actions(["pins=save,click", "products_offsite="])
    assert chosen["pins"] == ("save", "click")
    assert "products_offsite" not in chosen
    with pytest.raises(SettingError, match="names 'checkout', but pairs of 'pins' are made by save, long_click, click"):
        parse_actions(["pins=checkout"])


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["pairs", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_command(tmp_path: Path) -> None:
    simulate(tmp_path / "world", scale="tiny")
    code, shown, _ = run(tmp_path / "world", "-o", tmp_path / "out", "--memory-limit", "128MB")
    assert code == 0
    assert "Query-Pin" in shown
    assert "with a gap of 2 days before each" in shown
    code, shown, _ = run(tmp_path / "world", "-o", tmp_path / "out", "--json", "--overwrite", "--pin-cap", 2)
    assert code == 0
    assert json.loads(shown)["settings"]["caps"] == {"pin": 2, "product": 200, "query": None}
    assert json.loads(shown)["left_out"]["over the cap"] > 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--development-from", "2024-03-05", "--test-from", "2024-03-09"], "records a split in dataset.json, by time"),
        (["--gap-days", "1"], "records a split in dataset.json"),
        (["--memory-limit", "1MB"], "must be at least 64MB, but is 1MB"),
        (["--memory-limit", "much"], "must be a size such as 4GB"),
        (["--actions", "pin=save"], "where SET is one of pins, pins_offsite"),
        (
            ["--actions", "pins=click", "--actions", "queries=save"],
            "no row whose action makes a pair, but",
        ),
        (["--test-from", "soon", "--development-from", "2024-03-05"], "--test-from 'soon' is not a day"),
        (["--test-from", "9999-12-31T23:00-05:00"], "--test-from '9999-12-31T23:00-05:00' is not a day"),
        (["--gap-days", "1e300"], "must not be negative or above 36,500, but is 1e+300"),
        (["--test-from", "2024-03-05"], "needs both --development-from and --test-from"),
        (["--test-from", "2024-03-05", "--test", "0.1"], "not by both"),
        (["--test", "0.7", "--development", "0.3"], "must leave something to train on"),
    ],
)
def test_bad_options(tmp_path: Path, options: list[str], expected: str) -> None:
    data = write(tmp_path / "data", [("sink", "p0", "pin", "save", START, None)])
    code, shown, error = run(data, "-o", tmp_path / "out", *options)
    assert (code, shown) == (2, "")
    assert expected in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_bad_logs(tmp_path: Path) -> None:
    good: Row = ("sink", "p0", "pin", "save", START, None)
    unknown: Row = ("sink", "p9", "pin", "save", START, None)
    late: Row = ("sink", "p0", "pin", "save", START + 20 * DAY, None)
    data = write(tmp_path / "data", [good, unknown, unknown])
    with pytest.raises(DataError, match=r"has the pin 'p9', which is not in the table 'pins' \(2 such rows in all\)"):
        make_pairs(Dataset.open(data), tmp_path / "out")
    result = make_pairs(Dataset.open(data), tmp_path / "out", PairSettings(drop_unknown=True))
    assert result.counts.left_out["unknown entity"] == 2
    data = write(tmp_path / "data", [late])
    with pytest.raises(DataError, match="no pair for the training part"):
        make_pairs(Dataset.open(data), tmp_path / "out", overwrite=True)
    assert Dataset.open(tmp_path / "out").count("engagements") == 1  # what stood there still does
    data = write(tmp_path / "data", [good], None)
    with pytest.raises(DataError, match=r"engagements.parquet covers 1 day, too few to split by days"):
        make_pairs(Dataset.open(data), tmp_path / "new")
    (data / "engagements.parquet").unlink()
    with pytest.raises(DataError, match="has no table 'engagements'"):
        make_pairs(Dataset.open(data), tmp_path / "new")
    (data / "engagements.csv").write_text(
        "query,entity_id,entity_type,action,timestamp\nsink,p0,pin,save,2024-03-01\nsink,p0,pin,save,\n"
    )
    request = SplitRequest(development_from=START + DAY, test_from=START + 2 * DAY)
    with pytest.raises(DataError, match=r"engagements.csv, row 2 has no timestamp"):
        make_pairs(Dataset.open(data), tmp_path / "new", split=request)
    assert not (tmp_path / "new").exists()


def test_other_formats_are_carried_over(tmp_path: Path) -> None:
    data = write(tmp_path / "data", [("sink", "p0", "pin", "save", START, None)], None)
    (data / "engagements.parquet").unlink()
    (data / "engagements").mkdir()
    for part in "ab":
        text = f"query,entity_id,entity_type,action,timestamp\nsink {part},p0,pin,save,2024-03-01\n"
        (data / "engagements" / f"{part}.csv").write_text(text)
    request = SplitRequest(development_from=START + DAY, test_from=START + 2 * DAY, gap_days=0)
    make_pairs(Dataset.open(data), tmp_path / "out", split=request)
    assert sorted(path.name for path in (tmp_path / "out" / "log").iterdir()) == ["a.csv", "b.csv"]
    assert Dataset.open(tmp_path / "out").tables() == ["pins", "products", "engagements", "log", "corpus"]
    assert {row[0] for row in pairs_of(tmp_path / "out", "train")} == {"sink a", "sink b"}


def test_a_row_that_lacks_a_value_is_named(tmp_path: Path) -> None:
    """Of a Parquet log, which DuckDB reads itself, and by which row is found only when one is refused."""
    times = pa.array([START] * 3, pa.timestamp("us", tz="UTC"))
    columns: dict[str, Any] = {
        "query": ["sink", "tap", "bath"], "entity_id": ["p0"] * 3, "entity_type": ["pin"] * 3,
        "action": ["click", "save", "save"], "timestamp": times, "user_id": ["u", "u", "v"],
    }  # fmt: skip
    rows: list[Row] = [("sink", "p0", "pin", "save", START, None)]
    data = write(tmp_path / "data", rows, HashSplit(column="user_id"))
    for name, whole in columns.items():
        values = pa.array(whole)
        broken = pa.array([None, *values[1:].to_pylist()], values.type)
        # the first file is whole
        (data / "engagements.parquet").unlink(missing_ok=True)
        (data / "engagements").mkdir(exist_ok=True)
        pq.write_table(pa.table(columns), data / "engagements" / "a.parquet")
        pq.write_table(pa.table(columns | {name: broken}), data / "engagements" / "b.parquet")
        expected = rf"engagements/b\.parquet, row 1 has no {name}"
        with pytest.raises(DataError, match=expected):
            make_pairs(Dataset.open(data), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["parquet", "csv"])
@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("query", " ", "the query is ' ', but must not be blank: correct it or leave the row out"),
        ("entity_id", "\u3000", r"the entity_id is '\\u3000', but must not be blank"),
        ("action", "svae", "the action is 'svae', but must be one of save, long_click, click, add_to_cart, checkout"),
        ("entity_type", "Pin", "the entity_type is 'Pin', but must be one of pin, product, query"),
    ],
)
def test_a_row_that_validate_refuses_makes_no_pair(
    tmp_path: Path, form: str, column: str, value: str, said: str
) -> None:
    """Wherever it lies: here in the gap, whose rows are left out."""
    columns = {
        "query": ["sink", "tap"], "entity_id": ["p0", "p1"], "entity_type": ["pin", "pin"], "action": ["save", "save"],
        "timestamp": [START, START + 9 * DAY],
    }  # fmt: skip
    columns[column] = [columns[column][0], value]
    data = write(tmp_path / "data", [("sink", "p0", "pin", "save", START, None)])
    (data / "engagements.parquet").unlink()
    with TableWriter(data / f"engagements.{form}", pa.table(columns).schema) as writer:
        writer.write(pa.table(columns))
    code, shown, error = run(data, "-o", tmp_path / "out")
    assert (code, shown, error.count("\n")) == (2, "", 1)
    assert re.search(rf"engagements\.{form}, row 2: {said}", error)
    assert not (tmp_path / "out").exists()
    assert not validate(data).ok


def test_times_of_no_year(tmp_path: Path) -> None:
    """Such as milliseconds in a column of seconds."""
    data = write(tmp_path / "data", [("sink", "p0", "pin", "save", START, None)] * 4)
    table = pq.read_table(data / "engagements.parquet")
    times = pa.array([0, 10**18, 2 * 10**18, 3 * 10**18]).cast(pa.timestamp("us", tz="UTC"))
    pq.write_table(table.set_column(4, "timestamp", times), data / "engagements.parquet")
    with pytest.raises(DataError, match=r"engagements\.parquet, row 2: the timestamp is 1,000,.* in another unit"):
        make_pairs(Dataset.open(data), tmp_path / "out")
    info = json.loads((data / "dataset.json").read_text())
    (data / "dataset.json").write_text(json.dumps(info | {"split": None}))
    with pytest.raises(DataError, match=r"engagements\.parquet has times in no year from 1 to 9999"):
        make_pairs(Dataset.open(data), tmp_path / "out")


@pytest.mark.parametrize("name", ["part", "value", "slot", "first"])
def test_a_split_by_a_column_of_any_name(tmp_path: Path, name: str) -> None:
    data = write(tmp_path / "data", [("sink", "p0", "pin", "save", START, None)], HashSplit(column=name))
    table = pq.read_table(data / "engagements.parquet")
    pq.write_table(table.append_column(name, pa.array(["a"])), data / "engagements.parquet")
    assert make_pairs(Dataset.open(data), tmp_path / "out").counts.total("train") == 1


def test_files_of_several_types(tmp_path: Path) -> None:
    """Times in other units and zones, text as dictionaries."""
    data = write(tmp_path / "data", [("sink", "p0", "pin", "save", START, None)])
    (data / "engagements.parquet").unlink()
    (data / "engagements").mkdir()
    common = {"entity_id": ["p0"], "entity_type": ["pin"], "country": ["FR"]}
    for number, unit in enumerate([("s", None), ("ms", "UTC"), ("ns", "UTC"), ("ns", None), ("us", "Asia/Tokyo")]):
        times = pa.array([START], pa.timestamp("us", tz="UTC")).cast(pa.timestamp(*unit), safe=False)
        query = pa.array([f"query {number}"]).dictionary_encode()
        table = pa.table({"query": query, "action": ["save"], "timestamp": times, **common})
        pq.write_table(table, data / "engagements" / f"{number}.parquet")
    make_pairs(Dataset.open(data), tmp_path / "out")
    found = Dataset.open(tmp_path / "out").read("engagements").to_pylist()
    assert [(one["query"], one["timestamp"], one["country"]) for one in found] == [
        (f"query {number}", START, "FR") for number in range(5)
    ]


def test_lines_that_leave_fields_out(tmp_path: Path) -> None:
    data = write(tmp_path / "data", [("sink", "p0", "pin", "save", START, None)])
    (data / "engagements.parquet").unlink()
    (data / "engagements").mkdir()
    lines = [
        {"query": f"query {n}", "entity_id": "p0", "entity_type": "pin", "action": "save", "timestamp": "2024-03-01"}
        for n in range(2)
    ]
    (data / "engagements" / "a.jsonl").write_text(json.dumps(lines[0]) + "\n")
    (data / "engagements" / "b.jsonl").write_text(json.dumps(lines[1] | {"country": "DE"}) + "\n")
    make_pairs(Dataset.open(data), tmp_path / "out")
    found = Dataset.open(tmp_path / "out").read("engagements").to_pylist()
    assert [(one["query"], one["country"]) for one in found] == [("query 0", None), ("query 1", "DE")]


def test_the_country_is_that_of_the_first_row(tmp_path: Path) -> None:
    """At the same time the first by name, and none last; also before 1970."""
    old = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    rows: list[Row] = [
        ("sink", "p0", "pin", "save", START + DAY, "AA"),
        ("sink", "p0", "pin", "save", START, "US"),
        ("sink", "p0", "pin", "save", START, None),
        ("sink", "p0", "pin", "save", START, "FR"),
        ("tap", "p0", "pin", "save", START, None),
        ("bath", "p0", "pin", "save", old, "L'x"),
    ]
    make_pairs(Dataset.open(write(tmp_path / "data", rows)), tmp_path / "out")
    found = Dataset.open(tmp_path / "out").read("engagements").to_pylist()
    assert [(row["query"], row["timestamp"], row["country"]) for row in found] == [
        ("bath", old, "L'x"), ("sink", START, "FR"), ("tap", START, None),
    ]  # fmt: skip


def test_a_log_without_countries_or_rows_or_actions(tmp_path: Path) -> None:
    data = write(tmp_path / "data", [("sink", "p0", "pin", "save", START, None)] * 2)
    result = make_pairs(Dataset.open(data), tmp_path / "out")
    assert result.counts.left_out["repeated"] == 1
    assert Dataset.open(tmp_path / "out").read("engagements")["country"].to_pylist() == [None]
    with pytest.raises(DataError, match="no row whose action makes a pair, but such as save: name the actions"):
        make_pairs(Dataset.open(data), tmp_path / "none", PairSettings(actions={}))
    table = pq.read_table(data / "engagements.parquet")
    pq.write_table(table.slice(0, 0), data / "engagements.parquet")
    with pytest.raises(DataError, match=r"engagements.parquet has no rows: give a table with at least one"):
        make_pairs(Dataset.open(data), tmp_path / "none")
    pq.write_table(table.set_column(4, "timestamp", pa.array(["soon", "later"])), data / "engagements.parquet")
    with pytest.raises(DataError, match=r"column 'timestamp', row 1: 'soon' is not a time"):
        make_pairs(Dataset.open(data), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_pairs_of_unknown_entities_count_nowhere(tmp_path: Path) -> None:
    """They are neither among the pairs before the caps, nor do they use up a cap or a sample."""
    rows: list[Row] = [(f"query {n}", "p9", "pin", "save", START + 20 * DAY, None) for n in range(50)]
    rows += [("sink", "p0", "pin", "save", START, None), ("tap", "p0", "pin", "save", START + 20 * DAY, None)]
    choice = PairSettings(drop_unknown=True, evaluation_pairs=1)
    result = make_pairs(Dataset.open(write(tmp_path / "data", rows)), tmp_path / "out", choice)
    assert result.counts.before_caps["pins"] == result.counts.pairs["pins"] == {"train": 1, "development": 0, "test": 1}
    assert result.counts.left_out["unknown entity"] == 50


@pytest.mark.parametrize(
    ("rows", "options"),
    [
        ([("product", "click"), ("pin", "click"), ("product", "click")], ["pins=click", "products=click"]),
        ([("product", "click"), ("product", "checkout")], []),
        ([("query", "save")], ["queries=save"]),
    ],
)
def test_options_name_a_logs_actions_where_the_usual_ones_make_no_pair(
    tmp_path: Path, rows: list[tuple[str, str]], options: list[str]
) -> None:
    log: list[Row] = [("sink", "p0", kind, action, START, None) for kind, action in rows]
    data = Dataset.open(write(tmp_path / "data", log, None))
    assert options_for_log(data) == [f"--actions {option}" for option in options]
