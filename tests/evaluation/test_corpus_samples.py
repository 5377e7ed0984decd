from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.corpus_samples import expected_hits


def test_by_hand() -> None:
    """Of 4 others 2 are before the positive; a sample of 2 has both of them in 1 of 6 draws, so k = 2 finds 5 of 6."""
    assert expected_hits(np.array([3]), np.array([4]), 2, 2) == pytest.approx([5 / 6])


@given(others=st.integers(1, 7), data=st.data())
def test_it_is_the_mean_over_all_samples(others: int, data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, others + 1))
    size, k = data.draw(st.integers(1, others)), data.draw(st.integers(1, 4))
    draws = list(combinations(range(1, others + 1), size))  # places of the others, the first rank - 1 before
    found = np.mean([sum(place < rank for place in draw) < k for draw in draws])
    assert expected_hits(np.array([rank]), np.array([others]), size, k) == pytest.approx([found])


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.integers(1, 12))
def test_the_whole_corpus_gives_hits_and_a_smaller_one_no_fewer(ranks: list[int], k: int) -> None:
    ranks_P, others_P = np.array(ranks), np.full(len(ranks), 49)
    hits = (ranks_P <= k).astype(float)
    np.testing.assert_allclose(expected_hits(ranks_P, others_P, 1000, k), hits)
    assert (expected_hits(ranks_P, others_P, 20, k) >= hits - 1e-12).all()
