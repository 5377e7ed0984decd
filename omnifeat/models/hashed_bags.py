"""Sums of hashed tokens over bags on the CPU, with gradients: each distinct token of a batch is worked on once.

Words come again and again in a batch. Torch's `embedding_bag` with weights reads `hashes` table rows for every token,
and its backward pass sorts them all; here a token's vector `sum over k of w[i, k] * E[h_k(i)]` is made once for the
batch, bags add up such vectors, and gradients go the same way back. Results differ from torch's in the last digits
alone, as sums are taken in another order, and don't depend on the number of threads.

Shape legend: T tokens of a batch, U distinct tokens, B bags, V vocabulary, H hashes, R table rows, D embedding width.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from omnifeat.compiled import compiled

__all__ = ["hashed_bag_sums"]

_LANES = 8  # partial sums side by side, which a processor adds up at once
_LEAST_PER_THREAD = 256  # bags or tokens; below that a thread costs more than it saves


def hashed_bag_sums(table: Tensor, importance: Tensor, token_rows: Tensor, ids: Tensor, offsets: Tensor) -> Tensor:
    """Sum over each bag of `w[i, k] * E[token_rows[i, k]]`: float32 `(B, D)`, zero for an empty bag.

    Parameters
    ----------
    table, importance
        `E` float32 `(R, D)` and `w` float32 `(V, H)`, on the CPU; gradients reach both.
    token_rows
        Row of the table of each token under each hash: int32 `(V, H)`.
    ids, offsets
        Tokens of all bags one after another `(T,)`, and where each bag starts, and the end, `(B + 1,)`: integers.
    """
    sums: Tensor = _HashedBagSums.apply(table, importance, token_rows, ids, offsets)  # type: ignore[no-untyped-call]
    return sums


class _HashedBagSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, table: Tensor, importance: Tensor, token_rows: Tensor, ids: Tensor, offsets: Tensor
    ) -> Tensor:
        rows_VH, weights_VH, table_RD = token_rows.numpy(), importance.detach().numpy(), table.detach().numpy()
        ids_T = np.ascontiguousarray(ids.numpy(), dtype=np.int64)
        offsets_B1 = np.ascontiguousarray(offsets.numpy(), dtype=np.int64)
        distinct_U, places_T = _distinct(ids_T, len(weights_VH))
        vectors_UD = np.empty((len(distinct_U), table_RD.shape[1]), np.float32)
        _in_parts(_token_vectors, len(distinct_U), distinct_U, rows_VH, weights_VH, table_RD, vectors_UD)
        sums_BD = np.empty((len(offsets_B1) - 1, table_RD.shape[1]), np.float32)
        _in_parts(_sum_bags, len(sums_BD), places_T, offsets_B1, vectors_UD, sums_BD)
        ctx.save_for_backward(table, importance)
        ctx.batch = (rows_VH, distinct_U, places_T, offsets_B1)
        return torch.from_numpy(sums_BD)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_sums: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        table, importance = ctx.saved_tensors
        rows_VH, distinct_U, places_T, offsets_B1 = ctx.batch
        grad_BD = np.ascontiguousarray(grad_sums.numpy())
        starts_U1, bags_T = _bags_of_tokens(places_T, offsets_B1, len(distinct_U))
        grad_UD = np.empty((len(distinct_U), grad_BD.shape[1]), np.float32)
        _in_parts(_sum_gradients, len(distinct_U), starts_U1, bags_T, grad_BD, grad_UD)
        starts_R1, entries = _tokens_of_rows(distinct_U, rows_VH, len(table))
        grad_table, grad_importance = torch.empty_like(table), torch.zeros_like(importance)
        _in_parts(
            _spread, len(table), starts_R1, entries, distinct_U, importance.detach().numpy(), table.detach().numpy(),
            grad_UD, grad_table.numpy(), grad_importance.numpy(),
        )  # fmt: skip
        return grad_table, grad_importance, None, None, None


_pool = ThreadPoolExecutor(thread_name_prefix="hashed-bags")


def _in_parts(kernel: Callable[..., None], count: int, *arrays: NDArray[Any]) -> None:
    """Run a kernel over `[0, count)`, in as many parts as torch has threads; parts write to different rows."""
    parts = _parts(count, torch.get_num_threads())
    others = [_pool.submit(kernel, start, stop, *arrays) for start, stop in parts[1:]]
    kernel(*parts[0], *arrays)
    for other in others:
        other.result()


def _parts(count: int, threads: int) -> list[tuple[int, int]]:
    parts = max(1, min(threads, count // _LEAST_PER_THREAD))
    bounds = [count * part // parts for part in range(parts + 1)]
    return list(pairwise(bounds))


@compiled
def _distinct(ids_T: NDArray[np.int64], vocabulary: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The distinct tokens in the order in which they first come, and the place of each token among them."""
    place_of = np.full(vocabulary, -1, np.int32)
    distinct = np.empty(min(len(ids_T), vocabulary), np.int64)
    places_T = np.empty(len(ids_T), np.int32)
    count = 0
    for t in range(len(ids_T)):
        token = ids_T[t]
        if token < 0 or token >= vocabulary:
            raise IndexError("a token id is outside the vocabulary")
        if place_of[token] < 0:
            place_of[token] = count
            distinct[count] = token
            count += 1
        places_T[t] = place_of[token]
    return distinct[:count].copy(), places_T


