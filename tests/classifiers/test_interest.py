import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from classifiers.interest import InterestClassifier, Level
from omnifeat.errors import DataError, FingerprintError, SettingError

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


@pytest.fixture(scope="module")
def fitted() -> InterestClassifier:
    return InterestClassifier().fit(*queries())


def five_nodes() -> InterestClassifier:
    """A tree of five interests over embeddings of width one, with weights set by hand."""
    log = np.log
    no = np.zeros
    classifier = InterestClassifier()
    classifier.levels_ = (
        Level((("a",), ("b",)), no(2, bool), no(2, np.int64), np.array([[0.0], [log(3)]]), no(2)),
        Level(
            (("a", "x"), ("b", "y"), ("b", "z")),
            no(3, bool),
            np.array([0, 1, 1]),
            np.array([[5.0], [0.0], [log(2)]]),
            np.array([7.0, 0.0, log(2)]),
        ),
    )
    classifier.mean_, classifier.scale_, classifier.n_features_in_ = np.array([1.0]), np.array([2.0]), 1
    classifier.encoder_fingerprint_ = None
    return classifier


def test_golden_values_on_a_tree_of_five_nodes() -> None:
    # Embedding 3 is scaled to (3 - 1) / 2 = 1.
    # Root: logits 0 and ln 3, so 1/4 and 3/4. Below a: x is alone, 1. Below b: logits 0 and ln 2 + ln 2 = ln 4,
    # so 1/5 and 4/5. Together: x 1/4, y 3/4 * 1/5 = 0.15, z 3/4 * 4/5 = 0.6.
    classifier = five_nodes()
    np.testing.assert_allclose(classifier.predict_proba([[3.0]], 0), [[0.25, 0.75]], rtol=1e-12)
    np.testing.assert_allclose(classifier.predict_proba([[3.0]], 1), [[0.25, 0.15, 0.6]], rtol=1e-12)
    assert classifier.predict([[3.0]]) == [("b", "z")]
    # Embedding 0 is scaled to -1/2: root 1 and 3^-1/2 = 0.57735, so 0.63397 and 0.36603;
    # below b: logits 0 and ln 2 / 2, so 1 / (1 + 2^1/2) = 0.41421 and 0.58579.
    expected = [[0.6339746, 0.3660254 * 0.4142136, 0.3660254 * 0.5857864]]
    np.testing.assert_allclose(classifier.predict_proba([[0.0]], 1), expected, rtol=1e-6)
    assert classifier.predict([[0.0]], level=1) == [("a", "x")]


def test_one_level_is_multinomial_logistic_regression() -> None:
    embeddings, paths = queries()
    roots = [path[:1] for path in paths]
    ours = InterestClassifier(inverse_regularisation=0.5).fit(embeddings, roots)
    scaled = (embeddings - embeddings.mean(axis=0)) / embeddings.std(axis=0)
    theirs = LogisticRegression(C=0.5, max_iter=1000).fit(scaled, [path[0] for path in roots])
    np.testing.assert_allclose(ours.predict_proba(embeddings, 0), theirs.predict_proba(scaled), atol=1e-6)
    assert [path[0] for path in ours.classes_at(0)] == theirs.classes_.tolist()


def test_it_finds_the_interests_of_queries_it_never_saw(fitted: InterestClassifier) -> None:
    embeddings, paths = queries(seed=0, each=40)
    unseen, truth = embeddings[12::13], paths[12::13]
    found = fitted.predict(unseen)
    assert np.mean([one == other for one, other in zip(found, truth, strict=True)]) > 0.9
    assert set(truth) == set(PATHS)


FINITE = st.floats(-30, 30, width=32)


@settings(deadline=None, max_examples=40)
@given(arrays(np.float32, (3, 8), elements=FINITE))
def test_a_child_never_exceeds_its_parent_and_siblings_never_sum_to_more(
    fitted: InterestClassifier, embeddings: np.ndarray
) -> None:
    np.testing.assert_allclose(fitted.predict_proba(embeddings, 0).sum(axis=1), 1)
    for level in (1, 2):
        above = dict(zip(fitted.classes_at(level - 1), fitted.predict_proba(embeddings, level - 1).T, strict=True))
        sums = {path: np.zeros(3) for path in above}
        for path, share in zip(fitted.classes_at(level), fitted.predict_proba(embeddings, level).T, strict=True):
            assert (share <= above[path[:level]]).all()
            sums[path[:level]] += share
        for path, total in sums.items():
            assert (total <= above[path] * (1 + 1e-9)).all()


