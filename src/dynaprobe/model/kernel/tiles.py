"""Small matrix products whose sums stay in registers: what the recurrence spends its time on.

A product is cut into tiles of a few rows by a few vectors; a tile reads each number of B once for all its rows.
The inner loop is written as vector instructions, because loops over arrays would store every partial sum.
Sums run over the depth in order, so a result does not depend on how it is cut into tiles.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.extending import intrinsic

from dynaprobe.model.kernel.decorators import inner

_features = get_host_cpu_features()
_has_wide = bool(_features.get("avx512f"))
# Floats per vector.
LANES = 16 if _has_wide else 8 if _features.get("avx2") else 4
# Rows and vectors of a tile: its sums, one vector of B each and one broadcast fill the registers (32, or 16).
_MANY_REGISTERS = _has_wide or bool(_features.get("neon"))
TILE_ROWS = 8 if _MANY_REGISTERS else 4
TILE_VECTORS = 3

_F32, _I32, _I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_F32, LANES)


def _bytes(builder: Any, n_floats: Any) -> Any:
    return builder.mul(n_floats, ir.Constant(_I64, 4))


def _load(builder: Any, address: Any, kind: Any) -> Any:
    value = builder.load(builder.inttoptr(address, kind.as_pointer()))
    value.align = 4
    return value


def _everywhere(builder: Any, scalar: Any) -> Any:
    empty = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(empty, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES))


def _multiply_add(builder: Any) -> Any:
    name = f"llvm.fmuladd.v{LANES}f32"
    known = builder.module.globals.get(name)
    return known or ir.Function(builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), name)


def _tile(n_rows: int, n_vectors: int) -> Any:
    """C += A B for a tile of a fixed size; arguments as in `add_product`, with the depth in place of the sizes."""

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
            for v in range(n_vectors)
        ]
        before = [_load(builder, place, _VECTOR) for place in places]
        entry, loop, done = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(_I64)
        sums = [builder.phi(_VECTOR) for _ in places]
        a_at, b_at = builder.add(a, builder.mul(k, a_k)), builder.add(b, builder.mul(k, b_k))
        right = [_load(builder, beyond(b_at, b_vector, v), _VECTOR) for v in range(n_vectors)]
        after = []
        for row in range(n_rows):
            left = _everywhere(builder, _load(builder, beyond(a_at, a_row, row), _F32))
            for v in range(n_vectors):
                arguments = [left, right[v], sums[row * n_vectors + v]]
                after.append(builder.call(_multiply_add(builder), arguments))
        k_next = builder.add(k, ir.Constant(_I64, 1))
        for phi, first, last in zip([k, *sums], [ir.Constant(_I64, 0), *before], [k_next, *after], strict=True):
            phi.add_incoming(first, entry)
            phi.add_incoming(last, loop)
        builder.cbranch(builder.icmp_signed("<", k_next, args[3]), loop, done)
        builder.position_at_end(done)
        for place, value in zip(places, after, strict=True):
            builder.store(value, builder.inttoptr(place, _VECTOR.as_pointer())).align = 4
        return context.get_dummy_value()

    @intrinsic
    def tile(typing_context: Any, a: Any, b: Any, c: Any, depth: Any) -> Any:  # noqa: ARG001
        operand = types.UniTuple(types.int64, 3)
        return types.void(operand, operand, operand, types.int64), emit

    return tile


def _rows_of(n_vectors: int) -> Any:
    """C += A B for any number of rows and `n_vectors` vectors."""
    whole = _tile(TILE_ROWS, n_vectors)
    four, two, one = (_tile(n, n_vectors) for n in (4, 2, 1))

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


_three_vectors, _two_vectors, _one_vector = (_rows_of(n) for n in (TILE_VECTORS, 2, 1))


@inner
def add_product(a, b, c, size):
    """C += A B in float32, for operands given as (address, stride, stride), strides counted in floats.

    Args:
        a: A: address of its first number, stride from row to row, stride along the depth.
        b: B: address, stride along the depth, stride from vector to vector. What lies in a vector is contiguous.
        c: C: address, stride from row to row, anything. Vectors of a row are contiguous.
        size: number of rows, number of vectors of `LANES` columns, depth (at least 1).
    """
    n_rows, n_vectors, depth = size
    done = 0
    while done < n_vectors:
        left = n_vectors - done
        at = (b[0] + 4 * done * b[2], b[1], b[2])
        into = (c[0] + 4 * done * LANES, c[1], c[2])
        # Four are two and two: a single vector per tile would wait for its sums.
        if left >= TILE_VECTORS and left != TILE_VECTORS + 1:
            _three_vectors(a, at, into, n_rows, depth)
            done += TILE_VECTORS
        elif left >= 2:
            _two_vectors(a, at, into, n_rows, depth)
            done += 2
        else:
            _one_vector(a, at, into, n_rows, depth)
            done += 1
