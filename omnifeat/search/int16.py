"""Dot products of int16 vectors with int32 sums: the quick product of processors without bfloat16.

An AVX2 processor multiplies and adds 16 pairs of int16 where it does 8 of float32. Neither NumPy nor torch has that
product, so that its innermost loop is written here as LLVM instructions: 4 queries x 16 candidates are summed in
registers. LLVM makes `vpmaddwd` of it on x86 and what there is elsewhere.

Shape suffixes: Q query rows, N candidates, D dimensions (even), T tiles of 16 candidates, H = D / 2.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from omnifeat.compiled import compiled

__all__ = ["TILE", "int16_products", "pack_candidates"]

Int16 = npt.NDArray[np.int16]
Int32 = npt.NDArray[np.int32]

TILE = 16
_ROWS = 4  # queries of one inner loop: with 2 vectors of sums each, all stays in 16 registers
_LANES = 8


def _pair_sums(builder: Any, left: Any, right: Any) -> Any:
    """int32 x 8: the sums of the products of neighbours, of two int16 x 16; LLVM knows it as one instruction."""
    wide = ir.VectorType(ir.IntType(32), 2 * _LANES)
    product = builder.mul(builder.sext(left, wide), builder.sext(right, wide))
    parts = [
        builder.shuffle_vector(
            product,
            ir.Constant(wide, ir.Undefined),
            ir.Constant(ir.VectorType(ir.IntType(32), _LANES), list(range(first, 2 * _LANES, 2))),
        )
        for first in (0, 1)
    ]
    return builder.add(*parts)


@intrinsic
def _tile(typing: Any, queries: Any, query_at: Any, steps: Any, packed: Any, packed_at: Any, out: Any, out_at: Any,
          out_stride: Any) -> Any:  # fmt: skip
    """out[out_at + r * out_stride + c] = sum of 4 query rows and one tile; positions count elements."""
    signature = types.void(queries, types.intp, types.intp, packed, types.intp, out, types.intp, types.intp)

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, query_at, steps, _, packed_at, _, out_at, out_stride = arguments
        query_data, packed_data, out_data = (
            context.make_array(signature.args[place])(context, builder, arguments[place]).data for place in (0, 3, 5)
        )
        word, index = ir.IntType(32), query_at.type
        sums, halves = ir.VectorType(word, _LANES), ir.VectorType(ir.IntType(16), 2 * _LANES)
        # rows of the queries are `steps` words long
        query_words = builder.bitcast(builder.gep(query_data, [query_at]), word.as_pointer())
        packed_start = builder.gep(packed_data, [packed_at])
        rows = [builder.gep(query_words, [builder.mul(steps, index(row))]) for row in range(_ROWS)]
        zeros = ir.Constant(ir.VectorType(word, _LANES), [0] * _LANES)
        entry = builder.block
        loop, end = builder.append_basic_block("products"), builder.append_basic_block("store")
        builder.branch(loop)
        builder.position_at_end(loop)
        step = builder.phi(index)
        step.add_incoming(index(0), entry)
        totals = [builder.phi(sums) for _ in range(2 * _ROWS)]
        for total in totals:
            total.add_incoming(ir.Constant(sums, [0] * _LANES), entry)
        candidates = []
        for half in range(2):
            at = builder.add(builder.mul(step, index(2 * TILE)), index(half * TILE))
            pointer = builder.bitcast(builder.gep(packed_start, [at]), halves.as_pointer())
            candidates.append(builder.load(pointer, align=2))
        new = []
        for row in range(_ROWS):
            value = builder.load(builder.gep(rows[row], [step]), align=2)
            single = builder.insert_element(ir.Constant(sums, ir.Undefined), value, word(0))
            both = builder.bitcast(builder.shuffle_vector(single, ir.Constant(sums, ir.Undefined), zeros), halves)
            new += [builder.add(totals[2 * row + half], _pair_sums(builder, both, candidates[half])) for half in (0, 1)]
        following = builder.add(step, index(1))
        step.add_incoming(following, loop)
        for total, value in zip(totals, new, strict=True):
            total.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", following, steps), loop, end)
        builder.position_at_end(end)
        for row in range(_ROWS):
            for half in range(2):
                at = builder.add(builder.add(out_at, builder.mul(out_stride, index(row))), index(half * _LANES))
                pointer = builder.bitcast(builder.gep(out_data, [at]), sums.as_pointer())
                builder.store(new[2 * row + half], pointer, align=4)
        return context.get_dummy_value()

    return signature, emit


@compiled
def pack_candidates(vectors_ND: Any, packed_THCP: Any) -> None:
    """Lay int16 (N, D) out as (T, H, 16, 2), neighbours in D together; rows that lack to the last tile are zeros."""
    for tile in range(packed_THCP.shape[0]):
        for column in range(packed_THCP.shape[2]):
            row = tile * packed_THCP.shape[2] + column
            for half in range(packed_THCP.shape[1]):
                if row < vectors_ND.shape[0]:
                    packed_THCP[tile, half, column, 0] = vectors_ND[row, 2 * half]
                    packed_THCP[tile, half, column, 1] = vectors_ND[row, 2 * half + 1]
                else:
                    packed_THCP[tile, half, column, 0] = 0
                    packed_THCP[tile, half, column, 1] = 0


@compiled
def int16_products(queries_QD: Any, packed_THCP: Any, first_tile: int, last_tile: int, scores_QN: Any) -> None:
    """Products of queries (Q a multiple of 4) with tiles first_tile..last_tile into scores int32 (Q, >= 16 tiles).

    Without overflow as long as the product of the rows' lengths is below 2^31.
    """
    steps = packed_THCP.shape[1]
    for tile in range(first_tile, last_tile):
        for row in range(0, queries_QD.shape[0], 4):
            _tile(
                queries_QD, row * 2 * steps, steps, packed_THCP, tile * steps * 32,
                scores_QN, row * scores_QN.shape[1] + (tile - first_tile) * 16, scores_QN.shape[1],
            )  # fmt: skip
