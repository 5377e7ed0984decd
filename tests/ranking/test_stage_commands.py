"""`omnifeat rank train|predict|evaluate --stage` and `rank tune`, as a user runs them."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ranking import L2Ranker, load_model
from tests.commands import omnifeat, refused


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Impressions in `shown.parquet`; whatever else is begun is finished or gone."""
    rng = np.random.default_rng(0)
    rows = 400
    good = rng.normal(size=rows)
    level = np.clip(np.round(good + 0.3 * rng.normal(size=rows)), 0, 3).astype(int)
    requests = rng.integers(40, size=rows)
    table = pa.table(
        {
            "request_id": [f"r{number}" for number in requests],
            "query": [f"query {number // 2}" for number in requests],
            "entity_id": [f"e{row}" for row in range(rows)],
            "entity_type": ["pin"] * rows,
            "position": rng.integers(10, size=rows),
            "action": pa.array([[None, "click", "long_click", "save"][n] for n in level], pa.string()),
            "good": good.astype(np.float32),
            "noise": rng.normal(size=rows),
        }
    )
    pq.write_table(table, tmp_path / "shown.parquet")
    yield tmp_path
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


L2 = ("--stage", "l2", "--query-column", "request_id", "--split-column", "query", "--threads", 1)


def test_l2_then_l1_that_learns_from_it(folder: Path) -> None:
    shown, l2, l1 = folder / "shown.parquet", folder / "l2", folder / "l1"
    done = omnifeat(
        "rank", "train", shown, *L2, "--position-column", "position", "--validation-fraction", 0.2, "--trees", 10,
        "--gains", "click=1,long_click=2,save=5", "--set", "min_child_samples=5", "-o", l2, "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert sorted(summary["importances"]) == ["good", "noise"]
    assert summary["actions"]["save"] > 0
    ranker = load_model(l2)
    assert isinstance(ranker, L2Ranker)
    assert (ranker.action_gains, ranker.min_child_samples) == ({"click": 1, "long_click": 2, "save": 5}, 5)

    done = omnifeat("rank", "evaluate", shown, "-r", l2, "--query-column", "request_id", "-o", folder / "ev", "--json")
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)["figures"]
    assert figures["NDCG@10"]["value"] > 0.85
    assert figures["NDCG@10"]["low"] <= figures["NDCG@10"]["value"] <= figures["NDCG@10"]["high"]
    assert {"MRR", "save in first 10", "click MRR"} <= figures.keys()
    each = pq.read_table(folder / "ev" / "per_query.parquet").to_pandas()
    assert each["NDCG@10"].mean() == pytest.approx(figures["NDCG@10"]["value"])
    assert (folder / "ev" / "shap.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "ev" / "results.json").read_text())["figures"] == figures

    arguments = ["rank", "train", shown, "--stage", "l1", "--threads", 1, "-o"]
    assert omnifeat(*arguments, l1, "--teacher", l2, "--set", "max_features=1", "--set", "keep=2").exit_code == 0
    scored = folder / "scored.parquet"
    assert omnifeat("rank", "predict", shown, "--stage", "l2", "-r", l2, "-o", scored).exit_code == 0
    assert omnifeat("rank", "predict", shown, "-r", l1, "-o", folder / "s1.csv", "--threads", 1).exit_code == 0
    by_column = ["rank", "train", scored, "--stage", "l1", "--threads", 1, "--set", "max_features=1", "--set", "keep=2"]
    assert omnifeat(*by_column, "-o", folder / "same").exit_code == 0
    assert (folder / "same" / "model.txt").read_bytes() == (l1 / "model.txt").read_bytes()
    done = omnifeat("rank", "evaluate", shown, "-r", l1, "--teacher", l2, "--top", 2, "--within", "5,50", "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["figures"]["top 2 kept in first 5"]["value"] > 0.7
    assert result["totals"]["cost: features"] == 1
    assert result["candidates_per_second_per_core"] > 0
    assert "top 2 kept in first 50" not in result["figures"]  # no query has so many


def test_tune_writes_the_best_ranker_and_all_trials(folder: Path) -> None:
    arguments = [
        "rank", "tune", folder / "shown.parquet", *L2, "--trials", 3, "--set", "n_estimators=8", "--search",
        "num_leaves=4:20:log", "--search", "learning_rate=0.05:0.3", "--json", "-o",
    ]  # fmt: skip
    done = omnifeat(*arguments, folder / "tuned")
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert summary["trials"] == 3
    assert summary["best"] >= summary["first"]
    best = load_model(folder / "tuned")
    assert isinstance(best, L2Ranker)
    assert best.num_leaves == summary["settings"]["num_leaves"]
    assert len((folder / "tuned" / "trials.csv").read_text().splitlines()) == 4
    again = json.loads(omnifeat(*arguments, folder / "again").stdout)
    assert (again["best"], again["settings"]) == (summary["best"], summary["settings"])
    refused(omnifeat(*arguments, folder / "no", "--search", "num_leaves=4"), "--search 'num_leaves=4'")
    refused(omnifeat(*arguments, folder / "no", "--search", "seeds=1:4"), "'seeds' of L2Ranker cannot be searched")
    refused(omnifeat(*arguments, folder / "no", "--search", "reg_lambda=2:1"), "range of 'reg_lambda'")
    refused(omnifeat(*arguments, folder / "no", "--judged-fraction", "1.5"), "above 0 and below 1")
    assert not (folder / "no").exists()


def test_bad_input_is_one_sentence(folder: Path) -> None:
    shown, out = folder / "shown.parquet", folder / "out"
    train = ["rank", "train", shown, "-o", out, "--query-column", "request_id"]
    refused(omnifeat(*train, "--stage", "l3"), "no stage 'l3'", "l1, l2")
    refused(omnifeat(*train, "--stage", "l1"), "shown.parquet", "'score'")
    refused(omnifeat(*train, "--stage", "l2", "--label", "entity_id"), "shown.parquet", "'e0', which has no gain")
    refused(omnifeat(*train, "--stage", "l2", "--set", "leaves=3"), "no setting 'leaves'", "num_leaves")
    refused(omnifeat(*train, "--stage", "l2", "--set", "leaves"), "must read NAME=VALUE")
    refused(omnifeat(*train, "--stage", "l2", "--gains", "click"), "--gains has 'click'")
    refused(omnifeat(*train, "--stage", "l2", "--teacher", out), "--teacher goes with")
    refused(omnifeat(*train, "--stage", "l1", "--teacher", out, "--label", "good"), "one of the two")
    refused(omnifeat(*train, "--stage", "l1", "--label", "good", "--position-column", "position"), "no positions")
    refused(omnifeat(*train, "--stage", "l2", "--position-column", "places"), "'places' is not there")
    refused(omnifeat(*train, "--stage", "l2", "--features", "goood"), "did you mean 'good'")
    l2 = folder / "l2"
    assert omnifeat("rank", "train", shown, *L2, "--trees", 2, "-o", l2).exit_code == 0
    refused(omnifeat("rank", "predict", shown, "--stage", "l1", "-r", l2, "-o", folder / "s.csv"), "kind 'l2'", "'l1'")
    evaluate = ["rank", "evaluate", shown, "-r", l2, "-o", out]
    refused(omnifeat(*evaluate, "--label", "entity_id"), "shown.parquet", "has no gain")
    refused(omnifeat(*evaluate, "--query-column", "session"), "'session' is not there")
    refused(omnifeat(*evaluate, "--within", "few"), "--within must be whole numbers")
    refused(omnifeat(*evaluate, "--teacher", l2), "--teacher goes with models")
    refused(omnifeat("rank", "evaluate", shown, "-r", folder / "none"), "no model folder")
    assert sorted(path.name for path in folder.iterdir()) == ["l2", "shown.parquet"]
