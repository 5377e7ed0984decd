"""Quick products of queries with a block of candidates, each with its bound; one of them is chosen by a short trial.

| product | numbers | sums | error for unit vectors of 256 | where |
|---|---|---|---|---|
| `int16` | whole numbers of 15 bits and a sign | exact | about 0.0003 | processors |
| `bfloat16` | 8 bits | float32 | about 0.003 | processors with AMX or AVX512-BF16, accelerators |
| `float32` | as they are | float32 | 0.00003 | anywhere |

Which product is used changes the time, never the result: what a product leaves open is decided by `exact_scores`.

Shape suffixes: Q query rows, A of them that are looked at, N candidates of a block, D dimensions, P pairs.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from omnifeat.compiled import compiled
from omnifeat.errors import SettingError
from omnifeat.search.bounds import CoarseBlock, CoarseQueries, Float32, Float64, extents
from omnifeat.search.counting import Found, Int64, count_block, count_on_device, order_bfloat16
from omnifeat.search.int16 import TILE, int16_products, pack_candidates

__all__ = ["PRODUCTS", "Decide", "Int16Product", "Product", "TorchProduct", "make_product", "quickest_product"]

PRODUCTS = ("int16", "bfloat16", "float32")

Decide = Callable[[Int64, Int64], None]
"""Takes pairs and candidates of the block, int64 (E,) each; may be called on several threads, each pair on one."""

_TABLE_ROWS = 96  # queries and candidates of one table of scores that stays in a core's cache
_TABLE_TILES = 64
_TORCH_ROWS, _TORCH_CANDIDATES = 512, 8_192  # 16 MiB of float32 scores
_quickest: dict[int, str] = {}
_LONGEST_INT16 = 46_340.0  # the product of two such lengths stays below 2^31
_LARGEST_INT16 = 32_767.0


class Product(Protocol):
    """What `positive_ranks` asks of a quick product."""

    name: str
    rounding: float

    def queries(self, vectors_QD: Float32) -> CoarseQueries:
        """All queries in the product's numbers."""

    def block(self, vectors_ND: Float32, lengths_N: Float64, peaks_N: Float32) -> CoarseBlock:
        """A block of candidates in the product's numbers; lengths and peaks as `extents` gives them."""

    def scan(
        self,
        queries: CoarseQueries,
        rows_A: Int64,
        block: CoarseBlock,
        offsets_A1: Int64,
        above_P: Float64,
        below_P: Float64,
        decide: Decide,
    ) -> Int64:
        """Candidates that certainly stand before each pair's positive, int64 (P,).

        Those whose score may lie from `below` to `above` go to `decide`. Pairs are sorted by query: those of row a of
        `rows_A` are `offsets_A1[a]` to `offsets_A1[a + 1]`.
        """


