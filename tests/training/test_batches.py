import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnifeat.errors import DataError
from omnifeat.training.batches import BatchSampler, batch_shares
from omnifeat.training.tasks import PairSet


def pair_set(name: str, size: int, entity_type: str = "pin") -> PairSet:
    rows = np.arange(size, dtype=np.int64)
    return PairSet(name, entity_type, rows, rows % 7)


def sampler(
    *sets: PairSet, batch_size: int = 16, seed: int = 0, negatives: int = 4, catalogue: int = 500
) -> BatchSampler:
    sizes = {pairs.entity_type: catalogue for pairs in sets}
    weights = {"pins": 8.0, "products": 4.0, "queries": 2.0}
    return BatchSampler(sets, sizes, batch_size=batch_size, weights=weights, random_negatives=negatives, seed=seed)


def test_golden_shares() -> None:
    # 16 pairs at 8 : 4 : 2 : 2
    assert batch_shares([1000] * 4, [8, 4, 2, 2], 16) == [8, 4, 2, 2]
    # the third has but one pair: its other one goes to the rest, 15 at 8 : 4 : 2 = 8.57, 4.29, 2.14
    assert batch_shares([1000, 1000, 1, 1000], [8, 4, 2, 2], 16) == [9, 4, 1, 2]
    # a tiny weight still gets a pair
    assert batch_shares([1000, 1000], [1000, 1], 8) == [7, 1]
    # all pairs there are
    assert batch_shares([3, 2], [1, 1], 64) == [3, 2]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(1, 60), st.floats(0.01, 100)), min_size=1, max_size=6), st.integers(1, 200))
def test_shares_add_up_and_fit(sets: list[tuple[int, float]], batch_size: int) -> None:
    sizes, weights = [size for size, _ in sets], [weight for _, weight in sets]
    shares = batch_shares(sizes, weights, batch_size)
    assert sum(shares) == min(max(batch_size, len(sets)), sum(sizes))
    assert all(1 <= share <= size for share, size in zip(shares, sizes, strict=True))


def test_every_batch_of_an_epoch_holds_every_set() -> None:
    batches = sampler(pair_set("pins", 400), pair_set("products", 30, "product"), pair_set("queries", 5, "query"))
    assert batches.steps_per_epoch == -(-435 // 16)
    for step in range(batches.steps_per_epoch):
        assert [(part.pairs.name, len(part)) for part in batches.batch(step)] == [
            ("pins", 9),
            ("products", 5),
            ("queries", 2),
        ]


def test_a_set_goes_round_in_a_new_order_each_time() -> None:
    batches = sampler(pair_set("pins", 32), batch_size=16)
    rounds = [np.concatenate([batches.batch(2 * r + s)[0].queries for s in range(2)]) for r in range(3)]
    for order in rounds:
        np.testing.assert_array_equal(np.sort(order), np.arange(32))
    assert not np.array_equal(rounds[0], rounds[1])
    assert not np.array_equal(rounds[1], rounds[2])


def test_pairs_stay_together() -> None:
    part = sampler(pair_set("pins", 100)).batch(3)[0]
    np.testing.assert_array_equal(part.entities, part.queries % 7)


def test_a_batch_depends_on_its_number_and_the_seed_alone() -> None:
    sets = (pair_set("pins", 70), pair_set("queries", 9, "query"))
    straight = [sampler(*sets).batch(step) for step in range(12)]
    one = sampler(*sets)
    for step in (11, 3, 7, 0):  # in any order, as after a resume
        for part, expected in zip(one.batch(step), straight[step], strict=True):
            for field in ("queries", "entities", "negatives"):
                np.testing.assert_array_equal(getattr(part, field), getattr(expected, field))
    other = sampler(*sets, seed=1).batch(0)[0]
    assert not np.array_equal(other.queries, straight[0][0].queries)
    assert not np.array_equal(other.negatives, straight[0][0].negatives)


def test_random_negatives_are_distinct_and_uniform() -> None:
    batches = sampler(pair_set("pins", 1000), batch_size=16, catalogue=80)
    counts = np.zeros(80)
    for step in range(300):
        negatives = batches.batch(step)[0].negatives
        assert len(negatives) == 64
        assert len(np.unique(negatives)) == 64
        counts[negatives] += 1
    # 64 of 80 in each of 300 batches: 240 times each, with a standard deviation of sqrt(300 * 0.8 * 0.2) = 6.9
    assert abs(counts - 240).max() < 5 * 6.9


def test_the_whole_catalogue_where_it_is_small() -> None:
    part = sampler(pair_set("pins", 1000), catalogue=50).batch(5)[0]
    np.testing.assert_array_equal(part.negatives, np.arange(50))


def test_no_random_negatives() -> None:
    assert len(sampler(pair_set("pins", 50), negatives=0).batch(0)[0].negatives) == 0


def test_nothing_to_train_on() -> None:
    with pytest.raises(DataError, match="no pair to train on"):
        sampler()
