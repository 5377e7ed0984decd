"""A small dataset folder whose pairs can be learned: each topic has its own words."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from omnifeat.data.dataset import Dataset, DatasetInfo, DatasetWriter
from omnifeat.data.splits import HashSplit

TOPICS = ("red shoes", "garden chairs", "birthday cake", "blue kitchen", "wedding hair", "oak shelf")
WIDTH = 8


def write_world(folder: Path, *, products: bool = True, split: bool = True, pins: int = 48, seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    topic_vectors = rng.standard_normal((len(TOPICS), WIDTH)).astype(np.float32)
    queries = [
        f"{topic} {word}" for topic in TOPICS for word in ("ideas", "cheap", "diy", "small", "big", "new", "old")
    ]
    topic_of_query = np.repeat(np.arange(len(TOPICS)), 7)

    def entities(prefix: str, count: int, extra: str) -> tuple[pa.Table, np.ndarray]:
        topics = np.arange(count) % len(TOPICS)
        vectors = topic_vectors[topics] + 0.1 * rng.standard_normal((count, WIDTH)).astype(np.float32)
        present = np.arange(count) % 5 != 0  # every fifth has no vector
        table = pa.table(
            {
                "id": [f"{prefix}{i}" for i in range(count)],
                "title": [f"{TOPICS[t]} number {i}" for i, t in enumerate(topics)],
                "engaged_queries": [[queries[7 * t], queries[7 * t + 1]] for t in topics],
                extra: pa.array(
                    [v.tolist() if p else None for v, p in zip(vectors, present, strict=True)],
                    pa.list_(pa.float32(), WIDTH),
                ),
            }
        )
        return table, topics

    rows: list[tuple[str, str, str, str]] = []
    pin_table, pin_topics = entities("pin", pins, "pinsage")
    product_table, product_topics = entities("product", 30, "itemsage")
    for query, topic in zip(queries, topic_of_query, strict=True):
        rows += [(query, f"pin{i}", "pin", "save") for i in np.flatnonzero(pin_topics == topic)[:4]]
        if products:
            of_topic = np.flatnonzero(product_topics == topic)
            rows += [(query, f"product{i}", "product", "long_click") for i in of_topic[:2]]
            rows += [(query, f"product{of_topic[2]}", "product", "checkout")]
            rows += [(query, queries[7 * topic + (queries.index(query) + 1) % 7], "query", "click")]
    rows.append(rows[0])  # a pair that was engaged with twice
    engagements = pa.table(
        {
            "query": [row[0] for row in rows],
            "entity_id": [row[1] for row in rows],
            "entity_type": [row[2] for row in rows],
            "action": [row[3] for row in rows],
            "timestamp": pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * len(rows), pa.timestamp("us", tz="UTC")),
        }
    )
    info = DatasetInfo(
        name="small world",
        source="made for tests",
        licence="none",
        created_by="tests",
        split=HashSplit(development=0.2, test=0.1) if split else None,
    )
    with DatasetWriter(folder, info, overwrite=True) as writer:
        writer.write("pins", pin_table)
        if products:
            writer.write("products", product_table)
        writer.write("queries", pa.table({"query": queries}))
        writer.write("engagements", engagements)
    return Dataset.open(folder)
