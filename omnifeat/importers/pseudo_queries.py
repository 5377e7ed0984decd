"""Training pairs from a catalogue that has no query log: short queries made from the products' own words.

They look like what people type: a product type ("laser printer"), a brand with a type ("dell laptop"), an attribute
with a type ("black keyboard"), a short piece of a title. They are made from the catalogue alone. They are not a log:
nobody typed them, and how often one stands there says nothing about demand.
"""

import hashlib
import random
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["CatalogueText", "TypePhrases", "find_type_phrases", "product_queries"]

MAX_WORDS = 4  # the longest query
_MAX_TYPE_WORDS = 3
_MIN_PRODUCTS = 5  # a type phrase stands in the titles or descriptions of at least this many products ...
_MIN_BRANDS = 3  # ... of at least this many brands: model names and slogans belong to one
_BRAND_SHARE = 0.5  # a word of a brand's name that stands in its own titles so often is no word of a type ("case" is)
_MIN_END_SHARE = 0.12  # ... and at times ends a run of words: what always stands before a noun only modifies it
_PLURAL_SHARE = 0.08  # of type queries, written in the plural

_WORD = re.compile(r"[^\W_]+(?:[-.'/][^\W_]+)*")
_LETTERS = re.compile(r"[^\W\d_]+(?:[-/][^\W\d_]+)*")
# function words, packing, units and colours stand in most titles and are no type of product
_NOT_A_TYPE_TEXT = """
a an and are as at by for from in into incl included includes including is it no not of on or per the
this to up via with without your you new series edition version type pc pcs piece pieces pack set unit
original genuine compatible standard universal advanced premium professional pro plus high low full extra
single dual multi mini mm cm km kg ghz mhz hz gb mb tb kb mah va vac vdc dpi ppm rpm inch inches feet
foot meter meters metre mbit gbit ft gen box pin pins pixels pages sheets max min approx size length
width height depth weight colour color black white grey gray silver blue red green yellow orange purple
pink brown beige gold cyan magenta transparent multicolour light dark photo small large medium long short
male female left right front rear model kit year years
"""
_NOT_A_TYPE = frozenset(_NOT_A_TYPE_TEXT.split())
_ANOTHER_THING = frozenset(("for", "with", "w", "incl", "including"))

# how often each kind of query is tried; rated query sets of shops hold mostly bare types, then modified types
_KINDS = ("type", "brand type", "brand", "attribute type", "span")
_WEIGHTS = (0.4, 0.17, 0.03, 0.15, 0.25)


@dataclass(frozen=True)
class CatalogueText:
    """The words of one product that queries are made from."""

    id: str
    title: str
    description: str | None = None
    brand: str | None = None
    attributes: tuple[str, ...] = field(default=())  # short values: colour, material, connection


@dataclass(frozen=True)
class TypePhrases:
    """Phrases of one to three words that name a type of product, each with the number of brands that use it."""

    brands_of: dict[str, int]

    def heading(self, words: Sequence[str]) -> list[str]:
        """The distinct type phrases that a text's runs of words end with, in order.

        What stands last in a run names the thing and what stands before it modifies: a "notebook case" is a case. What
        comes after "for" or "with" is another thing.
        """
        end = next((place for place, word in enumerate(words) if word in _ANOTHER_THING), len(words))
        phrases = (phrase for phrase, last in _phrases(words[:end]) if last and phrase in self.brands_of)
        return list(dict.fromkeys(phrases))


