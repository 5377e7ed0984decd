"""Pictures of results, as PNG."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from evaluation.bootstrap import Interval

__all__ = ["BarPanel", "save_bars"]

_COLUMNS = 3  # panels side by side
_COLOURS = ("#9aa5b1", "#1f6feb")  # others, and what is pointed out


@dataclass(frozen=True)
class BarPanel:
    """One panel of bars: a title and an interval for each name."""

    title: str
    intervals: tuple[Interval, ...]


def save_bars(
    path: Path,
    names: Sequence[str],
    panels: Sequence[BarPanel],
    *,
    title: str,
    label: str,
    highlight: str | None = None,
) -> None:
    """Write horizontal bars in percent with their intervals, one panel per group, all on one scale from zero.

    Parameters
    ----------
    path
        PNG to write.
    names
        Of the bars, from top to bottom.
    panels
        Each has one interval per name; a value of NaN draws nothing.
    title, label
        Of the figure, and of the axis.
    highlight
        Name of the bar that is coloured.
    """
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(
        figsize=(2.2 + 3.6 * columns, 1.3 + rows * (0.9 + 0.32 * len(names))), layout="constrained", dpi=150
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True, sharex=True).ravel()
    largest = np.nanmax(
        [0.01]
        + [value for panel in panels for interval in panel.intervals for value in (interval.value, interval.high)]
    )
    colours = [_COLOURS[name == highlight] for name in names]
    places = np.arange(len(names))
    for axis, panel in zip(axes, panels, strict=False):
        values = np.nan_to_num(np.array([interval.value for interval in panel.intervals])) * 100
        axis.barh(places, values, color=colours, height=0.7)
        for place, (interval, value) in enumerate(zip(panel.intervals, values, strict=True)):
            end = value
            if not np.isnan(interval.low):
                axis.plot([interval.low * 100, interval.high * 100], [place, place], color="black", linewidth=1.2)
                end = max(value, interval.high * 100)
            if not np.isnan(interval.value):
                axis.annotate(
                    f"{value:.1f}", (end, place), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8
                )
        axis.set_title(panel.title, fontsize=10)
        axis.set_xlim(0, largest * 100 * 1.18)
        axis.set_yticks(places, list(names), fontsize=9)
        axis.tick_params(axis="x", labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()  # the axes share their scale: once turns all of them
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    figure.suptitle(title, fontsize=11)
    figure.supxlabel(label, fontsize=9)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a group may be named in any script
        figure.savefig(path, format="png", metadata={"Software": None})
