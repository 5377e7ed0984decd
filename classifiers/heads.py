"""From linear scores to probabilities of the nodes of a tree, in the two ways and for one or several interests.

- **levels, one interest**: at each node a softmax among its children, and "no deeper" where queries end there. A node
  has that times its parent's probability.
- **levels, several**: at each node a sigmoid for each child, learnt on the queries that have the node. A node has that
  times its parent's.
- **global, one**: a softmax over all places where a path may end. A node has the sum of those at and below it.
- **global, several**: a sigmoid for each node, ancestors filled in. A node has the least of its own and its parent's.

In each a node has at most its parent's probability, and a row's probabilities come from that row alone.

Shapes: Q queries, D width, N nodes, K outputs.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from classifiers.regression import CERTAIN, TOLERANCE, Problem, solve
from classifiers.tree import InterestTree, Memberships

__all__ = ["HEADS", "Head", "HeadName", "Outputs", "fit_head"]

HeadName = Literal["levels", "global"]
HEADS: tuple[HeadName, ...] = ("levels", "global")
FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Outputs:
    """What each of the K scores is about.

    `nodes` int64 (K,): the node that the score is for. `stops` bool (K,): it is for queries that go no deeper than
    the node. `groups` int64 (G + 1,): bounds of the scores that one softmax holds.
    """

    nodes: IntArray
    stops: npt.NDArray[np.bool_]
    groups: IntArray

    @classmethod
    def of(cls, tree: InterestTree, head: HeadName, several: bool) -> "Outputs":
        """The scores that a head has for a tree."""
        count = len(tree.nodes)
        if several:
            nodes = np.arange(count, dtype=np.int64)
            return cls(nodes, np.zeros(count, np.bool_), np.arange(count + 1, dtype=np.int64))
        if head == "global":
            nodes = np.flatnonzero(tree.ends).astype(np.int64)
            return cls(nodes, np.ones(len(nodes), np.bool_), np.array([0, len(nodes)], np.int64))
        places: list[int] = []
        stops: list[bool] = []
        bounds = [0]
        for parent in sorted(tree.children):
            children = tree.children[parent]
            places += range(children.start, children.stop)
            stops += [False] * (children.stop - children.start)
            if parent >= 0 and tree.ends[parent]:
                places.append(parent)
                stops.append(True)
            bounds.append(len(places))
        return cls(np.array(places, np.int64), np.array(stops, np.bool_), np.array(bounds, np.int64))


@dataclass(frozen=True)
class Head:
    """A fitted head: `weights` float32 (K, D) and `intercepts` float32 (K,) of embeddings less `mean` float32 (D,)."""

    tree: InterestTree
    name: HeadName
    several: bool
    mean: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    intercepts: npt.NDArray[np.float32]

    @cached_property
    def outputs(self) -> Outputs:
        """What each score is about."""
        return Outputs.of(self.tree, self.name, self.several)

    @cached_property
    def _direct(self) -> IntArray:
        """The output of each node's own score, int64 (N,); of the global head for one interest, its ends alone."""
        found = np.full(len(self.tree.nodes), -1, dtype=np.int64)
        own = ~self.outputs.stops if not (self.name == "global" and not self.several) else self.outputs.stops
        found[self.outputs.nodes[own]] = np.flatnonzero(own)
        return found

    def logits(self, embeddings: FloatArray) -> FloatArray:
        """Linear scores float32 (Q, K)."""
        scores = (embeddings.astype(np.float32, copy=False) - self.mean) @ self.weights.T
        scores += self.intercepts
        return scores

    def probabilities(self, embeddings: FloatArray) -> FloatArray:
        """Probability of each node, float32 (Q, N)."""
        return self.of_logits(self.logits(embeddings))[0]

    def ends(self, embeddings: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Probability of each node, and that a path ends there, 0 where none may; each float32 (Q, N)."""
        return self.of_logits(self.logits(embeddings))

    def of_logits(self, logits: FloatArray) -> tuple[FloatArray, FloatArray]:
        """As `ends`, from linear scores (Q, K), which are overwritten."""
        if not self.several and self.name == "global":
            return self._summed_up(_softmax(logits, self.outputs.groups))
        own = _sigmoid(logits) if self.several else _softmax(logits, self.outputs.groups)
        tree = self.tree
        shares = own[:, self._direct]  # of each node, in its parent
        nodes = shares.copy()
        for level in tree.slices[1:]:
            above = nodes[:, tree.parents[level]]
            if self.name == "global":
                np.minimum(nodes[:, level], above, out=nodes[:, level])
            else:
                nodes[:, level] *= above
        ends = np.where(tree.ends, nodes, np.zeros(1, nodes.dtype))
        middle = [node for node in tree.children if node >= 0 and tree.ends[node]]
        if self.several:
            for node in middle:  # none of the children, each taken to be independent of the others
                children = nodes[:, tree.children[node]]
                parent = np.maximum(nodes[:, node : node + 1], np.finfo(np.float32).tiny)
                ends[:, node] *= np.prod(1 - children / parent, axis=1)
        elif middle:
            stops = np.flatnonzero(self.outputs.stops)
            ends[:, self.outputs.nodes[stops]] *= own[:, stops]
        return nodes, ends

    def _summed_up(self, own: FloatArray) -> tuple[FloatArray, FloatArray]:
        tree = self.tree
        ends = np.zeros((len(own), len(tree.nodes)), own.dtype)
        ends[:, self.outputs.nodes] = own
        nodes = ends.copy()
        for level in reversed(tree.slices[1:]):
            parents = tree.parents[level]
            firsts = np.flatnonzero(np.r_[True, parents[1:] != parents[:-1]])
            nodes[:, parents[firsts]] += np.add.reduceat(nodes[:, level], firsts, axis=1)
        np.minimum(nodes, 1, out=nodes)  # a sum of shares may be a last digit more than 1
        return nodes, ends


def fit_head(
    tree: InterestTree,
    name: HeadName,
    several: bool,
    scaled: npt.NDArray[np.float32],
    has: Memberships,
    weights: npt.NDArray[np.float64],
    inverse_regularisation: float,
    *,
    max_iterations: int,
    tolerance: float = TOLERANCE,
    start: tuple[FloatArray, FloatArray] | None = None,
    threads: int = 1,
) -> tuple[FloatArray, FloatArray]:
    """Weights float64 (K, D) and intercepts float64 (K,) of a head, on embeddings brought to one scale (Q, D).

    `start` holds those of a fit to begin from. See `classifiers.regression.solve` for what is minimised.
    """
    outputs = Outputs.of(tree, name, several)
    found_weights = np.zeros((len(outputs.nodes), scaled.shape[1]))
    found_intercepts = np.zeros(len(outputs.nodes))
    with threadpool_limits(1):
        for part, rows, targets in _problems(tree, name, several, has, outputs):
            begin = None if start is None else (start[0][part], start[1][part])
            count = part.stop - part.start
            problem = Problem(scaled, rows, targets, count, weights if rows is None else weights[rows])
            found_weights[part], found_intercepts[part] = solve(
                problem,
                inverse_regularisation,
                max_iterations=max_iterations,
                tolerance=tolerance,
                start=begin,
                threads=threads,
            )
    return found_weights, found_intercepts


def _problems(tree: InterestTree, name: HeadName, several: bool, has: Memberships, outputs: Outputs) -> Any:
    """The outputs of each regression, the rows it learns from (None for all), and what they have of its outputs."""
    if several:
        closed = has.closed(tree)
        if name == "global":
            yield slice(0, len(tree.nodes)), None, closed
            return
        of_node = closed.tocsc()
        for parent, children in sorted(tree.children.items()):
            rows = None if parent < 0 else of_node.indices[of_node.indptr[parent] : of_node.indptr[parent + 1]]
            if rows is not None and not len(rows):
                yield children, np.zeros(1, np.int64), closed[:1, children] * 0  # none: the smallest that can be solved
                continue
            targets = of_node[:, children].tocsr()
            rows = None if rows is None else np.sort(rows).astype(np.int64)
            yield children, rows, targets if rows is None else targets[rows]
        return
    if name == "global":
        place = np.full(len(tree.nodes), -1, np.int64)
        place[outputs.nodes] = np.arange(len(outputs.nodes))
        yield slice(0, len(outputs.nodes)), None, place[has.first]
        return
    # Where a query stands at each level: at a node, or, below the node where it ends, at the stop of that one.
    output_of_node = np.full(len(tree.nodes), -1, np.int64)
    output_of_node[outputs.nodes[~outputs.stops]] = np.flatnonzero(~outputs.stops)
    output_of_stop = np.full(len(tree.nodes), -1, np.int64)
    output_of_stop[outputs.nodes[outputs.stops]] = np.flatnonzero(outputs.stops)
    group_of = {parent: group for group, parent in enumerate(sorted(tree.children))}
    for depth in range(tree.depth):
        at = tree.ancestors[has.first, depth]
        parents = tree.ancestors[has.first, depth - 1] if depth else np.full(len(at), -1, np.int64)
        chosen = np.where(at >= 0, output_of_node[at], np.where(parents >= 0, output_of_stop[parents], -1))
        order = np.argsort(parents, kind="stable")
        bounds = np.flatnonzero(np.r_[True, np.diff(parents[order]) != 0, True])
        for first, last in pairwise(bounds):
            members = order[first:last]
            parent = int(parents[members[0]])
            if parent not in group_of or (depth and parent < 0):
                continue  # a leaf, or above it already
            group = group_of[parent]
            part = slice(int(outputs.groups[group]), int(outputs.groups[group + 1]))
            yield part, None if depth == 0 else members, chosen[members] - part.start


def _softmax(logits: FloatArray, groups: IntArray) -> FloatArray:
    """Softmax within each group of columns, in place."""
    starts = groups[:-1]
    if len(starts) == 1:
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        logits /= logits.sum(axis=1, keepdims=True)
        return logits
    counts = np.diff(groups)
    logits -= np.repeat(np.maximum.reduceat(logits, starts, axis=1), counts, axis=1)
    np.exp(logits, out=logits)
    logits /= np.repeat(np.add.reduceat(logits, starts, axis=1), counts, axis=1)
    return np.minimum(logits, 1, out=logits)


def _sigmoid(logits: FloatArray) -> FloatArray:
    """1 / (1 + exp(-z)) without overflow, in place."""
    np.clip(logits, -80, 80, out=logits)
    np.negative(logits, out=logits)
    np.exp(logits, out=logits)
    logits += 1
    return np.reciprocal(logits, out=logits)


def certain(intercepts: FloatArray, weights: FloatArray) -> npt.NDArray[np.bool_]:
    """Which sigmoids were fixed because all queries, or none, had their node."""
    return (np.abs(intercepts) == CERTAIN) & (weights == 0).all(axis=1)
