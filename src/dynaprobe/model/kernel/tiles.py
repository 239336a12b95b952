"""Small matrix products whose sums stay in registers: what the recurrence spends its time on.

A product is cut into tiles of a few rows by a few vectors; a tile reads each number of B once for all its rows.
The inner loop is written as vector instructions, because loops over arrays would store every partial sum.
Sums run over the depth in order, so a result does not depend on how it is cut into tiles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.extending import intrinsic

from dynaprobe.model.kernel.decorators import inner

_features = get_host_cpu_features()
_has_wide = bool(_features.get("avx512f"))
# Floats per vector.
LANES = 16 if _has_wide else 8 if _features.get("avx2") else 4
# Floats of a half vector, which may end a row; 0 for none. Where a vector of 16 is computed as two of 8 (Zen 4),
# half of one takes half the time; elsewhere it takes no longer than a whole one.
HALF_LANES = 8 if _has_wide else 0
# Rows and vectors of a tile: its sums, one vector of B each and one broadcast fill the registers (32, or 16).
_MANY_REGISTERS = _has_wide or bool(_features.get("neon"))
TILE_ROWS = 8 if _MANY_REGISTERS else 4
TILE_VECTORS = 3

_F32, _I32, _I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)


def _bytes(builder: Any, n_floats: Any) -> Any:
    return builder.mul(n_floats, ir.Constant(_I64, 4))


def _load(builder: Any, address: Any, kind: Any) -> Any:
    value = builder.load(builder.inttoptr(address, kind.as_pointer()))
    value.align = 4
    return value


def _vector(n_lanes: int) -> Any:
    return ir.VectorType(_F32, n_lanes)


def _lanes(builder: Any, vector: Any, which: list[int]) -> Any:
    return builder.shuffle_vector(vector, vector, ir.Constant(ir.VectorType(_I32, len(which)), which))


def _everywhere(builder: Any, scalar: Any, n_lanes: int) -> Any:
    empty = ir.Constant(_vector(n_lanes), ir.Undefined)
    return _lanes(builder, builder.insert_element(empty, scalar, ir.Constant(_I32, 0)), [0] * n_lanes)


def _intrinsic(builder: Any, name: str, n_lanes: int, n_arguments: int) -> Any:
    """A function of vectors that LLVM knows."""
    kind, full_name = _vector(n_lanes), f"llvm.{name}.v{n_lanes}f32"
    known = builder.module.globals.get(full_name)
    return known or ir.Function(builder.module, ir.FunctionType(kind, [kind] * n_arguments), full_name)


def _as_it_is(builder: Any, vector: Any, n_lanes: int) -> Any:
    """The vector, of which LLVM must not know how it was made.

    It would fill half a vector first and make the whole one from that, which takes an instruction more for each.
    """
    return builder.call(_intrinsic(builder, "arithmetic.fence", n_lanes, 1), [vector])


def _tile(n_rows: int, lanes: tuple[int, ...]) -> Any:
    """C += A B for a tile of a fixed size; arguments as in `add_product`, with the depth in place of the sizes.

    `lanes` says how many floats the vectors of a row have: `LANES`, the last one perhaps `HALF_LANES`.
    """

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        del signature
        (a, a_row, a_k), (b, b_k, b_vector), (c, c_row, _) = (
            [builder.extract_value(operand, k) for k in range(3)] for operand in args[:3]
        )
        a_row, a_k, b_k, b_vector, c_row = (_bytes(builder, n) for n in (a_row, a_k, b_k, b_vector, c_row))

        def beyond(base: Any, stride: Any, count: int) -> Any:
            return builder.add(base, builder.mul(stride, ir.Constant(_I64, count)))

        places = [
            builder.add(beyond(c, c_row, row), ir.Constant(_I64, 4 * LANES * v))
            for row in range(n_rows)
            for v in range(len(lanes))
        ]
        kinds = [_vector(n) for n in lanes] * n_rows
        before = [_load(builder, place, kind) for place, kind in zip(places, kinds, strict=True)]
        entry, loop, done = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(_I64)
        sums = [builder.phi(kind) for kind in kinds]
        a_at, b_at = builder.add(a, builder.mul(k, a_k)), builder.add(b, builder.mul(k, b_k))
        right = [_load(builder, beyond(b_at, b_vector, v), _vector(n)) for v, n in enumerate(lanes)]
        after = []
        for row in range(n_rows):
            left = _everywhere(builder, _load(builder, beyond(a_at, a_row, row), _F32), lanes[0])
            if lanes[-1] < lanes[0]:
                left = _as_it_is(builder, left, lanes[0])
            for v, n in enumerate(lanes):
                part = left if n == lanes[0] else _lanes(builder, left, list(range(n)))
                arguments = [part, right[v], sums[row * len(lanes) + v]]
                after.append(builder.call(_intrinsic(builder, "fmuladd", n, 3), arguments))
        k_next = builder.add(k, ir.Constant(_I64, 1))
        for phi, first, last in zip([k, *sums], [ir.Constant(_I64, 0), *before], [k_next, *after], strict=True):
            phi.add_incoming(first, entry)
            phi.add_incoming(last, loop)
        builder.cbranch(builder.icmp_signed("<", k_next, args[3]), loop, done)
        builder.position_at_end(done)
        for place, kind, value in zip(places, kinds, after, strict=True):
            builder.store(value, builder.inttoptr(place, kind.as_pointer())).align = 4
        return context.get_dummy_value()

    @intrinsic
    def tile(typing_context: Any, a: Any, b: Any, c: Any, depth: Any) -> Any:  # noqa: ARG001
        operand = types.UniTuple(types.int64, 3)
        return types.void(operand, operand, operand, types.int64), emit

    return tile


def _rows_of(lanes: tuple[int, ...]) -> Any:
    """C += A B for any number of rows and a few vectors; `lanes` as in `_tile`."""
    whole = _tile(TILE_ROWS, lanes)
    four, two, one = (_tile(n, lanes) for n in (4, 2, 1))

    @inner
    def rows(a, b, c, n_rows, depth):
        done = 0
        while done < n_rows:
            left = n_rows - done
            at = (a[0] + 4 * done * a[1], a[1], a[2])
            into = (c[0] + 4 * done * c[1], c[1], c[2])
            if left >= TILE_ROWS:
                whole(at, b, into, depth)
                done += TILE_ROWS
            elif left >= 4:
                four(at, b, into, depth)
                done += 4
            elif left >= 2:
                two(at, b, into, depth)
                done += 2
            else:
                one(at, b, into, depth)
                done += 1

    return rows


_three, _two, _one = (_rows_of((LANES,) * n) for n in (TILE_VECTORS, 2, 1))
# The last ones of a row that ends in a half vector.
_two_and_half, _one_and_half = (_rows_of((LANES,) * n + (HALF_LANES or LANES,)) for n in (TILE_VECTORS - 1, 1))


@inner
def _as_integers(operand):
    """The operand without numba's types for known numbers: for each of them all tiles would be compiled again."""
    return np.int64(operand[0]), np.int64(operand[1]), np.int64(operand[2])


