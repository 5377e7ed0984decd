"""The packed table, against `unicodedata` over all of Unicode."""

import unicodedata

import numpy as np
import pyarrow as pa
import reference

from omnifeat.text import normalise
from omnifeat.text.codepoints import (
    CLASS_SHIFT,
    IGNORED,
    LOWER_MASK,
    MARK,
    SEPARATOR,
    SINGLE,
    SPACE,
    UNSTABLE,
    WORD,
    code_point_table,
)

# every plane that is assigned character by character, samples of the ideographs and of the planes in private use
CODE_POINTS = (*range(0xD800), *range(0xE000, 0x20000), *range(0x2F800, 0x2FA20), *range(0xE0000, 0xE0200))
CHARACTERS = [chr(c) for c in (*CODE_POINTS, *range(0x20000, 0x110000, 211))]


def kind(character):
    return int(code_point_table()[ord(character)] >> CLASS_SHIFT & 7)


def test_table_covers_unicode_and_is_read_only():
    table = code_point_table()
    assert table.shape == (0x110000,)
    assert table.dtype == np.uint32
    assert not table.flags.writeable
    assert code_point_table() is table


def test_every_code_point_normalises_as_unicodedata_says():
    got = normalise(pa.array(CHARACTERS)).to_pylist()
    wrong = [c for c, text in zip(CHARACTERS, got, strict=True) if text != reference.normalise(c)]
    assert wrong == []


def test_every_letter_after_a_base_and_before_an_accent_normalises_as_unicodedata_says():
    texts = [f"a{c}\u0301b" for c in CHARACTERS[:0x3200]] + [f"\u1100{c}" for c in CHARACTERS[0x1100:0x1200]]
    got = normalise(pa.array(texts)).to_pylist()
    assert got == [reference.normalise(text) for text in texts]


def test_lower_case_never_grows_by_more_than_the_output_buffer_allows():
    table = code_point_table()
    for character in CHARACTERS:
        read_as = chr(int(table[ord(character)]) & LOWER_MASK)
        assert 2 * len(read_as.encode()) <= 3 * len(character.encode()), hex(ord(character))


def test_stable_code_points_are_normal_forms():
    table = code_point_table()
    stable = [c for c in CHARACTERS if not table[ord(c)] & UNSTABLE]
    assert len(stable) > 100_000
    read_as = [chr(int(table[ord(c)]) & LOWER_MASK) for c in stable]
    assert [reference.normal_form(c) for c in stable] == read_as
    assert all(unicodedata.is_normalized("NFKC", c) for c in read_as)


def test_classes_of_well_known_characters():
    expected = {
        SEPARATOR: ".,-_'’\"/#&+<|~\u0000\u200b\ue000\u30fb\u3002",
        SPACE: " \t\n\u00a0\u2028\u3000\u001f",
        WORD: "aZéß9٣ⅷ각अقשЖ๑",
        SINGLE: "漢々ひカーกລကក👍❤★™€$→\U0001fae8𠮷",
        MARK: "\u0301\u3099\u0e48\u094d\u20e3\U000e0067",
        IGNORED: "\u200d\u200c\ufe0f\u00ad\u200e\u202e\ufeff",
    }
    # ™ becomes "tm" before it is classed, so its own entry is never read as a class
    for wanted, characters in expected.items():
        for character in characters.replace("™", ""):
            assert kind(character) == wanted, (character, hex(ord(character)))
