"""Results of studies as Markdown and as cells of text."""

from collections.abc import Sequence

import numpy as np

from evaluation.bootstrap import Interval

__all__ = ["difference_cell", "interval_cell", "json_interval", "markdown_table", "text_table"]


def interval_cell(interval: Interval, decimals: int = 1, scale: float = 100.0) -> str:
    """`48.2 [46.9, 49.5]`, in percent unless scaled otherwise; a dash where there is no value."""
    if np.isnan(interval.value):
        return "–"
    value = f"{interval.value * scale:.{decimals}f}"
    if np.isnan(interval.low):
        return value
    return f"{value} [{interval.low * scale:.{decimals}f}, {interval.high * scale:.{decimals}f}]"


def difference_cell(interval: Interval | None, decimals: int = 1, scale: float = 100.0) -> str:
    """`-3.1 [-4.0, -2.2]`, with a sign; a dash where there is none."""
    if interval is None or np.isnan(interval.value):
        return "–"
    value = f"{interval.value * scale:+.{decimals}f}"
    if np.isnan(interval.low):
        return value
    return f"{value} [{interval.low * scale:+.{decimals}f}, {interval.high * scale:+.{decimals}f}]"


def json_interval(interval: Interval | None) -> dict[str, float | None] | None:
    """`{"value", "low", "high"}`; NaN, which JSON has not, becomes null."""
    if interval is None:
        return None
    figures = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {name: None if np.isnan(figure) else figure for name, figure in figures.items()}


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; the first column to the left, the others to the right. Bars and line breaks are escaped."""
    lines = [_line(columns), _line(["---"] + ["---:"] * (len(columns) - 1))]
    return "\n".join(lines + [_line(row) for row in rows])


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def text_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """The same table for a terminal: columns aligned, as wide as they need to be, never folded."""
    cells = [[str(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    lines = []
    for row in cells:
        first, others = row[0].ljust(widths[0]), [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([first, *others[1:]]).rstrip())
    return "\n".join(lines)
