"""Which queries of `fit` are held out, and how linear scores are stretched so that probabilities mean what they say.

Shapes: q held-out queries, N nodes, K outputs.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, minimize_scalar

from classifiers.heads import HeadName, Outputs
from classifiers.tree import InterestTree, Memberships

__all__ = ["Stretch", "held_out_rows", "strata", "stretch_of"]

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.int64]
Stretch = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]

_PAIRS = 1 << 22  # scores that a level's stretch is found from, at most


def strata(has: Memberships, hashes: npt.NDArray[np.uint64]) -> tuple[IntArray, npt.NDArray[np.uint64]]:
    """A number that queries share whose rarest end is the same, and one for all ends of a query, (Q,) each.

    Ends are told apart by how many queries they have and by those queries' hashes, so that names do not matter.
    """
    counts = np.diff(has.starts)
    ends, place = np.unique(has.nodes, return_inverse=True)
    sums = np.zeros(len(ends), np.uint64)
    np.add.at(sums, place, np.repeat(hashes, counts))
    rank = np.empty(len(ends), np.int64)
    rank[np.lexsort((sums, np.bincount(place)))] = np.arange(len(ends))
    return np.minimum.reduceat(rank[place], has.starts[:-1]), np.add.reduceat(sums[place], has.starts[:-1])


def held_out_rows(groups: IntArray, hashes: npt.NDArray[np.uint64], share: float) -> npt.NDArray[np.bool_]:
    """About a share (at most a half) of the queries of each group, never all of them, bool (Q,).

    Queries are in order of their hash. Which are taken comes from the queries of that group alone, so that neither the
    order of rows nor names matter: every so-many-th, beginning at a place that the sum of their hashes tells. That sum
    is as good as uniform, so that of groups too small for the share some have one held out and some have none.
    """
    order = np.argsort(groups, kind="stable")
    firsts = np.flatnonzero(np.r_[True, np.diff(groups[order]) != 0])
    counts = np.diff(np.r_[firsts, len(order)])
    rank = np.arange(len(order)) - np.repeat(firsts, counts)
    phase = np.repeat(np.add.reduceat(hashes[order], firsts) / 2.0**64, counts)
    taken = np.floor((rank + 1) * share + phase) > np.floor(rank * share + phase)
    taken &= np.repeat(counts, counts) > 1
    held = np.zeros(len(order), np.bool_)
    held[order] = taken
    return held


def stretch_of(tree: InterestTree, name: HeadName, several: bool, logits: FloatArray, has: Memberships) -> Stretch:
    """Slope and offset of each score, float64 (K,) each, that make held-out queries likeliest; one pair a level.

    A softmax has a slope alone (a temperature). Scores of the global head for one interest share one. A level
    without held-out queries keeps slope 1.

    Parameters
    ----------
    logits
        Scores of the held-out queries, (q, K).
    has
        What they have.
    """
    outputs = Outputs.of(tree, name, several)
    slopes, offsets = np.ones(len(outputs.nodes)), np.zeros(len(outputs.nodes))
    if several:
        closed = has.closed(tree).tocsc()
        for level in tree.slices:
            scores, truth = [], []
            for parent in np.unique(tree.parents[level]):
                children = tree.children[int(parent)]
                rows: Any = slice(None)
                if name == "levels" and parent >= 0:
                    rows = closed.indices[closed.indptr[parent] : closed.indptr[parent + 1]]
                scores.append(logits[rows, children].ravel())
                truth.append(closed[:, children].toarray()[rows].ravel())
            slopes[level], offsets[level] = _line(np.concatenate(scores)[:_PAIRS], np.concatenate(truth)[:_PAIRS])
        return slopes, offsets
    if name == "global":
        place = np.full(len(tree.nodes), -1, np.int64)
        place[outputs.nodes] = np.arange(len(outputs.nodes))
        slopes[:] = _temperature(logits, place[has.first])
        return slopes, offsets
    groups = sorted(tree.children)
    for depth in range(tree.depth):
        above = tree.ancestors[has.first, depth - 1] if depth else np.full(len(logits), -1, np.int64)
        at = tree.ancestors[has.first, depth]
        wide: list[FloatArray] = []
        targets: list[IntArray] = []
        members = [
            group for group, parent in enumerate(groups) if (tree.levels[parent] + 1 if parent >= 0 else 0) == depth
        ]
        most = max(int(outputs.groups[group + 1] - outputs.groups[group]) for group in members)
        for group in members:
            first, last = int(outputs.groups[group]), int(outputs.groups[group + 1])
            rows = np.flatnonzero(above == groups[group])
            if last - first == 1 or not len(rows):
                continue
            padded = np.full((len(rows), most), -np.inf)
            padded[:, : last - first] = logits[rows, first:last]
            wide.append(padded)
            below = at[rows]  # the children come first, in order; a query that ends above has the last place
            targets.append(np.where(below >= 0, below - tree.children[groups[group]].start, last - first - 1))
        if wide:
            slope = _temperature(np.concatenate(wide), np.concatenate(targets))
            for group in members:
                slopes[int(outputs.groups[group]) : int(outputs.groups[group + 1])] = slope
    return slopes, offsets


def _prior(value: float) -> float:
    """Keeps slopes near 1 and offsets near 0 where few held-out queries, all right, would have them run away."""
    return 0.5 * float(value) ** 2


def _temperature(logits: FloatArray, targets: IntArray) -> float:
    """The slope between 1/20 and 20 under which the targets are likeliest."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    chosen = shifted[np.arange(len(shifted)), targets].sum()

    def loss(log_slope: float) -> float:
        slope = np.exp(log_slope)
        return float(np.log(np.exp(slope * shifted).sum(axis=1)).sum() - slope * chosen) + _prior(log_slope)

    bound = np.log(20)
    return float(np.exp(minimize_scalar(loss, bounds=(-bound, bound), method="bounded").x))


def _line(scores: FloatArray, truth: FloatArray) -> tuple[float, float]:
    """Slope (from 1/20 to 20) and offset under which 0 and 1 are likeliest; the identity if all are the same."""
    if len(truth) == 0 or truth.min() == truth.max():
        return 1.0, 0.0
    scores, truth, count = scores.astype(np.float64), truth.astype(np.float64), len(truth)

    def loss(line: FloatArray) -> tuple[float, FloatArray]:
        slope = np.exp(line[0])
        moved = slope * scores + line[1]
        wrong = np.where(moved >= 0, 1 / (1 + np.exp(-np.abs(moved))), 1 - 1 / (1 + np.exp(-np.abs(moved)))) - truth
        value = np.logaddexp(0, moved).sum() - truth @ moved + _prior(line[0]) + _prior(line[1])
        return float(value) / count, np.array([wrong @ scores * slope + line[0], wrong.sum() + line[1]]) / count

    bound = np.log(20)
    found = minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B", bounds=[(-bound, bound), (-20, 20)]).x
    return float(np.exp(found[0])), float(found[1])
