"""Figures with counts of their own: the same draws as the plain bootstrap, and means over groups."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.bootstrap import cluster_intervals, paired_differences
from evaluation.ratios import Ratios, mean_over_groups
from omnifeat.errors import SettingError


def test_equals_the_cluster_bootstrap_where_counts_are_shared() -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(1, 5, 40).astype(float)
    sums = np.minimum(rng.integers(0, 5, (40, 3)), counts[:, None]).astype(float)
    ratios = Ratios.make(sums, np.repeat(counts[:, None], 3, axis=1), resamples=200, level=0.9, seed=7)
    assert ratios.intervals() == cluster_intervals(sums, counts, resamples=200, level=0.9, seed=7)
    for found, plain in zip(
        ratios.less(1).intervals(), paired_differences(sums, counts, 1, resamples=200, level=0.9, seed=7), strict=True
    ):
        assert found.value == pytest.approx(plain.value, abs=1e-12)
        assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=1e-12)


def test_by_hand() -> None:
    # 1 of 2 and 3 of 3 in the first figure, nothing counted in the third
    ratios = Ratios.make(
        np.array([[1, 4, 0], [3, 0, 0]]), np.array([[2, 4, 0], [3, 6, 0]]), resamples=400, level=0.5, seed=0
    )
    np.testing.assert_allclose(ratios.values, [4 / 5, 0.4, np.nan])
    # two queries drawn with replacement: both first, one of each, both second
    assert set(np.round(ratios.resampled[:, 0], 6)) == {0.5, 0.8, 1.0}
    first, second, nothing = ratios.intervals()
    assert (first.value, second.value) == (0.8, 0.4)
    assert np.isnan([nothing.value, nothing.low, nothing.high]).all()


def test_a_resample_without_a_group_takes_the_mean_of_the_others() -> None:
    figures = np.array([[[0.2, 0.4], [0.6, np.nan]], [[np.nan, np.nan], [np.nan, np.nan]]])
    np.testing.assert_allclose(mean_over_groups(figures), [[0.4, 0.4], [np.nan, np.nan]])


def test_without_resamples_and_without_queries() -> None:
    (one,) = Ratios.make(np.ones((2, 1)), np.full((2, 1), 4.0), resamples=0).intervals()
    assert one.value == 0.25
    assert np.isnan([one.low, one.high]).all()
    (none,) = Ratios.make(np.zeros((3, 1)), np.zeros((3, 1)), resamples=10).intervals()
    assert np.isnan([none.value, none.low, none.high]).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 3))
def test_equals_plain_resampling(seed: int, queries: int, figures: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, (queries, figures)).astype(float)
    sums = rng.random((queries, figures)) * counts
    found = Ratios.make(sums, counts, resamples=20, seed=3)
    kept = [row for row in range(queries) if counts[row].any()]
    if not kept:
        assert np.isnan(found.resampled).all()
        return
    draws = np.random.default_rng(3).integers(len(kept), size=(20, len(kept)))
    for resample, draw in enumerate(draws):
        for figure in range(figures):
            total = sum(counts[kept[row], figure] for row in draw)
            if total == 0:
                assert np.isnan(found.resampled[resample, figure])
            else:
                plain = sum(sums[kept[row], figure] for row in draw) / total
                assert found.resampled[resample, figure] == pytest.approx(plain, abs=1e-9)


def test_bad_settings() -> None:
    with pytest.raises(SettingError, match="must lie between 0 and 1, got 2"):
        Ratios.make(np.ones((1, 1)), np.ones((1, 1)), level=2)
    with pytest.raises(SettingError, match="must be 0 or more, got -1"):
        Ratios.make(np.ones((1, 1)), np.ones((1, 1)), resamples=-1)
