"""Groups by what is known of a pair: how frequent its query is, and whether its entity has a title."""

from pathlib import Path

import pyarrow as pa
import pytest

from evaluation.groups import FREQUENCY, HAS_TITLE, pair_groups
from evaluation.recall import EvaluationPairs
from omnifeat.data.dataset import Dataset, DatasetInfo, DatasetWriter
from omnifeat.errors import DataError

ENGAGED = [("a", "1"), ("a", "2"), ("a", "3"), ("b", "1"), ("b", "2"), ("c", "4"), ("d", "4"), ("e", "1"), ("f", "2")]


@pytest.fixture
def made(tmp_path: Path) -> tuple[Dataset, pa.Table, EvaluationPairs]:
    queries, ids = (list(column) for column in zip(*ENGAGED, strict=True))
    rows = pa.table({"query": queries, "entity_id": ids, "entity_type": ["pin"] * len(ids)})
    pins = pa.table({"id": ["1", "2", "3", "4"], "title": ["t", " ", None, "t"]})
    with DatasetWriter(tmp_path / "data", DatasetInfo(name="d", source="s", licence="none")) as writer:
        writer.write("pins", pins)
        more = {"action": ["save"] * len(ids), "timestamp": pa.array([0] * len(ids), pa.timestamp("us", "UTC"))}
        writer.write("engagements", pa.table({**{name: rows[name] for name in rows.column_names}, **more}))
    dataset = Dataset.open(tmp_path / "data")
    return dataset, rows, EvaluationPairs.make(queries, ids, pins["id"].combine_chunks())


def test_head_and_tail(made: tuple[Dataset, pa.Table, EvaluationPairs]) -> None:
    """Of nine engagements `a` makes the first three, `f`, `e` and `d` the last three."""
    dataset, rows, pairs = made
    groups, told = pair_groups(dataset, "pin", ("engagements", rows), pairs, FREQUENCY, None)
    of_group = {name: sorted({pairs.queries[q] for q in pairs.pair_queries[m]}) for name, m in groups.items()}
    assert of_group == {"head": ["a"], "between": ["b", "c"], "tail": ["d", "e", "f"]}
    assert told == "engagements: queries by frequency"
    some, _ = pair_groups(dataset, "pin", ("engagements", rows), pairs, FREQUENCY, ("tail", "head"))
    assert list(some) == ["tail", "head"]
    with pytest.raises(DataError, match="no evaluated pair has 'belly'"):
        pair_groups(dataset, "pin", ("engagements", rows), pairs, FREQUENCY, ("belly",))


def test_with_and_without_a_title(made: tuple[Dataset, pa.Table, EvaluationPairs]) -> None:
    dataset, rows, pairs = made
    groups, told = pair_groups(dataset, "pin", ("engagements", rows), pairs, HAS_TITLE, None)
    ids = pairs.entity_ids.to_pylist()
    of_group = {name: sorted({ids[p] for p in pairs.pair_positives[m]}) for name, m in groups.items()}
    assert of_group == {"with a title": ["1", "4"], "without a title": ["2", "3"]}
    assert told == "pins: titles"
