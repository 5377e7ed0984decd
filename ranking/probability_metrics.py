"""How good probabilities of a yes-or-no outcome are: order, log loss, and whether they mean what they say."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from omnifeat.errors import DataError, SettingError

__all__ = [
    "CalibrationCurve",
    "auc",
    "calibration_curve",
    "expected_calibration_error",
    "log_loss",
    "normalised_entropy",
    "probability_figures",
]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CalibrationCurve:
    """What was said and what came, by bin of the probability; empty bins are left out.

    `said` and `came` are float64 (bins,), the mean probability and the share of outcomes; `counts` int64 (bins,).
    """

    said: FloatArray
    came: FloatArray
    counts: npt.NDArray[np.int64]


def auc(probabilities: Any, outcomes: Any) -> float:
    """Probability that a row with the outcome scores above one without, ties as one half; NaN if there is one kind.

    Raises
    ------
    DataError
        Probabilities outside of 0 to 1, outcomes that are not 0 or 1, or no rows; so do all figures here.
    """
    from scipy.stats import rankdata

    values, happened = _checked(probabilities, outcomes)
    ones = int(happened.sum())
    if ones in (0, len(happened)):
        return float("nan")
    ranks = rankdata(values)
    return float((ranks[happened == 1].sum() - ones * (ones + 1) / 2) / (ones * (len(values) - ones)))


def log_loss(probabilities: Any, outcomes: Any) -> float:
    """Mean of -ln p(what came), in nats; infinite where what came had been ruled out."""
    values, happened = _checked(probabilities, outcomes)
    with np.errstate(divide="ignore"):
        return float(-np.log(np.where(happened == 1, values, 1 - values)).mean())


def normalised_entropy(probabilities: Any, outcomes: Any) -> float:
    """Log loss over the entropy of the base rate (He et al., 2014).

    1 for a model that says the base rate b to every row, less for a better one: log loss / -(b ln b + (1 - b)
    ln(1 - b)). NaN where every outcome is the same and there is nothing to tell.
    """
    values, happened = _checked(probabilities, outcomes)
    base = float(happened.mean())
    if base in (0.0, 1.0):
        return float("nan")
    return float(log_loss(values, happened) / -(base * np.log(base) + (1 - base) * np.log1p(-base)))


def calibration_curve(probabilities: Any, outcomes: Any, *, bins: int = 10, by: str = "width") -> CalibrationCurve:
    """The calibration curve.

    Parameters
    ----------
    bins : int
    by : `width` or `count`
        Bins of equal width, [0, 1/bins), ... and the last with its end; or of (nearly) equal numbers of rows, between
        which equal probabilities are never parted.
    """
    values, happened = _checked(probabilities, outcomes)
    if bins < 1 or by not in ("width", "count"):
        raise SettingError(f"A calibration curve has 1 bin or more, by width or by count; got {bins} by {by!r}.")
    if by == "width":
        places = np.minimum((values * bins).astype(np.int64), bins - 1)
    else:
        distinct, first = np.unique(np.sort(values), return_index=True)
        places = (first * bins // len(values))[np.searchsorted(distinct, values)]
    counts = np.bincount(places)
    filled = counts > 0
    said = np.bincount(places, weights=values)[filled] / counts[filled]
    came = np.bincount(places, weights=happened)[filled] / counts[filled]
    return CalibrationCurve(said, came, counts[filled].astype(np.int64))


def expected_calibration_error(probabilities: Any, outcomes: Any, *, bins: int = 10, by: str = "width") -> float:
    """Mean over rows of |mean probability - share of outcomes| of the row's bin (Naeini et al., 2015)."""
    curve = calibration_curve(probabilities, outcomes, bins=bins, by=by)
    return float((curve.counts * np.abs(curve.said - curve.came)).sum() / curve.counts.sum())


def probability_figures(probabilities: Any, outcomes: Any) -> dict[str, float]:
    """All figures by name, with the base rate and the mean probability."""
    values, happened = _checked(probabilities, outcomes)
    return {
        "base_rate": float(happened.mean()),
        "mean_probability": float(values.mean()),
        "auc": auc(values, happened),
        "log_loss": log_loss(values, happened),
        "normalised_entropy": normalised_entropy(values, happened),
        "expected_calibration_error": expected_calibration_error(values, happened),
        "expected_calibration_error_by_count": expected_calibration_error(values, happened, by="count"),
    }


def _checked(probabilities: Any, outcomes: Any) -> tuple[FloatArray, FloatArray]:
    values = np.asarray(probabilities, dtype=np.float64)
    happened = np.asarray(outcomes, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0 or values.shape != happened.shape:
        raise DataError(
            f"There must be one probability and one outcome a row, and a row at least; got shapes {values.shape} and "
            f"{happened.shape}."
        )
    wrong = ~((values >= 0) & (values <= 1))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(f"The probability of row {row + 1} is {values[row]}; it must be from 0 to 1.")
    wrong = ~np.isin(happened, (0, 1))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(f"The outcome of row {row + 1} is {happened[row]}; it must be 0 or 1.")
    return values, happened