@settings(deadline=None, max_examples=40)
@given(arrays(np.float32, (5, 8), elements=FINITE), st.permutations(range(5)))
def test_a_row_does_not_depend_on_the_others(
    fitted: InterestClassifier, embeddings: np.ndarray, order: list[int]
) -> None:
    for level in (0, 1, 2):
        together = fitted.predict_proba(embeddings, level)
        alone = np.concatenate([fitted.predict_proba(embeddings[row : row + 1], level) for row in range(5)])
        np.testing.assert_allclose(alone, together, rtol=1e-9, atol=1e-15)
        np.testing.assert_allclose(
            fitted.predict_proba(embeddings[order], level), together[order], rtol=1e-9, atol=1e-15
        )


@settings(deadline=None, max_examples=40)
@given(arrays(np.float32, (4, 8), elements=FINITE))
def test_predictions_are_whole_paths_of_the_tree(fitted: InterestClassifier, embeddings: np.ndarray) -> None:
    assert set(fitted.predict(embeddings)) <= set(PATHS)
    for level in (0, 1, 2):
        best = fitted.predict_proba(embeddings, level).argmax(axis=1)
        assert fitted.predict(embeddings, level) == [fitted.classes_at(level)[column] for column in best]


def test_an_interest_where_queries_end_keeps_its_share() -> None:
    embeddings, paths = queries()
    ending = np.array([path == ("animals",) for path in paths])
    fitted = InterestClassifier(inverse_regularisation=10.0).fit(embeddings, paths)
    top = fitted.predict_proba(embeddings, 0)[:, fitted.classes_at(0).index(("animals",))]
    below = fitted.predict_proba(embeddings, 1)[:, [path[0] == "animals" for path in fitted.classes_at(1)]].sum(axis=1)
    assert (below[ending] < 0.5 * top[ending]).all()
    assert fitted.predict(embeddings[ending])[0] == ("animals",)


def test_classes_are_paths_so_that_names_may_repeat() -> None:
    embeddings = np.array([[0.0, 1.0], [0.0, 2.0], [1.0, 0.0], [2.0, 0.0]])
    paths = [("food", "other"), ("food", "other"), ("animals", "other"), ("animals", "birds")]
    classifier = InterestClassifier().fit(embeddings, paths)
    assert classifier.classes_at(0) == [("animals",), ("food",)]
    assert classifier.classes_at(1) == [("animals", "birds"), ("animals", "other"), ("food", "other")]


def test_an_only_child_has_its_parents_probability() -> None:
    embeddings, paths = queries()
    classifier = InterestClassifier().fit(embeddings, paths)
    food = classifier.predict_proba(embeddings, 0)[:, classifier.classes_at(0).index(("food",))]
    fruit = classifier.predict_proba(embeddings, 1)[:, classifier.classes_at(1).index(("food", "fruit"))]
    np.testing.assert_array_equal(food, fruit)


@pytest.mark.parametrize(
    ("paths", "first"),
    [([("a", "b")], ("a", "b")), ([("a", "b"), ("a", "c")], None), ([("a",), ("b",), ("a", "c")], None)],
)
def test_one_example_of_a_class_is_enough(paths: list[tuple[str, ...]], first: tuple[str, ...] | None) -> None:
    embeddings = np.eye(3)[: len(paths)]
    classifier = InterestClassifier(inverse_regularisation=100.0).fit(embeddings, paths)
    assert classifier.predict(embeddings) == paths
    if first is not None:
        assert classifier.predict_proba(np.array([[5.0, -3, 2]]), 1).tolist() == [[1.0]]


def test_a_dimension_that_does_not_vary_is_harmless() -> None:
    embeddings, paths = queries()
    expected = InterestClassifier().fit(embeddings, paths).predict_proba(embeddings, 1)
    wider = np.column_stack([embeddings, np.full(len(paths), 0.1)])
    np.testing.assert_allclose(
        InterestClassifier().fit(wider, paths).predict_proba(wider, 1), expected, rtol=1e-3, atol=1e-5
    )


def test_weights_are_as_repeated_rows() -> None:
    embeddings, paths = queries(each=4)
    twice = InterestClassifier().fit(np.r_[embeddings, embeddings[:4]], paths + paths[:4])
    weights = np.r_[np.full(4, 2.0), np.ones(len(paths) - 4)]
    weighted = InterestClassifier().fit(embeddings, paths, sample_weight=weights)
    # The scaling differs, as weights have no part in it: compare what both make of the heavier class.
    share = [model.predict_proba(embeddings[:4], 1)[:, 0].mean() for model in (twice, weighted)]
    plain = InterestClassifier().fit(embeddings, paths).predict_proba(embeddings[:4], 1)[:, 0].mean()
    assert min(share) > plain


