import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from classifiers.fasttext_classifier import FastTextClassifier
from evaluation.interests import comparison
from omnifeat.data.dataset import Dataset, DatasetInfo, DatasetWriter
from omnifeat.data.splits import HashSplit
from omnifeat.frozen import FrozenEncoder
from omnifeat.pretrained import PretrainedEncoder
from tests.commands import omnifeat, refused

KINDS = {"owl": "birds", "duck": "birds", "shark": "fish", "trout": "fish", "bread": "food", "plum": "food"}


class LetterEncoder:
    """Stands in for a frozen encoder: counts of letters, unit length."""

    fingerprint = "aaaa"

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        counts = np.array([[text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts], float)
        return (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared") / "data"
    rows = [(f"{word} {one}{two}", kind) for word, kind in KINDS.items() for one in "abcd" for two in "efg"]
    rows += [(f"animal {one}{two}", "animals") for one in "abcd" for two in "ef"]
    info = DatasetInfo(
        name="tiny", source="made by hand", licence="CC0", created_by="test", split=HashSplit(development=0.2, test=0.3)
    )
    with DatasetWriter(folder, info) as writer:
        ids = ["animals", "birds", "fish", "food"]
        parents = pa.array([None, "animals", "animals", None], pa.string())
        levels = pa.array([1, 2, 2, 1], pa.int32())
        writer.write("interests", pa.table({"interest_id": ids, "name": ids, "parent_id": parents, "level": levels}))
        queries, interests = zip(*rows, strict=True)
        writer.write("query_interests", pa.table({"query": queries, "interest_id": interests}))
    return folder


@pytest.fixture
def compare(data: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    monkeypatch.setattr(FrozenEncoder, "from_pretrained", lambda path, **options: LetterEncoder())
    return [
        "classify",
        "compare",
        data,
        "-e",
        "encoder",
        "--fasttext-trials",
        1,
        "--fasttext-buckets",
        2000,
        "--resamples",
        50,
    ]


def test_all_classifiers_may_learn_from_names(compare: list[object], tmp_path: Path) -> None:
    more = ("--classifiers", "interest-classifier,fasttext", "--curve-levels", "")
    for options in ((), ("--names",)):
        done = omnifeat(*compare, "-o", tmp_path / f"report{len(options)}", *more, *options)
        assert done.exit_code == 0, done.output
    without, names = (json.loads((tmp_path / f"report{one}" / "comparison.json").read_text()) for one in (0, 1))
    assert names["sizes"]["training"] == without["sizes"]["training"] + 4
    assert names["sizes"]["test"] == without["sizes"]["test"]
    assert names["about"]["learnt from"] == "the training part and the interests' names"


def test_a_comparison_of_all_classifiers(compare: list[object], tmp_path: Path) -> None:
    names = "interest-classifier,fasttext,tfidf-logistic,embedding-logistic,hiclass"
    more = ["--classifiers", names, "--curve-levels", "1", "--curve-sizes", "2,5,500,1000"]
    done = omnifeat(*compare, "-o", tmp_path / "report", *more)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "report" / "comparison.json").read_text())
    assert list(found["systems"]) == names.split(",")
    assert [level["interests"] for level in found["levels"]] == [2, 2]
    assert found["levels"][0]["queries"] == found["sizes"]["test"] > found["levels"][1]["queries"] > 0
    for level in found["levels"]:
        for name, figures in level["systems"].items():
            precision = figures["precision_at_coverage_1"]
            assert precision["low"] <= precision["value"] <= precision["high"]
            assert precision["value"] > 0.6, name
            gain = level["gains"][name]["precision_at_coverage_1"]["value"]
            reference = level["systems"]["fasttext"]["precision_at_coverage_1"]["value"]
            assert gain == pytest.approx(precision["value"] - reference)
    (curve,) = found["curves"]
    # No interest has 500 training queries, so the curve ends where all are taken.
    assert [point["examples"] for point in curve["points"]] == [2, 5, 500]
    sizes = [point["queries"] for point in curve["points"]]
    assert sizes[0] == 2 * 4
    assert sizes[-1] == found["sizes"]["training"]
    assert found["systems"]["fasttext"]["trials"][0]["settings"]["epochs"] == 25
    text = (tmp_path / "report" / "comparison.md").read_text()
    assert "| level | interests | queries | interest-classifier | fasttext |" in text
    for picture in ("precision", "training_size", "reliability", "learning_curves"):
        assert (tmp_path / "report" / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
        assert f"({picture}.png)" in text


def test_ours_over_another_encoder_and_over_both(
    compare: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SecondLetters:
        def encode(self, texts: Sequence[str]) -> np.ndarray:
            return LetterEncoder().encode_queries([text[1] for text in texts])

    monkeypatch.setattr(PretrainedEncoder, "load", lambda path, **options: SecondLetters())
    ours = ["interest-classifier", "interest-classifier-pretrained", "interest-classifier-stacked"]
    more = ["--classifiers", ",".join([*ours, "fasttext"]), "--curve-levels", "1", "--curve-sizes", "2,5"]
    done = omnifeat(*compare, "-o", tmp_path / "report", "--pretrained", "other", *more)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "report" / "comparison.json").read_text())
    assert list(found["systems"]) == [*ours, "fasttext"]
    assert set(found["curves"][0]["points"][0]["gain"]) == {*ours, "fasttext"}
    _, other, both = (found["levels"][1]["systems"][name]["precision_at_coverage_1"]["value"] for name in ours)
    assert both > other  # the second letter does not tell trout from bread
    text = (tmp_path / "report" / "comparison.md").read_text()
    for name in ours:
        assert f"`{name}` is above `fasttext`" in text
    refused(omnifeat(*compare, "-o", tmp_path / "new", "--classifiers", f"fasttext,{ours[2]}"), "--pretrained")


def test_the_same_seed_gives_the_same_figures(compare: list[object], tmp_path: Path) -> None:
    names = ["--curve-levels", "", "--json"]
    one, two = (json.loads(omnifeat(*compare, "-o", tmp_path / name, *names).stdout) for name in ("one", "two"))
    assert one.pop("output") != two.pop("output")
    assert one == two


def test_a_comparison_that_was_cut_goes_on(
    compare: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[str] = []
    fit = comparison.fit_system

    def counting(name: str, *arguments: Any) -> Any:
        if len(fitted) == most:
            raise KeyboardInterrupt
        fitted.append(name)
        return fit(name, *arguments)

    monkeypatch.setattr(comparison, "fit_system", counting)
    names = "fasttext,tfidf-logistic,interest-classifier"
    more = ("--curve-levels", "1", "--curve-sizes", "2", "--json", "--classifiers", names)
    kept = ("--keep", tmp_path / "kept")
    most = 2
    assert omnifeat(*compare, *more, *kept, "-o", tmp_path / "report").exit_code != 0
    assert not (tmp_path / "report").exists()
    fitted, most = [], 99
    found = json.loads(omnifeat(*compare, *more, *kept, "-o", tmp_path / "report").stdout)
    assert fitted == ["interest-classifier", "interest-classifier", "fasttext"]  # the last two for the curve
    fitted = []
    again = json.loads(omnifeat(*compare, *more, *kept, "-o", tmp_path / "again").stdout)
    assert fitted == []
    without = json.loads(omnifeat(*compare, *more, "-o", tmp_path / "without").stdout)
    for one in (found, again, without):
        one.pop("output")
    assert found == again == without
    fitted = []
    other = omnifeat(*compare, *more, *kept, "-o", tmp_path / "other", "--head", "levels", "--curve-levels", "")
    assert other.exit_code == 0, other.output
    assert fitted == ["interest-classifier"]
    fitted = []
    omnifeat(*compare, *more, *kept, "-o", tmp_path / "seed", "--seed", "1", "--curve-levels", "")
    assert fitted == ["fasttext"]
    kept_answers = [path for path in (tmp_path / "kept").iterdir() if "trials" not in path.name]
    for path in kept_answers:
        found = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**found, "paths": found["paths"][1:]}), encoding="utf-8")
    refused(omnifeat(*compare, *more, *kept, "-o", tmp_path / "new"), "kept/fasttext-", "remove it")
    for path in kept_answers:
        path.write_text("{}", encoding="utf-8")
    refused(omnifeat(*compare, *more, *kept, "-o", tmp_path / "new"), "kept/fasttext-", "remove it")
    refused(omnifeat(*compare, *more, "--keep", path, "-o", tmp_path / "new"), str(path), "choose another place")


