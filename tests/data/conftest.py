from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from omnifeat.data.dataset import DatasetInfo, DatasetWriter
from omnifeat.data.schema import TIMESTAMP
from omnifeat.data.splits import HashSplit, TimeSplit

MARCH = datetime(2024, 3, 1, tzinfo=UTC)


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


def tables() -> dict[str, pa.Table]:
    """A small sound world."""
    vector = pa.list_(pa.float32(), 2)
    log = {
        "query": ["sink", "tap", "sink", "bath"],
        "entity_id": ["p1", "p1", "p2", "q1"],
        "entity_type": ["pin", "pin", "pin", "product"],
    }
    times = [MARCH, datetime(2024, 3, 2, tzinfo=UTC), MARCH, datetime(2024, 3, 30, tzinfo=UTC)]
    return {
        "pins": pa.table(
            {
                "id": ["p1", "p2"],
                "title": ["Copper sink", None],
                "engaged_queries": pa.array([["sink"], []], pa.list_(pa.string())),
                "pinsage": pa.array([[1, 2], None], vector),
            }
        ),
        "products": pa.table({"id": ["q1"], "price": [9], "itemsage": pa.array([[0, 1]], vector)}),
        "queries": pa.table({"query": ["sink", "tap", "bath"]}),
        "engagements": pa.table(log | {"action": ["save", "click", "click", "checkout"], "timestamp": times}),
        "boards": pa.table({"board_id": ["b1"], "title": ["Kitchen"]}),
        "saves": pa.table({"board_id": ["b1"], "entity_id": ["p2"], "entity_type": ["pin"]}),
        "judgments": pa.table(log | {"grade": [0, 1, 2, 3]}),
        "impressions": pa.table(
            log | {"request_id": ["r1"] * 4, "position": [1, 2, 3, 4], "action": ["click", None, None, None]}
        ),
        "interests": pa.table(
            {"interest_id": ["i1", "i2"], "name": ["Home", "Kitchen"], "parent_id": [None, "i1"], "level": [0, 1]}
        ),
        "query_interests": pa.table({"query": ["sink"], "interest_id": ["i2"]}),
    }


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


def replaced(table: pa.Table, column: str, values: Any) -> pa.Table:
    """The table with one column replaced or added."""
    if column in table.column_names:
        return table.set_column(table.column_names.index(column), column, values)
    return table.append_column(column, values)