@inner
def add_product(a, b, c, size):
    """C += A B in float32, for operands given as (address, stride, stride), strides counted in floats.

    What lies behind the columns, up to the end of a vector, is read and may be written.

    Args:
        a: A: address of its first number, stride from row to row, stride along the depth.
        b: B: address, stride along the depth, stride from vector to vector. What lies in a vector is contiguous.
        c: C: address, stride from row to row, anything. Vectors of a row are contiguous.
        size: number of rows, number of columns, depth (at least 1).
    """
    n_rows, n_columns, depth = size
    a, b, c = _as_integers(a), _as_integers(b), _as_integers(c)
    beyond = n_columns % LANES
    ends_in_half = 0 < beyond <= HALF_LANES
    left = (n_columns + LANES - 1) // LANES
    done = 0
    while left > 0:
        at = (b[0] + 4 * done * b[2], b[1], b[2])
        into = (c[0] + 4 * done * LANES, c[1], c[2])
        # Four are two and two: a single vector per tile would wait for its sums.
        taken = TILE_VECTORS if left >= TILE_VECTORS and left != TILE_VECTORS + 1 else min(left, 2)
        halved = ends_in_half and taken == left
        if taken == TILE_VECTORS:
            if halved:
                _two_and_half(a, at, into, n_rows, depth)
            else:
                _three(a, at, into, n_rows, depth)
        elif taken == 2:
            if halved:
                _one_and_half(a, at, into, n_rows, depth)
            else:
                _two(a, at, into, n_rows, depth)
        else:
            _one(a, at, into, n_rows, depth)
        done += taken
        left -= taken
