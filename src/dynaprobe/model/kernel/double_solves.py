"""Solving with one small matrix in float64, compiled: Cholesky's way where it is positive definite, else Gauss's.

The right-hand side stands as a column behind the matrix and is eliminated with it.
"""

from __future__ import annotations

import numpy as np

from dynaprobe.model.kernel.decorators import inner, vectorised
from dynaprobe.model.kernel.vectors import add_multiple, dot, scale, swap

PANEL_ROWS = 4  # rows eliminated before the rest of the matrix is updated in one pass


@vectorised
def _four_minus_four(of, factors, rows):
    """From each of four rows take multiples of the same four others, ``factors[4 a + b]`` times b from a."""
    a, b, c, d = of
    p, q, r, s = rows
    f = factors
    for j in range(a.size):
        pj, qj, rj, sj = p[j], q[j], r[j], s[j]
        a[j] -= f[0] * pj + f[1] * qj + f[2] * rj + f[3] * sj
        b[j] -= f[4] * pj + f[5] * qj + f[6] * rj + f[7] * sj
        c[j] -= f[8] * pj + f[9] * qj + f[10] * rj + f[11] * sj
        d[j] -= f[12] * pj + f[13] * qj + f[14] * rj + f[15] * sj


@inner
def _four(A, row, first, last):
    """Some columns of four rows."""
    return A[row, first:last], A[row + 1, first:last], A[row + 2, first:last], A[row + 3, first:last]


@inner
def _down(A, row, column):
    """Four numbers of a column."""
    return A[row, column], A[row + 1, column], A[row + 2, column], A[row + 3, column]


@inner
def _update(A, k, n):
    """Take the panel of rows from k on from all rows after it, right of the diagonal."""
    i = k + PANEL_ROWS
    while i + 4 <= n:
        left, right = _down(A, k, i) + _down(A, k, i + 1), _down(A, k, i + 2) + _down(A, k, i + 3)
        _four_minus_four(_four(A, i, i, n + 1), left + right, _four(A, k, i, n + 1))
        i += 4
    while i < n:
        for c in range(PANEL_ROWS):
            add_multiple(A[i, i : n + 1], -A[k + c, i], A[k + c, i : n + 1])
        i += 1


@inner
def _back_substitute(A, n, x):
    for i in range(n - 1, -1, -1):
        x[i] = (A[i, n] - dot(A[i, i + 1 : n], x[i + 1 : n])) / A[i, i]


@inner
def solve_positive(A, n, x):
    """Solve with a symmetric matrix by A = U'U; False, and nothing in x, where it is not positive definite.

    Args:
        A: ``(n, at least n + 1)``; the part on and right of the diagonal is read, and overwritten by U.
        n: number of unknowns.
        x: ``(n,)``, filled.
    """
    for k in range(0, n, PANEL_ROWS):
        w = min(PANEL_ROWS, n - k)
        for c in range(w):
            row = k + c
            if not A[row, row] > 0.0:  # not a number included
                return False
            scale(A[row, row : n + 1], 1.0 / np.sqrt(A[row, row]))
            for e in range(c + 1, w):
                add_multiple(A[k + e, k + e : n + 1], -A[row, k + e], A[row, k + e : n + 1])
        if w == PANEL_ROWS:
            _update(A, k, n)
    _back_substitute(A, n, x)
    return True


@inner
def solve_any(A, n, x):
    """Solve by Gaussian elimination with row pivots; the least pivot over the largest, 0 where there is none.

    Args:
        A: ``(n, at least n + 1)``, overwritten.
        n: number of unknowns.
        x: ``(n,)``, filled unless the answer is 0.
    """
    least, most = np.inf, 0.0
    for k in range(n):
        best, row = 0.0, k
        for i in range(k, n):
            if abs(A[i, k]) > best:
                best, row = abs(A[i, k]), i
        least, most = min(least, best), max(most, best)
        if not 0.0 < best < np.inf:
            return 0.0
        if row != k:
            swap(A[k, k : n + 1], A[row, k : n + 1])
        for i in range(k + 1, n):
            add_multiple(A[i, k : n + 1], -A[i, k] / A[k, k], A[k, k : n + 1])
    _back_substitute(A, n, x)
    return least / most
