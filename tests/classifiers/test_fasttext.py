import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from classifiers.answers import level_precisions
from classifiers.fasttext_classifier import LOSSES, DivergedError, FastTextClassifier, fasttext_lines
from classifiers.fasttext_tuning import GRID, Trial, tune_fasttext
from classifiers.loading import load_any, takes_text
from classifiers.logistic import TfidfLogisticClassifier
from omnifeat.errors import DataError, MissingDependencyError, SettingError

SMALL = {"buckets": 500, "dim": 8, "epochs": 40}
# Five nodes: animals (birds, fish), food; some queries end at animals.
WORDS = {
    ("animals", "birds"): ("owl", "duck", "heron"),
    ("animals", "fish"): ("shark", "trout", "carp"),
    ("animals",): ("creature", "beast"),
    ("food",): ("bread", "plum", "soup"),
}
TEXTS = [f"{word} {suffix}" for words in WORDS.values() for word in words for suffix in ("one", "two", "red")]
PATHS = [path for path, words in WORDS.items() for _ in words for _ in range(3)]


@pytest.mark.parametrize("target", ["paths", "levels"])
@pytest.mark.parametrize("loss", LOSSES)
def test_levels_of_a_five_node_tree(loss: str, target: str) -> None:
    classifier = FastTextClassifier(loss=loss, target=target, **SMALL).fit(TEXTS, PATHS)
    assert classifier.classes_at(0) == [("animals",), ("food",)]
    assert classifier.classes_at(1) == [("animals", "birds"), ("animals", "fish")]
    top, below = classifier.predict_levels(TEXTS)
    assert (top == classifier.predict_proba(TEXTS, 0)).all()
    assert (below == classifier.predict_proba(TEXTS, 1)).all()
    for shares in (top, below):
        assert ((shares >= 0) & (shares <= 1)).all()
    if target == "paths" and loss != "one-vs-all":
        assert (below.sum(axis=1) <= top[:, 0] + 1e-9).all()
        assert top.sum(axis=1) == pytest.approx(1, abs=1e-3)
    if target == "paths":
        assert (below.max(axis=1) <= top[:, 0] + 1e-9).all()
    truth = [(path,) for path in PATHS]
    assert min(level_precisions(classifier, TEXTS, truth)) > 0.9
    # a path may end in the middle of the tree
    assert classifier.predict(["creature one"]) == [("animals",)]
    assert classifier.predict(["owl one"], 1) == [("animals", "birds")]


@pytest.mark.parametrize("loss", ["softmax", "one-vs-all"])
def test_probabilities_are_fasttexts_own(loss: str) -> None:
    classifier = FastTextClassifier(loss=loss, **SMALL).fit(TEXTS, PATHS)
    (head,) = classifier.heads_
    own = head._by_library(fasttext_lines(TEXTS))
    # fastText adds 1e-5 to each logarithm, and reads its sigmoid from a table of 512
    assert head.probabilities(fasttext_lines(TEXTS)) == pytest.approx(own, abs=2e-5 if loss == "softmax" else 2e-2)


@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.randoms(use_true_random=False))
def test_neither_the_order_of_rows_nor_of_what_is_asked_matters(random: object) -> None:
    first = FastTextClassifier(**SMALL).fit(TEXTS, PATHS)
    order = list(range(len(TEXTS)))
    random.shuffle(order)  # type: ignore[attr-defined]
    second = FastTextClassifier(**SMALL).fit([TEXTS[row] for row in order], [PATHS[row] for row in order])
    shares = first.predict_proba(TEXTS, 1)
    assert (shares == second.predict_proba(TEXTS, 1)).all()
    assert (shares[order] == first.predict_proba([TEXTS[row] for row in order], 1)).all()
    assert (shares[:1] == first.predict_proba(TEXTS[:1], 1)).all()


def test_another_seed_is_another_classifier() -> None:
    one, other = (FastTextClassifier(seed=seed, **SMALL).fit(TEXTS, PATHS) for seed in (0, 1))
    assert (one.predict_proba(TEXTS, 0) != other.predict_proba(TEXTS, 0)).any()


