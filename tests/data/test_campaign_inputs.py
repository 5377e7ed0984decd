"""A slice of the campaign of damaged and odd inputs; `scripts/campaign_inputs.py` runs it in full."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "campaign_inputs.py"


@pytest.fixture(scope="module")
def campaign() -> ModuleType:
    spec = importlib.util.spec_from_file_location("campaign_inputs", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["campaign_inputs"] = module
    spec.loader.exec_module(module)
    return module


def test_every_input_is_read_or_refused(campaign: ModuleType, tmp_path: Path) -> None:
    failed = {}
    for number in range(300):
        case = campaign.make(7, number, tmp_path)
        result = campaign.outcome(case, number)
        if result not in campaign.GOOD:
            failed[number, case.what] = result
    assert not failed


def test_a_worker_that_dies_or_hangs_is_one_failure(
    campaign: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import json, os, sys, time\n"
        "start = int(sys.argv[sys.argv.index('--start') + 1])\n"
        "for number in range(start, 4):\n"
        "    if number == 1: os._exit(9)\n"
        "    if number == 2: time.sleep(60)\n"
        "    print(json.dumps(['done', number, 'x', 'read']), flush=True)\n"
    )
    monkeypatch.setattr(campaign, "__file__", str(worker))
    monkeypatch.setattr(campaign, "START_UP", 1.0)
    found = [result for _, _, result in campaign.tried(0, 0, 4, 1.0)]
    assert found == ["read", "crash: the process ended with 9", "hang: more than 1 s", "read"]