@compiled
def _token_vectors(
    start: int, stop: int, distinct_U: NDArray[np.int64], rows_VH: NDArray[np.int32], weights_VH: NDArray[np.float32],
    table_RD: NDArray[np.float32], vectors_UD: NDArray[np.float32],
) -> None:  # fmt: skip
    width = table_RD.shape[1]
    for u in range(start, stop):
        token = distinct_U[u]
        for d in range(width):
            vectors_UD[u, d] = 0
        for k in range(rows_VH.shape[1]):
            row, weight = rows_VH[token, k], weights_VH[token, k]
            for d in range(width):
                vectors_UD[u, d] += weight * table_RD[row, d]


@compiled
def _sum_bags(
    start: int, stop: int, places_T: NDArray[np.int32], offsets_B1: NDArray[np.int64],
    vectors_UD: NDArray[np.float32], sums_BD: NDArray[np.float32],
) -> None:  # fmt: skip
    width = vectors_UD.shape[1]
    for b in range(start, stop):
        for d in range(width):
            sums_BD[b, d] = 0
        for t in range(offsets_B1[b], offsets_B1[b + 1]):
            u = places_T[t]
            for d in range(width):
                sums_BD[b, d] += vectors_UD[u, d]


@compiled
def _bags_of_tokens(
    places_T: NDArray[np.int32], offsets_B1: NDArray[np.int64], distinct: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """For each distinct token the bags that it stands in: token u has `bags_T[starts_U1[u]:starts_U1[u + 1]]`."""
    starts_U1 = np.zeros(distinct + 1, np.int64)
    for t in range(len(places_T)):
        starts_U1[places_T[t] + 1] += 1
    for u in range(distinct):
        starts_U1[u + 1] += starts_U1[u]
    next_U = starts_U1[:-1].copy()
    bags_T = np.empty(len(places_T), np.int32)
    for b in range(len(offsets_B1) - 1):
        for t in range(offsets_B1[b], offsets_B1[b + 1]):
            u = places_T[t]
            bags_T[next_U[u]] = b
            next_U[u] += 1
    return starts_U1, bags_T


@compiled
def _sum_gradients(
    start: int, stop: int, starts_U1: NDArray[np.int64], bags_T: NDArray[np.int32], grad_BD: NDArray[np.float32],
    grad_UD: NDArray[np.float32],
) -> None:  # fmt: skip
    width = grad_BD.shape[1]
    for u in range(start, stop):
        for d in range(width):
            grad_UD[u, d] = 0
        for t in range(starts_U1[u], starts_U1[u + 1]):
            b = bags_T[t]
            for d in range(width):
                grad_UD[u, d] += grad_BD[b, d]


@compiled
def _tokens_of_rows(
    distinct_U: NDArray[np.int64], rows_VH: NDArray[np.int32], rows: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each row of the table the (token, hash) that point to it, as `u * H + k`, in that order."""
    hashes = rows_VH.shape[1]
    starts_R1 = np.zeros(rows + 1, np.int64)
    for u in range(len(distinct_U)):
        for k in range(hashes):
            starts_R1[rows_VH[distinct_U[u], k] + 1] += 1
    for row in range(rows):
        starts_R1[row + 1] += starts_R1[row]
    next_R = starts_R1[:-1].copy()
    entries = np.empty(len(distinct_U) * hashes, np.int64)
    for u in range(len(distinct_U)):
        for k in range(hashes):
            row = rows_VH[distinct_U[u], k]
            entries[next_R[row]] = u * hashes + k
            next_R[row] += 1
    return starts_R1, entries


@compiled
def _spread(
    start: int, stop: int, starts_R1: NDArray[np.int64], entries: NDArray[np.int64], distinct_U: NDArray[np.int64],
    weights_VH: NDArray[np.float32], table_RD: NDArray[np.float32], grad_UD: NDArray[np.float32],
    grad_table_RD: NDArray[np.float32], grad_weights_VH: NDArray[np.float32],
) -> None:  # fmt: skip
    """From gradients of tokens' vectors to those of the table's rows `[start, stop)` and of the weights beside them."""
    width, hashes = table_RD.shape[1], weights_VH.shape[1]
    products = np.empty(_LANES, np.float32)
    for row in range(start, stop):
        for d in range(width):
            grad_table_RD[row, d] = 0
        for entry in range(starts_R1[row], starts_R1[row + 1]):
            u, k = entries[entry] // hashes, entries[entry] % hashes
            weight = weights_VH[distinct_U[u], k]
            products[:] = 0
            whole = width - width % _LANES
            for first in range(0, whole, _LANES):
                for lane in range(_LANES):
                    gradient = grad_UD[u, first + lane]
                    products[lane] += gradient * table_RD[row, first + lane]
                    grad_table_RD[row, first + lane] += weight * gradient
            for d in range(whole, width):
                products[0] += grad_UD[u, d] * table_RD[row, d]
                grad_table_RD[row, d] += weight * grad_UD[u, d]
            grad_weights_VH[distinct_U[u], k] = products.sum()
