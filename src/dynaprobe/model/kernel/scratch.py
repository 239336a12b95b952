"""Working memory of the compiled kernels, and weights laid out for `add_product`.

Tables have rows that are whole vectors wide, so that one loop can run over many rows and ends without a rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, types
from numba.extending import intrinsic

from dynaprobe.model.kernel.decorators import inner
from dynaprobe.model.kernel.tiles import LANES

# Vectors are read fastest from addresses that are multiples of a cache line: 16 floats.
LINE = 16


def pointer_to(kind: Any) -> Any:
    """A function of compiled code that makes a pointer of an address."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    @intrinsic
    def pointer(typing_context: Any, address: Any) -> Any:  # noqa: ARG001
        return types.CPointer(kind)(address), emit

    return pointer


to_f32 = pointer_to(types.float32)


@inner
def floats(address, begin, count):
    """Some numbers from the one at `begin` on, of those at an address, which the caller keeps alive.

    For inner loops: a slice counts its references, which takes as long as some vectors.
    """
    return carray(to_f32(address + 4 * begin), count)


@inner
def n_vectors(n_columns):
    """Vectors that hold `n_columns` numbers."""
    return (n_columns + LANES - 1) // LANES


@inner
def scratch(n_rows, width):
    """A table of zeros, aligned to cache lines."""
    raw = np.zeros(n_rows * width + LINE, np.float32)
    first = (-(raw.ctypes.data // 4)) % LINE
    return raw[first : first + n_rows * width].reshape(n_rows, width)


@inner
def row_after_row(table, first, n_rows):
    """Some rows of a table as one array, which shares their memory."""
    return table[first : first + n_rows].reshape(n_rows * table.shape[1])


@inner
def outlive(array):
    """Nothing: what comes after the last use of an address, so that numba frees the array behind it no sooner."""
    return array.size


@inner
def copy_rows(source, target):
    """Copy what both have."""
    for row in range(min(source.shape[0], target.shape[0])):
        for column in range(min(source.shape[1], target.shape[1])):
            target[row, column] = source[row, column]


@inner
def _put(vectors, depth, k, column, value):
    """Set a number of a matrix that stands as vectors of columns, each contiguous along the depth."""
    vectors[(column // LANES) * depth + k, column % LANES] = value


@inner
def packed(matrix, factor):
    """``factor * matrix`` (depth, column) as vectors of columns."""
    depth, n_columns = matrix.shape
    vectors = scratch(n_vectors(n_columns) * depth, LANES)
    for k in range(depth):
        for column in range(n_columns):
            _put(vectors, depth, k, column, factor * matrix[k, column])
    return vectors


@inner
def packed_step(weights, alpha):
    """The matrix that takes (rates, inputs, 1) to (what enters the states, outputs), as vectors of columns.

    [ a W_rec'  W_out' ]
    [ a W_in'   0      ]
    [ a b'      0      ]
    """
    n_units, n_inputs, n_outputs = weights.rec.shape[0], weights.into.shape[1], weights.out.shape[0]
    depth = n_units + n_inputs + 1
    vectors = scratch(n_vectors(n_units + n_outputs) * depth, LANES)
    for post in range(n_units):
        for pre in range(n_units):
            _put(vectors, depth, pre, post, alpha * weights.rec[post, pre])
        for channel in range(n_inputs):
            _put(vectors, depth, n_units + channel, post, alpha * weights.into[post, channel])
        _put(vectors, depth, n_units + n_inputs, post, alpha * weights.bias[post])
    for output in range(n_outputs):
        for pre in range(n_units):
            _put(vectors, depth, pre, n_units + output, weights.out[output, pre])
    return vectors
