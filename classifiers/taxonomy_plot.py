"""A tree of interests as a picture."""

import math
import warnings
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from classifiers.taxonomy import Taxonomy
from omnifeat.errors import SettingError

__all__ = ["PICTURES", "draw_taxonomy"]

PICTURES = (".svg", ".png")
_LINE = 0.2  # inches of a row
_ROWS = 400  # most rows of a picture: more cannot be read
_COLOURS = ("#1f6feb", "#2f8f5b", "#b36a00", "#8250df", "#c2255c", "#57606a")


def draw_taxonomy(
    taxonomy: Taxonomy, path: Path, *, kind: str, most: int = 12, counts: Mapping[str, int] | None = None
) -> int:
    """Write the tree from left to right, a row an interest; returns the rows drawn.

    Parameters
    ----------
    path, kind
        The file, and what it is: ".svg" or ".png".
    most
        Children of each interest that are drawn at most; a row counts the others. Where the picture would have more
        than 400 rows, its deepest levels are counted instead, and then fewer children drawn.
    counts
        Queries of each interest, drawn behind its name.

    Raises
    ------
    SettingError
        The kind is neither, or `most` is below 1.
    """
    if kind not in PICTURES:
        raise SettingError(f"A picture of interests is of {' or '.join(PICTURES)}; got {kind!r}.")
    if most < 1:
        raise SettingError(f"At least one child of each interest must be drawn; got {most}.")
    levels = taxonomy.depth
    while len(rows := _rows(taxonomy, most, levels)) > _ROWS and (levels > 1 or most > 1):
        levels, most = (levels - 1, most) if levels > 1 else (levels, most // 2)
    place = {interest: row for row, (interest, _, _) in enumerate(rows) if interest is not None}
    step = 2.2
    height = 0.7 + _LINE * len(rows)
    figure = Figure(figsize=(1.5 + step * levels, height), dpi=120)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.02, 0.1 / height, 0.97, 1 - 0.5 / height))
    axes.set_axis_off()
    axes.set_xlim(-0.05, levels + 0.6)
    axes.set_ylim(len(rows) - 0.3, -0.7)
    widest = max(counts.values(), default=0) if counts else 0
    for row, (interest, level, text) in enumerate(rows):
        x = level - 1
        colour = _COLOURS[(level - 1) % len(_COLOURS)]
        parent = None if interest is None else taxonomy.parents[interest]
        if parent is not None:
            above = place[parent]
            axes.plot([x - 0.97, x - 0.97, x - 0.02], [above + 0.3, row, row], color="#c8ccd1", linewidth=0.8, zorder=1)
        if interest is None:
            axes.text(x + 0.04, row, text, va="center", fontsize=7, color="#57606a", style="italic", parse_math=False)
            continue
        count = counts.get(interest, 0) if counts is not None else None
        size = 14 if not widest or count is None else 4 + 40 * math.sqrt(count / widest)
        axes.scatter([x], [row], s=size, color=colour, zorder=2)
        told = text if count is None else f"{text}  {count:,}"
        axes.text(x + 0.06, row, told, va="center", fontsize=8, parse_math=False)
    shown = f", of which {levels} are drawn" if levels < taxonomy.depth else ""
    title = f"{len(taxonomy.parents):,} interests on {taxonomy.depth} levels{shown}"
    figure.suptitle(title, fontsize=10, x=0.02, ha="left", y=1 - 0.1 / height, va="top")
    with warnings.catch_warnings(), mpl.rc_context({"svg.hashsalt": "omnifeat", "svg.fonttype": "none"}):
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a script that the font lacks
        metadata = {"Date": None} if kind == ".svg" else {"Software": None}
        figure.savefig(path, format=kind[1:], metadata=metadata)
    return len(rows)


def _rows(taxonomy: Taxonomy, most: int, levels: int) -> list[tuple[str | None, int, str]]:
    """Interest (None for a row that counts those left out), level from 1 and text of each row."""
    below = taxonomy.below()
    found: list[tuple[str | None, int, str]] = []
    waiting: list[tuple[str | None, int, str]] = _children(taxonomy, None, 1, most, below)
    while waiting:
        interest, level, text = waiting.pop()
        if interest is not None and level == levels and below[interest]:
            text += f"  ({below[interest]:,} below)"
        found.append((interest, level, text))
        if interest is not None and level < levels:
            waiting += _children(taxonomy, interest, level + 1, most, below)
    return found


def _children(
    taxonomy: Taxonomy, parent: str | None, level: int, most: int, below: Mapping[str, int]
) -> list[tuple[str | None, int, str]]:
    """Rows of the children of an interest, last one first."""
    children = taxonomy.children(parent)
    shown = children if len(children) <= most + 1 else children[:most]
    rows: list[tuple[str | None, int, str]] = [(child, level, taxonomy.names[child]) for child in shown]
    left = children[len(shown) :]
    if left:
        rows.append((None, level, f"{len(left) + sum(below[child] for child in left):,} more"))
    return rows[::-1]
