"""Texts as word pieces, tokenised once; batches of them are cut by row number.

Shape legend: n texts, B texts of a batch, L word pieces of the longest text of a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnifeat.models.query_tokenizer import QueryTokenizer

__all__ = ["Pieces"]

Rows = NDArray[np.int64]

_TEXTS_AT_ONCE = 8_192
_LEAST_GROUP = 128  # texts; smaller groups of one length would starve the matrix products


@dataclass(frozen=True, eq=False)
class Pieces:
    """Word pieces of n texts.

    Attributes
    ----------
    ids, offsets
        int32 and int64: text i has `ids[offsets[i]:offsets[i + 1]]`.
    padding_id
        What shorter texts of a group are filled up with.
    """

    ids: NDArray[np.int32]
    offsets: Rows
    padding_id: int

    @classmethod
    def prepare(cls, texts: Sequence[str], tokenizer: QueryTokenizer) -> "Pieces":
        """Tokenise the texts, with the tokenizer's normalisation, prefix and length limit."""
        pieces, lengths = [np.zeros(0, np.int32)], [np.zeros(1, np.int64)]
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            sequences = tokenizer.ids(texts[start : start + _TEXTS_AT_ONCE])
            lengths.append(np.fromiter(map(len, sequences), np.int64, len(sequences)))
            pieces.append(np.fromiter((i for sequence in sequences for i in sequence), np.int32, lengths[-1].sum()))
        return cls(np.concatenate(pieces), np.cumsum(np.concatenate(lengths)), tokenizer.padding_id)

    def without(self, chosen: NDArray[np.bool_]) -> "Pieces":
        """The same texts, of which those chosen have no piece."""
        lengths = np.diff(self.offsets)
        kept = np.repeat(~chosen, lengths)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.where(chosen, 0, lengths))])
        return Pieces(self.ids[kept], offsets, self.padding_id)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def lengths(self, rows: Rows) -> Rows:
        """Word pieces of each text."""
        return self.offsets[rows + 1] - self.offsets[rows]

    def padded(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """`input_ids` and `attention_mask` of the rows, int64 (B, L)."""
        lengths_B = self.lengths(rows)
        mask_BL = np.arange(lengths_B.max(initial=1)) < lengths_B[:, None]
        input_ids_BL = np.full(mask_BL.shape, self.padding_id, np.int64)
        before_B = np.cumsum(lengths_B) - lengths_B
        within = np.arange(lengths_B.sum()) - np.repeat(before_B, lengths_B)
        input_ids_BL[mask_BL] = self.ids[np.repeat(self.offsets[rows], lengths_B) + within]
        return torch.from_numpy(input_ids_BL), torch.from_numpy(mask_BL.astype(np.int64))

    def groups(self, rows: Rows, size: int | None = None) -> list[Rows]:
        """Places among `rows`, texts of like length together: a group is padded to its longest only.

        Groups hold `size` texts; a quarter of all, and not too few, if None.
        """
        order = np.argsort(self.lengths(rows), kind="stable")
        each = max(_LEAST_GROUP, -(-len(order) // 4)) if size is None else size
        return [order[start : start + each] for start in range(0, len(order), each)]
