"""Counting distinct 64-bit hashes in one pass and bounded memory."""

import numpy as np
import numpy.typing as npt

from omnifeat.compiled import compiled
from omnifeat.errors import SettingError

__all__ = ["HashCounter"]

_FIRST_CAPACITY = 1 << 12


@compiled
def _insert_all(
    keys: npt.NDArray[np.uint64],
    counts: npt.NDArray[np.int64],
    new_keys: npt.NDArray[np.uint64],
    new_counts: npt.NDArray[np.int64],
) -> None:
    """Put distinct keys into an empty open-addressing table (linear probing, capacity a power of two)."""
    mask = np.uint64(len(keys) - 1)
    one = np.uint64(1)
    for index in range(len(new_keys)):
        slot = new_keys[index] & mask
        while counts[slot] != 0:
            slot = (slot + one) & mask
        keys[slot] = new_keys[index]
        counts[slot] = new_counts[index]


@compiled
def _count(
    hashes: npt.NDArray[np.uint64],
    keys: npt.NDArray[np.uint64],
    counts: npt.NDArray[np.int64],
    state: npt.NDArray[np.int64],
) -> int:
    """Count hashes until a new one finds the table full.

    `state` is (distinct, max_tracked), the first updated. Returns how many hashes were counted.
    """
    mask = np.uint64(len(keys) - 1)
    one = np.uint64(1)
    for index in range(len(hashes)):
        key = hashes[index]
        slot = key & mask
        while counts[slot] != 0 and keys[slot] != key:
            slot = (slot + one) & mask
        if counts[slot] == 0:
            if state[0] == state[1]:
                return index
            state[0] += 1
            keys[slot] = key
        counts[slot] += 1
    return len(hashes)


class HashCounter:
    """Counts of the hashes of a stream, exact while at most `max_tracked` are distinct.

    When a further distinct hash arrives, the median m of the counts is taken off every count and those that reach
    zero are forgotten (Misra and Gries' counters, many decrements at once). At least half of the counts lose
    m whole and together they never lose more than the stream's length N. So a reported count is never too high,
    and too low by at most `error <= 2 * N / max_tracked`: every hash that occurs more often than that is reported.
    When this happens depends on the stream alone, not on how it is cut into batches.

    Parameters
    ----------
    max_tracked
        Distinct hashes kept at most; memory is at most 64 bytes for each, and half as much again while growing.

    Attributes
    ----------
    total
        Length of the stream so far.
    error
        How much lower than the truth a count may be; 0 while counts are exact.
    """

    def __init__(self, max_tracked: int) -> None:
        if max_tracked < 1:
            raise SettingError(f"The 'max_tracked' setting must be at least 1. Got {max_tracked} instead.")
        self._keys = np.zeros(_FIRST_CAPACITY, np.uint64)
        self._counts = np.zeros(_FIRST_CAPACITY, np.int64)
        self._state = np.array([0, max_tracked], np.int64)
        self.total = 0
        self.error = 0

    def add(self, hashes: npt.NDArray[np.uint64]) -> None:
        """Count hashes (uint64, any length), in order."""
        self.total += len(hashes)
        while len(hashes):
            self._make_room(len(hashes))
            done = _count(hashes, self._keys, self._counts, self._state)
            hashes = hashes[done:]
            if len(hashes):
                self._prune()

    def items(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        """Hashes (uint64) and their counts (int64), in no order."""
        held = self._counts > 0
        return self._keys[held], self._counts[held]

    def _make_room(self, arriving: int) -> None:
        """Grow so that the table stays at most half full, whatever of the arriving hashes is new."""
        distinct, max_tracked = self._state.tolist()
        needed = 2 * min(distinct + arriving, max_tracked)
        if needed > len(self._keys):
            self._rebuild(*self.items(), capacity=1 << (needed - 1).bit_length())

    def _prune(self) -> None:
        keys, counts = self.items()
        middle = (len(counts) - 1) // 2
        median = int(np.partition(counts, middle)[middle])
        left = counts > median
        self._rebuild(keys[left], counts[left] - median, capacity=len(self._keys))
        self._state[0] = np.count_nonzero(left)
        self.error += median

    def _rebuild(self, keys: npt.NDArray[np.uint64], counts: npt.NDArray[np.int64], capacity: int) -> None:
        self._keys = np.zeros(capacity, np.uint64)
        self._counts = np.zeros(capacity, np.int64)
        _insert_all(self._keys, self._counts, keys, counts)
