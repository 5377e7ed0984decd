"""A disk that fills up while something is written: a file system of a few kilobytes."""

import dataclasses
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from worlds import write_world

from omnifeat.data.files import TableWriter, replace_when_whole
from omnifeat.errors import OutputError
from omnifeat.models.config import preset
from omnifeat.training.settings import train_preset
from omnifeat.training.trainer import train

NUMBERS = np.random.default_rng(0).standard_normal(100_000)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def write_table(out: Path) -> None:
    table = pa.table({"n": NUMBERS})
    with TableWriter(out.with_suffix(".parquet"), table.schema) as writer:
        writer.write(table)


def write_numbers(out: Path) -> None:
    with replace_when_whole(out) as place:
        NUMBERS.tofile(place)


def write_zip(out: Path) -> None:
    with replace_when_whole(out) as place, place.open("wb") as file:
        np.savez(file, NUMBERS)


@pytest.mark.parametrize("write", [write_table, write_numbers, write_zip])
def test_a_full_disk_is_one_sentence_and_nothing_half_written(small_disk: Path, write: Callable[[Path], None]) -> None:
    with pytest.raises(OutputError, match=r"disk/out.* cannot be written: no space is left on the disk"):
        write(small_disk / "out")
    assert list(small_disk.iterdir()) == []


def test_a_full_disk_amid_a_training(small_disk: Path, tmp_path: Path) -> None:
    world = write_world(tmp_path / "world")
    settings = dataclasses.replace(train_preset("tiny"), device="cpu", steps=2, checkpoint_every=1, evaluate_every=0)
    with pytest.raises(OutputError, match=r"step-00000001\.pt cannot be written: no space is left on the disk"):
        train(world, preset("tiny"), settings, small_disk / "encoder")
    assert not (small_disk / "encoder").exists()
    assert list(small_disk.rglob("*.pt*")) == []  # the log of the run may stay
