"""Concepts in words: phrases of queries, titles, descriptions, captions and board titles.

Shape suffixes: N rows, S slots of a text, A attribute places.
"""

import numpy as np
import numpy.typing as npt

from omnifeat.simulator.concepts import ABSENT, VISIBLE_KINDS, Concepts, IntArray, tree
from omnifeat.simulator.lexicon import lexicon
from omnifeat.simulator.phrasebook import phrasebook
from omnifeat.simulator.rates import (
    CAPTION_ENDING,
    CAPTION_SAYS_ATTRIBUTE,
    CAPTION_WRONG_ATTRIBUTE,
    CAPTION_WRONG_THING,
    QUERY_TOPIC_NAMED,
    USUAL_WORD,
)

__all__ = ["SLOTS", "caption", "phrase"]

# attributes before, the topic's name, the thing, attributes behind, an ending
_PLACES = 3
_TOPIC, _THING, _ENDING = _PLACES, _PLACES + 1, 2 * _PLACES + 2
SLOTS = _ENDING + 1
# the order in which English puts them before a thing; what is not here stands behind it
_ORDER = ("diet", "size", "style", "look", "season", "flavour", "colour", "material", "fabric", "occasion", "room")
_ENGLISH = 2  # the first two locales


def phrase(
    concepts: Concepts,
    locale_N: IntArray,
    rng: np.random.Generator,
    *,
    says_attribute: float = 1.0,
    usual: float = USUAL_WORD,
    ending_N: IntArray | None = None,
) -> IntArray:
    """Phrases (N, S) such as "antique copper bathroom sink"; French and German put what a thing is like behind it.

    An attribute or topic that shares a word with the thing is left out: no "marble marble nails".
    """
    book = phrasebook()
    number = len(concepts)
    text_NS = np.full((number, SLOTS), ABSENT, np.int32)
    thing_N = book.things.pick(concepts.things, locale_N, rng, usual)
    topic_N = book.topics.pick(concepts.topics, locale_N, rng, usual)
    domain_N = book.domains.pick(concepts.domains, locale_N, rng, usual)
    text_NS[:, _THING] = np.where(concepts.things >= 0, thing_N, np.where(concepts.topics >= 0, topic_N, domain_N))
    leads = np.array([topic.leads for topic in lexicon().topics] + [False])
    named = leads[concepts.topics] & (concepts.things >= 0) & (rng.random(number) < QUERY_TOPIC_NAMED)
    named &= ~book.clash(topic_N, thing_N)
    text_NS[:, _TOPIC] = np.where(named & (locale_N < _ENGLISH), topic_N, ABSENT)
    front_NA = _front()[concepts.topics]
    said: list[IntArray] = []
    for place in range(_PLACES):
        word_N = book.attributes.pick(concepts.attributes[:, place], locale_N, rng, usual)
        drop = (rng.random(number) >= says_attribute) | book.clash(word_N, text_NS[:, _THING])
        for earlier_N in said:
            drop |= book.clash(word_N, earlier_N)
        word_N = np.where(drop, ABSENT, word_N)
        said.append(word_N)
        in_front = (locale_N < _ENGLISH) & (front_NA[:, place] >= 0)
        rows = np.flatnonzero(in_front)
        text_NS[rows, front_NA[rows, place]] = word_N[rows]
        text_NS[:, _THING + 1 + place] = np.where(in_front, ABSENT, word_N)
    if ending_N is not None:
        text_NS[:, _ENDING] = ending_N
    return text_NS


def caption(concepts: Concepts, rng: np.random.Generator) -> IntArray:
    """What an image captioner would say, (N, S'): plain American English, what one can see, and errors."""
    book = phrasebook()
    arrays = tree()
    number = len(concepts)
    locale_N = np.zeros(number, np.int32)
    thing_N = concepts.things.copy()
    wrong = np.flatnonzero(rng.random(number) < CAPTION_WRONG_THING)
    thing_N[wrong] = _sibling(thing_N[wrong], rng)
    visible = np.array([kind in VISIBLE_KINDS for kind in arrays.kinds])
    name_N = book.things.pick(thing_N, locale_N, rng, usual=1.0)
    columns = [book.some("caption", locale_N, rng)]
    for place in range(_PLACES):
        value_N = concepts.attributes[:, place]
        kind_N = arrays.kinds_of_topic[concepts.topics, place]
        seen = visible[kind_N] & (rng.random(number) < CAPTION_SAYS_ATTRIBUTE)
        value_N = np.where(seen, value_N, ABSENT)
        mistaken = (value_N >= 0) & (rng.random(number) < CAPTION_WRONG_ATTRIBUTE)
        point_N = rng.random(number)
        for kind, values in enumerate(arrays.values):
            rows = np.flatnonzero(mistaken & (kind_N == kind))
            value_N[rows] = values[(point_N[rows] * len(values)).astype(np.int64)]
        word_N = book.attributes.pick(value_N, locale_N, rng, usual=1.0)
        columns.append(np.where(book.clash(word_N, name_N), ABSENT, word_N))
    columns.append(name_N)
    columns.append(np.where(rng.random(number) < CAPTION_ENDING, book.some("caption_end", locale_N, rng), ABSENT))
    return np.stack(columns, axis=1).astype(np.int32)


def _sibling(thing_N: IntArray, rng: np.random.Generator) -> IntArray:
    """Another thing of the same topic for each."""
    topics = tree().topic_of_thing
    first = np.searchsorted(topics, topics[thing_N], side="left")
    size = np.searchsorted(topics, topics[thing_N], side="right") - first
    step = 1 + (rng.random(len(thing_N)) * (size - 1)).astype(np.int64)
    return (first + (thing_N - first + step) % size).astype(np.int32)


def _front() -> npt.NDArray[np.int32]:
    """For each topic and place, the slot before the thing in English, -1 for behind; the last row is of no topic."""
    arrays = tree()
    slots = np.full((len(arrays.kinds_of_topic) + 1, _PLACES), ABSENT, np.int32)
    for topic, kinds in enumerate(arrays.kinds_of_topic):
        names = [arrays.kinds[kind] for kind in kinds]
        ordered = sorted((name for name in names if name in _ORDER), key=_ORDER.index)
        for place, name in enumerate(names):
            if name in _ORDER:
                slots[topic, place] = ordered.index(name)
    # a board or query of a whole domain may have a taste too
    slots[-1] = range(_PLACES)
    return slots
