"""Signals in a process of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from omnifeat.commands.failures import ended_by
from omnifeat.errors import DataError

PROGRAM = """
import sys
from omnifeat import cli
from omnifeat.engines import LocalEngine

def main():
    print("begun", flush=True)
    LocalEngine("1GB", 1).rows("SELECT count(*) FROM (SELECT hash(range) h FROM range(10000000000)) WHERE h = 3", {})

sys.modules["slow"] = sys.modules["__main__"]
cli.COMMANDS["slow"] = ("slow", "")
sys.argv = ["omnifeat", "slow"]
cli.main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_inside_duckdb_ends_the_command_in_one_line_and_leaves_nothing(
    tmp_path: Path, number: int, code: int
) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    while not list(tmp_path.iterdir()):
        assert process.poll() is None
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert said == "stopped: what was not finished is removed\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(28, "No space left on device"), 2, "no space is left"),
        (OSError(13, "Permission denied", "/data/t.csv"), 2, "/data/t.csv: there is no permission"),
        (OSError(30, "Read-only file system", "/data/t.csv"), 2, "the disk is read-only"),
        (MemoryError(), 2, "not enough memory"),
        (RuntimeError("std::bad_alloc"), 2, "not enough memory"),
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
        (KeyboardInterrupt(), 130, "stopped"),
        (DataError("t.csv is empty"), 2, "error: t.csv is empty"),
    ],
)
def test_what_the_machine_refuses_is_one_line(error: BaseException, code: int, words: str) -> None:
    ended = ended_by(error)
    assert ended is not None
    assert ended[1] == code
    assert words in ended[0]
    assert "\n" not in ended[0]


def test_a_mistake_of_the_program_is_shown_as_it_is() -> None:
    assert ended_by(KeyError("x")) is None
