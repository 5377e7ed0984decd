import hashlib
import json
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from omnifeat.simulator.behaviour import DAYS, START
from typer.testing import CliRunner

from omnifeat.cli import app
from omnifeat.data.dataset import Dataset
from omnifeat.data.schema import TABLES
from omnifeat.errors import OmnifeatError, SettingError
from omnifeat.simulator import SCALES, simulate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("world") / "tiny"
    simulate(out, scale="tiny", seed=1)
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


def _latent(folder: Path, kind: str) -> dict[str, np.ndarray]:
    table = pq.read_table(folder / "truth" / f"{kind}_latent.parquet")
    vectors = np.array(table["latent"].to_pylist())
    return dict(zip(table["id"].to_pylist(), vectors, strict=True))


def test_the_same_seed_writes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    simulate(tmp_path / "again", scale="tiny", seed=1)
    assert _hashes(tmp_path / "again") == _hashes(folder)
    simulate(tmp_path / "other", scale="tiny", seed=2)
    other = _hashes(tmp_path / "other")
    same = {name for name, value in _hashes(folder).items() if other[name] == value}
    assert same == {"interests.parquet"}  # the lexicon's


def test_tiny_takes_little_time(tmp_path: Path) -> None:
    start = time.monotonic()
    simulate(tmp_path / "out", scale="tiny")
    assert time.monotonic() - start < 3


def test_tables_and_counts(dataset: Dataset) -> None:
    assert sorted(dataset.tables()) == sorted(TABLES)
    scale = SCALES["tiny"]
    assert dataset.info.counts["pins"] == scale.pins
    assert dataset.info.counts["products"] == scale.products
    assert dataset.info.counts["queries"] == scale.queries
    assert dataset.info.counts["engagements"] == scale.engagements
    assert dataset.info.counts["saves"] == scale.saves
    assert dataset.info.seed == 1


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
    interests = {row["interest_id"]: row for row in dataset.read("interests").to_pylist()}
    for row in interests.values():
        assert (row["parent_id"] is None) == (row["level"] == 1)
        assert row["level"] == 1 or interests[row["parent_id"]]["level"] == row["level"] - 1
    assert set(dataset.read("query_interests")["interest_id"].to_pylist()) <= set(interests)


def test_fields_are_missing_at_the_stated_rates(dataset: Dataset) -> None:
    pins = dataset.read("pins")
    for column, rate in (("title", 0.2), ("description", 0.3), ("caption", 0.4), ("pinsage", 0.1)):
        # four standard deviations of a share of 400
        assert abs(pins[column].null_count / 400 - rate) < 4 * (rate * (1 - rate) / 400) ** 0.5


def test_vectors(dataset: Dataset) -> None:
    pins, products = dataset.read("pins"), dataset.read("products")
    for column in (pins["pinsage"], pins["image_embedding"], products["itemsage"]):
        assert column.type.list_size == 32
        vectors = np.array([vector for vector in column.to_pylist() if vector is not None])
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert {len(images) for images in products["image_embeddings"].to_pylist()} == {1, 2, 3}


def test_times_and_split(dataset: Dataset) -> None:
    times = dataset.read("engagements")["timestamp"].to_pylist()
    assert times == sorted(times)
    assert times[0] >= START
    assert times[-1] < START + timedelta(days=DAYS)
    split = dataset.info.split
    assert split is not None
    assert split.method == "time"
    assert split.gap_days > 0
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


def test_judgments(dataset: Dataset, folder: Path) -> None:
    judgments = dataset.read("judgments").to_pylist()
    assert {row["rater"] for row in judgments} == {"rater_1", "rater_2", "rater_3"}
    assert {row["grade"] for row in judgments} == {0, 1, 2, 3, 4}
    truth = {
        (row["query"], row["entity_id"]): row["grade"]
        for row in pq.read_table(folder / "truth" / "grades.parquet").to_pylist()
    }
    assert len(judgments) == 3 * len(truth)
    off = np.array([row["grade"] - truth[row["query"], row["entity_id"]] for row in judgments])
    assert 0.05 < np.mean(off != 0) < 0.5  # raters err, and not by much
    assert np.mean(np.abs(off) > 1) < 0.05


