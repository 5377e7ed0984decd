import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from omnifeat.cli import app
from omnifeat.embed import embed_entities, embed_queries
from omnifeat.embedding_table import embedding_schema, vector_array
from omnifeat.frozen import FrozenEncoder

PAIRS = pa.table({"query": ["hat", "red shoes", None], "entity_id": ["a", "b", "a"]})


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def pairs_path(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.parquet"
    pq.write_table(PAIRS, path)
    return path


def test_embed_then_featurize(encoder_folder: Path, pins_path: Path, pairs_path: Path, tmp_path: Path) -> None:
    tables = tmp_path / "q.parquet", tmp_path / "e.parquet"
    code, out, _ = run("embed", "--encoder", encoder_folder, "--queries", pairs_path, "-o", tables[0], "--json")
    assert code == 0
    assert (json.loads(out)["rows"], json.loads(out)["skipped"]) == (2, 1)
    code, out, _ = run("embed", "--encoder", encoder_folder, "--entities", pins_path, "-o", tables[1])
    assert code == 0
    assert out == f"5 entities, 16 numbers each -> {tables[1]}\n"
    target = tmp_path / "out.csv"
    code, out, _ = run(
        *("featurize", pairs_path, "--encoder", encoder_folder, "--entities", pins_path, "-o", target, "--json"),
        *("--embeddings", tables[0], "--embeddings", tables[1], "--threads", 1),
    )
    assert code == 0
    result = json.loads(out)
    assert (result["rows"], result["unscored_rows"], result["unscored"]) == (3, 1, {"query is null": 1})
    assert result["entities_encoded"] == 0
    lines = target.read_text(encoding="utf-8").splitlines()
    assert lines[0].replace('"', "").split(",")[:3] == ["query", "entity_id", "cosine"]
    assert len(lines) == 4


def test_the_report_says_what_was_not_scored(
    encoder_folder: Path, pins_path: Path, pairs_path: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.parquet"
    code, out, _ = run("featurize", pairs_path, "--encoder", encoder_folder, "--entities", pins_path, "-o", target)
    assert code == 0
    assert "3 pairs of 2 queries and 2 entities (3 and 2 encoded)" in out
    assert "unscored: 1 rows, query is null" in out


@pytest.fixture
def files(
    encoder: FrozenEncoder,
    other_encoder: FrozenEncoder,
    encoder_folder: Path,
    pins: pa.Table,
    pins_path: Path,
    pairs_path: Path,
    tmp_path: Path,
) -> Path:
    """A folder with one file for each way to go wrong."""
    embed_entities(pins_path, tmp_path / "e.parquet", encoder=encoder)
    embed_queries(pairs_path, tmp_path / "other.parquet", encoder=other_encoder)

    def table(name: str, vectors: np.ndarray, ids: list[str] = ["a", "b"]) -> None:  # noqa: B006
        schema = embedding_schema("entities", encoder.fingerprint, vectors.shape[1])
        columns = [pa.array(ids), pa.array(["pin"] * len(ids)), vector_array(vectors)]
        pq.write_table(pa.table(columns, schema=schema), tmp_path / name)

    good = np.ones((2, 16), np.float32)
    table("wide.parquet", np.ones((2, 8), np.float32))
    table("twice.parquet", good, ["a", "a"])
    bad = good.copy()
    bad[1, 3] = np.nan
    table("nan.parquet", bad)
    pq.write_table(pa.table({"id": ["a"], "vector": [[1.0]]}), tmp_path / "plain.parquet")
    pq.write_table(PAIRS.drop(["entity_id"]), tmp_path / "no_ids.parquet")
    pq.write_table(PAIRS.slice(0, 0), tmp_path / "empty.parquet")
    (tmp_path / "corrupt.parquet").write_bytes(pairs_path.read_bytes()[:-20])
    (tmp_path / "latin.csv").write_bytes("query,entity_id\nhat,a\ncaf\xe9,a\n".encode("latin-1"))
    pq.write_table(pa.concat_tables([pins, pins.slice(1, 1)]), tmp_path / "twice_pins.parquet")
    pq.write_table(pa.table({"id": ["a", None], "title": ["hat", "hat"]}), tmp_path / "null_id.parquet")
    pq.write_table(pa.table({"title": ["hat"]}), tmp_path / "no_id.parquet")
    shutil.copytree(encoder_folder, tmp_path / "changed")
    weights = tmp_path / "changed" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    (tmp_path / "a_file").write_text("x")
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pairs": "missing.parquet"}, ["missing.parquet", "does not exist"]),
        ({"pairs": "no_ids.parquet"}, ["no_ids.parquet", "no column 'entity_id'", "query"]),
        ({"pairs": "empty.parquet"}, ["empty.parquet", "has no rows"]),
        ({"pairs": "corrupt.parquet"}, ["corrupt.parquet", "truncated or corrupt"]),
        ({"pairs": "latin.csv"}, ["latin.csv", "not UTF-8"]),
        ({"entities": "nowhere.parquet"}, ["nowhere.parquet", "does not exist"]),
        ({"entities": "twice_pins.parquet"}, ["twice_pins.parquet", "the id 'b' stands in row 2 and again in row 6"]),
        ({"entities": "null_id.parquet"}, ["null_id.parquet", "'id' is null in row 2"]),
        ({"entities": "no_id.parquet"}, ["no_id.parquet", "no column 'id'", "title"]),
        ({"embeddings": "other.parquet"}, ["other.parquet", "made by the encoder", "embed again"]),
        ({"embeddings": "wide.parquet"}, ["wide.parquet", "width 8", "gives 16"]),
        ({"embeddings": "nan.parquet"}, ["nan.parquet", "'b' (row 2)", "NaN"]),
        ({"embeddings": "twice.parquet"}, ["twice.parquet", "the id 'a' stands in row 1 and again in row 2"]),
        ({"embeddings": "plain.parquet"}, ["plain.parquet", "not an embedding table", "omnifeat embed"]),
        ({"encoder": "changed"}, ["model.safetensors"]),
        ({"encoder": "no_encoder"}, ["no_encoder"]),
        ({"out": "out.xlsx"}, ["out.xlsx", "suffix"]),
        ({"out": "a_file/out.parquet"}, ["a_file", "cannot be written"]),
        ({"out": "e.parquet"}, ["e.parquet", "exists already", "--overwrite"]),
        ({"more": ["--strict"]}, ["pairs.parquet, row 3: query is null"]),
        ({"more": ["--entity-type", "board"]}, ["pin, product", "'board'"]),
        ({"more": ["--memory-limit", "much"]}, ["4GB", "'much'"]),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_said_in_one_sentence_and_nothing_is_written(
    files: Path, encoder_folder: Path, changes: dict, said: list[str]
) -> None:
    chosen = {"pairs": "pairs.parquet", "entities": "pins.parquet", "out": "out.parquet", **changes}
    folder = files / changes["encoder"] if "encoder" in changes else encoder_folder
    arguments = ["featurize", files / chosen["pairs"], "--encoder", folder, "--entities", files / chosen["entities"]]
    if "embeddings" in changes:
        arguments += ["--embeddings", files / changes["embeddings"]]
    before = {path: path.stat().st_mtime_ns for path in files.rglob("*")}
    code, out, error = run(*arguments, "-o", files / chosen["out"], *changes.get("more", []))
    assert code == 2
    assert out == ""
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    for part in said:
        assert part in error
    after = {path: path.stat().st_mtime_ns for path in files.rglob("*") if path.name != files.name}
    assert {path: time for path, time in after.items() if path.is_file()} == {
        path: time for path, time in before.items() if path.is_file()
    }
    assert set(after) == set(before)


def test_there_must_be_entities(encoder_folder: Path, pairs_path: Path, tmp_path: Path) -> None:
    code, _, error = run("featurize", pairs_path, "--encoder", encoder_folder, "-o", tmp_path / "out.parquet")
    assert code == 2
    assert "no entities to score" in error
    code, _, error = run("embed", "--encoder", encoder_folder, "-o", tmp_path / "out.parquet")
    assert code == 2
    assert "either --entities or --queries" in error
