"""Word and character n-grams as 64-bit hashes, straight from the bytes of Arrow string columns.

The definition, which `docs/text.md` explains and `tests/text/reference.py` restates in plain Python:

- A word is a maximal run of letters, digits and marks; a letter of a script written without spaces, or a symbol such
  as an emoji, is a word of its own, with the marks that follow it. Ignored code points are as if they were not there.
- Tokens of a string: the character trigrams of each word between two boundary marks, the words, and the bigrams of
  neighbouring words (paper 3.4.2).
- A token is known by a 64-bit hash of its code points, which depends on nothing else (no salt, no platform).

All kernels of this file take `data` (uint8, the text), `offsets` (int64, one more than strings) and `table`
(`omnifeat.text.codepoints`). They release the GIL and make no Python object.
"""

import numba
import numpy as np
import numpy.typing as npt

from omnifeat.compiled import compiled
from omnifeat.text.codepoints import (
    CLASS_SHIFT,
    IGNORED,
    LOWER_MASK,
    MARK,
    RANK_SHIFT,
    SEPARATOR,
    SINGLE,
    SPACE,
    UNSTABLE,
    WORD,
)

__all__ = ["BOUNDARY", "hash_strings", "inspect_strings", "read_strings"]

BOUNDARY = 0x1FFFFF  # before and after each word in its trigrams; no code point is as large

_WORD_START = np.uint64(0x9AE16A3B2F90404F)
_WORD_STEP = np.uint64(0x9E3779B97F4A7C15)
_TRIGRAM_SEED = np.uint64(0x243F6A8885A308D3)
_WORD_SEED = np.uint64(0x13198A2E03707344)
_BIGRAM_SEED = np.uint64(0xA4093822299F31D0)
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_BITS_21 = np.uint64(21)
_BITS_32 = np.uint64(32)
_BITS_33 = np.uint64(33)
_BITS_42 = np.uint64(42)


@numba.njit(nogil=True)
def _mix(value):  # type: ignore[no-untyped-def]
    """The 64-bit finaliser of MurmurHash3 (a bijection); 0, which marks empty slots, becomes 1."""
    value = (value ^ (value >> _BITS_33)) * _MIX_1
    value = (value ^ (value >> _BITS_33)) * _MIX_2
    value = value ^ (value >> _BITS_33)
    return np.uint64(1) if value == np.uint64(0) else value


@numba.njit(nogil=True)
def _hash_trigram(first, second, third):  # type: ignore[no-untyped-def]
    """Three code points of 21 bits fill 63 bits, so two trigrams never collide."""
    packed = (np.uint64(first) << _BITS_42) | (np.uint64(second) << _BITS_21) | np.uint64(third)
    return _mix(packed ^ _TRIGRAM_SEED)


@numba.njit(nogil=True)
def _decode(data, position):  # type: ignore[no-untyped-def]
    """Code point at `position` of well-formed UTF-8, and where the next one starts."""
    lead = np.int64(data[position])
    if lead < 0x80:
        return lead, position + 1
    second = np.int64(data[position + 1]) & 0x3F
    if lead < 0xE0:
        return ((lead & 0x1F) << 6) | second, position + 2
    third = np.int64(data[position + 2]) & 0x3F
    if lead < 0xF0:
        return ((lead & 0x0F) << 12) | (second << 6) | third, position + 3
    fourth = np.int64(data[position + 3]) & 0x3F
    return ((lead & 0x07) << 18) | (second << 12) | (third << 6) | fourth, position + 4


@numba.njit(nogil=True)
def _well_formed(data, position, end):  # type: ignore[no-untyped-def]
    """Length in bytes of the well-formed code point at `position`, 0 where there is none (Unicode, table 3-7)."""
    lead = data[position]
    if lead < 0x80:
        return 1
    if lead < 0xC2 or lead > 0xF4:
        return 0
    length = 2 if lead < 0xE0 else (3 if lead < 0xF0 else 4)
    if position + length > end:
        return 0
    lowest = 0xA0 if lead == 0xE0 else (0x90 if lead == 0xF0 else 0x80)
    highest = 0x9F if lead == 0xED else (0x8F if lead == 0xF4 else 0xBF)
    if data[position + 1] < lowest or data[position + 1] > highest:
        return 0
    for index in range(position + 2, position + length):
        if data[index] < 0x80 or data[index] > 0xBF:
            return 0
    return length


@compiled
def inspect_strings(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    table: npt.NDArray[np.uint32],
    unstable: npt.NDArray[np.bool_],
) -> int:
    """Mark in `unstable` (n,) the strings that reading through the table doesn't normalise.

    Returns the first row that is not UTF-8, or -1. Only after it returned -1 may the other kernels run.
    """
    for row in range(len(offsets) - 1):
        position = offsets[row]
        end = offsets[row + 1]
        last_rank = np.int64(0)
        row_unstable = False
        while position < end:
            if data[position] < 0x80:
                position += 1
                last_rank = np.int64(0)
                continue
            length = _well_formed(data, position, end)
            if length == 0:
                return row
            code_point, position = _decode(data, position)
            entry = np.int64(table[code_point])
            rank = (entry >> RANK_SHIFT) & 0x3F
            # marks out of canonical order would be moved by NFKC
            if (entry & UNSTABLE) != 0 or (rank != 0 and rank < last_rank):
                row_unstable = True
            last_rank = rank
        unstable[row] = row_unstable
    return -1


