"""The engagement model of ads: probabilities that mean what they say, positions, and what it refuses."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from omnifeat.errors import DataError, FingerprintError, SettingError
from ranking.ads import AdsEngagementModel, long_clicks
from ranking.probability_metrics import auc, expected_calibration_error, log_loss, normalised_entropy
from ranking.saving import load_model

FEW = settings(deadline=None, max_examples=5)


def log(
    seed: int = 0, rows: int = 4000, queries: int = 80
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Products shown by an old system that looks at `old` alone: features, clicks, queries, positions and the truth.

    A row is looked at with probability 1 / position and then long-clicked by `good`; the truth is the latter.
    """
    rng = np.random.default_rng(seed)
    good, old = rng.normal(size=rows), rng.normal(size=rows)
    truth = 1 / (1 + np.exp(-(1.5 * good - 1)))
    positions = np.clip(np.ceil(4 - 2 * old + rng.normal(size=rows)), 1, 8).astype(int)
    clicked = rng.random(rows) < truth / positions
    table = pd.DataFrame({"good": good.astype(np.float32), "old": old})
    return table, clicked, np.array([f"query {n}" for n in rng.integers(queries, size=rows)]), positions, truth


def model(**more: object) -> AdsEngagementModel:
    return AdsEngagementModel(**{"n_estimators": 60, "threads": 1, "learning_rate": 0.1, "num_leaves": 8, **more})


@pytest.fixture(scope="module")
def fitted() -> AdsEngagementModel:
    table, clicked, queries, positions, _ = log()
    return model().fit(table, clicked, query_ids=queries, positions=positions)


def test_probabilities_mean_what_they_say_on_queries_never_seen(fitted: AdsEngagementModel) -> None:
    table, clicked, _, positions, truth = log(seed=1)
    found = fitted.predict(table, positions=positions)
    assert ((found > 0) & (found < 1)).all()
    assert normalised_entropy(found, clicked) < 0.9
    assert expected_calibration_error(found, clicked) < 0.03
    # nobody can do better than who knows the truth, and not much is lost
    assert auc(truth / positions, clicked) - 0.03 < auc(found, clicked) < auc(truth / positions, clicked)
    assert log_loss(truth / positions, clicked) < log_loss(found, clicked) < log_loss(truth / positions, clicked) + 0.02
    np.testing.assert_allclose(fitted.predict_proba(table, positions=positions).sum(axis=1), 1)


def test_a_fixed_position_takes_the_old_system_out(fitted: AdsEngagementModel) -> None:
    table, clicked, queries, _, _ = log()
    without = model().fit(table, clicked, query_ids=queries)
    other, _, _, _, truth = log(seed=2)
    debiased, biased = fitted.predict(other), without.predict(other)
    # what the old system went by says nothing of the truth; the model without positions has learnt it all the same
    assert abs(np.corrcoef(debiased, other["old"])[0, 1]) < 0.1 < 0.3 < np.corrcoef(biased, other["old"])[0, 1]
    assert np.corrcoef(debiased, truth)[0, 1] > 0.95 > np.corrcoef(biased, truth)[0, 1] + 0.05
    # at position 1 every row is looked at: its probability is nearer to the truth than one of any position
    assert np.abs(debiased - truth).mean() < 0.6 * np.abs(biased - truth).mean()
    np.testing.assert_array_equal(fitted.predict(other, positions=np.ones(len(other))), debiased)
    lower = clone(fitted).set_params(shown_at=4)
    lower.fit(table, clicked, query_ids=queries, positions=log()[3])
    np.testing.assert_array_equal(lower.predict(other, positions=np.full(len(other), 4)), lower.predict(other))
    assert lower.predict(other).mean() < debiased.mean() / 2


@FEW
@given(st.integers(0, 1000), st.booleans())
def test_order_of_rows_and_columns_changes_nothing(seed: int, with_positions: bool) -> None:
    table, clicked, queries, positions, _ = log(seed, rows=400)
    rows = np.random.default_rng(seed).permutation(len(table))
    small = model(n_estimators=8)
    one = {"positions": positions} if with_positions else {}
    two = {"positions": positions[rows]} if with_positions else {}
    expected = small.fit(table, clicked, query_ids=queries, **one).predict(table)
    shuffled = table.iloc[rows][["old", "good"]]
    other = clone(small).fit(shuffled, clicked[rows], query_ids=queries[rows], **two)
    np.testing.assert_array_equal(other.predict(table), expected)
    np.testing.assert_array_equal(other.predict(shuffled), expected[rows])


@FEW
@given(st.lists(st.integers(0, 3999), min_size=1, max_size=30))
def test_duplicated_candidates_are_equal_whatever_stands_beside_them(
    fitted: AdsEngagementModel, rows: list[int]
) -> None:
    table = log()[0]
    alone = fitted.predict(table)
    doubled = fitted.predict(pd.concat([table.iloc[rows], table.iloc[rows]]))
    np.testing.assert_array_equal(doubled, np.r_[alone[rows], alone[rows]])


