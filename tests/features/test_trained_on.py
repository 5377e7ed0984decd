"""The column `trained_on`: every route says alike which pairs the encoder was trained on, or says nothing."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from omnifeat.cli import app
from omnifeat.data.files import TableWriter, read_table
from omnifeat.errors import DataError
from omnifeat.featurize import featurize, featurize_file
from omnifeat.frozen import FrozenEncoder
from omnifeat.models.training_record import TrainingRecord, id_hashes, pair_hashes, query_hashes

PAIRS = pa.table(
    {
        "query": ["red shoes", "Red  Shoes", "hat", "new", "hat", None, "red shoes", "hat", "blue hat", "red shoes"],
        "entity_id": ["a", "a", "b", "a", "red shoes", "a", None, "a", "Hat", "nowhere"],
        "entity_type": ["pin", "pin", "pin", "pin", "query", "pin", "pin", None, "query", "pin"],
    }
)
EXPECTED = ["pair", "pair", "query", "neither", "query", "neither", "query", "query", "pair", "query"]


@pytest.fixture(scope="module")
def knowing(encoder: FrozenEncoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The encoder as if trained on (red shoes, pin a) and (hat, query blue hat)."""
    queries = query_hashes(pa.array(["red shoes", "hat", "blue hat"]))
    pairs = [
        pair_hashes(queries[:1], "pin", id_hashes(pa.array(["a"]))),
        pair_hashes(queries[1:2], "query", queries[2:]),
    ]
    folder = tmp_path_factory.mktemp("knowing")
    plain = encoder.save_pretrained(folder / "plain")
    loaded = FrozenEncoder.from_pretrained(plain, device="cpu")
    loaded.record = TrainingRecord.of([queries], pairs)
    return loaded.save_pretrained(folder / "encoder")


def test_every_route_says_the_same(knowing: Path, pins: pa.Table, tmp_path: Path) -> None:
    encoder = FrozenEncoder.from_pretrained(knowing, device="cpu")
    streamed = featurize(PAIRS, encoder=encoder, entities=pins, entity_type="pin", batch_size=3)
    assert streamed["trained_on"].to_pylist() == EXPECTED
    assert streamed.column_names[-2:] == ["trained_on", "unscored"]
    in_memory = encoder.featurize(PAIRS, pins, entity_type="pin")
    assert in_memory["trained_on"].to_pylist() == EXPECTED
    assert in_memory.column_names == streamed.column_names
    from_pandas = featurize(PAIRS.to_pandas(), encoder=encoder, entities=pins, entity_type="pin")
    assert from_pandas["trained_on"].tolist() == EXPECTED
    for suffix in ("csv", "jsonl", "parquet"):
        place = tmp_path / f"pairs.{suffix}"
        with TableWriter(place, PAIRS.schema) as writer:
            writer.write(PAIRS)
        out = tmp_path / f"out.{suffix}"
        report = featurize_file(place, out, encoder=knowing, entities=pins, entity_type="pin", column_prefix="x_")
        assert read_table(out)["x_trained_on"].to_pylist() == EXPECTED
        assert report.trained_on == {"pair": 3, "query": 5, "neither": 2}


def test_pairs_without_types_are_known_as_pins_or_products(knowing: Path, pins: pa.Table) -> None:
    pairs = PAIRS.select(["query", "entity_id"]).slice(0, 3)
    encoder = FrozenEncoder.from_pretrained(knowing, device="cpu")
    assert featurize(pairs, encoder=encoder, entities=pins)["trained_on"].to_pylist() == ["pair", "pair", "query"]
    assert encoder.featurize(pairs, pins)["trained_on"].to_pylist() == ["pair", "pair", "query"]


def test_an_encoder_without_a_record_says_unknown_and_never_none(
    encoder_folder: Path, knowing: Path, pins_path: Path, tmp_path: Path
) -> None:
    place = tmp_path / "pairs.parquet"
    with TableWriter(place, PAIRS.schema) as writer:
        writer.write(PAIRS)

    def run(folder: Path, name: str, *more: str) -> str:
        arguments = ["featurize", place, "--encoder", folder, "--entities", pins_path, "--entity-type", "pin"]
        done = CliRunner().invoke(app, [str(one) for one in (*arguments, "-o", tmp_path / name, *more)])
        assert done.exit_code == 0, done.output
        return done.stdout

    said = run(encoder_folder, "unknown.csv")
    assert "trained on: unknown, as this encoder records no training pairs" in said
    assert "trained_on" not in read_table(tmp_path / "unknown.csv").column_names
    assert json.loads(run(encoder_folder, "unknown.parquet", "--json"))["trained_on"] is None
    said = run(knowing, "known.csv")
    assert "trained on: 3 pairs, and the queries of 5 more; 2 pairs are of queries new to the encoder" in said
    told = json.loads(run(knowing, "known.parquet", "--json"))
    assert told["trained_on"] == {"pair": 3, "query": 5, "neither": 2}


def test_a_column_of_that_name_is_not_written_over(knowing: Path, pins: pa.Table) -> None:
    taken = PAIRS.append_column("trained_on", PAIRS["query"])
    with pytest.raises(DataError, match=r"has a column 'trained_on' already.*column_prefix"):
        featurize(taken, encoder=knowing, entities=pins, entity_type="pin")
    with pytest.raises(DataError, match=r"has a column 'trained_on' already.*column_prefix"):
        FrozenEncoder.from_pretrained(knowing, device="cpu").featurize(taken, pins, entity_type="pin")