def find_type_phrases(
    products: Iterable[CatalogueText], *, min_products: int = _MIN_PRODUCTS, min_brands: int = _MIN_BRANDS
) -> TypePhrases:
    """Find type phrases: in many titles, of several brands, and at times last in a run of words.

    A phrase that stands almost only inside one longer phrase ("format media" in "large format media") is left out.
    Memory grows with the distinct phrases of the catalogue, not with its length.
    """
    counts: Counter[str] = Counter()  # titles
    ends: Counter[str] = Counter()  # titles where it ends a run of words that may name a type
    brands: defaultdict[str, set[str]] = defaultdict(set)
    titles: Counter[str] = Counter()  # with the word
    own_titles: Counter[str] = Counter()  # with the word, which is also in the name of the product's brand
    for product in products:
        brand = (product.brand or "").lower()
        words = set(_words(product.title))
        titles.update(words)
        own_titles.update(words.intersection(_words(brand)))
        here: dict[str, bool] = {}
        for phrase, last in _phrases(_words(product.title)):
            here[phrase] = here.get(phrase, False) or last
        for phrase, last in here.items():
            counts[phrase] += 1
            ends[phrase] += last
            if len(brands[phrase]) < 64:  # enough to tell; bounds the sets of common words
                brands[phrase].add(brand)
    brand_words = {word for word, count in own_titles.items() if count >= _BRAND_SHARE * titles[word]}
    kept = {
        phrase: len(brands[phrase])
        for phrase, count in counts.items()
        if count >= min_products
        and len(brands[phrase]) >= min_brands
        and ends[phrase] >= _MIN_END_SHARE * count
        and not brand_words.intersection(phrase.split())
    }
    inside = {
        part
        for phrase in kept
        for part in (phrase.split(" ", 1)[-1], phrase.rsplit(" ", 1)[0])
        if part != phrase and counts[phrase] >= 0.9 * counts[part]
    }
    return TypePhrases({phrase: number for phrase, number in kept.items() if phrase not in inside})


def product_queries(product: CatalogueText, types: TypePhrases, *, number: int, seed: int) -> list[str]:
    """Up to `number` distinct pseudo-queries of a product, of one to four lower-case words.

    The draw depends on the seed and the product's id alone, not on the order or the number of products. A product
    with few usable words gets fewer.
    """
    digest = hashlib.blake2b(f"{seed}\x00{product.id}".encode(), digest_size=8).digest()
    rng = random.Random(int.from_bytes(digest, "little"))
    title = _words(product.title)
    phrases = types.heading(title) or types.heading(_words(product.description or ""))
    # a longer phrase says more of the product, one that more brands use is more of a type
    weights = [types.brands_of[phrase] ** 0.5 * (1 + phrase.count(" ")) for phrase in phrases]
    brand = " ".join(_words(product.brand or "")[:2])
    attributes = [value for value in dict.fromkeys(product.attributes) if value and len(value.split()) <= 2]
    spans = list(_spans(title))
    queries: dict[str, None] = {}
    for _ in range(4 * number):
        if len(queries) == number:
            break
        kind = rng.choices(_KINDS, _WEIGHTS)[0]
        phrase = rng.choices(phrases, weights)[0] if phrases else ""
        query = ""
        if kind == "type":
            query = _plural(phrase) if phrase and rng.random() < _PLURAL_SHARE else phrase
        elif kind == "brand":
            query = brand
        elif kind == "brand type" and brand and phrase:
            query = f"{brand} {phrase}"
        elif kind == "attribute type" and attributes and phrase:
            attribute = rng.choice(attributes).lower()
            query = phrase if set(attribute.split()) & set(phrase.split()) else f"{attribute} {phrase}"
        elif kind == "span" and spans:
            query = rng.choice(spans)
        query = " ".join(query.split())
        if len(query) > 1 and len(query.split()) <= MAX_WORDS:
            queries[query] = None
    return list(queries)


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower())


def _is_type_word(word: str) -> bool:
    return len(word) > 1 and word not in _NOT_A_TYPE and _LETTERS.fullmatch(word) is not None


def _phrases(words: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Runs of one to three words that may name a type, each with whether a longer run could not go on after it."""
    possible = [_is_type_word(word) for word in words] + [False]
    for start in range(len(words)):
        for end in range(start + 1, min(start + _MAX_TYPE_WORDS, len(words)) + 1):
            if not possible[end - 1]:
                break
            yield " ".join(words[start:end]), not possible[end]


def _spans(words: Sequence[str]) -> Iterator[str]:
    """Two to four words of a title that begin and end with a word worth searching for."""
    worthless = _NOT_A_TYPE.__contains__
    for start in range(len(words)):
        for end in range(start + 2, min(start + MAX_WORDS, len(words)) + 1):
            span = words[start:end]
            if worthless(span[0]) or worthless(span[-1]) or not any(_is_type_word(word) for word in span):
                continue
            if not any(word.isdigit() and len(word) < 2 for word in span):  # a lone digit is cut from a measure
                yield " ".join(span)


def _plural(phrase: str) -> str:
    if phrase.endswith("s") or not phrase.isascii():
        return phrase
    if phrase.endswith("y") and phrase[-2:-1] not in "aeiou":
        return phrase[:-1] + "ies"
    return phrase + ("es" if phrase.endswith(("x", "ch", "sh")) else "s")
