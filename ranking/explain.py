"""What a model's scores are made of: SHAP values, from LightGBM itself, and their picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from omnifeat.errors import SettingError
from ranking.base import LightGBMModel, model_order
from ranking.features import read_features

__all__ = ["Explanation", "explain", "save_shap"]

FloatArray = npt.NDArray[np.float64]

_MOST = 20  # features in a picture
_DOTS = 1000  # rows in a picture


class Explanation:
    """SHAP values of a booster's raw scores.

    Attributes
    ----------
    names : tuple of str (features,)
        In the order of `fit`.
    shap : float64 (n, features)
        What each feature adds to the raw score of each row.
    base : float64 (n,)
        The score without any feature; `base` + the sum of `shap` is the raw score (of a probability: its log odds).
    values : float64 (n, features)
        The features themselves, NaN where missing.
    """

    def __init__(self, names: Sequence[str], shap: FloatArray, base: FloatArray, values: FloatArray) -> None:
        self.names, self.shap, self.base, self.values = tuple(names), shap, base, values

    @property
    def mean_absolute(self) -> FloatArray:
        """Mean size of each feature's part, float64 (features,)."""
        return np.asarray(np.abs(self.shap).mean(axis=0), dtype=np.float64)


def explain(
    model: LightGBMModel, X: Any, *, booster: str | None = None, encoder_fingerprint: str | None = None
) -> Explanation:
    """SHAP values of a model's booster on some rows.

    Parameters
    ----------
    booster
        Name of the booster, where the model has several (the action, for `L2Ranker` of method `per-action`).

    Raises
    ------
    SettingError
        There is no such booster, none is named among several, or one with several outputs a row.
    NotFittedError, DataError, FingerprintError
        As in `predict`.
    """
    values = model._values(X, encoder_fingerprint)
    names = list(model.boosters_)
    if booster is None and len(names) > 1:
        raise SettingError(f"The model has the boosters {', '.join(names)}; say which one to explain.")
    chosen = names[0] if booster is None else booster
    if chosen not in names:
        raise SettingError(f"The model has no booster {chosen!r}; it has {', '.join(map(repr, names))}.")
    width = len(model.manifest_.names) + 1
    found = model._boosted(values, chosen, pred_contrib=True)
    if found.shape != (len(values), width):
        raise SettingError(f"Booster {chosen!r} has several outputs for a row; only those of one are explained.")
    place = np.argsort(model_order(model.manifest_))  # of each feature of `fit` among the booster's
    return Explanation(
        model.manifest_.names, found[:, :-1][:, place], found[:, -1], model.manifest_.align(read_features(X))
    )


def save_shap(path: Path, explanation: Explanation, *, title: str = "What moves the model's score") -> Path:
    """Write a dot for each row and feature, at its SHAP value, coloured by the feature's rank, as PNG.

    The features of the largest mean size stand on top; at most 1,000 rows are drawn, spread evenly over those given.
    """
    sizes = explanation.mean_absolute
    order = sorted(range(len(sizes)), key=lambda place: (-sizes[place], explanation.names[place]))[:_MOST]
    rows = np.unique(np.linspace(0, len(explanation.shap) - 1, min(_DOTS, len(explanation.shap))).astype(int))
    figure = Figure(figsize=(7.5, 1.4 + 0.32 * len(order)), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    rng = np.random.default_rng(0)  # of the jitter alone
    dots = None
    for height, place in enumerate(order):
        ranks = _ranks(explanation.values[rows, place])
        missing = np.isnan(ranks)
        heights = height + rng.uniform(-0.3, 0.3, size=len(rows))
        parts = explanation.shap[rows, place]
        axis.scatter(parts[missing], heights[missing], s=5, c="#b8b8b8", linewidths=0)
        dots = axis.scatter(
            parts[~missing], heights[~missing], s=5, c=ranks[~missing], cmap="viridis", vmin=0, vmax=1, linewidths=0
        )
    axis.axvline(0, color="#888888", linewidth=0.8, zorder=0)
    names = [explanation.names[place].replace("$", r"\$") for place in order]
    axis.set_yticks(range(len(order)), names, fontsize=9)
    axis.invert_yaxis()
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_xlabel("SHAP value: what the feature adds to the raw score", fontsize=9)
    axis.set_title(title, fontsize=11)
    if dots is not None:
        bar = figure.colorbar(dots, ax=axis, ticks=[0, 1], aspect=30)
        bar.ax.set_yticklabels(["low", "high"], fontsize=8)
        bar.set_label("value of the feature (grey: missing)", fontsize=8)
    figure.savefig(path, format="png", metadata={"Software": None})
    return path


def _ranks(values: FloatArray) -> FloatArray:
    """Mid-ranks from 0 to 1; NaN where missing, 0.5 for a single value."""
    found = np.full(len(values), np.nan)
    there = ~np.isnan(values)
    distinct, places = np.unique(values[there], return_inverse=True)
    found[there] = places / (len(distinct) - 1) if len(distinct) > 1 else 0.5
    return found
