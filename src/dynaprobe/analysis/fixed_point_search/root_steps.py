"""One step of the search for a zero of F, or for a minimum of q = 1/2 |F|^2, for a chunk of starts at a time."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from functools import lru_cache
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dynaprobe.analysis.batches import CHUNK
from dynaprobe.analysis.fixed_point_search.linear_solves import Solver
from dynaprobe.analysis.fixed_point_search.traced_programs import Prepared, compiled
from dynaprobe.model.kernel.step_rules import (
    GROW,
    LAMBDA_MAX,
    LAMBDA_MIN,
    NO_PROGRESS,
    PARTS,
    SHRINK,
    SINGULAR,
    TINY,
)

Field = Callable[[Array, Array], Array]


class Outcome(IntEnum):
    """How the search from one start ended."""

    RUNNING = -1
    FIXED = 0
    SLOW = 1
    NOT_CONVERGED = 2
    LEFT_REGION = 3
    NOT_FINITE = 4
    FAST_MINIMUM = 5
    STALLED = 6
    SADDLE_OF_Q = 7
    STATIONARY = 8


class Residual(eqx.Module):
    """F(x, u): the vector field itself, or the step minus the state.

    Attributes:
        f: the function.
        is_map: whether f is a step.
        by_rows: whether J is computed row by row (reverse mode) or column by column (forward mode); the number is
            the same but for round-off, see `with_cheaper_jacobian`.
    """

    f: Field
    is_map: bool = eqx.field(static=True)
    by_rows: bool = eqx.field(static=True, default=False)

    def __call__(self, x: Array, u: Array) -> Array:
        """F at one state ``(unit,)`` and one input ``(input,)``."""
        value = self.f(x, u)
        return value - x if self.is_map else value

    def q(self, x: Array, u: Array) -> Array:
        """Half the squared norm of F."""
        return 0.5 * jnp.sum(self(x, u) ** 2)

    def jacobian(self, x: Array, u: Array) -> Array:
        """J = dF/dx."""
        differentiate = jax.jacrev if self.by_rows else jax.jacfwd
        J: Array = differentiate(self)(x, u)
        return J

    def gradient(self, x: Array, u: Array) -> Array:
        """J'F, the gradient of q."""
        value, pull_back = jax.vjp(lambda z: self(z, u), x)
        g: Array = pull_back(value)[0]
        return g

    def curvature(self, x: Array, u: Array) -> Array:
        """sum_i F_i d2F_i/dx2, what the Hessian of q has besides J'J: the derivative of J'F with F held."""
        held = self(x, u)

        def pulled_back(y: Array) -> Array:
            back: Array = jax.vjp(lambda z: self(z, u), y)[1](held)[0]
            return back

        C: Array = jax.jacfwd(pulled_back)(x)
        return C


def with_cheaper_jacobian(residual: Residual, n_units: int, n_inputs: int) -> Residual:
    """The residual with J by rows or by columns, whichever XLA counts fewer operations for.

    In ``-x + W f(x)`` every row of J is a row of W times the slopes, in ``f(W x)`` every column is a column of W
    times the slopes: one way costs n^2 operations for each state, the other n^3, as much as solving with J.
    """
    leaves, structure = jax.tree.flatten(residual)
    kinds = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if eqx.is_array(leaf) else leaf for leaf in leaves)
    try:
        by_rows = _is_cheaper_by_rows(structure, kinds, n_units, n_inputs)
    except TypeError:  # something in f cannot be looked up
        by_rows = _is_cheaper_by_rows.__wrapped__(structure, kinds, n_units, n_inputs)
    return Residual(residual.f, residual.is_map, by_rows)


