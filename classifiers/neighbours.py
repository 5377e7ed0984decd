"""Training queries near a query: what a classifier's answer can be held against."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from classifiers.tree import InterestPath, InterestTree, Memberships

__all__ = ["KeptExamples", "Neighbour", "keep_examples"]


@dataclass(frozen=True)
class Neighbour:
    """A training query: its row in `fit`, its text if known, its interests, and the cosine to the query asked for."""

    row: int
    query: str | None
    paths: tuple[InterestPath, ...]
    cosine: float


@dataclass(frozen=True)
class KeptExamples:
    """Some training queries of each end: unit vectors float32 (E, D), rows int64 (E,), what they have, their texts."""

    vectors: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int64]
    has: Memberships
    queries: tuple[str, ...] | None

    def nearest(self, tree: InterestTree, embeddings: npt.NDArray[np.floating], k: int) -> list[list[Neighbour]]:
        """The k of highest cosine for each query, nearest first; of equals the one of the lower row."""
        found: list[list[Neighbour]] = []
        for start in range(0, len(embeddings), 1024):
            cosines = _unit(embeddings[start : start + 1024]) @ self.vectors.T
            for row in cosines:
                order = np.lexsort((self.rows, -row))[:k]
                found.append([self._neighbour(tree, int(place), float(row[place])) for place in order])
        return found

    def _neighbour(self, tree: InterestTree, place: int, cosine: float) -> Neighbour:
        ends = self.has.nodes[self.has.starts[place] : self.has.starts[place + 1]]
        query = None if self.queries is None else self.queries[place]
        return Neighbour(int(self.rows[place]), query, tuple(tree.nodes[end] for end in ends), cosine)


def keep_examples(
    embeddings: npt.NDArray[np.floating],
    has: Memberships,
    order: npt.NDArray[np.int64],
    most: int,
    queries: list[str] | None,
) -> KeptExamples:
    """The first `most` queries of each end in an order of the rows (by their hash: as good as by chance)."""
    ends = has.first[order]
    by_end = np.argsort(ends, kind="stable")
    firsts = np.flatnonzero(np.r_[True, np.diff(ends[by_end]) != 0])
    rank = np.arange(len(by_end)) - np.repeat(firsts, np.diff(np.r_[firsts, len(by_end)]))
    rows = np.sort(order[by_end[rank < most]])
    texts = None if queries is None else tuple(queries[row] for row in rows)
    return KeptExamples(_unit(embeddings[rows]), rows, has.rows(rows), texts)


def _unit(embeddings: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return (embeddings / np.where(norms > 0, norms, 1)).astype(np.float32)
