"""Concepts in words: queries, titles, descriptions, captions and board titles."""

import numpy as np

from omnifeat.simulator.concepts import ABSENT, THINGS, Concepts
from omnifeat.simulator.lexicon import ATTRIBUTES, BRANDS, TOPICS, Attribute

__all__ = ["board_title", "brand_name", "caption", "description", "pin_title", "product_title", "query_text"]

# the order in which English puts them before a thing
_ORDER = ("style", "size", "season", "occasion", "diet", "flavour", "colour", "material", "room")
# topics whose name reads well before a thing: "copper bathroom sink"
_BEFORE_A_THING = frozenset({"bathroom", "kitchen", "bedroom", "living room", "garden", "wedding", "travel"})
_PIN_ENDINGS = ("", "", "", "ideas", "inspiration", "you will love", "diy", "to try this weekend")
_BROAD_ENDINGS = ("ideas", "inspiration", "aesthetic", "tips")
_BOARD_FORMS = ("{0}", "my {0}", "{0} ideas", "dream {0}", "{0} inspo", "someday: {0}")


def _attributes(concepts: Concepts, row: int) -> list[Attribute]:
    chosen = [ATTRIBUTES[index] for index in concepts.attributes[row] if index != ABSENT]
    return sorted(chosen, key=lambda attribute: _ORDER.index(attribute.kind))


def _word(words: tuple[str, ...], rng: np.random.Generator, usual: float = 0.6) -> str:
    """One of the words that mean the same, the usual one at the given rate."""
    if len(words) == 1 or rng.random() < usual:
        return words[0]
    return words[1 + int(rng.integers(len(words) - 1))]


def _phrase(concepts: Concepts, row: int, rng: np.random.Generator, *, topic_rate: float) -> str:
    topic = TOPICS[concepts.topics[row]]
    parts = [_word(attribute.words, rng) for attribute in _attributes(concepts, row)]
    thing = concepts.things[row]
    if thing == ABSENT:
        return " ".join([*parts, topic.name])
    if topic.name in _BEFORE_A_THING and rng.random() < topic_rate:
        parts.append(topic.name)
    words = " ".join([*parts, _word(THINGS[thing].words, rng)]).split(" ")
    # "wedding wedding cake", "kitchen kitchen island"
    return " ".join(word for place, word in enumerate(words) if place == 0 or word != words[place - 1])


def query_text(concepts: Concepts, row: int, rng: np.random.Generator) -> str:
    """What somebody types: "antique copper bathroom sink", "wedding ideas"."""
    phrase = _phrase(concepts, row, rng, topic_rate=0.3)
    if concepts.things[row] == ABSENT or rng.random() < 0.06:
        phrase = f"{phrase} {_BROAD_ENDINGS[int(rng.integers(len(_BROAD_ENDINGS)))]}"
    return phrase


def pin_title(concepts: Concepts, row: int, rng: np.random.Generator) -> str:
    """A pin's title; some say all attributes, some end in a phrase that means nothing."""
    ending = _PIN_ENDINGS[int(rng.integers(len(_PIN_ENDINGS)))]
    return f"{_phrase(concepts, row, rng, topic_rate=0.4)} {ending}".strip().capitalize()


def product_title(concepts: Concepts, row: int, rng: np.random.Generator, brand: str) -> str:
    """A product's title: brand first."""
    return f"{brand} {_phrase(concepts, row, rng, topic_rate=0.3).title()}"


def description(concepts: Concepts, row: int, rng: np.random.Generator) -> str:
    """A sentence or two, in other words than the title's."""
    topic = TOPICS[concepts.topics[row]]
    attributes = " and ".join(_word(attribute.words, rng, usual=0.4) for attribute in _attributes(concepts, row))
    thing = concepts.things[row]
    name = topic.name if thing == ABSENT else _word(THINGS[thing].words, rng, usual=0.4)
    first = f"{attributes} {name}".strip().capitalize()
    seconds = (
        f"More {topic.name} finds in {topic.domain}.", f"Save this for your {topic.name} plans.",
        f"Goes well with any {topic.name} look.", "Step by step with photos.", "Made to last.",
    )  # fmt: skip
    return f"{first}. {seconds[int(rng.integers(len(seconds)))]}"


def caption(concepts: Concepts, row: int, rng: np.random.Generator) -> str:
    """What an image captioner would say: plain words, colour and material only, one in ten names a wrong thing."""
    topic = TOPICS[concepts.topics[row]]
    thing = concepts.things[row]
    name = topic.name if thing == ABSENT else THINGS[thing].name
    if rng.random() < 0.1:
        name = topic.things[int(rng.integers(len(topic.things)))].name
    seen = [attribute.words[0] for attribute in _attributes(concepts, row) if attribute.kind in ("colour", "material")]
    return f"a photo of {' '.join([*seen, name])}"


def board_title(concepts: Concepts, row: int, rng: np.random.Generator) -> str:
    """A board's title, as people name them."""
    form = _BOARD_FORMS[int(rng.integers(len(_BOARD_FORMS)))]
    return form.format(_phrase(concepts, row, rng, topic_rate=0.2))


def brand_name(rng: np.random.Generator) -> str:
    """One of the made-up brands."""
    return BRANDS[int(rng.integers(len(BRANDS)))]
