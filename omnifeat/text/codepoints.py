"""What each Unicode code point is to the tokenizer: one packed table, built once per process.

Entry of a code point `c`, a uint32:

    bits  0-20   the code point it is read as: simple lower case of its NFKC form, where that is one code point
    bits 21-23   the class (below) of that code point
    bits 24-29   rank of its canonical combining class, 0 for a starter
    bit  30      set when `c` may change or move under NFKC together with its neighbours, or becomes several

A string without bit 30 whose combining ranks never fall is normalised by reading it through the table; any other is
first normalised by `unicodedata` (`omnifeat.text.normalise`). So the common case needs no Python object, not even
one per string. pyarrow's `utf8_normalize` is not used: up to version 25 it decomposes for NFKC and never composes.
"""

import functools
import sys
import unicodedata

import numpy as np
import numpy.typing as npt

__all__ = [
    "CLASS_SHIFT",
    "IGNORED",
    "LOWER_MASK",
    "MARK",
    "RANK_SHIFT",
    "SEPARATOR",
    "SINGLE",
    "SPACE",
    "UNSTABLE",
    "WORD",
    "code_point_class",
    "code_point_table",
    "simple_lower",
]

SEPARATOR = 0  # ends a word: punctuation, controls, private use, unassigned
SPACE = 1  # white space: ends a word, and `normalise` collapses it
WORD = 2  # letters and digits: maximal runs are words
SINGLE = 3  # a word of its own: scripts written without spaces, emoji and other symbols
MARK = 4  # joins the word before it
IGNORED = 5  # not there at all: joiners, variation selectors, soft hyphens, directional marks

LOWER_MASK = 0x1FFFFF
CLASS_SHIFT = 21
RANK_SHIFT = 24
UNSTABLE = 1 << 30

# Scripts written without spaces between words. Only their letters are words of their own: their digits run
# together and their marks attach. Whole blocks, so that a letter assigned later falls in the same class.
_SPACELESS_BLOCKS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # ideographic iteration mark, closing mark and zero
    (0x3021, 0x3029),  # Hangzhou numerals
    (0x3031, 0x303C),  # kana repeat marks
    (0x3040, 0x312F),  # Hiragana, Katakana, Bopomofo
    (0x31A0, 0x31BF),  # Bopomofo extended
    (0x31F0, 0x31FF),  # Katakana phonetic extensions
    (0xA9E0, 0xA9FF),  # Myanmar extended B
    (0xAA60, 0xAA7F),  # Myanmar extended A
    (0x1AFF0, 0x1B16F),  # Kana extended and supplement
)
_HAN_BLOCKS = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFD))
_HANGUL_SYLLABLES = (0xAC00, 0xD7A3)
_PICTOGRAPHS = (0x1F000, 0x1FAFF)  # emoji assigned by later versions of Unicode land here
_TAG_CHARACTERS = (0xE0020, 0xE007E)  # spell the region of a flag, after the black flag
_UNIFORM_BLOCKS = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xD800, 0xF8FF), _HANGUL_SYLLABLES)

# Mathematical and modifier symbols of ASCII are used as punctuation; U+2044 is the slash of NFKC's fractions.
_PUNCTUATION_SYMBOLS = frozenset("+<=>^`|~\u2044")
_ZERO_WIDTH_SPACE = 0x200B  # a word boundary that shows no gap (Thai, Khmer), though a format character


def _in_blocks(code_point: int, blocks: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= code_point <= last for first, last in blocks)


def code_point_class(code_point: int) -> int:
    """Class of one code point, by its general category and, for scripts without spaces, its block."""
    character = chr(code_point)
    category = unicodedata.category(character)
    if character.isspace():
        kind = SPACE
    elif 0xFE00 <= code_point <= 0xFE0F or 0xE0100 <= code_point <= 0xE01EF or 0x180B <= code_point <= 0x180F:
        kind = IGNORED  # variation selectors choose a look, not a meaning
    elif _in_blocks(code_point, _HAN_BLOCKS):
        kind = SINGLE
    elif _in_blocks(code_point, (_TAG_CHARACTERS,)) or category[0] == "M":
        kind = MARK
    elif category[0] == "L" or category == "Nl":
        kind = SINGLE if _in_blocks(code_point, _SPACELESS_BLOCKS) else WORD
    elif category[0] == "N":
        kind = WORD
    elif category == "Cf":
        kind = SEPARATOR if code_point == _ZERO_WIDTH_SPACE else IGNORED
    elif _in_blocks(code_point, (_PICTOGRAPHS,)) or (category[0] == "S" and character not in _PUNCTUATION_SYMBOLS):
        kind = SINGLE
    else:
        kind = SEPARATOR
    return kind


def simple_lower(text: str) -> str:
    """Lower case of each character as one character, whatever stands around it.

    `str.lower` departs from that for two characters only: the capital sigma, which it lowers by its place in the
    word, and U+0130 (capital I with a dot above), which it makes two characters.
    """
    return text.replace("\u03a3", "\u03c3").replace("\u0130", "i").lower()


def _listed_characters() -> list[str]:
    """Assigned characters that need looking at one by one; large uniform blocks are filled in by range."""
    return [
        chr(code_point)
        for code_point in (*range(0x20000), *range(0x2F800, 0x2FA20), *range(0xE0000, 0xE0200))
        if not _in_blocks(code_point, _UNIFORM_BLOCKS)
        and (unicodedata.category(chr(code_point)) != "Cn" or _in_blocks(code_point, (_PICTOGRAPHS,)))
    ]


def _composing_characters(characters: list[str]) -> frozenset[str]:
    """Characters that may compose with what stands before them: all that follow the first in a decomposition."""
    later = {part for character in characters for part in unicodedata.normalize("NFD", character)[1:]}
    # Hangul is composed by arithmetic; the medial and final jamo are the later parts
    return frozenset(later | {chr(jamo) for jamo in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))})


@functools.cache
def code_point_table() -> npt.NDArray[np.uint32]:
    """Packed table over all of Unicode.

    Returns
    -------
    numpy.ndarray
        uint32, shape (1114112,), read-only; the bits are described at the top of this module. It follows the
        Unicode version of the running Python (`unicodedata.unidata_version`): between versions only code points
        that were newly assigned change.
    """
    table = np.arange(sys.maxunicode + 1, dtype=np.uint32)  # class 0 (separator), starter, stable
    for first, last in _HAN_BLOCKS:
        table[first : last + 1] |= SINGLE << CLASS_SHIFT
    table[_HANGUL_SYLLABLES[0] : _HANGUL_SYLLABLES[1] + 1] |= WORD << CLASS_SHIFT

    characters = _listed_characters()
    composing = _composing_characters(characters)
    combining_classes = sorted({0, *map(unicodedata.combining, characters)})
    ranks = {combining_class: rank for rank, combining_class in enumerate(combining_classes)}
    for character in characters:
        normal = unicodedata.normalize("NFKC", character)
        combining_class = unicodedata.combining(character)
        read_as = simple_lower(normal if len(normal) == 1 else character)
        stable = (
            len(normal) == 1
            and unicodedata.normalize("NFKC", read_as) == read_as
            and composing.isdisjoint((character, normal, read_as))
            and unicodedata.combining(read_as) == combining_class
            and (combining_class == 0 or normal == character)  # a mark that is replaced may also move
        )
        table[ord(character)] = (
            ord(read_as)
            | code_point_class(ord(read_as)) << CLASS_SHIFT
            | ranks[combining_class] << RANK_SHIFT
            | (0 if stable else UNSTABLE)
        )
    table.flags.writeable = False
    return table
