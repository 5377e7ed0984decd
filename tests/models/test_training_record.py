from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import save_file

from omnifeat.errors import EncoderError
from omnifeat.models.training_record import (
    PAIR_KNOWN,
    QUERY_KNOWN,
    UNKNOWN,
    TrainingRecord,
    id_hashes,
    pair_hashes,
    query_hashes,
)

QUERIES = pa.array(["red shoes", "hat", "帽子 Bleu élégant"])


@pytest.fixture(scope="module")
def record() -> TrainingRecord:
    """Red shoes with pin 1 and product 7, hat with the query 帽子."""
    hashes = query_hashes(QUERIES)
    pins, products = id_hashes(pa.array(["1"])), id_hashes(pa.array(["7"]))
    pairs = [
        pair_hashes(hashes[:1], "pin", pins),
        pair_hashes(hashes[:1], "product", products),
        pair_hashes(hashes[1:2], "query", hashes[2:]),
    ]
    return TrainingRecord.of([hashes, hashes], [*pairs, pairs[0]])


def test_each_query_and_pair_is_recorded_once_and_rising(record: TrainingRecord) -> None:
    assert (len(record.queries), len(record.pairs), record.bytes) == (3, 3, 48)
    assert (np.diff(record.queries.astype(object)) > 0).all()
    assert record.described == "3 queries and 3 pairs (0.0 MB)"


def test_queries_are_known_in_any_writing_that_normalises_to_the_same(record: TrainingRecord) -> None:
    asked = pa.chunked_array([["Red  SHOES ", "ｈａｔ", "帽子 bleu élégant"], ["red shoe", "", " ", None]])
    assert record.known_queries(asked).tolist() == [True, True, True, False, False, False, False]


def test_pairs_are_known_by_query_type_and_id(record: TrainingRecord) -> None:
    rows = [
        ("RED shoes", "pin", "1", PAIR_KNOWN),
        ("red shoes", "product", "1", QUERY_KNOWN),
        ("red shoes", "product", "7", PAIR_KNOWN),
        ("red shoes", None, "7", PAIR_KNOWN),
        ("red shoes", None, "8", QUERY_KNOWN),
        ("red shoes", "thing", "1", QUERY_KNOWN),
        ("red shoes", "pin", None, QUERY_KNOWN),
        ("hat", "query", "帽子 BLEU élégant", PAIR_KNOWN),
        ("帽子 bleu élégant", "query", "Hat", PAIR_KNOWN),
        ("new", "pin", "1", UNKNOWN),
        (None, "pin", "1", UNKNOWN),
    ]
    queries, types, ids, expected = (list(column) for column in zip(*rows, strict=True))
    columns = [pa.array(column, pa.string()) for column in (queries, types, ids)]
    assert record.knows(*columns).tolist() == expected
    assert record.knows(columns[0], columns[1].dictionary_encode(), columns[2]).tolist() == expected
    assert record.known_pairs(*columns).tolist() == [one == PAIR_KNOWN for one in expected]
    without = record.knows(pa.array(["red shoes", "red shoes", "hat"]), None, pa.array([1, 8, 1]))
    assert without.tolist() == [PAIR_KNOWN, QUERY_KNOWN, QUERY_KNOWN]


def test_hashes_are_the_same_in_every_run() -> None:
    hashes = query_hashes(pa.array(["red shoes"]))
    assert hashes.tolist() == [6832614151073121491]
    assert pair_hashes(hashes, "pin", id_hashes(pa.array(["1"]))).tolist() == [590436869565309888]


def test_a_record_without_pairs_knows_none() -> None:
    empty = TrainingRecord.of([], [])
    assert not empty.known_queries(QUERIES).any()
    assert empty.knows(QUERIES, None, pa.array(["1", "2", "3"])).tolist() == [UNKNOWN] * 3


def test_round_trip(record: TrainingRecord, tmp_path: Path) -> None:
    path = tmp_path / "record.safetensors"
    record.save(path)
    again = TrainingRecord.load(path)
    assert np.array_equal(again.queries, record.queries)
    assert np.array_equal(again.pairs, record.pairs)


@pytest.mark.parametrize(
    ("arrays", "metadata", "message"),
    [
        ({"queries": [1, 2]}, "omnifeat training record 1", "does not hold queries and pairs"),
        ({"queries": [1, 2], "pairs": [3]}, "other", "does not hold queries and pairs"),
        ({"queries": [2, 1], "pairs": [3]}, "omnifeat training record 1", "queries are not in rising order"),
        ({"queries": [1, 2], "pairs": [3, 3]}, "omnifeat training record 1", "pairs are not in rising order"),
        ({"queries": [0, 2], "pairs": [3]}, "omnifeat training record 1", "queries are not in rising order"),
        ({"queries": [[1, 2]], "pairs": [3]}, "omnifeat training record 1", "rows of 64-bit hashes"),
    ],
)
def test_what_is_no_record_is_refused(
    arrays: dict[str, list[int]], metadata: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "record.safetensors"
    save_file({name: np.array(some, np.uint64) for name, some in arrays.items()}, path, metadata={"format": metadata})
    with pytest.raises(EncoderError, match=message):
        TrainingRecord.load(path)


def test_other_numbers_and_damage_are_refused(record: TrainingRecord, tmp_path: Path) -> None:
    path = tmp_path / "record.safetensors"
    floats = {name: np.arange(1.0, 4.0) for name in ("queries", "pairs")}
    save_file(floats, path, metadata={"format": "omnifeat training record 1"})
    with pytest.raises(EncoderError, match="64-bit hashes"):
        TrainingRecord.load(path)
    record.save(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(EncoderError, match="cannot be read"):
        TrainingRecord.load(path)
