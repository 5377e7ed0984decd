"""Ranks of a study's vectors: by the plain definition, and the same as by a table of all scores."""

import itertools

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.recall import EvaluationPairs, ranks_from_embeddings
from evaluation.reproduction.questions import PairGroup
from evaluation.reproduction.systems import ranks_of_vectors
from evaluation.reproduction.vectors import Vectors
from evaluation.streamed import ranks_from_vectors
from omnifeat.errors import DataError

# unit vectors whose products are multiples of a quarter: floats are exact, and ties are many
UNIT = np.array(list(itertools.product((-0.5, 0.5), repeat=4)), np.float32)


def group_of(pairs: EvaluationPairs) -> PairGroup:
    return PairGroup("pin", "pin", pairs, np.zeros(len(pairs.pair_queries), dtype=bool))


def plain_ranks(vectors: Vectors, pairs: EvaluationPairs) -> list[int]:
    """One pair after the other; what has no vector stands behind all that has one, by its id."""
    ids = pairs.entity_ids.to_pylist()
    positives: dict[int, set[int]] = {}
    for query, positive in zip(pairs.pair_queries.tolist(), pairs.pair_positives.tolist(), strict=True):
        positives.setdefault(query, set()).add(positive)
    ranks = []
    for query, positive in zip(pairs.pair_queries.tolist(), pairs.pair_positives.tolist(), strict=True):
        scores = [
            float(vectors.queries[query] @ vectors.entities[row]) if vectors.present[row] else -3.0
            for row in range(len(ids))
        ]
        before = [
            row
            for row in np.flatnonzero(pairs.in_corpus).tolist()
            if row not in positives[query] and (-scores[row], ids[row]) < (-scores[positive], ids[positive])
        ]
        ranks.append(1 + len(before))
    return ranks


@st.composite
def ranked(draw: st.DrawFn) -> tuple[Vectors, EvaluationPairs]:
    entity_count, query_count = draw(st.integers(1, 12)), draw(st.integers(1, 5))
    ids = draw(st.permutations([f"e{row}" for row in range(entity_count)]))
    texts = [f"q{row}" for row in range(query_count)]
    named = draw(st.lists(st.tuples(st.sampled_from(texts), st.sampled_from(ids)), min_size=1, max_size=12))
    pairs = EvaluationPairs.make(
        [query for query, _ in named],
        [entity for _, entity in named],
        pa.array(ids),
        corpus_size=draw(st.none() | st.integers(1, entity_count)),
    )

    def vectors(count: int) -> npt.NDArray[np.float32]:
        return UNIT[draw(st.lists(st.integers(0, len(UNIT) - 1), min_size=count, max_size=count))]

    count = len(pairs.entity_ids)
    entities, present = vectors(count), np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    entities[~present] = 0
    return Vectors(vectors(len(pairs.queries)), entities, present), pairs


@given(ranked())
@settings(max_examples=60)
def test_ranks_are_those_of_the_definition(given: tuple[Vectors, EvaluationPairs]) -> None:
    vectors, pairs = given
    expected = plain_ranks(vectors, pairs)
    among_all, without = ranks_of_vectors(vectors, group_of(pairs), threads=1)
    assert among_all.tolist() == without.tolist() == expected
    first = ranks_of_vectors(vectors, group_of(pairs), most=2, threads=1)
    assert first[0].tolist() == [min(rank, 3) for rank in expected]
    whole = ranks_from_embeddings(vectors.queries, vectors.entities, pairs)
    assert np.array_equal(ranks_from_vectors(vectors.queries, vectors.entities, pairs, threads=1), whole)


@pytest.mark.parametrize("corpus_size", [None, 1_500])
def test_ranks_of_many_are_those_by_a_table_of_scores(corpus_size: int | None) -> None:
    """20,000 entities are more than one block; scores lie further apart than float32 rounds."""
    generator = np.random.default_rng(5)
    ids = [f"e{row:05}" for row in range(20_000)]
    named = generator.integers(0, len(ids), 300)
    pairs = EvaluationPairs.make(
        [f"q{row % 70}" for row in range(300)], [ids[row] for row in named], pa.array(ids), corpus_size=corpus_size
    )
    entities = generator.normal(size=(len(pairs.entity_ids), 32)).astype(np.float32)
    entities /= np.linalg.norm(entities, axis=1, keepdims=True)
    queries = generator.normal(size=(len(pairs.queries), 32)).astype(np.float32)
    expected = ranks_from_embeddings(queries, entities, pairs)
    assert len(set(expected.tolist())) > 200
    assert np.array_equal(ranks_from_vectors(queries, entities, pairs, threads=1), expected)
    together = ranks_from_vectors(queries, entities, pairs, leave_out_other_positives=False, threads=1)
    assert np.array_equal(together, ranks_from_embeddings(queries, entities, pairs, leave_out_other_positives=False))


def test_vectors_of_other_entities_are_refused() -> None:
    pairs = EvaluationPairs.make(["q"], ["a"], pa.array(["a", "b"]))
    for queries, entities in ((1, 3), (2, 2)):
        with pytest.raises(DataError, match="do not fit 1 queries and 2 entities"):
            ranks_from_vectors(UNIT[:queries], UNIT[:entities], pairs)
