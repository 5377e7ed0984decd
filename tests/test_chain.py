"""From raw evidence to features by the commands alone, as scripts/study_world goes, on a tiny world."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from omnifeat.cli import app


def omnifeat(*arguments: str | Path) -> str:
    ran = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert ran.exit_code == 0, ran.output
    return ran.stdout


def test_the_whole_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    omnifeat("simulate", "--scale", "tiny", "--seed", "0", "-o", "world")
    omnifeat("enrich", "boards", "world", "-o", "with_boards")
    omnifeat("enrich", "queries", "with_boards", "-o", "with_queries", "--state", "state")
    omnifeat("enrich", "graph", "with_queries", "-o", "enriched", "--replace", "--width", "16")
    counts = json.loads(omnifeat("pairs", "enriched", "-o", "pairs", "--json"))
    assert counts["path"] == "pairs"
    omnifeat("validate", "pairs", "--leaks")
    omnifeat(
        "train", "pairs", "--preset", "tiny", "--steps", "20", "--batch-size", "64", "--threads", "1", "-o", "encoder"
    )
    omnifeat(
        "featurize", "pairs/judgments.parquet", "--encoder", "encoder", "--entities", "pairs", "-o", "features.parquet"
    )
    judged, features = pq.read_table("pairs/judgments.parquet"), pq.read_table("features.parquet")
    assert features.num_rows == judged.num_rows
    assert features["query"].equals(judged["query"])
    for column in ("cosine", "cosine_pinsage", "max_cosine_engaged_queries"):
        values = features[column].drop_null().to_numpy()
        assert len(values)
        assert (abs(values) <= 1).all()
