"""Pictures of a comparison of interest classifiers, as PNG, from its JSON."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from evaluation.bootstrap import Interval
from evaluation.interests.systems import OURS
from evaluation.plots import BarPanel, save_bars

__all__ = ["interval_of", "save_plots"]

_COLOURS = ("#1f6feb", "#9a6700", "#57606a", "#8250df", "#1a7f37", "#cf222e")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_COLUMNS = 3
_LARGEST_FAMILY = 12  # siblings in a confusion picture


def save_plots(folder: Path, found: dict[str, Any]) -> list[str]:
    """Write the pictures that the figures allow, and give their names: precision, by training size, and so on."""
    names = list(found["systems"])
    panels = []
    for level in found["levels"]:
        intervals = [interval_of(level["systems"][name]["precision_at_coverage_1"]) for name in names]
        panels.append(BarPanel(f"level {level['level']}: {level['interests']:,} interests", tuple(intervals)))
    save_bars(
        folder / "precision.png",
        names,
        panels,
        title="Precision of the interest of a query, as many answered as have one",
        label="precision, percent, with 95% bootstrap intervals over queries",
        highlight=OURS,
    )
    written = ["precision.png"]
    _save(
        folder / "training_size.png",
        [(f"level {level['level']}", _training_panel(level, names)) for level in found["levels"]],
        "Share of queries whose interest is named, by training queries of the interest",
        "training queries of the interest",
        "percent",
    )
    _save(
        folder / "reliability.png",
        [(f"level {place}", _reliability_panel(found, names, place)) for place in range(len(found["levels"]))],
        "Reliability: precision of answers by how sure they are",
        "confidence",
        "precision",
    )
    written += ["training_size.png", "reliability.png"]
    if found["curves"]:
        _save(
            folder / "learning_curves.png",
            [(f"level {curve['level']}", _curve_panel(curve, names)) for curve in found["curves"]],
            "Precision by number of training queries of each interest",
            "most training queries of an interest",
            "percent",
        )
        written.append("learning_curves.png")
    shown = OURS if OURS in names else names[0]
    family = _family(found["confusions"][shown])
    if family is not None:
        _save(
            folder / "confusion.png",
            [family],
            f"Siblings taken for each other by {shown}: queries (rows: true, columns: given)",
            "",
            "",
            size=5.0,
        )
        written.append("confusion.png")
    return written


def _save(
    path: Path,
    panels: Sequence[tuple[str, Callable[[Axes], None]]],
    title: str,
    across: str,
    up: str,
    size: float = 3.4,
) -> None:
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(0.8 + (size + 0.4) * columns, 1.0 + size * rows), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (name, draw) in zip(axes, panels, strict=False):
        draw(axis)
        axis.set_title(name, fontsize=10)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    if handles:
        axes[0].legend(handles, labels, fontsize=7, frameon=False)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    figure.suptitle(title, fontsize=11)
    figure.supxlabel(across, fontsize=9)
    figure.supylabel(up, fontsize=9)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # an interest may be named in any script
        figure.savefig(path, format="png", metadata={"Software": None})


def _lines(axis: Axes, places: Sequence[float], series: Sequence[tuple[str, Sequence[Interval]]]) -> None:
    for index, (name, intervals) in enumerate(series):
        values = np.array([interval.value for interval in intervals]) * 100
        low = np.array([interval.low for interval in intervals]) * 100
        high = np.array([interval.high for interval in intervals]) * 100
        colour = _COLOURS[index % len(_COLOURS)]
        axis.plot(places, values, label=name, color=colour, marker=_MARKERS[index % len(_MARKERS)], markersize=4)
        axis.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
    axis.set_ylim(0, 102)


def _training_panel(level: dict[str, Any], names: Sequence[str]) -> Callable[[Axes], None]:
    bins = [group for group in level["groups"] if group not in ("head", "tail")]

    def draw(axis: Axes) -> None:
        series = [
            (name, [interval_of(level["systems"][name][f"accuracy_of_{group}"]) for group in bins]) for name in names
        ]
        _lines(axis, list(range(len(bins))), series)
        axis.set_xticks(range(len(bins)), bins)

    return draw


def _curve_panel(curve: dict[str, Any], names: Sequence[str]) -> Callable[[Axes], None]:
    def draw(axis: Axes) -> None:
        points = curve["points"]
        series = [
            (name, [interval_of(point["precision"][name]) for point in points])
            for name in names
            if name in points[0]["precision"]
        ]
        sizes = [point["examples"] for point in points]
        _lines(axis, sizes, series)
        axis.set_xscale("log")
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.minorticks_off()

    return draw


def _reliability_panel(found: dict[str, Any], names: Sequence[str], level: int) -> Callable[[Axes], None]:
    def draw(axis: Axes) -> None:
        axis.plot([0, 1], [0, 1], color="#d0d7de", linewidth=1)
        for index, name in enumerate(names):
            bins = found["reliability"][name][level]
            axis.plot(
                [one["confidence"] for one in bins],
                [one["precision"] for one in bins],
                label=name,
                color=_COLOURS[index % len(_COLOURS)],
                marker=_MARKERS[index % len(_MARKERS)],
                markersize=4,
            )
        axis.set_xlim(0, 1)
        axis.set_ylim(0, 1.02)

    return draw


def _family(levels: Sequence[Sequence[dict[str, Any]]]) -> tuple[str, Callable[[Axes], None]] | None:
    """The siblings, below one parent, that are most often taken for each other, as a square of counts."""
    totals: dict[tuple[str, ...], int] = {}
    for pairs in levels:
        for pair in pairs:
            parent = tuple(pair["true"][:-1])
            totals[parent] = totals.get(parent, 0) + pair["queries"]
    if not totals:
        return None
    parent = min(totals, key=lambda path: (-totals[path], path))
    pairs = [pair for level in levels for pair in level if tuple(pair["true"][:-1]) == parent]
    often: dict[str, int] = {}
    for pair in pairs:
        for side in ("true", "given"):
            often[pair[side][-1]] = often.get(pair[side][-1], 0) + pair["queries"]
    members = sorted(sorted(often, key=lambda name: (-often[name], name))[:_LARGEST_FAMILY])
    counts = np.zeros((len(members), len(members)), dtype=np.int64)
    for pair in pairs:
        own, mine = pair["true"][-1], pair["given"][-1]
        if own in members and mine in members:
            counts[members.index(own), members.index(mine)] += pair["queries"]
    short = [name.rsplit("/", 1)[-1][:24] for name in members]

    def draw(axis: Axes) -> None:
        axis.imshow(counts, cmap="Blues")
        axis.set_xticks(range(len(short)), short, rotation=90, fontsize=7)
        axis.set_yticks(range(len(short)), short, fontsize=7)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                light = count > counts.max() / 2
                axis.text(column, row, str(count), ha="center", va="center", fontsize=7, color="w" if light else "k")

    return f"below {parent[-1]}" if parent else "at the root", draw


def interval_of(found: dict[str, float | None] | None) -> Interval:
    """The interval that `evaluation.tables.json_interval` wrote; what is null is NaN."""
    if found is None:
        return Interval(np.nan, np.nan, np.nan)
    figures = [found[name] for name in ("value", "low", "high")]
    return Interval(*(np.nan if figure is None else figure for figure in figures))
