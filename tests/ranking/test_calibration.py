"""Calibration maps and the figures of probabilities: golden values by hand, and against scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from omnifeat.errors import DataError, SettingError
from ranking.calibration import Calibration, fit_calibration
from ranking.probability_metrics import (
    auc,
    calibration_curve,
    expected_calibration_error,
    log_loss,
    normalised_entropy,
    probability_figures,
)

FEW = settings(deadline=None, max_examples=40)
rows_strategy = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), st.booleans()), min_size=1, max_size=40
)


def split(rows: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    values, outcomes = zip(*rows, strict=True)
    return np.array(values), np.array(outcomes, dtype=float)


# by hand: four rows
SAID, CAME = [0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]


def test_golden_figures() -> None:
    # of the pairs (0.35, 0.1), (0.35, 0.4), (0.8, 0.1), (0.8, 0.4) three are in order
    assert auc(SAID, CAME) == 0.75
    expected = -(math.log(0.9) + math.log(0.6) + math.log(0.35) + math.log(0.8)) / 4
    assert log_loss(SAID, CAME) == pytest.approx(expected)
    assert normalised_entropy(SAID, CAME) == pytest.approx(expected / math.log(2))
    # bins [0, 0.5) with 0.1, 0.4, 0.35 (mean 0.85 / 3, share 1 / 3) and [0.5, 1] with 0.8 (share 1)
    curve = calibration_curve(SAID, CAME, bins=2)
    np.testing.assert_allclose(curve.said, [0.85 / 3, 0.8])
    np.testing.assert_allclose(curve.came, [1 / 3, 1])
    assert curve.counts.tolist() == [3, 1]
    assert expected_calibration_error(SAID, CAME, bins=2) == pytest.approx(3 / 4 * (1 - 0.85) / 3 + 0.2 / 4)
    # by count: 0.1 and 0.35, then 0.4 and 0.8
    curve = calibration_curve(SAID, CAME, bins=2, by="count")
    np.testing.assert_allclose(curve.said, [0.225, 0.6])
    np.testing.assert_allclose(curve.came, [0.5, 0.5])
    assert expected_calibration_error(SAID, CAME, bins=2, by="count") == pytest.approx((0.275 + 0.1) / 2)


def test_golden_edges() -> None:
    # base rate 1/4: -(1/4 ln 1/4 + 3/4 ln 3/4) is what one who says 1/4 to all loses
    assert normalised_entropy([0.25] * 4, [0, 1, 0, 0]) == pytest.approx(1)
    assert log_loss([0.0, 1.0], [0, 1]) == 0
    assert log_loss([0.0, 1.0], [1, 1]) == math.inf
    assert auc([0.3, 0.3, 0.3], [0, 1, 1]) == 0.5
    assert math.isnan(auc([0.3, 0.4], [1, 1]))
    assert math.isnan(normalised_entropy([0.3, 0.4], [1, 1]))
    # the last bin has its end, and equal probabilities are never parted
    assert calibration_curve([1.0, 0.95], [1, 0]).counts.tolist() == [2]
    assert calibration_curve([0.2] * 7 + [0.9], [0] * 8, bins=4, by="count").counts.tolist() == [7, 1]


@FEW
@given(rows_strategy)
def test_figures_are_those_of_scikit_learn(rows: list[tuple[float, bool]]) -> None:
    said, came = split(rows)
    if 0 < came.sum() < len(came):
        assert auc(said, came) == pytest.approx(roc_auc_score(came, said))
    inside = np.clip(said, 0.01, 0.99)
    assert log_loss(inside, came) == pytest.approx(sklearn_log_loss(came, inside, labels=[0, 1]))
    for by in ("width", "count"):
        curve = calibration_curve(said, came, by=by)
        assert curve.counts.sum() == len(said)
        assert (curve.counts * curve.said).sum() == pytest.approx(said.sum())
        assert (curve.counts * curve.came).sum() == pytest.approx(came.sum())
        assert 0 <= expected_calibration_error(said, came, by=by) <= 1


@FEW
@given(rows_strategy, st.sampled_from(["platt", "isotonic"]))
def test_calibrated_values_are_probabilities_in_the_same_order(rows: list[tuple[float, bool]], kind: str) -> None:
    said, came = split(rows)
    fitted = fit_calibration(kind, said, came)
    grid = np.linspace(0, 1, 101)
    found = fitted.apply(grid)
    assert ((found > 0) & (found < 1)).all()
    assert (np.diff(found) >= 0).all()
    order = np.random.default_rng(0).permutation(len(said))
    assert fit_calibration(kind, said[order], came[order]) == fitted
    assert Calibration.from_json(fitted.to_json()) == fitted


def test_isotonic_is_the_pooled_means() -> None:
    said = np.array([0.1] * 10 + [0.2] * 10 + [0.6] * 10)
    came = np.array([1] * 4 + [0] * 6 + [1] * 2 + [0] * 8 + [1] * 7 + [0] * 3)
    fitted = fit_calibration("isotonic", said, came)
    # 0.4 and 0.2 are in the wrong order: pooled, 0.3; between 0.2 and 0.6 a straight line
    np.testing.assert_allclose(fitted.apply([0.0, 0.1, 0.2, 0.4, 0.6, 1.0]), [0.3, 0.3, 0.3, 0.5, 0.7, 0.7])


def test_platt_finds_the_line_it_was_drawn_from() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=40_000)
    came = rng.random(40_000) < 1 / (1 + np.exp(-(2 * logits - 1)))
    fitted = fit_calibration("platt", 1 / (1 + np.exp(-logits)), came)
    assert fitted.numbers == pytest.approx((2, -1), abs=0.06)


@pytest.mark.parametrize("kind", ["platt", "isotonic"])
def test_calibration_makes_overconfident_probabilities_mean_what_they_say(kind: str) -> None:
    rng = np.random.default_rng(1)
    true = rng.uniform(0.2, 0.8, size=20_000)
    said = np.clip((true - 0.5) * 1.6 + 0.5, 0, 1)
    came = rng.random(20_000) < true
    fitted = fit_calibration(kind, said[:10_000], came[:10_000])
    raw = expected_calibration_error(said[10_000:], came[10_000:])
    assert raw > 0.05
    assert expected_calibration_error(fitted.apply(said[10_000:]), came[10_000:]) < raw / 2


def test_a_score_that_says_the_opposite_gets_the_base_rate() -> None:
    fitted = fit_calibration("platt", [0.9] * 50 + [0.1] * 50, [0] * 50 + [1] * 50)
    np.testing.assert_allclose(fitted.apply([0.1, 0.9]), [0.5, 0.5])


def test_none_leaves_all_as_it_is() -> None:
    assert fit_calibration("none", [0.3], [1]).apply([0.0, 0.3, 1.0]).tolist() == [0.0, 0.3, 1.0]


def test_what_cannot_be_used_is_named() -> None:
    with pytest.raises(SettingError, match=r"'calibration' setting must be one of platt, isotonic, none; got 'beta'"):
        fit_calibration("beta", [0.1], [1])
    with pytest.raises(DataError, match="probability from 0 to 1"):
        fit_calibration("platt", [1.1], [1])
    with pytest.raises(DataError, match=r"probability of row 2 is nan"):
        auc([0.1, math.nan], [0, 1])
    with pytest.raises(DataError, match=r"outcome of row 1 is 2"):
        probability_figures([0.1, 0.2], [2, 1])
    with pytest.raises(DataError, match="one probability and one outcome"):
        log_loss([], [])
    with pytest.raises(SettingError, match="by width or by count"):
        calibration_curve([0.1], [1], by="size")
