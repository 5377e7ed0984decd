import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnifeat.cores import thread_count
from omnifeat.cosines import copy_rows, engaged_cosines, inverse_norms, pair_cosines
from omnifeat.errors import SettingError


def random_rows(rows: int, dim: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)


def test_cosines_worked_by_hand() -> None:
    # (3, 4) . (4, 3) = 24 over 5 * 5 = 0.96; at width 1: 3 * 4 over 3 * 4 = 1. (3, 4) . (-4, 3) = 0; width 1: -1
    queries = np.array([[3, 4]], np.float32)
    entities = np.array([[4, 3], [-4, 3], [0, 2]], np.float32)
    cosines = pair_cosines(queries, entities, np.array([0, 0, 0]), np.array([0, 1, 2]), widths=[1, 2])
    np.testing.assert_allclose(cosines[:2], [[1, 0.96], [-1, 0]], rtol=1e-6)
    # (0, 2) has no direction in its first dimension: 8 over 5 * 2 at width 2
    assert np.isnan(cosines[2, 0])
    assert cosines[2, 1] == pytest.approx(0.8)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 70), st.integers(1, 40), st.integers(0, 10_000), st.data())
def test_cosines_equal_numpy_in_float64(dim: int, pairs: int, seed: int, data: st.DataObject) -> None:
    queries, entities = random_rows(7, dim, seed), random_rows(9, dim, seed + 1)
    entities[4] = 0
    widths = sorted(data.draw(st.sets(st.integers(1, dim), max_size=3)) | {dim})
    rng = np.random.default_rng(seed)
    query_rows, entity_rows = rng.integers(-1, 7, pairs), rng.integers(-1, 9, pairs)
    cosines = pair_cosines(queries, entities, query_rows, entity_rows, widths=widths)
    assert cosines.dtype == np.float32
    for pair in range(pairs):
        for index, width in enumerate(widths):
            if query_rows[pair] < 0 or entity_rows[pair] < 0 or entity_rows[pair] == 4:
                assert np.isnan(cosines[pair, index])
                continue
            query = queries[query_rows[pair], :width].astype(np.float64)
            entity = entities[entity_rows[pair], :width].astype(np.float64)
            expected = query @ entity / np.linalg.norm(query) / np.linalg.norm(entity)
            assert cosines[pair, index] == pytest.approx(expected, abs=2e-6)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=4), st.integers(0, 10_000))
def test_cosines_of_blocks_equal_those_of_the_blocks_alone(blocks: list[int], seed: int) -> None:
    dim = sum(blocks)
    queries, entities = random_rows(5, dim, seed), random_rows(6, dim, seed + 1)
    entities[2, : blocks[0]] = 0  # lacks the first block
    query_rows, entity_rows = np.repeat(np.arange(5), 6), np.tile(np.arange(6), 5)
    found = pair_cosines(queries, entities, query_rows, entity_rows, widths=[dim], blocks=blocks)
    start = 0
    for index, width in enumerate(blocks):
        part = slice(start, start + width)
        alone = pair_cosines(
            np.ascontiguousarray(queries[:, part]), np.ascontiguousarray(entities[:, part]), query_rows, entity_rows
        )
        np.testing.assert_allclose(found[:, 1 + index], alone[:, 0], atol=1e-5)
        start += width


def test_a_cosine_never_passes_one() -> None:
    vectors = random_rows(5_000, 33, 3)
    rows = np.arange(5_000)
    cosines = pair_cosines(vectors, vectors, rows, rows)
    opposite = pair_cosines(vectors, -vectors, rows, rows)
    assert cosines.max() == 1.0
    assert cosines.min() > 1 - 1e-6
    assert opposite.min() == -1.0


def test_threads_change_nothing() -> None:
    queries, entities = random_rows(50, 24, 0), random_rows(60, 24, 1)
    rng = np.random.default_rng(2)
    rows = rng.integers(-1, 50, 20_000).astype(np.int32), rng.integers(-1, 60, 20_000).astype(np.int32)
    one = pair_cosines(queries, entities, *rows, widths=[8, 24], threads=1)
    np.testing.assert_array_equal(one, pair_cosines(queries, entities, *rows, widths=[8, 24], threads=3))


def test_engaged_cosines_equal_a_double_loop() -> None:
    queries = random_rows(12, 10, 5)
    queries[11] = 0
    norms = inverse_norms(queries)[:, 0]
    rng = np.random.default_rng(6)
    lengths = np.array([3, 0, 4, 1, 2])
    starts = np.cumsum(lengths) - lengths
    engaged = rng.integers(0, 12, lengths.sum())
    engaged[7:] = [3, 11, 11]  # entity 3: query 3 alone; entity 4: nothing but zero vectors
    texts = np.arange(12)
    texts[2] = 1  # queries 1 and 2 are one text
    query_rows, entity_rows = np.repeat(np.arange(-1, 12), 6), np.tile(np.arange(-1, 5), 13)
    for leave_out in (None, texts):
        found = engaged_cosines(
            queries, norms, query_rows, entity_rows, starts, lengths, engaged, leave_out=leave_out, threads=1
        )
        for pair, (query, entity) in enumerate(zip(query_rows, entity_rows, strict=True)):
            cosines = []
            if query >= 0 and entity >= 0 and norms[query] > 0:
                for other in engaged[starts[entity] : starts[entity] + lengths[entity]]:
                    if norms[other] > 0 and (leave_out is None or texts[other] != texts[query]):
                        dot = queries[query].astype(float) @ queries[other].astype(float)
                        cosines.append(dot * float(norms[query]) * float(norms[other]))
            if cosines:
                assert found[pair] == pytest.approx([max(cosines), np.mean(cosines)], abs=2e-6)
            else:
                assert np.isnan(found[pair]).all()


def test_rows_are_copied_where_they_belong() -> None:
    source, target = random_rows(4, 3, 0), np.zeros((5, 3), np.float32)
    copy_rows(source, np.array([3, 0]), target, np.array([1, 4]))
    np.testing.assert_array_equal(target, np.stack([np.zeros(3), source[3], np.zeros(3), np.zeros(3), source[0]]))


def test_wrong_settings_are_named() -> None:
    rows = np.array([0])
    with pytest.raises(SettingError, match="width 3 and entity vectors 4"):
        pair_cosines(random_rows(1, 3, 0), random_rows(1, 4, 0), rows, rows)
    with pytest.raises(SettingError, match=r"must rise within 1\.\.3\. Got \[2, 2\]"):
        inverse_norms(random_rows(1, 3, 0), [2, 2])
    with pytest.raises(SettingError, match="'threads' setting must be 1 or more"):
        thread_count(0)
