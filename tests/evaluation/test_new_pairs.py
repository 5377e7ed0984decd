"""Figures for pairs and queries that are new to the encoder, beside those of all, wherever figures are printed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from evaluation.judged import judged_figures
from evaluation.recall_study import RecallSettings, recall_studies
from evaluation.seen_pairs import NEW_PAIRS, NEW_QUERIES, Knowledge, known_by_columns, known_to_encoders, what_is_known
from omnifeat.data.dataset import Dataset
from omnifeat.data.files import read_table
from omnifeat.errors import DataError
from omnifeat.frozen import FrozenEncoder
from omnifeat.models.training_record import TrainingRecord, id_hashes, pair_hashes, query_hashes
from tests.commands import omnifeat, refused
from tests.evaluation import test_ranking_comparison as rankers
from tests.evaluation.conftest import LetterEncoder


def record_of(*pairs: tuple[str, str], entity_type: str = "pin") -> TrainingRecord:
    queries, ids = (list(column) for column in zip(*pairs, strict=True))
    hashes = query_hashes(pa.array(queries))
    return TrainingRecord.of([hashes], [pair_hashes(hashes, entity_type, id_hashes(pa.array(ids)))])


class Trained(LetterEncoder):
    """Trained on two of the three pairs of cats, and on another pair of dogs."""

    record = record_of(("CATS", "p1"), ("cats", "p5"), ("dogs", "p9"))


# ---- who knows what


def test_of_several_encoders_the_one_that_knows_most_counts_and_a_silent_one_is_named() -> None:
    columns = (pa.array(["a", "a", "b"]), pa.array(["pin"] * 3), pa.array(["1", "2", "1"]))
    records = {"one": record_of(("a", "1")), "two": record_of(("a", "2"), ("b", "9")), "old": None}
    known = known_to_encoders(records, *columns)
    assert known is not None
    assert known.codes.tolist() == [2, 2, 1]
    assert (known.told_by, known.silent) == (("one", "two"), ("old",))
    assert known.sentence == (
        "Of 3 pairs the encoder was trained on 2, and on the queries of 1 more; 0 are of queries new to it (by one, "
        "two). What old was trained on is not recorded."
    )
    assert known_to_encoders({"old": None}, *columns) is None


def test_unknown_is_said_and_is_not_zero() -> None:
    assert what_is_known(None).startswith("Which pairs the encoder was trained on is unknown")
    assert known_by_columns(pa.table({"query": ["a"], "trained": [1]})) is None


def test_columns_of_a_table_tell() -> None:
    rows = pa.table({"trained_on": ["neither", "query", "pair"], "other_trained_on": ["query", "query", "neither"]})
    known = known_by_columns(rows)
    assert known is not None
    assert known.codes.tolist() == [1, 1, 2]
    assert {name: members.tolist() for name, members in known.new.items()} == {
        NEW_PAIRS: [True, True, False],
        NEW_QUERIES: [False, False, False],
    }


@pytest.mark.parametrize("value", ["yes", None, 1])
def test_a_column_that_says_something_else_is_refused_by_row(value: Any) -> None:
    rows = pa.table({"trained_on": pa.array([None, value][-1:])})
    with pytest.raises(DataError, match=r"Column 'trained_on' says .* in row 1, where 'pair', 'query' or 'neither'"):
        known_by_columns(rows)


# ---- recall


def test_recall_ranks_new_pairs_as_among_all_and_counts_them(dataset: Dataset) -> None:
    settings = RecallSettings(split="all", rows=("learned",), resamples=20, ks=(1,))
    (study,) = recall_studies(dataset, Trained(), None, settings)
    assert study.knowledge is not None
    assert study.knowledge.counts == {"pair": 2, "query": 1, "neither": 4}
    pairs = study.pairs
    queries = np.array(pairs.queries)[pairs.pair_queries]
    for name, members in ((NEW_PAIRS, queries != "cats"), (NEW_QUERIES, ~np.isin(queries, ["cats", "dogs"]))):
        group = study.new[name]
        assert group.pairs == members.sum()
        assert group.rows["learned"].recall[1].value == pytest.approx((study.ranks["learned"][members] <= 1).mean())
    (unknown,) = recall_studies(dataset, LetterEncoder(), None, settings)
    assert (unknown.knowledge, unknown.new) == (None, {})
    assert repr(unknown.overall) == repr(study.overall)


def test_recall_without_a_new_pair_has_no_figure(dataset: Dataset) -> None:
    class All(LetterEncoder):
        record = record_of(("dogs", "p2"))

    settings = RecallSettings(split="all", rows=("learned",), resamples=20)
    everything = recall_studies(dataset, All(), None, replace(settings, entity_types=("pin",)))
    assert everything[0].new[NEW_PAIRS].pairs == 6
    known = replace(everything[0].knowledge, codes=np.full(7, 2, np.uint8))
    assert not known.new[NEW_PAIRS].any()


def test_the_command_prints_and_writes_what_the_encoder_knew(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Any] = [Trained(), LetterEncoder()]
    monkeypatch.setattr(FrozenEncoder, "from_pretrained", staticmethod(lambda path, **options: found.pop(0)))
    arguments = ["evaluate", "recall", dataset.path, "--encoder", "e", "--split", "all", "--baselines", "none"]
    done = omnifeat(*arguments, "-o", tmp_path / "known", "--bootstrap", 20)
    assert done.exit_code == 0, done.output
    assert "Of 7 pairs the encoder was trained on 2, and on the queries of 1 more; 4 are of" in done.stdout
    assert "new queries" in done.stdout
    told = json.loads((tmp_path / "known" / "recall.json").read_text())["studies"][0]
    assert told["trained_on"] == {"pair": 2, "query": 1, "neither": 4}
    assert told["new"][NEW_PAIRS]["pairs"] == 5
    assert "| new pairs | without training positives | 5 | 5 |" in (tmp_path / "known" / "recall.md").read_text()
    done = omnifeat(*arguments, "-o", tmp_path / "unknown", "--bootstrap", 20)
    assert "Which pairs the encoder was trained on is unknown" in done.stdout
    assert json.loads((tmp_path / "unknown" / "recall.json").read_text())["studies"][0]["trained_on"] is None


# ---- judged relevance


def test_relevance_leaves_known_pairs_out_of_judgments_and_run(dataset: Dataset, tmp_path: Path) -> None:
    run = pd.DataFrame(
        {
            "query": ["cats", "cats", "cats", "sky"],
            "entity_id": ["p1", "p5", "p2", "p4"],
            "score": [1.0, 2.0, 3.0, 1.0],
            "trained_on": ["pair", "query", "query", "neither"],
        }
    )
    run.to_csv(tmp_path / "run.csv", index=False)
    out = tmp_path / "out"
    done = omnifeat("evaluate", "relevance", dataset.path, "--run", tmp_path / "run.csv", "-o", out, "--bootstrap", 20)
    assert done.exit_code == 0, done.output
    told = json.loads((out / "relevance.json").read_text())
    # of query x, which the run does not hold, nobody can tell: it is not called new
    assert told["trained_on"] == {"pair": 2, "query": 2, "neither": 1}
    new = told["new"]
    # cats without p1 (3): p2 (0) before p5 (1) is 1 / log2(3); sky is whole
    assert new[NEW_PAIRS]["columns"]["score"]["value"]["value"] == pytest.approx((1 / np.log2(3) + 1) / 2, abs=1e-4)
    assert (new[NEW_PAIRS]["rows"], new[NEW_PAIRS]["queries"]) == (3, 2)
    assert new[NEW_QUERIES]["columns"]["score"]["value"]["value"] == 1
    assert (new[NEW_QUERIES]["rows"], new[NEW_QUERIES]["queries"]) == (1, 1)
    assert "new pairs" in done.stdout
    assert "taken out of judgments and ranking" in (out / "relevance.md").read_text()


def test_the_record_of_an_encoder_tells_of_judgments_that_the_run_lacks(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FrozenEncoder, "from_pretrained", staticmethod(lambda path, **options: Trained()))
    run = pd.DataFrame({"query": ["cats", "sky"], "entity_id": ["p2", "p4"], "score": [3.0, 1.0]})
    run.to_parquet(tmp_path / "run.parquet")
    arguments = ["evaluate", "relevance", dataset.path, "--run", tmp_path / "run.parquet", "--bootstrap", 0, "--json"]
    told = json.loads(omnifeat(*arguments, "-o", tmp_path / "known", "--encoder", "e").stdout)
    assert told["trained_on"] == {"pair": 2, "query": 1, "neither": 2}
    # cats has no positive left, x never had one
    assert told["new"][NEW_PAIRS]["queries"] == told["new"][NEW_QUERIES]["queries"] == 1
    assert told["new"][NEW_PAIRS]["queries_without_positive"] == 2
    told = json.loads(omnifeat(*arguments, "-o", tmp_path / "unknown").stdout)
    assert (told["trained_on"], told["new"]) == (None, {})


# ---- rankers


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty queries of eight rows; of a third of them the encoder knew every other pair, of a third nothing."""
    rng = np.random.default_rng(0)
    rows = 320
    query = np.arange(rows) // 8
    good = rng.normal(size=rows).astype(np.float32)
    known = np.where(
        query % 3 == 0, "neither", np.where((query % 3 == 1) & (np.arange(rows) % 2 == 0), "pair", "query")
    )
    frame = pd.DataFrame(
        {
            "query": [f"query {number}" for number in query],
            "entity_id": [f"e{row}" for row in range(rows)],
            "grade": np.clip(good.round(), 0, 3).astype(int),
            "good": good,
            "noise": rng.normal(size=rows),
            "trained_on": known,
        }
    )
    place = tmp_path_factory.mktemp("judged") / "judged.csv"
    frame.to_csv(place, index=False)
    return place


