"""Monotone maps from a model's raw probabilities to calibrated ones, fitted on rows that the model never learnt from.

Both are scikit-learn's; what is kept of them is a few numbers, so that a saved model needs no pickle.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from omnifeat.errors import DataError, SettingError

__all__ = ["CALIBRATIONS", "Calibration", "check_calibration", "fit_calibration"]

FloatArray = npt.NDArray[np.float64]

CALIBRATIONS = ("platt", "isotonic", "none")
_EDGE = 1e-9  # keeps a logit finite


SavedCalibration = dict[str, str | list[float]]
"""A `Calibration` in JSON."""


@dataclass(frozen=True)
class Calibration:
    """A monotone map of [0, 1] into itself.

    `kind` is `platt` (`numbers` holds slope and offset: sigmoid(slope * logit(p) + offset)), `isotonic` (`numbers`
    holds the places of the steps' ends, rising, and then as many values; straight lines between, level outside) or
    `none`.
    """

    kind: str
    numbers: tuple[float, ...] = ()

    def apply(self, raw: Any) -> FloatArray:
        """Calibrated probabilities, float64 in the shape of `raw`, which must lie in 0 to 1; NaN stays."""
        values = np.asarray(raw, dtype=np.float64)
        if self.kind == "platt":
            slope, offset = self.numbers
            return np.clip(_sigmoid(slope * _logit(values) + offset), _EDGE, 1 - _EDGE)
        if self.kind == "isotonic":
            ends, steps = np.split(np.array(self.numbers), 2)
            return np.interp(values, ends, steps)
        return values.copy()

    def to_json(self) -> dict[str, Any]:
        """Values that JSON holds exactly."""
        return {"kind": self.kind, "numbers": list(self.numbers)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Calibration":
        """What `to_json` gave; raises `ValueError` where its numbers are no such map."""
        kind, found = values.get("kind"), np.array(values.get("numbers"), dtype=np.float64)
        if kind not in CALIBRATIONS or found.ndim != 1:
            raise ValueError(f"a calibration of kind {kind!r} is none of {', '.join(CALIBRATIONS)}")
        if kind == "platt":
            fits = len(found) == 2 and found[0] >= 0
        elif kind == "isotonic":
            ends, steps = found[: len(found) // 2], found[len(found) // 2 :]
            fits = len(ends) == len(steps) > 0 and _rises_within(ends) and _rises_within(steps)
        else:
            fits = len(found) == 0
        if not fits or not np.isfinite(found).all():
            raise ValueError(f"the numbers of a calibration are none of kind {kind!r}")
        return cls(kind, tuple(found.tolist()))


def check_calibration(kind: str) -> None:
    """Raise `SettingError` for a calibration that there is none of."""
    if kind not in CALIBRATIONS:
        raise SettingError(f"The 'calibration' setting must be one of {', '.join(CALIBRATIONS)}; got {kind!r}.")


def fit_calibration(kind: str, raw: Any, outcomes: Any) -> Calibration:
    """Fit a map to what came of held-out rows.

    Parameters
    ----------
    kind : `platt`, `isotonic` or `none`
        `platt` (Platt, 1999) keeps the order of all that differs, for its slope is never below 0; `isotonic` (Zadrozny
        and Elkan, 2002) takes any rising shape, needs more rows and makes ties.
    raw : (n,) in 0 to 1
        Raw probabilities.
    outcomes : (n,) 0 or 1

    Notes
    -----
    No result is ever 0 or 1, which would make one surprise infinitely bad. Platt's rule is used for both: with n1 and
    n0 outcomes of either kind, the targets of `platt` are (n1 + 1) / (n1 + 2) and 1 / (n0 + 2), and the steps of
    `isotonic` are kept between 1 / (n0 + 2) and (n1 + 1) / (n1 + 2), though never on the wrong side of the base rate.

    Raises
    ------
    SettingError
        No such kind.
    DataError
        No row, or values that are no probabilities.
    """
    check_calibration(kind)
    values = np.asarray(raw, dtype=np.float64)
    happened = np.asarray(outcomes, dtype=np.float64)
    if len(values) == 0 or values.shape != happened.shape or not ((values >= 0) & (values <= 1)).all():
        raise DataError("Calibration needs rows with a probability from 0 to 1 and an outcome each; got others.")
    if kind == "none":
        return Calibration("none")
    # sums depend on the order of rows in their last bits
    order = np.lexsort((happened, values))
    values, happened = values[order], happened[order]
    ones = float(happened.sum())
    base = ones / len(happened)
    low = min(1 / (len(happened) - ones + 2), base) or 1 / (len(happened) + 2)
    high = max((ones + 1) / (ones + 2), base)
    if high == 1:
        high = 1 - 1 / (len(happened) + 2)
    if kind == "isotonic":
        from sklearn.isotonic import IsotonicRegression

        fitted = IsotonicRegression(y_min=low, y_max=high).fit(values, happened)
        return Calibration("isotonic", (*fitted.X_thresholds_.tolist(), *fitted.y_thresholds_.tolist()))
    return _fit_platt(values, happened, low, high)


def _fit_platt(values: FloatArray, happened: FloatArray, low: float, high: float) -> Calibration:
    from sklearn.linear_model import LogisticRegression

    # A target between 0 and 1 is a row of each outcome, weighed by it.
    targets = np.where(happened == 1, high, low)
    logits = _logit(values)
    both = np.concatenate([logits, logits])[:, None]
    outcomes = np.concatenate([np.ones(len(values)), np.zeros(len(values))])
    weights = np.concatenate([targets, 1 - targets])
    # C is so large that the penalty is none: it only keeps the problem of a constant score from having many answers.
    fitted = LogisticRegression(C=1e6, tol=1e-8, max_iter=1_000).fit(both, outcomes, sample_weight=weights)
    slope, offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    if slope <= 0:  # the score says nothing, or the opposite of what it should: the base rate for all
        mean = float(targets.mean())
        return Calibration("platt", (0.0, float(np.log(mean / (1 - mean)))))
    return Calibration("platt", (slope, offset))


def _rises_within(values: FloatArray) -> bool:
    """Whether the numbers never fall and lie in 0 to 1."""
    return bool((np.diff(values) >= 0).all() and values[0] >= 0 and values[-1] <= 1)


def _logit(values: FloatArray) -> FloatArray:
    inside = np.clip(values, _EDGE, 1 - _EDGE)
    return np.log(inside) - np.log1p(-inside)


def _sigmoid(logits: FloatArray) -> FloatArray:
    from scipy.special import expit

    return np.asarray(expit(logits), dtype=np.float64)
