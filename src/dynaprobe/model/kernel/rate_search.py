"""Steps of the search for zeros of a network of rate units, compiled: one state after another.

The steps of `dynaprobe.analysis.fixed_point_search.root_steps`, whose docstrings say what they do, and which is
the reference. Newton's step is computed in single precision where the pivots allow it, else in float64; a damped
step always in float64, from J'J.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dynaprobe.model.kernel.decorators import inner
from dynaprobe.model.kernel.double_solves import solve_any, solve_positive
from dynaprobe.model.kernel.elimination import PANEL, eliminate, scaled, substitute, width_of
from dynaprobe.model.kernel.rate_field import (
    differentiate,
    evaluate,
    fill_jacobian,
    fill_normal,
    local,
    pull_back,
)
from dynaprobe.model.kernel.scratch import scratch
from dynaprobe.model.kernel.step_rules import (
    GROW,
    LAMBDA_MAX,
    LAMBDA_MIN,
    LEAST_PIVOT,
    NO_PROGRESS,
    PARTS,
    SHRINK,
    SINGULAR,
    TINY,
)
from dynaprobe.model.kernel.vectors import distance as distance_of
from dynaprobe.model.kernel.vectors import dot
from dynaprobe.model.kernel.vectors import length as length_of

# How a step ended, in the order of `ENDINGS` of the analysis that calls it.
GOES_ON, FIXED, LEFT_REGION, NOT_FINITE, STALLED, STATIONARY = range(6)


class Limits(NamedTuple):
    """Of a search, as in its settings: tol_fixed, tol_merge, tol_step, and how far from its start it may go."""

    fixed: Any
    merge: Any
    step: Any
    distance: Any


class Searches(NamedTuple):
    """Some searches: state and start ``(row, unit)``, damping, q and how the last step ended ``(row,)``."""

    x: Any
    origin: Any
    damping: Any
    q: Any
    ending: Any


class Points(NamedTuple):
    """Known zeros, or minima of q where `are_minima`; which part of the distance a step may leave at most.

    `x` is ``(point, unit)``, `inverse` that of J or of the Hessian of q there, ``(point, unit, unit)``.
    """

    x: Any
    inverse: Any
    are_minima: Any
    closer: Any


class Room(NamedTuple):
    """Working memory: two tables with room for a right-hand side, and vectors."""

    single: Any
    panel: Any
    solution: Any
    double: Any
    step: Any
    tried: Any
    gradient: Any


@inner
def _room(n):
    single, panel = scratch(n, width_of(n)), np.zeros((PANEL, n), np.float32)
    double = np.zeros((n, n + 1 + n % 2))
    return Room(single, panel, np.zeros(n, np.float32), double, np.zeros(n), np.zeros(n), np.zeros(n))


@inner
def _try(field, x, part, room, trial):
    """q at x plus a part of the step; the state itself into ``room.tried``."""
    for k in range(x.size):
        room.tried[k] = x[k] + part * room.step[k]
    return evaluate(field, room.tried, trial)


@inner
def _newton(field, at, room):
    """Fill the step ``-J^-1 F``; whether J is regular."""
    n = at.value.size
    fill_jacobian(field, at.slopes, 1.0, room.double)
    total = 0.0
    for i in range(n):
        total += dot(room.double[i, :n], room.double[i, :n])
    size, height = np.sqrt(total) / n, np.sqrt(dot(at.value, at.value) / n)
    if 0.0 < size < np.inf and 0.0 < height < np.inf:
        for i in range(n):
            scaled(room.double[i, :n], 1.0 / size, room.single[i])
            room.single[i, n] = np.float32(at.value[i] / height)
        if eliminate(room.single, room.panel) >= LEAST_PIVOT:
            substitute(room.single, n, room.solution)
            for k in range(n):
                room.step[k] = -(height / size) * room.solution[k]
            return True
    for i in range(n):
        room.double[i, n] = -at.value[i]
    return solve_any(room.double, n, room.step) > SINGULAR


@inner
def _descend(field, transposed, at, curved, damping, room):
    """Fill the step ``-(A + m I)^-1 J'F`` with A = J'J, m relative to its mean diagonal element, or with A the
    Hessian of q where `curved`, m relative to its size; whether that matrix is positive definite."""
    n, H = at.value.size, room.double
    fill_normal(field, transposed, at.slopes, H)
    if curved:
        for j in range(n):
            H[j, j] += field.scale * at.bends[j] * at.pulled[j]
    total = 0.0
    for i in range(n):
        if curved:
            total += 2.0 * dot(H[i, i:n], H[i, i:n]) - H[i, i] * H[i, i]
        else:
            total += H[i, i]
        H[i, n] = -room.gradient[i]
    shift = damping * (np.sqrt(total) if curved else total / n) + TINY
    for i in range(n):
        H[i, i] += shift
    return solve_positive(H, n, room.step)


@inner
def _newton_part(field, limits, searches, row, at, trial, room):
    """Take the longest useful part of Newton's step; whether the search has moved or ended by it."""
    x, q = searches.x[row], searches.q[row]
    near_zero = q <= limits.fixed
    if not _newton(field, at, room):
        return False
    length = length_of(room.step)
    # A residual can be small without a zero nearby (exp(-x)): a zero is one that the next step hardly moves.
    is_fixed = near_zero and length <= limits.step
    if is_fixed:
        searches.ending[row] = FIXED
    # Near a zero a long step only wanders along a direction in which F is nearly flat.
    if near_zero and length > limits.merge:
        return False
    for part in PARTS:
        q_tried = _try(field, x, part, room, trial)
        inside = distance_of(room.tried, searches.origin[row]) <= limits.distance
        # Half of what a linear F promises, q(t) = (1 - t)^2 q.
        if inside and q_tried < (1.0 - 0.5 * part) * q:
            x[:] = room.tried
            searches.q[row] = q_tried
            return True
    return is_fixed


