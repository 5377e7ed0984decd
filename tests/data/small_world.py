"""A small sound world, and ways to change it."""

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

MARCH = datetime(2024, 3, 1, tzinfo=UTC)


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


def replaced(table: pa.Table, column: str, values: Any) -> pa.Table:
    """The table with one column replaced or added."""
    if column in table.column_names:
        return table.set_column(table.column_names.index(column), column, values)
    return table.append_column(column, values)
