"""PinSage and ItemSage of the world, computed as a real system could: from who was saved with whom, and found by what.

No latent vector is read. The counts of the early part of the saves (entities and boards) and of the log (products and
queries) become positive pointwise mutual information, and a truncated singular value decomposition its vectors. What
has no early count has no vector.
"""

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.decomposition import TruncatedSVD
from threadpoolctl import threadpool_limits

from omnifeat.enrich.graph import SMOOTHING, ppmi
from omnifeat.simulator.boards import Saves
from omnifeat.simulator.concepts import FloatArray
from omnifeat.simulator.rates import GRAPH_WIDTH

__all__ = ["Vectors", "graph_vectors", "save_vectors"]

_POWER_ITERATIONS = 3

Vectors = tuple[FloatArray, npt.NDArray[np.bool_]]  # (N, D), and which rows have one


def graph_vectors(
    rows: npt.NDArray[np.integer], columns: npt.NDArray[np.integer], shape: tuple[int, int], seed: int
) -> Vectors:
    """Unit vectors (rows, GRAPH_WIDTH) of the rows of a bipartite graph, and which rows have one.

    `U sqrt(S)` of the decomposition. Only rows with a count take part, so that a million empty ones cost nothing.
    """
    vectors = np.zeros((shape[0], GRAPH_WIDTH), np.float32)
    used, compact = np.unique(rows, return_inverse=True)
    counts = sp.csr_matrix((np.ones(len(rows), np.float64), (compact, columns)), shape=(len(used), shape[1]))
    smoothed = np.asarray(counts.sum(axis=0)).ravel() ** SMOOTHING
    information = ppmi(counts, smoothed / smoothed.sum()).astype(np.float32)
    svd = TruncatedSVD(
        min(GRAPH_WIDTH, *(side - 1 for side in information.shape)), n_iter=_POWER_ITERATIONS, random_state=seed
    )
    # another number of BLAS threads gives other last digits
    with threadpool_limits(limits=1):
        found = svd.fit_transform(information)
    found = found / np.sqrt(np.maximum(svd.singular_values_, 1e-9)).astype(found.dtype)
    norms = np.sqrt(np.einsum("nd,nd->n", found, found))
    there = norms > 1e-6
    vectors[used[there], : found.shape[1]] = found[there] / norms[there, None]
    present = np.zeros(shape[0], np.bool_)
    present[used[there]] = True
    return vectors, present


def save_vectors(saves: Saves, counts: tuple[int, int], boards: int, seed: int) -> tuple[Vectors, Vectors]:
    """PinSage of `counts` pins and products: one graph of both, as boards hold both."""
    rows = saves.entity + np.where(saves.kind == 1, counts[0], 0)
    vectors, present = graph_vectors(rows, saves.board, (sum(counts), boards), seed)
    pins = counts[0]
    return (vectors[:pins], present[:pins]), (vectors[pins:], present[pins:])
