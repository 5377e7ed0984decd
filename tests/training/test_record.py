"""The record of training pairs: that it is what was trained on, and that it goes wherever the encoder goes."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from worlds import write_world

from omnifeat.data.splits import split_rows
from omnifeat.errors import EncoderError
from omnifeat.frozen import FrozenEncoder
from omnifeat.models.config import preset
from omnifeat.models.training_record import PAIR_KNOWN, QUERY_KNOWN, RECORD_FILE, UNKNOWN
from omnifeat.training.run import Progress, TrainResult
from omnifeat.training.settings import train_preset
from omnifeat.training.trainer import train

SETTINGS = dataclasses.replace(train_preset("tiny"), device="cpu", steps=3, evaluate_every=0, checkpoint_every=1)


class _KilledError(Exception):
    pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("record")


@pytest.fixture(scope="module")
def rows(folder: Path) -> dict[str, pa.Table]:
    """The engagements of each part."""
    dataset = write_world(folder / "data")
    engagements, split = dataset.read("engagements"), dataset.info.split
    assert split is not None
    return {part: split_rows(engagements, split, part) for part in ("train", "development", "test")}


@pytest.fixture(scope="module")
def trained(folder: Path, rows: dict[str, pa.Table]) -> TrainResult:
    return train(write_world(folder / "again"), preset("tiny"), SETTINGS, folder / "encoder")


def pairs_of(table: pa.Table) -> set[tuple[str, ...]]:
    """Distinct pairs, those of two queries in either order."""
    return {
        ("query", *sorted((row["query"], row["entity_id"])))
        if row["entity_type"] == "query"
        else (row["entity_type"], row["query"], row["entity_id"])
        for row in table.to_pylist()
    }


def test_it_holds_the_training_part_and_nothing_else(trained: TrainResult, rows: dict[str, pa.Table]) -> None:
    record = FrozenEncoder.from_pretrained(trained.path).record
    assert record is not None
    known = {part: record.knows(some["query"], some["entity_type"], some["entity_id"]) for part, some in rows.items()}
    held_out = set(rows["development"]["query"].to_pylist()) | set(rows["test"]["query"].to_pylist())
    suggestions = np.array(
        [row["entity_type"] == "query" and row["entity_id"] in held_out for row in rows["train"].to_pylist()]
    )  # left out of the training pairs: no text stands on both sides of the split
    assert (known["train"] == np.where(suggestions, QUERY_KNOWN, PAIR_KNOWN)).all()
    assert suggestions.any()
    assert (known["test"] == UNKNOWN).all()
    assert (known["development"] == UNKNOWN).all()
    kept = rows["train"].filter(pa.array(~suggestions))
    assert len(record.pairs) == len(pairs_of(kept))
    assert len(record.queries) == len(set(kept["query"].to_pylist()))


def test_only_the_tasks_that_were_trained_are_recorded(folder: Path, rows: dict[str, pa.Table]) -> None:
    settings = dataclasses.replace(SETTINGS, tasks=("pins/*",))
    record = train(write_world(folder / "pins"), preset("tiny"), settings, folder / "of-pins").record
    known = record.knows(rows["train"]["query"], rows["train"]["entity_type"], rows["train"]["entity_id"])
    is_pin = np.array(rows["train"]["entity_type"].to_pylist()) == "pin"
    assert (known == np.where(is_pin, PAIR_KNOWN, QUERY_KNOWN)).all()


def test_a_resumed_training_records_the_same(trained: TrainResult, folder: Path) -> None:
    dataset = write_world(folder / "resumed-data")

    def kill(at: Progress) -> None:
        if at.step == 2:
            raise _KilledError

    with pytest.raises(_KilledError):
        train(dataset, preset("tiny"), SETTINGS, folder / "resumed", on_progress=kill)
    resumed = train(dataset, preset("tiny"), SETTINGS, folder / "resumed", resume=True)
    assert (resumed.path / RECORD_FILE).read_bytes() == (trained.path / RECORD_FILE).read_bytes()


def test_saving_again_carries_it_or_leaves_it_out(trained: TrainResult, tmp_path: Path) -> None:
    encoder = FrozenEncoder.from_pretrained(trained.path)
    again = encoder.save_pretrained(tmp_path / "again")
    assert (again / RECORD_FILE).read_bytes() == (trained.path / RECORD_FILE).read_bytes()
    assert "training_record.safetensors" in (again / "README.md").read_text()
    without = FrozenEncoder.from_pretrained(encoder.save_pretrained(tmp_path / "without", record=False))
    assert without.record is None
    assert without.fingerprint == encoder.fingerprint
    assert not (tmp_path / "without" / RECORD_FILE).exists()
    assert "Nothing is recorded of the queries" in (tmp_path / "without" / "README.md").read_text()


def test_a_changed_or_missing_record_is_named(trained: TrainResult, tmp_path: Path) -> None:
    folder = FrozenEncoder.from_pretrained(trained.path).save_pretrained(tmp_path / "encoder")
    assert RECORD_FILE in json.loads((folder / "config.json").read_text())["files"]
    path = folder / RECORD_FILE
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(EncoderError, match=r"'training_record\.safetensors' of the encoder '.*' was changed"):
        FrozenEncoder.from_pretrained(folder)
    path.unlink()
    with pytest.raises(EncoderError, match=r"lacks the file 'training_record\.safetensors'"):
        FrozenEncoder.from_pretrained(folder)
