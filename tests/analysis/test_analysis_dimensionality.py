"""Participation ratio: exact cases, eigenvalues, the bootstrap by hand, coverage, noise removed, invariances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from population_samples import as_rates, smooth_values, spread_evenly
from scipy.stats import binom, ortho_group

from dynaprobe.analysis.dimensionality import (
    DimensionalityResult,
    Moments,
    covariance,
    dimensionality,
    signal_moments,
    unit_weights,
)
from dynaprobe.analysis.pca import pca
from dynaprobe.core.errors import RatesError, SettingsError

ROUND_OFF = 1e-9  # sums of products of order one


def ratio(values):
    eigenvalues = np.linalg.eigvalsh(np.cov(values.reshape(-1, values.shape[-1]).T))
    return eigenvalues.sum() ** 2 / (eigenvalues**2).sum()


def noisy_halves(signal, sd, seed, n=1):
    source = np.random.default_rng(seed)
    return [tuple(signal + sd * source.standard_normal(signal.shape) for _ in range(2)) for _ in range(n)]


@pytest.mark.parametrize("d", [1, 3, 8])
def test_d_even_dimensions_are_d(d):
    axes = ortho_group.rvs(8, random_state=0)[:d]
    data = dimensionality(as_rates(spread_evenly(axes)), n_bootstrap=10).data
    assert float(data["participation_ratio"]) == pytest.approx(d, abs=ROUND_OFF)


@pytest.mark.parametrize("seed", range(3))
def test_by_eigenvalues_and_as_pca_says(seed):
    values = smooth_values(seed) + 7
    found = float(dimensionality(as_rates(values), n_bootstrap=10).data["participation_ratio"])
    assert found == pytest.approx(ratio(values), abs=ROUND_OFF)
    assert found == pytest.approx(float(pca(as_rates(values)).data["participation_ratio"]), abs=ROUND_OFF)


def test_a_draw_of_units_by_hand():
    values = smooth_values(1, n_units=5)
    C = covariance(values)
    moments = Moments.of_covariance(C)
    weights = np.array([[2, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 3, 2, 0, 0]], dtype=float)
    for row, found in zip(weights, moments.resampled(weights), strict=True):
        units = np.repeat(np.arange(5), row.astype(int))
        pairs = [C[i, j] ** 2 for i in units for j in units if i != j]
        n = units.size
        squares = n * np.mean(C[units, units] ** 2) + n * (n - 1) * np.mean(pairs)
        assert found == pytest.approx((C[units, units].sum()) ** 2 / squares)
    assert moments.resampled(weights)[1] == pytest.approx(moments.ratio)


def test_units_drawn_twice_do_not_lower_the_ratio():
    values = np.random.default_rng(0).standard_normal((6, 50, 40))  # no two units alike
    moments = Moments.of_covariance(covariance(values))
    weights = unit_weights(40, 400, 0)
    counts = weights.astype(int)
    naive = [ratio(values[..., np.repeat(np.arange(40), row)]) for row in counts[:50]]
    assert np.mean(naive) < 0.8 * moments.ratio
    assert np.mean(moments.resampled(weights)) == pytest.approx(moments.ratio, rel=0.02)


def test_coverage_of_the_interval_over_units():
    # Units load on five latents and have activity of their own; the truth is the mean over populations.
    source = np.random.default_rng(1)
    latents = source.standard_normal((120, 5)) * [3, 2, 1.5, 1, 1]
    ratios, inside = [], []
    populations = [
        (latents @ source.standard_normal((5, 40)) + 0.5 * source.standard_normal((120, 40))).reshape(6, 20, 40)
        for _ in range(300)
    ]
    ratios = [Moments.of_covariance(covariance(values)).ratio for values in populations]
    truth = np.mean(ratios)
    for k, values in enumerate(populations):
        resampled = Moments.of_covariance(covariance(values)).resampled(unit_weights(40, 200, k))
        low, high = np.quantile(resampled, [0.025, 0.975])
        inside.append(low <= truth <= high)
    # A percentile bootstrap of 40 units keeps a little less than it promises: 95 % asked, 88 % demanded.
    assert sum(inside) >= binom.ppf(1e-4, 300, 0.88)
    assert np.mean(inside) < 0.995


def test_noise_is_removed():
    axes = ortho_group.rvs(40, random_state=2)[:4]
    signal = spread_evenly(axes)
    naive, clean = [], []
    for seed in range(20):
        (pair,) = noisy_halves(signal, 0.3, seed)
        naive.append(ratio((pair[0] + pair[1]) / 2))
        clean.append(signal_moments([pair[0]], [pair[1]]).ratio)
    assert np.mean(naive) > 5.5
    # SAMPLING: 20 data sets with a standard deviation of about 0.1, and what K_ii^2 keeps of the noise.
    assert np.mean(clean) == pytest.approx(4.0, abs=0.15)


def test_the_interval_over_trials_is_as_wide_as_trials_scatter():
    signal = smooth_values(3, n_units=15)
    halves = noisy_halves(signal, 0.5, 0, n=200)
    wholes = [ratio((a + b) / 2) for a, b in halves]
    widths = []
    for k in range(20):
        rates = [tuple(as_rates(half) for half in pair) for pair in halves[10 * k : 10 * k + 10]]
        low, high = dimensionality(as_rates(signal), rates, n_bootstrap=2).data["interval_trials"].values
        widths.append((high - low) / 2 / 2.228)  # Student's t with ten degrees of freedom, 95 %
    # SAMPLING: 200 independent halvings; the root mean square of ten of them estimates it to a quarter.
    assert np.mean(widths) == pytest.approx(np.std(wholes), rel=0.2)


def test_without_noise_both_ratios_agree():
    values = smooth_values(4)
    pair = (as_rates(values), as_rates(values))
    data = dimensionality(as_rates(values), [pair, pair], n_bootstrap=50).data
    assert float(data["signal_participation_ratio"]) == pytest.approx(float(data["participation_ratio"]))
    assert_allclose(data["interval_signal_units"], data["interval_units"])
    assert_allclose(data["interval_trials"], data["participation_ratio"])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-6, 1e6), offset=st.floats(-100, 100))
def test_scale_offset_and_rotation_do_not_matter(seed, scale, offset):
    values = smooth_values(seed, n_units=6)
    turn = ortho_group.rvs(6, random_state=seed)
    plain, other = (
        float(dimensionality(as_rates(v), n_bootstrap=1).data["participation_ratio"])
        for v in (values, scale * (values[::-1] @ turn + offset))
    )
    assert other == pytest.approx(plain, rel=1e-6)
    assert 1 <= plain <= 6


def test_noise_alone_is_said():
    values = np.random.default_rng(0).standard_normal((2, 3, 4))
    rates = as_rates(values)
    found = dimensionality(rates, [(rates, as_rates(-values))], n_bootstrap=2)
    assert found.failures == {"no signal left once the noise is removed": 1}
    assert np.isnan(found.data["signal_participation_ratio"])
    with pytest.raises(RatesError, match=r"halves\[0\] must be finite everywhere"):
        dimensionality(rates, [(rates, rates.where(rates > 0))], n_bootstrap=2)


def test_record_survives_a_round_trip():
    result = dimensionality(as_rates(smooth_values(0)), n_bootstrap=5)
    again = DimensionalityResult.from_dataset(result.to_dataset())
    assert again.data.identical(result.data)
    assert again.settings["n_halvings"] == 0
    assert "signal_participation_ratio" not in again.data


@pytest.mark.parametrize(
    ("values", "halves", "options", "sentence"),
    [
        (smooth_values(0)[..., :1], (), {}, "rates.unit must have at least 2 entries, but got 1. One unit has"),
        (np.ones((3, 4, 5)), (), {}, "rates must vary over conditions or times"),
        (smooth_values(0), (), {"level": 1.0}, r"level must lie in \(0, 1\), but got 1.0"),
        (
            smooth_values(0),
            [(smooth_values(0), smooth_values(0)[:3])],
            {},
            r"halves\[0\] must have the conditions",
        ),
    ],
)
def test_messages(values, halves, options, sentence):
    with pytest.raises(RatesError, match=sentence):
        dimensionality(as_rates(values), [tuple(map(as_rates, pair)) for pair in halves], **options)


def test_draws_are_needed():
    with pytest.raises(SettingsError, match="n_bootstrap must be at least 1, but got 0"):
        dimensionality(as_rates(smooth_values(0)), n_bootstrap=0)
