"""How often a source of negatives yields an entity: the Q of the logQ correction (section 3.5, equations 4 and 5).

All estimators count a stream of ids while it passes and answer with the logarithm of the relative frequency so far.
Update with a batch first, then ask for it: so no id of the batch has frequency zero.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from omnifeat.errors import SettingError

__all__ = ["CountMinSketch", "ExactCounter", "FrequencyEstimator", "Uncorrected", "UniformFrequency"]

_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))  # multipliers of splitmix64
_GOLDEN = 0x9E3779B97F4A7C15  # its increment: gives each row of the sketch its own hash


class FrequencyEstimator(Protocol):
    """What the trainer needs to know about one stream of ids."""

    def update(self, ids: NDArray[np.int64]) -> None:
        """Count a batch of ids (repeats count)."""

    def log_q(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Natural logarithm of count / total, float32, one per id. An id not yet seen counts as seen once."""

    def state_dict(self) -> dict[str, NDArray[np.int64]]:
        """The state as arrays."""

    def load_state_dict(self, state: dict[str, NDArray[np.int64]]) -> None:
        """Take up a state that `state_dict` gave."""


class ExactCounter:
    """One counter per id; ids are row numbers (non-negative), so memory is 8 bytes x the largest id."""

    def __init__(self) -> None:
        self._counts = np.zeros(0, dtype=np.int64)
        self._total = 0

    def update(self, ids: NDArray[np.int64]) -> None:
        """Count a batch of ids.

        Raises
        ------
        SettingError
            If an id is negative.
        """
        if len(ids) == 0:
            return
        if ids.min() < 0:
            raise SettingError(f"Ids to count must be row numbers from 0. Got {ids.min()} instead.")
        needed = int(ids.max()) + 1
        if needed > len(self._counts):
            grown = np.zeros(max(needed, 2 * len(self._counts)), dtype=np.int64)
            grown[: len(self._counts)] = self._counts
            self._counts = grown
        distinct, counts = np.unique(ids, return_counts=True)
        self._counts[distinct] += counts
        self._total += len(ids)

    def counts(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """How often each id was seen, int64."""
        known = (ids >= 0) & (ids < len(self._counts))
        counts = np.zeros(len(ids), dtype=np.int64)
        counts[known] = self._counts[ids[known]]
        return counts

    def log_q(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Natural logarithm of count / total, float32; an id not yet seen counts as seen once."""
        return _log_frequency(self.counts(ids), self._total)

    def state_dict(self) -> dict[str, NDArray[np.int64]]:
        """The state as arrays."""
        return {"counts": self._counts.copy(), "total": np.array([self._total], dtype=np.int64)}

    def load_state_dict(self, state: dict[str, NDArray[np.int64]]) -> None:
        """Take up a state that `state_dict` gave."""
        self._counts = state["counts"].astype(np.int64, copy=True)
        self._total = int(state["total"][0])


class CountMinSketch:
    """Counters in `depth` rows of `width`, each row with its own hash; an id's count is the least of its counters.

    Never below the true count; above it only where an id shares its counter in every row. Memory is
    8 bytes x depth x width, however many ids there are (the reference implementation of the paper: 2 x 2**26).

    Raises
    ------
    SettingError
        If `width` is not a power of two or `depth` is less than 1.
    """

    def __init__(self, depth: int = 2, width: int = 2**20) -> None:
        if depth < 1:
            raise SettingError(f"The 'depth' parameter of CountMinSketch must be at least 1. Got {depth} instead.")
        if width < 1 or width & (width - 1):
            raise SettingError(f"The 'width' parameter of CountMinSketch must be a power of two. Got {width} instead.")
        self._counts = np.zeros((depth, width), dtype=np.int64)
        self._total = 0

    def _places(self, ids: NDArray[np.int64], row: int) -> NDArray[np.int64]:
        # splitmix64: a bijection of 64 bits that mixes well; wrap-around is meant
        seed = np.uint64((_GOLDEN * (row + 1)) & 0xFFFFFFFFFFFFFFFF)
        mixed = ids.astype(np.int64).view(np.uint64) + seed
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX[0]
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX[1]
        mixed ^= mixed >> np.uint64(31)
        return (mixed & np.uint64(self._counts.shape[1] - 1)).astype(np.int64)

    def update(self, ids: NDArray[np.int64]) -> None:
        """Count a batch of ids; any int64."""
        distinct, counts = np.unique(ids, return_counts=True)
        for row in range(len(self._counts)):
            np.add.at(self._counts[row], self._places(distinct, row), counts)
        self._total += len(ids)

    def counts(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """How often each id was seen, at most too many, int64."""
        return np.stack([self._counts[row][self._places(ids, row)] for row in range(len(self._counts))]).min(axis=0)

    def log_q(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Natural logarithm of count / total, float32; an id not yet seen counts as seen once."""
        return _log_frequency(self.counts(ids), self._total)

    def state_dict(self) -> dict[str, NDArray[np.int64]]:
        """The state as arrays."""
        return {"counts": self._counts.copy(), "total": np.array([self._total], dtype=np.int64)}

    def load_state_dict(self, state: dict[str, NDArray[np.int64]]) -> None:
        """Take up a state that `state_dict` gave.

        Raises
        ------
        SettingError
            If the state is of a sketch of another depth or width.
        """
        if state["counts"].shape != self._counts.shape:
            raise SettingError(
                f"The sketch has shape {self._counts.shape} but the saved one {state['counts'].shape}: "
                "resume with the settings the run was started with."
            )
        self._counts = state["counts"].astype(np.int64, copy=True)
        self._total = int(state["total"][0])


class UniformFrequency:
    """The exact Q of a source that draws uniformly from a catalogue of `size` entities: nothing to estimate.

    Counting such a stream would only add noise: an entity drawn once and one drawn five times would differ by
    log 5 although both are drawn with probability 1 / size.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise SettingError(f"The 'size' parameter of UniformFrequency must be at least 1. Got {size} instead.")
        self._log_q = np.float32(-np.log(size))

    def update(self, ids: NDArray[np.int64]) -> None:
        """Nothing to count."""

    def log_q(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """-log(size) for every id."""
        return np.full(len(ids), self._log_q, dtype=np.float32)

    def state_dict(self) -> dict[str, NDArray[np.int64]]:
        """No state."""
        return {}

    def load_state_dict(self, state: dict[str, NDArray[np.int64]]) -> None:
        """No state."""


def _log_frequency(counts: NDArray[np.int64], total: int) -> NDArray[np.float32]:
    return np.log(np.maximum(counts, 1) / max(total, 1)).astype(np.float32)


class Uncorrected:
    """Says that all ids are equally frequent, whatever the stream: log Q is 0, and the logits stay as they are."""

    def update(self, ids: NDArray[np.int64]) -> None:
        """Count nothing."""

    def log_q(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Zero, float32, one per id."""
        return np.zeros(len(ids), dtype=np.float32)

    def state_dict(self) -> dict[str, NDArray[np.int64]]:
        """No state."""
        return {}

    def load_state_dict(self, state: dict[str, NDArray[np.int64]]) -> None:
        """Take up nothing."""
