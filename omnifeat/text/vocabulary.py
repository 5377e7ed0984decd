"""One vocabulary: token hashes in id order and the hash table that finds them."""

import numpy as np
import numpy.typing as npt

from omnifeat.compiled import compiled

__all__ = ["Vocabulary", "look_up"]


@compiled
def _fill_slots(hashes: npt.NDArray[np.uint64], slots: npt.NDArray[np.uint64]) -> int:
    """Put (hash, id) rows into empty slots; returns the first id whose hash is zero or stands twice, or -1."""
    mask = np.uint64(len(slots) - 1)
    one = np.uint64(1)
    for index in range(len(hashes)):
        key = hashes[index]
        if key == np.uint64(0):
            return index
        slot = key & mask
        while slots[slot, 0] != np.uint64(0):
            if slots[slot, 0] == key:
                return index
            slot = (slot + one) & mask
        slots[slot, 0] = key
        slots[slot, 1] = np.uint64(index)
    return -1


@compiled
def look_up(
    trigrams: npt.NDArray[np.uint64],
    words: npt.NDArray[np.uint64],
    bigrams: npt.NDArray[np.uint64],
    row_ends: npt.NDArray[np.int64],
    trigram_slots: npt.NDArray[np.uint64],
    word_slots: npt.NDArray[np.uint64],
    bigram_slots: npt.NDArray[np.uint64],
    first_word: int,
    first_bigram: int,
    ids: npt.NDArray[np.int32],
    used: int,
    row_offsets: npt.NDArray[np.int64],
) -> int:
    """Write the ids of hashed strings at `used` of `ids` and where each string ends into `row_offsets`.

    Returns the new `used`. `ids` must have room for every hash.
    """
    one = np.uint64(1)
    for row in range(len(row_ends)):
        for kind in range(3):
            if kind == 0:
                hashes, slots, first_id = trigrams, trigram_slots, 0
            elif kind == 1:
                hashes, slots, first_id = words, word_slots, first_word
            else:
                hashes, slots, first_id = bigrams, bigram_slots, first_bigram
            mask = np.uint64(len(slots) - 1)
            begin = row_ends[row - 1, kind] if row else 0
            for index in range(begin, row_ends[row, kind]):
                key = hashes[index]
                slot = key & mask
                while slots[slot, 0] != np.uint64(0):
                    if slots[slot, 0] == key:
                        ids[used] = first_id + np.int64(slots[slot, 1])
                        used += 1
                        break
                    slot = (slot + one) & mask
        row_offsets[row] = used
    return used


class Vocabulary:
    """Distinct token hashes, the place of each being its id within its kind.

    Attributes
    ----------
    hashes
        uint64, (size,), in id order.
    slots
        uint64, (capacity, 2): open-addressing table of hash and id, at most half full; hash and id lie side by side,
        so a lookup touches one cache line. Hash 0 marks an empty slot.
    """

    def __init__(self, hashes: npt.NDArray[np.uint64]) -> None:
        """Build the table.

        Raises
        ------
        ValueError
            A hash is zero or stands twice.
        """
        self.hashes = np.ascontiguousarray(hashes, dtype=np.uint64)
        self.slots = np.zeros((1 << max(1, 2 * len(hashes) - 1).bit_length(), 2), np.uint64)
        wrong = _fill_slots(self.hashes, self.slots)
        if wrong >= 0:
            raise ValueError(f"token {wrong} has a hash that is zero or that an earlier token has")

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.hashes)

    @classmethod
    def most_frequent(
        cls, hashes: npt.NDArray[np.uint64], counts: npt.NDArray[np.int64], size: int, min_count: int = 1
    ) -> "Vocabulary":
        """Keep the `size` most frequent hashes with at least `min_count`; ties in order of the hash."""
        often = counts >= min_count
        hashes, counts = hashes[often], counts[often]
        if 0 < size < len(counts):
            # drop what can't be kept before sorting: a long tail of rare tokens
            threshold = np.partition(counts, len(counts) - size)[len(counts) - size]
            often = counts >= threshold
            hashes, counts = hashes[often], counts[often]
        return cls(hashes[np.lexsort((hashes, -counts))][:size])