@inner
def _damped_step(limits, searches, row, field, solved, trial, room):
    """Take a damped step if q falls by it; whether it fell, whether the step was taken, its length, q before."""
    x, q = searches.x[row], searches.q[row]
    q_tried, length = np.inf, np.inf
    if solved:
        q_tried, length = _try(field, x, 1.0, room, trial), length_of(room.step)
    descends = q_tried < q
    moved = descends and distance_of(room.tried, searches.origin[row]) <= limits.distance
    searches.damping[row] = max(searches.damping[row] * (SHRINK if moved else GROW), LAMBDA_MIN)
    if moved:
        x[:] = room.tried
        searches.q[row] = q_tried
    return descends, moved, length, q


def root_steps(field, transposed, limits, searches):
    """One step towards F = 0 for every search, written into `Searches`.

    Args:
        field: `RateField`.
        transposed: W'.
        limits: `Limits`.
        searches: `Searches`.
    """
    n_rows, n = searches.x.shape
    at, trial, room = local(n), local(n), _room(n)
    for row in range(n_rows):
        searches.q[row], searches.ending[row] = evaluate(field, searches.x[row], at), GOES_ON
        if not np.isfinite(searches.q[row]):
            searches.ending[row] = NOT_FINITE
            continue
        differentiate(field, searches.x[row], at)
        if _newton_part(field, limits, searches, row, at, trial, room):
            continue
        pull_back(field, at, room.gradient)
        near_zero = searches.q[row] <= limits.fixed
        solved = near_zero and _descend(field, transposed, at, False, LAMBDA_MIN, room)
        solved = solved or _descend(field, transposed, at, False, searches.damping[row], room)
        descends, moved, length, q = _damped_step(limits, searches, row, field, solved, trial, room)
        if near_zero and length <= limits.merge and (not moved or length <= limits.step):
            searches.ending[row] = FIXED
        elif descends and not moved:
            searches.ending[row] = LEFT_REGION
        elif not near_zero and moved and searches.q[row] > (1.0 - NO_PROGRESS) * q:
            searches.ending[row] = STATIONARY
        elif searches.damping[row] > LAMBDA_MAX:
            searches.ending[row] = STALLED


def minimum_steps(field, transposed, limits, searches):
    """One step down q, by its Hessian, for every search; arguments as in `root_steps`."""
    n_rows, n = searches.x.shape
    at, trial, room = local(n), local(n), _room(n)
    for row in range(n_rows):
        searches.q[row], searches.ending[row] = evaluate(field, searches.x[row], at), GOES_ON
        if not np.isfinite(searches.q[row]):
            searches.ending[row] = NOT_FINITE
            continue
        differentiate(field, searches.x[row], at)
        pull_back(field, at, room.gradient)
        solved = _descend(field, transposed, at, True, searches.damping[row], room)
        descends, moved, length, q = _damped_step(limits, searches, row, field, solved, trial, room)
        # Close to the minimum q falls by less than its round-off, so that no step can be seen to help.
        arrived = length <= limits.merge and (not moved or length <= limits.step)
        if q <= limits.fixed or arrived:
            searches.ending[row] = STATIONARY
        elif descends and not moved:
            searches.ending[row] = LEFT_REGION
        elif searches.damping[row] > LAMBDA_MAX:
            searches.ending[row] = STALLED


@inner
def _nearest(points, x):
    """The nearest of some points."""
    best, nearest = np.inf, 0
    for k in range(points.shape[0]):
        distance = distance_of(points[k], x)
        if distance < best:
            best, nearest = distance, k
    return nearest, best


def drawn(field, limits, known, searches, owner):
    """Into `owner`, for every search, which known point draws it in, -1 for none.

    The rule is told in `dynaprobe.analysis.fixed_point_search.basins.Basins`.

    Args:
        field: `RateField`.
        limits: `Limits`.
        known: `Points`.
        searches: `Searches`, of which nothing changes.
        owner: ``(row,)``, filled.
    """
    n_rows, n = searches.x.shape
    at, y, gradient = local(n), np.zeros(n), np.zeros(n)
    for row in range(n_rows):
        owner[row] = -1
        y[:] = searches.x[row]
        k, distance = _nearest(known.x, y)
        if not (distance < np.inf and distance_of(known.x[k], searches.origin[row]) <= limits.distance):
            continue
        while distance > limits.merge:
            evaluate(field, y, at)
            if known.are_minima:
                differentiate(field, y, at)
                pull_back(field, at, gradient)
            direction = gradient if known.are_minima else at.value
            for i in range(n):
                y[i] -= dot(known.inverse[k, i], direction)
            after = distance_of(y, known.x[k])
            if not after <= known.closer * distance:  # not a number included
                break
            distance = after
        if distance <= limits.merge:
            owner[row] = k


def matrices(field, transposed, x, out, hessians, q, gradient):
    """J of every state, or the Hessian of q where `hessians`, into `out`; q and J'F beside them."""
    n = x.shape[1]
    at = local(n)
    for row in range(x.shape[0]):
        q[row] = evaluate(field, x[row], at)
        differentiate(field, x[row], at)
        pull_back(field, at, gradient[row])
        if hessians:
            fill_normal(field, transposed, at.slopes, out[row])
            for i in range(n):
                out[row, i, i] += field.scale * at.bends[i] * at.pulled[i]
                for j in range(i):
                    out[row, i, j] = out[row, j, i]
        else:
            fill_jacobian(field, at.slopes, 1.0, out[row])
