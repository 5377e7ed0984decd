"""Estimates from a log: by hand, unbiased on worlds whose every outcome is counted, and what they cannot know."""

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from evaluation.counterfactual import LoggedRows, estimate_exponent, ips, looks, naive, reranked, snips
from omnifeat.errors import DataError, SettingError

HALF = 0.5  # exponent: position 4 is looked at half as often as position 1


def logged(*rewards: float, request: list[int] | None = None, position: list[int] | None = None) -> LoggedRows:
    number = len(rewards)
    return LoggedRows(
        np.array(request or [0] * number), np.array(position or range(1, number + 1)), np.array(rewards, float)
    )


def test_by_hand() -> None:
    # position 4 acted on; at position 1 it would be looked at twice as often, so it counts for two
    log = logged(0, 0, 0, 1)
    swapped = np.array([4, 2, 3, 1])
    assert ips(log, swapped, HALF).tolist() == [2.0]
    assert ips(log, swapped, HALF, clip=1.5).tolist() == [1.5]
    assert ips(log, log.position, HALF).tolist() == [1.0]
    mean = (1 + 2**-0.5 + 3**-0.5 + 0.5) / 4
    assert naive(log, swapped, HALF)[0] == pytest.approx(1 / mean)
    numerator, mass = snips(log, swapped, HALF, clip=1.5)
    # weights 1/2, 1, 1 and 2, clipped to 1.5: their looks are 0.5 + ... + 0.75 in the place of 0.5 + ... + 1
    assert mass[0] == pytest.approx(4 * mean - 0.25)
    assert numerator[0] / mass[0] == pytest.approx(1.5 * 4 * mean / (4 * mean - 0.25))


def test_positions_of_another_ranking() -> None:
    positions = reranked(np.array([0, 1, 0, 1, 0]), np.array([0.1, 0.2, 0.9, 0.3, 0.1]))
    assert positions.tolist() == [2, 2, 1, 1, 3]


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=4), st.floats(0.1, 1.5), st.integers(0, 2**16), st.booleans())
def test_ips_is_unbiased_on_a_world_whose_every_outcome_is_counted(
    wishes: list[float], exponent: float, seed: int, clipped: bool
) -> None:
    """All 2 ** n outcomes of a request, each with its probability: the mean of the estimate is the truth."""
    number = len(wishes)
    new = np.random.default_rng(seed).permutation(number) + 1
    acts = looks(np.arange(1, number + 1), exponent) * wishes
    truth = float((looks(new, exponent) * wishes).sum())
    means = dict.fromkeys(("ips", "snips", "naive", "clipped"), 0.0)
    for outcome in product([0, 1], repeat=number):
        chance = float(np.prod(np.where(outcome, acts, 1 - acts)))
        log = logged(*outcome)
        means["ips"] += chance * ips(log, new, exponent)[0]
        means["clipped"] += chance * ips(log, new, exponent, clip=1.2)[0]
        numerator, mass = snips(log, new, exponent)
        means["snips"] += chance * numerator[0] / mass[0]
        means["naive"] += chance * naive(log, new, exponent)[0]
    assert means["ips"] == pytest.approx(truth)
    assert means["snips"] == pytest.approx(truth)  # where nothing is clipped, it is IPS
    assert means["clipped"] <= truth + 1e-9


def test_who_forgets_looks_is_wrong() -> None:
    # what stands first is not wanted, what stands fourth is: the truth of the swap is 1, the naive mean is less
    wishes = np.array([0.0, 0.0, 0.0, 1.0])
    swapped = np.array([4, 2, 3, 1])
    found = []
    for acted in (0, 1):
        chance = looks(np.array([4]), HALF)[0] if acted else 1 - looks(np.array([4]), HALF)[0]
        found.append(chance * naive(logged(0, 0, 0, acted), swapped, HALF)[0])
    truth = float((looks(swapped, HALF) * wishes).sum())
    assert sum(found) == pytest.approx(0.5 / looks(np.arange(1, 5), HALF).mean())
    assert truth == 1.0
    assert sum(found) < 0.75


def test_snips_gives_back_what_clipping_takes_where_all_are_alike() -> None:
    """If every entity is wanted alike, clipped IPS is below the truth and SNIPS is it, outcome by outcome averaged."""
    number, exponent, clip = 4, 1.0, 1.5
    new = np.array([4, 3, 2, 1])
    acts = looks(np.arange(1, number + 1), exponent) * 0.5
    clipped = total = mass = 0.0
    for outcome in product([0, 1], repeat=number):
        chance = float(np.prod(np.where(outcome, acts, 1 - acts)))
        log = logged(*outcome)
        clipped += chance * ips(log, new, exponent, clip)[0]
        numerator, of = snips(log, new, exponent, clip)
        total, mass = total + chance * numerator[0], mass + chance * of[0]
    truth = float((looks(new, exponent) * 0.5).sum())
    assert clipped < truth - 0.1
    assert total / mass == pytest.approx(truth)


def test_the_exponent_by_hand() -> None:
    # three pairs, each shown at positions 1 and 4 and acted on once, twice at 1: odds of 2 are 4 ** 0.5
    pair = np.array([0, 0, 1, 1, 2, 2])
    position = np.array([1, 4] * 3)
    acted = np.array([True, False, True, False, False, True])
    assert estimate_exponent(pair, position, acted) == pytest.approx(0.5, abs=1e-4)


@settings(max_examples=5)
@given(st.floats(0.2, 0.8), st.integers(0, 100))
def test_the_exponent_is_found_whatever_is_wanted(exponent: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pair = np.repeat(np.arange(200_000), 3)
    # what is wanted more stands higher, so that mean rates by position would mislead
    wish = rng.random(200_000)
    position = np.clip(np.round(12 - 10 * wish[pair] + rng.integers(0, 4, len(pair))), 1, 12).astype(np.int64)
    acted = rng.random(len(pair)) < looks(position, exponent) * wish[pair]
    assert estimate_exponent(pair, position, acted) == pytest.approx(exponent, abs=0.08)


@given(st.integers(1, 6), st.integers(1, 12))
def test_a_pair_at_one_position_tells_nothing(times: int, position: int) -> None:
    assume(times > 0)
    with pytest.raises(DataError, match="does not tell how they are seen"):
        estimate_exponent(np.zeros(times, np.int64), np.full(times, position), np.ones(times, np.bool_))


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(DataError, match="begin at 1, got 0"):
        logged(1.0, position=[0])
    with pytest.raises(DataError, match="one request, position and reward each, got 0"):
        LoggedRows(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    with pytest.raises(SettingError, match="above 0, got 0"):
        ips(logged(1.0), np.array([1]), HALF, clip=0)
