"""Rows of all processes in one tensor, with gradients, so that every process trains against all negatives."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["bounds", "gather_rows"]


def bounds(total: int, processes: int) -> list[int]:
    """Where each process's part of `total` rows begins, and the end: parts in order, sizes differing by one at most."""
    small, larger = divmod(total, processes)
    edges = [0]
    for process in range(processes):
        edges.append(edges[-1] + small + (process < larger))
    return edges


def gather_rows(rows_ND: Tensor, counts: Sequence[int]) -> Tensor:
    """All processes' rows, in the order of the processes: `(sum(counts), D)`.

    The gradient that reaches a process's rows is the sum of the gradients of all processes' losses. Data-parallel
    training then divides by the number of processes, as it does with all gradients.

    Parameters
    ----------
    rows_ND
        This process's rows; `counts[rank]` of them.
    counts
        Rows of every process; known beforehand, so that nothing else is sent and the order is never in doubt.
    """
    if len(counts) == 1:
        return rows_ND
    gathered: Tensor = _GatherRows.apply(rows_ND, tuple(counts))  # type: ignore[no-untyped-call]
    return gathered


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: tuple[int, ...]) -> Tensor:
        ctx.counts = counts
        # collectives need one shape in all processes
        padded = rows.new_zeros(max(counts), rows.shape[1])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        summed = gradient.contiguous().clone()
        dist.all_reduce(summed)
        rank = dist.get_rank()
        start = sum(ctx.counts[:rank])
        return summed[start : start + ctx.counts[rank]], None
