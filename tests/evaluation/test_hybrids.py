"""Hybrid rows of a study: how they are written, what chooses their weights, and that test pairs never do."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from evaluation.baselines import cosine_row
from evaluation.fusion import fused_ranks, score_together
from evaluation.hybrids import Hybrid, chosen_weights, development_pairs, parse_hybrid, weight_grid
from evaluation.recall import EvaluationPairs
from evaluation.recall_settings import RecallSettings
from evaluation.recall_study import RecallStudy, recall_studies
from omnifeat.data.dataset import Dataset
from omnifeat.data.splits import HashSplit
from omnifeat.errors import SettingError
from omnifeat.ranks import Excluded
from tests.commands import omnifeat, refused
from tests.evaluation import test_training_positives as days
from tests.evaluation.conftest import LetterEncoder, write_dataset


def test_what_may_be_written() -> None:
    assert parse_hybrid("bm25-words + learned") == Hybrid(("bm25-words", "learned"))
    assert parse_hybrid("0.5*bm25-words+learned").weights == (0.5, 1)
    assert parse_hybrid("0.5*bm25-words+learned").name == "rrf(0.5*bm25-words+learned)"
    assert parse_hybrid("a+b+c+d").name == "rrf(a+b+c+d)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("learned", "does not name two to 4 different rows"),
        ("", "does not name two to 4"),
        ("a+a", "does not name two to 4 different rows"),
        ("a++b", "does not name two to 4"),
        ("a+b+c+d+e", "does not name two to 4"),
        ("x*a+b", "'x' is no weight; write such as 2\\*a"),
        ("0*a+b", "weights must be above 0 and finite"),
        ("-1*a+b", "weights must be above 0 and finite"),
        ("nan*a+b", "weights must be above 0 and finite"),
        ("inf*a+b", "weights must be above 0 and finite"),
    ],
)
def test_what_may_not(text: str, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        parse_hybrid(text)


def test_the_grid_begins_with_equal_weights_and_turns_round() -> None:
    for parts in (2, 3, 4):
        grid = weight_grid(parts)
        assert grid[0] == (1.0,) * parts
        assert len(set(grid)) == len(grid) == (9 if parts == 2 else 3 ** (parts - 1))
    assert {(1 / weight,) for _, weight in weight_grid(2)} == {(weight,) for _, weight in weight_grid(2)}


def test_development_pairs_are_ranked_in_the_same_corpus() -> None:
    pairs = EvaluationPairs.make(["q"], ["c"], pa.array(["a", "b", "c", "d"]), corpus_ids=pa.array(["a", "b"]))
    found = development_pairs(pairs, ["y", "x", "y", "z", "y"], ["a", "c", "a", "d", "b"], seed=0)
    assert found is not None
    assert found.queries == ["x", "y"]  # d is not scored
    assert found.entity_ids is pairs.entity_ids
    assert list(zip(found.pair_queries, found.pair_positives, strict=True)) == [(0, 2), (1, 0), (1, 1)]
    assert development_pairs(pairs, ["z"], ["d"], seed=0) is None
    many = development_pairs(pairs, [f"q{n}" for n in range(2100)], ["a"] * 2100, seed=0)
    assert many is not None
    assert len(many.queries) == len(many.pair_queries) == 2000


def test_weights_find_most_and_lie_near_equal_ones(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = pa.array([f"{number:02d}" for number in range(40)])
    pairs = EvaluationPairs.make([f"q{n}" for n in range(60)], [f"{n % 40:02d}" for n in range(60)], ids)
    noise = rng.normal(size=(60, 40)).astype(np.float32)
    good = noise.copy()
    good[pairs.pair_queries, pairs.pair_positives] += 2
    rows = [cosine_row(name, "", scores, np.eye(40, dtype=np.float32)) for name, scores in (("n", noise), ("g", good))]
    split = days.write(tmp_path / "days")
    given: dict[str, Any] = {"first": 3, "k": 60.0, "leave_out_other_positives": True}
    found = chosen_weights(rows, pairs, split, "pin", {}, **given)
    blocks = score_together(rows, len(pairs.queries))
    hits = (fused_ranks(blocks, pairs, [Excluded.none(60)], weight_grid(2))[0] <= 3).sum(axis=1)
    assert found.weights == weight_grid(2)[int(np.flatnonzero(hits == hits.max())[0])]
    assert found.weights[1] > 1
    assert (
        f"on 60 development pairs of 60 queries among the same entities: Recall@3 {hits.max() / 60:.1%}" in found.told
    )
    same = [rows[1], rows[1]]
    assert chosen_weights(same, pairs, split, "pin", {}, **given).weights == (1, 1)


def study_of(dataset: Dataset, *hybrids: str, encoder: Any = None, **changes: Any) -> RecallStudy:
    shared: dict[str, Any] = {"split": "all", "resamples": 20, "ks": (1,), "rows": ("bm25-words", "learned")}
    asked = tuple(parse_hybrid(text) for text in hybrids)
    settings = RecallSettings(**(shared | changes), hybrids=asked)
    return recall_studies(dataset, encoder or LetterEncoder(), None, settings)[0]


def test_a_row_of_the_study_and_a_reference(dataset: Dataset) -> None:
    study = study_of(dataset, "bm25-words+1e9*learned", "tfidf+learned", references=("rrf(tfidf+learned)",))
    heavy = "rrf(bm25-words+1e+09*learned)"
    assert list(study.overall.rows) == ["bm25-words", "learned", heavy, "rrf(tfidf+learned)"]
    # so heavy that words decide between nothing
    assert study.ranks[heavy].tolist() == study.ranks["learned"].tolist()
    assert study.overall.rows["rrf(tfidf+learned)"].differences == {"rrf(tfidf+learned)": None}
    assert study.hybrids["rrf(tfidf+learned)"] == (
        "reciprocal rank fusion, k 60, weights tfidf 1 and learned 1 (equal: the pairs of split all are measured, and "
        "choose nothing)"
    )
    assert study.hybrids[heavy].endswith("weights bm25-words 1 and learned 1e+09 (as given)")


def test_development_pairs_choose_and_test_pairs_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = write_dataset(tmp_path / "data", HashSplit(development=0.4, test=0.4))
    seen: list[list[str]] = []

    class Noted(LetterEncoder):
        def encode_queries(self, texts: Any, batch_size: int = 256) -> np.ndarray:
            seen.append(list(texts))
            return super().encode_queries(texts, batch_size)

    study = study_of(dataset, "bm25-words+learned", encoder=Noted(), split="test")
    (told,) = study.hybrids.values()
    engaged = dataset.read("engagements")
    parts = dataset.info.split.assign(engaged).to_pylist()
    development = sorted(
        {q for q, part in zip(engaged["query"].to_pylist(), parts, strict=True) if part == "development"}
    )
    assert development
    assert f"development pairs of {len(development)} queries" in told
    assert not set(development) & set(study.pairs.queries)
    assert development in seen
    titles = [[title or "" for title in dataset.read("pins")["title"].to_pylist()]]
    assert seen == [study.pairs.queries, *titles, development]  # the entities once


def test_a_run_may_be_fused_with_equal_weights(tmp_path: Path) -> None:
    study = days.study_of(
        days.write(tmp_path / "days"),
        rows=("random",),
        hybrids=(Hybrid(("by hand", "random")),),
        references=("by hand",),
    )
    assert "equal: a run scores no development pairs" in study.hybrids["rrf(by hand+random)"]
    assert study.left_out is not None
    assert set(study.left_out.figures.ranks) == {"random", "by hand", "rrf(by hand+random)"}


def test_bad_settings() -> None:
    twice = (Hybrid(("a", "b")), Hybrid(("a", "b")))
    with pytest.raises(SettingError, match=r"the hybrid rrf\(a\+b\) is asked for twice"):
        RecallSettings(hybrids=twice)
    with pytest.raises(SettingError, match="k of a reciprocal rank fusion must be a number of 0 or more, got -1"):
        RecallSettings(rrf_k=-1)
    with pytest.raises(SettingError, match="got nan"):
        RecallSettings(rrf_k=float("nan"))


def test_the_command(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["evaluate", "recall", dataset.path, "--split", "all", "--baselines", "random", "--bootstrap", 20]
    done = omnifeat(*arguments, "--hybrid", "bm25-words+bm25-trigrams", "--rrf-k", 10, "-o", out)
    assert done.exit_code == 0, done.output
    assert "rrf(bm25-words+bm25-trigrams): reciprocal rank fusion, k 10, weights bm25-words 1" in done.stdout
    told = json.loads((out / "recall.json").read_text())
    assert list(told["studies"][0]["overall"]["rows"]) == ["random", "rrf(bm25-words+bm25-trigrams)"]
    assert told["studies"][0]["overall"]["rows"]["rrf(bm25-words+bm25-trigrams)"]["recall"]["10"]["low"] is not None
    assert "- `rrf(bm25-words+bm25-trigrams)`: reciprocal rank fusion" in (out / "recall.md").read_text()
    for hybrid, said in (
        ("bm25+tfidf", "there is no row to fuse in rrf(bm25+tfidf) named 'bm25'; choose from random, bm25-words"),
        ("bm25-words+learned", "row 'learned' needs a trained encoder (--encoder)"),
        ("tfidf", "does not name two to 4 different rows"),
    ):
        refused(omnifeat(*arguments, "--hybrid", hybrid, "-o", tmp_path / "bad"), said)
        assert not (tmp_path / "bad").exists()
