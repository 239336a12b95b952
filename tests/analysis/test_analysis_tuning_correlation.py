"""Tuning across epochs: known angles, noise that cancels, calibrated chance, invariance."""

import numpy as np
import pytest
import xarray as xr
from trial_samples import DEGREES

from dynaprobe.analysis.tuning_correlation import TuningCorrelation, tuning_correlation
from dynaprobe.core.errors import RatesError
from dynaprobe.core.rates import make_rates

Halves = list[tuple[xr.DataArray, xr.DataArray]]


def rates_of(values: np.ndarray) -> xr.DataArray:
    return make_rates(
        values,
        dims=("condition", "time", "unit"),
        time_ms=10.0 * np.arange(values.shape[1]),
        event="target_on",
        rate_unit="spikes/s",
        source="test",
    )


def epochs(
    before_deg: np.ndarray, after_deg: np.ndarray, *, noise: float = 0.0, seed: int = 0
) -> tuple[Halves, Halves]:
    """Two halves of cosine-tuned units; half of the noise variance is shared by both epochs of a half."""
    source = np.random.default_rng(seed)
    shape = (8, 3, before_deg.size)
    first: Halves = []
    second: Halves = []
    for preferred, halves in ((before_deg, first), (after_deg, second)):
        halves.append(
            tuple(np.cos(np.deg2rad(DEGREES[:, None] - preferred))[:, None] * np.ones((1, 3, 1)) for _ in "ab")
        )
    shared = [source.standard_normal((8, 1, before_deg.size)) for _ in "ab"]
    for halves in (first, second):
        halves[0] = tuple(
            rates_of(10 + part + noise * (s + source.standard_normal((8, 1, before_deg.size))) * np.ones(shape))
            for part, s in zip(halves[0], shared, strict=True)
        )
    return first, second


def correlated(before_deg: np.ndarray, after_deg: np.ndarray, n: int = 200, **how: float) -> TuningCorrelation:
    return tuning_correlation(*epochs(before_deg, after_deg, **how), seed=0, n_null=n, n_bootstrap=n)


def test_a_turn_gives_its_cosine() -> None:
    turn = np.array([0.0, 60.0, 90.0, 180.0])
    data = correlated(np.array([10.0, 50.0, 200.0, 300.0]), np.array([10.0, 50.0, 200.0, 300.0]) + turn).data
    np.testing.assert_allclose(data["raw"], np.cos(np.deg2rad(turn)), atol=1e-9)
    np.testing.assert_allclose(data["corrected"], np.cos(np.deg2rad(turn)), atol=1e-9)
    assert float(data["population"]) == pytest.approx(np.cos(np.deg2rad(turn)).mean())
    np.testing.assert_allclose(data["reliability"], 1)


def test_noise_neither_weakens_nor_makes_a_correlation() -> None:
    source = np.random.default_rng(1)
    preferred = source.uniform(0, 360, 600)
    same = correlated(preferred, preferred, noise=0.5).data
    apart = correlated(preferred, preferred + 90, noise=0.5).data
    # Tuning variance 1/2; noise 0.25 of its own, 0.25 shared by both epochs of a half, half of each in the mean.
    assert float(same["raw_median"]) == pytest.approx(0.5 / 0.75 + 0.125 / 0.75, abs=0.06)
    assert float(same["population"]) == pytest.approx(1, abs=0.03)
    assert float(apart["raw"].mean()) > 0.1  # what trials share looks like tuning
    assert float(apart["population"]) == pytest.approx(0, abs=0.05)
    assert float(apart["population_low"]) < 0 < float(apart["population_high"])
    assert abs(float(same["corrected_median"]) - 1) < 0.1


def test_unrelated_tuning_is_chance_at_its_rate() -> None:
    p_values = []
    for seed in range(60):
        source = np.random.default_rng(seed)
        result = correlated(*source.uniform(0, 360, (2, 25)), n=99, noise=0.3, seed=seed)
        p_values.append(float(result.data["p_value"]))
    # SAMPLING: 60 uniform numbers have a mean of 0.5 +- 0.037, and 3 +- 1.7 of them at or below 0.05.
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.13)
    assert np.mean(np.array(p_values) <= 0.05) <= 0.15
    related = correlated(np.arange(0, 360, 15.0), np.arange(0, 360, 15.0) + 20, n=99)
    assert float(related.data["p_value"]) == pytest.approx(0.02)


def test_the_null_keeps_what_all_units_share() -> None:
    """All units prefer 0 in both epochs: high correlation, and the pairing says nothing."""
    data = correlated(np.zeros(20), np.zeros(20), noise=0.2).data
    assert float(data["population"]) > 0.9
    assert float(data["p_value"]) > 0.05
    assert float(data["null"].mean()) > 0.9


def test_rates_order_and_directions_do_not_matter() -> None:
    first, second = epochs(np.arange(0, 360, 30.0), np.arange(0, 360, 30.0) + 50, noise=0.2)
    before = tuning_correlation(first, second, seed=0, n_null=50, n_bootstrap=50).data

    def moved(halves: Halves) -> Halves:
        order = [3, 4, 5, 6, 7, 0, 1, 2]
        return [tuple((h * 1e-3 + 7).assign_attrs(h.attrs).isel(condition=order) for h in pair) for pair in halves]

    after = tuning_correlation(moved(first), moved(second), seed=0, n_null=50, n_bootstrap=50).data
    xr.testing.assert_allclose(before, after, rtol=1e-6, atol=1e-8)
    swapped = tuning_correlation(second, first, seed=0, n_null=50, n_bootstrap=50).data
    np.testing.assert_allclose(swapped["corrected"], before["corrected"])
    doubled = tuning_correlation(first * 2, second * 2, seed=0, n_null=50, n_bootstrap=50).data
    xr.testing.assert_allclose(doubled, before)


def test_units_without_reliable_tuning_have_no_corrected_correlation() -> None:
    first, second = epochs(np.array([0.0, 90.0, 180.0]), np.array([0.0, 90.0, 180.0]))
    for pair in first:
        for half in pair:
            half.values[:, :, 1] = 4.0
    result = tuning_correlation(first, second, seed=0, n_null=20, n_bootstrap=20)
    assert np.isnan(result.data["corrected"][1])
    assert np.isnan(result.data["raw"][1])
    assert result.status == "1 x unit below the least reliability, without corrected correlation"
    assert TuningCorrelation.from_dataset(result.to_dataset()).settings["least_reliability"] == 0.3
    flat = [tuple(rates_of(np.full((8, 3, 3), 5.0)) for _ in "ab")]
    nothing = tuning_correlation(flat, flat, seed=0, n_null=20, n_bootstrap=20)
    assert np.isnan(nothing.data["population"])
    assert np.isnan(nothing.data["p_value"])
    assert "population correlation undefined" in nothing.status


def test_bad_input_is_named() -> None:
    first, second = epochs(np.array([0.0, 90.0]), np.array([0.0, 90.0]))
    fewer = [tuple(h.isel(unit=[0]) for h in pair) for pair in second]
    with pytest.raises(
        RatesError, match="movement must hold the splits, halves, conditions and units of preparatory"
    ):
        tuning_correlation(first, fewer, seed=0)
    short = [tuple(h.isel(condition=[0, 1]) for h in pair) for pair in first]
    with pytest.raises(
        RatesError, match="preparatory must hold the same units and conditions in all halves, 3 con"
    ):
        tuning_correlation(short, short, seed=0)
