"""Count, in a block of quick scores, what is certainly before a positive, and find what must be decided again.

Shape suffixes: Q rows of scores, N candidates of a block, P pairs (several may share a row of scores), E found entries.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from omnifeat.compiled import compiled

__all__ = ["Found", "count_block", "count_on_device", "order_bfloat16"]

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]


class Found:
    """Entries (pair, candidate) to be decided again; grows as needed."""

    def __init__(self, room: int = 4096) -> None:
        self.pairs: Int32 = np.empty(room, np.int32)
        self.candidates: Int32 = np.empty(room, np.int32)
        self.used = 0

    def grow(self) -> None:
        """Double the room."""
        for name in ("pairs", "candidates"):
            old = getattr(self, name)
            new = np.empty(2 * len(old), np.int32)
            new[: self.used] = old[: self.used]
            setattr(self, name, new)

    def entries(self) -> tuple[Int64, Int64]:
        """Pairs and candidates int64 (E,)."""
        return self.pairs[: self.used].astype(np.int64), self.candidates[: self.used].astype(np.int64)


def count_block(
    scores_QN: npt.NDArray[Any],
    rows_P: Int64,
    above_P: npt.NDArray[Any],
    below_P: npt.NDArray[Any],
    certain_P: Int64,
    found: Found,
    first_candidate: int = 0,
    width: int | None = None,
) -> None:
    """Add to `certain_P` the scores above `above`, and to `found` those from `below` to `above`; without the GIL.

    Parameters
    ----------
    scores_QN : int16, int32 or float32; N below 2^31
    rows_P : int64 (P,), the row of scores of each pair
    above_P, below_P : of the scores' type
    certain_P : int64 (P,), added to
    first_candidate : what column 0 is called in `found`
    width : how many columns of the table hold scores; all if None
    """
    pair = 0
    columns = scores_QN.shape[1] if width is None else width
    while pair < len(rows_P):
        pair, found.used = _count(
            scores_QN, columns, rows_P, above_P, below_P, certain_P, pair, found.pairs, found.candidates, found.used,
            first_candidate,
        )  # fmt: skip
        if pair < len(rows_P):
            found.grow()


@compiled
def _count(
    scores_QN: Any, width: int, rows_P: Any, above_P: Any, below_P: Any, certain_P: Any, first_pair: int,
    found_pairs: Any, found_candidates: Any, used: int, first_candidate: int,
) -> Any:  # fmt: skip
    """The first pair that was not counted, as there is no room for what must be decided again, and the room used."""
    for pair in range(first_pair, len(rows_P)):
        row, above, below = rows_P[pair], above_P[pair], below_P[pair]
        certain, likely = np.int32(0), np.int32(0)
        for column in range(width):
            certain = np.int32(certain + np.int32(scores_QN[row, column] > above))
            likely = np.int32(likely + np.int32(scores_QN[row, column] >= below))
        if likely > certain:
            if used + likely - certain > len(found_pairs):
                return pair, used
            for column in range(width):
                if scores_QN[row, column] >= below and not scores_QN[row, column] > above:
                    found_pairs[used] = pair
                    found_candidates[used] = first_candidate + column
                    used += 1
        certain_P[pair] += certain
    return len(rows_P), used


def count_on_device(
    scores_QN: torch.Tensor, rows_P: torch.Tensor, above_P: torch.Tensor, below_P: torch.Tensor, pair_block: int = 512
) -> tuple[Int64, Int64, Int64]:
    """What `count_block` does, where the scores are: certain int64 (P,), and found pairs and candidates int64 (E,)."""
    certain, pairs, candidates = [], [], []
    for start in range(0, len(rows_P), pair_block):
        part = slice(start, start + pair_block)
        scores_PN = scores_QN[rows_P[part]]
        above = scores_PN > above_P[part, None]
        certain.append(above.sum(dim=1))
        near = torch.nonzero((scores_PN >= below_P[part, None]) & ~above)
        pairs.append(near[:, 0] + start)
        candidates.append(near[:, 1])
    if not certain:
        nothing = np.empty(0, np.int64)
        return nothing, nothing, nothing
    return torch.cat(certain).cpu().numpy(), torch.cat(pairs).cpu().numpy(), torch.cat(candidates).cpu().numpy()


def order_bfloat16(bits: npt.NDArray[np.int16]) -> None:
    """Turn the bits of bfloat16 numbers, in place, into int16 numbers of the same order (-0 just below +0)."""
    _order(bits.reshape(-1))


@compiled
def _order(bits: Any) -> None:
    for place in range(len(bits)):
        bits[place] ^= np.int16((bits[place] >> 15) & 0x7FFF)
