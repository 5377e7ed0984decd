"""Two processes that share a batch must find the loss and the gradients that one process finds alone."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from two_processes import config, loss_and_gradients, settings
from worlds import write_world

from omnifeat.frozen import FrozenEncoder
from omnifeat.training.gather import bounds
from omnifeat.training.trainer import train


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_two_processes_equal_one(tmp_path: Path) -> None:
    dataset = write_world(tmp_path / "data")
    script = Path(__file__).with_name("two_processes.py")
    root = Path(__file__).parents[2]
    common = os.environ | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(root),
        "ACCELERATE_USE_CPU": "true",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    (tmp_path / "two").mkdir()
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / "data"), str(tmp_path / "two")],
            env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        errors = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)

    found = torch.load(tmp_path / "two" / "found.pt", weights_only=True)
    expected = loss_and_gradients(dataset, None)
    assert found.keys() == expected.keys()
    assert any(name.startswith("gradient model.entity") or "entity" in name for name in found)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=lambda text, n=name: f"{n}: {text}")

    alone = train(dataset, config(), settings(), tmp_path / "one")
    log = json.loads((tmp_path / "two" / "encoder.run" / "training.json").read_text())
    assert log["processes"] == 2
    assert [point["loss"] for point in log["losses"]] == pytest.approx(
        [point["loss"] for point in alone.log.losses], rel=1e-3
    )
    assert FrozenEncoder.from_pretrained(tmp_path / "two" / "encoder").dim == 32


def test_bounds() -> None:
    assert bounds(7, 3) == [0, 3, 5, 7]
    assert bounds(1, 2) == [0, 1, 1]
    assert bounds(0, 2) == [0, 0, 0]
