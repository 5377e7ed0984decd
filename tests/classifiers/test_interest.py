"""The estimator: what it learns, what it answers, and what it refuses."""

import json
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from classifiers.interest import InterestClassifier
from classifiers.taxonomy import Taxonomy
from omnifeat.data.seals import SEAL
from omnifeat.errors import DataError, FingerprintError, OutputError, SettingError
from omnifeat.frozen import FrozenEncoder

PATHS = [
    ("animals", "birds"),
    ("animals", "fish", "sharks"),
    ("animals", "fish", "trout"),
    ("animals",),
    ("food", "fruit"),
    ("travel",),
]


def queries(seed: int = 0, each: int = 12, width: int = 8) -> tuple[np.ndarray, list[tuple[str, ...]]]:
    """Embeddings around one centre per path, the centres of siblings near each other."""
    rng = np.random.default_rng(seed)
    shared = {path[:depth]: rng.normal(size=width) for path in PATHS for depth in range(1, 4)}
    paths = [path for path in PATHS for _ in range(each)]
    centres = np.array([sum(shared[path[:depth]] for depth in range(1, len(path) + 1)) for path in paths])
    return centres + 0.3 * np.random.default_rng(seed + 1).normal(size=centres.shape), paths


HEADS = ("levels", "global")


def quick(**options: object) -> InterestClassifier:
    """One that is fitted in a moment: nothing is searched for."""
    settings = {"inverse_regularisation": 1.0, "calibration": 0.0, "threads": 1}
    return InterestClassifier(**{**settings, **options})  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=[(head, labels) for head in HEADS for labels in ("one", "several")])
def fitted(request: pytest.FixtureRequest) -> InterestClassifier:
    head, labels = request.param
    embeddings, paths = queries()
    texts = [f"query {row}" for row in range(len(paths))]
    return InterestClassifier(head=head, labels=labels, encoder_fingerprint="aaaa", threads=1).fit(
        embeddings, paths, queries=texts
    )


def test_it_finds_the_interests_of_queries_it_never_saw(fitted: InterestClassifier) -> None:
    embeddings, paths = queries(seed=0, each=40)
    unseen, truth = embeddings[12::13], paths[12::13]
    assert set(truth) == set(PATHS)  # ("animals",) among them, which is no leaf
    assert np.mean([one == other for one, other in zip(fitted.predict(unseen), truth, strict=True)]) > 0.9
    assert np.mean([one == (other,) for one, other in zip(fitted.predict_several(unseen), truth, strict=True)]) > 0.8
    assert fitted.score(unseen, truth) > 0.8
    top = fitted.top_paths(unseen, 2)
    assert [best[0][0] for best in top] == fitted.predict(unseen)
    assert all(best[0][1] >= best[1][1] for best in top)


FINITE = st.floats(-30, 30, width=32)


