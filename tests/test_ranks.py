"""Ranks by counting, against a double loop and against values worked by hand."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnifeat.ranks import Excluded, id_order, ranks_from_blocks, ranks_of_positives, score_blocks


def ranks_by_double_loop(scores, ids, pair_queries, pair_positives, excluded):
    """The definition, word for word."""
    ranks = []
    for query, positive in zip(pair_queries, pair_positives, strict=True):
        before = 0
        for candidate in range(scores.shape[1]):
            if candidate == positive or (query, candidate) in excluded:
                continue
            mine, other = scores[query, positive], scores[query, candidate]
            before += bool(other > mine or (other == mine and ids[candidate] < ids[positive]))
        ranks.append(before + 1)
    return ranks


def test_golden_ranks():
    # One query along the first axis; scores of the corpus: b 0.5, a 0.5, d 1.0, c 0.0.
    queries = np.array([[1.0, 0.0]], dtype=np.float32)
    corpus = np.array([[0.5, 0], [0.5, 0], [1, 0], [0, 1]], dtype=np.float32)
    order = id_order(pa.array(["b", "a", "d", "c"]))
    assert order.tolist() == [1, 0, 3, 2]
    pairs = np.arange(4)
    # d is first; a and b tie and a's id is smaller; c is last.
    assert ranks_of_positives(queries, corpus, order, np.zeros(4, dtype=np.int64), pairs).tolist() == [3, 2, 1, 4]
    # With d left out, everything behind it moves up by one; d itself still has a rank of its own.
    without_d = Excluded.from_pairs(np.array([0]), np.array([2]), 1)
    ranks = ranks_of_positives(queries, corpus, order, np.zeros(4, dtype=np.int64), pairs, without_d)
    assert ranks.tolist() == [2, 1, 1, 3]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_ranks_equal_a_double_loop(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    query_count, corpus_size = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 30))
    # Small integers: many exact ties, and sums without rounding.
    queries = rng.integers(-2, 3, (query_count, 3)).astype(np.float32)
    corpus = rng.integers(-2, 3, (corpus_size, 3)).astype(np.float32)
    ids = rng.permutation([f"{n:03d}" for n in range(corpus_size)])
    pair_count = data.draw(st.integers(0, 20))
    pair_queries = rng.integers(0, query_count, pair_count)
    pair_positives = rng.integers(0, corpus_size, pair_count)
    leave_out = data.draw(st.booleans())
    excluded = Excluded.from_pairs(pair_queries, pair_positives, query_count) if leave_out else None
    pairs = set(zip(pair_queries.tolist(), pair_positives.tolist(), strict=True)) if leave_out else set()
    expected = ranks_by_double_loop(queries @ corpus.T, ids, pair_queries, pair_positives, pairs)
    order = id_order(pa.array(ids.tolist()))
    assert ranks_of_positives(queries, corpus, order, pair_queries, pair_positives, excluded).tolist() == expected

    shuffled = rng.permutation(corpus_size)
    place = np.argsort(shuffled)
    moved_excluded = Excluded.from_pairs(pair_queries, place[pair_positives], query_count) if leave_out else None
    moved = ranks_of_positives(
        queries, corpus[shuffled], order[shuffled], pair_queries, place[pair_positives], moved_excluded
    )
    assert moved.tolist() == expected, "ranks depend on the order of the corpus"


@pytest.mark.parametrize("block_bytes", [1, 100, 10**6])
def test_block_size_does_not_matter(block_bytes):
    rng = np.random.default_rng(0)
    queries, corpus = rng.integers(-3, 4, (7, 4)).astype(np.float32), rng.integers(-3, 4, (11, 4)).astype(np.float32)
    order = np.arange(11)
    pair_queries, positives = np.repeat(np.arange(7), 11), np.tile(np.arange(11), 7)
    done: list[int] = []
    blocks = score_blocks(queries, corpus, block_bytes)
    ranks = ranks_from_blocks(blocks, order, pair_queries, positives, Excluded.none(7), done.append)
    assert ranks.tolist() == ranks_of_positives(queries, corpus, order, pair_queries, positives).tolist()
    assert np.sort(ranks.reshape(7, 11), axis=1).tolist() == [list(range(1, 12))] * 7
    assert sum(done) == 7
