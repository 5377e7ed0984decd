"""How a report writes numbers, names and anyone's text."""

from __future__ import annotations

import math
import re
import unicodedata

from evaluation.reproduction.results import Difference, Estimate

__all__ = [
    "ABSENT",
    "clean",
    "count",
    "counted",
    "duration",
    "estimate_interval",
    "figure",
    "finite",
    "interval",
    "memory",
    "paper_figure",
    "paper_signed",
    "relative",
    "shorten",
    "signed",
    "slug",
]

ABSENT = "–"
_MINUS = "\N{MINUS SIGN}"
# what turns the direction of all that follows, without a mark on the page: a reader could not tell text from trick
_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")
_SPACE = re.compile(r"\s+")


def clean(text: str) -> str:
    """The text on one line, with control and direction-turning characters as U+FFFD."""
    line = _SPACE.sub(" ", text).strip()
    line = _TURNING.sub("\ufffd", line)
    # noncharacters and lone surrogates may not stand in a file of XML or UTF-8 either
    return "".join(
        "\ufffd" if unicodedata.category(char) in ("Cc", "Cs") or ord(char) & 0xFFFE == 0xFFFE else char
        for char in line
    )


def shorten(text: str, width: int) -> str:
    """`clean` text of at most `width` columns, where East Asian wide characters take two; cut with an ellipsis."""
    line, used = "", 0
    text = clean(text)
    for char in text:
        used += 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if used > width:
            return line[:-1].rstrip() + "…"
        line += char
    return line


def slug(text: str) -> str:
    """ASCII letters, digits and hyphens of the text, for an id or a file; `x` if there are none."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "x"


def finite(value: float | None) -> float | None:
    """The value, or None where it is not a finite number."""
    return value if value is not None and math.isfinite(value) else None


def figure(value: float | None, unit: str = "share") -> str:
    """A figure: shares with three decimals, as the paper's are between 0 and 1; others by their size."""
    value = finite(value)
    if value is None:
        return ABSENT
    if unit == "share" or abs(value) < 10:
        text = f"{value:.3f}"
    elif abs(value) < 1000:
        text = f"{value:.1f}"
    else:
        text = f"{value:,.0f}"
    if float(text.replace(",", "")) == 0:
        text = text.removeprefix("-")
    return text.replace("-", _MINUS)


def signed(value: float | None, unit: str = "share") -> str:
    """A difference, with its sign; one that is written as zero has none."""
    text = figure(value, unit)
    return text if text == ABSENT or text.startswith(_MINUS) or not re.search("[1-9]", text) else f"+{text}"


def paper_figure(value: float | None, unit: str = "share") -> str:
    """A figure of the paper, with the two decimals that it prints, or three where it needs them."""
    value = finite(value)
    if value is not None and unit == "share" and round(value, 2) == round(value, 4):
        return f"{value:.2f}".replace("-", _MINUS)
    return figure(value, unit)


def paper_signed(value: float | None, unit: str = "share") -> str:
    """A difference of two of the paper's figures, with its sign."""
    text = paper_figure(None if value is None else round(value, 4), unit)
    return text if text == ABSENT or text.startswith(_MINUS) or not re.search("[1-9]", text) else f"+{text}"


def relative(value: float | None) -> str:
    """A relative difference in percent: `+67%`, `+4.3%`."""
    value = finite(value)
    if value is None:
        return ABSENT
    percent = value * 100
    text = f"{percent:+,.0f}" if abs(percent) >= 9.95 else f"{percent:+.1f}"
    if float(text.replace(",", "")) == 0:
        text = "0"
    return text.replace("-", _MINUS) + "%"


def interval(low: float | None, high: float | None, unit: str = "share", *, sign: bool = False) -> str:
    """`[0.640, 0.664]`, or an empty text where an end is missing."""
    if finite(low) is None or finite(high) is None:
        return ""
    write = signed if sign else figure
    return f"[{write(low, unit)}, {write(high, unit)}]"


def estimate_interval(found: Estimate | Difference, unit: str = "share") -> str:
    """The interval of either, with signs where it is of a difference."""
    return interval(found.low, found.high, unit, sign=isinstance(found, Difference))


def count(value: float) -> str:
    """A whole number with its thousands apart."""
    return f"{value:,.0f}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 query`, `3 queries`."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """`0.4 s`, `35 s`, `4 min 58 s`, `1 h 12 min`."""
    if not math.isfinite(seconds):
        return ABSENT
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def memory(size: int | None) -> str:
    """Bytes as MiB or GiB."""
    if size is None:
        return ABSENT
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
