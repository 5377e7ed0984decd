"""Texts as rows of phrase numbers: built for a million rows at once, joined to strings only when they are written.

The engine of the simulated world matches words; it takes them from the same numbers, so that no text is tokenised.

Shape suffixes: N rows, S slots of a text (phrases, -1 for none), W word places of a phrase.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.simulator.concepts import ABSENT, IntArray
from omnifeat.simulator.lexicon import LOCALES, Words, lexicon
from omnifeat.simulator.rates import USUAL_WORD

__all__ = ["BRANDS", "SITES", "Phrasebook", "Variants", "phrasebook", "render", "split"]

BRANDS = (
    "Alderhome", "Brightfern", "Casa Linde", "Dunmoor", "Everlane Row", "Foxglove", "Granary", "Halcyon", "Ivory Oak",
    "Juniper & Co", "Kestrel", "Lumera", "Maren", "Northwick", "Oriel", "Pinecrest", "Quillon", "Rosewater", "Solstead",
    "Thornbury", "Umbra Vale", "Verano", "Wrenfield", "Zephyr",
)  # fmt: skip
# three sites about each domain: "home-decor-daily.example"
_SITE_FORMS = ("{}-daily.example", "the-{}-blog.example", "shop-{}.example")

_WORD = re.compile(r"\w+(?:'\w+)*")


def split(text: str) -> list[str]:
    """Words of a text in lower case."""
    return _WORD.findall(text.lower())


class Variants:
    """For each of M meanings and each locale, the phrases that say it."""

    def __init__(self, phrases: npt.NDArray[np.int32], counts: npt.NDArray[np.int32]) -> None:
        self.phrases = phrases  # (M + 1, locales, most); the last meaning is "absent", with the phrase -1
        self.counts = counts  # (M + 1, locales)

    def pick(
        self, meaning_N: IntArray, locale_N: IntArray, rng: np.random.Generator, usual: float = USUAL_WORD
    ) -> IntArray:
        """A phrase for each row (N,), the usual one at the given rate; -1 for the meaning -1."""
        count_N = self.counts[meaning_N, locale_N]
        other_N = 1 + (rng.random(len(meaning_N)) * (count_N - 1)).astype(np.int32)
        variant_N = np.where((rng.random(len(meaning_N)) < usual) | (count_N == 1), 0, other_N)
        return self.phrases[meaning_N, locale_N, variant_N]


class Phrasebook:
    """All phrases of the world, numbered, and the words of each.

    Attributes
    ----------
    strings
        The phrases.
    words_of
        (phrases + 1, W) int32: numbers of the words of each phrase, -1 beyond its end; the last row, of the phrase -1,
        holds none.
    domains, topics, things, attributes
        The variants of each.
    """

    def __init__(self) -> None:
        words = lexicon()
        self._numbers: dict[str, int] = {}
        self._vocabulary: dict[str, int] = {}
        self.domains = self._variants(words.domains)
        self.topics = self._variants([topic.words for topic in words.topics])
        self.things = self._variants([thing.words for thing in words.things])
        self.attributes = self._variants([attribute.words for attribute in words.attributes])
        self._uses = {
            use: np.array([[self._number(phrase) for phrase in line] for line in lines], np.int32)
            for use, lines in words.phrases.items()
        }
        self.brands = np.array([self._number(brand) for brand in BRANDS], np.int32)
        self.strings = pa.array(list(self._numbers), pa.string())
        split_phrases = [split(phrase) for phrase in self._numbers]
        width = max(map(len, split_phrases))
        self.words_of = np.full((len(split_phrases) + 1, width), ABSENT, np.int32)
        for row, phrase in enumerate(split_phrases):
            for place, word in enumerate(phrase):
                self.words_of[row, place] = self._vocabulary.setdefault(word, len(self._vocabulary))
        self.number_of_words = len(self._vocabulary)

    def some(self, use: str, locale_N: IntArray, rng: np.random.Generator) -> IntArray:
        """A phrase of that use for each row (N,)."""
        lines = self._uses[use]
        return lines[rng.integers(len(lines), size=len(locale_N)), locale_N]

    def clash(self, one_N: IntArray, other_N: IntArray) -> npt.NDArray[np.bool_]:
        """Whether two phrases share a word (N,): "marble" and "marble nails"."""
        first, second = self.words_of[one_N], self.words_of[other_N]
        shared = np.zeros(len(one_N), np.bool_)
        for place in range(first.shape[1]):
            word_N1 = first[:, place, None]
            shared |= ((word_N1 == second) & (word_N1 >= 0)).any(axis=1)
        return shared

    def word_pairs(self, texts: Iterable[npt.NDArray[np.int32]]) -> npt.NDArray[np.int64]:
        """The distinct (row, word) of texts (N, S) as sorted numbers `row * number_of_words + word`."""
        found: list[npt.NDArray[np.int64]] = []
        for text_NS in texts:
            for slot in range(text_NS.shape[1]):
                rows = np.flatnonzero(text_NS[:, slot] >= 0)
                words = self.words_of[text_NS[rows, slot]]
                for place in range(words.shape[1]):
                    there = words[:, place] >= 0
                    found.append(rows[there] * np.int64(self.number_of_words) + words[there, place])
        pairs = np.concatenate(found)
        pairs.sort()
        return pairs[np.append(True, pairs[1:] != pairs[:-1])] if len(pairs) else pairs

    def word_numbers(self) -> dict[str, int]:
        """The number of each word."""
        return self._vocabulary

    def _number(self, phrase: str) -> int:
        return self._numbers.setdefault(phrase, len(self._numbers))

    def _variants(self, meanings: Sequence[Words]) -> Variants:
        most = max(len(of_locale) for words in meanings for of_locale in words)
        phrases = np.full((len(meanings) + 1, len(LOCALES), most), ABSENT, np.int32)
        counts = np.ones((len(meanings) + 1, len(LOCALES)), np.int32)
        for row, words in enumerate(meanings):
            for locale, of_locale in enumerate(words):
                counts[row, locale] = len(of_locale)
                phrases[row, locale, : len(of_locale)] = [self._number(phrase) for phrase in of_locale]
        return Variants(phrases, counts)


@cache
def phrasebook() -> Phrasebook:
    """The phrasebook of the shipped lexicon."""
    return Phrasebook()


def sites() -> tuple[str, ...]:
    """Made-up web sites, three for each domain."""
    names = (words[0][0].replace(" ", "-").replace("'", "") for words in lexicon().domains)
    return tuple(form.format(name) for name in names for form in _SITE_FORMS)


SITES = sites()


def render(text_NS: npt.NDArray[np.int32]) -> pa.Array:
    """The texts of rows of phrases, joined by blanks; "" for a row without any."""
    strings = phrasebook().strings
    columns = [strings.take(pa.array(slot, pa.int32(), mask=slot < 0)) for slot in np.ascontiguousarray(text_NS.T)]
    # a row of nulls alone would be left out of the result, so that each begins with an empty text
    columns.insert(0, pa.array([""]).take(pa.array(np.zeros(len(text_NS), np.int8))))
    joined = pc.binary_join_element_wise(*columns, pa.scalar(" "), null_handling="skip")
    return pc.ascii_ltrim_whitespace(joined)
