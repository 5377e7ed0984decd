"""Compiled trees against LightGBM's own prediction, to the bit."""

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranking.forest import MAX_LEAVES, read_forest


def booster(values: np.ndarray, labels: np.ndarray, trees: int = 9, **more: object) -> lightgbm.Booster:
    parameters = {"objective": "regression", "num_leaves": 15, "min_data_in_leaf": 3, "verbosity": -1, "num_threads": 1}
    return lightgbm.train({**parameters, **more}, lightgbm.Dataset(values, labels), trees)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([2, 5, 15, MAX_LEAVES]), st.booleans(), st.booleans())
def test_scores_are_those_of_lightgbm(seed: int, leaves: int, missing_seen: bool, missing_asked: bool) -> None:
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(size=(400, 4)), 1)
    holes = rng.random(values.shape) < 0.2
    labels = values[:, 0] + values[:, 1] * values[:, 2] + holes[:, 3]
    trained = booster(np.where(holes & missing_seen, np.nan, values), labels, num_leaves=leaves)
    asked = np.where(holes & missing_asked, np.nan, values)
    asked[0] = [0.0, -0.0, 1e300, -1e300]
    forest = read_forest(trained.model_to_string())
    assert forest is not None
    expected = trained.predict(asked, raw_score=True)
    np.testing.assert_array_equal(forest.predict(asked), expected)
    np.testing.assert_array_equal(forest.predict(np.asfortranarray(asked)), expected)


def test_threads_blocks_and_single_rows_change_nothing() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(20_001, 3))
    trained = booster(values[:500], values[:500, 0] ** 2)
    forest = read_forest(trained.model_to_string())
    assert forest is not None
    whole = forest.predict(values)
    np.testing.assert_array_equal(forest.predict(values, threads=2), whole)
    np.testing.assert_array_equal(
        np.concatenate([forest.predict(values[row : row + 1]) for row in range(60)]), whole[:60]
    )
    np.testing.assert_array_equal(whole, trained.predict(values))


def test_node_visits_are_counted_by_hand() -> None:
    # one split at 0, and one more among the upper half: rows 0 and 1 pass one node, rows 2 and 3 two
    values = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    trained = booster(
        values, np.array([0.0, 0.0, 5.0, 9.0]), trees=1, num_leaves=3, min_data_in_leaf=1, min_data_in_bin=1
    )
    forest = read_forest(trained.model_to_string())
    assert forest is not None
    assert forest.node_visits == 1.5


def test_a_tree_without_a_split() -> None:
    trained = booster(np.zeros((50, 1)), np.arange(50.0))
    forest = read_forest(trained.model_to_string())
    assert forest is not None
    np.testing.assert_array_equal(forest.predict(np.ones((3, 1))), trained.predict(np.ones((3, 1))))
    assert forest.node_visits == 0


@pytest.mark.parametrize(
    "more",
    [
        {"num_leaves": MAX_LEAVES + 1, "min_data_in_leaf": 1},
        {"zero_as_missing": True},
        {"linear_tree": True},
        {"objective": "multiclass", "num_class": 3},
        {"boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1},
        {"categorical_feature": [0]},
    ],
)
def test_what_it_does_not_know_is_left_to_lightgbm(more: dict[str, object]) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 9, size=(600, 2)).astype(float) + 0.1 * rng.random((600, 2)) * (
        "categorical" not in str(more)
    )
    labels = (values[:, 0] * 7 + values[:, 1]) % 3 // 1
    assert read_forest(booster(values, labels, **more).model_to_string()) is None
