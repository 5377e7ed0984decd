"""A picture of whether probabilities mean what they say."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ranking.probability_metrics import CalibrationCurve

__all__ = ["save_calibration"]


def save_calibration(path: Path, curve: CalibrationCurve, title: str = "Said and came") -> Path:
    """Write a calibration curve as PNG, with the rows of each bin below it; returns the path."""
    figure = Figure(figsize=(5, 5.6), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    largest = float(max(curve.said.max(), curve.came.max())) * 1.05 or 1.0
    upper.plot([0, largest], [0, largest], color="#999999", linewidth=1, linestyle="--", label="said = came")
    # the share's own uncertainty: two standard errors of a binomial
    error = 2 * np.sqrt(curve.came * (1 - curve.came) / curve.counts)
    upper.errorbar(
        curve.said, curve.came, yerr=error, color="#1f6feb", marker="o", markersize=4, linewidth=1, capsize=2,
        label="share that came, with two standard errors",
    )  # fmt: skip
    upper.set_ylabel("share of rows with the outcome", fontsize=9)
    upper.legend(fontsize=8, frameon=False, loc="upper left")
    upper.set_title(title, fontsize=11)
    lower.vlines(curve.said, 0.5, curve.counts, color="#1f6feb", linewidth=4)
    lower.set_yscale("log")
    lower.set_ylim(bottom=0.5)
    lower.set_ylabel("rows", fontsize=9)
    lower.set_xlabel("mean probability of the bin", fontsize=9)
    for axis in (upper, lower):
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    figure.savefig(path, format="png", metadata={"Software": None})
    return path
