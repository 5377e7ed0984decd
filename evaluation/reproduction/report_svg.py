"""Plots as SVG: panels that stand each for itself in a page, or in one picture beside a Markdown file.

Matplotlib draws with colours that are names for what they stand for; here they become CSS variables, so that a page can
be light or dark, or the colours of a picture on white. Text stays text, in the reader's own font.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from evaluation.reproduction.report_text import clean, shorten, slug

__all__ = ["COLOURS", "SERIES", "Panel", "drawing", "page_svg", "picture_svg"]

WIDTH = 220.0  # points across a panel: drawn at about 300 pixels, its text is as large as the page's small text
_COLUMNS = 3  # panels side by side in a picture
_GAP = 22.0
_TITLE = 18.0
_SIDE = 8.0  # half of a figure under the first or last tick

# what each colour stands for: the colour that matplotlib draws it in -> its CSS variable, and its colour on white
_PALETTE = {
    "ink": ("#010101", "#1c2430"),
    "quiet": ("#020202", "#586473"),
    "grid": ("#030303", "#dfe3e8"),
    "ours": ("#040404", "#0b63b5"),
    "reference": ("#050505", "#7d93ab"),
    "other": ("#060606", "#b9c2cc"),
    "paper": ("#070707", "#b25b00"),
    "page": ("#080808", "#ffffff"),
    "series-1": ("#0a0101", "#0b63b5"),
    "series-2": ("#0a0202", "#b25b00"),
    "series-3": ("#0a0303", "#1b7f4d"),
    "series-4": ("#0a0404", "#9a3fa0"),
    "series-5": ("#0a0505", "#6b7480"),
    "series-6": ("#0a0606", "#b3362b"),
}
COLOURS = {name: drawn for name, (drawn, _) in _PALETTE.items()}
SERIES = [drawn for name, (drawn, _) in _PALETTE.items() if name.startswith("series")]

_FONTS = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', Arial, sans-serif"
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "omnifeat",
    "text.parse_math": False,  # a name may hold a dollar sign
    "font.size": 9,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": COLOURS["quiet"],
    "axes.labelcolor": COLOURS["quiet"],
    "axes.labelsize": 8.5,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": COLOURS["grid"],
    "grid.linewidth": 0.7,
    "xtick.color": COLOURS["quiet"],
    "ytick.color": COLOURS["quiet"],
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "text.color": COLOURS["ink"],
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "patch.linewidth": 0,
}


@dataclass(frozen=True)
class Panel:
    """One panel: its title, what it shows in words, its height in points with its margins, and what draws it."""

    title: str
    description: str
    height: float
    head: float
    foot: float
    draw: Callable[[Axes], None]


@contextmanager
def drawing() -> Iterator[None]:
    """Settings for all that is drawn inside, whatever the user's own settings of matplotlib are."""
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's font has it, in any script
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def _axes(figure: Figure, panel: Panel, left: float, top: float) -> Axes:
    """Axes of a panel that begins at `left` and `top` in points."""
    width, whole = (size * 72 for size in figure.get_size_inches())
    high = panel.height - panel.head - panel.foot
    return figure.add_axes(
        (
            (left + _SIDE) / width,
            1 - (top + panel.head + high) / whole,
            (WIDTH - 2 * _SIDE) / width,
            high / whole,
        )
    )


def _render(figure: Figure) -> ElementTree.Element:
    stream = io.BytesIO()
    FigureCanvasSVG(figure)
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return ElementTree.fromstring(stream.getvalue())


