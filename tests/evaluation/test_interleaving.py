"""Team-draft interleaving: by hand, fair in every coin, and the same whoever is called first."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.interleaving import interleave
from omnifeat.errors import SettingError


def draft(first: list[int], second: list[int], coins: list[bool], places: int) -> tuple[list[int], list[int]]:
    page, team = interleave(np.array([first]), np.array([second]), np.array([coins]), places)
    return page[0].tolist(), team[0].tolist()


def test_by_hand() -> None:
    # round 1: first picks 1, second picks 2; round 2: second picks first, and 1 is taken: 5; then first picks 3
    assert draft([1, 2, 3, 4], [2, 1, 5, 6], [True, False], 4) == ([1, 2, 5, 3], [0, 1, 1, 0])
    assert draft([1, 2, 3], [1, 2, 3], [False, True], 3) == ([1, 2, 3], [1, 0, 0])
    # when one runs out, the other goes on alone; when both do, places stay empty
    assert draft([1, -1, -1], [2, 3, 4], [True, True, True], 5) == ([1, 2, 3, 4, -1], [0, 1, 1, 1, -1])


@given(st.permutations(range(8)), st.permutations(range(8)), st.lists(st.booleans(), min_size=4, max_size=4))
def test_each_ranking_puts_its_best_that_is_left(first: list[int], second: list[int], coins: list[bool]) -> None:
    page, team = draft(first, second, coins, 8)
    assert sorted(page) == list(range(8))
    for turn in range(8):
        ranking = (first, second)[team[turn]]
        assert page[turn] == next(one for one in ranking if one not in page[:turn])
    for turn in range(0, 8, 2):
        assert team[turn] == (0 if coins[turn // 2] else 1)
        assert team[turn] + team[turn + 1] == 1
    # called the other way round with the coins turned, the page is the same and the teams are swapped
    other_page, other_team = draft(second, first, [not coin for coin in coins], 8)
    assert other_page == page
    assert [1 - one for one in other_team] == team


@given(st.permutations(range(6)))
def test_a_ranking_against_itself_shares_each_entity_evenly(ranking: list[int]) -> None:
    owned = np.zeros(6)
    every = list(product([False, True], repeat=3))
    for coins in every:
        page, team = draft(ranking, ranking, list(coins), 6)
        assert page == ranking
        owned[page] += team
    assert (owned == len(every) / 2).all()


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(SettingError, match="1 place or more, got 0"):
        draft([1], [1], [True], 0)
    with pytest.raises(SettingError, match="make no pages of 5 places"):
        draft([1], [1], [True, False], 5)