SETS = ["--feature-set", "noise=noise", "--feature-set", "all=*o*"]


def test_cross_validate_gives_the_figures_of_what_is_new(judged: Path, tmp_path: Path) -> None:
    few = ["--trees", 10, "--folds", 3, "--resamples", 100, "--threads", 1]
    done = omnifeat(
        "rank", "cross-validate", judged, "-o", tmp_path / "out", *SETS[:2], "--feature-set", "all=good,noise", *few
    )
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "out" / "results.json").read_text())
    scored = read_table(tmp_path / "out" / "out_of_fold.parquet").to_pandas()
    assert told["trained_on"] == scored["trained_on"].value_counts().to_dict()
    for name, members in (
        (NEW_PAIRS, scored["trained_on"] != "pair"),
        (NEW_QUERIES, scored["trained_on"] == "neither"),
    ):
        group = told["new"][name]
        assert group["rows"] == members.sum()
        means = {}
        for of_set in ("noise", "all"):
            by_hand = judged_figures(scored[members], scored[members], f"score_{of_set}")
            assert group["queries"] == len(by_hand.queries)
            means[of_set] = by_hand.mean("nDCG@10")
            value = group["columns"][of_set]["value"]
            assert value["value"] == pytest.approx(means[of_set])
            assert value["low"] <= value["value"] <= value["high"]
        difference = group["columns"]["all"]["difference"]
        assert difference["value"] == pytest.approx(means["all"] - means["noise"])
        assert difference["low"] <= difference["value"] <= difference["high"]
        assert name in done.stdout
    assert "Of 320 pairs the encoder was trained on " in done.stdout
    # what was written tells evaluate relevance, too
    assert known_by_columns(read_table(tmp_path / "out" / "out_of_fold.parquet")) is not None