def test_several_interests_of_a_query() -> None:
    both = [[("animals", "birds"), ("food",)] if text.startswith("duck") else path for text, path in
            zip(TEXTS, PATHS, strict=True)]  # fmt: skip
    classifier = FastTextClassifier(loss="one-vs-all", buckets=500, dim=8, epochs=200).fit(TEXTS, both)
    duck, shark = classifier.predict_proba(["duck", "shark"], 0)
    assert duck.min() > 0.5  # of animals and of food
    assert shark[0] > 0.5 > shark[1]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Two\nlines\r\nhere", "two lines here"),
        ("__label__000000001 owl", "label__000000001 owl"),
        ("__label____label__x", "label____label__x"),
        ("before </s> after", "before < /s > after"),
        ("a\x00b\x0bc\u2028d", "a b c d"),
        ("", ""),
    ],
)
def test_what_fasttext_would_misread(text: str, line: str) -> None:
    assert fasttext_lines([text]) == [line]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | st.sampled_from(["__label__", "</s>", "a __label__b </s>\n c"]))
def test_lines_hold_no_label_no_end_and_no_break(text: str) -> None:
    (line,) = fasttext_lines([text])
    words = line.split()
    assert line == " ".join(words)
    assert not any(word.startswith("__label__") or word == "</s>" for word in words)
    assert not any(ord(letter) < 32 for letter in line)


def test_text_that_looks_like_a_label_does_not_teach_it() -> None:
    texts = [*TEXTS, "__label__000000003 owl"]
    classifier = FastTextClassifier(**SMALL).fit(texts, [*PATHS, ("animals", "birds")])
    assert [len(labels) for labels in classifier.labels_] == [4]
    assert len(classifier.heads_[0].model.get_labels()) == 4
    assert classifier.predict(["__label__000000003 owl one"], 1) == [("animals", "birds")]


@pytest.mark.parametrize("loss", LOSSES)
def test_save_and_load(loss: str, tmp_path: Path) -> None:
    classifier = FastTextClassifier(loss=loss, target="levels", **SMALL).fit(TEXTS, PATHS)
    classifier.save(tmp_path / "saved")
    assert {file.suffix for file in (tmp_path / "saved").iterdir()} == {".bin", ".json"}
    loaded = load_any(tmp_path / "saved")
    assert takes_text(loaded)
    assert loaded.get_params() == classifier.get_params()
    assert loaded.predict(TEXTS) == classifier.predict(TEXTS)
    for one, two in zip(loaded.predict_levels(TEXTS), classifier.predict_levels(TEXTS), strict=True):
        assert (one == two).all()


