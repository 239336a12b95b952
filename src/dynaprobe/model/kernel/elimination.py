"""Solving with one small matrix after another in single precision, compiled.

A step of a search need not be exact: what matters is where it leads, and F is always evaluated in float64. Where
the pivots tell that single precision is not good enough, the caller solves again in float64.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numba import types

from dynaprobe.model.kernel.decorators import inner, reordered, vectorised
from dynaprobe.model.kernel.programs import Program
from dynaprobe.model.kernel.scratch import n_vectors, outlive, scratch
from dynaprobe.model.kernel.tiles import LANES, add_product
from dynaprobe.model.kernel.vectors import scale, swap

# A largest number does not depend on the order, and NaN is looked for elsewhere.
largest: Any = partial(inner, error_model="numpy", fastmath={"reassoc", "nnan", "nsz"})
PANEL = 4  # columns eliminated before the rest of the matrix is updated in one product


@vectorised
def _row_minus(row, factor, pivot):
    for j in range(row.size):
        row[j] -= factor * pivot[j]


@reordered
def _dot(a, b):
    total = np.float32(0)
    for j in range(a.size):
        total += a[j] * b[j]
    return total


@inner
def width_of(n):
    """Floats from row to row for a matrix and one right-hand side.

    An odd number of vectors, so that the numbers of a column do not all fall on the same lines of the cache.
    """
    return (n_vectors(n + 1) + 1 + n_vectors(n + 1) % 2) * LANES


@largest
def _largest(values):
    best = np.float32(0)
    for j in range(values.size):
        best = max(best, abs(values[j]))
    return best


@inner
def _pivot(values):
    """Size and place of the largest; 0 and 0 where there is none but noughts and NaN."""
    best = _largest(values)
    for j in range(values.size):
        if abs(values[j]) == best:
            return best, j
    return np.float32(0), 0


@inner
def _panel(P, A, k, w):
    """Eliminate w columns, from column k and row k on, among themselves; least and largest pivot.

    The columns stand as the rows of P, where they are contiguous; below the diagonal they become the factors with
    which rows are added to those below. Rows of A are swapped from the column after the panel on.
    """
    n = P.shape[1]
    least, most = np.float32(np.inf), np.float32(0)
    for c in range(w):
        row = k + c
        best, offset = _pivot(P[c, row:])
        least, most = min(least, best), max(most, best)
        if not best > 0:
            return np.float32(0), most
        if offset:
            swap(A[row, k + w :], A[row + offset, k + w :])
            for j in range(w):
                kept = P[j, row]
                P[j, row] = P[j, row + offset]
                P[j, row + offset] = kept
        if row + 1 < n:
            scale(P[c, row + 1 :], -1 / P[c, row])
            for j in range(c + 1, w):
                _row_minus(P[j, row + 1 :], -P[j, row], P[c, row + 1 :])
    return least, most


@inner
def eliminate(A, P):
    """Gaussian elimination with row pivots of a matrix and the column after it; least pivot over largest.

    Args:
        A: ``(n, width_of(n))``; its upper triangle and the column become those of the eliminated system.
        P: ``(PANEL, n)``, working memory.
    """
    n, width = A.shape
    least, most = np.float32(np.inf), np.float32(0)
    for k in range(0, n, PANEL):
        w = min(PANEL, n - k)
        last = k + w
        for i in range(k, n):
            for c in range(w):
                P[c, i] = A[i, k + c]
        low, high = _panel(P, A, k, w)
        least, most = min(least, low), max(most, high)
        if not low > 0:
            return np.float32(0)
        for c in range(w):
            for j in range(c, w):
                A[k + c, k + j] = P[j, k + c]
            for above in range(c):
                _row_minus(A[k + c, last:], -P[above, k + c], A[k + above, last:])
        if last < n:
            factors = (P.ctypes.data + 4 * last, 1, n)
            pivots = (A.ctypes.data + 4 * (k * width + last), width, LANES)
            rest = (A.ctypes.data + 4 * (last * width + last), width, 0)
            add_product(factors, pivots, rest, (n - last, n + 1 - last, w))
    outlive(A)
    outlive(P)
    return least / most


@inner
def substitute(A, n, x):
    """Fill x with the solution of the system that `eliminate` has left."""
    for i in range(n - 1, -1, -1):
        x[i] = (A[i, n] - _dot(A[i, i + 1 : n], x[i + 1 : n])) / A[i, i]


@reordered
def _size(values):
    """Root mean square, by which numbers are divided so that single precision can hold them."""
    total = 0.0
    for i in range(values.size):
        total += values[i] * values[i]
    return np.sqrt(total / values.size)


@vectorised
def scaled(values, factor, out):
    """``factor * values`` in single precision."""
    for i in range(values.size):
        out[i] = np.float32(values[i] * factor)


@vectorised
def _add_scaled(values, factor, out):
    for i in range(values.size):
        out[i] += values[i] * factor


def _newton_steps(J, F, steps, pivots):
    """``-J^-1 F`` of every row, and the least of J's pivots over the largest; 0 where there is no step.

    Args:
        J: ``(row, n, n)``, F: ``(row, n)``, float64.
        steps: ``(row, n)``, written.
        pivots: ``(row,)``, written.
    """
    n = J.shape[1]
    A, P, x = scratch(n, width_of(n)), np.zeros((PANEL, n), np.float32), np.zeros(n, np.float32)
    for row in range(J.shape[0]):
        size, height = _size(J[row].reshape(n * n)), _size(F[row])
        pivots[row] = 0
        if not (0 < size < np.inf and 0 < height < np.inf):
            continue
        for i in range(n):
            scaled(J[row, i], 1 / size, A[i])
            A[i, n] = F[row, i] / height
        pivots[row] = eliminate(A, P)
        if pivots[row] > 0:
            substitute(A, n, x)
            for i in range(n):
                steps[row, i] = -(height / size) * x[i]


def _marquardt_steps(J, F, damping, steps, pivots):
    """``-(J'J + m I)^-1 J'F`` of every row, m being `damping` times the mean diagonal element of J'J.

    Computed as ``-J' (J J' + m I)^-1 F``, the last product in float64: then a step has no part, not even one of
    round-off, along which J is flat, and a search near a line attractor does not wander along the line.

    Args:
        J: ``(row, n, n)``, F: ``(row, n)``, damping: ``(row,)``, float64.
        steps: ``(row, n)``, written.
        pivots: ``(row,)``, as in `_newton_steps`, of the matrix that is solved with.
    """
    n = J.shape[1]
    width = width_of(n)
    T, A = scratch(n, width), scratch(n, width)
    P, x = np.zeros((PANEL, n), np.float32), np.zeros(n, np.float32)
    from_t, from_a = T.ctypes.data, A.ctypes.data
    for row in range(J.shape[0]):
        size, height = _size(J[row].reshape(n * n)), _size(F[row])
        pivots[row] = 0
        if not (0 < size < np.inf and 0 < height < np.inf):
            continue
        inverse = 1 / size
        for i in range(n):
            for j in range(n):
                T[j, i] = np.float32(J[row, i, j] * inverse)
        A[:] = 0
        add_product((from_t, 1, width), (from_t, width, LANES), (from_a, width, 0), (n, n, n))
        mean = 0.0
        for i in range(n):
            mean += A[i, i]
        for i in range(n):
            A[i, i] += np.float32(damping[row] * mean / n)
            A[i, n] = np.float32(F[row, i] / height)
        pivots[row] = eliminate(A, P)
        if pivots[row] > 0:
            substitute(A, n, x)
            steps[row] = 0
            for i in range(n):
                _add_scaled(J[row, i], -(height * inverse * inverse) * x[i], steps[row])
    outlive(A)
    outlive(T)


_F64 = types.float64
# XLA's arrays can only be read.
_ROWS = (types.Array(_F64, 3, "C", readonly=True), types.Array(_F64, 2, "C", readonly=True))
_OUT = (types.Array(_F64, 2, "C"), types.Array(_F64, 1, "C"))


# Compiled, or loaded from the cache of compiled programs, when they are first called.
newton_steps = Program(_newton_steps, (*_ROWS, *_OUT))
marquardt_steps = Program(_marquardt_steps, (*_ROWS, types.Array(_F64, 1, "C", readonly=True), *_OUT))
