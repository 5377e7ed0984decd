"""How scores and relevance become one utility, and how pins and products become one list."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from omnifeat.data.schema import ENTITY_TYPES
from omnifeat.errors import SettingError
from ranking.stack.parts import FloatArray, IntArray

__all__ = ["BestFirst", "EngagementTimesRelevance", "EveryNth", "Utility", "WeightedSum"]


class Utility(Protocol):
    """What a candidate is worth, from its score by L2 and its expected grade."""

    def combine(self, scores: FloatArray, relevance: FloatArray) -> FloatArray:
        """Utilities float64 (n,), higher is better; minus infinity for what must not be shown.

        `relevance` is NaN where the stack has no relevance model.
        """


@dataclass(frozen=True)
class WeightedSum:
    """utility = score + weight * expected grade.

    With a weight of zero relevance acts only as a feature of L2.
    """

    weight: float = 0.0

    def combine(self, scores: FloatArray, relevance: FloatArray) -> FloatArray:
        return scores + self.weight * relevance if self.weight else scores


@dataclass(frozen=True)
class EngagementTimesRelevance:
    """utility = probability of engagement * expected grade ** power, for ads; below `least_grade` nothing is shown.

    Raises
    ------
    SettingError
        If the power is negative.
    """

    power: float = 1.0
    least_grade: float = 0.0

    def __post_init__(self) -> None:
        if self.power < 0:
            raise SettingError(f"the power of relevance must be 0 or more, got {self.power}")

    def combine(self, scores: FloatArray, relevance: FloatArray) -> FloatArray:
        utilities = scores * np.maximum(relevance, 0.0) ** self.power
        return np.where(relevance >= self.least_grade, utilities, -np.inf)


@dataclass(frozen=True)
class BestFirst:
    """One list by utility, whatever the kind: for scores that are comparable between kinds, such as probabilities."""

    def blend(self, kinds: npt.NDArray[np.int8], utilities: FloatArray) -> IntArray:
        return np.argsort(-utilities, kind="stable")


@dataclass(frozen=True)
class EveryNth:
    """Pins, with a product at every n-th place; when one kind runs out, the other goes on.

    A ranker learns from pages of one kind, so that its scores say nothing of a pin beside a product: each kind keeps
    its own order, and places are dealt out. Every third place is near the share of searches for products in a
    simulated world.

    Raises
    ------
    SettingError
        If n is below 2.
    """

    nth: int = 3

    def __post_init__(self) -> None:
        if self.nth < 2:
            raise SettingError(f"products can stand at every 2nd place or less often, got every {self.nth}")

    def blend(self, kinds: npt.NDArray[np.int8], utilities: FloatArray) -> IntArray:
        product = kinds == ENTITY_TYPES.index("product")
        products, others = np.flatnonzero(product), np.flatnonzero(~product)
        # where each would stand if neither ran out: products at n, 2n, ..., the others between
        numbers = np.arange(1, len(others) + 1)
        place = np.concatenate([numbers + (numbers - 1) // (self.nth - 1), np.arange(1, len(products) + 1) * self.nth])
        order: IntArray = np.concatenate([others, products])[np.argsort(place, kind="stable")]
        return order
