"""A slice of the campaign of crafted artefacts; the whole is `python scripts/campaign_artefacts.py`."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def campaign() -> ModuleType:
    """The script as a module."""
    path = Path(__file__).parents[1] / "scripts" / "campaign_artefacts.py"
    specification = importlib.util.spec_from_file_location("campaign_artefacts", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["campaign_artefacts"] = module
    specification.loader.exec_module(module)
    return module


def test_crafted_artefacts_end_in_the_same_output_or_in_one_sentence(campaign: ModuleType, tmp_path: Path) -> None:
    kinds = ["ranker", "classifier-fasttext", "index-graph", "enrich-state"]
    found = list(campaign.run_campaign(kinds, each=8, seed=1, work=tmp_path))
    assert len(found) == 8 * len(kinds)
    assert [outcome for outcome in found if outcome.how in campaign.BAD] == []
    assert {outcome.how for outcome in found} >= {"sentence", "same output"}
