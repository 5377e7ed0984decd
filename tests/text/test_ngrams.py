"""Tokens and their hashes: golden values, and the kernels against the plain Python reference."""

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
import reference
from awkward_texts import PIECES, texts
from hypothesis import given, settings

from omnifeat.text.codepoints import code_point_table
from omnifeat.text.ngrams import hash_strings
from omnifeat.text.normalise import text_buffers


def kernel_hashes(rows):
    """Per row the hashes of trigrams, words and bigrams, as lists."""
    found = []
    for buffers in text_buffers(pa.array(rows, pa.string())):
        capacity = int(buffers.offsets[-1] - buffers.offsets[0])
        kinds = [np.zeros(capacity, np.uint64) for _ in range(3)]
        ends = np.zeros((len(buffers.offsets) - 1, 3), np.int64)
        done = hash_strings(buffers.data, buffers.offsets, 0, code_point_table(), *kinds, ends)
        assert done == len(ends)
        starts = np.vstack([np.zeros((1, 3), np.int64), ends[:-1]])
        for first, last in zip(starts, ends, strict=True):
            found.append(tuple(kinds[k][first[k] : last[k]].tolist() for k in range(3)))
    return found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Red Shoes", ["red", "shoes"]),
        ("don't stop-me_now", ["don", "t", "stop", "me", "now"]),
        ("Größe 42,5", ["größe", "42", "5"]),
        ("新しい本 abc本", ["新", "し", "い", "本", "abc", "本"]),
        ("か\u3099", ["が"]),
        ("ラーメン", ["ラ", "ー", "メ", "ン"]),
        ("ก่อน", ["ก่", "อ", "น"]),
        ("๑๒๓", ["๑๒๓"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("한국어 텍스트", ["한국어", "텍스트"]),
        ("می\u200cخواهم", ["میخواهم"]),
        ("co\u00adoperate", ["cooperate"]),
        ("שלום עולם", ["שלום", "עולם"]),
        ("love❤️you", ["love", "❤", "you"]),
        ("👨\u200d👩\u200d👧", ["👨", "👩", "👧"]),
        ("👍🏽👍", ["👍", "🏽", "👍"]),
        ("1\ufe0f\u20e3", ["1\u20e3"]),
        ("🏴\U000e0067\U000e0062\U000e007f", ["🏴\U000e0067\U000e0062"]),
        ("$5 €6 c++ a=b", ["$", "5", "€", "6", "c", "a", "b"]),
        ("½ cup", ["1", "2", "cup"]),
        ("a\u0000b\u200bc", ["a", "b", "c"]),
        ("\u0301abc", ["\u0301abc"]),
        (" .,!\u0000", []),
        ("", []),
    ],
)
def test_words_of_a_text(text, words):
    """The reference cuts words as documented, and the kernels hash those words."""
    assert reference.words_of(text) == words
    assert kernel_hashes([text])[0][1] == [reference.word_hash(word) for word in words]


def test_golden_hashes():
    """Saved vocabularies hold these values: if they change, the definition's name must change too.

    The trigrams of "hi" are (^, h, i) and (h, i, $) with 0x1FFFFF for ^ and $, packed as
    0x1FFFFF << 42 | 0x68 << 21 | 0x69 and 0x68 << 42 | 0x69 << 21 | 0x1FFFFF, xor the seed, finalised.
    """
    trigrams, words, bigrams = kernel_hashes(["Hi 日"])[0]
    assert trigrams == GOLDEN_TRIGRAMS
    assert words == GOLDEN_WORDS
    assert bigrams == GOLDEN_BIGRAMS


GOLDEN_TRIGRAMS = [0x98E4C14894452CAB, 0xC1A4C6B81F87C42A, 0x8C55D7D3FF1653D1]  # (^hi) (hi$) (^日$)
GOLDEN_WORDS = [0x2471EE56F6C29753, 0x8DB6316417FDCA50]  # hi, 日
GOLDEN_BIGRAMS = [0xCAC51EA56EDEC567]  # hi 日


def test_the_finaliser_is_that_of_murmur_hash_3():
    # published values of fmix64
    assert reference.mix(1) == 0xB456BCFC34C2CB2C
    assert reference.mix(0xDEADBEEF) == 0xD24BD59F862A1DAC
    assert reference.mix(0) == 1  # 0 marks an empty slot


def test_order_and_kind_tell_tokens_apart():
    (_, (a, b), (ab,)), (_, _, (ba,)) = kernel_hashes(["red shoe", "shoe red"])
    (_, (joined,), _), (trigrams, (single,), _) = kernel_hashes(["redshoe", "日"])
    assert len({a, b, ab, ba, joined, single, *trigrams}) == 7


@settings(deadline=None, max_examples=300)
@given(st.lists(st.none() | texts(), max_size=6))
def test_hashes_equal_the_reference(rows):
    assert kernel_hashes(rows) == [reference.token_hashes(text or "") for text in rows]


def test_hashes_of_all_awkward_pairs_equal_the_reference():
    rows = [first + second for first in PIECES for second in PIECES]
    assert kernel_hashes(rows) == [reference.token_hashes(text) for text in rows]


def test_every_code_point_is_tokenised_as_in_the_reference():
    rows = [f"a{chr(c)}b" for c in (*range(0xD800), *range(0xE000, 0x20000), *range(0x20000, 0x110000, 197))]
    assert kernel_hashes(rows) == [reference.token_hashes(text) for text in rows]


def test_buffers_too_small_stop_before_the_string():
    (buffers,) = text_buffers(pa.array(["abc", "defg", "a"]))
    kinds = [np.zeros(5, np.uint64) for _ in range(3)]
    ends = np.zeros((3, 3), np.int64)
    table = code_point_table()
    assert hash_strings(buffers.data, buffers.offsets, 0, table, *kinds, ends) == 1
    assert ends[0].tolist() == [3, 1, 0]
    assert hash_strings(buffers.data, buffers.offsets, 1, table, *kinds, ends) == 2
    assert ends[:2].tolist() == [[4, 1, 0], [5, 2, 0]]
    assert hash_strings(buffers.data, buffers.offsets, 1, table, *[k[:3] for k in kinds], ends) == 0
