from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from omnifeat.data.dataset import DatasetInfo, DatasetWriter
from omnifeat.data.splits import HashSplit, TimeSplit
from tests.data.small_world import tables


@pytest.fixture
def world(tmp_path: Path) -> Callable[..., Path]:
    """Write the small world with some tables changed; None leaves one out."""

    def write(split: HashSplit | TimeSplit | None = None, **changed: pa.Table | None) -> Path:
        folder = tmp_path / "world"
        with DatasetWriter(folder, DatasetInfo(name="small", split=split), overwrite=True) as writer:
            for name, table in (tables() | changed).items():
                if table is not None:
                    writer.write(name, table)
        return folder

    return write
