"""Hashed noise is normal and independent, within bounds that fail once in 10^5 for truly normal values."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from dynaprobe.core.random import key
from dynaprobe.model.noise import normal_noise

# Two-sided bound of a standard normal statistic for an error rate of 10^-5 each: SAMPLING.
SAMPLING = stats.norm.isf(0.5e-5)
SHAPE = (100, 60, 50)
make = jax.jit(normal_noise, static_argnums=(1, 2))


@pytest.fixture(scope="module")
def values():
    return np.asarray(make(key(3, "noise"), SHAPE), dtype=np.float64)


def standard_score(sample, mean, variance):
    return (sample.mean() - mean) / np.sqrt(variance / sample.size)


@pytest.mark.parametrize(("power", "mean", "variance"), [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)])
def test_moments(values, power, mean, variance):
    assert abs(standard_score(values**power, mean, variance)) < SAMPLING


@pytest.mark.parametrize("beyond", [2.0, 3.0, 4.0])
def test_tails(values, beyond):
    expected = 2 * stats.norm.sf(beyond)
    found = int((np.abs(values) > beyond).sum())
    low, high = stats.binom.interval(1 - 1e-5, values.size, expected)
    assert low <= found <= high


def test_distribution(values):
    assert stats.kstest(values.ravel(), "norm").pvalue > 1e-5


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("lag", [1, 2, 25])
def test_neighbours_are_uncorrelated(values, axis, lag):
    # Lag 25 along units pairs the cosine with the sine of one Box-Muller pair. Squares would show a shared radius.
    index = np.arange(values.shape[axis] - lag)
    first, second = values.take(index, axis), values.take(index + lag, axis)
    assert abs(standard_score(first * second, 0, 1)) < SAMPLING
    assert abs(standard_score((first**2 - 1) * (second**2 - 1), 0, 4)) < SAMPLING


def test_rows_of_units_are_uncorrelated_with_one_another(values):
    rows = values.reshape(-1, SHAPE[2])[:3000]
    products = rows @ rows.T / np.sqrt(SHAPE[2])
    largest = np.abs(products[np.triu_indices(3000, 1)]).max()
    # 4.5 million products that are nearly normal (kurtosis 3 + 6/50): the largest expected is about 5.3
    assert largest < 7.5


def test_updates_are_uncorrelated(values):
    base = key(3, "noise")
    fields = np.stack([make(jax.random.fold_in(base, k), SHAPE) for k in range(6)]).astype(np.float64)
    fields = fields.reshape(6, -1)
    scores = fields @ fields.T / np.sqrt(fields.shape[1])
    assert np.abs(scores[np.triu_indices(6, 1)]).max() < SAMPLING


def test_mean_over_each_axis_has_the_right_variance(values):
    for axis in range(3):
        means = values.mean(axis) * np.sqrt(values.shape[axis])
        assert abs(standard_score(means**2, 1, 2)) < SAMPLING


def test_a_value_does_not_depend_on_how_many_trials_and_times_there_are(values):
    fewer = make(key(3, "noise"), (20, 7, SHAPE[2]))
    np.testing.assert_array_equal(np.asarray(fewer), values[:20, :7].astype(np.float32))


def test_same_key_same_noise_and_other_key_other_noise():
    a, b, c = (np.asarray(make(key(seed, "noise"), (3, 2, 5))) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert (a != c).all()


def test_odd_number_of_units_and_float64():
    assert make(key(0, "noise"), (2, 2, 1)).shape == (2, 2, 1)
    with jax.enable_x64(True):
        assert make(key(0, "noise"), (2, 2, 3), jnp.float64).dtype == jnp.float64
