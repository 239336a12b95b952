"""Initial weights: spectral radius, masks, Dale signs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynaprobe.core.errors import SettingsError
from dynaprobe.core.random import generator
from dynaprobe.model.connectivity import dale_signs, recurrent_mask, recurrent_weights, uniform_weights

ROUND_OFF = 1e-9  # of the eigenvalues of some ten units


def radius(weights):
    return np.abs(np.linalg.eigvals(weights)).max()


@settings(deadline=None, max_examples=25)
@given(
    # Among fewer units, half of the connections may happen to form no loop, which is refused.
    n_units=st.integers(10, 30),
    density=st.floats(0.5, 1),
    wanted=st.floats(0.1, 2),
    fraction=st.none() | st.floats(0.3, 0.7),
    seed=st.integers(0, 1000),
)
def test_spectral_radius_mask_and_signs(n_units, density, wanted, fraction, seed):
    mask = recurrent_mask(generator(seed, "mask"), n_units, density=density)
    sign = None if fraction is None else dale_signs(n_units, fraction)
    weights = recurrent_weights(generator(seed, "w"), mask, spectral_radius=wanted, dale_sign=sign)
    assert abs(radius(weights) - wanted) < ROUND_OFF
    assert (weights[mask == 0] == 0).all()
    assert (np.diag(weights) == 0).all()
    if sign is not None:
        assert (weights * sign >= 0).all()


def test_weights_are_gaussian():
    # Mean and kurtosis of 9900 entries: standard errors 0.01 and 0.05; bounds at five of them.
    weights = recurrent_weights(generator(0, "w"), recurrent_mask(generator(0, "m"), 100), spectral_radius=1.0)
    entries = weights[~np.eye(100, dtype=bool)]
    z = entries / entries.std()
    assert abs(z.mean()) < 0.05
    assert abs((z**4).mean() - 3) < 0.25


def test_dale_weights_are_balanced_and_their_spectrum_is_no_outlier():
    mask = recurrent_mask(generator(0, "m"), 100)
    sign = dale_signs(100, 0.8)
    weights = recurrent_weights(generator(0, "w"), mask, spectral_radius=1.5, dale_sign=sign)
    assert abs(weights.sum()) < ROUND_OFF * np.abs(weights).sum()
    modulus = np.sort(np.abs(np.linalg.eigvals(weights)))
    assert modulus[-1] < 1.5 * modulus[-5]  # without balance, one eigenvalue stands several times beyond the rest


def test_density_is_the_fraction_of_connections():
    mask = recurrent_mask(generator(1, "m"), 200, density=0.3)
    # binomial of 39800 draws: standard error 0.0023; bound at five of them
    assert abs(mask.sum() / (200 * 199) - 0.3) < 0.012


def test_uniform_weights_fill_their_range():
    weights = uniform_weights(generator(0, "w"), 100, 100)
    assert -0.1 <= weights.min() < -0.099
    assert 0.099 < weights.max() < 0.1


def test_zero_spectral_radius_gives_no_recurrence():
    mask = recurrent_mask(generator(0, "m"), 5)
    assert (recurrent_weights(generator(0, "w"), mask, spectral_radius=0.0) == 0).all()


def test_mask_without_loops_cannot_be_scaled():
    mask = np.tril(np.ones((4, 4)), -1)
    with pytest.raises(SettingsError, match=r"density must leave at least one loop .* got 6 connections among 4"):
        recurrent_weights(generator(0, "w"), mask, spectral_radius=1.0)


def test_dale_fraction_that_leaves_a_population_empty():
    with pytest.raises(
        SettingsError, match=r"at least one excitatory and one inhibitory of 4 units, but got 0\.95"
    ):
        dale_signs(4, 0.95)