@settings(deadline=None, max_examples=30)
@given(arrays(np.float32, (5, 8), elements=FINITE), st.permutations(range(5)))
def test_a_row_does_not_depend_on_the_others(
    fitted: InterestClassifier, embeddings: np.ndarray, order: list[int]
) -> None:
    together = fitted.predict_proba(embeddings)
    assert ((together >= 0) & (together <= 1)).all()
    tree = fitted.tree_
    below = tree.parents >= 0
    assert (together[:, below] <= together[:, tree.parents[below]]).all()
    alone = np.concatenate([fitted.predict_proba(embeddings[row : row + 1]) for row in range(5)])
    np.testing.assert_allclose(alone, together, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(fitted.predict_proba(embeddings[order]), together[order], rtol=1e-3, atol=1e-6)


def test_middle_interests_have_a_share_of_their_own(fitted: InterestClassifier) -> None:
    embeddings, paths = queries()
    ending = np.array([path == ("animals",) for path in paths])
    nodes = fitted.predict_proba(embeddings[ending])
    place = fitted.tree_.place
    below = nodes[:, [place[path] for path in fitted.classes_at(1) if path[0] == "animals"]]
    assert (nodes[:, place[("animals",)]] > 0.5).all()
    assert (below < 0.5).all()


@settings(deadline=None, max_examples=6)
@given(st.sampled_from(HEADS), st.sampled_from(["one", "several"]), st.permutations(range(36)))
def test_the_order_of_rows_does_not_matter(head: str, labels: str, order: list[int]) -> None:
    embeddings, paths = queries(each=6, width=4)
    one = quick(head=head, labels=labels, calibration=0.3).fit(embeddings, paths)
    other = quick(head=head, labels=labels, calibration=0.3).fit(embeddings[order], [paths[row] for row in order])
    np.testing.assert_array_equal(one.predict_proba(embeddings), other.predict_proba(embeddings))


@settings(deadline=None, max_examples=6)
@given(st.sampled_from(HEADS), st.sampled_from(["one", "several"]), st.permutations(range(7)))
def test_the_order_of_classes_does_not_matter(head: str, labels: str, order: list[int]) -> None:
    embeddings, paths = queries(each=6, width=4)
    names = ["animals", "birds", "fish", "sharks", "trout", "food", "fruit"]
    renamed = dict(zip(names, (f"name {place}" for place in order), strict=True)) | {"travel": "travel"}
    others = [tuple(renamed[name] for name in path) for path in paths]
    one = quick(head=head, labels=labels, calibration=0.3).fit(embeddings, paths)
    other = quick(head=head, labels=labels, calibration=0.3).fit(embeddings, others)
    columns = [other.tree_.place[tuple(renamed[name] for name in node)] for node in one.tree_.nodes]
    np.testing.assert_allclose(other.predict_proba(embeddings)[:, columns], one.predict_proba(embeddings), atol=2e-3)


def test_the_head_of_less_held_out_loss_is_kept(tmp_path: Path) -> None:
    embeddings, paths = queries(each=30)
    alone = {head: InterestClassifier(head=head, threads=1).fit(embeddings, paths) for head in HEADS}
    chosen = InterestClassifier(threads=1).fit(embeddings, paths)
    assert chosen.heads_tried_ == {head: one.heads_tried_[head] for head, one in alone.items()}
    assert chosen.heads_tried_[chosen.head_.name] == min(chosen.heads_tried_.values())
    for head, one in alone.items():
        assert one.heads_tried_[head] == min(one.tried_.values())
    kept = alone[chosen.head_.name]
    assert np.array_equal(chosen.predict_proba(embeddings), kept.predict_proba(embeddings))
    chosen.save(tmp_path / "classifier")
    loaded = InterestClassifier.load(tmp_path / "classifier")
    assert loaded.heads_tried_ == chosen.heads_tried_
    assert loaded.get_params()["head"] == "auto"
    # with nothing held out there is nothing to choose by
    assert quick().fit(embeddings, paths).head_.name == "global"
    given = InterestClassifier(inverse_regularisation=1.0, threads=1).fit(embeddings, paths)
    assert set(given.heads_tried_) == set(HEADS)


@pytest.mark.parametrize("head", HEADS)
def test_several_interests_of_a_query(head: str) -> None:
    embeddings, paths = queries()
    has_travel = np.arange(len(paths)) % 2 == 1
    # What travels lies elsewhere in a dimension of its own.
    wider = np.column_stack([embeddings, np.where(has_travel, 4.0, -4.0)])
    several = [[path, ("travel",)] if travels else path for path, travels in zip(paths, has_travel, strict=True)]
    fitted = quick(head=head).fit(wider, several)
    assert fitted.several_
    found = fitted.predict_several(wider)
    wanted = [{path, ("travel",)} if travels else {path} for path, travels in zip(paths, has_travel, strict=True)]
    assert np.mean([set(one) == two for one, two in zip(found, wanted, strict=True)]) > 0.9
    with pytest.raises(SettingError, match="Row 2 has 2 interests, but labels is 'one'"):
        quick(labels="one").fit(wider, several)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    "paths", [[("a", "b")], [("a", "b"), ("a", "c")], [("a",), ("b",), ("a", "c")], [("a",), ("a", "b"), ("a", "c")]]
)
def test_one_example_of_a_class_is_enough(head: str, paths: list[tuple[str, ...]]) -> None:
    embeddings = np.eye(3)[: len(paths)]
    classifier = InterestClassifier(head=head, inverse_regularisation=100.0, threads=1).fit(embeddings, paths)
    assert classifier.predict(embeddings) == paths
    assert classifier.held_out_ == 0  # no class can do without one of its queries