@lru_cache(maxsize=64)
def _is_cheaper_by_rows(structure: Any, kinds: tuple[Any, ...], n_units: int, n_inputs: int) -> bool:
    """Kept for each function and shape: counting takes as long as a short search."""
    residual: Residual = jax.tree.unflatten(structure, kinds)
    arrays, rest = eqx.partition(residual, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    states = jax.ShapeDtypeStruct((CHUNK, n_units), jnp.float64)
    inputs = jax.ShapeDtypeStruct((CHUNK, n_inputs), jnp.float64)

    def n_operations(by_rows: bool) -> float:
        def jacobians(given: Any, x: Array, u: Array) -> Array:
            whole: Residual = eqx.combine(given, rest)
            return jax.vmap(Residual(whole.f, whole.is_map, by_rows).jacobian)(x, u)

        cost = jax.jit(jacobians).lower(arrays, states, inputs).cost_analysis()
        return float((cost or {}).get("flops", jnp.inf))

    return n_operations(True) < n_operations(False)


class Limits(NamedTuple):
    """The numbers the steps need, as arrays so that other values compile nothing anew; see `SearchSettings`."""

    tol_fixed: Array
    tol_merge: Array
    tol_step: Array
    max_distance: Array


class Problem(eqx.Module):
    """What is searched, and how far and fine."""

    residual: Residual
    limits: Limits


def _norm(vectors: Array) -> Array:
    norm: Array = jnp.sqrt(jnp.sum(vectors**2, axis=-1))
    return norm


class Tools(NamedTuple):
    """The problem, and who solves its linear equations."""

    problem: Prepared
    solver: Solver


class Place(NamedTuple):
    """Where a chunk of searches is: state, input, start and damping of each, NumPy's or JAX's arrays."""

    x: Any
    u: Any
    origin: Any
    damping: Any


@compiled
def evaluate(problem: Problem, x: Any, u: Any) -> tuple[Array, Array]:
    """F and J for a chunk."""
    residual = problem.residual
    return jax.vmap(residual)(x, u), jax.vmap(residual.jacobian)(x, u)


@compiled
def _evaluate_second(problem: Problem, x: Any, u: Any) -> tuple[Array, Array, Array, Array]:
    residual = problem.residual
    F, g = jax.vmap(residual)(x, u), jax.vmap(residual.gradient)(x, u)
    return 0.5 * jnp.sum(F**2, axis=-1), g, jax.vmap(residual.jacobian)(x, u), jax.vmap(residual.curvature)(x, u)


def evaluate_q(problem: Prepared, x: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """q, its gradient J'F and its Hessian for a chunk; BLAS is faster at J'J than XLA."""
    q, gradient, J, curvature = map(np.asarray, _evaluate_second(problem, x, u))
    return q, gradient, J.transpose(0, 2, 1) @ J + curvature


def root_iteration(
    tools: Tools, x: np.ndarray, u: np.ndarray, origin: np.ndarray, damping: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One step towards F = 0 for a chunk: states, q, damping and outcomes after it.

    Newton's step, d = -J^-1 F, or an eighth or more of it; where that does not help, Levenberg-Marquardt's,
    d = -(J'J + m I)^-1 J'F.
    """
    problem, solver = tools
    place = Place(x, u, origin, damping)
    F, J = map(np.asarray, evaluate(problem, x, u))
    step, regular = solver.rough_newton(J, F, singular=SINGULAR)
    x_new, q_new, outcome, refused = map(np.asarray, _take_newton(problem, place, F, step, regular))
    rows = np.flatnonzero(refused)
    if not rows.size:
        return x_new, q_new, damping, outcome
    near_zero = 0.5 * (F[rows] ** 2).sum(axis=-1) <= problem.tree.limits.tol_fixed
    step[rows] = solver.rough_marquardt(J[rows], F[rows], np.where(near_zero, LAMBDA_MIN, damping[rows]))
    taken = _take_marquardt(problem, place, F, step)
    merged = [
        np.where(refused if new.ndim == 1 else refused[:, None], new, old)
        for new, old in zip(map(np.asarray, taken), (x_new, q_new, damping, outcome), strict=True)
    ]
    return merged[0], merged[1], merged[2], merged[3]


@compiled
def _take_newton(
    problem: Problem, place: Place, F: Any, newton: Any, regular: Any
) -> tuple[Array, Array, Array, Array]:
    """States, q and outcomes after the longest useful part of each step, and where there is none."""
    x, u, origin, _ = place
    residual, limits = problem.residual, problem.limits
    q = 0.5 * jnp.sum(F**2, axis=-1)
    length = _norm(newton)
    near_zero = q <= limits.tol_fixed
    # Near a zero a long step only wanders along a direction in which F is nearly flat.
    allowed = regular & ((length <= limits.tol_merge) | ~near_zero)
    # A part t of the step is useful if it keeps half of what a linear F promises, q(t) = (1 - t)^2 q.
    t = jnp.asarray(PARTS)[:, None]
    tried = x + t[..., None] * newton
    q_tried = jax.vmap(jax.vmap(residual.q), in_axes=(0, None))(tried, u)
    inside = _norm(tried - origin) <= limits.max_distance
    useful = allowed & inside & jnp.isfinite(q_tried) & (q_tried < (1 - 0.5 * t) * q)
    longest, rows, moved = jnp.argmax(useful, axis=0), jnp.arange(len(x)), useful.any(axis=0)
    # A residual can be small without a zero nearby (exp(-x)): a zero is one that the next step hardly moves.
    is_fixed = regular & near_zero & (length <= limits.tol_step)
    outcome = jnp.where(is_fixed, int(Outcome.FIXED), int(Outcome.RUNNING))
    x_new = jnp.where(moved[:, None], tried[longest, rows], x)
    return x_new, jnp.where(moved, q_tried[longest, rows], q), outcome, ~(moved | is_fixed)


@compiled
def _take_marquardt(problem: Problem, place: Place, F: Any, step: Any) -> tuple[Array, Array, Array, Array]:
    x, u, origin, damping = place
    residual, limits = problem.residual, problem.limits
    q = 0.5 * jnp.sum(F**2, axis=-1)
    near_zero = q <= limits.tol_fixed
    q_new = jax.vmap(residual.q)(x + step, u)
    length = _norm(step)
    descends = jnp.isfinite(q_new) & (q_new < q)
    inside = _norm(x + step - origin) <= limits.max_distance
    moved = descends & inside
    damping = damping * jnp.where(moved, SHRINK, GROW)
    outcome = _first(
        (~jnp.isfinite(q), Outcome.NOT_FINITE),
        (near_zero & (length <= limits.tol_merge) & (~moved | (length <= limits.tol_step)), Outcome.FIXED),
        (descends & ~inside, Outcome.LEFT_REGION),
        (~near_zero & moved & (q_new > (1 - NO_PROGRESS) * q), Outcome.STATIONARY),
        (damping > LAMBDA_MAX, Outcome.STALLED),
    )
    x = jnp.where(moved[:, None], x + step, x)
    return x, jnp.where(moved, q_new, q), jnp.maximum(damping, LAMBDA_MIN), outcome


def minimum_iteration(
    tools: Tools, x: np.ndarray, u: np.ndarray, origin: np.ndarray, damping: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One step down q for a chunk: d = -(H + m I)^-1 J'F with H the exact Hessian of q.

    Gauss-Newton would drop the curvature of F, which is all there is across the ghost of a pair of fixed points.
    """
    problem, solver = tools
    place = Place(x, u, origin, damping)
    q, gradient, hessian = evaluate_q(problem, x, u)
    step = solver.descent(hessian, gradient, damping * _size(hessian) + TINY)
    x_new, q_new, damping, outcome = map(np.asarray, _take_descent(problem, place, q, step))
    return x_new, q_new, damping, outcome


@compiled
def _take_descent(problem: Problem, place: Place, q: Any, step: Any) -> tuple[Array, Array, Array, Array]:
    x, u, origin, damping = place
    residual, limits = problem.residual, problem.limits
    q_new = jax.vmap(residual.q)(x + step, u)
    descends = jnp.isfinite(q_new) & (q_new < q)
    inside = _norm(x + step - origin) <= limits.max_distance
    moved = descends & inside
    # Close to the minimum q falls by less than its round-off, so that no step can be seen to help.
    arrived = (_norm(step) <= limits.tol_merge) & (~moved | (_norm(step) <= limits.tol_step))
    damping = damping * jnp.where(moved, SHRINK, GROW)
    outcome = _first(
        (~jnp.isfinite(q), Outcome.NOT_FINITE),
        (q <= limits.tol_fixed, Outcome.STATIONARY),
        (arrived, Outcome.STATIONARY),
        (descends & ~inside, Outcome.LEFT_REGION),
        (damping > LAMBDA_MAX, Outcome.STALLED),
    )
    x = jnp.where(moved[:, None], x + step, x)
    return x, jnp.where(moved, q_new, q), jnp.maximum(damping, LAMBDA_MIN), outcome


def stationarity(solver: Solver, gradient: np.ndarray, hessian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For some states: how far the nearest rest of q is, ``|H^-1 J'F|``, and the curvatures of q, rising."""
    step = solver.damped(hessian, gradient, LAMBDA_MIN * _size(hessian) + TINY)
    return np.linalg.norm(step, axis=-1), np.linalg.eigvalsh(hessian)


def _size(matrices: np.ndarray) -> np.ndarray:
    size: np.ndarray = np.sqrt((matrices**2).sum(axis=(-2, -1)))
    return size


def _first(*cases: tuple[Array, Outcome]) -> Array:
    """The outcome of the first case that holds, else RUNNING."""
    conditions = [condition for condition, _ in cases]
    values = [jnp.full(conditions[0].shape, int(value)) for _, value in cases]
    outcome: Array = jnp.select(conditions, values, int(Outcome.RUNNING))
    return outcome
