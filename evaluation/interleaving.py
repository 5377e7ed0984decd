"""Team-draft interleaving: two rankings on one page, and which of them people choose (beyond the paper).

In each round a coin says which ranking picks first; each then puts its best entity that is not on the page yet. What
people do with an entity is credited to the ranking that put it there. Two rankings that are the same share credit
evenly in expectation. (Radlinski, Kurup and Joachims 2008.)

Shape suffixes: B sessions, L length of a ranking, P places.
"""

import numpy as np
import numpy.typing as npt

from omnifeat.compiled import compiled
from omnifeat.errors import SettingError

__all__ = ["NOBODY", "interleave"]

IntArray = npt.NDArray[np.int64]

NOBODY = -1


def interleave(
    first_BL: IntArray, second_BL: IntArray, coins_BP: npt.NDArray[np.bool_], places: int
) -> tuple[IntArray, npt.NDArray[np.int8]]:
    """Pages of two rankings.

    Parameters
    ----------
    first_BL, second_BL : int64 (B, L)
        Rankings, the best first; -1 for nothing, after all that there is.
    coins_BP : bool (B, P)
        Of round r, whether the first ranking picks first; P at least the rounds, half the places and rounded up.
    places
        Of a page.

    Returns
    -------
    page : int64 (B, P)
        -1 where both rankings have run out.
    team : int8 (B, P)
        0 where the first ranking put the entity, 1 where the second did, -1 at an empty place.

    Raises
    ------
    SettingError
        If the shapes do not fit, or a page has no place.
    """
    if places < 1:
        raise SettingError(f"a page needs 1 place or more, got {places}")
    if len(first_BL) != len(second_BL) or coins_BP.shape[0] != len(first_BL) or coins_BP.shape[1] * 2 < places:
        raise SettingError(
            f"rankings of {len(first_BL)} and {len(second_BL)} sessions and coins of shape {coins_BP.shape} make no "
            f"pages of {places} places"
        )
    page = np.full((len(first_BL), places), NOBODY, np.int64)
    team = np.full((len(first_BL), places), NOBODY, np.int8)
    _draft(
        np.ascontiguousarray(first_BL, np.int64), np.ascontiguousarray(second_BL, np.int64),
        np.ascontiguousarray(coins_BP, np.bool_), page, team,
    )  # fmt: skip
    return page, team


@compiled
def _draft(
    first: IntArray, second: IntArray, coins: npt.NDArray[np.bool_], page: IntArray, team: npt.NDArray[np.int8]
) -> None:
    for session in range(page.shape[0]):
        filled = 0
        at_first = at_second = 0
        for turn in range(2 * coins.shape[1]):
            if filled == page.shape[1]:
                break
            heads = coins[session, turn // 2]
            picks_first = heads if turn % 2 == 0 else not heads
            while True:
                if picks_first:
                    if at_first == first.shape[1]:
                        break
                    candidate = first[session, at_first]
                    at_first += 1
                else:
                    if at_second == second.shape[1]:
                        break
                    candidate = second[session, at_second]
                    at_second += 1
                if candidate < 0:
                    break
                new = True
                for place in range(filled):
                    if page[session, place] == candidate:
                        new = False
                        break
                if new:
                    page[session, filled] = candidate
                    team[session, filled] = 0 if picks_first else 1
                    filled += 1
                    break
