"""The score that decides: one number for a query and a candidate, whatever they are computed beside.

The float32 result of a matrix product depends on the order in which the library sums, and that on block sizes, threads
and processor. Ranks must not, so that the score of a query q and a candidate c is defined for the two alone:

    products  q_d * c_d in float64, which hold 48 bits and are exact
    sums      lane j of 8 adds those with d mod 8 = j, in order, in float64
              ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)) of the lanes
    score     that sum rounded to float32, once

It is the true dot product rounded to float32 (but for cases so close to the middle of two float32 numbers that
float64 sums cannot tell): the number that float32 products are approximations of. As the products are exact, it is the
same with and without fused multiply-add.

Shape suffixes: Q queries, N vectors, D dimensions, E pairs of rows.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from omnifeat.compiled import compiled

__all__ = ["exact_scores"]

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]


def exact_scores(queries_QD: Float32, query_rows_E: Int64, vectors_ND: Float32, vector_rows_E: Int64) -> Float32:
    """The scores float32 (E,) of pairs of rows; releases the interpreter lock.

    Parameters
    ----------
    queries_QD, vectors_ND : float32, rows contiguous, finite, of length below 1e18
    query_rows_E, vector_rows_E : int64
    """
    scores_E = np.empty(len(query_rows_E), dtype=np.float32)
    _scores(queries_QD, query_rows_E, vectors_ND, vector_rows_E, scores_E)
    return scores_E


@compiled
def _scores(queries_QD: Any, query_rows_E: Any, vectors_ND: Any, vector_rows_E: Any, scores_E: Any) -> None:
    width = np.uint64(queries_QD.shape[1])
    whole = width - width % np.uint64(8)
    lanes = np.empty(8, dtype=np.float64)
    for pair in range(len(scores_E)):
        query, vector = np.uint64(query_rows_E[pair]), np.uint64(vector_rows_E[pair])
        lanes[:] = 0.0
        # positions are unsigned: of a signed one numba asks at each element whether it counts from the end
        for start in range(np.uint64(0), whole, np.uint64(8)):
            for lane in range(np.uint64(8)):
                at = np.uint64(start) + np.uint64(lane)
                lanes[np.uint64(lane)] += np.float64(queries_QD[query, at]) * np.float64(vectors_ND[vector, at])
        for last in range(whole, width):
            lanes[np.uint64(last) - whole] += np.float64(queries_QD[query, last]) * np.float64(vectors_ND[vector, last])
        scores_E[pair] = ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + (
            (lanes[1] + lanes[5]) + (lanes[3] + lanes[7])
        )
