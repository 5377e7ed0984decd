"""Logistic regression of many outputs over many rows: L-BFGS over blocks, one loss of softmax and one of sigmoids.

Shapes: n rows, D width, K outputs. Written for a million rows by a thousand outputs on two cores: no array of (n, K)
is ever made, blocks are of float32, and each thread sums the gradient of its share of the blocks. The caller keeps
BLAS at one thread.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.optimize import minimize

__all__ = ["CERTAIN", "TOLERANCE", "Problem", "solve"]

FloatArray = npt.NDArray[np.floating]

TOLERANCE = 1e-6  # relative fall of the loss at which a fit ends
_EXACT = 1 << 22  # products of a pass up to which sums are of float64: small problems are solved to the last digits
_BLOCK = 1 << 20  # logits of a block: they stay in the cache between the passes over them
_ROWS = 8192  # rows of a block at most
_STRIPES = 4  # shares of the blocks, whatever the threads: the sums, and so the bytes, don't depend on their number
_SAMPLE = 1 << 16  # rows of the first round of a large problem
_LARGE_TOLERANCE = 1e-5  # of a large one: what is left to gain is less than what other rows would change
_GATHER = 1 << 25  # numbers that are gathered beforehand instead of block by block
CERTAIN = 30.0  # logit of what is so for every row


@dataclass(frozen=True)
class Problem:
    """What one regression learns from.

    `embeddings` (Q, D) with `rows` int64 (n,) naming the rows of it, all if None; `targets` int64 (n,) for a softmax
    over K outputs, or CSR (n, K) of 0 and 1 for a sigmoid each; `weights` float64 (n,).
    """

    embeddings: FloatArray
    rows: npt.NDArray[np.int64] | None
    targets: Any
    outputs: int
    weights: npt.NDArray[np.float64]

    @property
    def softmax(self) -> bool:
        """Whether the outputs exclude each other."""
        return not sp.issparse(self.targets)


def solve(
    problem: Problem,
    inverse_regularisation: float,
    *,
    max_iterations: int,
    tolerance: float = TOLERANCE,
    start: tuple[FloatArray, FloatArray] | None = None,
    threads: int = 1,
) -> tuple[FloatArray, FloatArray]:
    """Weights float64 (K, D) and intercepts float64 (K,) that minimise the regularised negative log-likelihood.

    The minimum is scikit-learn's with `C=inverse_regularisation`: the sum over the rows, times C, and half of the
    squared weights; intercepts are free. Outputs that all rows have, or none, get a fixed intercept and no weights.
    A problem of more than 131,072 rows starts from the solution on each so-many-th of its rows. `tolerance` is the
    relative fall of the loss at which the search ends; at the default, small problems are solved to the last digits.
    """
    count, width = len(problem.weights), problem.embeddings.shape[1]
    if problem.outputs == 1 and problem.softmax:
        return np.zeros((1, width)), np.zeros(1)
    small = count * width * problem.outputs <= _EXACT and tolerance <= TOLERANCE
    if count > 2 * _SAMPLE:
        tolerance = max(tolerance, _LARGE_TOLERANCE)
    if count > 2 * _SAMPLE and start is None:
        places = np.arange(count // _SAMPLE // 2, count, count // _SAMPLE)
        start = solve(_part(problem, places), inverse_regularisation, max_iterations=max_iterations, threads=threads)
    if problem.rows is not None and count * width <= _GATHER:
        problem = replace(problem, embeddings=problem.embeddings[problem.rows], rows=None)
    if small:
        problem = replace(problem, embeddings=problem.embeddings.astype(np.float64))
    begin = np.zeros((problem.outputs, width + 1))
    if start is not None:
        begin[:, :width], begin[:, width] = start
    free = np.ones(problem.outputs, dtype=np.bool_)
    if not problem.softmax:
        having = np.asarray(problem.targets.sum(axis=0)).ravel()
        free = (having > 0) & (having < count)
        begin[~free] = 0
        begin[~free, width] = np.where(having[~free] > 0, CERTAIN, -CERTAIN)
        if not free.any():
            return begin[:, :width], begin[:, width]
    total = float(problem.weights.sum())
    threads = min(threads, os.cpu_count() or 1) if count * problem.outputs > _BLOCK else 1
    with ThreadPoolExecutor(threads) as pool:
        apply: Callable[..., Iterable[Any]] = map if threads == 1 else pool.map

        def objective(flat: Any) -> Any:
            solution = flat.reshape(problem.outputs, width + 1)
            loss, gradient = _loss(problem, solution, apply)
            weights = solution[:, :width]
            penalty = 1 / (inverse_regularisation * total)
            gradient /= total
            gradient[:, :width] += penalty * weights
            gradient[~free] = 0
            return loss / total + 0.5 * penalty * float(np.vdot(weights, weights)), gradient.ravel()

        # Sums of float32 are good to six digits: asking for more makes the search for a step fail and try again.
        options: Any = {
            "maxiter": max_iterations,
            "ftol": 1e-11 if small else tolerance,
            "gtol": 1e-7 if small else 1e-5,
        }
        found = minimize(objective, begin.ravel(), jac=True, method="L-BFGS-B", options=options)
    solution = found.x.reshape(problem.outputs, width + 1)
    return solution[:, :width], solution[:, width]


def _part(problem: Problem, places: npt.NDArray[np.int64]) -> Problem:
    rows = places if problem.rows is None else problem.rows[places]
    return replace(problem, rows=rows, targets=problem.targets[places], weights=problem.weights[places])


def _loss(problem: Problem, solution: FloatArray, apply: Callable[..., Iterable[Any]]) -> tuple[float, FloatArray]:
    """The weighted negative log-likelihood summed over the rows, and its gradient float64 (K, D + 1)."""
    count = len(problem.weights)
    size = min(max(64, _BLOCK // problem.outputs), _ROWS)
    starts = range(0, count, size)
    weights = np.ascontiguousarray(solution[:, :-1].astype(problem.embeddings.dtype))
    intercepts = solution[:, -1].astype(problem.embeddings.dtype)
    block_loss: Callable[..., tuple[float, FloatArray]] = _softmax_loss if problem.softmax else _sigmoid_loss

    def stripe(first: int) -> tuple[float, FloatArray]:
        loss, gradient = 0.0, np.zeros_like(solution)
        for start in starts[first::_STRIPES]:
            part = slice(start, min(start + size, count))
            rows = problem.embeddings[part if problem.rows is None else problem.rows[part]]
            logits = rows @ weights.T
            logits += intercepts
            value, residual = block_loss(logits, problem.targets[part], problem.weights[part])
            loss += value
            gradient[:, :-1] += residual.T @ rows
            gradient[:, -1] += residual.sum(axis=0, dtype=np.float64)
        return loss, gradient

    losses, gradients = zip(*apply(stripe, range(min(_STRIPES, len(starts)))), strict=True)
    total = gradients[0]
    for other in gradients[1:]:
        total += other
    return sum(losses), total


def _softmax_loss(logits: FloatArray, targets: Any, weights: FloatArray) -> tuple[float, FloatArray]:
    """Loss of a block and its derivative by the logits, which takes their place."""
    every = np.arange(len(logits))
    logits -= logits.max(axis=1, keepdims=True)
    chosen = logits[every, targets].astype(np.float64)
    np.exp(logits, out=logits)
    sums = logits.sum(axis=1)
    loss = float(weights @ (np.log(sums.astype(np.float64)) - chosen))
    logits *= (weights / sums)[:, None].astype(logits.dtype)
    logits[every, targets] -= weights.astype(logits.dtype)
    return loss, logits


def _sigmoid_loss(logits: FloatArray, targets: Any, weights: FloatArray) -> tuple[float, FloatArray]:
    """As `_softmax_loss`, summed over the outputs: log(1 + exp(z)) - t z for each."""
    has = np.repeat(np.arange(len(logits)), np.diff(targets.indptr)), targets.indices
    chosen = np.bincount(has[0], logits[has], minlength=len(logits))
    shrunk = np.exp(-np.abs(logits))  # so that nothing overflows
    per_row = np.log1p(shrunk).sum(axis=1, dtype=np.float64) + np.maximum(logits, 0).sum(axis=1, dtype=np.float64)
    loss = float(weights @ (per_row - chosen))
    residual = np.where(logits >= 0, 1, shrunk)
    residual /= 1 + shrunk
    residual[has] -= 1
    residual *= weights[:, None].astype(residual.dtype)
    return loss, residual
