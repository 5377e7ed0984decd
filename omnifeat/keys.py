"""An exact map from text keys to consecutive rows, worked on whole Arrow columns without a Python object per key.

Pairs name their query and entity by text, vectors lie in rows of a matrix. Arrow's `index_in` builds its hash table
anew for each call and pandas' `get_indexer` needs a Python string per pair; this table is built once, keeps the
bytes of the keys, and compares them, so that two keys with one hash are never taken for one another.
"""

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.compiled import compiled
from omnifeat.data.id_texts import id_texts
from omnifeat.errors import DataError

__all__ = ["MAX_KEYS", "DuplicateCheck", "KeyDigest", "KeyIndex", "as_strings", "hash_strings"]

MAX_KEYS = 2**31 - 2
"""Rows are int32, so that 10 M pairs take 80 MB of row numbers and not 160."""

_BLOCK = 256  # keys looked up together
_PARALLEL_FROM = 8_192  # below so many keys a thread costs more than it saves

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
UInt8 = npt.NDArray[np.uint8]
UInt64 = npt.NDArray[np.uint64]


def as_strings(column: pa.Array | pa.ChunkedArray, what: str, first_row: int = 1) -> pa.LargeStringArray:
    """A text column in one large_string array; ids that are numbers become text by the rule of `id_texts`.

    Raises
    ------
    DataError
        If the column is neither text nor whole numbers; `what` names it in the message, and rows count from
        `first_row`.
    """
    return id_texts(column, what, first_row)


def _buffers(strings: pa.LargeStringArray) -> tuple[Int64, UInt8]:
    """Offsets (n + 1,) and bytes behind a large_string array; offsets count from the start of the bytes."""
    _, offset_buffer, data_buffer = strings.buffers()
    if len(strings) == 0 or offset_buffer is None:
        return np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.uint8)
    offsets = np.frombuffer(offset_buffer, dtype=np.int64)[strings.offset : strings.offset + len(strings) + 1]
    data = np.zeros(0, dtype=np.uint8) if data_buffer is None else np.frombuffer(data_buffer, dtype=np.uint8)
    return offsets, data


def _valid(strings: pa.LargeStringArray) -> npt.NDArray[np.bool_]:
    if strings.null_count == 0:
        return np.ones(len(strings), dtype=np.bool_)
    return np.asarray(pc.is_valid(strings).to_numpy(zero_copy_only=False), dtype=np.bool_)


# Positions are unsigned throughout: of a signed one numba asks at each element whether it counts from the end.


@compiled
def _hash(data: Any, start: Any, stop: Any, tag: Any) -> Any:
    """64-bit FNV-1a over the tag and the bytes, then the finaliser of MurmurHash3 to spread it over the low bits."""
    value = np.uint64(0xCBF29CE484222325) ^ np.uint64(tag)
    for position in range(np.uint64(start), np.uint64(stop)):
        value = (value ^ np.uint64(data[position])) * np.uint64(0x100000001B3)
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xFF51AFD7ED558CCD)
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xC4CEB9FE1A85EC53)
    return value ^ (value >> np.uint64(33))


@compiled
def _hash_all(offsets: Any, data: Any, tag: Any, out: Any) -> None:
    for row in range(len(out)):
        out[row] = _hash(data, offsets[row], offsets[row + 1], tag)


def hash_strings(strings: pa.LargeStringArray) -> UInt64:
    """Stable 64-bit hashes of the UTF-8 bytes, the same on every machine and in every run; shape (n,)."""
    offsets, data = _buffers(strings)
    out = np.empty(len(strings), dtype=np.uint64)
    _hash_all(offsets, data, 0, out)
    return out


