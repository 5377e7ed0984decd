"""The plots of a report: which there are, what each says in words, and the panels that they are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from evaluation.reproduction.report_draw import (
    Bar,
    CurveLine,
    Gain,
    bars_panel,
    gains_panel,
    histogram_panel,
    lines_panel,
)
from evaluation.reproduction.report_svg import Panel
from evaluation.reproduction.report_text import clean, count, duration, estimate_interval, figure, finite, slug
from evaluation.reproduction.report_view import paper_difference, row_named, table_names
from evaluation.reproduction.results import CORPUS_SIZES, Column, StudyResults, Table, Trained

__all__ = ["Figures", "Plot", "all_plots", "corpus_plot", "histogram_plot", "table_plots", "training_plot"]

_SAID = 12  # points of a curve that a table of its figures shows


@dataclass(frozen=True)
class Figures:
    """The figures of a plot as a table: the heads of its columns, and rows of text."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Plot:
    """A plot: `key` names its file, `caption` says what to look at, `figures` is None where a table beside has them."""

    key: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    figures: Figures | None = None


def _column_name(column: Column) -> str:
    return clean(f"{column.group} {column.label}")


def table_plots(results: StudyResults) -> dict[str, list[Plot]]:
    """Plots of each table by its key: gains where it has any with an interval, and bars of its shares."""
    names = table_names(results)
    return {
        table.key: [plot for plot in (_gains(table, names[table.key]), _bars(table, names[table.key])) if plot]
        for table in results.tables
    }


def _gains(table: Table, name: str) -> Plot | None:
    found: dict[tuple[str, str], list[Gain]] = {}
    for row in table.rows:
        for column in table.columns:
            cell = row.cells.get(column.key)
            if cell is None or cell.difference is None or column.unit != "share":
                continue
            if finite(cell.difference.value) is None or finite(cell.difference.low) is None:
                continue
            other = row_named(table, cell.difference.to)
            label = other.label if other is not None else cell.difference.to
            gain = Gain(_column_name(column), cell.difference, paper_difference(table, cell, column.key))
            found.setdefault((row.label, label), []).append(gain)
    if not found:
        return None
    every = [gain for gains in found.values() for gain in gains]
    with_paper = any(gain.paper is not None for gain in every)
    beyond = sum(gain.difference.beyond_noise for gain in every)
    return Plot(
        key=f"table-{slug(table.key)}-gains",
        title=f"{name}: gains",
        caption=(
            "Each dot is a difference found here, with its interval; the line at zero is no difference. A filled "
            f"dot lies beyond noise, a hollow one does not: {beyond} of {len(every)} do."
            + (" A diamond is the difference of the paper’s two figures." if with_paper else "")
        ),
        panels=tuple(gains_panel(f"{clean(row)} less {clean(to)}", gains, every) for (row, to), gains in found.items()),
    )


def _bars(table: Table, name: str) -> Plot | None:
    if table.key == CORPUS_SIZES:  # its rows are of many tables: side by side their figures say nothing
        return None
    with_paper = {row.key for row in table.rows if any(cell.paper is not None for cell in row.cells.values())}
    referred = {
        other.key
        for row in table.rows
        for cell in row.cells.values()
        if cell.difference is not None and (other := row_named(table, cell.difference.to)) is not None
    }
    columns: dict[str, list[Bar]] = {}
    for column in table.columns:
        for row in table.rows:
            cell = row.cells.get(column.key)
            if cell is None or column.unit != "share" or finite(cell.ours.value) is None:
                continue
            role: Literal["ours", "reference", "other"]
            role = "ours" if cell.difference is not None else "reference" if row.key in referred else "other"
            if with_paper and row.key not in with_paper:
                role = "other"
            columns.setdefault(column.key, []).append(Bar(clean(row.label), cell.ours, cell.paper, role))
    every = [bar for bars in columns.values() for bar in bars]
    if not every:
        return None
    if all(bar.role == "other" for bar in every):
        columns = {key: [Bar(bar.label, bar.found, bar.paper, "ours") for bar in bars] for key, bars in columns.items()}
    caption = "Bars are the figures found here, the thin lines their intervals; all panels have one scale."
    if with_paper:
        caption += (
            " A diamond, and the slanted figure, is the paper’s, of other data: look at the order of the bars, not at "
            "their length."
        )
    return Plot(
        key=f"table-{slug(table.key)}-bars",
        title=f"{name}: figures",
        caption=caption,
        panels=tuple(
            bars_panel(_column_name(column), columns[column.key], every)
            for column in table.columns
            if column.key in columns
        ),
    )


def _middle(edges: Sequence[float], shares: Sequence[float]) -> float:
    """Mean of the bins' middles, weighed by their shares."""
    total = sum(shares)
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    return sum(middle * share for middle, share in zip(middles, shares, strict=True)) / total if total else float("nan")


