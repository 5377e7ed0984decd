"""Bags of token ids: one flat array and where each string's ids lie in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omnifeat.compiled import compiled
from omnifeat.errors import SettingError

__all__ = ["TokenBags", "gather_bags"]


@dataclass(frozen=True, eq=False)
class TokenBags:
    """Token ids of n strings, as `torch.nn.EmbeddingBag` takes them.

    Attributes
    ----------
    ids
        int32, (T,): the ids of all strings, one after another; an id stands as often as its token does.
    offsets
        int64, (n + 1,): string i has `ids[offsets[i]:offsets[i + 1]]`.
    """

    ids: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of bags."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Number of ids in each bag, int64 (n,)."""
        return np.diff(self.offsets)

    def take(self, rows: npt.NDArray[np.int64]) -> "TokenBags":
        """Bags at `rows` (int64), in that order; a row may stand several times.

        Raises
        ------
        SettingError
            A row is not that of a bag.
        """
        return gather_bags([(self, rows, np.arange(len(rows), dtype=np.int64))], len(rows))

    @staticmethod
    def concatenate(bags: Sequence["TokenBags"]) -> "TokenBags":
        """All bags one after another; no bags at all make an empty `TokenBags`."""
        starts = np.cumsum([0, *(len(part.ids) for part in bags)])
        offsets = [part.offsets[1:] + start for part, start in zip(bags, starts, strict=False)]
        return TokenBags(
            ids=np.concatenate([np.zeros(0, np.int32), *(part.ids for part in bags)]),
            offsets=np.concatenate([np.zeros(1, np.int64), *offsets]),
        )


@compiled
def _add_lengths(
    offsets: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    owner: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
) -> None:
    for index in range(len(rows)):
        lengths[owner[index]] += offsets[rows[index] + 1] - offsets[rows[index]]


@compiled
def _copy_bags(
    ids: npt.NDArray[np.int32],
    offsets: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    owner: npt.NDArray[np.int64],
    cursor: npt.NDArray[np.int64],
    out: npt.NDArray[np.int32],
) -> None:
    for index in range(len(rows)):
        target = cursor[owner[index]]
        for source in range(offsets[rows[index]], offsets[rows[index] + 1]):
            out[target] = ids[source]
            target += 1
        cursor[owner[index]] = target


def gather_bags(parts: Sequence[tuple[TokenBags, npt.NDArray[np.int64], npt.NDArray[np.int64]]], n: int) -> TokenBags:
    """Join bags of several sources into n new ones.

    Parameters
    ----------
    parts
        Tuples of bags, `rows` (int64, which bags to take) and `owner` (int64, same length: the new bag that each
        taken one goes to). A row may be taken several times, an owner may get none.
    n
        Number of new bags.

    Returns
    -------
    TokenBags
        Bag i holds the taken bags of owner i, in the order of the parts and, within a part, of its rows.

    Raises
    ------
    SettingError
        Rows and owners differ in length, or one of them is out of range.
    """
    checked = []
    for place, (bags, *rows_and_owner) in enumerate(parts):
        rows, owner = (np.ascontiguousarray(values, dtype=np.int64) for values in rows_and_owner)
        if rows.shape != owner.shape:
            raise SettingError(
                f"Part {place} of gather_bags has {rows.size} rows and {owner.size} owners; give one owner per row."
            )
        for name, values, limit in (("row", rows, len(bags)), ("owner", owner, n)):
            if values.size and (values.min() < 0 or values.max() >= limit):
                worst = values.min() if values.min() < 0 else values.max()
                raise SettingError(
                    f"Part {place} of gather_bags has {name} {worst}; it must lie between 0 and {limit - 1}."
                )
        checked.append((bags, rows, owner))

    lengths = np.zeros(n, np.int64)
    for bags, rows, owner in checked:
        _add_lengths(np.ascontiguousarray(bags.offsets), rows, owner, lengths)
    new_offsets = np.zeros(n + 1, np.int64)
    np.cumsum(lengths, out=new_offsets[1:])
    ids = np.empty(new_offsets[-1], np.int32)
    cursor = new_offsets[:-1].copy()
    for bags, rows, owner in checked:
        _copy_bags(np.ascontiguousarray(bags.ids), np.ascontiguousarray(bags.offsets), rows, owner, cursor, ids)
    return TokenBags(ids=ids, offsets=new_offsets)