class KeyDigest:
    """Of key columns, row by row, however they are cut into batches: whether two readings read the same."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)

    def add(self, columns: Sequence[pa.LargeStringArray]) -> None:
        """Add the rows of a batch; null is told apart from empty."""
        parts = [part for column in columns for part in (hash_strings(column), _valid(column).astype(np.uint64))]
        self._hash.update(np.column_stack(parts).tobytes())

    def value(self) -> str:
        """The digest of all rows so far."""
        return self._hash.hexdigest()


# A slot holds the upper half of the hash in its upper 32 bits and the row + 1 in its lower 32; 0 is an empty slot.
# The half hash settles nearly every miss without a look at the key, which lies elsewhere in memory.


@compiled
def _probe(
    value: Any,
    data: Any,
    start: Any,
    length: Any,
    tag: Any,
    slots: Any,
    key_offsets: Any,
    key_data: Any,
    key_tags: Any,
) -> Any:
    """The slot of a key with hash `value`, or the empty slot where it would go."""
    mask = np.uint64(len(slots) - 1)
    one, half, low = np.uint64(1), np.uint64(32), np.uint64(0xFFFFFFFF)
    slot = value & mask
    while slots[slot] != 0:
        if slots[slot] >> half == value >> half:
            candidate = (slots[slot] & low) - one
            key_start = np.uint64(key_offsets[candidate])
            if np.uint64(key_offsets[candidate + one]) - key_start == length and key_tags[candidate] == tag:
                position = np.uint64(0)
                while position < length and key_data[key_start + position] == data[start + position]:
                    position += one
                if position == length:
                    return slot
        slot = (slot + one) & mask
    return slot


@compiled
def _find(
    offsets: Any, data: Any, valid: Any, tags: Any, slots: Any, key_offsets: Any, key_data: Any, key_tags: Any, out: Any
) -> None:
    # Three rounds over a block of keys rather than one over each: slots and keys lie anywhere in memory, and loads that
    # don't wait for one another are made at the same time. The second round only loads. (There is a byte after the last
    # key, so that an empty one has something to load.)
    low, one, mask = np.uint64(0xFFFFFFFF), np.uint64(1), np.uint64(len(slots) - 1)
    values = np.empty(_BLOCK, dtype=np.uint64)
    touched = np.uint64(0)
    for first in range(0, len(out), _BLOCK):
        last = min(first + _BLOCK, len(out))
        for row in range(first, last):
            tag = tags[row] if len(tags) > 0 else np.uint8(0)
            values[row - first] = _hash(data, offsets[row], offsets[row + 1], tag)
        for row in range(first, last):
            candidate = slots[values[row - first] & mask] & low
            if candidate != 0:
                touched += np.uint64(key_data[np.uint64(key_offsets[candidate - one])])
        for row in range(first, last):
            out[row] = -1
            if valid[row]:
                start = np.uint64(offsets[row])
                length = np.uint64(offsets[row + 1]) - start
                tag = tags[row] if len(tags) > 0 else np.uint8(0)
                slot = _probe(values[row - first], data, start, length, tag, slots, key_offsets, key_data, key_tags)
                out[row] = np.int64(slots[slot] & low) - 1
    values[0] = touched  # used, or the compiler would leave the second round out


@compiled
def _insert(
    offsets: Any,
    data: Any,
    valid: Any,
    tags: Any,
    slots: Any,
    key_offsets: Any,
    key_data: Any,
    key_tags: Any,
    count: Any,
    out: Any,
) -> int:
    """Give rows to the keys whose `out` is -1; the caller has made room. Returns the new count."""
    low = np.uint64(0xFFFFFFFF)
    for row in range(len(out)):
        if out[row] >= 0 or not valid[row]:
            continue
        start = np.uint64(offsets[row])
        length = np.uint64(offsets[row + 1]) - start
        tag = tags[row] if len(tags) > 0 else np.uint8(0)
        value = _hash(data, start, start + length, tag)
        slot = _probe(value, data, start, length, tag, slots, key_offsets, key_data, key_tags)
        if slots[slot] == 0:
            key_start = np.uint64(key_offsets[count])
            for position in range(length):
                key_data[key_start + position] = data[start + position]
            key_offsets[count + 1] = key_start + length
            key_tags[count] = tag
            slots[slot] = (value & ~low) | np.uint64(count + 1)
            count += 1
        out[row] = np.int64(slots[slot] & low) - 1
    return count


@compiled
def _rebuild(slots: Any, key_offsets: Any, key_data: Any, key_tags: Any, count: Any) -> None:
    mask = np.uint64(len(slots) - 1)
    low = np.uint64(0xFFFFFFFF)
    for row in range(count):
        value = _hash(key_data, key_offsets[row], key_offsets[row + 1], key_tags[row])
        slot = value & mask
        while slots[slot] != 0:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = (value & ~low) | np.uint64(row + 1)


def _grown(array: npt.NDArray[np.generic], needed: int) -> npt.NDArray[np.generic]:
    if needed <= len(array):
        return array
    larger = np.zeros(max(needed, len(array) + len(array) // 2), dtype=array.dtype)
    larger[: len(array)] = array
    return larger


class KeyIndex:
    """Text keys, each with a small tag, numbered 0, 1, 2, ... in order of first appearance.

    The tag (0..255) tells apart keys of several kinds that may share a text, such as the ids of pins and of products.
    Memory: the bytes of each distinct key, and 25 to 45 bytes beside them.

    Parameters
    ----------
    threads : int
        Threads of `find` and of the looking-up part of `intern`.
    """

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._count = 0
        self._slots: UInt64 = np.zeros(1_024, dtype=np.uint64)
        self._offsets: Int64 = np.zeros(513, dtype=np.int64)
        self._data: UInt8 = np.zeros(16_384, dtype=np.uint8)
        self._tags: UInt8 = np.zeros(512, dtype=np.uint8)

    def __len__(self) -> int:
        return self._count

    def find(self, strings: pa.LargeStringArray, tags: UInt8 | None = None) -> Int32:
        """Rows of the keys, int32 (n,); -1 where a key is null or was never interned."""
        offsets, data = _buffers(strings)
        return self._find(offsets, data, _valid(strings), self._tags_of(strings, tags))

    def intern(self, strings: pa.LargeStringArray, tags: UInt8 | None = None) -> Int32:
        """Rows of the keys, int32 (n,); a new key gets the next row, null gets -1.

        Raises
        ------
        DataError
            If there are more than `MAX_KEYS` distinct keys.
        """
        offsets, data = _buffers(strings)
        valid = _valid(strings)
        tag_of = self._tags_of(strings, tags)
        rows = self._find(offsets, data, valid, tag_of)
        missing = (rows < 0) & valid
        missing_count = int(missing.sum())
        if missing_count == 0:
            return rows
        lengths = offsets[1:] - offsets[:-1]
        self._make_room(self._count + missing_count, int(self._offsets[self._count]) + int(lengths[missing].sum()))
        self._count = int(
            _insert(offsets, data, valid, tag_of, self._slots, self._offsets, self._data, self._tags, self._count, rows)
        )
        return rows

    def strings(self, start: int = 0, stop: int | None = None) -> pa.LargeStringArray:
        """The keys of rows start..stop as text, in row order (copied: the index may grow afterwards)."""
        stop = self._count if stop is None else stop
        first = int(self._offsets[start])
        offsets = self._offsets[start : stop + 1] - first
        data = self._data[first : int(self._offsets[stop])].copy()
        return pa.LargeStringArray.from_buffers(stop - start, pa.py_buffer(offsets), pa.py_buffer(data))

    def take(self, rows: npt.NDArray[np.integer]) -> list[str]:
        """The keys of some rows, as Python strings."""
        offsets, data = self._offsets, self._data
        return [data[offsets[row] : offsets[row + 1]].tobytes().decode("utf-8") for row in rows]

    @property
    def tags(self) -> UInt8:
        """The tag of each row, uint8 (n,)."""
        return self._tags[: self._count]

    def _tags_of(self, strings: pa.LargeStringArray, tags: UInt8 | None) -> UInt8:
        if tags is None:
            return np.zeros(0, dtype=np.uint8)
        assert len(tags) == len(strings)  # noqa: S101  (the caller made both from one batch)
        return tags

    def _find(self, offsets: Int64, data: UInt8, valid: npt.NDArray[np.bool_], tags: UInt8) -> Int32:
        count = len(valid)
        out = np.empty(count, dtype=np.int32)

        def part(start: int, stop: int) -> None:
            _find(
                offsets[start : stop + 1],
                data,
                valid[start:stop],
                tags[start:stop],
                self._slots,
                self._offsets,
                self._data,
                self._tags,
                out[start:stop],
            )

        if self._threads == 1 or count < _PARALLEL_FROM:
            part(0, count)
            return out
        bounds = np.linspace(0, count, self._threads + 1).astype(int).tolist()
        with ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(part, bounds[:-1], bounds[1:]))
        return out

    def _make_room(self, keys: int, bytes_needed: int) -> None:
        """Room for so many keys and bytes in all (an upper bound: keys may repeat within a batch)."""
        if keys > MAX_KEYS:
            raise DataError(f"There are more than {MAX_KEYS:,} distinct keys; split the table and work part by part.")
        self._offsets = _grown(self._offsets, keys + 1)  # type: ignore[assignment]
        self._tags = _grown(self._tags, keys)  # type: ignore[assignment]
        self._data = _grown(self._data, bytes_needed + 1)  # type: ignore[assignment]
        size = len(self._slots)
        while size < 2 * keys:
            size *= 2
        if size != len(self._slots):
            self._slots = np.zeros(size, dtype=np.uint64)
            _rebuild(self._slots, self._offsets, self._data, self._tags, self._count)


class DuplicateCheck:
    """Finds ids that stand in a column twice, in 8 bytes an id.

    Hashes are kept of all ids; only ids whose hashes meet need to be looked at again (`suspects`), so that two ids of
    one hash are not called duplicates.
    """

    def __init__(self) -> None:
        self._hashes: list[UInt64] = []

    def add(self, strings: pa.LargeStringArray) -> None:
        """Note the ids of a batch; null ids are left out."""
        self._hashes.append(hash_strings(strings.drop_null() if strings.null_count else strings))

    def suspects(self) -> UInt64:
        """Hashes that occur more than once, sorted."""
        hashes = np.concatenate(self._hashes) if self._hashes else np.zeros(0, dtype=np.uint64)
        hashes.sort()
        return np.unique(hashes[1:][hashes[1:] == hashes[:-1]])

    @staticmethod
    def first_duplicate(batches: Iterable[pa.LargeStringArray], suspects: UInt64) -> tuple[str, int, int] | None:
        """The first id that occurs twice and its two rows, from 1; None if none does. Looks at the suspects alone."""
        seen: dict[str, int] = {}
        first_row = 1
        for strings in batches:
            hashes = hash_strings(strings)
            position = np.minimum(np.searchsorted(suspects, hashes), len(suspects) - 1)
            for row in np.flatnonzero(suspects[position] == hashes).tolist():
                text = strings[row].as_py()
                if text is None:
                    continue
                if text in seen:
                    return text, seen[text], first_row + row
                seen[text] = first_row + row
            first_row += len(strings)
        return None
