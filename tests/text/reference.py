"""The tokens of a text in plain Python: what the compiled kernels must agree with, written for reading.

It shares no code with them, nor their table of code points.
"""

import itertools
import unicodedata
from collections import Counter

MASK = (1 << 64) - 1
BOUNDARY = 0x1FFFFF
WITHOUT_SPACES = [
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x3005, 0x3007),
    (0x3021, 0x3029),
    (0x3031, 0x303C),
    (0x3040, 0x312F),
    (0x31A0, 0x31BF),
    (0x31F0, 0x31FF),
    (0xA9E0, 0xA9FF),
    (0xAA60, 0xAA7F),
    (0x1AFF0, 0x1B16F),
]
HAN = [(0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFD)]


def within(character, blocks):
    return any(first <= ord(character) <= last for first, last in blocks)


def lower(text):
    return "".join("i" if character == "\u0130" else character.lower() for character in text)


def normal_form(text):
    return unicodedata.normalize("NFKC", lower(unicodedata.normalize("NFKC", text)))


def normalise(text):
    return " ".join(normal_form(text).split())


def ignored(character):
    variation = within(character, [(0xFE00, 0xFE0F), (0xE0100, 0xE01EF), (0x180B, 0x180F)])
    tag = within(character, [(0xE0020, 0xE007E)])
    return variation or (unicodedata.category(character) == "Cf" and character != "\u200b" and not tag)


def is_mark(character):
    return unicodedata.category(character)[0] == "M" or within(character, [(0xE0020, 0xE007E)])


def is_letter_or_digit(character):
    return unicodedata.category(character)[0] in "LN"


def stands_alone(character):
    category = unicodedata.category(character)
    if within(character, HAN):
        return True
    if category[0] == "L" or category == "Nl":
        return within(character, WITHOUT_SPACES)
    if category[0] == "S":
        return character not in "+<=>^`|~\u2044" or within(character, [(0x1F000, 0x1FAFF)])
    return category == "Cn" and within(character, [(0x1F000, 0x1FAFF)])


def words_of(text):
    """Words of a text as strings."""
    words = []
    in_word = False
    grows = False
    for character in normal_form(text):
        if ignored(character):
            continue
        if is_mark(character):
            if in_word:
                words[-1] += character
            else:
                words.append(character)
                in_word = grows = True
        elif stands_alone(character):
            words.append(character)
            in_word, grows = True, False
        elif is_letter_or_digit(character):
            if in_word and grows:
                words[-1] += character
            else:
                words.append(character)
                in_word = grows = True
        else:
            in_word = False
    return words


def mix(value):
    value &= MASK
    value = ((value ^ (value >> 33)) * 0xFF51AFD7ED558CCD) & MASK
    value = ((value ^ (value >> 33)) * 0xC4CEB9FE1A85EC53) & MASK
    return (value ^ (value >> 33)) or 1


def fold(word):
    """Running 64-bit hash of a word's code points, before it is mixed."""
    value = 0x9AE16A3B2F90404F
    for character in word:
        value = ((value ^ ord(character)) * 0x9E3779B97F4A7C15) & MASK
        value ^= value >> 32
    return value


def word_hash(word):
    return mix(fold(word) ^ 0x13198A2E03707344)


def bigram_hash(first, second):
    return mix(mix(fold(first) ^ 0xA4093822299F31D0) * 0x9E3779B97F4A7C15 + fold(second))


def trigram_hashes(word):
    padded = [BOUNDARY, *map(ord, word), BOUNDARY]
    triples = zip(padded, padded[1:], padded[2:], strict=False)
    return [mix((a << 42 | b << 21 | c) ^ 0x243F6A8885A308D3) for a, b, c in triples]


def token_hashes(text):
    """Hashes of the trigrams, the words and the bigrams of one text, each in reading order."""
    words = words_of(text)
    trigrams = [value for word in words for value in trigram_hashes(word)]
    pairs = itertools.pairwise(words)
    return trigrams, [word_hash(word) for word in words], [bigram_hash(*pair) for pair in pairs]


class ReferenceTokenizer:
    """Vocabularies counted exactly with `collections.Counter`; None is an empty text."""

    def __init__(self, texts, sizes, min_count=1):
        counters = [Counter(), Counter(), Counter()]
        for text in texts:
            for counter, hashes in zip(counters, token_hashes(text or ""), strict=True):
                counter.update(hashes)
        self.ids = []
        first_id = 0
        for counter, size in zip(counters, sizes, strict=True):
            often = [(value, count) for value, count in counter.items() if count >= min_count]
            kept = sorted(often, key=lambda item: (-item[1], item[0]))[:size]
            self.ids.append({value: first_id + place for place, (value, _) in enumerate(kept)})
            first_id += len(kept)
        self.size = first_id

    def encode(self, text):
        return [
            ids[value]
            for ids, hashes in zip(self.ids, token_hashes(text or ""), strict=True)
            for value in hashes
            if value in ids
        ]