@pytest.mark.parametrize("with_positions", [True, False])
def test_saved_and_loaded_it_predicts_the_same(with_positions: bool, tmp_path: Path) -> None:
    table, clicked, queries, positions, _ = log()
    given_positions = positions if with_positions else None
    found = model(n_estimators=10, encoder_fingerprint="aaaa", calibration="isotonic")
    found.fit(table, clicked, query_ids=queries, positions=given_positions).save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert isinstance(loaded, AdsEngagementModel)
    for shown in (None, positions):
        np.testing.assert_array_equal(loaded.predict(table, positions=shown), found.predict(table, positions=shown))
    assert (loaded.position_importance_ > 0) == with_positions
    assert loaded.feature_importances_.shape == (2,)
    assert loaded.feature_importances_[0] > 0
    with pytest.raises(FingerprintError, match=r"aaaa.*bbbb"):
        loaded.predict(table, encoder_fingerprint="bbbb")


def test_contributions_are_of_the_features_alone(fitted: AdsEngagementModel) -> None:
    table = log()[0].iloc[:50]
    values = fitted._values(table)
    shares = fitted._boosted(values, pred_contrib=True)
    assert shares.shape == (50, 3)
    np.testing.assert_allclose(shares.sum(axis=1), fitted._boosted(values, raw_score=True), atol=1e-9)


def test_a_rising_feature_is_held_to_it() -> None:
    table, clicked, queries, positions, _ = log()
    found = model(monotonic_cst={"good": 1}).fit(table, clicked, query_ids=queries, positions=positions)
    grid = pd.DataFrame({"good": np.linspace(-3, 3, 60), "old": 0.0})
    assert (np.diff(found.predict(grid)) >= 0).all()


def test_a_separate_evaluation_set_is_used() -> None:
    table, clicked, queries, positions, _ = log()
    other = log(seed=5)
    found = model().fit(
        table, clicked, query_ids=queries, positions=positions,
        eval_X=other[0], eval_y=other[1], eval_query_ids=other[2], eval_positions=other[3],
    )  # fmt: skip
    assert (found.rows_, found.held_out_rows_) == (4000, 4000)
    with pytest.raises(SettingError, match="or of neither"):
        model().fit(
            table, clicked, query_ids=queries, positions=positions, eval_X=other[0], eval_y=other[1],
            eval_query_ids=other[2],
        )  # fmt: skip


def test_labels_of_a_log() -> None:
    assert long_clicks(["long_click", None, "save", ""], 4).tolist() == [1, 0, 0, 0]
    assert long_clicks(pd.Series(["long_click", None, np.nan], dtype=object), 3).tolist() == [1, 0, 0]
    assert long_clicks([True, False], 2).tolist() == [1, 0]
    assert long_clicks([1.0, 0.0], 2).tolist() == [1, 0]
    with pytest.raises(DataError, match=r"label of row 2 is 2; it must be 0 or 1"):
        long_clicks([1, 2], 2)
    with pytest.raises(DataError, match=r"label of row 1 is nan"):
        long_clicks([np.nan, 1.0], 2)
    with pytest.raises(DataError, match="one label for each of the 3 rows"):
        long_clicks([1, 0], 3)


def test_what_cannot_be_learnt_from_is_named() -> None:
    table, clicked, queries, positions, _ = log(rows=200)
    small = model(n_estimators=2)
    with pytest.raises(NotFittedError, match="This AdsEngagementModel is not fitted yet"):
        small.predict(table)
    with pytest.raises(DataError, match=r"No row of the .* has a long click"):
        small.fit(table, np.zeros(200), query_ids=queries)
    with pytest.raises(DataError, match=r"Every row of the .* has a long click"):
        small.fit(table, np.ones(200), query_ids=queries)
    with pytest.raises(DataError, match=r"position of row 5 is 0; it must be a number from 1"):
        small.fit(table, clicked, query_ids=queries, positions=np.where(np.arange(200) == 4, 0, positions))
    with pytest.raises(DataError, match="one position for each of the 200 rows"):
        small.fit(table, clicked, query_ids=queries, positions=positions[1:])
    with pytest.raises(DataError, match="query id of row 1 is null"):
        small.fit(table, clicked, query_ids=[None, *queries[1:]])
    with pytest.raises(SettingError, match="'shown_at' setting of AdsEngagementModel must be a number from 1; got 0"):
        model(shown_at=0).fit(table, clicked, query_ids=queries)
    with pytest.raises(DataError, match="'old', which the model was trained on, is missing"):
        small.fit(table, clicked, query_ids=queries).predict(table[["good"]])
