"""The scripts of studies hand the world's sources of candidates to the command that makes the world."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.mark.parametrize("candidates", [None, "mixed"])
@pytest.mark.parametrize("name", ["quickstart", "study_paper", "study_world"])
def test_candidates_reach_simulate_and_nothing_else(tmp_path: Path, name: str, candidates: str | None) -> None:
    # a copy: the quickstart writes beside the folder of its script
    script = tmp_path / "scripts" / name
    script.parent.mkdir()
    shutil.copy(SCRIPTS / name, script)
    told = tmp_path / "told"
    stub = tmp_path / "bin" / "omnifeat"
    stub.parent.mkdir()
    stub.write_text(f'#!/bin/sh\necho "$*" >> "{told}"\n')
    stub.chmod(0o755)
    environment = {**os.environ, "PATH": f"{stub.parent}:{os.environ['PATH']}"}
    environment.pop("CANDIDATES", None)
    if candidates:
        environment["CANDIDATES"] = candidates
    arguments = [] if name == "quickstart" else [str(tmp_path / "out"), "tiny"]
    subprocess.run(["sh", str(script), *arguments], check=True, env=environment, capture_output=True)
    commands = told.read_text().splitlines()
    assert [line for line in commands if line.startswith("simulate ")] == commands[:1]
    assert ("--candidates mixed" in commands[0]) == (candidates is not None)
    assert not any("--candidates" in line for line in commands[1:])
