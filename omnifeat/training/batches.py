"""Which pairs and which random negatives stand in which batch.

Everything follows from the seed and the number of the step, so a run that is taken up again goes on with the very
batches that it would have seen, on any number of processes.

Every batch holds pairs of all sets, in shares that follow their weights ("control the influence of each task on the
model through this composition", section 3.5). Each set goes round in its own order, shuffled anew each time: a small
set comes round many times an epoch, a large one less than once, and no epoch ends with one set alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnifeat.errors import DataError
from omnifeat.training.tasks import PairSet

__all__ = ["BatchSampler", "PairBatch", "batch_shares"]

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PairBatch:
    """One set's part of a batch: `queries` and `entities` int64 (B,), `negatives` int64 (N,), rows as in `PairSet`.

    `left_out` is bool (B,): whether the pair's own query is left out of its entity's engaged queries this time; all are
    if None.
    """

    pairs: PairSet
    queries: Rows
    entities: Rows
    negatives: Rows
    left_out: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.queries)


class BatchSampler:
    """Batches by number.

    Parameters
    ----------
    pair_sets
        Sets of pairs, none empty.
    catalogue_sizes
        Entity type -> number of entities that random negatives are drawn from.
    batch_size
        Pairs in a batch; fewer where all sets together have fewer.
    weights
        Set -> weight in the composition; 1 where it isn't named.
    random_negatives
        Random negatives per pair, drawn without repeats; the whole catalogue where that has no more.
    seed
        Decides order, negatives and what is left out.
    own_query_left_out
        Probability with which a pair's own query is left out of its entity's engaged queries.
    """

    def __init__(
        self,
        pair_sets: Sequence[PairSet],
        catalogue_sizes: Mapping[str, int],
        *,
        batch_size: int,
        weights: Mapping[str, float],
        random_negatives: int,
        seed: int,
        own_query_left_out: float = 1.0,
    ) -> None:
        if not pair_sets:
            raise DataError("There is no pair to train on: table 'engagements' has none in its train part.")
        self._pair_sets = list(pair_sets)
        self._catalogue_sizes = dict(catalogue_sizes)
        self._random_negatives = random_negatives
        self._seed = seed
        self._own_query_left_out = own_query_left_out
        self.shares = batch_shares(
            [len(pairs) for pairs in pair_sets], [weights.get(pairs.name, 1.0) for pairs in pair_sets], batch_size
        )
        self._orders: dict[tuple[int, int], Rows] = {}

    @property
    def steps_per_epoch(self) -> int:
        """Batches that together hold as many pairs as there are."""
        return -(-sum(len(pairs) for pairs in self._pair_sets) // sum(self.shares))

    def batch(self, step: int) -> list[PairBatch]:
        """The batch of a step, counted from 0: one part for each set, in the order of the sets."""
        parts = []
        for index, (pairs, share) in enumerate(zip(self._pair_sets, self.shares, strict=True)):
            chosen = self._positions(index, step * share, share)
            size = self._catalogue_sizes[pairs.entity_type]
            wanted = share * self._random_negatives
            if wanted >= size:
                negatives = np.arange(size, dtype=np.int64)
            else:
                generator = np.random.default_rng([self._seed, 1, index, step])
                negatives = generator.choice(size, wanted, replace=False, shuffle=False).astype(np.int64)
            draws = np.random.default_rng([self._seed, 2, index, step]).random(share)
            left_out = draws < self._own_query_left_out
            parts.append(PairBatch(pairs, pairs.queries[chosen], pairs.entities[chosen], negatives, left_out))
        return parts

    def _positions(self, index: int, start: int, count: int) -> Rows:
        """Positions `start` to `start + count` of a set's endless stream of shuffled rounds."""
        size = len(self._pair_sets[index])
        pieces = []
        while count:
            round_number, offset = divmod(start, size)
            piece = self._order(index, round_number)[offset : offset + count]
            pieces.append(piece)
            start, count = start + len(piece), count - len(piece)
        return np.concatenate(pieces)

    def _order(self, index: int, round_number: int) -> Rows:
        key = (index, round_number)
        if key not in self._orders:
            for old in [other for other in self._orders if other[0] == index and other[1] < round_number - 1]:
                del self._orders[old]
            generator = np.random.default_rng([self._seed, 0, index, round_number])
            self._orders[key] = generator.permutation(len(self._pair_sets[index])).astype(np.int64)
        return self._orders[key]


def batch_shares(sizes: Sequence[int], weights: Sequence[float], batch_size: int) -> list[int]:
    """Pairs of each set in a batch: by weight, at least one, and no more than the set has (others then get more)."""
    total = min(max(batch_size, len(sizes)), sum(sizes))
    shares = [0] * len(sizes)
    open_sets = list(range(len(sizes)))
    while open_sets:
        left = total - sum(shares[i] for i in range(len(sizes)) if i not in open_sets)
        exact = {i: left * weights[i] / sum(weights[j] for j in open_sets) for i in open_sets}
        full = [i for i in open_sets if exact[i] >= sizes[i]]
        if not full:
            shares_of_open = _largest_remainders([exact[i] for i in open_sets], left)
            for i, share in zip(open_sets, shares_of_open, strict=True):
                shares[i] = share
            break
        for i in full:
            shares[i] = sizes[i]
            open_sets.remove(i)
    return shares


def _largest_remainders(exact: Sequence[float], total: int) -> list[int]:
    """Whole numbers of at least 1 that add up to `total` and lie near the exact ones."""
    shares = [max(1, int(value)) for value in exact]
    while sum(shares) != total:
        more = sum(shares) < total
        step = 1 if more else -1
        gaps = [
            (value - share) * step if more or share > 1 else -np.inf for value, share in zip(exact, shares, strict=True)
        ]
        shares[int(np.argmax(gaps))] += step
    return shares
