"""What stands in one panel of a plot. A name stands above its bar, not beside it, so that long names fit a phone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from evaluation.reproduction.report_svg import COLOURS, SERIES, Panel
from evaluation.reproduction.report_text import (
    estimate_interval,
    figure,
    finite,
    paper_figure,
    paper_signed,
    relative,
    shorten,
    signed,
)
from evaluation.reproduction.results import Difference, Estimate, Histogram

__all__ = ["Bar", "CurveLine", "Gain", "bars_panel", "gains_panel", "histogram_panel", "lines_panel"]

_LINE = 28.0  # points for a name and its bar
_HEAD, _FOOT = 2.0, 17.0  # points above what is drawn, and below for the scale
_NAME = 40  # columns of a name
_MARKERS = ("o", "s", "^", "D", "v", "P")
_DASHES: tuple[str | tuple[int, tuple[float, ...]], ...] = (
    "-",
    (0, (5, 2)),
    (0, (1.5, 1.5)),
    (0, (6, 2, 1.5, 2)),
    (0, (3, 1)),
    (0, (1, 3)),
)


@dataclass(frozen=True)
class Bar:
    """A bar: its name, the figure found, the paper's, and its part in the comparison, which is its colour."""

    label: str
    found: Estimate
    paper: float | None
    role: Literal["ours", "reference", "other"]


@dataclass(frozen=True)
class Gain:
    """A dot on the line of differences, and the paper's difference."""

    label: str
    difference: Difference
    paper: float | None


@dataclass(frozen=True)
class CurveLine:
    """A line: its name, the place of its colour, and its points, with intervals where there are any."""

    label: str
    place: int
    x: tuple[float, ...]
    y: tuple[float, ...]
    band: tuple[tuple[float | None, float | None], ...] = ()


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None and finite(value) is not None]


def _names_down(axes: Axes, names: Sequence[str], left: float, width: int = _NAME) -> None:
    """Lines from top to bottom, each with its name above it, beginning at `left` of the axis."""
    axes.set_ylim(len(names) - 0.35, -0.75)
    axes.set_yticks([])
    for place, name in enumerate(names):
        axes.text(left, place - 0.36, shorten(name, width), va="center", ha="left", fontsize=9)


def _diamond(axes: Axes, x: float, y: float) -> None:
    """The paper's figure."""
    axes.scatter([x], [y], marker="D", s=26, color=COLOURS["paper"], edgecolors=COLOURS["page"], linewidths=1, zorder=3)


def bars_panel(title: str, bars: Sequence[Bar], every: Sequence[Bar]) -> Panel:
    """Horizontal bars from zero, on the scale of all the bars of the plot."""
    largest = max([0.01, *_numbers([part for bar in every for part in (bar.found.value, bar.found.high, bar.paper)])])
    limit = largest * 1.04
    with_paper = any(finite(bar.paper) is not None for bar in every)
    # figures stand at the end of the name's line, ours before the paper's: beside a mark they would be taken for its
    place_ours = limit * (0.87 if with_paper else 1.0)
    words = "; ".join(
        f"{bar.label} {figure(bar.found.value)} {estimate_interval(bar.found)}".rstrip()
        + (f", paper {paper_figure(bar.paper)}" if finite(bar.paper) is not None else "")
        for bar in bars
    )

    def draw(axes: Axes) -> None:
        axes.set_xlim(0, limit)
        _names_down(axes, [bar.label for bar in bars], 0, _NAME - (14 if with_paper else 8))
        for place, bar in enumerate(bars):
            y = place + 0.13
            axes.barh([y], [bar.found.value], height=0.42, color=COLOURS[bar.role])
            low, high = finite(bar.found.low), finite(bar.found.high)
            if low is not None and high is not None:
                axes.plot([low, high], [y, y], color=COLOURS["ink"], linewidth=1.1, solid_capstyle="butt")
            text: dict[str, Any] = {"va": "center", "ha": "right", "fontsize": 9}
            axes.text(place_ours, place - 0.36, figure(bar.found.value), fontweight="bold", **text)
            paper = finite(bar.paper)
            if paper is not None:
                _diamond(axes, paper, y)
                axes.text(limit, place - 0.36, paper_figure(paper), color=COLOURS["paper"], style="italic", **text)
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2g}"))

    return Panel(title, f"{title}: {words}.", _LINE * len(bars) + _HEAD + _FOOT, _HEAD, _FOOT, draw)


