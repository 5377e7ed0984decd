"""A factorisation of the graph of boards: a stand-in for PinSage and ItemSage, for those who have none.

The paper takes both as given. PinSage is a graph network over pins and boards; what stands here is a plain
factorisation of the same graph, documented in full, without features of nodes and without training.

    n(e, b)     saves of entity e to board b, of before the split
    q(b)        = n(b)^0.75 / sum over boards of n(b')^0.75, the boards' smoothed share (n(b): saves to the board)
    PPMI(e, b)  = max(0, ln( (n(e, b) / n(e)) / q(b) ))
    PPMI ~ U S V'  (truncated SVD of the given width, over the entities that are fitted)
    board(b)    = V[b] / sqrt(S)
    entity(e)   = sum over e's boards of PPMI(e, b) * board(b), scaled to unit length

For a fitted entity that sum is its row of U * sqrt(S), the symmetric factorisation. The same sum places entities that
were not fitted, because they have too few saves, are beyond the sample that is fitted, or came later: **a new entity is
placed by its boards.** With the board vectors of an earlier run nothing is fitted, so that old vectors stay what
they were. Pins and products are in one graph and one space.

Entities without a board, or with none that tells anything (all PPMI zero), have no vector.

Shapes: N entities, B boards, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse as sp

from omnifeat.errors import SettingError

__all__ = ["SMOOTHING", "BoardVectors", "entity_vectors", "fit_boards", "ppmi"]

SMOOTHING = 0.75

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BoardVectors:
    """What places an entity: `ids` (B,), their `shares` q(b) float64 (B,) and `vectors` V / sqrt(S) float32 (B, D)."""

    ids: pa.Array
    shares: Float64
    vectors: Float32


def ppmi(counts_NB: Any, shares_B: Float64) -> Any:
    """Positive pointwise mutual information of a sparse matrix of saves.

    Parameters
    ----------
    counts_NB
        scipy CSR (N, B) of numbers of saves.
    shares_B
        The boards' smoothed shares q(b).

    Returns
    -------
    scipy CSR float64 (N, B), without stored zeros.
    """
    counts = sp.csr_matrix(counts_NB, dtype=np.float64)
    per_entity = np.asarray(counts.sum(axis=1)).ravel()
    rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    data = np.log(counts.data / per_entity[rows] / shares_B[counts.indices])
    # a copy: what is put right in place below must not reach the caller's matrix
    result = sp.csr_matrix((np.maximum(data, 0.0), counts.indices, counts.indptr), shape=counts.shape, copy=True)
    result.eliminate_zeros()
    return result


def fit_boards(counts_NB: Any, board_ids: pa.Array, totals_B: Float64, *, width: int, seed: int) -> BoardVectors:
    """Factorise the graph.

    Parameters
    ----------
    counts_NB
        Saves of the entities that are fitted.
    totals_B
        Saves to each board n(b), of whatever entities; at least 1.

    Raises
    ------
    SettingError
        The width is not less than the number of boards or of entities with boards.
    """
    from sklearn.decomposition import TruncatedSVD

    shares = totals_B**SMOOTHING
    shares = shares / shares.sum()
    matrix = ppmi(counts_NB, shares)
    most = min(matrix.shape) - 1
    if width > most:
        help_ = f"give at most {most}" if most > 0 else "no width is small enough, it takes two of each"
        raise SettingError(
            f"The width {width} is too large for a graph of {matrix.shape[0]:,} fitted entities and "
            f"{matrix.shape[1]:,} boards: {help_}."
        )
    svd = TruncatedSVD(n_components=width, algorithm="randomized", n_iter=7, random_state=seed)
    svd.fit(matrix)
    scale = np.sqrt(np.maximum(svd.singular_values_, 1e-12))
    # a direction that the graph does not have would only add noise, however it is scaled
    scale[svd.singular_values_ < 1e-9 * max(float(svd.singular_values_[0]), 1e-12)] = np.inf
    return BoardVectors(board_ids, shares, (svd.components_.T / scale).astype(np.float32))


def entity_vectors(counts_NB: Any, boards: BoardVectors) -> Float32:
    """Vectors float32 (N, D) of unit length by the boards of each entity; zero where they tell nothing."""
    vectors = np.asarray(ppmi(counts_NB, boards.shares) @ boards.vectors.astype(np.float64))
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 1e-12).astype(np.float32)