def _tidy(root: ElementTree.Element, prefix: str, colours: dict[str, str], fonts: str) -> None:
    """Leave out what a page needs not, give ids their own prefix, and put in colours and fonts."""
    parents = {child: parent for parent in root.iter() for child in parent}
    used: set[tuple[str, str]] = set()
    for element in list(root.iter()):
        element.tag = element.tag.rsplit("}", 1)[-1]
        element.tail = None
        if element.tag in ("metadata", "style"):
            parents[element].remove(element)
            continue
        if element.tag != "text":
            element.text = None
        for name in [name for name in element.attrib if name.endswith("}href")]:
            element.set("href", element.attrib.pop(name))
        used.update(
            found for value in element.attrib.values() for found in re.findall(r"^#([\w.-]+)$|url\(#([\w.-]+)\)", value)
        )
    names = {one or other for one, other in used}
    for element in root.iter():
        own = element.attrib.pop("id", None)
        if own in names:
            element.set("id", f"{prefix}-{own}")
        for name, value in element.attrib.items():
            element.set(name, _attribute(name, value, prefix, colours, fonts))
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("stroke-linejoin", "round")


def _attribute(name: str, value: str, prefix: str, colours: dict[str, str], fonts: str) -> str:
    """An attribute's value as the picture has it."""
    match name:
        case "href":
            return f"#{prefix}-{value[1:]}"
        case "style":
            value = re.sub(r"#0[0-9a]0[0-9]0[0-9]", lambda found: colours.get(found.group(), found.group()), value)
            return re.sub(r"font-family: [^;]*", f"font-family: {fonts}", value)
        case "d":
            return " ".join(value.split())
        case _:
            return value.replace("url(#", f"url(#{prefix}-")


def _described(root: ElementTree.Element, prefix: str, title: str, description: str) -> None:
    """Give the picture a name and what it shows in words, for those who do not see it."""
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(tag, {"id": f"{prefix}-{tag}"})
        element.text = clean(text)
        root.insert(place, element)
    root.set("role", "img")
    root.set("aria-labelledby", f"{prefix}-title")
    root.set("aria-describedby", f"{prefix}-desc")


def page_svg(panel: Panel, name: str) -> str:
    """One panel as an `<svg>` element for a page that sets `--plot-ink` and the other variables; within `drawing`.

    `name` begins every id in it, and must be another one for each panel of the page.
    """
    figure = Figure(figsize=(WIDTH / 72, panel.height / 72))
    panel.draw(_axes(figure, panel, 0, 0))
    root = _render(figure)
    variables = {drawn: f"var(--plot-{kind})" for kind, (drawn, _) in _PALETTE.items()}
    _tidy(root, name, variables, "inherit")
    _described(root, name, panel.title, panel.description)
    return ElementTree.tostring(root, encoding="unicode")


def picture_svg(panels: Sequence[Panel], title: str) -> str:
    """All panels of a plot in one SVG file on white, each under its title; within `drawing`."""
    columns = min(_COLUMNS, len(panels))
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    heights = [max(panel.height for panel in row) + _TITLE + _GAP / 2 for row in rows]
    width, height = columns * (WIDTH + _GAP) + _GAP, sum(heights) + _GAP
    figure = Figure(figsize=(width / 72, height / 72))
    top = _GAP / 2
    for row, tall in zip(rows, heights, strict=True):
        for place, panel in enumerate(row):
            left = _GAP + place * (WIDTH + _GAP)
            figure.text(
                (left + _SIDE) / width,
                1 - (top + 12) / height,
                shorten(panel.title, 38),
                fontsize=10,
                fontweight="bold",
            )
            panel.draw(_axes(figure, panel, left, top + _TITLE))
        top += tall
    root = _render(figure)
    name = slug(title)
    _tidy(root, name, dict(_PALETTE.values()), _FONTS)
    _described(root, name, title, " ".join(panel.description for panel in panels))
    size = [float(part) for part in root.attrib["viewBox"].split()]
    root.set("xmlns", "http://www.w3.org/2000/svg")
    root.set("width", f"{size[2] * 4 / 3:.0f}")
    root.set("height", f"{size[3] * 4 / 3:.0f}")
    root.insert(2, ElementTree.Element("rect", {"width": "100%", "height": "100%", "fill": "#ffffff"}))
    return ElementTree.tostring(root, encoding="unicode") + "\n"