def test_held_out_queries_calibrate() -> None:
    # Two classes that overlap: the middle is uncertain, and what is said of it must come true as often.
    rng = np.random.default_rng(1)
    sides = rng.integers(0, 2, 3000)
    embeddings = rng.normal(size=(3000, 4)) + np.where(sides, 0.5, -0.5)[:, None]
    paths = [("a",) if side else ("b",) for side in sides]
    wide = np.column_stack([embeddings, rng.normal(size=(3000, 60))])
    said = {}
    for calibration in (0.0, 0.3):
        fitted = quick(inverse_regularisation=100.0, calibration=calibration).fit(wide[:150], paths[:150])
        share = fitted.predict_proba(wide[150:])[:, 0]
        said[calibration] = -np.log(np.where(sides[150:], share, 1 - share) + 1e-9).mean()
    assert said[0.3] < 0.7 * said[0.0]


def test_regularisation_is_chosen_on_held_out_queries() -> None:
    embeddings, paths = queries(each=10)
    fitted = InterestClassifier(threads=1).fit(embeddings, paths)
    assert fitted.held_out_ == 12
    assert fitted.inverse_regularisation_ == min(fitted.tried_, key=fitted.tried_.__getitem__)
    assert len(fitted.tried_) > 1


def test_thresholds_reach_the_wanted_precision_and_abstain() -> None:
    rng = np.random.default_rng(3)
    sides = rng.integers(0, 3, 900)
    embeddings = np.eye(3)[sides] + 0.7 * rng.normal(size=(900, 3))
    paths = [(("a", "x"), ("a", "y"), ("b",))[side] for side in sides]
    fitted = quick(head="global").fit(embeddings[:300], paths[:300])
    plain = fitted.predict(embeddings[600:])
    fitted.choose_thresholds(embeddings[300:600], paths[300:600], precision=0.9)
    found, truth = fitted.predict(embeddings[300:600]), paths[300:600]
    for node in fitted.tree_.nodes:
        named = [true[: len(node)] == node for one, true in zip(found, truth, strict=True) if one[: len(node)] == node]
        assert not named or np.mean(named) >= 0.9
    unseen = fitted.predict(embeddings[600:])
    answered = [one for one in unseen if one]
    assert 50 < len(answered) < 300  # some abstain
    assert any(one == ("a",) for one in unseen)  # and some stop in the middle
    right = [one == true[: len(one)] for one, true in zip(unseen, paths[600:], strict=True) if one]
    assert np.mean(right) > np.mean([one == true for one, true in zip(plain, paths[600:], strict=True)]) + 0.05
    steps = fitted.decision_path(embeddings[600:])
    assert [sum(step.accepted for step in of_query) for of_query in steps] == [len(one) for one in unseen]
    with pytest.raises(SettingError, match="above 0 and at most 1; got 2"):
        fitted.choose_thresholds(embeddings, paths, precision=2)
    with pytest.raises(SettingError, match="at least 20 development queries; got 5"):
        fitted.choose_thresholds(embeddings[:5], paths[:5], precision=0.9)
    with pytest.raises(DataError, match="No development query has an interest that the classifier knows"):
        fitted.choose_thresholds(embeddings[:30], [("z",)] * 30, precision=0.9)


def test_what_is_explained_is_near(fitted: InterestClassifier) -> None:
    embeddings, paths = queries()
    assert fitted.examples_ is not None
    assert len(fitted.examples_.rows) == 10 * len(PATHS)
    kept = int(fitted.examples_.rows[7])
    nearest = fitted.explain(embeddings[[kept]], 3)[0]
    assert (nearest[0].row, nearest[0].query, nearest[0].paths) == (kept, f"query {kept}", (paths[kept],))
    assert nearest[0].cosine == pytest.approx(1, abs=1e-5)
    assert nearest[0].cosine >= nearest[1].cosine >= nearest[2].cosine
    with pytest.raises(SettingError, match="No training queries were kept"):
        quick(examples_kept=0).fit(embeddings, paths).explain(embeddings)


ANIMALS = Taxonomy.from_parents({"animals": None, "birds": "animals", "fish": "animals", "food": None})


