"""Every row of the table of activations keeps the same contract."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynaprobe.core.errors import SettingsError
from dynaprobe.model.activations import ACTIVATIONS, activation
from dynaprobe.model.rnn import CTRNN
from dynaprobe.model.settings import NetworkSettings

STEP = 1e-5
# Central differences: error of the rule, third derivative times STEP^2 / 6, plus round-off, 1e-16 / STEP.
DIFFERENCES = 1e-9
ROWS = list(ACTIVATIONS)
# No point within STEP of the kink at 0.
POINTS = np.setdiff1d(np.linspace(-12, 12, 481), [0.0])


@pytest.mark.parametrize("name", ROWS)
def test_slope_equals_finite_differences(name):
    row = ACTIVATIONS[name]
    with jax.enable_x64(True):
        x = jnp.asarray(POINTS)
        expected = (row.function(x + STEP) - row.function(x - STEP)) / (2 * STEP)
        np.testing.assert_allclose(row.slope(x), expected, rtol=0, atol=DIFFERENCES)


@pytest.mark.parametrize("name", ROWS)
def test_slope_stays_in_its_bounds_and_reaches_them(name):
    row = ACTIVATIONS[name]
    with jax.enable_x64(True):
        slope = np.asarray(row.slope(jnp.linspace(-40, 40, 8001)))
    low, high = row.slope_bounds
    assert slope.min() >= low
    assert slope.max() <= high
    np.testing.assert_allclose([slope.min(), slope.max()], [low, high], atol=1e-3)  # approached on a grid of 0.01


@pytest.mark.parametrize("name", ROWS)
def test_sign_of_rates_is_as_stated(name):
    row = ACTIVATIONS[name]
    lowest = float(row.function(jnp.linspace(-20, 20, 401)).min())
    assert (lowest >= 0) == row.is_non_negative


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("spectral_radius", [0.0, 1.1])
def test_rollout_stays_finite(name, spectral_radius):
    settings = NetworkSettings(n_units=10, activation=name, spectral_radius=spectral_radius)
    network = CTRNN.make(settings, n_inputs=2, n_outputs=1, seed=0)
    rollout = network.rollout(10 * jnp.ones((2, 50, 2)), jax.random.key(0))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(rollout))


def test_unknown_activation_names_the_known_ones():
    with pytest.raises(SettingsError, match=r"activation must be one of tanh, .*sigmoid, but got cosine\."):
        activation("cosine")


def test_settings_know_the_activations_of_the_table_and_no_others():
    for name in ACTIVATIONS:
        assert NetworkSettings(activation=name).activation == name
    with pytest.raises(
        SettingsError, match=r"^activation must be one of tanh, relu, .*, but got gelu\. Choose one"
    ):
        NetworkSettings().with_changes({"activation": "gelu"})