def gains_panel(title: str, gains: Sequence[Gain], every: Sequence[Gain]) -> Panel:
    """Dots with intervals around a line at zero, on the scale of all the gains of the plot."""
    ends = _numbers(
        [
            0.0,
            *(
                part
                for gain in every
                for part in (gain.difference.value, gain.difference.low, gain.difference.high, gain.paper)
            ),
        ]
    )
    low, high = min(ends), max(ends)
    span = max(high - low, 0.01)
    limits = low - 0.06 * span, high + 0.06 * span
    words = "; ".join(
        f"{gain.label} {_gain_text(gain.difference)} {estimate_interval(gain.difference)}, "
        + ("beyond noise" if gain.difference.beyond_noise else "within noise")
        + (f", paper {paper_signed(gain.paper)}" if gain.paper is not None else "")
        for gain in gains
    )

    def draw(axes: Axes) -> None:
        axes.set_xlim(*limits)
        _names_down(axes, [gain.label for gain in gains], limits[0], _NAME - 15)
        for place, gain in enumerate(gains):
            found, y = gain.difference, place + 0.13
            ends = [part for part in (found.low, found.high) if part is not None]
            axes.plot([0, 0], [y - 0.17, y + 0.19], color=COLOURS["quiet"], linewidth=1)
            axes.plot(ends, [y] * len(ends), color=COLOURS["ours"], linewidth=2.2, solid_capstyle="round")
            inside = COLOURS["ours"] if found.beyond_noise else COLOURS["page"]
            axes.scatter(
                [found.value], [y], s=24, facecolors=inside, edgecolors=COLOURS["ours"], linewidths=1.5, zorder=4
            )
            if gain.paper is not None:
                _diamond(axes, gain.paper, y)
            axes.text(limits[1], place - 0.36, _gain_text(found), va="center", ha="right", fontsize=8.5)
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: signed(value).rstrip("0").rstrip(".") or "0"))

    return Panel(title, f"{title}: {words}.", _LINE * len(gains) + _HEAD + _FOOT, _HEAD, _FOOT, draw)


def _gain_text(found: Difference) -> str:
    share = finite(found.relative)
    return signed(found.value) + ("" if share is None else f" ({relative(share)})")


def histogram_panel(
    title: str, words: str, one: Histogram, means: tuple[float, float], limits: tuple[float, float]
) -> Panel:
    """Two hills over the same bins: positives filled, random dashed, a tick at the mean of each."""

    def draw(axes: Axes) -> None:
        axes.stairs(one.positive, one.edges, fill=True, color=COLOURS["ours"], alpha=0.35)
        axes.stairs(one.positive, one.edges, color=COLOURS["ours"], linewidth=1.4, label="with positives")
        axes.stairs(one.random, one.edges, color=COLOURS["quiet"], linewidth=1.4, linestyle="--", label="with random")
        top = max([0.01, *one.positive, *one.random])
        for mean, colour in zip(means, (COLOURS["ours"], COLOURS["quiet"]), strict=True):
            if finite(mean) is not None:
                axes.plot([mean, mean], [0, top * 1.03], color=colour, linewidth=0.9, linestyle=":")
                axes.text(mean, top * 1.06, figure(mean), color=colour, fontsize=8.5, ha="center", va="bottom")
        axes.set_xlim(*limits)
        axes.set_ylim(0, top * 1.45)
        axes.set_yticks([])
        axes.set_xlabel("cosine", labelpad=1)
        axes.legend(loc="upper left", ncols=2, borderaxespad=0, handlelength=1.8, columnspacing=1.2)

    return Panel(title, words, 150, 2, 27, draw)


def lines_panel(
    title: str,
    words: str,
    lines: Sequence[CurveLine],
    *,
    x_label: str,
    logarithmic: bool = False,
    from_zero: bool = False,
) -> Panel:
    """Lines with bands, told apart by colour, dashes and (where the points are few) markers; names above."""
    # a figure of the scale stands above its line, the names above that
    head = 14.0 + (13.0 * -(-len(lines) // 2) if len(lines) > 1 else 0.0)

    def draw(axes: Axes) -> None:
        for line in lines:
            style = line.place % len(SERIES)
            axes.plot(
                line.x,
                line.y,
                color=SERIES[style],
                linestyle=_DASHES[style],
                marker=_MARKERS[style] if len(line.x) <= 12 else None,
                markersize=4.5,
                label="\u200a" + shorten(line.label, 22),  # a leading underscore would keep it out of the legend
            )
            ends = [(x, *pair) for x, pair in zip(line.x, line.band, strict=False) if None not in pair]
            if ends:
                x, low, high = np.array(ends, dtype=np.float64).T
                axes.fill_between(x, low, high, color=SERIES[style], alpha=0.16, linewidth=0)
        if logarithmic:
            axes.set_xscale("log")
            axes.minorticks_off()
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
        else:
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
        if from_zero:
            axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        # the scale's figures stand on its lines, inside: the panel keeps its width for the lines
        low, high = axes.get_xlim()
        if logarithmic:
            axes.set_xlim(low * (low / high) ** 0.11, high)
        else:
            axes.set_xlim(low - (high - low) * 0.11, high)
        for label in axes.get_yticklabels():
            label.set_horizontalalignment("left")
            label.set_verticalalignment("bottom")
        axes.tick_params(axis="y", pad=0)
        axes.set_xlabel(x_label, labelpad=1)
        if len(lines) > 1:
            axes.legend(
                loc="lower left",
                bbox_to_anchor=(-0.01, 1.0 + 12 / 110),
                ncols=2,
                borderaxespad=0,
                handlelength=2.6,
                columnspacing=1.2,
            )

    return Panel(title, words, 150 + head, head, 27, draw)


def _short(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