def test_labels_may_be_ids_of_a_taxonomy() -> None:
    embeddings = np.eye(4)
    labels = ["birds", "fish", "food", ["animals", "fish"]]
    fitted = quick(taxonomy=ANIMALS).fit(embeddings, labels)
    assert fitted.classes_at(1) == [("animals", "birds"), ("animals", "fish")]
    assert fitted.unseen_ == ()
    with pytest.raises(DataError, match="'cats' is not in table interests"):
        quick(taxonomy=ANIMALS).fit(embeddings, [*labels[:3], "cats"])
    with pytest.raises(DataError, match="The path 'food > fish' of row 4 is not in the taxonomy"):
        quick(taxonomy=ANIMALS).fit(embeddings, [*labels[:3], ("food", "fish")])
    lists = quick(taxonomy=ANIMALS).fit(embeddings[:3], [["birds", "food"], ["fish"], ["animals", "fish"]])
    assert lists.several_
    assert lists.tree_.nodes == (("animals",), ("food",), ("animals", "birds"), ("animals", "fish"))
    with pytest.raises(
        DataError, match="Interest 'fish' of the taxonomy has no query to learn from, nor have 1 others"
    ):
        quick(taxonomy=ANIMALS).fit(embeddings[:1], ["birds"])
    assert quick(taxonomy=ANIMALS, unseen="leave").fit(embeddings[:1], ["birds"]).unseen_ == ("fish", "food")


class LetterEncoder:
    """Stands in for a frozen encoder: counts of letters."""

    fingerprint = "letters"

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([[text.count(letter) for letter in "abcdefghij"] for text in texts], np.float32)


def test_queries_may_be_text_with_an_encoder() -> None:
    texts, paths = ["aab", "abb", "ccd", "cdd"], [("one",), ("one",), ("two",), ("two",)]
    fitted = quick(encoder=LetterEncoder()).fit(texts, paths)
    assert fitted.encoder_fingerprint_ == "letters"
    assert fitted.predict(["aaa", "ddd"]) == [("one",), ("two",)]
    assert fitted.explain(["aab"], 1)[0][0].query == "aab"
    for column in (pd.Series(texts), pl.Series(texts), pa.array(texts), np.array(texts)):
        assert fitted.predict(column) == paths
    vectors = LetterEncoder().encode_queries(texts)
    for table in (pd.DataFrame(vectors), pl.DataFrame(vectors)):
        assert fitted.predict(table) == paths
    fitted.encoder_fingerprint_ = "another"
    with pytest.raises(FingerprintError, match="encoder another, but these are of encoder letters"):
        fitted.predict(texts)
    with pytest.raises(SettingError, match="as text, but there is no encoder"):
        quick().fit(texts, paths)
    with pytest.raises(DataError, match="Row 2 of the queries is null"):
        quick(encoder=LetterEncoder()).fit(["aab", None], paths[:2])
    with pytest.raises(DataError, match="got the single text 'aab'"):
        fitted.predict("aab")
    for table in (pd.DataFrame({"query": texts}), pl.DataFrame({"query": texts}), {"query": texts}):
        with pytest.raises(DataError, match="Queries must be one column; got a table"):
            fitted.predict(table)
    with pytest.raises(DataError, match="got a set"):
        fitted.predict({"aab"})
    with pytest.raises(DataError, match="not valid Unicode"):
        fitted.predict(["aab", "\ud83d"])
    assert fitted.predict([]) == []
    assert fitted.predict_proba([]).shape == (0, 2)


def test_an_encoder_named_by_its_path_is_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def open_one(path: str, **options: object) -> LetterEncoder:
        opened.append(path)
        return LetterEncoder()

    monkeypatch.setattr(FrozenEncoder, "from_pretrained", open_one)
    texts, paths = ["aab", "abb", "ccd", "cdd"], [("one",), ("one",), ("two",), ("two",)]
    fitted = quick(encoder="letters").fit(texts, paths)
    assert fitted.predict(texts) == paths
    assert fitted.score(texts, paths) == 1.0
    assert opened == ["letters"]
    copied = pickle.loads(pickle.dumps(fitted))  # as a pool of processes does; it takes no encoder along
    assert "_opened" not in vars(copied)
    assert copied.predict(texts) == paths
    assert opened == ["letters", "letters"]
    fitted.set_params(encoder=["others"])
    assert fitted.predict(texts) == paths
    assert opened == ["letters", "letters", "others"]
    fitted.fit(texts, paths)  # another encoder may lie there by now
    assert opened == ["letters", "letters", "others", "others"]


