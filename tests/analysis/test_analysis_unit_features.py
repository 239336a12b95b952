"""Sparseness and features of units against arithmetic by hand, chance and invariance."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from dynaprobe.analysis.sparseness import Sparseness, sparseness
from dynaprobe.analysis.unit_features import FEATURES, SHAPE_FEATURES, UnitFeatures, unit_features
from dynaprobe.core.errors import RatesError
from dynaprobe.core.rates import make_rates

DEGREES = np.arange(8) * 45.0
TIME = np.arange(20)


def rates_of(values: np.ndarray) -> xr.DataArray:
    return make_rates(
        values,
        dims=("condition", "time", "unit"),
        time_ms=10.0 * np.arange(values.shape[1]) - 50,
        event="move_onset",
        rate_unit="spikes/s",
        source="test",
        coords={"direction_deg": ("condition", np.arange(values.shape[0]) * 360.0 / values.shape[0])},
    )


def test_one_response_alone_is_one_and_all_alike_are_nothing() -> None:
    values = np.zeros((4, 5, 3))
    values[2, 3, 0] = 7.0
    values[:, :, 1] = 3.0
    result = sparseness(rates_of(values))
    np.testing.assert_allclose(result.data["lifetime"], [1, 0, np.nan], atol=1e-12)
    assert result.status == "1 x silent unit, without sparseness"
    # At its one moment units are 7, 3 and 0: a = (10 / 3)^2 / (58 / 3).
    assert float(result.data["population"][2, 3]) == pytest.approx((1 - 100 / 9 / (58 / 3)) / (1 - 1 / 3))
    assert Sparseness.from_dataset(result.to_dataset()).settings == {"noise_removed": False}


def test_half_of_equal_responses_are_silent() -> None:
    values = np.zeros((4, 5, 1))
    values[:2] = 6.0
    assert float(sparseness(rates_of(values)).data["lifetime"][0]) == pytest.approx(0.5 / (1 - 1 / 20))


def test_exponential_rates_have_a_sparseness_of_one_half() -> None:
    values = np.random.default_rng(0).exponential(3.0, (50, 40, 30))
    found = sparseness(rates_of(values)).data
    # (mean)^2 / mean of squares is 1/2 for an exponential; 2000 draws know it to 1 % or so.
    np.testing.assert_allclose(found["lifetime"], 0.5, atol=0.05)
    assert float(found["population_mean"]) == pytest.approx(0.5, abs=0.03)


def test_noise_is_taken_out_of_the_squares() -> None:
    source = np.random.default_rng(1)
    truth = np.broadcast_to(10 + 5 * np.cos(np.deg2rad(DEGREES))[:, None, None], (8, 20, 200))
    noisy = np.maximum(truth + 3 * source.standard_normal(truth.shape), 0)
    error = rates_of(np.full(truth.shape, 3.0))
    clean = float(sparseness(rates_of(truth[:, :, :1])).data["lifetime"][0])
    assert float(sparseness(rates_of(noisy)).data["lifetime_median"]) > clean + 0.04
    assert float(sparseness(rates_of(noisy), error).data["lifetime_median"]) == pytest.approx(clean, abs=0.01)
    drowned = sparseness(rates_of(noisy), rates_of(np.full(truth.shape, 50.0)))
    assert np.isnan(drowned.data["lifetime_median"])


@settings(max_examples=25)
@given(st.floats(1e-200, 1e200), st.integers(0, 1000))
def test_sparseness_lies_in_its_range_and_knows_no_scale(scale: float, seed: int) -> None:
    values = np.random.default_rng(seed).gamma(0.3, size=(3, 4, 5))
    found = sparseness(rates_of(values)).data["lifetime"].values
    assert ((found >= 0) & (found <= 1 + 1e-12)).all()
    np.testing.assert_allclose(sparseness(rates_of(values * scale)).data["lifetime"], found, rtol=1e-9)


def bump(preferred_deg: float, *, peak: int, depth: float = 10.0, base: float = 20.0) -> np.ndarray:
    """Tuned and flat in the first half of time, tuned bump in the second."""
    course = np.where(TIME < 10, 0.5, np.exp(-((TIME - peak) ** 2) / 4))
    return base + depth * np.cos(np.deg2rad(DEGREES - preferred_deg))[:, None] * course


def features(*units: np.ndarray) -> UnitFeatures:
    rates = rates_of(np.stack(units, axis=2))
    return unit_features(rates, rates.isel(time=slice(10)), rates.isel(time=slice(10, 20)))


def test_features_are_what_was_built_in() -> None:
    result = features(bump(0, peak=13), bump(90, peak=16))
    data = result.data.sel(feature=list(FEATURES))["value"]
    np.testing.assert_allclose(data.sel(feature="peak_rate"), 30)
    np.testing.assert_allclose(data.sel(feature="modulation"), 20)
    np.testing.assert_allclose(data.sel(feature="mean_level"), 0.5)
    np.testing.assert_allclose(data.sel(feature="peak_time_ms"), [80, 110])
    np.testing.assert_allclose(data.sel(feature="preparatory_depth"), 5 / 20)
    course = np.exp(-((np.arange(10, 20) - 13) ** 2) / 4).mean()
    assert float(data.sel(feature="movement_depth")[0]) == pytest.approx(10 * course / 20)
    np.testing.assert_allclose(data.sel(feature="tuning_correlation"), 1)
    np.testing.assert_allclose(data.sel(feature="shared_fraction"), 0, atol=1e-12)
    assert set(SHAPE_FEATURES) == set(FEATURES) - {"peak_rate", "modulation"}
    assert UnitFeatures.from_dataset(result.to_dataset()).data["median"].sizes == {"feature": 9}


def test_shape_features_know_no_affine_map_but_for_sparseness() -> None:
    source = np.random.default_rng(0)
    units = [bump(d, peak=13) + source.standard_normal((8, 20)) for d in (10, 80, 200)]
    before = features(*units).data["value"]
    after = features(*(0.1 * unit + 4 for unit in units)).data["value"]
    same = [name for name in SHAPE_FEATURES if name != "sparseness"]
    np.testing.assert_allclose(after.sel(feature=same), before.sel(feature=same), rtol=1e-9)
    turned = features(*(np.roll(unit, 3, axis=0) for unit in units)).data["value"]
    np.testing.assert_allclose(turned, before, rtol=1e-9)


def test_tuning_of_noise_is_unrelated_between_epochs() -> None:
    noise = 20 + np.random.default_rng(2).standard_normal((8, 20, 400))
    correlation = (
        unit_features(
            rates_of(noise), rates_of(noise).isel(time=slice(10)), rates_of(noise).isel(time=slice(10, 20))
        )
        .data["value"]
        .sel(feature="tuning_correlation")
    )
    # SAMPLING: 400 correlations of 8 numbers, standard deviation 1 / sqrt(7).
    assert abs(float(correlation.mean())) < 4 / np.sqrt(7 * 400)
    assert float(correlation.std()) == pytest.approx(1 / np.sqrt(7), rel=0.15)


def test_a_constant_unit_has_rates_and_no_shape() -> None:
    result = features(bump(0, peak=13), np.full((8, 20), 5.0))
    unknown = np.isnan(result.data["value"].values[:, 1])
    known = [str(f) for f, gone in zip(result.data["feature"].values, unknown, strict=True) if not gone]
    assert known == ["peak_rate", "modulation", "sparseness"]
    assert result.status == "1 x unit without some feature, as it hardly varies"
    assert int(result.data["n_undefined"].sel(feature="mean_level")) == 1


def test_bad_input_is_named() -> None:
    rates = rates_of(np.stack([bump(0, peak=13)], axis=2))
    with pytest.raises(RatesError, match=r"rates must be 0 or more, .* but got a smallest rate of -1"):
        sparseness(rates_of(-np.ones((4, 3, 2))))
    with pytest.raises(RatesError, match=r"standard_error must have the shape of the rates, \(8, 20, 1\)"):
        sparseness(rates, rates.isel(time=slice(3)))
    with pytest.raises(RatesError, match="windows must hold the conditions and units of the rates"):
        unit_features(rates, rates.isel(condition=slice(4)), rates)
    with pytest.raises(RatesError, match="direction_deg must be given or be a coordinate"):
        unit_features(rates, rates.drop_vars("direction_deg"), rates)
