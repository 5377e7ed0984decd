"""docs/simulator.md has a row for every rate, with its value."""

import re
import subprocess
import sys
from pathlib import Path

from omnifeat.simulator import SCALES, rates, simulate

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")


def test_every_rate_stands_on_the_page() -> None:
    said = {name: value for name, value in vars(rates).items() if name.isupper() and name != "SCALES"}
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \|", PAGE, flags=re.MULTILINE))
    assert set(rows) == set(said)
    for name, value in said.items():
        shown = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        assert rows[name].strip() == shown, name


def test_the_scales_stand_on_the_command_page() -> None:
    page = (ROOT / "docs" / "commands" / "simulate.md").read_text(encoding="utf-8")
    for name, scale in SCALES.items():
        numbers = (scale.pins, scale.products, scale.queries, scale.engagements, scale.saves)
        assert re.search(rf"\| `{name}`[^|]*\| " + r" \| ".join(f"{number:,}" for number in numbers), page), name


def test_pictures_are_drawn_and_those_of_the_page_are_there(tmp_path: Path) -> None:
    simulate(tmp_path / "world", scale="tiny")
    script = [sys.executable, str(ROOT / "scripts" / "plot_world.py")]
    subprocess.run([*script, str(tmp_path / "world"), str(tmp_path / "out")], check=True, cwd=ROOT)
    drawn = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert drawn == set(re.findall(r"images/(world_\w+\.png)", PAGE))
    for name in drawn:
        assert (tmp_path / "out" / name).stat().st_size > 5_000
        assert (ROOT / "docs" / "images" / name).stat().st_size < 100_000
