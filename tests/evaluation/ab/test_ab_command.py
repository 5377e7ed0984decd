"""`omnifeat evaluate ab` on a tiny world: both tables, an A/A that shows nothing, and what is wrong in a sentence."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from omnifeat.cli import app
from omnifeat.data.dataset import Dataset
from omnifeat.frozen import FrozenEncoder


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, encoders: dict[str, object]):
    monkeypatch.setattr(FrozenEncoder, "from_pretrained", staticmethod(lambda path, **options: encoders[path]))

    def ab(data: Path, world: Path, out: Path, *more: object):
        arguments = [
            "evaluate", "ab", data, "--world", world, "--encoder", "ours", "--reference", "sage", "-o", out,
            "--sessions", 300, "--rankers-from", "train", "--retrieved-pins", 30, "--retrieved-products", 15,
            "--l1-keep", 20, "--threads", 1, "--bootstrap", 50, *more,
        ]  # fmt: skip
        return CliRunner().invoke(app, [str(one) for one in arguments])

    return ab


def test_organic(run, world: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(world, world, out, "--json")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == ["ab.json", "ab.md", "ab.png"]
    written = json.loads((out / "ab.json").read_text())
    printed = json.loads(result.stdout)
    assert printed["files"] == [str(out / name) for name in ("ab.json", "ab.md", "ab.png")]
    arms = written["arms"]
    assert printed["arms"] == arms
    assert list(arms) == ["control", "retrieval", "l1", "l2", "all", "A/A, same numbers", "A/A, other numbers"]
    # the control run anew with the same numbers shows exactly nothing, in any figure
    for figure in arms["A/A, same numbers"].values():
        assert figure["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    other = arms["A/A, other numbers"]["fulfilment"]["difference"]
    assert other["low"] <= 0 <= other["high"]
    nulls = written["null_tests"]
    assert nulls["tests"] == len(nulls["differences"]) == 40
    assert nulls["excluding_zero"] <= 8  # two are expected
    assert len({one["value"] for one in nulls["differences"]}) > 15  # numbers of their own, in steps of a search of 300
    # what encodes words finds what means the same more often than what hardly reads them
    assert arms["retrieval"]["expected_fulfilment"]["difference"]["value"] > 0
    assert arms["all"]["relevance"]["difference"]["value"] > 0
    assert arms["retrieval"]["fulfilment"]["paper_gain"] == 0.041
    assert list(written["interleaved"]) == ["retrieval", "l1", "l2", "all", "A/A, same numbers"]
    orders = written["counterfactual"]["orders"]
    assert list(orders) == ["logged", "reference", "encoder"]
    report = (out / "ab.md").read_text()
    assert "finds no difference in any figure, as it must (+0.00 points)" in report
    assert "| Pin and product retrieval | " in report
    assert "| +4.10 |" in report


def test_ads(run, world: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(
        world,
        world,
        out,
        "--kind",
        "ads",
        "--ad-share",
        0.6,
        "--ad-least-grade",
        0.5,
        "--index",
        "hnsw",
        "--null-tests",
        0,
    )
    assert result.exit_code == 0, result.output
    written = json.loads((out / "ab.json").read_text())
    arms = written["arms"]
    assert list(arms)[:5] == ["control", "retrieval", "engagement", "relevance", "all"]
    for figure in arms["A/A, same numbers"].values():
        assert figure["difference"]["value"] == 0.0
    assert 0 < arms["control"]["gctr"]["value"]["value"] < 0.5
    assert 0 < arms["control"]["shown"]["value"]["value"] <= 4
    assert 60 < written["advertised"] < 120
    assert "Ads in search (Table 8)" in (out / "ab.md").read_text()
    assert "search fulfilment" not in result.stdout
    assert "+5.27" in result.stdout


def test_what_is_wrong_is_one_sentence(run, world: Path, tmp_path: Path, encoders: dict[str, object]) -> None:
    def said(data: Path, of: Path, *more: object) -> str:
        out = tmp_path / "wrong"
        result = run(data, of, out, *more)
        assert result.exit_code == 2, result.output
        assert not out.exists()
        last: str = result.stderr.strip().splitlines()[-1]
        return last

    assert "holds no truth/rates.json" in said(world, tmp_path)
    assert "organic or ads, got 'both'" in said(world, world, "--kind", "both")
    assert "whole numbers separated by commas, got '2;5'" in said(world, world, "--ad-places", "2;5")
    assert "advertises none of 150 products" in said(world, world, "--kind", "ads", "--ad-share", 1e-9)
    without = tmp_path / "without"
    shutil.copytree(world, without)
    (without / "judgments.parquet").unlink()
    assert "has no table 'judgments'" in said(without, world)
    encoders["sage"].config = SimpleNamespace(compatibility=())  # type: ignore[attr-defined]
    assert "was not trained with 'pinsage'" in said(world, world)
    there = tmp_path / "there"
    there.mkdir()
    (there / "file").write_text("mine")
    assert "is not empty; give --overwrite" in run(world, world, there).stderr
    assert Dataset.open(world).has("judgments")
