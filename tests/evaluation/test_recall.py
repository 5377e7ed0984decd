"""Recall equals a double loop, whatever the order of rows, the block sizes, the ties and the sample of the corpus."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.recall import (
    EvaluationPairs,
    group_figures,
    per_query_sums,
    ranks_from_embeddings,
    ranks_from_score_blocks,
    recall_figures,
)
from omnifeat.errors import DataError, SettingError


@dataclass
class World:
    """Integer vectors, so that scores are exact and ties are many."""

    queries: dict[str, np.ndarray]
    entities: dict[str, np.ndarray]
    pairs: list[tuple[str, str]]

    def ranks(self, pairs: EvaluationPairs, leave_out: bool, block_bytes: int) -> dict[tuple[str, str], int]:
        ids = pairs.entity_ids.to_pylist()
        ranks = ranks_from_embeddings(
            np.stack([self.queries[query] for query in pairs.queries]),
            np.stack([self.entities[entity_id] for entity_id in ids]),
            pairs,
            leave_out_other_positives=leave_out,
            block_bytes=block_bytes,
        )
        named = [
            (pairs.queries[query], ids[positive])
            for query, positive in zip(pairs.pair_queries, pairs.pair_positives, strict=True)
        ]
        return dict(zip(named, ranks.tolist(), strict=True))

    def double_loop(self, corpus: set[str], leave_out: bool) -> dict[tuple[str, str], int]:
        ranks = {}
        for query, positive in set(self.pairs):
            score = self.queries[query] @ self.entities[positive]
            rank = 1
            for other in corpus:
                if other == positive or (leave_out and (query, other) in self.pairs):
                    continue
                other_score = self.queries[query] @ self.entities[other]
                if other_score > score or (other_score == score and other < positive):
                    rank += 1
            ranks[query, positive] = rank
        return ranks


@st.composite
def worlds(draw: st.DrawFn) -> World:
    vector = st.lists(st.integers(-2, 2), min_size=2, max_size=2).map(lambda values: np.array(values, np.float32))
    queries = draw(st.dictionaries(st.sampled_from("qrstu"), vector, min_size=1))
    entities = draw(st.dictionaries(st.sampled_from(["a", "b", "B", "10", "9", "é", "猫", "z"]), vector, min_size=1))
    pair = st.tuples(st.sampled_from(sorted(queries)), st.sampled_from(sorted(entities)))
    return World(queries, entities, draw(st.lists(pair, min_size=1, max_size=12)))


def make(world: World, ids: list[str], corpus_size: int | None = None, seed: int = 0) -> EvaluationPairs:
    queries, positives = zip(*world.pairs, strict=True)
    return EvaluationPairs.make(queries, positives, pa.array(ids), corpus_size=corpus_size, seed=seed)


@settings(deadline=None, max_examples=80)
@given(worlds(), st.booleans(), st.sampled_from([1, 40, 10_000]), st.randoms(use_true_random=False))
def test_equals_double_loop_in_any_order_and_block_size(world, leave_out, block_bytes, random) -> None:
    ids = list(world.entities)
    random.shuffle(ids)
    random.shuffle(world.pairs)
    ranks = world.ranks(make(world, ids), leave_out, block_bytes)
    assert ranks == world.double_loop(set(ids), leave_out)


@settings(deadline=None, max_examples=80)
@given(worlds(), st.booleans(), st.integers(1, 8), st.integers(0, 5))
def test_sampled_corpus_equals_double_loop(world, leave_out, corpus_size, seed) -> None:
    ids = sorted(world.entities)
    pairs = make(world, ids, corpus_size, seed)
    corpus = {name for name, inside in zip(pairs.entity_ids.to_pylist(), pairs.in_corpus, strict=True) if inside}
    assert len(corpus) == pairs.corpus_count == min(corpus_size, len(ids))
    assert set(pairs.entity_ids.to_pylist()) == corpus | {positive for _, positive in world.pairs}
    assert world.ranks(pairs, leave_out, 64) == world.double_loop(corpus, leave_out)
    # the draw depends on the set of ids, not on their order
    reverse = make(world, ids[::-1], corpus_size, seed)
    assert {name for name, i in zip(reverse.entity_ids.to_pylist(), reverse.in_corpus, strict=True) if i} == corpus


def test_golden_ranks() -> None:
    # Scores of query q: a 3, b 2, c 2, d 1. Positives b, c, d.
    world = World({"q": np.array([1.0])}, {}, [("q", "d"), ("q", "c"), ("q", "b"), ("q", "c")])
    world.entities = {name: np.array([score]) for name, score in zip("dcba", [1.0, 2.0, 2.0, 3.0], strict=True)}
    pairs = make(world, list("dcba"))
    assert len(pairs.pair_queries) == 3  # (q, c) stands twice and counts once
    # All count: b after a; c after a and b (tie, smaller id); d after all three.
    assert world.ranks(pairs, False, 64) == {("q", "b"): 2, ("q", "c"): 3, ("q", "d"): 4}
    # The other positives left out: only a stands before each.
    assert world.ranks(pairs, True, 64) == {("q", "b"): 2, ("q", "c"): 2, ("q", "d"): 2}


def test_same_vector_under_other_id_ties_by_id() -> None:
    world = World({"q": np.ones(3)}, {name: np.ones(3) for name in "abc"}, [("q", "b")])
    assert world.ranks(make(world, list("cab")), True, 64) == {("q", "b"): 2}


def test_figures_and_groups() -> None:
    ranks, queries = np.array([1, 2, 10, 11]), np.array([0, 0, 1, 2])
    figures = recall_figures(ranks, queries, (1, 10))
    assert figures.recall == {1: 0.25, 10: 0.75}
    # (1 + 1/2 + 1/10 + 1/11) / 4
    assert figures.mean_reciprocal_rank == pytest.approx((1 + 0.5 + 0.1 + 1 / 11) / 4)
    assert (figures.pairs, figures.queries) == (4, 3)
    groups = group_figures(
        ranks, queries, {"en": np.array([True, True, False, True]), "none": np.zeros(4, bool)}, (10,)
    )
    assert groups["en"].recall[10] == pytest.approx(2 / 3)
    assert (groups["en"].pairs, groups["en"].queries) == (3, 2)
    assert np.isnan(groups["none"].recall[10])
    assert groups["none"].pairs == 0


def test_sums_per_query() -> None:
    sums, counts = per_query_sums(np.array([[1.0, 0], [0, 1], [1, 1]]), np.array([2, 0, 2]), 4)
    assert sums.tolist() == [[0, 1], [0, 0], [2, 1], [0, 0]]
    assert counts.tolist() == [1, 0, 2, 0]


def test_progress_counts_queries() -> None:
    pairs = EvaluationPairs.make(["p", "q", "r"], ["a", "a", "b"], pa.array(["a", "b"]))
    done: list[int] = []
    ranks_from_embeddings(np.ones((3, 2)), np.ones((2, 2)), pairs, block_bytes=16, on_block=done.append)
    assert done == [2, 1]


def test_bad_input() -> None:
    ids = pa.array(["a", "b"])
    with pytest.raises(DataError, match="no pairs"):
        EvaluationPairs.make([], [], ids)
    with pytest.raises(DataError, match="entity 'x' stands in a pair but not in the catalogue"):
        EvaluationPairs.make(["q"], ["x"], ids)
    with pytest.raises(DataError, match="entity id 'a' stands more than once"):
        EvaluationPairs.make(["q"], ["a"], pa.array(["a", "b", "a"]))
    with pytest.raises(DataError, match="row 2 of the catalogue has a null id"):
        EvaluationPairs.make(["q"], ["a"], pa.array(["a", None]))
    with pytest.raises(SettingError, match="at least one entity, got 0"):
        EvaluationPairs.make(["q"], ["a"], ids, corpus_size=0)
    with pytest.raises(SettingError, match="k must be 1 or more, got 10, 0"):
        recall_figures(np.array([1]), np.array([0]), (10, 0))
    pairs = EvaluationPairs.make(["q"], ["a"], ids)
    with pytest.raises(DataError, match="do not fit 1 queries and 2 entities"):
        ranks_from_embeddings(np.ones((1, 2)), np.ones((2, 3)), pairs)
    for bad in (np.nan, np.inf):
        with pytest.raises(DataError, match="query 'q' has a score that is not a finite number"):
            ranks_from_score_blocks([(0, np.array([[1, bad]], np.float32))], pairs)
