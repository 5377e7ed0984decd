"""A picture of what features are worth to a ranker."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ["save_importances"]

_MOST = 30  # bars; the others have the smallest share


def save_importances(path: Path, importances: Mapping[str, float]) -> Path:
    """Write horizontal bars of each feature's share of the total gain, largest on top, as PNG; returns the path."""
    total = sum(importances.values()) or 1.0
    ordered = sorted(importances.items(), key=lambda item: (-item[1], item[0]))[:_MOST]
    names = [name for name, _ in ordered]
    shares = [100 * gain / total for _, gain in ordered]
    figure = Figure(figsize=(7, 1.2 + 0.28 * len(names)), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    places = list(range(len(names)))
    axis.barh(places, shares, color="#1f6feb", height=0.7)
    for place, share in zip(places, shares, strict=True):
        axis.annotate(
            f"{share:.1f}", (share, place), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8
        )
    axis.set_yticks(places, [name.replace("$", r"\$") for name in names], fontsize=9)
    axis.set_xlim(0, max(shares) * 1.12 or 1)
    axis.invert_yaxis()
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_xlabel("share of the total gain of splits, percent", fontsize=9)
    axis.set_title("What the ranker's features are worth", fontsize=11)
    figure.savefig(path, format="png", metadata={"Software": None})
    return path