@pytest.mark.parametrize(
    ("embeddings", "paths", "sentence"),
    [
        (np.zeros((2, 3)), [("a",)], "one path for each of the 2 embeddings; got 1"),
        (np.zeros((2, 3)), [("a",), "ab"], "path of row 2 must be a tuple of names"),
        (np.zeros((2, 3)), [("a",), ()], "path of row 2"),
        (np.zeros((2, 3)), [("a", ""), ("a",)], "path of row 1"),
        (np.zeros(3), [("a",)] * 3, r"shape \(queries, width\); got \(3,\)"),
        (np.zeros((0, 3)), [], "no embeddings to learn from"),
        (np.array([[0.0, 1.0], [np.nan, 1.0]]), [("a",), ("b",)], "embedding in row 2 holds NaN"),
        ([["a"]], [("a",)], "must be an array of numbers"),
    ],
)
def test_input_that_does_not_fit_is_refused(embeddings: object, paths: list[tuple[str, ...]], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        quick().fit(embeddings, paths)


def test_weights_levels_settings_and_width_are_checked(fitted: InterestClassifier) -> None:
    with pytest.raises(DataError, match="above zero"):
        quick().fit(np.eye(2), [("a",), ("b",)], sample_weight=[1, 0])
    with pytest.raises(SettingError, match="no level 3; the classifier has levels 0 to 2"):
        fitted.predict_proba(np.zeros((1, 8)), 3)
    with pytest.raises(DataError, match="Sample weights must be 2 numbers"):
        quick().fit(np.eye(2), [("a",), ("b",)], sample_weight=["much", "more"])
    for name, value in (
        ("inverse_regularisation", 0), ("inverse_regularisation", float("inf")), ("inverse_regularisation", "much"),
        ("head", "flat"), ("labels", "two"), ("calibration", 0.6), ("calibration", "some"), ("taxonomy", "folder"),
    ):  # fmt: skip
        with pytest.raises(SettingError, match=f"'{name}' setting of InterestClassifier"):
            quick(**{name: value}).fit(np.eye(2), [("a",), ("b",)])
    with pytest.raises(DataError, match="7 wide, but the classifier was trained on width 8"):
        fitted.predict(np.zeros((1, 7)))
    with pytest.raises(NotFittedError):
        clone(fitted).predict(np.zeros((1, 8)))


def test_weights_are_as_repeated_rows() -> None:
    embeddings, paths = queries(each=4)
    twice = quick().fit(np.r_[embeddings, embeddings[:4]], paths + paths[:4])
    weighted = quick().fit(embeddings, paths, sample_weight=np.r_[np.full(4, 2.0), np.ones(len(paths) - 4)])
    plain = quick().fit(embeddings, paths)
    # The scaling differs, as weights have no part in it: compare what each makes of the heavier class.
    share = [one.predict_proba(embeddings[:4], 1)[:, 0].mean() for one in (twice, weighted, plain)]
    assert min(share[:2]) > share[2]


def test_settings_may_be_numbers_of_numpy(tmp_path: Path) -> None:
    settings = {"inverse_regularisation": np.float32(1), "max_iterations": np.int64(5), "examples_kept": np.int32(2)}
    fitted = quick(**settings).fit(np.eye(2), [("a",), ("b",)])
    fitted.save(tmp_path / "saved")
    assert InterestClassifier.load(tmp_path / "saved").get_params()["max_iterations"] == 5


def test_saving_does_not_replace_what_is_no_classifier(tmp_path: Path) -> None:
    fitted = quick().fit(np.eye(2), [("a",), ("b",)])
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(OutputError, match="a folder of something else stands there"):
        fitted.save(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.txt").exists()
    for _ in range(2):
        fitted.save(tmp_path / "saved")


def test_a_saved_classifier_is_the_same(fitted: InterestClassifier, tmp_path: Path) -> None:
    embeddings, paths = queries(seed=3)
    fitted.choose_thresholds(embeddings, paths, precision=0.9)
    fitted.save(tmp_path / "classifier")
    again = InterestClassifier.load(tmp_path / "classifier")
    np.testing.assert_array_equal(again.predict_proba(embeddings), fitted.predict_proba(embeddings))
    assert again.predict(embeddings) == fitted.predict(embeddings)
    assert again.predict_several(embeddings) == fitted.predict_several(embeddings)
    assert again.explain(embeddings[:3]) == fitted.explain(embeddings[:3])
    np.testing.assert_array_equal(again.thresholds_, fitted.thresholds_)
    assert again.levels_ == fitted.levels_
    assert {**again.get_params(), "threads": 1} == fitted.get_params()
    names = sorted(file.name for file in (tmp_path / "classifier").iterdir())
    assert names == ["classifier.json", "classifier.safetensors"]
    with pytest.raises(FingerprintError, match="encoder aaaa, but these are of encoder bbbb"):
        again.predict(embeddings, encoder_fingerprint="bbbb")
    fitted.thresholds_ = None


def test_a_new_process_gives_the_same_probabilities(tmp_path: Path) -> None:
    fitted = quick(taxonomy=ANIMALS, unseen="leave").fit(np.eye(2), ["birds", "food"])
    fitted.save(tmp_path / "classifier")
    program = (
        "import sys, numpy; from classifiers import InterestClassifier; "
        "found = InterestClassifier.load(sys.argv[1]); "
        "print([found.predict_proba(numpy.eye(2)).tolist(), found.taxonomy.path('fish'), found.unseen_])"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "classifier")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str([fitted.predict_proba(np.eye(2)).tolist(), ("animals", "fish"), ("fish",)])


@pytest.mark.parametrize(
    "change", [{"encoder_fingerprint": None}, {"nodes": [["a"], ["c"]]}, {"unseen": ["x"]}, {SEAL: "0"}]
)
def test_an_edited_tree_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "classifier"
    quick(encoder_fingerprint="aaaa").fit(np.eye(2), [("a",), ("b",)]).save(folder)
    written = json.loads((folder / "classifier.json").read_text())
    (folder / "classifier.json").write_text(json.dumps(written | change))
    with pytest.raises(DataError, match=r"classifier\.json was changed after it was saved"):
        InterestClassifier.load(folder)


def test_a_tree_without_a_check_sum_is_loaded_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    quick().fit(np.eye(2), [("a",), ("b",)]).save(tmp_path / "classifier")
    file = tmp_path / "classifier" / "classifier.json"
    written = json.loads(file.read_text())
    file.write_text(json.dumps({name: value for name, value in written.items() if name != SEAL}))
    InterestClassifier.load(tmp_path / "classifier")
    assert "classifier.json has no check sum of itself" in caplog.text


def test_damaged_folders_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "classifier"
    with pytest.raises(DataError, match="There is no classifier folder"):
        InterestClassifier.load(folder)
    quick().fit(np.eye(2), [("a",), ("b",)]).save(folder)
    written = json.loads((folder / "classifier.json").read_text())
    for change, sentence in (
        ({"format_version": 1}, "format version 1, this program reads version 2"),
        ({"nodes": [["a"]]}, "'ends' of .* is uint8 of shape"),
        ({"settings": {"flavour": 1}}, "settings' is wrong at 'flavour'"),
    ):
        (folder / "classifier.json").write_text(json.dumps(written | change))
        with pytest.raises(DataError, match=sentence):
            InterestClassifier.load(folder)
    (folder / "classifier.json").write_text(json.dumps(written))
    numbers = bytearray((folder / "classifier.safetensors").read_bytes())
    numbers[-1] ^= 1
    (folder / "classifier.safetensors").write_bytes(numbers)
    with pytest.raises(DataError, match=r"classifier\.safetensors was changed after it was saved"):
        InterestClassifier.load(folder)
    (folder / "classifier.safetensors").unlink()
    with pytest.raises(DataError, match=r"has no file 'classifier\.safetensors'"):
        InterestClassifier.load(folder)
    (folder / "classifier.json").write_text("[")
    with pytest.raises(DataError, match="is not JSON"):
        InterestClassifier.load(folder)