def histogram_plot(results: StudyResults) -> Plot | None:
    """Cosines of queries with their positives, and with random entities, as shares of each bin."""
    found = [one for one in results.histograms if len(one.edges) > 1]
    if not found:
        return None
    low, high = min(one.edges[0] for one in found), max(one.edges[-1] for one in found)
    panels, rows = [], []
    for one in found:
        means = _middle(one.edges, one.positive), _middle(one.edges, one.random)
        common = sum(min(pair) for pair in zip(one.positive, one.random, strict=True))
        title = clean(f"{one.system}, {one.entity_type}")
        words = (
            f"{title}: mean cosine {figure(means[0])} with positives, {figure(means[1])} with random entities; "
            f"the two share {figure(common * 100, 'plain')}% of their area."
        )
        panels.append(histogram_panel(title, words, one, means, (low, high)))
        rows.append((clean(one.system), clean(one.entity_type), *map(figure, means), figure(common)))
    return Plot(
        key="cosines",
        title="Cosines of positives and of random entities",
        caption=(
            "The further the filled hill (queries with what was engaged with) lies to the right of the dashed one (the "
            "same queries with random entities of the same type), the better a threshold or a ranker can tell the two "
            "apart. "
            "Heights are shares of each bin."
        ),
        panels=tuple(panels),
        figures=Figures(("system", "entities", "mean with positives", "mean with random", "shared area"), tuple(rows)),
    )


def _ends(line: CurveLine, at: str) -> str:
    """A line in words, by its ends."""
    (first, last), (low, high) = (line.x[0], line.x[-1]), (line.y[0], line.y[-1])
    return f"{line.label} from {figure(low)} {at} {count(first)} to {figure(high)} {at} {count(last)}"


def corpus_plot(results: StudyResults) -> Plot | None:
    """Recall@10 against the size of the random corpus: a panel for each entity type, a line for each system."""
    curves = [one for one in results.corpus_curves if one.sizes]
    if not curves:
        return None
    systems = list(dict.fromkeys(one.system for one in curves))
    rows = [
        (
            clean(one.system),
            clean(one.entity_type),
            count(size),
            f"{figure(recall.value)} {estimate_interval(recall)}".strip(),
        )
        for one in curves
        for size, recall in zip(one.sizes, one.recall, strict=True)
    ]
    panels = []
    for kind in dict.fromkeys(one.entity_type for one in curves):
        lines = [
            CurveLine(
                clean(one.system),
                systems.index(one.system),
                tuple(map(float, one.sizes)),
                tuple(found.value for found in one.recall),
                tuple((found.low, found.high) for found in one.recall),
            )
            for one in curves
            if one.entity_type == kind
        ]
        words = f"Recall@10 of {clean(kind)}: " + "; ".join(_ends(line, "among") for line in lines)
        panels.append(
            lines_panel(
                clean(kind), words + ".", lines, x_label="entities in the corpus", logarithmic=True, from_zero=True
            )
        )
    return Plot(
        key="corpus-size",
        title="Recall@10 and the size of the corpus",
        caption=(
            "Every tenfold of random entities makes the task harder; a system whose line falls less keeps its lead at "
            "the size of a real corpus. Bands are intervals."
        ),
        panels=tuple(panels),
        figures=Figures(("system", "entities", "corpus", "Recall@10"), tuple(rows)),
    )


def training_plot(results: StudyResults) -> Plot | None:
    """Loss of each training by step: a panel for each variation, a line for each seed."""
    found = [one for one in results.trained if len(one.curve) > 1]
    if not found:
        return None
    panels = []
    for name in dict.fromkeys(one.name for one in found):
        seeds = [one for one in found if one.name == name]
        lines = [
            CurveLine(
                f"seed {one.seed}",
                place,
                tuple(float(point.step) for point in one.curve),
                tuple(point.loss for point in one.curve),
            )
            for place, one in enumerate(seeds)
        ]
        words = f"Loss of {clean(name)}: " + "; ".join(_ends(line, "at step") for line in lines)
        panels.append(lines_panel(clean(name), words + ".", lines, x_label="step"))
    return Plot(
        key="training-curves",
        title="Training curves",
        caption=(
            "Mean loss since the point before. Losses of other tasks or other negatives are not comparable, so each "
            "panel has a scale of its own: look at whether a line has come to rest."
        ),
        panels=tuple(panels),
        figures=Figures(("training", "seed", "loss at steps", "time"), tuple(_curve_row(one) for one in found)),
    )


def _curve_row(one: Trained) -> tuple[str, ...]:
    step = -(-len(one.curve) // _SAID)
    points = [*one.curve[:-1:step], one.curve[-1]]
    said = ", ".join(f"{count(point.step)}: {figure(point.loss)}" for point in points)
    return clean(one.name), str(one.seed), said, duration(one.seconds)


def all_plots(results: StudyResults, of_tables: dict[str, list[Plot]]) -> Iterable[Plot]:
    """Every plot of a report, in its order."""
    for plots in of_tables.values():
        yield from plots
    for plot in (histogram_plot(results), corpus_plot(results), training_plot(results)):
        if plot is not None:
            yield plot
