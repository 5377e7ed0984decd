"""Cosines of pairs of rows, gathered and multiplied in one compiled loop.

Shape suffixes: Q query rows, E entity rows, D dim, P pairs, W prefix widths, B blocks.

A pair names a row of a query matrix and a row of an entity matrix. The loop reads both rows where they lie: the
gathered (P, D) matrices, two gigabytes for a million pairs at 256 dimensions, are never made. Threads run the
compiled loop on slices of the pairs without the interpreter lock, so that no OpenMP pool is started beside torch's.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from omnifeat.compiled import compiled_reordering
from omnifeat.cores import thread_count
from omnifeat.errors import SettingError

__all__ = ["Rows", "copy_rows", "engaged_cosines", "inverse_norms", "pair_cosines"]

Float32 = npt.NDArray[np.float32]
Rows = npt.NDArray[np.integer]

_PARALLEL_FROM = 4_096  # below so many pairs a thread costs more than it saves

# Positions in the loops are unsigned: of a signed one numba asks at each element whether it counts from the end, which
# makes the loop over a row six times as slow.


@compiled_reordering
def _norms(vectors: Any, bounds: Any, starts: Any, stops: Any, out: Any) -> None:
    parts = np.zeros(len(bounds), dtype=np.float32)
    for row in range(vectors.shape[0]):
        start = np.uint64(0)
        for index in range(len(bounds)):
            part = np.float32(0.0)
            stop = np.uint64(bounds[index])
            for column in range(start, stop):
                part += vectors[np.uint64(row), column] * vectors[np.uint64(row), column]
            parts[index] = part
            start = stop
        for index in range(len(starts)):
            total = np.float32(0.0)
            for place in range(starts[index], stops[index]):
                total += parts[place]
            out[row, index] = np.float32(1.0) / np.sqrt(total) if total > 0 else np.float32(0.0)


@compiled_reordering
def _pairs(
    queries: Any,
    entities: Any,
    query_norms: Any,
    entity_norms: Any,
    query_rows: Any,
    entity_rows: Any,
    bounds: Any,
    starts: Any,
    stops: Any,
    out: Any,
) -> None:
    parts = np.zeros(len(bounds), dtype=np.float32)
    for pair in range(len(query_rows)):
        if query_rows[pair] < 0 or entity_rows[pair] < 0:
            for index in range(len(starts)):
                out[pair, index] = np.float32(np.nan)
            continue
        query, entity = np.uint64(query_rows[pair]), np.uint64(entity_rows[pair])
        start = np.uint64(0)
        for index in range(len(bounds)):
            part = np.float32(0.0)
            stop = np.uint64(bounds[index])
            for column in range(start, stop):
                part += queries[query, column] * entities[entity, column]
            parts[index] = part
            start = stop
        for index in range(len(starts)):
            total = np.float32(0.0)
            for place in range(starts[index], stops[index]):
                total += parts[place]
            scale = query_norms[query, index] * entity_norms[entity, index]
            if scale == 0:
                out[pair, index] = np.float32(np.nan)
            else:
                out[pair, index] = min(max(total * scale, np.float32(-1.0)), np.float32(1.0))


@compiled_reordering
def _engaged(
    queries: Any,
    norms: Any,
    query_rows: Any,
    entity_rows: Any,
    starts: Any,
    lengths: Any,
    engaged: Any,
    text_keys: Any,
    out: Any,
) -> None:
    width = np.uint64(queries.shape[1])
    for pair in range(len(query_rows)):
        out[pair, 0] = np.float32(np.nan)
        out[pair, 1] = np.float32(np.nan)
        if query_rows[pair] < 0 or entity_rows[pair] < 0 or norms[query_rows[pair]] == 0:
            continue
        query, entity = np.uint64(query_rows[pair]), np.uint64(entity_rows[pair])
        largest = np.float32(-2.0)
        total = np.float64(0.0)
        count = 0
        for position in range(starts[entity], starts[entity] + lengths[entity]):
            other = np.uint64(engaged[position])
            if norms[other] == 0:
                continue
            if len(text_keys) > 0 and text_keys[other] == text_keys[query]:
                continue
            product = np.float32(0.0)
            for column in range(width):
                product += queries[query, column] * queries[other, column]
            cosine = min(max(product * norms[query] * norms[other], np.float32(-1.0)), np.float32(1.0))
            largest = max(largest, cosine)
            total += cosine
            count += 1
        if count > 0:
            out[pair, 0] = largest
            out[pair, 1] = np.float32(total / count)


@compiled_reordering
def _copy(source: Any, source_rows: Any, target: Any, target_rows: Any) -> None:
    for position in range(len(source_rows)):
        read, write = np.uint64(source_rows[position]), np.uint64(target_rows[position])
        for column in range(np.uint64(source.shape[1])):
            target[write, column] = source[read, column]


def _on_threads(kernel: Callable[[int, int], None], count: int, threads: int) -> None:
    """Run kernel(start, stop) over 0..count, cut into one slice a thread."""
    if threads == 1 or count < _PARALLEL_FROM:
        kernel(0, count)
        return
    bounds = np.linspace(0, count, threads + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(kernel, bounds[:-1], bounds[1:]))


Int64 = npt.NDArray[np.int64]


def _segments(widths: Sequence[int] | None, blocks: Sequence[int], dim: int) -> tuple[Int64, Int64, Int64]:
    """Bounds of the parts that are summed by themselves, and for each prefix, then each block, the places of its parts.

    Part i lies between bound i - 1, or the start of the vector, and bound i; a segment is the parts from one place up
    to another.
    """
    ordered = np.asarray([dim] if widths is None else widths, dtype=np.int64)
    if len(ordered) == 0 or ordered[0] < 1 or ordered[-1] > dim or bool((np.diff(ordered) <= 0).any()):
        raise SettingError(f"The prefix widths must rise within 1..{dim}. Got {ordered.tolist()} instead.")
    ends = np.cumsum(np.asarray(blocks, dtype=np.int64))
    if len(blocks) and (min(blocks) < 1 or ends[-1] > dim):
        raise SettingError(f"The blocks must be 1 or more wide, and {dim} at most together. Got {list(blocks)}.")
    bounds = np.union1d(ordered, ends).astype(np.int64)
    places = np.concatenate([np.zeros(1, np.int64), bounds])
    starts = np.concatenate([np.zeros(len(ordered), np.int64), ends - np.asarray(blocks, dtype=np.int64)])
    stops = np.concatenate([ordered, ends])
    return bounds, np.searchsorted(places, starts).astype(np.int64), np.searchsorted(places, stops).astype(np.int64)


def inverse_norms(
    vectors_ND: Float32,
    widths: Sequence[int] | None = None,
    threads: int | None = None,
    *,
    blocks: Sequence[int] = (),
) -> Float32:
    """One over the length of each row's prefixes and blocks; 0 marks one that is zero and has no direction.

    Parameters
    ----------
    vectors_ND : float32 (N, D)
    widths : rising prefix widths, at most D; the whole width if not given.
    blocks : widths of B blocks that lie side by side from the start.

    Returns
    -------
    float32 (N, W + B)

    Raises
    ------
    SettingError
        If the widths don't rise or exceed D.
    """
    bounds, starts, stops = _segments(widths, blocks, vectors_ND.shape[1])
    out = np.empty((len(vectors_ND), len(starts)), dtype=np.float32)
    _on_threads(
        lambda start, stop: _norms(vectors_ND[start:stop], bounds, starts, stops, out[start:stop]),
        len(vectors_ND),
        thread_count(threads),
    )
    return out


def pair_cosines(
    queries_QD: Float32,
    entities_ED: Float32,
    query_rows_P: Rows,
    entity_rows_P: Rows,
    *,
    widths: Sequence[int] | None = None,
    blocks: Sequence[int] = (),
    query_norms_QW: Float32 | None = None,
    entity_norms_EW: Float32 | None = None,
    threads: int | None = None,
) -> Float32:
    """Cosine of each pair at each prefix width and of each block, in float32, within [-1, 1].

    Parameters
    ----------
    queries_QD, entities_ED : float32 matrices of one width D; need not be of unit length.
    query_rows_P, entity_rows_P : row numbers, -1 for a pair that has none.
    widths : rising prefix widths (section of Matryoshka prefixes); only D if not given.
    blocks : widths of B blocks that lie side by side from the start.
    query_norms_QW, entity_norms_EW : from `inverse_norms` at the same widths and blocks; worked out if not given.
    threads : all cores if not given.

    Returns
    -------
    float32 (P, W + B); NaN where a row number is -1 or a vector is zero. Sums are in float32: about 1e-6 from float64.

    Raises
    ------
    SettingError
        If the two matrices differ in width, or the widths don't rise within it.
    """
    dim = queries_QD.shape[1]
    if entities_ED.shape[1] != dim:
        raise SettingError(
            f"Query vectors have width {dim} and entity vectors {entities_ED.shape[1]}; use one encoder."
        )
    bounds, starts, stops = _segments(widths, blocks, dim)
    if query_norms_QW is None:
        query_norms_QW = inverse_norms(queries_QD, widths, threads, blocks=blocks)
    if entity_norms_EW is None:
        entity_norms_EW = inverse_norms(entities_ED, widths, threads, blocks=blocks)
    out = np.empty((len(query_rows_P), len(starts)), dtype=np.float32)
    query_norms, entity_norms = query_norms_QW, entity_norms_EW

    def part(start: int, stop: int) -> None:
        rows = query_rows_P[start:stop], entity_rows_P[start:stop]
        _pairs(queries_QD, entities_ED, query_norms, entity_norms, *rows, bounds, starts, stops, out[start:stop])

    _on_threads(part, len(query_rows_P), thread_count(threads))
    return out


def engaged_cosines(
    queries_QD: Float32,
    query_norms_Q: Float32,
    query_rows_P: Rows,
    entity_rows_P: Rows,
    starts_E: npt.NDArray[np.int64],
    lengths_E: npt.NDArray[np.int64],
    engaged_rows: Rows,
    *,
    leave_out: npt.NDArray[np.int64] | None = None,
    threads: int | None = None,
) -> Float32:
    """Largest and mean cosine of each pair's query to the queries that its entity was engaged with.

    Parameters
    ----------
    queries_QD : float32 (Q, D), rows of the pairs' queries and of the engaged queries.
    query_norms_Q : float32 (Q,), the whole-width column of `inverse_norms`.
    query_rows_P, entity_rows_P : row numbers, -1 for none.
    starts_E, lengths_E, engaged_rows : entity e was engaged with the query rows
        `engaged_rows[starts_E[e] : starts_E[e] + lengths_E[e]]`.
    leave_out : int64 (Q,), a number per query text; engaged queries with the pair's own number are left out.

    Returns
    -------
    float32 (P, 2): largest, mean; NaN where no engaged query (with a vector) is left.
    """
    out = np.empty((len(query_rows_P), 2), dtype=np.float32)
    text_keys = np.zeros(0, dtype=np.int64) if leave_out is None else leave_out

    def part(start: int, stop: int) -> None:
        rows = query_rows_P[start:stop], entity_rows_P[start:stop]
        _engaged(queries_QD, query_norms_Q, *rows, starts_E, lengths_E, engaged_rows, text_keys, out[start:stop])

    _on_threads(part, len(query_rows_P), thread_count(threads))
    return out


def copy_rows(source_ND: Float32, source_rows: Rows, target_MD: Float32, target_rows: Rows) -> None:
    """Copy rows of one matrix to rows of another, in place, without a gathered copy in between."""
    _copy(source_ND, source_rows, target_MD, target_rows)