@compiled
def read_strings(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    table: npt.NDArray[np.uint32],
    out: npt.NDArray[np.uint8],
    out_offsets: npt.NDArray[np.int64],
) -> None:
    """Write each string read through the table, white space collapsed to one blank and trimmed.

    `out` must hold one and a half times the bytes of the input: no code point grows by more.
    """
    used = 0
    out_offsets[0] = 0
    for row in range(len(offsets) - 1):
        position = offsets[row]
        end = offsets[row + 1]
        start = used
        space_waits = False
        while position < end:
            code_point, position = _decode(data, position)
            entry = np.int64(table[code_point])
            if ((entry >> CLASS_SHIFT) & 7) == SPACE:
                space_waits = used > start
                continue
            if space_waits:
                out[used] = 0x20
                used += 1
                space_waits = False
            code_point = entry & LOWER_MASK
            if code_point < 0x80:
                out[used] = code_point
                used += 1
            elif code_point < 0x800:
                out[used] = 0xC0 | (code_point >> 6)
                out[used + 1] = 0x80 | (code_point & 0x3F)
                used += 2
            elif code_point < 0x10000:
                out[used] = 0xE0 | (code_point >> 12)
                out[used + 1] = 0x80 | ((code_point >> 6) & 0x3F)
                out[used + 2] = 0x80 | (code_point & 0x3F)
                used += 3
            else:
                out[used] = 0xF0 | (code_point >> 18)
                out[used + 1] = 0x80 | ((code_point >> 12) & 0x3F)
                out[used + 2] = 0x80 | ((code_point >> 6) & 0x3F)
                out[used + 3] = 0x80 | (code_point & 0x3F)
                used += 4
        out_offsets[row + 1] = used


@compiled
def hash_strings(  # noqa: PLR0915 (one loop over the bytes, with its state in registers)
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    first_row: int,
    table: npt.NDArray[np.uint32],
    trigrams: npt.NDArray[np.uint64],
    words: npt.NDArray[np.uint64],
    bigrams: npt.NDArray[np.uint64],
    row_ends: npt.NDArray[np.int64],
) -> int:
    """Hash the tokens of as many strings as the buffers surely hold, from `first_row` on.

    Parameters
    ----------
    trigrams, words, bigrams
        uint64 buffers of one capacity. A string of n bytes has at most n tokens of each kind.
    row_ends
        int64, (rows, 3): where the tokens of each hashed string end in the three buffers.

    Returns
    -------
    int
        Number of strings hashed; 0 where the next one is longer than the buffers.
    """
    capacity = len(trigrams)
    trigram_count = 0
    word_count = 0
    bigram_count = 0
    rows = min(len(offsets) - 1 - first_row, len(row_ends))
    for index in range(rows):
        position = offsets[first_row + index]
        end = offsets[first_row + index + 1]
        if trigram_count + (end - position) > capacity:  # no kind has more tokens than the trigrams
            return index
        in_word = False
        extensible = False  # whether a letter joins the word, or only a mark does
        has_previous = False
        previous = np.uint64(0)
        word = np.uint64(0)
        before = np.int64(BOUNDARY)
        current = np.int64(BOUNDARY)
        while True:
            code_point = np.int64(0)
            kind = np.int64(SEPARATOR)
            at_end = position >= end
            if not at_end:
                code_point, position = _decode(data, position)
                entry = np.int64(table[code_point])
                kind = (entry >> CLASS_SHIFT) & 7
                code_point = entry & LOWER_MASK
                if kind == IGNORED:
                    continue
            joins = kind == MARK or (kind == WORD and extensible)
            if in_word and not joins:
                trigrams[trigram_count] = _hash_trigram(before, current, BOUNDARY)
                trigram_count += 1
                words[word_count] = _mix(word ^ _WORD_SEED)
                word_count += 1
                if has_previous:
                    # the first word's hash is mixed before the second joins: (a, b) and (b, a) differ
                    bigrams[bigram_count] = _mix(_mix(previous ^ _BIGRAM_SEED) * _WORD_STEP + word)
                    bigram_count += 1
                has_previous = True
                previous = word
                in_word = False
            if at_end:
                break
            if kind in (MARK, WORD, SINGLE):
                if in_word:
                    trigrams[trigram_count] = _hash_trigram(before, current, code_point)
                    trigram_count += 1
                    before = current
                else:
                    in_word = True
                    extensible = kind != SINGLE
                    word = _WORD_START
                    before = np.int64(BOUNDARY)
                current = code_point
                word = (word ^ np.uint64(code_point)) * _WORD_STEP
                word ^= word >> _BITS_32
        row_ends[index, 0] = trigram_count
        row_ends[index, 1] = word_count
        row_ends[index, 2] = bigram_count
    return rows
