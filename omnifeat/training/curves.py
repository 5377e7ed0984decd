"""The training curve as a picture, and the log that it is drawn from."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from omnifeat.data.files import replace_when_whole

__all__ = ["TrainingLog", "draw_training_curve", "write_training_log"]


@dataclass
class TrainingLog:
    """What a run reports on its way.

    Attributes
    ----------
    losses
        One point every few steps: `step`, `loss` (mean since the last point), `tasks` (task -> its mean loss),
        `learning_rate`, `temperature`.
    recalls
        One point a measurement: `step`, and Recall@10 per set of pairs and as `mean`.
    text
        Recall@10 of the block of text before it was tuned, and after, all pairs and `new_SET`; empty without one.
    """

    losses: list[dict[str, Any]] = field(default_factory=list)
    recalls: list[dict[str, Any]] = field(default_factory=list)
    text: dict[str, dict[str, float]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The log as JSON values."""
        return asdict(self)


def write_training_log(path: Path, log: TrainingLog, about: dict[str, Any]) -> None:
    """Write the log and what is said about the run as JSON.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    with replace_when_whole(path) as partial:
        partial.write_text(json.dumps(about | log.to_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def draw_training_curve(path: Path, log: TrainingLog, *, best_step: int | None) -> None:
    """Draw loss, and Recall@10 on development pairs where it was measured, over the steps, as PNG.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    # The figure is made without pyplot: no state of the caller's own figures is touched, no display is needed.
    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(_column(log.losses, "step"), _column(log.losses, "loss"), color="tab:blue", label="training loss")
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3)
    if log.recalls:
        right = axes.twinx()
        right.set_ylabel("Recall@10, development")
        names = [name for name in log.recalls[0] if name not in ("step", "mean")]
        shown = ["mean", *names] if len(names) > 1 else ["mean"]
        for number, name in enumerate(shown):
            right.plot(
                _column(log.recalls, "step"),
                _column(log.recalls, name),
                marker="o",
                markersize=3,
                color=f"C{number + 1}",
                linewidth=2 if name == "mean" else 1,
                label=f"Recall@10 {name}",
            )
        if best_step is not None:
            axes.axvline(best_step, color="gray", linestyle=":", label=f"best, step {best_step}")
        handles = [*axes.get_legend_handles_labels()[0], *right.get_legend_handles_labels()[0]]
        right.legend(handles=handles, loc="center right", fontsize="small")
    with replace_when_whole(path) as partial:
        figure.savefig(partial, format="png")


def _column(points: Sequence[dict[str, Any]], name: str) -> list[float]:
    return [point[name] for point in points]
