from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from omnifeat.data.dataset import DatasetInfo, DatasetWriter
from omnifeat.data.schema import TIMESTAMP
from omnifeat.data.splits import HashSplit, TimeSplit
from tests.data.small_world import MARCH, tables


@pytest.fixture
def every_type() -> pa.Table:
    """Known and unknown columns of every type, with nulls, empty texts and empty lists, quotes and line breaks."""
    return pa.table(
        {
            "id": ["00123", "b", ""],
            "title": ["null", None, 'é, "quoted"\nsecond line'],
            "pinsage": pa.array([[1.5, 2, 0.1], None, [3, 4, 5]], pa.list_(pa.float32(), 3)),
            "image_embeddings": pa.array([[[1, 2], [3, 4]], None, []], pa.list_(pa.list_(pa.float32(), 2))),
            "engaged_queries": pa.array([["a", "日本"], None, []], pa.list_(pa.string())),
            "timestamp": pa.array([MARCH, None, datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)], TIMESTAMP),
            "f_clicks": pa.array([1.0, None, 2.5], pa.float64()),
            "whole": pa.array([1, 2, None], pa.int64()),
            "real": pa.array([0.5, None, -2e30], pa.float64()),
            "flag": pa.array([True, None, False], pa.bool_()),
            "code": ["007", "12", None],
        }
    )


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
