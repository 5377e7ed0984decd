"""Bootstrap confidence intervals of a mean over query clusters, and of paired differences.

Pairs of one query are not independent, so whole queries are drawn with replacement (a cluster bootstrap). All systems
are measured on the same draws, which makes their differences paired.

Shapes: Q queries, S systems, R resamples.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omnifeat.errors import SettingError

__all__ = [
    "Interval",
    "check_bootstrap",
    "cluster_intervals",
    "paired_differences",
    "resampled_means",
    "resampled_totals",
]

FloatArray = npt.NDArray[np.float64]

_DRAWS = 4_000_000  # drawn queries held at a time


@dataclass(frozen=True)
class Interval:
    """A figure with its percentile interval.

    Attributes
    ----------
    value
        Of the data themselves; NaN where there are none.
    low, high
        Percentiles of the resampled values; NaN where nothing was resampled.
    """

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether all of the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


def resampled_means(sums_QS: FloatArray, counts_Q: FloatArray, resamples: int, seed: int) -> FloatArray:
    """Means float64 (R, S) of R resamples: total of `sums` over total of `counts` of Q queries drawn with replacement.

    Parameters
    ----------
    sums_QS : float64 (Q, S)
        Per query and system, the sum over its pairs (for recall: the number of hits).
    counts_Q : (Q,)
        Number of pairs of the query, at least one.
    resamples
        How many times to draw.
    seed
        The same seed and Q give the same draws, whatever the systems are.
    """
    system_count = sums_QS.shape[1]
    totals = resampled_totals(np.column_stack([sums_QS, counts_Q]).astype(np.float64), resamples, seed)
    return np.asarray(totals[:, :system_count] / totals[:, system_count:], dtype=np.float64)


def resampled_totals(values_QM: FloatArray, resamples: int, seed: int) -> FloatArray:
    """Column totals float64 (R, M) of R resamples of Q >= 1 rows; the same seed and Q give the same draws."""
    rng = np.random.default_rng(seed)
    query_count = len(values_QM)
    totals = np.empty((resamples, values_QM.shape[1]), dtype=np.float64)
    block = max(1, _DRAWS // max(1, query_count))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = rng.integers(query_count, size=(size, query_count))
        drawn += np.arange(size)[:, None] * query_count
        times = np.bincount(drawn.ravel(), minlength=size * query_count).reshape(size, query_count).astype(np.float64)
        totals[start : start + size] = times @ values_QM
    return totals


def cluster_intervals(
    sums_QS: FloatArray, counts_Q: FloatArray, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> list[Interval]:
    """Mean and percentile interval of each system.

    Parameters are those of `resampled_means`, and `level`, the share of resampled values inside the interval. Queries
    with a count of zero are left out. With no query the value is NaN; with `resamples=0` the bounds are.

    Raises
    ------
    SettingError
        If `level` is not between 0 and 1 or `resamples` is negative.
    """
    sums, counts = _checked(sums_QS, counts_Q, resamples, level)
    return _intervals(sums, counts, sums, resamples, level, seed)


def paired_differences(
    sums_QS: FloatArray,
    counts_Q: FloatArray,
    reference: int,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Interval]:
    """Mean of each system less that of the system in column `reference`, on the same draws.

    Parameters, missing values and errors as in `cluster_intervals`.
    """
    sums, counts = _checked(sums_QS, counts_Q, resamples, level)
    return _intervals(sums, counts, sums - sums[:, [reference]], resamples, level, seed)


def check_bootstrap(resamples: int, level: float) -> None:
    """Raise `SettingError` unless the level lies between 0 and 1 and the number of resamples is 0 or more."""
    if not 0 < level < 1:
        raise SettingError(f"the level of an interval must lie between 0 and 1, got {level}")
    if resamples < 0:
        raise SettingError(f"the number of bootstrap resamples must be 0 or more, got {resamples}")


def _checked(sums_QS: FloatArray, counts_Q: FloatArray, resamples: int, level: float) -> tuple[FloatArray, FloatArray]:
    check_bootstrap(resamples, level)
    counts = np.asarray(counts_Q, dtype=np.float64)
    kept = counts > 0
    return np.asarray(sums_QS, dtype=np.float64)[kept], counts[kept]


def _intervals(
    sums: FloatArray, counts: FloatArray, measured: FloatArray, resamples: int, level: float, seed: int
) -> list[Interval]:
    if len(counts) == 0:
        return [Interval(np.nan, np.nan, np.nan)] * sums.shape[1]
    values = measured.sum(axis=0) / counts.sum()
    if resamples == 0:
        return [Interval(float(value), np.nan, np.nan) for value in values]
    tail = (1 - level) / 2
    bounds = np.quantile(resampled_means(measured, counts, resamples, seed), [tail, 1 - tail], axis=0)
    return [Interval(*map(float, row)) for row in np.column_stack([values, bounds[0], bounds[1]])]
