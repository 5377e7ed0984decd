"""The k nearest vectors by the exact score, found by a quick product and a bound on its error.

Shape suffixes: Q queries, N vectors, D dimensions, B queries of one block, H hits.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omnifeat.search.exact import exact_scores

__all__ = ["Hits", "best_first", "nearest", "unit_rows"]

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]

_BLOCK_BYTES = 64 * 1024 * 1024
_ROUNDING = 2.0**-24  # of float32


@dataclass(frozen=True)
class Hits:
    """What a search found: one entry (H,) a hit, query by query, the best first. Empty places have no entry.

    Attributes
    ----------
    query_rows : int64 (H,)
        Row of the query, rising.
    rows : int64 (H,)
        Row of the entity in the index.
    ranks : int64 (H,)
        From 1.
    scores : float32 (H,)
        Cosine of the query and the entity.
    """

    query_rows: Int64
    rows: Int64
    ranks: Int64
    scores: Float32


def unit_rows(vectors_ND: npt.NDArray[np.floating]) -> tuple[Float32, npt.NDArray[np.bool_]]:
    """The rows scaled to length one, float32 (N, D), and whether each has a length at all (N,); zero stays zero."""
    lengths_N = np.linalg.norm(vectors_ND.astype(np.float64), axis=1)
    known_N = lengths_N > 0
    scaled = np.divide(vectors_ND, lengths_N[:, None], out=np.zeros(vectors_ND.shape), where=known_N[:, None])
    return np.ascontiguousarray(scaled, dtype=np.float32), known_N


def nearest(queries_QD: Float32, vectors_ND: Float32, k: int, block_bytes: int = _BLOCK_BYTES) -> Hits:
    """The min(k, N) nearest of each query by (-score, row), with the score of `omnifeat.search.exact`.

    A product in float32 of two vectors of length one is off by at most b = (D + 2) 2^-24 (twice that is allowed for
    here), and differs with blocks, threads and processor. With t the k-th largest product, at least k vectors have a
    score of t - b or more, so that all of the k nearest, ties included, have a product of t - 2 b or more. Those are
    scored exactly: the result depends on the vectors alone.

    Parameters
    ----------
    queries_QD, vectors_ND : float32, contiguous rows of length one
    """
    count = len(vectors_ND)
    slack = np.float32(2 * 2 * (vectors_ND.shape[1] + 2) * _ROUNDING)
    size = max(1, block_bytes // max(1, 4 * count))
    queries_found, rows_found = [], []
    for start in range(0, len(queries_QD), size):
        products_BN = queries_QD[start : start + size] @ vectors_ND.T
        if k < count:
            thresholds_B = np.partition(products_BN, count - k, axis=1)[:, count - k] - slack
            found = np.nonzero(products_BN >= thresholds_B[:, None])
        else:
            found = tuple(np.indices(products_BN.shape).reshape(2, -1))
        queries_found.append(found[0] + start)
        rows_found.append(found[1])
    nothing = [np.empty(0, np.int64)]
    return best_first(
        queries_QD, vectors_ND, np.concatenate(queries_found or nothing), np.concatenate(rows_found or nothing), k
    )


def best_first(queries_QD: Float32, vectors_ND: Float32, query_rows: Int64, rows: Int64, k: int) -> Hits:
    """The k best of each query's candidates by (-score, row); candidates are pairs of rows (C,), each pair once."""
    query_rows, rows = query_rows.astype(np.int64), rows.astype(np.int64)
    scores = exact_scores(queries_QD, query_rows, vectors_ND, rows)
    order = np.lexsort((rows, -scores, query_rows))
    query_rows, rows, scores = query_rows[order], rows[order], scores[order]
    counts = np.bincount(query_rows, minlength=len(queries_QD))
    ranks = np.arange(1, len(rows) + 1) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = ranks <= k
    return Hits(query_rows[kept], rows[kept], ranks[kept], scores[kept])
