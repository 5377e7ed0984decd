"""What things in the world are about: a topic, a thing in it, a few attributes, and from these a latent vector.

Shape suffixes: N rows, A attribute places (3), D latent width.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omnifeat.simulator.lexicon import ATTRIBUTES, TOPICS, Thing

__all__ = ["ABSENT", "LATENT_DIM", "THINGS", "Concepts", "LatentSpace", "draw_concepts", "zipf"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

ABSENT = -1
LATENT_DIM = 32
ATTRIBUTE_PLACES = 3
THINGS: tuple[Thing, ...] = tuple(thing for topic in TOPICS for thing in topic.things)

# how much of a latent vector each part makes: things of one topic are alike, of one domain a little
_DOMAIN, _TOPIC, _THING, _ATTRIBUTE, _OWN = 0.5, 0.7, 1.0, 0.55, 0.3


@dataclass(frozen=True)
class Concepts:
    """What N rows are about: rows of `TOPICS`, of `THINGS` (or -1: the topic at large), of `ATTRIBUTES` (-1: none)."""

    topics: IntArray  # (N,)
    things: IntArray  # (N,)
    attributes: IntArray  # (N, A)

    def __len__(self) -> int:
        return len(self.topics)

    def take(self, rows: IntArray) -> "Concepts":
        """The concepts of these rows."""
        return Concepts(self.topics[rows], self.things[rows], self.attributes[rows])


def zipf(number: int, exponent: float) -> FloatArray:
    """Probabilities of ranks 1 to `number`, proportional to `rank ** -exponent`."""
    weights = np.arange(1, number + 1, dtype=np.float64) ** -exponent
    return weights / weights.sum()


def draw_concepts(
    rng: np.random.Generator,
    number: int,
    *,
    thing_probabilities: FloatArray,
    attribute_rate: float,
    topic_rate: float = 0.0,
) -> Concepts:
    """Draw things by popularity, and for each kind of attribute of its topic, one value at `attribute_rate`.

    At `topic_rate` the thing is left out: a broad row, about its topic at large.
    """
    thing_N = rng.choice(len(THINGS), size=number, p=thing_probabilities)
    topic_of_thing = np.array([thing.topic for thing in THINGS])
    topic_N = topic_of_thing[thing_N]
    values = {
        kind: np.array([row for row, attribute in enumerate(ATTRIBUTES) if attribute.kind == kind])
        for kind in dict.fromkeys(attribute.kind for attribute in ATTRIBUTES)
    }
    attributes_NA = np.full((number, ATTRIBUTE_PLACES), ABSENT, dtype=np.int64)
    for topic_row, topic in enumerate(TOPICS):
        rows = np.flatnonzero(topic_N == topic_row)
        for place, kind in enumerate(topic.kinds):
            # squared: the first values of a kind are the usual ones
            picks = (rng.random(len(rows)) ** 1.5 * len(values[kind])).astype(np.int64)
            present = rng.random(len(rows)) < attribute_rate
            attributes_NA[rows, place] = np.where(present, values[kind][picks], ABSENT)
    broad = rng.random(number) < topic_rate
    return Concepts(topic_N, np.where(broad, ABSENT, thing_N), attributes_NA)


class LatentSpace:
    """Vectors of domains, topics, things and attributes; a concept's vector is their weighted sum, made unit length."""

    def __init__(self, rng: np.random.Generator) -> None:
        domains = list(dict.fromkeys(topic.domain for topic in TOPICS))
        domain_vectors = _directions(rng, len(domains))
        topic_vectors = _directions(rng, len(TOPICS))
        domain_of_topic = np.array([domains.index(topic.domain) for topic in TOPICS])
        self._topics = _DOMAIN * domain_vectors[domain_of_topic] + _TOPIC * topic_vectors
        nothing = np.zeros((1, LATENT_DIM))  # row -1: what is absent adds nothing
        self._things = np.vstack([_THING * _directions(rng, len(THINGS)), nothing])
        self._attributes = np.vstack([_ATTRIBUTE * _directions(rng, len(ATTRIBUTES)), nothing])

    def vectors(self, concepts: Concepts, rng: np.random.Generator, own: float = _OWN) -> FloatArray:
        """Unit latent vectors (N, D); `own` is the size of what is the row's own and in no word."""
        total_ND = (
            self._topics[concepts.topics]
            + self._things[concepts.things]
            + self._attributes[concepts.attributes].sum(axis=1)
            + own * _directions(rng, len(concepts))
        )
        return total_ND / np.linalg.norm(total_ND, axis=1, keepdims=True)


def _directions(rng: np.random.Generator, number: int) -> FloatArray:
    vectors = rng.standard_normal((number, LATENT_DIM))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
