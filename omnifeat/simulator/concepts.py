"""What things in the world are about: a place in the tree of interests and attributes, and from these a latent vector.

Shape suffixes: N rows, A attribute places (3, one for each kind of the topic), D latent width, T things.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from omnifeat.simulator.lexicon import LEAVES_PER_THING, lexicon
from omnifeat.simulator.rates import HAS_ATTRIBUTE, LATENT_PARTS, LATENT_WIDTH, LEAF_SHARES, THING_EXPONENT

__all__ = ["ABSENT", "VISIBLE_KINDS", "Concepts", "LatentSpace", "Tree", "draw_concepts", "draw_things", "tree", "zipf"]

IntArray = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float32]

ABSENT = -1
VISIBLE_KINDS = ("colour", "material", "fabric", "style", "look", "size")
# how much of a latent vector each level makes: things of one topic are alike, of one domain a little
_DOMAIN, _TOPIC, _THING, _LEAF, _ATTRIBUTE = LATENT_PARTS


@dataclass(frozen=True)
class Tree:
    """The lexicon as arrays: where each thing hangs, the attributes of leaves, the values of each topic's kinds."""

    domain_of_topic: IntArray
    topic_of_thing: IntArray  # (T,)
    leaf_values: IntArray  # (T, 4) attributes
    values: tuple[IntArray, ...]  # attributes of each kind
    kind_of_attribute: IntArray
    kinds: tuple[str, ...]
    kinds_of_topic: IntArray  # (topics, A)


@cache
def tree() -> Tree:
    """The tree of the shipped lexicon."""
    words = lexicon()
    kinds = tuple(dict.fromkeys(attribute.kind for attribute in words.attributes))
    return Tree(
        np.array([topic.domain for topic in words.topics], np.int32),
        np.array([thing.topic for thing in words.things], np.int32),
        np.array([thing.leaves for thing in words.things], np.int32),
        tuple(np.array(words.values(kind), np.int32) for kind in kinds),
        np.array([kinds.index(attribute.kind) for attribute in words.attributes], np.int32),
        kinds,
        np.array([[kinds.index(kind) for kind in topic.kinds] for topic in words.topics], np.int32),
    )


@dataclass(frozen=True)
class Concepts:
    """What N rows are about.

    A row always has a domain. `topics` and `things` are -1 where the row is broader than that; `leaves` is the place
    of the leaf among its thing's four or -1; `attributes` holds -1 for each kind without a value, place 0 the leaf's.
    """

    domains: IntArray  # (N,)
    topics: IntArray  # (N,)
    things: IntArray  # (N,)
    leaves: IntArray  # (N,)
    attributes: IntArray  # (N, A)

    def __len__(self) -> int:
        return len(self.topics)

    def take(self, rows: npt.NDArray[np.integer]) -> "Concepts":
        """The concepts of these rows."""
        return Concepts(
            self.domains[rows], self.topics[rows], self.things[rows], self.leaves[rows], self.attributes[rows]
        )


def zipf(number: int, exponent: float) -> npt.NDArray[np.float64]:
    """Probabilities of ranks 1 to `number`, proportional to `rank ** -exponent`."""
    weights = np.arange(1, number + 1, dtype=np.float64) ** -exponent
    return weights / weights.sum()


def draw_things(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """How usual each thing is in this world: Zipf over a random order."""
    number = len(tree().topic_of_thing)
    return rng.permutation(zipf(number, THING_EXPONENT))


def draw_concepts(
    rng: np.random.Generator, number: int, things: npt.NDArray[np.float64], attribute_rate: float = HAS_ATTRIBUTE
) -> Concepts:
    """Draw leaves by popularity, and for each other kind of the topic a value at `attribute_rate`."""
    arrays = tree()
    thing_N = rng.choice(len(things), size=number, p=things).astype(np.int32)
    leaf_N = rng.choice(LEAVES_PER_THING, size=number, p=LEAF_SHARES).astype(np.int32)
    topic_N = arrays.topic_of_thing[thing_N]
    attributes_NA = np.full((number, arrays.kinds_of_topic.shape[1]), ABSENT, np.int32)
    attributes_NA[:, 0] = arrays.leaf_values[thing_N, leaf_N]
    for place in range(1, attributes_NA.shape[1]):
        # raised to a power: the first values of a kind are the usual ones
        point_N = rng.random(number) ** 1.5
        present_N = rng.random(number) < attribute_rate
        kind_N = arrays.kinds_of_topic[topic_N, place]
        for kind, values in enumerate(arrays.values):
            rows = np.flatnonzero((kind_N == kind) & present_N)
            attributes_NA[rows, place] = values[(point_N[rows] * len(values)).astype(np.int64)]
    return Concepts(arrays.domain_of_topic[topic_N], topic_N, thing_N, leaf_N, attributes_NA)


class LatentSpace:
    """A direction for each node of the tree and each attribute; a vector is their weighted sum, made unit length."""

    def __init__(self, rng: np.random.Generator) -> None:
        words = lexicon()
        self._domains = _DOMAIN * _directions(rng, len(words.domains))
        self._topics = _with_zero(_TOPIC * _directions(rng, len(words.topics)))
        self._things = _with_zero(_THING * _directions(rng, len(words.things)))
        self._leaves = _with_zero(_LEAF * _directions(rng, len(words.things) * LEAVES_PER_THING))
        self._attributes = _with_zero(_ATTRIBUTE * _directions(rng, len(words.attributes)))
        seen = np.isin(tree().kind_of_attribute, [tree().kinds.index(kind) for kind in VISIBLE_KINDS])
        self._visible = np.where(np.append(seen, False)[:, None], self._attributes, np.float32(0))

    def vectors(self, concepts: Concepts, rng: np.random.Generator, own: float) -> FloatArray:
        """Unit latent vectors (N, D); `own` is the length of what is the row's own and in no word."""
        total_ND = self._domains[concepts.domains] + self._topics[concepts.topics] + self._things[concepts.things]
        total_ND += self._leaves[_leaf_rows(concepts)]
        for place in range(concepts.attributes.shape[1]):
            total_ND += self._attributes[concepts.attributes[:, place]]
        total_ND += np.float32(own) * _directions(rng, len(concepts))
        return _unit(total_ND)

    def visual(self, concepts: Concepts) -> FloatArray:
        """Unit vectors (N, D) of what a picture shows: the thing, half of its topic, the attributes one can see."""
        total_ND = np.float32(0.5) * self._topics[concepts.topics] + self._things[concepts.things]
        for place in range(concepts.attributes.shape[1]):
            total_ND += self._visible[concepts.attributes[:, place]]
        return _unit(total_ND)


def _leaf_rows(concepts: Concepts) -> IntArray:
    rows = concepts.things * LEAVES_PER_THING + concepts.leaves
    return np.where((concepts.things >= 0) & (concepts.leaves >= 0), rows, ABSENT)


def _with_zero(vectors: FloatArray) -> FloatArray:
    """A last row of zeros, so that -1, what is absent, adds nothing."""
    return np.vstack([vectors, np.zeros((1, vectors.shape[1]), np.float32)])


def _unit(vectors_ND: FloatArray) -> FloatArray:
    norms = np.sqrt(np.einsum("nd,nd->n", vectors_ND, vectors_ND))
    return np.asarray(vectors_ND / np.maximum(norms, 1e-12)[:, None], np.float32)


def _directions(rng: np.random.Generator, number: int) -> FloatArray:
    return _unit(rng.standard_normal((number, LATENT_WIDTH), dtype=np.float32))
