"""The logistic baselines and hiclass: one interface, saving without pickle, what hiclass does with middle leaves."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from classifiers.hiclass_peer import HiclassClassifier
from classifiers.loading import load_any, takes_text
from classifiers.logistic import EmbeddingLogisticClassifier, TfidfLogisticClassifier
from classifiers.paths import path_sets
from omnifeat.errors import DataError, MissingDependencyError, SettingError

BIRDS, FISH, ANIMALS, FOOD = ("animals", "birds"), ("animals", "fish"), ("animals",), ("food",)
WORDS = {BIRDS: ("owl", "duck"), FISH: ("shark", "trout"), ANIMALS: ("beast",), FOOD: ("bread", "plum")}
TEXTS = [f"{word} {suffix}" for words in WORDS.values() for word in words for suffix in ("one", "two", "red", "big")]
PATHS = [path for path, words in WORDS.items() for _ in words for _ in range(4)]


def vectors(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = {path: rng.normal(size=6) for path in WORDS}
    return np.stack([centres[path] + 0.1 * rng.normal(size=6) for path in PATHS]).astype(np.float32)


def baselines() -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    for target in ("paths", "levels"):
        found.append((TfidfLogisticClassifier(target=target), TEXTS))
        found.append((EmbeddingLogisticClassifier(target=target, inverse_regularisation=1.0), vectors()))
    return found


@pytest.mark.parametrize("place", range(4))
def test_levels_order_and_saving(place: int, tmp_path: Path) -> None:
    classifier, inputs = baselines()[place]
    classifier.fit(inputs, PATHS)
    assert classifier.classes_at(1) == [BIRDS, FISH]
    top, below = classifier.predict_levels(inputs)
    assert top.sum(axis=1) == pytest.approx(1)
    if classifier.target == "paths":
        assert (below.sum(axis=1) <= top[:, 0] + 1e-12).all()
    assert classifier.predict(inputs) == PATHS
    assert classifier.predict_proba(inputs[:3], 1) == pytest.approx(below[:3])
    order = np.random.default_rng(1).permutation(len(PATHS))
    turned = inputs[order] if isinstance(inputs, np.ndarray) else [inputs[row] for row in order]
    again = type(classifier)(**classifier.get_params()).fit(turned, [PATHS[row] for row in order])
    assert again.predict_proba(inputs, 1) == pytest.approx(below, abs=2e-3)
    classifier.save(tmp_path / "saved")
    assert not any(file.suffix in (".pkl", ".joblib") for file in (tmp_path / "saved").iterdir())
    loaded = load_any(tmp_path / "saved")
    assert type(loaded) is type(classifier)
    assert takes_text(loaded) == isinstance(inputs, list)
    assert (loaded.predict_proba(inputs, 1) == below).all()


def test_two_classes_and_several_interests() -> None:
    inputs = vectors()
    two = [FOOD if path == FOOD else ANIMALS for path in PATHS]
    shares = EmbeddingLogisticClassifier(inverse_regularisation=1.0).fit(inputs, two).predict_proba(inputs, 0)
    assert (shares.argmax(axis=1) == [path == FOOD for path in PATHS]).all()
    # a query of both halves its weight between them: a single such row is as likely one as the other
    ones = np.eye(3, dtype=np.float32)
    both = EmbeddingLogisticClassifier().fit(ones, [FOOD, BIRDS, [FOOD, BIRDS]])
    assert both.predict_proba(ones[2:], 0)[0] == pytest.approx([0.5, 0.5], abs=1e-6)


def test_tfidf_reads_words_of_any_script_and_blank_queries() -> None:
    classifier = TfidfLogisticClassifier().fit(["犬", "🦉 owl", "хлеб", "plum"], [FISH, BIRDS, FOOD, FOOD])
    assert classifier.predict(["🦉", "ХЛЕБ", "犬"]) == [BIRDS, FOOD, FISH]
    assert classifier.predict_proba([""], 0).sum() == pytest.approx(1)


def test_hiclass_answers_at_every_level() -> None:
    inputs = vectors()
    peer = HiclassClassifier(inverse_regularisation=1.0).fit(inputs, PATHS)
    assert peer.classes_at(0) == [ANIMALS, FOOD]
    assert peer.classes_at(1) == [BIRDS, FISH]
    top, below = peer.predict_levels(inputs)
    assert top.shape == (len(PATHS), 2)
    assert below.shape == (len(PATHS), 2)
    right = [path in (BIRDS, FISH) for path in PATHS]
    hits = [found == path for found, path in zip(peer.predict(inputs), PATHS, strict=True)]
    assert np.mean(np.array(hits)[right]) > 0.9
    # what is known of it, and documented: a path that ends in the middle has no probability of ending there
    beasts = [row for row, path in enumerate(PATHS) if path == ANIMALS]
    assert below[beasts].sum(axis=1) == pytest.approx(1)
    with pytest.raises(SettingError, match="no format but pickle"):
        peer.save("anywhere")


def test_wrong_input(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = vectors()
    with pytest.raises(NotFittedError):
        EmbeddingLogisticClassifier().predict(inputs)
    with pytest.raises(NotFittedError):
        HiclassClassifier().predict(inputs)
    with pytest.raises(SettingError, match="'inverse_regularisation'"):
        EmbeddingLogisticClassifier(inverse_regularisation=0).fit(inputs, PATHS)
    with pytest.raises(SettingError, match="'max_iterations'"):
        EmbeddingLogisticClassifier(max_iterations=0).fit(inputs, PATHS)
    with pytest.raises(SettingError, match="'features'"):
        TfidfLogisticClassifier(features=0).fit(TEXTS, PATHS)
    with pytest.raises(SettingError, match="'char_ngrams'"):
        TfidfLogisticClassifier(char_ngrams=(0, 0)).fit(TEXTS, PATHS)
    with pytest.raises(DataError, match="not blank"):
        TfidfLogisticClassifier().fit(["", " "], PATHS[:2])
    with pytest.raises(DataError, match="Row 1 of the queries is"):
        TfidfLogisticClassifier().fit([1, 2], PATHS[:2])
    with pytest.raises(DataError, match="finite"):
        EmbeddingLogisticClassifier().fit(inputs * np.nan, PATHS)
    fitted = EmbeddingLogisticClassifier().fit(inputs, PATHS)
    with pytest.raises(DataError, match="3 wide"):
        fitted.predict(inputs[:, :3])
    with pytest.raises(DataError, match=r"each of the 2 queries; got 1"):
        path_sets([FOOD], 2)
    with pytest.raises(DataError, match="row 1 must be a path"):
        path_sets(["food"], 1)
    monkeypatch.setitem(sys.modules, "hiclass", None)
    with pytest.raises(MissingDependencyError, match="pip install hiclass"):
        HiclassClassifier().fit(inputs, PATHS)
