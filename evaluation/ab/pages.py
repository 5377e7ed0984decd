"""From ranked lists of queries to the pages that sessions see.

Shape suffixes: Q queries, B sessions, P places, L length of a list.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omnifeat.data.schema import ENTITY_TYPES
from omnifeat.simulator.behaviour import ABSENT, Behaviour, Sessions
from ranking.stack import Catalogue

__all__ = ["Pages", "WorldRows", "first_there"]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pages:
    """What B sessions are shown: kinds (-1 for an empty place) and rows of the world, each (B, P)."""

    kinds: npt.NDArray[np.int8]
    rows: IntArray


class WorldRows:
    """Where the world has the catalogue's entities.

    Raises
    ------
    DataError
        If the world does not know one of them.
    """

    def __init__(self, people: Behaviour, catalogue: Catalogue) -> None:
        self._kinds = catalogue.kinds
        self._rows = np.zeros(len(catalogue), np.int64)
        for entity_type in ENTITY_TYPES[:2]:
            rows = catalogue.rows(entity_type)
            if len(rows):
                self._rows[rows] = people.rows(entity_type, catalogue.ids.take(rows))

    def pages(self, rows_BP: IntArray) -> Pages:
        """The same pages, by rows of the catalogue (-1 for an empty place)."""
        empty = rows_BP == ABSENT
        kinds = np.where(empty, np.int8(ABSENT), self._kinds[rows_BP]).astype(np.int8)
        return Pages(kinds, np.where(empty, 0, self._rows[rows_BP]))


def first_there(people: Behaviour, sessions: Sessions, lists: Pages, places: int) -> Pages:
    """The first entities of each session's list that exist at its moment, (B, places)."""
    there = people.there(sessions, lists.kinds, lists.rows)
    order = np.argsort(~there, axis=1, kind="stable")[:, :places]
    kept = np.take_along_axis(there, order, axis=1)
    kinds = np.where(kept, np.take_along_axis(lists.kinds, order, axis=1), np.int8(ABSENT))
    rows = np.where(kept, np.take_along_axis(lists.rows, order, axis=1), 0)
    return Pages(kinds.astype(np.int8), rows)
