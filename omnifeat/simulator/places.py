"""Entities in the order of the tree, so that all of a domain, topic, thing or leaf stand side by side.

A draw by popularity from a node is then one draw from a stretch of cumulated popularity.
"""

import numpy as np
import numpy.typing as npt

from omnifeat.simulator.concepts import Concepts, tree
from omnifeat.simulator.lexicon import LEAVES_PER_THING

__all__ = ["Places", "up"]


class Places:
    """Rows of concepts in the order of the tree."""

    def __init__(self, concepts: Concepts, popularity_N: npt.NDArray[np.float64]) -> None:
        # the key of a row that is broader than a leaf is that of the first leaf below it
        self._topic_ends = np.searchsorted(tree().topic_of_thing, np.arange(len(tree().domain_of_topic) + 1))
        self._domain_ends = np.searchsorted(tree().domain_of_topic, np.arange(tree().domain_of_topic[-1] + 2))
        keys_N = self.stretch_keys(concepts)[0]
        self.order = np.argsort(keys_N, kind="stable")
        self._keys = keys_N[self.order]
        self._cumulated = np.concatenate([[0.0], np.cumsum(popularity_N[self.order])])

    def stretch_keys(self, concepts: Concepts) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """First key, and one beyond the last, of the node that each row names."""
        topics = np.where(concepts.topics >= 0, concepts.topics, 0)
        first_topic = np.where(concepts.topics >= 0, topics, self._domain_ends[concepts.domains])
        last_topic = np.where(concepts.topics >= 0, topics + 1, self._domain_ends[concepts.domains + 1])
        first_thing = np.where(concepts.things >= 0, concepts.things, self._topic_ends[first_topic])
        last_thing = np.where(concepts.things >= 0, concepts.things + 1, self._topic_ends[last_topic])
        is_leaf = (concepts.things >= 0) & (concepts.leaves >= 0)
        first = np.where(is_leaf, LEAVES_PER_THING * concepts.things + concepts.leaves, LEAVES_PER_THING * first_thing)
        last = np.where(is_leaf, first + 1, LEAVES_PER_THING * last_thing)
        return first.astype(np.int64), last.astype(np.int64)

    def draw(self, rng: np.random.Generator, concepts: Concepts) -> npt.NDArray[np.int64]:
        """A row by popularity from below the node that each concept names; from anywhere where nothing is there."""
        first, last = self.stretch_keys(concepts)
        low = np.searchsorted(self._keys, first, side="left")
        high = np.searchsorted(self._keys, last, side="left")
        empty = low == high
        low, high = np.where(empty, 0, low), np.where(empty, len(self.order), high)
        points = self._cumulated[low] + rng.random(len(low)) * (self._cumulated[high] - self._cumulated[low])
        found = np.searchsorted(self._cumulated, points, side="right") - 1
        return self.order[np.clip(found, low, high - 1)]


def up(concepts: Concepts, level: npt.NDArray[np.integer] | int) -> Concepts:
    """The concepts cut at a level for each row: 1 domain, 2 topic, 3 thing, 4 leaf; attributes go with the leaf."""
    level_N = np.broadcast_to(np.asarray(level), len(concepts))
    return Concepts(
        concepts.domains,
        np.where(level_N >= 2, concepts.topics, -1).astype(np.int32),
        np.where(level_N >= 3, concepts.things, -1).astype(np.int32),
        np.where(level_N >= 4, concepts.leaves, -1).astype(np.int32),
        np.where((level_N >= 4)[:, None], concepts.attributes, -1).astype(np.int32),
    )
