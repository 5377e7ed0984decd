"""How an `InterestClassifier` learns: one scale, a held-out part, the regularisation, the stretch, and all again.

Shapes: Q queries, D width, N nodes, K outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from classifiers.calibration import Stretch, held_out_rows, strata, stretch_of
from classifiers.heads import Head, HeadName, Outputs, certain, fit_head
from classifiers.regression import TOLERANCE
from classifiers.tree import InterestTree, Memberships

__all__ = ["GRID", "Fitted", "fit_classifier"]

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.int64]

GRID = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # beyond, next to nothing is held back
_MIDDLE = 0.1  # where the search begins
_HELD_MOST = 20_000  # held-out queries at most
_SEARCHED_MOST = 32_768  # queries that the regularisation is chosen on at most
_REFIT_MOST = 200_000  # above so many queries what was held out adds nothing: no second fit
_SEARCH_TOLERANCE, _SEARCH_ITERATIONS = 1e-5, 50  # of the fits that only the best of is kept
_BLOCK = 1 << 14


@dataclass(frozen=True)
class Fitted:
    """A head, the scale of its embeddings, and what was chosen for it.

    `tried` maps each inverse regularisation that was tried to the held-out loss; empty if it was given.
    `held_out` counts the queries that chose it and the stretch, and `losses` holds the loss of each head on them, empty
    without any. `order` int64 (Q,) are the rows by their hash.
    """

    head: Head
    scale: npt.NDArray[np.float64]
    inverse_regularisation: float
    tried: dict[float, float]
    held_out: int
    losses: dict[str, float]
    order: IntArray


def row_hashes(embeddings: FloatArray) -> npt.NDArray[np.uint64]:
    """A hash of each row's content."""
    rows = np.ascontiguousarray(embeddings)
    return np.fromiter((xxhash.xxh64_intdigest(row.data) for row in rows), np.uint64, len(rows))


def fit_classifier(
    tree: InterestTree,
    names: Sequence[HeadName],
    several: bool,
    embeddings: FloatArray,
    has: Memberships,
    weights: npt.NDArray[np.float64],
    *,
    inverse_regularisation: float | None,
    calibration: float,
    max_iterations: int,
    threads: int,
) -> Fitted:
    """Learn a head, of several `names` the one of least held-out loss; the first of equals, or with none held out.

    `calibration` is the share of queries held out, 0 for none (no stretch, and a given weight).
    """
    hashes = row_hashes(embeddings)
    groups, labels = strata(has, hashes)
    # from what rows hold alone, not from where they stand
    order = np.lexsort((labels, groups, hashes)).astype(np.int64)
    has, weights, groups = has.rows(order), weights[order], groups[order]
    scaled, mean, scale = _one_scale(embeddings, order)
    share = min(calibration, _HELD_MOST / len(order))
    held = held_out_rows(groups, hashes[order], share) if calibration else np.zeros(len(order), np.bool_)
    outside, inside = np.flatnonzero(~held), np.flatnonzero(held)

    def fit(
        name: HeadName, rows: Any, strength: float, start: Any = None, tolerance: float = TOLERANCE
    ) -> tuple[FloatArray, FloatArray]:
        part = slice(None) if rows is None else rows
        members = has if rows is None else has.rows(rows)
        most = max_iterations if tolerance <= TOLERANCE else min(max_iterations, _SEARCH_ITERATIONS)
        return fit_head(
            tree, name, several, scaled[part], members, weights[part], strength,
            max_iterations=most, tolerance=tolerance, start=start, threads=threads,
        )  # fmt: skip

    def choose(name: HeadName) -> _Choice:
        judge = _Judge(tree, name, several, scaled[inside], has.rows(inside))
        if inverse_regularisation is not None:
            solution = fit(name, outside, inverse_regularisation)
            return _Choice(judge, inverse_regularisation, {}, solution, judge.loss(solution))
        searched = outside if len(outside) <= _SEARCHED_MOST else _thinned(outside, groups)
        strength, tried, solution = _search(
            lambda strength, start: fit(name, searched, strength, start, _SEARCH_TOLERANCE), judge
        )
        return _Choice(judge, strength, tried, solution, tried[strength])

    choices = [choose(name) for name in names] if held.any() else []
    if choices:
        best = min(choices, key=lambda one: one.loss)
        name, chosen, tried, solution = best.judge.name, best.strength, best.tried, best.solution
        if tried and len(order) > _REFIT_MOST:
            solution = fit(name, outside, chosen, solution)
        slopes, offsets = best.judge.stretch(solution)
        if len(order) <= _REFIT_MOST:
            solution = fit(name, None, chosen, solution)
    else:
        name, chosen, tried = names[0], 0.1 if inverse_regularisation is None else inverse_regularisation, {}
        solution = fit(name, None, chosen)
        outputs = len(Outputs.of(tree, name, several).nodes)
        slopes, offsets = np.ones(outputs), np.zeros(outputs)
    free = ~certain(solution[1], solution[0])
    slopes, offsets = np.where(free, slopes, 1), np.where(free, offsets, 0)
    found_weights = solution[0] * slopes[:, None] / scale
    found_intercepts = solution[1] * slopes + offsets
    head = Head(
        tree, name, several, mean.astype(np.float32), found_weights.astype(np.float32),
        found_intercepts.astype(np.float32),
    )  # fmt: skip
    losses: dict[str, float] = {one.judge.name: one.loss for one in choices}
    return Fitted(head, scale, float(chosen), tried, int(held.sum()), losses, order)


