import itertools

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from omnifeat.enrich.lists import first_values

Rows = list[tuple[str, str, str]]


def batch(rows: Rows) -> pa.RecordBatch:
    kinds, ids, values = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.record_batch(
        [pa.array(column, pa.string()) for column in (kinds, ids, values)], names=["entity_type", "entity_id", "value"]
    )


def test_by_hand() -> None:
    rows = [("pin", "1", "a"), ("pin", "1", "b"), ("pin", "1", "c"), ("pin", "2", "d"), ("product", "2", "e")]
    found = pa.Table.from_batches(first_values([batch(rows)], 2)).to_pylist()
    assert [tuple(row.values()) for row in found] == [
        ("pin", "1", ["a", "b"]),
        ("pin", "2", ["d"]),
        ("product", "2", ["e"]),
    ]
    assert list(first_values([], 2)) == []
    assert list(first_values([batch([])], 2)) == []


@given(
    rows=st.lists(st.tuples(st.sampled_from(["pin", "product"]), st.sampled_from("123"), st.text(max_size=2))),
    cuts=st.lists(st.integers(0, 40), max_size=6),
    most=st.integers(1, 4),
)
def test_wherever_the_batches_are_cut(rows: Rows, cuts: list[int], most: int) -> None:
    rows = sorted(rows)
    wanted: dict[tuple[str, str], list[str]] = {}
    for kind, entity, value in rows:
        wanted.setdefault((kind, entity), []).append(value)
    edges = [0, *sorted(cuts), len(rows)]
    batches = [batch(rows[start:end]) for start, end in itertools.pairwise(edges)]
    found = [row for lists in first_values(batches, most) for row in lists.to_pylist()]
    assert {(row["entity_type"], row["entity_id"]): row["values"] for row in found} == {
        entity: values[:most] for entity, values in wanted.items()
    }
    assert len(found) == len(wanted)
