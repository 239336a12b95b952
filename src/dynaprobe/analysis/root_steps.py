"""One step of the search for a zero of F, or for a minimum of q = 1/2 |F|^2, for a chunk of starts at a time."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

Field = Callable[[Array, Array], Array]
# Weight of the damping relative to the size of the matrix: where it starts, its bounds, how it changes.
LAMBDA_START, LAMBDA_MIN, LAMBDA_MAX = 1e-3, 1e-12, 1e12
SHRINK, GROW = 0.2, 5.0
SINGULAR = 1e-13  # ratio of the pivots of a Jacobian whose rank is not full but for round-off
NO_PROGRESS = 1e-6  # relative fall of q below which a Levenberg-Marquardt step leads to no zero
TINY = 1e-300  # keeps 0 / 0 from happening where F or J vanish


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
    """F(x, u): the vector field itself, or the step minus the state."""

    f: Field
    is_map: bool = eqx.field(static=True)

    def __call__(self, x: Array, u: Array) -> Array:
        """F at one state ``(unit,)`` and one input ``(input,)``."""
        value = self.f(x, u)
        return value - x if self.is_map else value

    def q(self, x: Array, u: Array) -> Array:
        """Half the squared norm of F."""
        return 0.5 * jnp.sum(self(x, u) ** 2)


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


def _solve(matrices: Array, vectors: Array) -> Array:
    solution: Array = jnp.linalg.solve(matrices, vectors[..., None])[..., 0]
    return solution


def _damped(matrices: Array, scale: Array, damping: Array) -> Array:
    eye = jnp.eye(matrices.shape[-1])
    return matrices + (damping * scale + TINY)[:, None, None] * eye


@eqx.filter_jit
def root_iteration(
    problem: Problem, x: Array, u: Array, origin: Array, damping: Array
) -> tuple[Array, Array, Array, Array]:
    """One step towards F = 0 for a chunk: Newton, d = -J^-1 F, or Levenberg-Marquardt, d = -(J'J + m I)^-1 J'F."""
    residual, limits = problem.residual, problem.limits
    F = jax.vmap(residual)(x, u)
    J = jax.vmap(jax.jacfwd(residual))(x, u)
    q = 0.5 * jnp.sum(F**2, axis=-1)
    gradient = jnp.einsum("sij,si->sj", J, F)

    def inside(step: Array) -> Array:
        near: Array = _norm(x + step - origin) <= limits.max_distance
        return near

    factors = jax.scipy.linalg.lu_factor(J)
    newton = jax.vmap(jax.scipy.linalg.lu_solve)(factors, -F)
    pivots = jnp.abs(jnp.diagonal(factors[0], axis1=-2, axis2=-1))
    # Along the null direction of a singular Jacobian (a line attractor) Newton's step is round-off over round-off.
    regular = pivots.min(axis=-1) > SINGULAR * pivots.max(axis=-1)
    q_newton = jax.vmap(residual.q)(x + newton, u)
    small = _norm(newton) <= limits.tol_merge
    near_zero = q <= limits.tol_fixed
    # Near a zero a long step only wanders along a direction in which F is nearly flat.
    useful = jnp.isfinite(q_newton) & (q_newton < 0.5 * q) & inside(newton)
    use_newton = regular & useful & (small | ~near_zero)

    def fallback() -> tuple[Array, Array]:
        normal = jnp.einsum("sij,sik->sjk", J, J)
        scale = jnp.trace(normal, axis1=-2, axis2=-1) / x.shape[-1]
        weight = jnp.where(near_zero, LAMBDA_MIN, damping)
        step = _solve(_damped(normal, scale, weight), -gradient)
        return step, jax.vmap(residual.q)(x + step, u)

    marquardt, q_marquardt = jax.lax.cond(jnp.all(use_newton), lambda: (newton, q_newton), fallback)
    descends = jnp.isfinite(q_marquardt) & (q_marquardt < q)
    use_marquardt = ~use_newton & descends & inside(marquardt)
    step = jnp.where(use_newton[:, None], newton, marquardt)
    moved = use_newton | use_marquardt
    q_new = jnp.where(use_newton, q_newton, jnp.where(use_marquardt, q_marquardt, q))
    damping = jnp.where(use_newton, damping, damping * jnp.where(use_marquardt, SHRINK, GROW))
    # A residual can be small without a zero nearby (exp(-x)): a zero is one that the next step hardly moves.
    is_fixed = near_zero & (_norm(step) <= limits.tol_merge) & (~moved | (_norm(step) <= limits.tol_step))
    leaves = ~use_newton & descends & ~inside(marquardt)
    outcome = _first(
        (~jnp.isfinite(q), Outcome.NOT_FINITE),
        (is_fixed, Outcome.FIXED),
        (leaves, Outcome.LEFT_REGION),
        (~near_zero & use_marquardt & (q_marquardt > (1 - NO_PROGRESS) * q), Outcome.STATIONARY),
        (damping > LAMBDA_MAX, Outcome.STALLED),
    )
    return jnp.where(moved[:, None], x + step, x), q_new, jnp.maximum(damping, LAMBDA_MIN), outcome


@eqx.filter_jit
def minimum_iteration(
    problem: Problem, x: Array, u: Array, origin: Array, damping: Array
) -> tuple[Array, Array, Array, Array]:
    """One step down q for a chunk: d = -(H + m I)^-1 J'F with H the exact Hessian of q.

    Gauss-Newton would drop the curvature of F, which is all there is across the ghost of a pair of fixed points.
    """
    residual, limits = problem.residual, problem.limits
    F = jax.vmap(residual)(x, u)
    J = jax.vmap(jax.jacfwd(residual))(x, u)
    q = 0.5 * jnp.sum(F**2, axis=-1)
    gradient = jnp.einsum("sij,si->sj", J, F)
    hessian = jax.vmap(jax.hessian(residual.q))(x, u)
    scale = jnp.sqrt(jnp.sum(hessian**2, axis=(-2, -1)))
    step = _solve(_damped(hessian, scale, damping), -gradient)
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


def _first(*cases: tuple[Array, Outcome]) -> Array:
    """The outcome of the first case that holds, else RUNNING."""
    conditions = [condition for condition, _ in cases]
    values = [jnp.full(conditions[0].shape, int(value)) for _, value in cases]
    outcome: Array = jnp.select(conditions, values, int(Outcome.RUNNING))
    return outcome


@eqx.filter_jit
def stationarity(problem: Problem, x: Array, u: Array) -> tuple[Array, Array]:
    """For a chunk: how far the nearest rest of q is, ``|H^-1 J'F|``, and the curvatures of q, rising."""
    gradient = jax.vmap(jax.grad(problem.residual.q))(x, u)
    hessian = jax.vmap(jax.hessian(problem.residual.q))(x, u)
    scale = jnp.sqrt(jnp.sum(hessian**2, axis=(-2, -1)))
    step = _solve(_damped(hessian, scale, jnp.full(len(x), LAMBDA_MIN)), gradient)
    return _norm(step), jnp.linalg.eigvalsh(hessian)
