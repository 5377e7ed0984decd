"""Checkpoints that were damaged, cut, crafted or renamed are never taken up, and told in one sentence."""

import hashlib
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from omnifeat.errors import SettingError
from omnifeat.training import checkpoint
from omnifeat.training.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    state = {
        "about": {"a": "text"},
        "model": {"w": torch.arange(50.0)},
        "loss": 0.25,
        "random": [torch.get_rng_state()],
    }
    return save_checkpoint(tmp_path, 7, state)


def refused(path: Path, said: str) -> None:
    with pytest.raises(SettingError, match=said) as told:
        load_checkpoint(path)
    assert "remove it to go on from the one before" in str(told.value)
    assert "\n" not in str(told.value)


def test_a_sound_one_comes_back(saved: Path) -> None:
    state = load_checkpoint(saved)
    assert (state["step"], state["loss"]) == (7, 0.25)
    assert state["model"]["w"].tolist() == list(range(50))


def test_no_flipped_byte_is_taken_up_with_other_values(saved: Path) -> None:
    content = saved.read_bytes()
    rng = np.random.default_rng(0)
    for place in [0, len(content) - 1, len(content) - 40, *rng.integers(0, len(content), 300).tolist()]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        saved.write_bytes(bytes(damaged))
        refused(saved, "is damaged")


def test_no_cut_or_lengthened_file_is_taken_up(saved: Path) -> None:
    content = saved.read_bytes()
    for size in [0, 1, 50, 107, 108, 500, len(content) // 2, len(content) - 1]:
        saved.write_bytes(content[:size])
        refused(saved, "is damaged")
    saved.write_bytes(content + b"\n")
    refused(saved, "is damaged")


def test_another_files_place_is_told(saved: Path) -> None:
    other = saved.with_name("step-00000008.pt")
    shutil.copy(saved, other)
    refused(other, "the step of its name")
    other.unlink()
    os.mkfifo(other)
    refused(other, "a pipe")
    other.unlink()
    other.mkdir()
    refused(other, "a folder")


class Evil:
    """Runs where it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_code_in_a_checkpoint_does_not_run_though_its_check_sum_is_right(saved: Path, how: str) -> None:
    place = saved.parent / "ran"
    if how == "torch":
        torch.save({"step": 7, "evil": Evil(place)}, saved)
    else:
        saved.write_bytes(pickle.dumps({"step": 7, "evil": Evil(place)}))
    digest = hashlib.sha256(saved.read_bytes()).hexdigest()
    with saved.open("a") as file:
        file.write(checkpoint._SEAL.format(format=checkpoint._FORMAT, digest=digest))
    refused(saved, "cannot be read")
    assert not place.exists()