@dataclass(frozen=True)
class _Choice:
    """What was chosen for a head: the regularisation, what was tried for it, its solution and held-out loss."""

    judge: _Judge
    strength: float
    tried: dict[float, float]
    solution: tuple[FloatArray, FloatArray]
    loss: float


@dataclass(frozen=True)
class _Judge:
    """Held-out queries, and how well scores tell what they have."""

    tree: InterestTree
    name: HeadName
    several: bool
    scaled: FloatArray
    has: Memberships

    def logits(self, solution: tuple[FloatArray, FloatArray]) -> FloatArray:
        found: FloatArray = self.scaled @ solution[0].T.astype(np.float32)
        found += solution[1].astype(np.float32)
        return found

    def stretch(self, solution: tuple[FloatArray, FloatArray]) -> Stretch:
        return stretch_of(self.tree, self.name, self.several, self.logits(solution), self.has)

    def loss(self, solution: tuple[FloatArray, FloatArray]) -> float:
        """Mean negative log-likelihood after the stretch: of a query's end, or, of several, of each node."""
        logits = self.logits(solution)
        slopes, offsets = stretch_of(self.tree, self.name, self.several, logits, self.has)
        logits *= slopes.astype(np.float32)
        logits += offsets.astype(np.float32)
        none = np.zeros(0, np.float32)
        nodes, ends = Head(self.tree, self.name, self.several, none, none, none).of_logits(logits)
        if self.several:
            truth = self.has.closed(self.tree).toarray() > 0
            right = np.where(truth, nodes, 1 - nodes)
        else:
            right = ends[np.arange(len(ends)), self.has.first]
        return float(-np.log(np.maximum(right, 1e-7)).mean(dtype=np.float64))


def _search(fit: Any, judge: _Judge) -> tuple[float, dict[float, float], Any]:
    """The inverse regularisation of least held-out loss: from the middle of the grid on as long as the loss falls."""
    tried: dict[float, float] = {}
    solutions: dict[float, Any] = {}

    def loss(place: int, start: Any) -> float:
        strength = GRID[place]
        solutions[strength] = fit(strength, start)
        tried[strength] = judge.loss(solutions[strength])
        return tried[strength]

    best = GRID.index(_MIDDLE)
    loss(best, None)
    for step in (1, -1):
        if step == -1 and best != GRID.index(_MIDDLE):
            break  # it fell on the other side
        while 0 <= best + step < len(GRID):
            if loss(best + step, solutions[GRID[best]]) >= tried[GRID[best]]:
                break
            best += step
    chosen = GRID[best]
    return chosen, dict(sorted(tried.items())), solutions[chosen]


def _one_scale(
    embeddings: FloatArray, order: IntArray
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Rows in an order, each dimension brought to mean 0 and deviation 1, float32; the means and deviations."""
    count, width = len(order), embeddings.shape[1]
    mean, square = np.zeros(width), np.zeros(width)
    scaled = np.empty((count, width), np.float32)
    parts = [slice(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK)]
    for part in parts:
        mean += embeddings[order[part]].sum(axis=0, dtype=np.float64)
    mean = (mean / count).astype(np.float32).astype(np.float64)  # as the head subtracts it
    for part in parts:
        centred = embeddings[order[part]].astype(np.float64) - mean
        square += (centred**2).sum(axis=0)
        scaled[part] = centred
    deviation = np.sqrt(square / count)
    # A dimension that does not vary (but for rounding) says nothing: its centred value is left as it is.
    scale = np.where(deviation > 1e-6 * np.maximum(1.0, np.abs(mean)), deviation, 1.0)
    for part in parts:
        scaled[part] /= scale
    return scaled, mean, scale


def _thinned(rows: IntArray, groups: IntArray) -> IntArray:
    """Some of the rows, evenly through their order, with at least one of each group."""
    even = rows[np.linspace(0, len(rows) - 1, _SEARCHED_MOST).astype(np.int64)]
    _, first = np.unique(groups[rows], return_index=True)
    return np.union1d(even, rows[first])
