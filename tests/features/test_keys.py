import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnifeat.errors import DataError
from omnifeat.keys import DuplicateCheck, KeyIndex, as_strings, hash_strings


def column(values: list[str | None]) -> pa.LargeStringArray:
    return pa.array(values, pa.large_string())


keys = st.lists(st.tuples(st.none() | st.text(max_size=6), st.integers(0, 3)), max_size=60)


@settings(deadline=None, max_examples=60)
@given(st.lists(keys, max_size=5), keys)
def test_rows_are_those_of_a_dictionary(batches: list[list[tuple[str | None, int]]], looked_up: list) -> None:
    index, reference = KeyIndex(), {}
    for batch in batches:
        rows = index.intern(column([text for text, _ in batch]), np.array([tag for _, tag in batch], np.uint8))
        for (text, tag), row in zip(batch, rows.tolist(), strict=True):
            expected = -1 if text is None else reference.setdefault((text, tag), len(reference))
            assert row == expected
    assert len(index) == len(reference)
    assert index.strings().to_pylist() == [text for text, _ in reference]
    assert index.tags.tolist() == [tag for _, tag in reference]
    found = index.find(column([text for text, _ in looked_up]), np.array([tag for _, tag in looked_up], np.uint8))
    assert found.tolist() == [reference.get(key, -1) for key in looked_up]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_many_keys_grow_the_table_and_threads_change_nothing(threads: int) -> None:
    texts = column([f"pin {number * 7919}" for number in range(30_000)])
    index = KeyIndex(threads)
    for start in range(0, len(texts), 9_000):
        index.intern(texts.slice(start, 9_000))  # slices: offsets that don't begin at 0
    shuffled = np.random.default_rng(0).permutation(30_000)
    assert index.find(texts.take(pa.array(shuffled))).tolist() == shuffled.tolist()
    assert index.take(np.array([29_999, 0])) == [f"pin {29_999 * 7919}", "pin 0"]


def test_keys_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    # every key in one slot chain: the bytes decide, not the hash
    from omnifeat import keys as module

    def same(data, start, stop, tag):
        return np.uint64(5)

    plain = {name: getattr(module, name).py_func for name in ("_probe", "_find", "_insert")}
    for name, function in plain.items():
        monkeypatch.setattr(module, name, function)
    monkeypatch.setattr(module, "_hash", same)
    index = KeyIndex()
    assert index.intern(column(["a", "b", "a", "ab"])).tolist() == [0, 1, 0, 2]
    assert index.find(column(["ab", "b", "c"])).tolist() == [2, 1, -1]


def test_hashes_stay_the_same_from_run_to_run() -> None:
    # FNV-1a of "a" is 0xaf63dc4c8601ec8c; mixed with MurmurHash3's finaliser in plain Python
    def mixed(value: int) -> int:
        for shift, factor in ((33, 0xFF51AFD7ED558CCD), (33, 0xC4CEB9FE1A85EC53)):
            value = (value ^ (value >> shift)) * factor % 2**64
        return value ^ (value >> 33)

    assert hash_strings(column(["a"])).tolist() == [mixed(0xAF63DC4C8601EC8C)]


def test_duplicates_are_found_with_both_rows() -> None:
    batches = [column(["x", "y"]), column(["z", "y", None, None])]
    check = DuplicateCheck()
    for batch in batches:
        check.add(batch)
    assert DuplicateCheck.first_duplicate(batches, check.suspects()) == ("y", 2, 4)


def test_a_hash_that_meets_is_no_duplicate() -> None:
    batches = [column(["x", "y"])]
    assert DuplicateCheck.first_duplicate(batches, np.sort(hash_strings(batches[0]))) is None


def test_dictionaries_and_whole_numbers_become_text() -> None:
    assert as_strings(pa.array(["a", "b", "a"]).dictionary_encode(), "x").to_pylist() == ["a", "b", "a"]
    assert as_strings(pa.chunked_array([[1], [2, None]]), "x").to_pylist() == ["1", "2", None]
    with pytest.raises(DataError, match="the ids, row 1: 1.5 is not a whole number"):
        as_strings(pa.array([1.5]), "the ids")
