"""From probabilities to interests: thresholds of nodes, one path or several, and what was decided at each step.

Shapes: Q queries, N nodes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from classifiers.tree import InterestPath, InterestTree
from omnifeat.errors import SettingError

__all__ = ["MIN_SUPPORT", "Step", "accepted_node", "accepted_nodes", "choose_thresholds", "steps"]

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

MIN_SUPPORT = 20  # queries that a threshold of a node's own is chosen from at least
SEVERAL_FROM = 0.5  # of several interests, those at least so probable hold where no thresholds were chosen


@dataclass(frozen=True)
class Step:
    """One interest on a query's most probable path.

    `threshold` is None where none were chosen; `rival` is the most probable of its siblings, None of an only child.
    """

    interest: InterestPath
    probability: float
    threshold: float | None
    accepted: bool
    rival: InterestPath | None
    rival_probability: float


def accepted_node(tree: InterestTree, nodes: FloatArray, best: IntArray, thresholds: FloatArray | None) -> IntArray:
    """The deepest node of each query's path, from the root down, while every node reaches its threshold, int64 (Q,).

    -1 abstains: not even the root's interest reaches it. `best` int64 (Q,) are the ends of the paths.
    """
    if thresholds is None:
        return best
    found = np.full(len(best), -1, dtype=np.int64)
    going = np.ones(len(best), np.bool_)
    for depth in range(tree.depth):
        at = tree.ancestors[best, depth]
        going &= at >= 0
        going[going] = nodes[np.flatnonzero(going), at[going]] >= thresholds[at[going]]
        found[going] = at[going]
    return found


def accepted_nodes(tree: InterestTree, nodes: FloatArray, thresholds: FloatArray | None) -> BoolArray:
    """Every node that reaches its threshold (a half if there are none) with all above it, bool (Q, N)."""
    accepted = nodes >= (SEVERAL_FROM if thresholds is None else thresholds)
    for level in tree.slices[1:]:
        accepted[:, level] &= accepted[:, tree.parents[level]]
    return accepted


def deepest_nodes(tree: InterestTree, accepted: BoolArray) -> BoolArray:
    """Those of the accepted nodes that have no accepted node below them, bool (Q, N)."""
    deepest = accepted.copy()
    for level in tree.slices[1:]:
        rows, columns = np.nonzero(accepted[:, level])
        deepest[rows, tree.parents[level][columns]] = False
    return deepest


def steps(tree: InterestTree, nodes: FloatArray, best: IntArray, thresholds: FloatArray | None) -> list[list[Step]]:
    """What was decided for each query, from the root to the end of its most probable path."""
    told: list[list[Step]] = []
    for row, end in enumerate(best):
        path: list[Step] = []
        going = True
        for node in tree.ancestors[end]:
            if node < 0:
                break
            siblings = tree.children[int(tree.parents[node])]
            shares = nodes[row, siblings].copy()
            shares[node - siblings.start] = -1
            rival = int(shares.argmax())
            threshold = None if thresholds is None else float(thresholds[node])
            going = going and (threshold is None or float(nodes[row, node]) >= threshold)
            only = len(shares) == 1
            path.append(
                Step(
                    tree.nodes[node],
                    float(nodes[row, node]),
                    threshold,
                    going,
                    None if only else tree.nodes[siblings.start + rival],
                    0.0 if only else float(shares[rival]),
                )
            )
        told.append(path)
    return told


def choose_thresholds(
    tree: InterestTree,
    nodes: FloatArray,
    best: IntArray | None,
    truth: sp.csr_matrix,
    precision: float,
    min_support: int = MIN_SUPPORT,
) -> tuple[npt.NDArray[np.float64], BoolArray]:
    """For each node the least threshold at which what is accepted there is right as often as is wanted, float64 (N,).

    From the root down: a node is judged on the development queries that its parent's threshold let through and,
    for one interest a query, whose most probable path runs through the node. A node with fewer of them than
    `min_support` takes the threshold of all such nodes of its level together; also returned, bool (N,), is which did.
    Infinity where no threshold reaches the precision: the node is then never predicted.

    Parameters
    ----------
    nodes
        Probabilities of the development queries, (Q, N).
    best
        The end of each query's most probable path, int64 (Q,); None for several interests a query.
    truth
        Which nodes each has, (Q, N).

    Raises
    ------
    SettingError
        The precision is not above 0 and at most 1, or there are fewer than `min_support` queries.
    """
    if not 0 < precision <= 1:
        raise SettingError(f"The wanted precision must be above 0 and at most 1; got {precision!r}.")
    if len(nodes) < min_support:
        raise SettingError(
            f"Thresholds need at least {min_support} development queries; got {len(nodes)}: give more of them."
        )
    right = truth.toarray() > 0
    thresholds = np.full(len(tree.nodes), np.inf)
    pooled = np.zeros(len(tree.nodes), np.bool_)
    passed = np.ones((len(nodes), len(tree.nodes)), np.bool_)
    for level in tree.slices:
        places = range(level.start, level.stop)
        candidates = np.ones((len(nodes), len(places)), np.bool_)
        if level.start:
            candidates &= passed[:, tree.parents[level]]
        if best is not None:
            candidates &= tree.ancestors[best, tree.levels[level.start]][:, None] == np.arange(level.start, level.stop)
        pool = candidates.sum(axis=0) < min_support
        # Those of few queries answer for themselves, or interests of many would pay for them; where not even one query
        # comes to any of them, the whole level's threshold must do.
        of_pool = candidates & pool if candidates[:, pool].any() else candidates
        together = _least(nodes[:, level][of_pool], right[:, level][of_pool], precision)
        pooled[level] = pool
        for column, node in enumerate(places):
            rows = candidates[:, column]
            thresholds[node] = together if pooled[node] else _least(nodes[rows, node], right[rows, node], precision)
            passed[:, node] = rows & (nodes[:, node] >= thresholds[node])
    return thresholds, pooled


def _least(scores: FloatArray, right: BoolArray, precision: float) -> float:
    """The least score such that at least the wanted share of all with it or more are right; infinity if none is."""
    if not len(scores):
        return float("inf")
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    last_of_equals = np.r_[ranked[1:] != ranked[:-1], True]
    reached = np.flatnonzero((share >= precision) & last_of_equals)
    return float(ranked[reached[-1]]) if len(reached) else float("inf")


def paths_of(tree: InterestTree, nodes: IntArray) -> list[InterestPath]:
    """Paths of nodes; the empty one for -1."""
    paths: Any = (*tree.nodes, ())
    return [paths[node] for node in nodes.tolist()]