def test_cross_validate_says_so_where_nothing_is_known(judged: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(judged)
    frame.drop(columns="trained_on").to_csv(tmp_path / "unknown.csv", index=False)
    few = ["--trees", 5, "--folds", 2, "--resamples", 0, "--threads", 1]
    done = omnifeat("rank", "cross-validate", tmp_path / "unknown.csv", "-o", tmp_path / "out", *SETS[:2], *few)
    assert done.exit_code == 0, done.output
    assert "Which pairs the encoder was trained on is unknown" in done.stdout
    told = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (told["trained_on"], told["new"]) == (None, {})
    frame["trained_on"] = "pair"
    frame.to_csv(tmp_path / "known.csv", index=False)
    done = omnifeat("rank", "cross-validate", tmp_path / "known.csv", "-o", tmp_path / "all", *SETS[:2], *few)
    assert done.exit_code == 0, done.output
    new = json.loads((tmp_path / "all" / "results.json").read_text())["new"]
    assert {name: (group["rows"], group["queries"]) for name, group in new.items()} == {
        NEW_PAIRS: (0, 0),
        NEW_QUERIES: (0, 0),
    }
    assert new[NEW_PAIRS]["columns"]["noise"]["value"]["value"] is None
    frame["trained_on"] = "perhaps"
    frame.to_csv(tmp_path / "odd.csv", index=False)
    refused(
        omnifeat("rank", "cross-validate", tmp_path / "odd.csv", "-o", tmp_path / "odd", *SETS[:2], *few),
        "odd.csv: Column 'trained_on' says 'perhaps' in row 1",
    )


def test_evaluate_measures_what_is_new_by_itself(judged: Path, tmp_path: Path) -> None:
    few = ["--features", "good,noise", "--trees", 5, "--threads", 1]
    done = omnifeat("rank", "train", judged, "-o", tmp_path / "model", *few)
    assert done.exit_code == 0, done.output
    done = omnifeat("rank", "evaluate", judged, "-r", tmp_path / "model", "--bootstrap", 50, "--json")
    told = json.loads(done.stdout)
    frame = pd.read_csv(judged)
    new = frame[frame["trained_on"] == "neither"]
    new.drop(columns="trained_on").to_csv(tmp_path / "new.csv", index=False)
    alone = json.loads(
        omnifeat("rank", "evaluate", tmp_path / "new.csv", "-r", tmp_path / "model", "--bootstrap", 50, "--json").stdout
    )
    assert told["new"][NEW_QUERIES]["figures"] == alone["figures"]
    assert told["new"][NEW_QUERIES]["rows"] == len(new)
    assert (alone["trained_on"], alone["new"]) == (None, {})
    said = omnifeat("rank", "evaluate", judged, "-r", tmp_path / "model", "--bootstrap", 50).stdout
    assert "of new pairs alone:" in said
    assert "of new queries alone:" in said


def test_compare_groups_the_test_rows_by_what_the_encoders_knew(tmp_path: Path) -> None:
    folder = rankers.write(tmp_path / "data")
    data = Dataset.open(folder)
    rows = data.read("judgments").to_pandas()
    known = rows[rows["query"].str.startswith(("red", "blue")) & (rows["entity_type"] == "pin")]
    encoder = rankers.make_encoder(0)
    encoder.record = record_of(*zip(known["query"], known["entity_id"], strict=True))
    place = encoder.save_pretrained(tmp_path / "encoder")
    few = ["--stage", "relevance", "--trees", 8, "--leaves", 7, "--bootstrap", 20, "--threads", 1, "--no-counts"]
    done = omnifeat("rank", "compare", folder, "--encoder", f"one={place}", *few, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    stage = json.loads((tmp_path / "out" / "comparison.json").read_text())["stages"]["relevance"]
    counts = stage["trained_on"]
    assert sum(counts.values()) == stage["test_rows"]
    groups = stage["groups"]["what the encoders knew"]
    assert groups[NEW_PAIRS]["rows"] == counts["query"] + counts["neither"]
    assert groups[NEW_QUERIES]["rows"] == counts["neither"]
    assert 0 < groups[NEW_QUERIES]["rows"] < groups[NEW_PAIRS]["rows"] < stage["test_rows"]
    assert f"Of {stage['test_rows']:,} pairs the encoder was trained on {counts['pair']:,}" in done.stdout
    assert "new queries" in done.stdout


def test_knowledge_of_some_rows() -> None:
    known = Knowledge(np.array([0, 1, 2], np.uint8), ("trained_on",))
    assert known.of(np.array([True, False, True])).codes.tolist() == [0, 2]


def test_an_encoder_without_a_record_beside_one_with_it_is_said() -> None:
    rows = pa.table({"new_cosine": [0.1], "new_trained_on": ["pair"], "old_cosine": [0.2]})
    known = known_by_columns(rows, ["new_cosine", "old_cosine", "old_cosine"])
    assert known is not None
    assert known.silent == ("the encoder of 'old_cosine'",)
    assert "What the encoder of 'old_cosine' was trained on is not recorded." in what_is_known(known)
    assert known_by_columns(rows, ["new_cosine"]).silent == ()
