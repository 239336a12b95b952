"""The recurrence and its gradient: where training spends its time.

    x_t = (1 - a) x_{t-1} + a W r_{t-1} + d_t,   r_t = f(x_t)

with leak a = dt/tau and drive d_t (inputs, bias and noise, already scaled). `evolve` has a hand-written backward
pass; `evolve_by_autodiff` is the same function left to automatic differentiation, kept as the reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dynaprobe.model.activations import Activation


@dataclass(frozen=True)
class UnitDynamics:
    """What a unit does by itself.

    Attributes:
        activation: f.
        alpha: a = dt / tau.
    """

    activation: Activation
    alpha: float


Activity = tuple[Float[Array, "time trial unit"], Float[Array, "time trial unit"]]

# Below this squared length an adjoint has no direction left in float32, and its transition is left out.
SMALLEST_SQUARED_ADJOINT = 1e-30


def evolve_by_autodiff(
    dynamics: UnitDynamics,
    w_rec: Float[Array, "unit unit"],
    x0: Float[Array, "trial unit"],
    drive: Float[Array, "time trial unit"],
) -> Activity:
    """States and rates after each step, by a plain scan; arguments as in `evolve`."""

    alpha = dynamics.alpha

    def step(
        carry: tuple[Array, Array], drive_t: Float[Array, "trial unit"]
    ) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        x, r = carry
        x = (1 - alpha) * x + alpha * (r @ w_rec.T) + drive_t
        r = dynamics.activation.function(x)
        return (x, r), (x, r)

    _, activity = jax.lax.scan(step, (x0, dynamics.activation.function(x0)), drive)
    return activity


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def evolve(
    dynamics: UnitDynamics,
    w_rec: Float[Array, "unit unit"],
    x0: Float[Array, "trial unit"],
    drive: Float[Array, "time trial unit"],
    vanishing: Float[Array, "time trial"],
) -> Activity:
    """States and rates after each step, with the vanishing-gradient term in the backward pass.

    With the adjoint ``l_t = dE/dx_t`` of whatever cost E is later computed from the result, and the transition
    matrix ``A_t = dx_t/dx_{t-1} = (1 - a) I + a W diag f'(x_{t-1})``, the term of Pascanu, Mikolov & Bengio
    (2013, ICML, eq. 10) is

        Omega = sum_{t, trial} v_t ( |A_t' l_t| / |l_t| - 1 )^2

    Its gradient is taken through the W inside A_t alone; states and adjoints count as constants. That is not the
    gradient of a function of the result, so the forward pass cannot hold it: the backward pass adds it to the
    gradient of `w_rec`, and returns ``( |A_t' l_t| / |l_t| - 1 )^2`` as the gradient of `vanishing`, which is
    what dOmega/dv is. Transitions without an adjoint (after the end of a trial, or with all units silent) have no
    direction to keep and count as 0.

    Args:
        dynamics: f and a.
        w_rec: W, ``[post, pre]``.
        x0: state before the first step.
        drive: d, what is added at each step.
        vanishing: v, weight of every transition; zeros switch the term off.

    Returns:
        States and rates after each step, each ``(time, trial, unit)``.
    """
    del vanishing
    return evolve_by_autodiff(dynamics, w_rec, x0, drive)


def _forward(
    dynamics: UnitDynamics, w_rec: Array, x0: Array, drive: Array, vanishing: Array
) -> tuple[Activity, tuple[Array, ...]]:
    states, rates = evolve_by_autodiff(dynamics, w_rec, x0, drive)
    return (states, rates), (w_rec, dynamics.activation.function(x0), rates, vanishing)


def _backward(dynamics: UnitDynamics, kept: tuple[Array, ...], cotangents: Activity) -> tuple[Array, ...]:
    w_rec, r0, rates, vanishing = kept
    alpha, slope_of_rate = dynamics.alpha, dynamics.activation.slope_of_rate
    before = jnp.concatenate([r0[None], rates[:-1]])

    def step(from_later: Array, at: tuple[Array, ...]) -> tuple[Array, tuple[Array, Array]]:
        g_state, g_rate, r, r_before = at
        adjoint = from_later + g_state + slope_of_rate(r) * g_rate
        # A' l, which the step before receives
        handed_on = (1 - alpha) * adjoint + alpha * slope_of_rate(r_before) * (adjoint @ w_rec)
        return handed_on, (adjoint, handed_on)

    at_start, (adjoints, handed_on) = jax.lax.scan(
        step, jnp.zeros_like(r0), (*cotangents, rates, before), reverse=True
    )
    per_transition, c = _vanishing_terms(adjoints, handed_on)
    # dE/dW = a sum_t l_t r_{t-1}^T and dOmega/dW = a sum_t l_t (f' o c v A'l)_t^T: one product gives their sum.
    right = before + (vanishing * c)[..., None] * slope_of_rate(before) * handed_on
    n_units = r0.shape[-1]
    g_w = alpha * (adjoints.reshape(-1, n_units).T @ right.reshape(-1, n_units))
    return g_w, at_start, adjoints, per_transition


def _vanishing_terms(
    adjoints: Float[Array, "time trial unit"], handed_on: Float[Array, "time trial unit"]
) -> tuple[Float[Array, "time trial"], Float[Array, "time trial"]]:
    """``(|A'l| / |l| - 1)^2`` of each transition, and c so that its derivative by A'l is ``c A'l``."""
    squared, squared_on = jnp.sum(adjoints**2, -1), jnp.sum(handed_on**2, -1)
    alive = (squared > SMALLEST_SQUARED_ADJOINT) & (squared_on > SMALLEST_SQUARED_ADJOINT)
    squared, squared_on = jnp.where(alive, squared, 1.0), jnp.where(alive, squared_on, 1.0)
    excess = jnp.sqrt(squared_on / squared) - 1
    c = 2 * excess / jnp.sqrt(squared_on * squared)
    return jnp.where(alive, excess**2, 0.0), jnp.where(alive, c, 0.0)


evolve.defvjp(_forward, _backward)
