"""Paths of interests as arrays: the nodes of a tree, and which of them each query has.

Shapes: Q queries, N nodes, L levels.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from classifiers.taxonomy import Taxonomy
from omnifeat.data.text_lists import is_unicode, refuse_tables
from omnifeat.errors import DataError

__all__ = ["InterestPath", "InterestTree", "Memberships", "read_labels"]

InterestPath = tuple[str, ...]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class InterestTree:
    """Interests, level by level from the roots and by path within a level, so that siblings lie side by side.

    `ends` bool (N,) marks the nodes at which a query's path may end: all leaves, and those in the middle at which
    paths of the training queries ended.
    """

    nodes: tuple[InterestPath, ...]
    ends: npt.NDArray[np.bool_]

    @classmethod
    def of_paths(cls, paths: Iterable[InterestPath]) -> "InterestTree":
        """The tree of all paths that queries end with."""
        last = set(paths)
        nodes = sorted({path[:depth] for path in last for depth in range(1, len(path) + 1)}, key=lambda p: (len(p), p))
        return cls(tuple(nodes), np.array([node in last for node in nodes], dtype=np.bool_))

    @cached_property
    def place(self) -> dict[InterestPath, int]:
        """Index of each node by its path."""
        return {node: index for index, node in enumerate(self.nodes)}

    @cached_property
    def parents(self) -> IntArray:
        """Index of each node's parent, -1 at the roots, int64 (N,)."""
        return np.array([self.place[node[:-1]] if len(node) > 1 else -1 for node in self.nodes], dtype=np.int64)

    @cached_property
    def levels(self) -> IntArray:
        """Level of each node, 0 at the roots, int64 (N,)."""
        return np.array([len(node) - 1 for node in self.nodes], dtype=np.int64)

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """The nodes of each level."""
        starts = np.searchsorted(self.levels, np.arange(self.depth + 1))
        return tuple(slice(int(one), int(two)) for one, two in pairwise(starts))

    @property
    def depth(self) -> int:
        """Number of levels."""
        return int(self.levels[-1]) + 1

    @cached_property
    def children(self) -> dict[int, slice]:
        """The nodes right below each node that has any; those at the root under -1."""
        starts = np.flatnonzero(np.r_[True, self.parents[1:] != self.parents[:-1]])
        stops = np.r_[starts[1:], len(self.parents)]
        return {int(self.parents[one]): slice(int(one), int(two)) for one, two in zip(starts, stops, strict=True)}

    @cached_property
    def ancestors(self) -> IntArray:
        """The node at each level of each node's path, itself included, -1 below it; int64 (N, L)."""
        found = np.full((len(self.nodes), self.depth), -1, dtype=np.int64)
        for node, (parent, level) in enumerate(zip(self.parents, self.levels, strict=True)):
            if parent >= 0:
                found[node] = found[parent]
            found[node, level] = node
        return found


@dataclass(frozen=True)
class Memberships:
    """Which nodes each query has: CSR arrays of the nodes at which its paths end.

    `starts` int64 (Q + 1,), `nodes` int64 (paths in all,), each query's rising.
    """

    starts: IntArray
    nodes: IntArray

    @property
    def several(self) -> bool:
        """Whether any query has more than one path."""
        return len(self.nodes) > len(self.starts) - 1

    @property
    def first(self) -> IntArray:
        """Each query's first end, int64 (Q,)."""
        return self.nodes[self.starts[:-1]]

    def rows(self, order: IntArray) -> "Memberships":
        """Those of some queries, in this order."""
        counts = np.diff(self.starts)[order]
        starts = np.r_[0, np.cumsum(counts)]
        within = np.arange(starts[-1]) - np.repeat(starts[:-1], counts)
        return Memberships(starts, self.nodes[np.repeat(self.starts[:-1][order], counts) + within])

    def closed(self, tree: InterestTree) -> sp.csr_matrix:
        """Every node that a query has, ancestors filled in: 0 or 1, (Q, N)."""
        above = tree.ancestors[self.nodes]
        query = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        there = above >= 0
        rows = np.repeat(query, there.sum(axis=1))
        shape = (len(self.starts) - 1, len(tree.nodes))
        found = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, above[there])), shape=shape)
        found.data[:] = 1  # what two paths of a query share was added up
        found.sort_indices()
        return found


