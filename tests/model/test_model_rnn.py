"""The network against a plain loop, its noise against formulas, its gradient against finite differences."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from dynaprobe.core.errors import SettingsError
from dynaprobe.core.random import generator, key
from dynaprobe.core.settings import parse
from dynaprobe.model.activations import ACTIVATIONS
from dynaprobe.model.rnn import CTRNN
from dynaprobe.model.settings import NetworkSettings

ROUND_OFF = 1e-12  # float64, some tens of steps
STEP = 1e-6
DIFFERENCES = 1e-7  # central differences of a cost near 1: STEP^2 and 1e-16 / STEP, relative to the largest entry


# Compiled whole: run line by line, JAX compiles every operation for every size.
rollout_of = eqx.filter_jit(
    lambda network, inputs, key=None, start=None: network.rollout(inputs, key, start=start)
)


def make(*, seed=0, n_inputs=3, n_outputs=2, **settings):
    """A network in which nothing is zero that could be."""
    network = CTRNN.make(NetworkSettings(**settings), n_inputs=n_inputs, n_outputs=n_outputs, seed=seed)
    rng = generator(seed, "test")
    b, x0 = (jnp.asarray(rng.normal(0, 0.3, network.b.shape), network.b.dtype) for _ in range(2))
    return eqx.tree_at(lambda n: (n.b, n.x0), network, (b, x0))


def float64(network):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), network)


def inputs_of(seed, *shape):
    return jnp.asarray(generator(seed, "inputs").normal(size=shape))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_rollout_without_noise_equals_a_plain_loop(name):
    with jax.enable_x64(True):
        network = float64(make(n_units=6, activation=name, dt_ms=7, density=0.6))
        inputs = inputs_of(1, 2, 20, 3)
        rollout = rollout_of(network, inputs)
    w_in, w_rec, w_out, b, x0 = (
        np.asarray(each) for each in (network.w_in, network.w_rec, network.w_out, network.b, network.x0)
    )
    f = {
        "tanh": np.tanh,
        "relu": lambda x: np.maximum(x, 0),
        "softplus": lambda x: np.log1p(np.exp(x)),
        "rectified_tanh": lambda x: np.tanh(np.maximum(x, 0)),
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    }[name]
    for trial in range(2):
        x = x0
        for t in range(20):
            r = f(x)
            x = x + 7 / 50 * (-x + w_rec @ r + b + w_in @ np.asarray(inputs[trial, t]))
            r = f(x)
            np.testing.assert_allclose(rollout.states[trial, t], x, rtol=0, atol=ROUND_OFF)
            np.testing.assert_allclose(rollout.rates[trial, t], r, rtol=0, atol=ROUND_OFF)
            np.testing.assert_allclose(rollout.outputs[trial, t], w_out @ r, rtol=0, atol=ROUND_OFF)


def test_step_and_vector_field_agree_with_the_rollout():
    with jax.enable_x64(True):
        network = float64(make(n_units=6))
        inputs = inputs_of(2, 4, 5, 3)
        states = rollout_of(network, inputs).states
        np.testing.assert_allclose(network.step(states[:, 1], inputs[:, 2]), states[:, 2], rtol=0, atol=ROUND_OFF)
        field = network.vector_field(states[0, 1], inputs[0, 2])
        np.testing.assert_allclose(field, (states[0, 2] - states[0, 1]) / 10.0, rtol=0, atol=ROUND_OFF)


def test_rollout_from_a_given_state_continues_a_rollout():
    with jax.enable_x64(True):
        network = float64(make(n_units=6))
        inputs = inputs_of(3, 4, 12, 3)
        whole = rollout_of(network, inputs).states
        rest = rollout_of(network, inputs[:, 5:], start=whole[:, 4]).states
        np.testing.assert_allclose(rest, whole[:, 5:], rtol=0, atol=ROUND_OFF)


def variance_of_state(**changes):
    """Variance over trials and times long after the start of units without recurrence."""
    network = make(n_units=20, spectral_radius=0.0, n_inputs=1, tau_ms=40, dt_ms=10, **changes)
    network = eqx.tree_at(lambda n: (n.w_in, n.b), network, (jnp.full((20, 1), 0.5), jnp.zeros(20)))
    states = eqx.filter_jit(network.rollout)(jnp.zeros((400, 200, 1)), key(0, "noise")).states[:, 50:]
    return np.asarray(states, dtype=np.float64)


def test_state_noise_has_the_stationary_variance_of_the_leaky_unit():
    # x <- (1 - a) x + sqrt(2a) s xi has variance 2 a s^2 / (1 - (1 - a)^2) = 2 s^2 / (2 - a), a = 1/4
    states = variance_of_state(noise_state=0.3, noise_input=0.0)
    expected = 2 * 0.3**2 / (2 - 0.25)
    # 400 x 20 independent walks, each worth 150 / 7 values (correlation time): relative error 0.0035; bound 5 x
    assert abs(states.var() / expected - 1) < 0.0175
    assert np.corrcoef(states[:, -1, 0], states[:, -1, 1])[0, 1] < 0.25  # 400 pairs: five standard errors


def test_input_noise_reaches_all_units_alike_and_scales_with_the_input_weight():
    # a w sqrt(2 / a) s_in xi = sqrt(2a) (w s_in) xi: as state noise of w s_in, but shared by all units
    states = variance_of_state(noise_state=0.0, noise_input=0.4)
    expected = 2 * (0.5 * 0.4) ** 2 / (2 - 0.25)
    # 400 independent walks worth 150 / 7 values each: relative error 0.015; bound five times that
    assert abs(states.var() / expected - 1) < 0.08
    np.testing.assert_allclose(states[..., 0], states[..., 7], atol=1e-5)


def test_noise_per_channel_leaves_quiet_channels_quiet():
    network = make(n_units=4, noise_input=(0.0, 1.0, 0.0), noise_state=0.0)
    silent = eqx.tree_at(lambda n: n.w_in, network, network.w_in.at[:, 1].set(0.0))
    inputs = jnp.zeros((2, 5, 3))
    noisy, quiet = (rollout_of(silent, inputs, stream).states for stream in (key(0, "noise"), None))
    np.testing.assert_array_equal(noisy, quiet)


@pytest.mark.parametrize(
    ("name", "density", "noisy"), [*((name, 1.0, False) for name in ACTIVATIONS), ("tanh", 0.5, True)]
)
def test_gradient_equals_finite_differences(name, density, noisy):
    with jax.enable_x64(True):
        network = float64(make(n_units=4, activation=name, density=density, seed=5))
        inputs, stream = inputs_of(5, 2, 6, 3), key(1, "noise") if noisy else None
        chosen = network.trainable()
        parameters, fixed = eqx.partition(network, chosen)
        flat, unflatten = ravel_pytree(parameters)

        @jax.jit
        def cost(flat):
            rollout = eqx.combine(unflatten(flat), fixed).rollout(inputs, stream)
            return jnp.sum(jnp.sin(rollout.outputs)) + jnp.sum(rollout.states**2) + jnp.sum(rollout.rates**2)

        gradient = np.asarray(jax.jit(jax.grad(cost))(flat))
        steps = STEP * jnp.eye(flat.size)
        expected = jax.vmap(lambda d: (cost(flat + d) - cost(flat - d)) / (2 * STEP))(steps)
        by_name = unflatten(jnp.asarray(gradient))
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=DIFFERENCES * np.abs(gradient).max())
    assert (np.asarray(by_name.w_rec)[np.asarray(network.mask_rec) == 0] == 0).all()
    assert np.abs(by_name.x0).min() > 0


def test_constrained_clips_only_what_breaks_dales_law():
    network = make(n_units=5, dale_excitatory_fraction=0.6)
    pushed = eqx.tree_at(lambda n: n.w_rec, network, network.w_rec - 0.3 * network.mask_rec)
    kept = pushed.constrained().w_rec
    assert (kept * network.dale_sign >= 0).all()
    fine = pushed.w_rec * network.dale_sign >= 0
    np.testing.assert_array_equal(kept[fine], pushed.w_rec[fine])
    mixed = make(n_units=5)
    np.testing.assert_array_equal(mixed.constrained().w_rec, mixed.w_rec)


def test_initial_weights_follow_the_settings():
    network = make(n_units=40, spectral_radius=0.8)
    assert np.abs(np.linalg.eigvals(np.asarray(network.w_rec))).max() == pytest.approx(0.8, rel=1e-5)
    assert np.abs(network.w_in).max() <= 0.1
    assert network.w_rec.dtype == jnp.float32
    assert set(network.weights()) == {"in", "rec", "out"}


def test_wrong_number_of_noise_channels():
    with pytest.raises(SettingsError, match=r"noise_input must be one number or one per input channel \(3\)"):
        make(noise_input=(0.1, 0.2))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"dt_ms": 60}, r"dt_ms \(60\) does not exceed tau_ms \(50\)"),
        ({"activation": "cos"}, r"activation must be one of tanh, .* but got cos"),
        ({"noise_state": -1}, r"noise_state must be greater than or equal to 0, but got -1"),
        ({"n_unit": 10}, r"Did you mean n_units"),
    ],
)
def test_bad_settings_say_what_is_wrong(values, sentence):
    with pytest.raises(SettingsError, match=sentence):
        parse(NetworkSettings, values)
