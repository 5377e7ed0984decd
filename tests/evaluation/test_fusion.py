"""Fused ranks: by hand, against the definition word for word, and properties that any fusion must have."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.fusion import fused_ranks
from evaluation.recall import EvaluationPairs, ranks_by_corpus
from omnifeat.errors import DataError, SettingError
from omnifeat.ranks import Excluded


def blocks_of(scores_SQN, size=2):
    for start in range(0, scores_SQN.shape[1], size):
        yield start, [scores_QN[start : start + size].copy() for scores_QN in scores_SQN]


def plain(scores_SQN, pairs, excluded, weights, k):
    """The definition: rank p and what counts by each system, fuse, and rank by what was fused."""
    ids, ranks = pairs.entity_ids.to_pylist(), []
    for query, positive in zip(pairs.pair_queries, pairs.pair_positives, strict=True):
        gone = set(excluded.candidates[excluded.offsets[query] : excluded.offsets[query + 1]].tolist())
        among = [e for e in range(len(ids)) if e == positive or (pairs.in_corpus[e] and e not in gone)]
        fused = dict.fromkeys(among, 0.0)
        terms = {e: [] for e in among}
        for scores_QN, weight in zip(scores_SQN, weights, strict=True):
            order = sorted(among, key=lambda e: (-scores_QN[query, e], ids[e]))
            for rank, entity in enumerate(order, 1):
                terms[entity].append(weight / (k + rank))
        fused = {entity: sum(sorted(of_entity)) for entity, of_entity in terms.items()}
        ranks.append(1 + sorted(among, key=lambda e: (-fused[e], ids[e])).index(positive))
    return ranks


def test_by_hand() -> None:
    pairs = EvaluationPairs.make(["q", "q"], ["c", "b"], pa.array(["a", "b", "c", "d"]))
    words = [[4.0, 3.0, 2.0, 1.0]]  # a b c d
    vectors = [[1.0, 2.0, 4.0, 3.0]]  # c d b a
    scores = np.array([words, vectors], np.float32)
    # none left out: a 1/61 + 1/64, b 1/62 + 1/63, c 1/63 + 1/61, d 1/64 + 1/62: c, b or a, d
    values = {"a": 1 / 61 + 1 / 64, "b": 1 / 62 + 1 / 63, "c": 1 / 63 + 1 / 61, "d": 1 / 64 + 1 / 62}
    assert sorted(values, key=lambda e: -values[e]) == ["c", "a", "b", "d"]
    everything = Excluded.none(1)
    assert fused_ranks(blocks_of(scores), pairs, [everything], [(1, 1)])[0, 0].tolist() == [3, 1]
    # without c, the query's other positive, b is second of a b d and second of d b a: 2/62 < 1/61 + 1/63 of a and d;
    # without b, c is second of a c d and first of c d a
    others = pairs.excluded(True)
    assert 2 / 62 < 1 / 61 + 1 / 63
    # and a (1/61 + 1/63) equals d (1/63 + 1/61): a comes first, both before b
    assert fused_ranks(blocks_of(scores), pairs, [others], [(1, 1)])[0, 0].tolist() == [3, 1]
    # a trained positive is left out as well, and c is first by words alone, too
    without_a = others.union(Excluded.from_pairs(np.array([0]), np.array([0]), 1))
    found = fused_ranks(blocks_of(scores), pairs, [others, without_a], [(1, 1), (1, 0), (0, 1)])
    assert found[:, :, 1].tolist() == [[1, 2, 1], [1, 1, 1]]
    assert found[:, :, 0].tolist() == [[3, 2, 2], [1, 1, 2]]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_equals_the_definition_and_its_ingredients(data) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    systems, queries, entities = (
        data.draw(st.integers(1, 4)),
        data.draw(st.integers(1, 5)),
        data.draw(st.integers(1, 25)),
    )
    ids = [f"{number:02d}" for number in rng.permutation(entities)]
    count = data.draw(st.integers(1, 20))
    names = [f"q{number}" for number in rng.integers(0, queries, count)]
    positives = [ids[row] for row in rng.integers(0, entities, count)]
    size = data.draw(st.integers(1, entities))
    pairs = EvaluationPairs.make(names, positives, pa.array(ids), corpus_size=size, seed=int(rng.integers(99)))
    shape = (len(pairs.queries), len(pairs.entity_ids))
    scores = rng.integers(0, data.draw(st.sampled_from([3, 1000])), (systems, *shape)).astype(np.float32)
    trained = rng.integers(0, 20, (2, 30)) % np.array(shape)[:, None]
    exclusions = [pairs.excluded(data.draw(st.booleans()))]
    exclusions.append(exclusions[0].union(Excluded.from_pairs(*trained, len(pairs.queries))))
    weights = rng.choice([0.0, 0.5, 1.0, 3.0], (2, systems))
    weights[:, 0] += 0.25  # one is above 0
    k = data.draw(st.sampled_from([0.0, 1.0, 60.0]))
    found = fused_ranks(blocks_of(scores), pairs, exclusions, weights, k=k)
    for corpus, excluded in enumerate(exclusions):
        for number, some in enumerate(weights):
            assert found[corpus, number].tolist() == plain(scores, pairs, excluded, some, k)
    # of one system alone the fused rank is its own, and systems may stand in any order
    for system in range(systems):
        alone = fused_ranks(blocks_of(scores), pairs, exclusions, [np.eye(systems)[system]], k=k)[:, 0]
        own = ranks_by_corpus([(0, scores[system].copy())], pairs, exclusions)
        assert alone.tolist() == own.tolist()
    order = rng.permutation(systems)
    turned = fused_ranks(blocks_of(scores[order]), pairs, exclusions, weights[:, order], k=k)
    assert turned.tolist() == found.tolist()


def test_what_is_wrong_is_refused() -> None:
    pairs = EvaluationPairs.make(["q"], ["a"], pa.array(["a", "b"]))
    scores = np.ones((2, 1, 2), np.float32)
    none = [Excluded.none(1)]
    for weights in ([(0, 0)], [(1, -1)], [(1, float("nan"))]):
        with pytest.raises(SettingError, match="weights of a fusion must be 0 or more, and one above 0"):
            fused_ranks(blocks_of(scores), pairs, none, weights)
    with pytest.raises(SettingError, match="k of a fusion"):
        fused_ranks(blocks_of(scores), pairs, none, [(1, 1)], k=-1)
    scores[1, 0, 1] = np.nan
    with pytest.raises(DataError, match="query 'q' has a score that is not a finite number"):
        fused_ranks(blocks_of(scores), pairs, none, [(1, 1)])
