"""Blocks of the published vector, side by side.

Shape legend: B rows, D width of all blocks together.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["joined"]


def joined(blocks: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """Blocks `(B, width)`, each row of unit length or zero, as vectors `(B, D)` of unit length or zero.

    Each block is weighted with the root of its share, so that the cosine of two vectors is the sum of the blocks'
    cosines times their shares (of which only the ratios count). Where a row has nothing for a block, its other blocks
    stand for it.
    """
    if len(blocks) == 1:
        return blocks[0]
    scaled = [block * share**0.5 for block, share in zip(blocks, shares, strict=True)]
    return nn.functional.normalize(torch.cat(scaled, dim=-1), dim=-1)