def read_labels(
    labels: Sequence[Any], rows: int, taxonomy: Taxonomy | None
) -> tuple[list[tuple[InterestPath, ...]], list[InterestPath]]:
    """The paths of each query without those that others of them pass through, and the distinct paths, sorted.

    A query's label is a path (a tuple or list of names), an interest's id (text, with a taxonomy), or a list, tuple or
    set of these.

    Raises
    ------
    DataError
        There are more or fewer labels than rows; a label is none of these; an interest is not in the taxonomy.
    """
    refuse_tables(labels, "labels")
    if not hasattr(labels, "__len__"):
        raise DataError(f"Labels must be a list, one path for each of the {rows} embeddings; got {labels!r}.")
    if len(labels) != rows:
        raise DataError(f"There must be one path for each of the {rows} embeddings; got {len(labels)}.")
    known: dict[Any, InterestPath] = {}
    read: dict[Any, tuple[InterestPath, ...]] = {}
    checked: list[tuple[InterestPath, ...]] = []
    for row, label in enumerate(labels, start=1):
        key = _hashable(label)
        if key is None or key not in read:
            found = _deepest([_path(one, row, taxonomy, known) for one in _several(label, row, taxonomy)])
            if key is None:
                checked.append(found)
                continue
            read[key] = found
        checked.append(read[key])
    return checked, sorted({path for paths in checked for path in paths})


def memberships(paths: Sequence[Sequence[InterestPath]], tree: InterestTree) -> Memberships:
    """The ends of each query's paths as places in the tree."""
    starts = np.r_[0, np.cumsum([len(of_query) for of_query in paths], dtype=np.int64)]
    nodes = np.array([place for of_query in paths for place in sorted(tree.place[path] for path in of_query)], np.int64)
    return Memberships(starts.astype(np.int64), nodes)


def _hashable(label: Any) -> Any:
    """The label itself where equal labels can be looked up, else None."""
    if isinstance(label, str | tuple):
        try:
            hash(label)
        except TypeError:
            return None
        return label
    return None


def _several(label: Any, row: int, taxonomy: Taxonomy | None) -> list[Any]:
    if isinstance(label, str):
        return [label]
    if not isinstance(label, list | tuple | set | frozenset) or not label:
        raise _no_path(label, row, taxonomy)
    if all(isinstance(name, str) for name in label) and not isinstance(label, set | frozenset):
        # A list may also be of ids. Where ids make up a path both readings mean its last one.
        if isinstance(label, list) and taxonomy is not None and all(name in taxonomy.parents for name in label):
            return label
        return [tuple(label)]
    return list(label)


def _path(one: Any, row: int, taxonomy: Taxonomy | None, known: dict[Any, InterestPath]) -> InterestPath:
    key = tuple(one) if isinstance(one, list | tuple) else one
    if isinstance(key, str | tuple) and key in known:
        return known[key]
    if isinstance(key, str) and taxonomy is not None:
        found = taxonomy.path(key)
    elif isinstance(key, tuple) and key and all(isinstance(name, str) and name and is_unicode(name) for name in key):
        found = key
        if taxonomy is not None and (key[-1] not in taxonomy.parents or taxonomy.path(key[-1]) != key):
            raise DataError(
                f"The path {' > '.join(key)!r} of row {row} is not in the taxonomy; add it there or correct the label."
            )
    else:
        raise _no_path(one, row, taxonomy)
    known[key] = found
    return found


def _no_path(label: Any, row: int, taxonomy: Taxonomy | None) -> DataError:
    ids = "an interest's id, " if taxonomy is not None else ""
    return DataError(
        f"The path of row {row} must be {ids}a tuple of names from the root, such as ('animals', 'birds'), "
        f"or a list of these; got {label!r}."
    )


def _deepest(paths: Sequence[InterestPath]) -> tuple[InterestPath, ...]:
    chosen = set(paths)
    if len(chosen) == 1:
        return (paths[0],)
    passed = {path[:depth] for path in chosen for depth in range(1, len(path))}
    return tuple(sorted(chosen - passed))
