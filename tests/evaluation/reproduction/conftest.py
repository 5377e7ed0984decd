"""A tiny simulated world and the pairs chosen from it, made once."""

from pathlib import Path

import pytest

from omnifeat.data.dataset import Dataset
from omnifeat.enrich.pairs import make_pairs
from omnifeat.simulator.simulate import simulate


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reproduction")
    simulate(folder / "world", scale="tiny", seed=0, threads=1)
    return folder / "world"


@pytest.fixture(scope="package")
def pairs(world: Path) -> Dataset:
    make_pairs(Dataset.open(world), world.parent / "pairs", threads=1)
    return Dataset.open(world.parent / "pairs")
