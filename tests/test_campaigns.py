"""Small slices of the campaigns of kills and races, which are run whole by hand (`scripts/campaign_*.py`)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"


def campaign(script: str, *arguments: object) -> dict[str, int]:
    """The counts of a slice; what did not hold is in the message."""
    done = subprocess.run(
        [sys.executable, SCRIPTS / script, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    counts: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return counts


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of work that both campaigns have, so that the inputs are made once."""
    return tmp_path_factory.mktemp("campaigns")


def test_killed_commands_end_in_the_same_output_when_they_are_run_again(work: Path) -> None:
    only = ("--only", "enrich boards", "--only", "enrich queries")
    counts = campaign("campaign_kills.py", work, "--kills", 4, *only)
    assert (counts["commands"], counts["equal"], counts["faults"]) == (2, 4, 0)


def test_two_runs_at_once_leave_one_whole_output(work: Path) -> None:
    only = ("--only", "boards", "--only", "boards, overwritten", "--only", "state")
    counts = campaign("campaign_races.py", work, "--races", 3, *only)
    assert (counts["races"], counts["faults"]) == (3, 0)
