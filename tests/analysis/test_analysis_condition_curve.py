"""Dimensionality against conditions: random activity at its ceiling, confined activity below, invariances."""

from itertools import combinations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from population_samples import as_rates, rotating, smooth_values
from scipy.ndimage import gaussian_filter1d
from scipy.stats import ortho_group

from dynaprobe.analysis.condition_curve import ConditionCurve, condition_curve
from dynaprobe.analysis.dimensionality import dimensionality
from dynaprobe.core.errors import RatesError, SettingsError

FAST = {"n_bootstrap": 20}


def ratio(values):
    eigenvalues = np.linalg.eigvalsh(np.cov(values.reshape(-1, values.shape[-1]).T))
    return eigenvalues.sum() ** 2 / (eigenvalues**2).sum()


def test_each_point_is_the_mean_over_subsets():
    values = smooth_values(0, n_conditions=5) + 4
    data = condition_curve(as_rates(values), **FAST).data
    assert data["n_conditions"].values.tolist() == [2, 3, 4, 5]
    assert data["n_subsets"].values.tolist() == [10, 10, 5, 1]
    for k in (2, 3, 4, 5):
        subsets = [values[list(chosen)] for chosen in combinations(range(5), k)]
        found = [ratio(subset - subset.mean(axis=0)) for subset in subsets]
        row = data.sel(n_conditions=k)
        assert float(row["participation_ratio"]) == pytest.approx(np.mean(found))
        assert_allclose(row["spread"], [min(found), max(found)])
    kept = condition_curve(as_rates(values), subtract_mean=False, **FAST).data
    assert kept["n_conditions"].values.tolist() == [1, 2, 3, 4, 5]
    assert float(kept["participation_ratio"][-1]) == pytest.approx(ratio(values))


def test_with_all_conditions_the_interval_is_that_of_dimensionality():
    values = smooth_values(1)
    whole = dimensionality(as_rates(values - values.mean(axis=0)), n_bootstrap=50).data
    curve = condition_curve(as_rates(values), n_bootstrap=50).data
    assert_allclose(curve["interval_units"][-1], whole["interval_units"])


def test_random_smooth_activity_is_at_its_ceiling():
    source = np.random.default_rng(0)
    values = gaussian_filter1d(source.standard_normal((8, 40, 2000)), 4.0, axis=1)
    data = condition_curve(as_rates(values), n_subsets=3, n_bootstrap=2, subtract_mean=True).data
    reached = data["participation_ratio"] / data["complexity"]
    # N units reach (N D + 2) / (N + 1 + D) of D on average: 2000 units are within 2 % of it here, and D is 35.
    assert (reached > 0.95).all()
    assert (reached < 1.01).all()
    # Each condition adds as many dimensions again as the smoothness in time allows.
    per_condition = data["complexity"].values / (data["n_conditions"].values - 1)
    assert_allclose(per_condition, per_condition[0], rtol=0.1)


def test_confined_activity_stays_below_its_ceiling():
    # Every condition goes its own way, smooth and random, in one plane.
    source = np.random.default_rng(1)
    latent = gaussian_filter1d(source.standard_normal((10, 60, 2)), 2.0, axis=1)
    values = latent @ source.standard_normal((2, 30))
    data = condition_curve(as_rates(values), n_subsets=5, **FAST).data
    assert (data["participation_ratio"] <= 2 + 1e-9).all()
    assert float(data["complexity"][-1]) > 10 * float(data["participation_ratio"][-1])
    growth = np.diff(data["participation_ratio"].values)
    assert growth[-3:].max() < 0.1


def test_two_conditions_without_their_mean_are_one_trajectory_at_its_ceiling():
    data = condition_curve(as_rates(smooth_values(2)), **FAST).data
    assert float(data["participation_ratio"][0]) == pytest.approx(float(data["complexity"][0]))


def test_noise_is_removed_from_curve_and_ceiling():
    signal = 3 * rotating(n_units=40, n_conditions=6)
    source = np.random.default_rng(2)
    halves = [
        tuple(as_rates(signal + 0.3 * source.standard_normal(signal.shape)) for _ in range(2)) for _ in range(10)
    ]
    whole = as_rates((halves[0][0].values + halves[0][1].values) / 2)
    data, clean = (condition_curve(r, h, **FAST).data for r, h in ((whole, halves), (as_rates(signal), ())))
    for name in ("participation_ratio", "complexity"):
        noisy_miss = np.abs(data[name] - clean[name]).values
        signal_miss = np.abs(data[f"signal_{name}"] - clean[name]).values
        assert (signal_miss[1:] < 0.5 * noisy_miss[1:]).all()


def test_scale_rotation_order_and_seed():
    values = smooth_values(3, n_conditions=8)
    turned = 1e3 * values @ ortho_group.rvs(12, random_state=0) + 5
    plain, other = (condition_curve(as_rates(v), n_subsets=4, **FAST).data for v in (values, turned))
    for name in ("participation_ratio", "spread", "complexity"):
        assert_allclose(other[name], plain[name], rtol=1e-6)
    assert plain.identical(condition_curve(as_rates(values), n_subsets=4, **FAST).data)
    assert plain["n_subsets"].values.tolist() == [4, 4, 4, 4, 4, 4, 1]
    reverse = condition_curve(as_rates(values[::-1]), n_subsets=100, **FAST).data
    forward = condition_curve(as_rates(values), n_subsets=100, **FAST).data
    assert_allclose(reverse["participation_ratio"], forward["participation_ratio"])


def test_record_survives_a_round_trip():
    result = condition_curve(as_rates(smooth_values(4)), **FAST)
    again = ConditionCurve.from_dataset(result.to_dataset())
    assert again.data.identical(result.data)


@pytest.mark.parametrize(
    ("values", "options", "sentence"),
    [
        (smooth_values(0)[:2], {}, "rates.condition must have at least 3 entries, but got 2"),
        (smooth_values(0)[:1], {"subtract_mean": False}, "rates.condition must have at least 2 entries"),
        (smooth_values(0)[..., :1], {}, "rates.unit must have at least 2 entries"),
        (smooth_values(0), {"level": 0.0}, r"level must lie in \(0, 1\)"),
        (np.repeat(smooth_values(0)[:1], 4, axis=0), {}, "rates must vary in every subset of the conditions"),
    ],
)
def test_messages(values, options, sentence):
    with pytest.raises(RatesError, match=sentence):
        condition_curve(as_rates(values), **options, **FAST)


def test_counts_are_checked():
    with pytest.raises(SettingsError, match="n_subsets must be at least 1"):
        condition_curve(as_rates(smooth_values(0)), n_subsets=0)