class Int16Product:
    """Whole numbers of 16 bits with exact sums of 32: `omnifeat.search.int16`."""

    name = "int16"
    rounding = 0.0

    def __init__(self, pool: Executor) -> None:
        self._pool = pool

    def queries(self, vectors_QD: Float32) -> CoarseQueries:
        lengths_Q, peaks_Q = extents(vectors_QD)
        scales_Q = _int16_scales(lengths_Q, peaks_Q, vectors_QD.shape[1])
        values_QD, residuals_Q = _in_int16(vectors_QD, scales_Q)
        return CoarseQueries(values_QD, scales_Q, lengths_Q, residuals_Q)

    def block(self, vectors_ND: Float32, lengths_N: Float64, peaks_N: Float32) -> CoarseBlock:
        rows, width = vectors_ND.shape
        length, peak = lengths_N.max(initial=0.0), peaks_N.max(initial=0.0)
        scale = float(_int16_scales(np.array([length]), np.array([peak]), width)[0])
        packed = np.empty((-(-rows // TILE), (width + 1) // 2, TILE, 2), np.int16)
        tiles = 64

        def part(start: int) -> float:
            some_ND = vectors_ND[start * TILE : (start + tiles) * TILE]
            values_ND, residuals_N = _in_int16(some_ND, np.full(len(some_ND), scale))
            pack_candidates(values_ND, packed[start : start + tiles])
            return float(residuals_N.max(initial=0.0))

        residual = max(self._pool.map(part, range(0, len(packed), tiles)), default=0.0)
        return CoarseBlock(packed, rows, width, scale, float(length), residual)

    def scan(
        self,
        queries: CoarseQueries,
        rows_A: Int64,
        block: CoarseBlock,
        offsets_A1: Int64,
        above_P: Float64,
        below_P: Float64,
        decide: Decide,
    ) -> Int64:
        counts_A = np.diff(offsets_A1)
        scales_P = np.repeat(queries.scales[rows_A], counts_A) * block.scale
        # a sum of whole numbers is above x where it is above the next whole number below x
        above_P = np.clip(np.floor(above_P * scales_P), -(2.0**31), 2.0**31 - 1).astype(np.int32)
        below_P = np.clip(np.ceil(below_P * scales_P), -(2.0**31), 2.0**31 - 1).astype(np.int32)
        table_rows_P = np.repeat(np.arange(len(rows_A)), counts_A)
        certain_P = np.zeros(len(above_P), np.int64)

        def part(start: int) -> None:
            rows = rows_A[start : start + _TABLE_ROWS]
            pairs = slice(offsets_A1[start], offsets_A1[min(start + _TABLE_ROWS, len(rows_A))])
            values = np.zeros((-(-len(rows) // 4) * 4, queries.values.shape[1]), np.int16)
            values[: len(rows)] = queries.values[rows]
            scores = np.empty((len(values), _TABLE_TILES * TILE), np.int32)
            found = Found()
            for tile in range(0, len(block.values), _TABLE_TILES):
                last = min(tile + _TABLE_TILES, len(block.values))
                int16_products(values, block.values, tile, last, scores)
                count_block(
                    scores, table_rows_P[pairs] - start, above_P[pairs], below_P[pairs], certain_P[pairs], found,
                    tile * TILE, min(block.rows, last * TILE) - tile * TILE,
                )  # fmt: skip
            if found.used:
                near_pairs, candidates = found.entries()
                decide(near_pairs + pairs.start, candidates)

        list(self._pool.map(part, range(0, len(rows_A), _TABLE_ROWS)))
        return certain_P


class TorchProduct:
    """Matrix products of torch in bfloat16 or float32, on a processor or an accelerator.

    On a processor the product takes the threads of torch, counting those of the pool; on an accelerator both are done
    there, and only what must be decided again comes back.
    """

    def __init__(self, name: str, width: int, pool: Executor, device: str = "cpu") -> None:
        self.name, self._pool = name, pool
        self.rounding = (2 * width + 32) * 2.0**-24
        self._type = torch.bfloat16 if name == "bfloat16" else torch.float32
        self._device = torch.device(device)

    def queries(self, vectors_QD: Float32) -> CoarseQueries:
        values, residuals_Q = self._numbers(vectors_QD)
        lengths_Q, _ = extents(vectors_QD)
        return CoarseQueries(values, np.ones(len(vectors_QD)), lengths_Q, residuals_Q)

    def block(self, vectors_ND: Float32, lengths_N: Float64, peaks_N: Float32) -> CoarseBlock:
        values, residuals_N = self._numbers(vectors_ND)
        length, residual = float(lengths_N.max(initial=0.0)), float(residuals_N.max(initial=0.0))
        return CoarseBlock(values, len(vectors_ND), vectors_ND.shape[1], 1.0, length, residual)

    def _numbers(self, vectors_ND: Float32) -> tuple[torch.Tensor, Float64]:
        # read only, as a table may be mapped: torch would warn of it
        vectors = torch.from_numpy(vectors_ND if vectors_ND.flags.writeable else vectors_ND.copy())
        values = vectors.to(self._device).to(self._type)
        if self._type == torch.float32:
            return values, np.zeros(len(vectors_ND))
        left_out = vectors - values.to("cpu", torch.float32)
        return values, extents(left_out.numpy())[0]

    def scan(
        self,
        queries: CoarseQueries,
        rows_A: Int64,
        block: CoarseBlock,
        offsets_A1: Int64,
        above_P: Float64,
        below_P: Float64,
        decide: Decide,
    ) -> Int64:
        above32_P, below32_P = _outward(above_P, below_P)
        counts_A = np.diff(offsets_A1)
        table_rows_P = np.repeat(np.arange(len(rows_A)), counts_A)
        certain_P = np.zeros(len(above_P), np.int64)
        for start in range(0, len(rows_A), _TORCH_ROWS):
            last = min(start + _TORCH_ROWS, len(rows_A))
            pairs = slice(int(offsets_A1[start]), int(offsets_A1[last]))
            values = queries.values[torch.from_numpy(rows_A[start:last]).to(self._device)]
            for first in range(0, block.rows, _TORCH_CANDIDATES):
                with _full_precision():
                    scores = self._product(values, block.values[first : first + _TORCH_CANDIDATES])
                count = self._count if self._device.type == "cpu" else self._count_there
                for near, candidates in count(
                    scores, table_rows_P[pairs] - start, above32_P[pairs], below32_P[pairs], certain_P[pairs]
                ):
                    decide(near + pairs.start, candidates + first)
        return certain_P

    def _product(self, values: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
        if self._type == torch.bfloat16 and self._device.type == "cuda":
            return torch.mm(values, candidates.T, out_dtype=torch.float32)
        return torch.mm(values, candidates.T)

    def _count(
        self, scores: torch.Tensor, rows_P: Int64, above_P: Float32, below_P: Float32, certain_P: Int64
    ) -> Iterator[tuple[Int64, Int64]]:
        """Add to `certain`; give pairs and candidates to be decided again."""
        limits: tuple[npt.NDArray[Any], npt.NDArray[Any]] = (above_P, below_P)
        table: npt.NDArray[Any]
        if scores.dtype == torch.bfloat16:
            table, limits = scores.view(torch.int16).numpy(), _bfloat16_limits(above_P, below_P)
            order_bfloat16(table)
        else:
            table = scores.numpy()

        def part(start: int) -> tuple[Int64, Int64]:
            found, some = Found(), slice(start, start + 64)
            count_block(table, rows_P[some], limits[0][some], limits[1][some], certain_P[some], found)
            pairs, candidates = found.entries()
            return pairs + start, candidates

        yield from self._pool.map(part, range(0, len(rows_P), 64))

    def _count_there(
        self, scores: torch.Tensor, rows_P: Int64, above_P: Float32, below_P: Float32, certain_P: Int64
    ) -> Iterator[tuple[Int64, Int64]]:
        rows, above, below = (torch.from_numpy(array).to(self._device) for array in (rows_P, above_P, below_P))
        certain, pairs, candidates = count_on_device(scores.float(), rows, above, below)
        certain_P += certain
        yield pairs, candidates


def make_product(name: str, width: int, pool: Executor, device: str = "cpu") -> Product:
    """The product of this name; `auto` is `quickest_product` on a processor and bfloat16 elsewhere.

    Raises
    ------
    SettingError
        If there is no such product, or not on this device.
    """
    if name not in ("auto", *PRODUCTS):
        raise SettingError(f"there is no product '{name}'; choose from auto, {', '.join(PRODUCTS)}")
    if name == "auto":
        name = quickest_product(width, pool) if device == "cpu" else "bfloat16"
    if name == "int16":
        if device != "cpu":
            raise SettingError(f"the product int16 is for processors; on {device} choose bfloat16 or float32")
        return Int16Product(pool)
    return TorchProduct(name, width, pool, device)


def quickest_product(width: int, pool: Executor) -> str:
    """The product that this processor does quickest, by a trial of some hundredths of a second, once for each width."""
    if width not in _quickest:
        _quickest[width] = _trial(width, pool)
    return _quickest[width]


def _trial(width: int, pool: Executor) -> str:
    rng = np.random.default_rng(0)
    queries_QD = rng.standard_normal((2 * _TABLE_ROWS, width), dtype=np.float32) / np.float32(np.sqrt(width))
    block_ND = rng.standard_normal((1_024, width), dtype=np.float32) / np.float32(np.sqrt(width))
    limits = np.full(len(queries_QD), 1e9)
    seconds = {}
    for name in PRODUCTS:
        product = make_product(name, width, pool)
        queries, block = product.queries(queries_QD), product.block(block_ND, *extents(block_ND))
        rows, offsets = np.arange(len(queries_QD)), np.arange(len(queries_QD) + 1)
        times = []
        for _ in range(3):  # the first one compiles or loads code
            start = time.perf_counter()
            product.scan(queries, rows, block, offsets, limits, limits, lambda pairs, candidates: None)
            times.append(time.perf_counter() - start)
        seconds[name] = min(times[1:])
    return min(seconds, key=seconds.__getitem__)


@contextmanager
def _full_precision() -> Iterator[None]:
    """Float32 products as float32 and bfloat16 sums as float32, whatever the process has set for its training."""
    precision, reduced = torch.get_float32_matmul_precision(), torch.backends.cuda.matmul
    before = reduced.allow_bf16_reduced_precision_reduction
    torch.set_float32_matmul_precision("highest")
    reduced.allow_bf16_reduced_precision_reduction = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
        reduced.allow_bf16_reduced_precision_reduction = before


def _outward(above_P: Float64, below_P: Float64) -> tuple[Float32, Float32]:
    """The limits in float32, `above` rounded up and `below` down."""
    above32, below32 = above_P.astype(np.float32), below_P.astype(np.float32)
    above32 = np.where(above32 < above_P, np.nextafter(above32, np.float32(np.inf)), above32)
    below32 = np.where(below32 > below_P, np.nextafter(below32, np.float32(-np.inf)), below32)
    return above32, below32


def _bfloat16_limits(above_P: Float32, below_P: Float32) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """The limits among ordered bfloat16 bits, rounded outward: rounding keeps order, so none is decided wrongly."""
    limits = []
    for values, up in ((above_P, True), (below_P, False)):
        rounded = torch.from_numpy(np.ascontiguousarray(values)).to(torch.bfloat16)
        back, bits = rounded.float().numpy(), rounded.view(torch.int16).numpy().copy()
        order_bfloat16(bits)
        bits = np.where(back < values, bits + 1, bits) if up else np.where(back > values, bits - 1, bits)
        # both zeros are one number
        bits = np.where(bits == -1, 0, bits) if up else np.where(bits == 0, -1, bits)
        limits.append(bits.astype(np.int16))
    return limits[0], limits[1]


def _int16_scales(lengths_N: Float64, peaks_N: Float32 | Float64, width: int) -> Float64:
    """The largest powers of two that keep components in 16 bits and products in 32; 1 for vectors of zeros."""
    with np.errstate(divide="ignore"):
        room = np.minimum((_LONGEST_INT16 - np.sqrt(width)) / lengths_N, (_LARGEST_INT16 + 0.49) / peaks_N)
        exponents = np.floor(np.log2(room))
    scales = np.ldexp(1.0, np.clip(np.where(np.isfinite(exponents), exponents, 0), -100, 100).astype(np.int64))
    return np.where(lengths_N > 0, scales, 1.0)


def _in_int16(vectors_ND: Float32, scales_N: Float64) -> tuple[npt.NDArray[np.int16], Float64]:
    """Scaled and rounded components int16 (N, D, or D + 1 where D is odd), and lengths of what that leaves out."""
    rows, width = vectors_ND.shape
    values_ND = np.zeros((rows, width + width % 2), np.int16)
    residuals_N = np.empty(rows, np.float64)
    _round(vectors_ND, scales_N.astype(np.float32), values_ND, residuals_N)
    return values_ND, residuals_N / scales_N


@compiled
def _round(vectors_ND: Any, scales_N: Any, values_ND: Any, residuals_N: Any) -> None:
    # with a power of two as scale, the product and the difference are exact
    for row in range(np.uint64(vectors_ND.shape[0])):
        scale, total = scales_N[row], np.float64(0.0)
        for column in range(np.uint64(vectors_ND.shape[1])):
            value = vectors_ND[row, np.uint64(column)] * scale
            rounded = np.rint(value)
            values_ND[row, np.uint64(column)] = np.int16(rounded)
            total += np.float64(value - rounded) * np.float64(value - rounded)
        residuals_N[row] = np.sqrt(total)
