"""The words of the simulated world, read from the hand-written files under `words/`.

Four levels of interests (domains, topics, things, leaves) and the kinds of attributes, each with its words in four
locales. Several words for one meaning, and other words in each locale, are why equal meaning is not equal text.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

__all__ = [
    "LANGUAGES",
    "LEAVES_PER_THING",
    "LOCALES",
    "Attribute",
    "Lexicon",
    "Thing",
    "Topic",
    "Words",
    "lexicon",
    "parse_words",
]

LOCALES = ("en-US", "en-GB", "fr", "de")
LANGUAGES = ("en", "en", "fr", "de")
LEAVES_PER_THING = 4
_KINDS_PER_TOPIC = 3

# for each locale the words that mean the same, the usual one first
Words = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Attribute:
    """A value of a kind of attribute, such as the colour "navy blue"."""

    kind: str
    words: Words


@dataclass(frozen=True)
class Topic:
    """A second-level interest.

    `kinds` are the three kinds of attributes of its things, the first of which makes the leaves; `leads` says whether
    English puts the topic's name before a thing; `price` is a usual price in dollars.
    """

    domain: int
    words: Words
    kinds: tuple[str, ...]
    leads: bool
    price: float


@dataclass(frozen=True)
class Thing:
    """A third-level interest, such as a sink; `leaves` are the attributes that make its fourth level."""

    topic: int
    words: Words
    leaves: tuple[int, ...]


@dataclass(frozen=True)
class Lexicon:
    """All that has words. Things stand in order of their topic, topics in order of their domain.

    Leaf `LEAVES_PER_THING * thing + place` is that thing with the attribute `things[thing].leaves[place]`.
    """

    domains: tuple[Words, ...]
    topics: tuple[Topic, ...]
    things: tuple[Thing, ...]
    attributes: tuple[Attribute, ...]
    phrases: dict[str, tuple[tuple[str, ...], ...]]  # by use: lines of one phrase per locale

    def values(self, kind: str) -> tuple[int, ...]:
        """The attributes of a kind."""
        return tuple(row for row, attribute in enumerate(self.attributes) if attribute.kind == kind)


def parse_words(line: str) -> Words:
    """The words of a line `en-US [/ en-GB] = fr = de`, each a list with commas.

    Raises
    ------
    ValueError
        A language is not there, or a locale has no word.
    """
    parts = line.split(" = ")
    if len(parts) != len(set(LANGUAGES)):
        raise ValueError(f"a language is missing in '{line}'")
    english, french, german = parts
    american, _, british = english.partition(" / ")
    words = tuple(
        tuple(word.strip() for word in part.split(",")) for part in (american, british or american, french, german)
    )
    if not all(word for of_locale in words for word in of_locale):
        raise ValueError(f"a word is missing in '{line}'")
    return words


@cache
def lexicon() -> Lexicon:
    """The shipped lexicon."""
    attributes = tuple(Attribute(kind, parse_words(line)) for kind, line in _sections("attributes.txt"))
    phrases: dict[str, list[tuple[str, ...]]] = {}
    for use, line in _sections("phrases.txt"):
        phrases.setdefault(use, []).append(tuple(line.split(" = ")))
    by_kind: dict[str, list[int]] = {}
    for row, attribute in enumerate(attributes):
        by_kind.setdefault(attribute.kind, []).append(row)
    domains: list[Words] = []
    topics: list[Topic] = []
    things: list[Thing] = []
    for line in _lines("interests.txt"):
        if line.startswith("## "):
            names, kinds, price = line.removeprefix("## ").split(" ; ")
            first, _, rest = names.partition(" = ")
            words = parse_words(f"{first.removesuffix('+')} = {rest}")
            topics.append(Topic(len(domains) - 1, words, tuple(kinds.split()), first.endswith("+"), float(price)))
        elif line.startswith("# "):
            domains.append(parse_words(line.removeprefix("# ")))
        else:
            values = by_kind[topics[-1].kinds[0]]
            things.append(Thing(len(topics) - 1, parse_words(line), _leaves(values, len(things))))
    return Lexicon(
        tuple(domains), tuple(topics), tuple(things), attributes, {use: tuple(rows) for use, rows in phrases.items()}
    )


def _leaves(values: list[int], thing: int) -> tuple[int, ...]:
    """Four values of a kind, spread over it and turned with each thing, so that all values are in use."""
    step = max(1, len(values) // LEAVES_PER_THING)
    return tuple(values[(5 * thing + place * step) % len(values)] for place in range(LEAVES_PER_THING))


def _lines(name: str) -> Iterator[str]:
    text = (files("omnifeat.simulator") / "words" / name).read_text(encoding="utf-8")
    return (line for line in text.splitlines() if line and not line.startswith("//"))


def _sections(name: str) -> Iterator[tuple[str, str]]:
    section = ""
    for line in _lines(name):
        if line.startswith("["):
            section = line.strip("[]")
        else:
            yield section, line
