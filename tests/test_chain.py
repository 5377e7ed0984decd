"""From raw evidence to features by the commands alone, in the order of the README, on a tiny world."""

import json
import re
import shlex
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from omnifeat.cli import app
from omnifeat.data.dataset import Dataset

MADE = ("board_titles", "engaged_queries", "pinsage", "itemsage")
README = Path(__file__).parents[1] / "README.md"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def omnifeat(*arguments: str | Path) -> str:
    ran = run(*arguments)
    assert ran.exit_code == 0, ran.output
    return ran.stdout


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a shop has: catalogue, log and boards as files, with nothing made of them yet."""
    folder = tmp_path_factory.mktemp("raw")
    omnifeat("simulate", "--scale", "tiny", "--seed", "0", "-o", folder / "world")
    world = Dataset.open(folder / "world")
    for name in ("pins", "products", "queries", "engagements", "boards", "saves", "judgments"):
        table = world.read(name)
        pq.write_table(
            table.drop_columns([one for one in MADE if one in table.column_names]), folder / f"{name}.parquet"
        )
    return folder


def import_table(raw: Path, out: str) -> None:
    tables = ("pins", "products", "queries", "engagements", "boards", "saves", "judgments")
    omnifeat(
        "import", "table", "-o", out, *(part for name in tables for part in (f"--{name}", raw / f"{name}.parquet"))
    )


def test_the_readme_imports_then_pairs_then_enriches_then_validates() -> None:
    commands = re.findall(
        r"^omnifeat ((?:import|pairs|enrich|validate|train)\b[a-z ]*)", README.read_text(), re.MULTILINE
    )
    order = [command.split()[0] for command in commands]
    assert list(dict.fromkeys(order)) == ["import", "pairs", "enrich", "validate", "train"]


def test_the_whole_chain(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    import_table(raw, "mine")
    counts = json.loads(omnifeat("pairs", "mine", "-o", "pairs", "--json"))
    assert counts["path"] == "pairs"
    for command in (
        ["enrich", "boards", "pairs", "-o", "with_boards"],
        ["enrich", "queries", "with_boards", "-o", "with_queries", "--state", "state"],
        ["enrich", "graph", "with_queries", "-o", "data", "--width", "16"],
    ):
        ran = run(*command)
        assert ran.exit_code == 0, ran.output
        assert "warning" not in ran.stderr
    assert "no problems, no leaks" in omnifeat("validate", "data", "--leaks")
    # engaged queries were counted on the whole log of before the split, not on the capped pairs
    assert Dataset.open("data").has("log")
    omnifeat(
        "train", "data", "--preset", "tiny", "--steps", "20", "--batch-size", "64", "--threads", "1", "-o", "encoder"
    )
    omnifeat(
        "featurize", "data/judgments.parquet", "--encoder", "encoder", "--entities", "data", "-o", "features.parquet"
    )
    judged, features = pq.read_table("data/judgments.parquet"), pq.read_table("features.parquet")
    assert features.num_rows == judged.num_rows
    assert features["query"].equals(judged["query"])
    for column in ("cosine", "cosine_pinsage", "max_cosine_engaged_queries"):
        values = features[column].drop_null().to_numpy()
        assert len(values)
        assert (abs(values) <= 1).all()
    assert set(features["trained_on"].to_pylist()) <= {"pair", "query", "neither"}
    assert features["trained_on"].null_count == 0


def test_enriching_before_the_split_warns_and_validate_says_how_to_mend_it(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    import_table(raw, "my data")
    source = "my data"
    for step, rows in (("boards", "saves"), ("queries", "engagements"), ("graph", "saves")):
        ran = run("enrich", step, source, "-o", f"after {step}", *(["--width", "16"] if step == "graph" else []))
        assert ran.exit_code == 0, ran.output
        assert f"warning: {source} records no split in dataset.json, so that all its {rows} go into" in ran.stderr
        assert f"`omnifeat pairs {shlex.quote(source)} -o '{source}-pairs'` first" in ran.stderr
        source = f"after {step}"
    refused = run("validate", source, "--leaks")
    assert refused.exit_code == 2
    assert "record one with `omnifeat pairs 'after graph' -o OUT`" in refused.stderr
    omnifeat("pairs", source, "-o", "leaky data")
    found = run("validate", "leaky data", "--leaks", "--most", "1")
    assert found.exit_code == 2
    steps = [line.strip() for line in found.stderr.partition("to mend the leaks:\n")[2].splitlines()]
    assert steps == [
        "omnifeat enrich boards 'leaky data' -o 'leaky data-mended'",
        "omnifeat enrich queries 'leaky data-mended' -o 'leaky data-mended' --overwrite",
        "omnifeat enrich graph --replace --width 16 'leaky data-mended' -o 'leaky data-mended' --overwrite",
        "omnifeat validate 'leaky data-mended' --leaks",
    ]
    assert json.loads(run("validate", "leaky data", "--leaks", "--json").stdout)["mend"] == steps
    for step in steps:
        omnifeat(*shlex.split(step)[1:])
    # what is there is not written over
    assert "-o 'leaky data-mended-2'" in run("validate", "leaky data", "--leaks", "--most", "1").stderr
