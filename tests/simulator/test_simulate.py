import hashlib
import importlib
import json
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from typer.testing import CliRunner

from omnifeat.cli import app
from omnifeat.data.dataset import Dataset
from omnifeat.data.schema import TABLES
from omnifeat.errors import OmnifeatError, SettingError
from omnifeat.simulator import SCALES, STEPS, rates, simulate
from omnifeat.simulator.evidence import START


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("world") / "tiny"
    simulate(out, scale="tiny", seed=1, threads=1)
    return out


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Dataset:
    return Dataset.open(folder)


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_seed_writes_the_same_bytes_with_any_number_of_threads(
    folder: Path, tmp_path: Path, threads: int
) -> None:
    simulate(tmp_path / "again", scale="tiny", seed=1, threads=threads)
    assert _hashes(tmp_path / "again") == _hashes(folder)


def test_many_blocks_on_several_threads_write_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny world is one block of work; small blocks make the threads share it."""
    monkeypatch.setattr("omnifeat.simulator.search._BLOCK", 17)
    monkeypatch.setattr("omnifeat.simulator.sessions._BLOCK", 101)
    simulate(tmp_path / "one", scale="tiny", seed=5, threads=1)
    simulate(tmp_path / "four", scale="tiny", seed=5, threads=4)
    monkeypatch.undo()
    simulate(tmp_path / "whole", scale="tiny", seed=5, threads=1)
    assert _hashes(tmp_path / "one") == _hashes(tmp_path / "four") == _hashes(tmp_path / "whole")


def test_another_seed_writes_other_bytes(folder: Path, tmp_path: Path) -> None:
    simulate(tmp_path / "other", scale="tiny", seed=2)
    other = _hashes(tmp_path / "other")
    same = {name for name, value in _hashes(folder).items() if other[name] == value}
    # the lexicon, and the rates, beside which stands how many searches it took
    assert same - {"truth/rates.json"} == {"interests.parquet"}
    said = [json.loads((path / "truth" / "rates.json").read_text()) for path in (folder, tmp_path / "other")]
    assert said[0]["rates"] == said[1]["rates"]


def test_tiny_takes_little_time(folder: Path, tmp_path: Path) -> None:
    start = time.monotonic()  # with the compiled loops at hand: the fixture made a world before
    simulate(tmp_path / "out", scale="tiny")
    assert time.monotonic() - start < 5


def test_tables_and_counts(dataset: Dataset) -> None:
    assert sorted(dataset.tables()) == sorted(TABLES)
    scale = SCALES["tiny"]
    for table in ("pins", "products", "queries", "boards", "saves", "engagements"):
        assert dataset.info.counts[table] == getattr(scale, table)
    requests = set(dataset.read("impressions")["request_id"].to_pylist())
    assert len(requests) == scale.requests
    assert len(set(dataset.read("judgments")["query"].to_pylist())) == scale.judged_queries
    assert dataset.info.seed == 1


def test_the_scales_are_the_promised_ones() -> None:
    assert list(SCALES) == ["tiny", "small", "standard", "large"]
    large = SCALES["large"]
    assert (large.pins, large.products, large.queries) == (1_000_000, 300_000, 200_000)
    assert large.engagements == 20_000_000


def test_ids_refer_to_what_is_there(dataset: Dataset) -> None:
    ids = {kind: set(dataset.read(f"{kind}s")["id"].to_pylist()) for kind in ("pin", "product")}
    queries = dataset.read("queries")["query"].to_pylist()
    ids["query"] = set(queries)
    assert len(ids["query"]) == len(queries)
    boards = set(dataset.read("boards")["board_id"].to_pylist())
    for table in ("engagements", "saves", "judgments", "impressions"):
        for row in dataset.read(table).to_pylist():
            assert row["entity_id"] in ids[row["entity_type"]]
            if table == "saves":
                assert row["board_id"] in boards
            else:
                assert row["query"] in ids["query"]
    for row in dataset.read("engagements").to_pylist():
        assert row["entity_id"] != row["query"]  # a query does not lead to itself


def test_interests_are_a_tree_of_four_levels_and_queries_name_their_whole_path(dataset: Dataset) -> None:
    interests = {row["interest_id"]: row for row in dataset.read("interests").to_pylist()}
    assert {row["level"] for row in interests.values()} == {1, 2, 3, 4}
    for row in interests.values():
        assert (row["parent_id"] is None) == (row["level"] == 1)
        assert row["level"] == 1 or interests[row["parent_id"]]["level"] == row["level"] - 1
    pairs = dataset.read("query_interests").to_pylist()
    assert {row["interest_id"] for row in pairs} <= set(interests)
    listed = {(row["query"], interest) for row in dataset.read("queries").to_pylist() for interest in row["interests"]}
    assert {(row["query"], row["interest_id"]) for row in pairs} == listed
    for row in dataset.read("queries").to_pylist():
        path = row["interests"]
        assert [interests[interest]["level"] for interest in path] == list(range(1, len(path) + 1))
        assert [interests[interest]["parent_id"] for interest in path[1:]] == path[:-1]


def test_vectors_have_one_width_and_unit_length(dataset: Dataset) -> None:
    pins, products = dataset.read("pins"), dataset.read("products")
    for column, width in (
        (pins["pinsage"], rates.GRAPH_WIDTH),
        (products["pinsage"], rates.GRAPH_WIDTH),
        (products["itemsage"], rates.GRAPH_WIDTH),
        (pins["image_embedding"], rates.IMAGE_WIDTH),
    ):
        assert column.type.list_size == width
        vectors = np.array([vector for vector in column.to_pylist() if vector is not None])
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert {len(images) for images in products["image_embeddings"].to_pylist()} == {1, 2, 3}


def test_times_and_split(dataset: Dataset) -> None:
    times = dataset.read("engagements")["timestamp"].to_pylist()
    assert times == sorted(times)
    assert times[0] >= START
    assert times[-1] < START + timedelta(days=rates.DAYS)
    saved = dataset.read("saves")["timestamp"].to_pylist()
    assert saved == sorted(saved)
    split = dataset.info.split
    assert split is not None
    assert split.method == "time"
    assert split.gap_days == rates.GAP_DAYS
    parts = split.assign(dataset.read("engagements")).to_pylist()
    assert {part: parts.count(part) > 100 for part in parts} == dict.fromkeys(
        ("train", "gap", "development", "test"), True
    )


def test_what_encoders_read_comes_from_before_the_split(dataset: Dataset) -> None:
    split = dataset.info.split
    assert split is not None
    for table in ("engagements", "saves"):
        rows = dataset.read(table)
        before = rows.filter(pc.equal(split.assign(rows), "train")).to_pylist()
        title_of = {row["board_id"]: row["title"] for row in dataset.read("boards").to_pylist()}
        expected: dict[tuple[str, str], set[str]] = {}
        for row in before:
            text = row["query"] if table == "engagements" else title_of[row["board_id"]]
            expected.setdefault((row["entity_type"], row["entity_id"]), set()).add(text)
        column, kept = ("engaged_queries", 20) if table == "engagements" else ("board_titles", 10)
        for kind in ("pin", "product"):
            for row in dataset.read(f"{kind}s").to_pylist():
                texts = expected.get((kind, row["id"]), set())
                assert len(row[column]) == len(set(row[column])) == min(len(texts), kept)
                assert set(row[column]) <= texts


def test_what_comes_after_the_split_changes_no_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same world with all late engagements turned into others: catalogue and graph vectors stay byte for byte."""
    # the package offers the function by the name of its module
    module = importlib.import_module("omnifeat.simulator.simulate")
    original = module.simulate_sessions

    def changed(*arguments: object) -> object:
        engagements, shown, sessions = original(*arguments)  # type: ignore[arg-type]
        late = engagements.seconds >= (rates.DEVELOPMENT_FROM_DAY - rates.GAP_DAYS) * 86_400
        engagements.entity[late] = 0
        return engagements, shown, sessions

    simulate(tmp_path / "one", scale="tiny", seed=1)
    monkeypatch.setattr(module, "simulate_sessions", changed)
    simulate(tmp_path / "other", scale="tiny", seed=1)
    one, other = _hashes(tmp_path / "one"), _hashes(tmp_path / "other")
    assert one["engagements.parquet"] != other["engagements.parquet"]
    for table in ("pins", "products", "queries", "boards", "saves", "judgments"):
        assert one[f"{table}.parquet"] == other[f"{table}.parquet"]