@pytest.mark.parametrize(
    ("embeddings", "paths", "sentence"),
    [
        (np.zeros((2, 3)), [("a",)], "one path for each of the 2 embeddings; got 1"),
        (np.zeros((2, 3)), [("a",), "ab"], "path of row 1 must be a tuple of names"),
        (np.zeros((2, 3)), [("a",), ()], "path of row 1"),
        (np.zeros((2, 3)), [("a", ""), ("a",)], "path of row 0"),
        (np.zeros(3), [("a",)] * 3, r"shape \(queries, width\); got \(3,\)"),
        (np.zeros((0, 3)), [], "no embeddings to learn from"),
        (np.array([[0.0, 1.0], [np.nan, 1.0]]), [("a",), ("b",)], "embedding in row 1 holds NaN"),
        ([["a"]], [("a",)], "must be an array of numbers"),
    ],
)
def test_input_that_does_not_fit_is_refused(embeddings: object, paths: list[tuple[str, ...]], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        InterestClassifier().fit(embeddings, paths)


def test_weights_levels_settings_and_width_are_checked(fitted: InterestClassifier) -> None:
    with pytest.raises(DataError, match="above zero"):
        InterestClassifier().fit(np.eye(2), [("a",), ("b",)], sample_weight=[1, 0])
    with pytest.raises(SettingError, match="no level 3; the classifier has levels 0 to 2"):
        fitted.predict_proba(np.zeros((1, 8)), 3)
    with pytest.raises(SettingError, match="'inverse_regularisation' setting"):
        InterestClassifier(inverse_regularisation=0).fit(np.eye(2), [("a",), ("b",)])
    with pytest.raises(DataError, match="7 wide, but the classifier was trained on width 8"):
        fitted.predict(np.zeros((1, 7)))
    with pytest.raises(NotFittedError):
        clone(fitted).predict(np.zeros((1, 8)))


def test_a_saved_classifier_is_the_same(fitted: InterestClassifier, tmp_path: Path) -> None:
    embeddings, _ = queries(seed=3)
    fitted.save(tmp_path / "classifier")
    again = InterestClassifier.load(tmp_path / "classifier")
    for level in (0, 1, 2):
        np.testing.assert_array_equal(again.predict_proba(embeddings, level), fitted.predict_proba(embeddings, level))
        assert again.classes_at(level) == fitted.classes_at(level)
    assert again.predict(embeddings) == fitted.predict(embeddings)
    assert again.get_params() == fitted.get_params()
    names = sorted(file.name for file in (tmp_path / "classifier").iterdir())
    assert names == ["classifier.json", "classifier.safetensors"]


def test_a_new_process_gives_the_same_probabilities(fitted: InterestClassifier, tmp_path: Path) -> None:
    fitted.save(tmp_path / "classifier")
    program = (
        "import sys, numpy; from classifiers import InterestClassifier; "
        "print(InterestClassifier.load(sys.argv[1]).predict_proba(numpy.eye(8), 2).tolist())"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "classifier")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True)
    np.testing.assert_allclose(json.loads(printed.stdout), fitted.predict_proba(np.eye(8), 2), rtol=1e-12)


def test_damaged_folders_are_refused(fitted: InterestClassifier, tmp_path: Path) -> None:
    folder = tmp_path / "classifier"
    with pytest.raises(DataError, match="There is no classifier folder"):
        InterestClassifier.load(folder)
    fitted.save(folder)
    numbers = bytearray((folder / "classifier.safetensors").read_bytes())
    numbers[-1] ^= 1
    (folder / "classifier.safetensors").write_bytes(numbers)
    with pytest.raises(DataError, match=r"classifier\.safetensors was changed after it was saved"):
        InterestClassifier.load(folder)
    (folder / "classifier.safetensors").unlink()
    with pytest.raises(DataError, match=r"has no file classifier\.safetensors"):
        InterestClassifier.load(folder)
    (folder / "classifier.json").write_text("[")
    with pytest.raises(DataError, match="is not JSON"):
        InterestClassifier.load(folder)


def test_embeddings_of_another_encoder_are_refused(tmp_path: Path) -> None:
    InterestClassifier(encoder_fingerprint="aaaa").fit(*queries()).save(tmp_path / "classifier")
    again = InterestClassifier.load(tmp_path / "classifier")
    assert again.predict(np.eye(8), encoder_fingerprint="aaaa") == again.predict(np.eye(8))
    with pytest.raises(FingerprintError, match="encoder aaaa, but these are of encoder bbbb"):
        again.predict(np.eye(8), encoder_fingerprint="bbbb")
    with pytest.raises(FingerprintError):
        again.predict_proba(np.eye(8), 0, encoder_fingerprint="bbbb")
