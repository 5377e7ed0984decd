"""The k nearest vectors by the exact score, found by a quick product and a bound on its error.

Shape suffixes: Q queries, N vectors, D dimensions, B queries of one block, H hits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omnifeat.search.exact import exact_scores

__all__ = ["Hits", "best_first", "join_hits", "lengths_of", "nearest", "unit_rows"]

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]

_BLOCK_BYTES = 64 * 1024 * 1024
_BLOCK_ROWS = 65_536
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


def join_hits(parts: Sequence[Hits]) -> Hits:
    """Hits of blocks of queries as one; their query rows must be of the whole, and rise."""
    if not parts:
        nothing = np.empty(0, np.int64)
        return Hits(nothing, nothing, nothing, np.empty(0, np.float32))
    columns = ((part.query_rows, part.rows, part.ranks, part.scores) for part in parts)
    query_rows, rows, ranks, scores = (np.concatenate(column) for column in zip(*columns, strict=True))
    return Hits(query_rows, rows, ranks, scores)


def lengths_of(vectors_ND: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Length of each row, float64 (N,); of a row that holds NaN or infinity, a length that is not finite."""
    lengths_N = np.empty(len(vectors_ND))
    for start in range(0, len(vectors_ND), _BLOCK_ROWS):
        block = vectors_ND[start : start + _BLOCK_ROWS].astype(np.float64)
        lengths_N[start : start + _BLOCK_ROWS] = np.sqrt(np.einsum("nd,nd->n", block, block))
    return lengths_N


def unit_rows(
    vectors_ND: npt.NDArray[np.floating], lengths_N: npt.NDArray[np.float64], rows_R: Int64 | None = None
) -> Float32:
    """Rows, or some of them in an order of choice, scaled to length one, contiguous float32; zero rows stay zero."""
    rows = np.arange(len(vectors_ND)) if rows_R is None else rows_R
    units = np.empty((len(rows), vectors_ND.shape[1]), np.float32)
    for start in range(0, len(rows), _BLOCK_ROWS):
        some = rows[start : start + _BLOCK_ROWS]
        lengths = lengths_N[some]
        units[start : start + _BLOCK_ROWS] = vectors_ND[some] / np.where(lengths > 0, lengths, 1.0)[:, None]
    return units


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
    parts = []
    for start in range(0, len(queries_QD), size):
        block_BD = queries_QD[start : start + size]
        products_BN = block_BD @ vectors_ND.T
        if k < count:
            thresholds_B = np.partition(products_BN, count - k, axis=1)[:, count - k] - slack
            query_rows, rows = np.nonzero(products_BN >= thresholds_B[:, None])
        else:
            query_rows, rows = np.indices(products_BN.shape).reshape(2, -1)
        hits = best_first(block_BD, vectors_ND, query_rows, rows, k)
        parts.append(Hits(hits.query_rows + start, hits.rows, hits.ranks, hits.scores))
    return join_hits(parts)


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
