"""The hand-written backward pass against autodiff and against a slow, direct form of the vanishing term."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynaprobe.core.random import generator
from dynaprobe.model.activations import ACTIVATIONS
from dynaprobe.model.recurrence import UnitDynamics, evolve, evolve_by_autodiff

# Relative to the largest entry; float64 sums of some hundred products in another order.
ROUND_OFF = 1e-11
ALPHA = 0.2
N_TIMES, N_TRIALS, N_UNITS = 7, 3, 5


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def problem(seed=0, scale=0.6):
    rng = generator(seed, "test", "recurrence")
    w_rec = rng.normal(0, scale, (N_UNITS, N_UNITS))
    x0 = rng.normal(0, 0.5, (N_TRIALS, N_UNITS))
    drive = rng.normal(0, 0.5, (N_TIMES, N_TRIALS, N_UNITS))
    goal = rng.normal(0, 1, (2, N_TIMES, N_TRIALS, N_UNITS))
    return tuple(jnp.asarray(each) for each in (w_rec, x0, drive, goal))


def cost_of(states, rates, goal):
    """Depends on states and rates, more strongly at some times than at others."""
    return jnp.sum(goal[0] * states + (rates - goal[1]) ** 2 * jnp.arange(1.0, N_TIMES + 1)[:, None, None])


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=ROUND_OFF * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gradient_equals_autodiff(name):
    dynamics = UnitDynamics(ACTIVATIONS[name], ALPHA)
    w_rec, x0, drive, goal = problem()
    off = jnp.zeros((N_TIMES, N_TRIALS))
    fast = jax.grad(lambda w, x, d: cost_of(*evolve(dynamics, w, x, d, off), goal), (0, 1, 2))
    slow = jax.grad(lambda w, x, d: cost_of(*evolve_by_autodiff(dynamics, w, x, d), goal), (0, 1, 2))
    for actual, expected in zip(jax.jit(fast)(w_rec, x0, drive), jax.jit(slow)(w_rec, x0, drive), strict=True):
        close(actual, expected)


def vanishing_ratios(dynamics, w_varied, *, w_rec, x0, drive, goal):
    """(|A' l| / |l| - 1)^2 by definition: A from the Jacobian of one step, l from the gradient of the drive."""
    adjoints = jax.grad(lambda d: cost_of(*evolve_by_autodiff(dynamics, w_rec, x0, d), goal))(drive)
    states, _ = evolve_by_autodiff(dynamics, w_rec, x0, drive)
    before = jnp.concatenate([x0[None], states[:-1]])

    def one(x, d, adjoint):
        jacobian = jax.jacobian(
            lambda x: (1 - ALPHA) * x + ALPHA * w_varied @ dynamics.activation.function(x) + d
        )(x)
        return (jnp.linalg.norm(jacobian.T @ adjoint) / jnp.linalg.norm(adjoint) - 1) ** 2

    return jax.vmap(jax.vmap(one))(before, drive, adjoints)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_vanishing_term_equals_its_definition(name):
    dynamics = UnitDynamics(ACTIVATIONS[name], ALPHA)
    w_rec, x0, drive, goal = problem(1)
    weight = jnp.asarray(generator(2, "test").uniform(0.5, 1.5, (N_TIMES, N_TRIALS)))

    def fast(w, v):
        return cost_of(*evolve(dynamics, w, x0, drive, v), goal)

    def slow(w):
        return jnp.sum(weight * vanishing_ratios(dynamics, w, w_rec=w_rec, x0=x0, drive=drive, goal=goal))

    gradients = jax.jit(jax.grad(fast, (0, 1)))
    with_term, ratios = gradients(w_rec, weight)
    without, _ = gradients(w_rec, 0 * weight)
    expected, gradient = jax.jit(jax.value_and_grad(slow))(w_rec)
    close(jnp.sum(weight * ratios), expected)
    close(with_term - without, gradient)


def test_transitions_without_adjoint_count_as_zero():
    dynamics = UnitDynamics(ACTIVATIONS["tanh"], ALPHA)
    w_rec, x0, drive, goal = problem(3)
    weight = jnp.ones((N_TIMES, N_TRIALS))

    def early(w, v):
        states, _ = evolve(dynamics, w, x0, drive, v)
        return jnp.sum((goal[0] * states)[:4])

    g_w, ratios = jax.jit(jax.grad(early, (0, 1)))(w_rec, weight)
    assert np.isfinite(g_w).all()
    assert (ratios[4:] == 0).all()
    assert (ratios[:4] > 0).all()