def test_tuning_that_was_cut_goes_on(compare: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[tuple[Any, ...]] = []
    fit = FastTextClassifier.fit

    def counting(classifier: FastTextClassifier, *arguments: Any) -> Any:
        if len(fitted) == most:
            raise KeyboardInterrupt
        fitted.append((classifier.word_ngrams, classifier.epochs))
        return fit(classifier, *arguments)

    monkeypatch.setattr(FastTextClassifier, "fit", counting)
    more = ("--classifiers", "fasttext", "--fasttext-trials", 4, "--curve-levels", "", "--threads", 1, "--json")
    kept = ("--keep", tmp_path / "kept")
    most = 2
    assert omnifeat(*compare, *more, *kept, "-o", tmp_path / "report").exit_code != 0
    assert [path.name[:16] for path in (tmp_path / "kept").iterdir()] == ["fasttext-trials-"]
    made, fitted, most = fitted, [], 99
    found = json.loads(omnifeat(*compare, *more, *kept, "-o", tmp_path / "report").stdout)
    assert (made, fitted[:2]) == ([(2, 25), (2, 100)], [(1, 25), (1, 100)])
    without = json.loads(omnifeat(*compare, *more, "-o", tmp_path / "without").stdout)
    assert found.pop("output") != without.pop("output")
    assert found == without
    (trials,) = (tmp_path / "kept").glob("fasttext-trials-*")
    trials.write_text("[]", encoding="utf-8")
    other = ("--fasttext-trials", 3)  # other trials of the same queries: the answers differ, the trials are the same
    refused(omnifeat(*compare, *more, *kept, "-o", tmp_path / "bad", *other), str(trials), "remove it")


def test_a_tree_of_one_level_has_one_curve(tmp_path: Path, compare: list[object]) -> None:
    old = Dataset.open(str(compare[2]))
    with DatasetWriter(tmp_path / "flat", old.info) as writer:
        kinds = ["birds", "fish", "food"]
        none = pa.nulls(3, pa.string())
        flat = {"interest_id": kinds, "name": kinds, "parent_id": none, "level": pa.array([1] * 3, pa.int32())}
        writer.write("interests", pa.table(flat))
        table = old.read("query_interests")
        writer.write("query_interests", table.filter(pc.not_equal(table["interest_id"], "animals")))
    command = [*compare[:2], tmp_path / "flat", *compare[3:]]
    done = omnifeat(*command, "-o", tmp_path / "report", "--curve-sizes", "2", "--json")
    assert done.exit_code == 0, done.output
    assert [curve["level"] for curve in json.loads(done.stdout)["curves"]] == [0]


def test_bad_input_is_one_sentence(compare: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = tmp_path / "new"
    refused(omnifeat(*compare, "-o", tmp_path), "exists already")
    refused(omnifeat(*compare, "-o", new, "--classifiers", "fasttext,oracle"), "'oracle'", "tfidf-logistic")
    refused(omnifeat(*compare, "-o", new, "--classifiers", "fasttext,fasttext"), "twice")
    refused(omnifeat(*compare, "-o", new, "--classifiers", "fasttext,pretrained-logistic"), "--pretrained")
    refused(omnifeat(*compare, "-o", new, "--reference", "hiclass"), "'hiclass'", "not among")
    refused(omnifeat(*compare, "-o", new, "--part", "train"), "'train'")
    refused(omnifeat(*compare, "-o", new, "--curve-sizes", "5,few"), "--curve-sizes", "5,few")
    refused(omnifeat(*compare, "-o", new, "--curve-sizes", "0"), "1 example")
    refused(omnifeat(*compare, "-o", new, "--curve-levels", "7"), "no level 7", "0 to 1", "--curve-levels")
    refused(omnifeat(*compare, "-o", new, "--curve-levels", "0", "--curve-sizes", ""), "needs sizes")
    refused(omnifeat(*compare, "-o", new, "--classifiers", "interest-classifier"), "make one of these the reference")
    refused(omnifeat(*compare, "-o", new, "--fasttext-loss", "hinge"), "'hinge'", "one-vs-all")
    refused(omnifeat(*compare, "-o", new, "--resamples", "10", "--head", "both"), "both")
    monkeypatch.setitem(sys.modules, "fasttext", None)
    refused(omnifeat(*compare, "-o", new), "pip install fasttext-community")
    monkeypatch.setitem(sys.modules, "hiclass", None)
    refused(omnifeat(*compare, "-o", new, "--classifiers", "hiclass", "--reference", "hiclass"), "pip install hiclass")
    assert not new.exists()


def test_evaluate_takes_a_saved_baseline(data: Path, tmp_path: Path) -> None:
    texts = [f"{word} {one}{two}" for word in KINDS for one in "abcd" for two in "efg"]
    paths = [("food",) if KINDS[text.split()[0]] == "food" else ("animals", KINDS[text.split()[0]]) for text in texts]
    FastTextClassifier(buckets=1000, dim=10, epochs=50).fit(texts, paths).save(tmp_path / "fasttext")
    done = omnifeat("classify", "evaluate", data, "-c", tmp_path / "fasttext", "--json", "--resamples", 20)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["levels"][1]["accuracy"]["value"] > 0.8
    assert found["levels"][1]["commonest"]["value"] < 0.8
    assert found["levels"][0]["figures"]["micro"]["f1"] > 0.8
    refused(omnifeat("classify", "evaluate", data, "-c", tmp_path / "none"), "no classifier folder")
