"""How far a quick product may be from the exact score: bounds that are proved, not measured.

A quick product sums q' * c' where q' and c' are q and c in fewer bits. By Cauchy-Schwarz

    |q.c - q'.c'| = |(q - q').c + q'.(c - c')| <= |q - q'| |c| + |q'| |c - c'|

with lengths |q - q'| and |c - c'| that are computed from the vectors, row by row, and not from the worst case. Sums
in float32, in any order, with or without fused multiply-add, add at most D u / (1 - D u) of |q'| |c'| with
u = 2^-24; twice that and more is allowed for, as accelerators cut off what processors round. The exact score is off by
a rounding to float32 itself. What underflows adds at most 2^-125 a component.

Shape suffixes: Q query rows, N candidates of a block, D dimensions.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from omnifeat.compiled import compiled

__all__ = ["MAX_LENGTH", "CoarseBlock", "CoarseQueries", "error_bounds", "extents"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

MAX_LENGTH = 1e18
"""Vectors must be shorter, so that no product overflows float32."""

_UNDERFLOW = 2.0**-125


@dataclass(frozen=True)
class CoarseQueries:
    """All queries in the numbers of a quick product.

    Attributes
    ----------
    values
        (Q, D) in the product's type, multiplied by the scales.
    scales : float64 (Q,)
        Powers of two; a quick product divided by the two scales is near the score.
    lengths, residuals : float64 (Q,)
        Lengths of the queries, and of what the quick numbers leave out.
    """

    values: Any
    scales: Float64
    lengths: Float64
    residuals: Float64


@dataclass(frozen=True)
class CoarseBlock:
    """A block of candidates in the numbers of a quick product; the largest length and residual stand for all rows."""

    values: Any
    rows: int
    width: int
    scale: float
    length: float
    residual: float


def error_bounds(queries: CoarseQueries, block: CoarseBlock, rounding: float) -> Float64:
    """How far, at most, a quick product is from the exact score, float64 (Q,), for any candidate of the block.

    `rounding` is the product's own share of |q'| |c'|: 0 for sums in whole numbers.
    """
    coarse_Q = queries.lengths + queries.residuals
    bounds_Q = queries.residuals * block.length + coarse_Q * block.residual
    bounds_Q += rounding * coarse_Q * (block.length + block.residual)
    # the exact score's rounding to float32 and its float64 sum
    bounds_Q += 2.0**-23 * queries.lengths * block.length
    bounds_Q += block.width * _UNDERFLOW * (1.0 + coarse_Q + block.length + block.residual)
    # the lengths and this sum are rounded themselves
    return bounds_Q * (1.0 + 1e-6)


def extents(vectors_ND: Float32) -> tuple[Float64, Float32]:
    """Length float64 (N,) and largest absolute component float32 (N,) of each row; NaN makes the length NaN."""
    lengths_N, peaks_N = np.empty(len(vectors_ND), np.float64), np.empty(len(vectors_ND), np.float32)
    _extents(vectors_ND, lengths_N, peaks_N)
    return lengths_N, peaks_N


@compiled
def _extents(vectors_ND: Any, lengths_N: Any, peaks_N: Any) -> None:
    lanes = np.empty(8, dtype=np.float64)
    width = np.uint64(vectors_ND.shape[1])
    whole = width - width % np.uint64(8)
    for row in range(np.uint64(vectors_ND.shape[0])):
        lanes[:] = 0.0
        peak = np.float32(0.0)
        for start in range(np.uint64(0), whole, np.uint64(8)):
            for lane in range(np.uint64(8)):
                value = vectors_ND[row, np.uint64(start) + np.uint64(lane)]
                lanes[np.uint64(lane)] += np.float64(value) * np.float64(value)
                peak = max(peak, abs(value))
        for at in range(whole, width):
            value = vectors_ND[row, np.uint64(at)]
            lanes[0] += np.float64(value) * np.float64(value)
            peak = max(peak, abs(value))
        lengths_N[row] = np.sqrt(lanes.sum())
        peaks_N[row] = peak