def test_a_changed_folder_is_refused(tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    FastTextClassifier(**SMALL).fit(TEXTS, PATHS).save(saved)
    with pytest.raises(DataError, match=r"of kind 'fasttext', not 'tfidf-logistic'"):
        TfidfLogisticClassifier.load(saved)
    tree = json.loads((saved / "classifier.json").read_text())
    (saved / "classifier.json").write_text(json.dumps({**tree, "format_version": 9}))
    with pytest.raises(DataError, match="format version 9"):
        FastTextClassifier.load(saved)
    (saved / "classifier.json").write_text(json.dumps(tree))
    with (saved / "model_0.bin").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(DataError, match=r"model_0\.bin was changed"):
        FastTextClassifier.load(saved)
    (saved / "model_0.bin").unlink()
    with pytest.raises(DataError, match=r"no file 'model_0\.bin'"):
        FastTextClassifier.load(saved)
    with pytest.raises(DataError, match="no classifier folder"):
        FastTextClassifier.load(tmp_path / "absent")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"loss": "hinge"}, "no loss 'hinge'"),
        ({"target": "leaves"}, "no target 'leaves'"),
        ({"epochs": 0}, "'epochs'"),
        ({"char_ngrams": (5, 3)}, "'char_ngrams'"),
        ({"char_ngrams": (0, 3)}, "'char_ngrams'"),
        ({"learning_rate": 0.0}, "'learning_rate'"),
        ({"buckets": 0}, "'buckets'"),
    ],
)
def test_wrong_settings(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        FastTextClassifier(**wrong).fit(TEXTS, PATHS)  # type: ignore[arg-type]


def test_wrong_input(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = FastTextClassifier(**SMALL)
    with pytest.raises(NotFittedError):
        classifier.predict(TEXTS)
    with pytest.raises(DataError, match="Row 2 of the queries is null"):
        classifier.fit(["owl", None], PATHS[:2])
    with pytest.raises(DataError, match="single text"):
        classifier.fit("owl", PATHS[:1])
    with pytest.raises(DataError, match="each of the 2 queries; got 1"):
        classifier.fit(TEXTS[:2], PATHS[:1])
    with pytest.raises(DataError, match="row 2 must be a path"):
        classifier.fit(TEXTS[:2], [("food",), ()])
    with pytest.raises(DataError, match="no queries"):
        classifier.fit([], [])
    with pytest.raises(DataError, match=r"Queries must be one column; got a table .* such as table\['query'\]"):
        classifier.fit(pd.DataFrame({"query": TEXTS[:2]}), PATHS[:2])
    with pytest.raises(DataError, match="Row 1 of the queries is not valid Unicode"):
        classifier.fit(["mug \ud83d"], PATHS[:1])
    for labels in ([1, 2], ["food", None], [("food",), ("\ud83d",)], [("food",), (3,)], [("food",), float("nan")]):
        with pytest.raises(DataError, match="interests of row [12] must be a path"):
            classifier.fit(TEXTS[:2], labels)
    for labels in (7, {"a": 1, "b": 2}, pd.DataFrame({"path": PATHS[:2]}), "ab"):
        with pytest.raises(DataError, match="Interests must"):
            classifier.fit(TEXTS[:2], labels)
    fitted = clone(classifier).fit(TEXTS, PATHS)
    with pytest.raises(SettingError, match="no level 2; the classifier has levels 0 to 1"):
        fitted.predict_proba(TEXTS, 2)
    monkeypatch.setitem(sys.modules, "fasttext", None)
    with pytest.raises(MissingDependencyError, match="pip install fasttext-community"):
        classifier.fit(TEXTS, PATHS)


def test_one_class_is_certain(tmp_path: Path) -> None:
    classifier = FastTextClassifier(**SMALL).fit(["owl", "duck"], [("animals",), ("animals",)])
    assert classifier.predict_proba(["anything"], 0).tolist() == [[1.0]]
    classifier.save(tmp_path / "saved")
    assert FastTextClassifier.load(tmp_path / "saved").predict(["x"]) == [("animals",)]


def test_tuning_keeps_the_best_trial() -> None:
    truth = [(path,) for path in PATHS]
    grid = [{"epochs": 1, "learning_rate": 0.01}, {"epochs": 60, "learning_rate": 0.5}]
    seen = []
    tuned = tune_fasttext(
        TEXTS,
        PATHS,
        TEXTS,
        truth,
        grid=grid,
        steps=[{"learning_rate": 0.5}, {"dim": 4}],
        on_trial=seen.append,
        buckets=500,
    )
    # the first step is the second trial again: it is not made twice
    assert [trial.settings for trial in tuned.trials] == [*grid, {**grid[1], "dim": 4}]
    assert seen == list(tuned.trials)
    best = max(tuned.trials, key=lambda trial: trial.precision)
    assert tuned.settings == best.settings
    assert np.mean(level_precisions(tuned.classifier, TEXTS, truth)) == pytest.approx(best.precision)
    assert tuned.classifier.get_params()["epochs"] == 60
    with pytest.raises(SettingError, match="grid"):
        tune_fasttext(TEXTS, PATHS, TEXTS, truth, grid=[])
    with pytest.raises(SettingError, match="no development queries"):
        tune_fasttext(TEXTS, PATHS, [], [])


def test_trials_may_run_side_by_side_and_go_on_from_known_ones() -> None:
    truth = [(path,) for path in PATHS]
    grid = [{"epochs": epochs, "learning_rate": 0.5} for epochs in (1, 40, 60)]
    arguments = {"grid": grid, "steps": [{"dim": 4}, {"dim": 6}], "buckets": 500}
    one = tune_fasttext(TEXTS, PATHS, TEXTS, truth, **arguments)
    new: list[Trial] = []
    two = tune_fasttext(TEXTS, PATHS, TEXTS, truth, **arguments, at_once=3, on_trial=new.append)
    assert two.trials == one.trials
    assert sorted(trial.settings["epochs"] for trial in new[:3]) == [1, 40, 60]
    assert two.classifier.predict_proba(TEXTS, 1).tolist() == one.classifier.predict_proba(TEXTS, 1).tolist()
    for known in (one.trials[:2], one.trials):
        new.clear()
        three = tune_fasttext(TEXTS, PATHS, TEXTS, truth, **arguments, known=known, on_trial=new.append)
        assert new == list(one.trials[len(known) :])
        assert three.trials == one.trials
        assert three.settings == one.settings
        assert three.classifier.predict_proba(TEXTS, 1).tolist() == one.classifier.predict_proba(TEXTS, 1).tolist()
    bad = [*grid, {"learning_rate": -1.0}]
    with pytest.raises(SettingError, match="learning_rate"):
        tune_fasttext(TEXTS, PATHS, TEXTS, truth, grid=bad, at_once=2, buckets=500)
    with pytest.raises(SettingError, match="one trial of FastText must run at a time; got 0"):
        tune_fasttext(TEXTS, PATHS, TEXTS, truth, grid=grid, at_once=0)


def test_a_trial_that_diverges_is_told_and_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = FastTextClassifier.fit

    def fit_or_diverge(classifier: FastTextClassifier, *arguments: Any) -> Any:
        if classifier.learning_rate == 1.0:
            raise DivergedError("Training of fastText diverged at a learning rate of 1.0; choose a lower one.")
        return fit(classifier, *arguments)

    monkeypatch.setattr(FastTextClassifier, "fit", fit_or_diverge)
    truth = [(path,) for path in PATHS]
    grid = [{"epochs": 5, "learning_rate": 1.0}, {"epochs": 40, "learning_rate": 0.5}]
    for at_once in (1, 2):
        tuned = tune_fasttext(
            TEXTS, PATHS, TEXTS, truth, grid=grid, steps=[{"learning_rate": 1.0}], buckets=500, at_once=at_once
        )
        assert [trial.precision is None for trial in tuned.trials] == [True, False, True]
        assert tuned.settings == grid[1]
    with pytest.raises(SettingError, match="diverged in every trial"):
        tune_fasttext(TEXTS, PATHS, TEXTS, truth, grid=grid[:1], steps=())


def test_an_interrupt_does_not_wait_for_a_trial(tmp_path: Path) -> None:
    code = (
        "import threading\n"
        "from classifiers.fasttext_classifier import FastTextClassifier\n"
        "from classifiers.fasttext_tuning import tune_fasttext\n"
        "def fit(classifier, *arguments):\n"
        "    if classifier.dim == 2:\n"
        "        raise KeyError('broken')\n"
        "    threading.Event().wait()  # as a training that takes hours\n"
        "FastTextClassifier.fit = fit\n"
        "tune_fasttext(['a'], [('x',)], ['a'], [(('x',),)], grid=[{'dim': 1}, {'dim': 2}], steps=(), at_once=2)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=120, cwd=root
    )
    assert done.returncode == 1
    assert "KeyError: 'broken'" in done.stderr


def test_settings_are_checked_before_the_library_sees_them(tmp_path: Path) -> None:
    for name, value in (
        ("seed", -1), ("seed", 2**31), ("buckets", 2**31), ("epochs", 2.5), ("learning_rate", "fast"),
        ("learning_rate", float("nan")), ("char_ngrams", (3,)), ("char_ngrams", None), ("char_ngrams", (2, "x")),
    ):  # fmt: skip
        with pytest.raises(SettingError, match=f"'{name}' setting of FastTextClassifier"):
            FastTextClassifier(**{name: value}).check_settings()
    fitted = FastTextClassifier(**{**SMALL, "epochs": np.int64(3), "dim": np.int32(4)}).fit(TEXTS, PATHS)
    fitted.save(tmp_path / "saved")
    assert FastTextClassifier.load(tmp_path / "saved").get_params()["epochs"] == 3


def test_the_stated_grid_holds_the_strong_setting_of_few_epochs() -> None:
    assert GRID[0] == {"char_ngrams": (3, 5), "word_ngrams": 2, "epochs": 25, "learning_rate": 0.5, "dim": 100}
    assert len(GRID) == 8
