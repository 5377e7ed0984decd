"""Intervals: degenerate cases worked by hand, pairing, clusters, and coverage of a known truth."""

import numpy as np
import pytest

from evaluation.bootstrap import Interval, cluster_intervals, paired_differences, resampled_means
from omnifeat.errors import SettingError


def test_constant_values_have_no_width() -> None:
    sums = np.column_stack([np.full(6, 3.0), np.zeros(6)])
    intervals = cluster_intervals(sums, np.full(6, 3.0), resamples=50)
    assert intervals == [Interval(1.0, 1.0, 1.0), Interval(0.0, 0.0, 0.0)]


def test_constant_difference_has_no_width() -> None:
    # The second system has one hit of four more in each query: the difference is 0.25 on every draw.
    rng = np.random.default_rng(0)
    hits = rng.integers(0, 3, size=40).astype(float)
    intervals = paired_differences(np.column_stack([hits, hits + 1]), np.full(40, 4.0), 0, resamples=100)
    assert intervals[0] == Interval(0.0, 0.0, 0.0)
    assert (intervals[1].value, intervals[1].low, intervals[1].high) == pytest.approx((0.25, 0.25, 0.25))
    assert intervals[1].excludes_zero
    assert not intervals[0].excludes_zero


def test_value_is_over_pairs_not_over_queries() -> None:
    # 1 hit of 1 pair and 0 of 3: 1 of 4 pairs, although the mean of the queries' shares is a half.
    assert cluster_intervals(np.array([[1.0], [0.0]]), np.array([1.0, 3.0]), resamples=0)[0].value == 0.25


def test_one_query_and_two_queries() -> None:
    assert cluster_intervals(np.array([[1.0]]), np.array([2.0]), resamples=20) == [Interval(0.5, 0.5, 0.5)]
    # Of two queries with 0 and 1, a draw is 0, 0.5 or 1.
    means = resampled_means(np.array([[0.0], [1.0]]), np.ones(2), 400, 0)
    values, counts = np.unique(means, return_counts=True)
    assert values.tolist() == [0, 0.5, 1]
    np.testing.assert_allclose(counts / 400, [0.25, 0.5, 0.25], atol=0.08)


def test_queries_without_pairs_change_nothing() -> None:
    sums, counts = np.array([[1.0], [0.0], [2.0]]), np.array([1.0, 2.0, 3.0])
    padded = cluster_intervals(np.insert(sums, 1, 0, axis=0), np.insert(counts, 1, 0), resamples=99)
    assert padded == cluster_intervals(sums, counts, resamples=99)


def test_seed_decides_and_systems_do_not() -> None:
    rng = np.random.default_rng(5)
    sums, counts = rng.random((50, 3)), np.ones(50)
    first = cluster_intervals(sums, counts, resamples=200, seed=1)
    assert first == cluster_intervals(sums, counts, resamples=200, seed=1)
    assert first != cluster_intervals(sums, counts, resamples=200, seed=2)
    assert first[2].low == pytest.approx(cluster_intervals(sums[:, [2]], counts, resamples=200, seed=1)[0].low)


def test_draws_in_blocks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    sums, counts = np.random.default_rng(3).random((20, 2)), np.ones(20)
    whole = resampled_means(sums, counts, 30, 7)
    monkeypatch.setattr("evaluation.bootstrap._DRAWS", 70)  # three resamples at a time
    np.testing.assert_allclose(resampled_means(sums, counts, 30, 7), whole, rtol=1e-12)


def test_nothing_to_measure() -> None:
    assert np.isnan(cluster_intervals(np.empty((0, 1)), np.empty(0))[0].value)
    assert np.isnan(cluster_intervals(np.zeros((3, 1)), np.zeros(3))[0].low)


def test_coverage_of_clustered_data() -> None:
    # Each query has 8 pairs that hit together: intervals over pairs would be about sqrt(8) times too narrow.
    rng = np.random.default_rng(11)
    inside = 0
    for trial in range(200):
        hits = (rng.random(80) < 0.4) * 8.0
        interval = cluster_intervals(hits[:, None], np.full(80, 8.0), resamples=300, seed=trial)[0]
        inside += interval.low <= 0.4 <= interval.high
    assert 0.89 <= inside / 200 <= 0.99  # 95% nominal; standard error of the estimate is 1.5%


def test_bad_settings() -> None:
    with pytest.raises(SettingError, match="level of an interval must lie between 0 and 1, got 95"):
        cluster_intervals(np.ones((1, 1)), np.ones(1), level=95)
    with pytest.raises(SettingError, match="0 or more, got -1"):
        paired_differences(np.ones((1, 1)), np.ones(1), 0, resamples=-1)
