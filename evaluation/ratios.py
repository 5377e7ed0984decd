"""Bootstrap intervals of figures with counts of their own: means over groups, systems that retrieve unequally.

A figure is a total of sums over a total of counts, each with a count of its own per query. Whole queries are drawn, as
in `evaluation.bootstrap`, and every figure is measured on the same draws, so that means and differences of figures are
too.

Shapes: Q queries, M figures, G groups, S systems, R resamples.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.bootstrap import Interval, check_bootstrap, resampled_totals

__all__ = ["Ratios", "mean_over_groups"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ratios:
    """M figures of the data themselves, and of each resample of the queries.

    Attributes
    ----------
    values : float64 (M,)
        Total of the sums over the total of the counts; NaN where nothing was counted.
    resampled : float64 (R, M)
        The same of each resample; NaN where the drawn queries count nothing.
    level
        Share of the resampled values inside an interval.
    """

    values: FloatArray
    resampled: FloatArray
    level: float

    @classmethod
    def make(
        cls, sums_QM: FloatArray, counts_QM: FloatArray, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
    ) -> "Ratios":
        """Measure and resample.

        Parameters
        ----------
        sums_QM, counts_QM : float64 (Q, M)
            Of each query and figure; a query that counts nothing in any figure is left out of the draws.

        Raises
        ------
        SettingError
            If `level` is not between 0 and 1 or `resamples` is negative.
        """
        check_bootstrap(resamples, level)
        sums, counts = np.asarray(sums_QM, np.float64), np.asarray(counts_QM, np.float64)
        kept = (counts > 0).any(axis=1)
        sums, counts = sums[kept], counts[kept]
        values = _divided(sums.sum(axis=0), counts.sum(axis=0))
        if not len(sums):
            return cls(values, np.full((resamples, len(values)), np.nan), level)
        totals = resampled_totals(np.hstack([sums, counts]), resamples, seed)
        return cls(values, _divided(totals[:, : len(values)], totals[:, len(values) :]), level)

    def combined(self, change: Callable[[FloatArray], FloatArray]) -> "Ratios":
        """Other figures made from these: `change` takes (..., M) and gives (..., other M)."""
        return Ratios(change(self.values), change(self.resampled), self.level)

    def less(self, column: int) -> "Ratios":
        """Each figure less the one in this column, on the same resamples."""
        return self.combined(lambda figures_M: figures_M - figures_M[..., [column]])

    def intervals(self) -> list[Interval]:
        """Value and percentile interval of each figure; the bounds are NaN without resamples."""
        tail = (1 - self.level) / 2
        found = []
        for value, drawn in zip(self.values, self.resampled.T, strict=True):
            known = drawn[~np.isnan(drawn)]
            low, high = np.quantile(known, [tail, 1 - tail]) if len(known) else (np.nan, np.nan)
            found.append(Interval(float(value), float(low), float(high)))
        return found


def mean_over_groups(figures_GS: FloatArray) -> FloatArray:
    """Mean (..., S) over the groups of figures (..., G, S), of those groups that have one; NaN where none has."""
    known = ~np.isnan(figures_GS)
    return _divided(np.where(known, figures_GS, 0.0).sum(axis=-2), known.sum(axis=-2).astype(np.float64))


def _divided(sums: FloatArray, counts: FloatArray) -> FloatArray:
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