def _auc(scores: np.ndarray, labels: np.ndarray) -> float:
    ranks = np.argsort(np.argsort(scores)) + 1
    positives = labels.sum()
    return float((ranks[labels].sum() - positives * (positives + 1) / 2) / (positives * (~labels).sum()))


def test_impressions_have_position_bias_and_cosine_ranks_them(dataset: Dataset, folder: Path) -> None:
    impressions = dataset.read("impressions").to_pylist()
    latent = {kind: _latent(folder, kind) for kind in ("pin", "product", "query")}
    clicked = np.array([row["action"] is not None for row in impressions])
    position = np.array([row["position"] for row in impressions])
    cosine = np.array(
        [latent["query"][row["query"]] @ latent[row["entity_type"]][row["entity_id"]] for row in impressions]
    )
    assert set(position) == set(range(1, 13))
    # what is alike to the same degree is clicked less further down
    alike = cosine > 0.5
    assert clicked[alike & (position <= 3)].mean() > 1.3 * clicked[alike & (position > 6)].mean()
    deep = position > 1
    assert _auc(cosine[deep], clicked[deep]) > 0.75
    for feature in ("f_popularity", "f_text_match"):
        values = np.array([row[feature] for row in impressions])
        assert np.isfinite(values).all()
        assert values.std() > 0


def test_images_of_earlier_engagements_find_later_ones(dataset: Dataset) -> None:
    """The world can be learned: mean image of the pins behind each query word in training, against the test pairs."""
    split = dataset.info.split
    assert split is not None
    pins = {
        row["id"]: np.array(row["image_embedding"])
        for row in dataset.read("pins").to_pylist()
        if row["image_embedding"] is not None
    }
    engagements = dataset.read("engagements")
    rows = list(zip(engagements.to_pylist(), split.assign(engagements).to_pylist(), strict=True))
    sums: dict[str, np.ndarray] = {}
    for row, part in rows:
        if part == "train" and row["entity_id"] in pins:
            for word in row["query"].split():
                sums[word] = sums.get(word, np.zeros(32)) + pins[row["entity_id"]]
    ids = list(pins)
    matrix = np.array([pins[identity] for identity in ids])
    hits = []
    for row, part in rows:
        words = [sums[word] / np.linalg.norm(sums[word]) for word in row["query"].split() if word in sums]
        if part == "test" and row["entity_id"] in pins and words:
            scores = matrix @ np.sum(words, axis=0)
            hits.append(row["entity_id"] in {ids[place] for place in np.argsort(-scores)[:10]})
    assert len(hits) > 100
    assert np.mean(hits) > 8 * 10 / len(ids)  # chance is 10 of the corpus


def test_bad_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="Unknown scale 'huge'; choose one of: tiny, small"):
        simulate(tmp_path / "out", scale="huge")
    with pytest.raises(SettingError, match="seed"):
        simulate(tmp_path / "out", seed=-1)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OmnifeatError):
        simulate(tmp_path / "file" / "out", scale="tiny")


def test_command(tmp_path: Path) -> None:
    call = ["simulate", "-o", str(tmp_path / "out"), "--scale", "tiny", "--seed", "3"]
    done = CliRunner().invoke(app, [*call, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["counts"]["pins"] == 400
    again = CliRunner().invoke(app, call)
    assert again.exit_code == 2
    assert "out" in again.stderr
    wrong = CliRunner().invoke(app, ["simulate", "-o", str(tmp_path / "new"), "--scale", "vast"])
    assert wrong.exit_code == 2
    assert not (tmp_path / "new").exists()
