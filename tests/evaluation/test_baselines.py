"""Rows of a study: largest cosine against a double loop, sums, texts, and exact ties of shared texts."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.baselines import (
    EngagedTexts,
    Row,
    cosine_row,
    entity_texts,
    largest_cosine_row,
    lexical_row,
    sum_row,
)
from omnifeat.errors import DataError
from omnifeat.retrieval.lexical import lexical_scorer


def whole(row: Row, queries: int, block_bytes: int = 1 << 20) -> np.ndarray:
    return np.concatenate([block for _, block in row.blocks(queries, block_bytes)])


lists = st.lists(st.one_of(st.none(), st.lists(st.sampled_from(["a", "b", "c", "", None]), max_size=4)), max_size=6)


@settings(deadline=None, max_examples=60)
@given(lists, st.integers(1, 4), st.sampled_from([1, 64, 1 << 20]))
def test_largest_cosine_equals_double_loop(column, query_count, block_bytes) -> None:
    engaged = EngagedTexts.from_column(pa.array(column, pa.list_(pa.string())))
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(query_count, 3)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    vectors = {text: np.float32([np.cos(angle), np.sin(angle), 0]) for angle, text in enumerate("abc")}
    texts = np.array([vectors[text] for text in engaged.texts], np.float32).reshape(-1, 3)
    scores = whole(largest_cosine_row("x", "x", queries, texts, engaged), query_count, block_bytes)
    expected = [[max([q @ vectors[t] for t in ts or () if t], default=-1.0) for ts in column] for q in queries]
    np.testing.assert_allclose(scores, np.array(expected).reshape(query_count, len(column)), atol=1e-6)


def test_entities_that_share_their_nearest_text_tie_exactly() -> None:
    rng = np.random.default_rng(1)
    column = pa.array([["shared", f"own {number}"] for number in range(50)])
    engaged = EngagedTexts.from_column(column)
    assert engaged.texts.count("shared") == 1
    texts = rng.normal(size=(51, 33)).astype(np.float32) * 0.01
    texts[engaged.texts.index("shared")] = 1
    scores = whole(largest_cosine_row("x", "x", np.ones((3, 33), np.float32), texts, engaged), 3)
    assert (scores == scores[:, [0]]).all()


def test_wrong_number_of_vectors() -> None:
    engaged = EngagedTexts.from_column(pa.array([["a", "b"]]))
    with pytest.raises(DataError, match="1 vectors for 2 engaged queries"):
        largest_cosine_row("x", "x", np.ones((1, 2)), np.ones((1, 2)), engaged)


def test_sum_of_rows_leaves_its_parts_alone() -> None:
    queries, entities = np.eye(3, dtype=np.float32), np.arange(6, dtype=np.float32).reshape(2, 3)
    one, two = cosine_row("1", "", queries, entities), cosine_row("2", "", queries, -2 * entities)
    for _ in range(2):
        np.testing.assert_array_equal(whole(sum_row("s", "", one, two), 3), -entities.T)
    np.testing.assert_array_equal(whole(one, 3, block_bytes=1), entities.T)
    # two rows of two floats: one query of 16 bytes at a time
    assert [start for start, _ in sum_row("s", "", one, two).blocks(3, 16)] == [0, 1, 2]


def test_lexical_row_scores_ranges_of_queries() -> None:
    scorer = lexical_scorer("bm25-words").fit(["red shoe", "blue"])
    scores = whole(lexical_row("b", "", scorer, ["blue", "none", "red"]), 3, block_bytes=8)
    assert (scores > 0).tolist() == [[False, True], [False, False], [True, False]]


def test_entity_texts() -> None:
    table = pa.table(
        {
            "engaged_queries": pa.array([["x", None, "y"], None, []], pa.list_(pa.string())),
            "title": ["one", None, "three"],
            "price": [1.0, 2.0, 3.0],
        }
    )
    assert entity_texts(table) == ["one\nx\ny", "", "three"]
    assert entity_texts(table, ["title"]) == ["one", "", "three"]
