"""Cells, Markdown, and a picture that is a readable PNG."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from evaluation.bootstrap import Interval
from evaluation.plots import BarPanel, save_bars
from evaluation.tables import difference_cell, interval_cell, json_interval, markdown_table, text_table

NAN = float("nan")


@pytest.mark.parametrize(
    ("interval", "cell", "difference"),
    [
        (Interval(0.4816, 0.469, 0.4951), "48.2 [46.9, 49.5]", "+48.2 [+46.9, +49.5]"),
        (Interval(-0.031, -0.04, 0.002), "-3.1 [-4.0, 0.2]", "-3.1 [-4.0, +0.2]"),
        (Interval(0.5, NAN, NAN), "50.0", "+50.0"),
        (Interval(NAN, NAN, NAN), "–", "–"),
    ],
)
def test_cells(interval: Interval, cell: str, difference: str) -> None:
    assert interval_cell(interval) == cell
    assert difference_cell(interval) == difference


def test_json_has_no_nan() -> None:
    assert json_interval(Interval(0.5, NAN, NAN)) == {"value": 0.5, "low": None, "high": None}
    assert json_interval(None) is None
    assert difference_cell(None) == "–"


def test_markdown_table_escapes() -> None:
    assert markdown_table(["row", "x"], [["a|b\nc", 1]]) == "| row | x |\n| --- | ---: |\n| a\\|b c | 1 |"


def test_text_table_aligns() -> None:
    assert text_table(["row", "x"], [["a", 10], ["long", 5]]) == "row    x\na     10\nlong   5"


@pytest.mark.parametrize("panels", [1, 3, 5])
def test_bars_are_a_picture(tmp_path: Path, panels: int) -> None:
    bars = (Interval(0.5, 0.4, 0.6), Interval(0.9, NAN, NAN), Interval(NAN, NAN, NAN))
    path = tmp_path / "bars.png"
    save_bars(
        path,
        ["random", "learned", "absent"],
        [BarPanel(f"組 {panel}", bars) for panel in range(panels)],
        title="A title",
        label="Recall@10 in %",
        highlight="learned",
    )
    image = matplotlib.image.imread(path)
    assert image.shape[0] > 200
    assert image.shape[1] > 600
    # the highlighted bar (#1f6feb) is wider than the interval of the grey one
    blue = (np.abs(image[..., :3] - np.array([0x1F, 0x6F, 0xEB]) / 255) < 0.02).all(axis=-1).sum()
    grey = (np.abs(image[..., :3] - np.array([0x9A, 0xA5, 0xB1]) / 255) < 0.02).all(axis=-1).sum()
    assert 1.3 < blue / grey < 2.3  # 0.9 against 0.5, less what the interval's line covers


def test_bars_are_the_same_bytes_again(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        save_bars(tmp_path / name, ["a"], [BarPanel("all", (Interval(0.1, 0, 0.2),))], title="t", label="l")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
