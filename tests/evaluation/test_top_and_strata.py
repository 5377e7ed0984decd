"""The first k of each query, and which queries are head and tail."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.baselines import Row
from evaluation.query_strata import head_and_tail, query_counts, sample_queries
from evaluation.top import retrieve
from omnifeat.data.dataset import Dataset
from omnifeat.errors import DataError, SettingError

from .conftest import write_dataset


def row_of(scores: np.ndarray) -> Row:
    return Row("given", "given scores", lambda first, last: scores[first:last].copy(), scores.shape[1])


def test_ties_at_the_border_go_to_the_smaller_id_and_empty_places_are_marked() -> None:
    scores = np.array([[1, 3, 1, 1], [0, 0, -1, 2]], np.float32)
    ids = pa.array(["d", "c", "b", "a"])
    found = retrieve(row_of(scores), 2, ids, 2)
    np.testing.assert_array_equal(found.rows, [[1, 3], [3, 1]])
    positive = retrieve(row_of(scores), 2, ids, 5, only_positive=True)
    np.testing.assert_array_equal(positive.rows, [[1, 3, 2, 0, -1], [3, -1, -1, -1, -1]])
    np.testing.assert_array_equal(positive.scores[0], [3, 1, 1, 1, np.nan])


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 15), st.booleans())
def test_equals_sorting_everything(seed: int, entities: int, k: int, only_positive: bool) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(-2, 3, (3, entities)).astype(np.float32)
    ids = [f"e{row:02}" for row in rng.permutation(entities)]
    found = retrieve(row_of(scores), 3, pa.array(ids), k, only_positive=only_positive)
    for query in range(3):
        ordered = sorted(range(entities), key=lambda row: (-scores[query, row], ids[row]))
        kept = [row for row in ordered if not only_positive or scores[query, row] > 0][:k]
        assert found.rows[query].tolist() == kept + [-1] * (k - len(kept))


def test_bad_retrieval() -> None:
    with pytest.raises(SettingError, match="k must be 1 or more, got 0"):
        retrieve(row_of(np.zeros((1, 1), np.float32)), 1, pa.array(["a"]), 0)
    with pytest.raises(DataError, match="row 'given' gives a score that is not a finite number"):
        retrieve(row_of(np.array([[np.nan]], np.float32)), 1, pa.array(["a"]), 1)


def test_head_and_tail_by_hand() -> None:
    # 12 engagements, a third is 4: a (5) makes the head alone; behind c stand 3, less than 4, and behind b 5
    counts = {"a": 5, "b": 2, "c": 2, "d": 1, "e": 1, "f": 1}
    assert head_and_tail(counts) == {"head": ["a"], "tail": ["c", "d", "e", "f"]}
    # half is 6: before b stand 5, before c 7; what is behind c and not of the head is the tail
    assert head_and_tail(counts, 0.5) == {"head": ["a", "b"], "tail": ["c", "d", "e", "f"]}
    assert head_and_tail({"only": 3}) == {"head": ["only"]}


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.text("abcd", min_size=1, max_size=3), st.integers(1, 20), min_size=1), st.floats(0.05, 0.5))
def test_strata_are_apart_and_the_head_is_more_frequent(counts: dict[str, int], share: float) -> None:
    strata = head_and_tail(counts, share)
    head, tail = strata["head"], strata.get("tail", [])
    assert not set(head) & set(tail)
    assert head
    assert sum(counts[query] for query in head) >= share * sum(counts.values()) - 1e-6
    if tail:
        assert min(counts[query] for query in head) >= max(counts[query] for query in tail)


@pytest.mark.parametrize("share", [0, 0.6, -1])
def test_a_share_is_at_most_half(share: float) -> None:
    with pytest.raises(SettingError, match=f"at most 0.5, got {share}"):
        head_and_tail({"a": 1}, share)


def test_counts_and_samples_of_a_dataset(dataset: Dataset, tmp_path: Path) -> None:
    counts = query_counts(dataset, "all")
    assert counts == Counter({"cats": 3, "katze": 1, "dogs": 1, "shoes": 1, "sky": 1, "rouge": 1})
    parts = [query_counts(dataset, part) for part in ("train", "development", "test")]
    assert sum(parts, Counter()) == counts
    strata = sample_queries(dataset, "all", number=1, share=1 / 3, seed=0)
    assert strata["head"].queries == ["cats"]
    assert strata["head"].mass == pytest.approx(3 / 8)
    # behind dogs stand 4 of 8, which is not less than 8 / 3; behind rouge 2
    assert strata["tail"].population == 3
    assert len(strata["tail"].queries) == 1
    known = sample_queries(dataset, "all", number=9, share=1 / 3, seed=0, known={"sky"})
    assert {name: one.queries for name, one in known.items()} == {"tail": ["sky"]}
    with pytest.raises(DataError, match="has a judgment; give --split all"):
        sample_queries(dataset, "all", number=9, share=1 / 3, seed=0, known={"dogs of war"})
    with pytest.raises(SettingError, match="there is no split 'tst'"):
        query_counts(dataset, "tst")
    with pytest.raises(SettingError, match="number of queries must be 1 or more"):
        sample_queries(dataset, "all", number=0, share=1 / 3, seed=0)
    without = write_dataset(tmp_path / "without", split=None)
    with pytest.raises(DataError, match="records no split"):
        query_counts(without, "test")
    (tmp_path / "without" / "engagements.parquet").unlink()
    alone = sample_queries(Dataset.open(without.path), "test", number=9, share=1 / 3, seed=0, known={"b", "a"})
    assert alone["all"].queries == ["a", "b"]
    with pytest.raises(DataError, match="engagements"):
        sample_queries(Dataset.open(without.path), "all", number=9, share=1 / 3, seed=0)
