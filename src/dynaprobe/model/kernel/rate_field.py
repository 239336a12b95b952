"""The vector field of rate units, and what it is made of, in float64: for the search for its zeros.

    F(x) = s (-x + W f(x) + c)          J = dF/dx = s (-I + W D),   D = diag f'(x)

    J'F = s (-F + D W'F)                J'J = s^2 (I - W D - D W' + D W'W D)
    sum_i F_i d2F_i/dx2 = s diag(f''(x) o W'F)

W'W does not depend on the state, so that J'J and the Hessian of q = 1/2 |F|^2 cost n^2 operations, not n^3.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dynaprobe.model.kernel.decorators import inner, vectorised
from dynaprobe.model.kernel.vectors import add_multiple, dot


class RateField(NamedTuple):
    """F with its input held.

    Attributes:
        weights: W, ``(post, pre)``.
        gram: W'W, ``(pre, pre)``.
        drive: c, ``(unit,)``.
        scale: s; 1 / tau for a vector field, dt / tau for what a step of Euler's map adds.
        kind: which f, a value of `dynaprobe.model.kernel.elementwise.KINDS`.
    """

    weights: Any
    gram: Any
    drive: Any
    scale: Any
    kind: Any


class Local(NamedTuple):
    """What is known about one state: r = f(x), f', f'', F and W'F, each ``(unit,)``."""

    rates: Any
    slopes: Any
    bends: Any
    value: Any
    pulled: Any


@inner
def local(n):
    """Room for a `Local`."""
    return Local(np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n))


@inner
def _rates(kind, x, r):
    if kind in (0, 3):
        for k in range(x.size):
            r[k] = np.tanh(x[k])
    elif kind == 2:
        for k in range(x.size):
            r[k] = max(x[k], 0.0) + np.log1p(np.exp(-abs(x[k])))
    elif kind == 4:
        for k in range(x.size):
            r[k] = 1.0 / (1.0 + np.exp(-x[k]))
    if kind == 1:
        for k in range(x.size):
            r[k] = 0.0 if x[k] < 0.0 else x[k]
    elif kind == 3:
        for k in range(x.size):
            r[k] = 0.0 if x[k] < 0.0 else r[k]


@inner
def _step(x):
    """Slope of a rectified unit; at the kink that of `jax.numpy.maximum`."""
    return 1.0 if x > 0.0 else 0.0 if x < 0.0 else 0.5


@inner
def differentiate(field, x, at):
    """Fill slopes and bends at x, of which `evaluate` has filled the rates."""
    r, kind = at.rates, field.kind
    for k in range(r.size):
        if kind == 0:
            at.slopes[k] = 1.0 - r[k] * r[k]
            at.bends[k] = -2.0 * r[k] * at.slopes[k]
        elif kind == 1:
            at.slopes[k] = _step(x[k])
            at.bends[k] = 0.0
        elif kind == 2:
            at.slopes[k] = -np.expm1(-r[k])
            at.bends[k] = at.slopes[k] * (1.0 - at.slopes[k])
        elif kind == 3:
            at.slopes[k] = (1.0 - r[k] * r[k]) * _step(x[k])
            at.bends[k] = -2.0 * r[k] * at.slopes[k]
        else:
            at.slopes[k] = r[k] * (1.0 - r[k])
            at.bends[k] = at.slopes[k] * (1.0 - 2.0 * r[k])


@inner
def evaluate(field, x, at):
    """Fill rates and F at x; q = 1/2 |F|^2."""
    _rates(field.kind, x, at.rates)
    total = 0.0
    for i in range(x.size):
        value = field.scale * (field.drive[i] - x[i] + dot(field.weights[i], at.rates))
        at.value[i] = value
        total += value * value
    return 0.5 * total


@inner
def pull_back(field, at, gradient):
    """Fill W'F, and `gradient` with J'F; F and slopes must be there."""
    at.pulled[:] = 0.0
    for i in range(gradient.size):
        add_multiple(at.pulled, at.value[i], field.weights[i])
    for j in range(gradient.size):
        gradient[j] = field.scale * (at.slopes[j] * at.pulled[j] - at.value[j])


@vectorised
def _jacobian_row(row, weights, slopes, scale):
    for j in range(slopes.size):
        row[j] = scale * weights[j] * slopes[j]


@inner
def fill_jacobian(field, slopes, factor, J):
    """`factor` times J into the first columns of a table of either precision."""
    for i in range(slopes.size):
        _jacobian_row(J[i], field.weights[i], slopes, field.scale * factor)
        J[i, i] -= field.scale * factor


@vectorised
def _normal_row(row, weights, transposed, gram, slopes, slope):
    for j in range(slopes.size):
        row[j] = slope * gram[j] * slopes[j] - weights[j] * slopes[j] - slope * transposed[j]


@inner
def fill_normal(field, transposed, slopes, H):
    """J'J into the first columns of H, on and right of the diagonal; `transposed` is W'."""
    n, square = slopes.size, field.scale * field.scale
    for i in range(n):
        _normal_row(H[i, i:], field.weights[i, i:], transposed[i, i:], field.gram[i, i:], slopes[i:], slopes[i])
        H[i, i] += 1.0
        for j in range(i, n):
            H[i, j] *= square