def test_bad_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="Unknown scale 'huge'; choose one of: tiny, small, standard, large"):
        simulate(tmp_path / "out", scale="huge")
    for seed in (-1, 2**32):
        with pytest.raises(SettingError, match=f"The seed must be from 0 to 4294967295, but is {seed}"):
            simulate(tmp_path / "world", scale="tiny", seed=seed)
    with pytest.raises(SettingError, match="'threads' setting must be 1 or more. Got 0"):
        simulate(tmp_path / "out", threads=0)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OmnifeatError):
        simulate(tmp_path / "file" / "out", scale="tiny")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_a_run_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    steps: list[str] = []

    def stop(step: str) -> None:
        steps.append(step)
        if step == STEPS[-1]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "out", scale="tiny", progress=stop)
    assert tuple(steps) == STEPS
    assert list(tmp_path.iterdir()) == []


def test_command(tmp_path: Path) -> None:
    call = ["simulate", "-o", str(tmp_path / "out"), "--scale", "tiny", "--seed", "3"]
    done = CliRunner().invoke(app, [*call, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["counts"]["pins"] == 400
    again = CliRunner().invoke(app, call)
    assert again.exit_code == 2
    assert "out" in again.stderr
    assert CliRunner().invoke(app, [*call, "--overwrite", "--threads", "1"]).exit_code == 0
    wrong = CliRunner().invoke(app, ["simulate", "-o", str(tmp_path / "new"), "--scale", "vast"])
    assert wrong.exit_code == 2
    assert not (tmp_path / "new").exists()
