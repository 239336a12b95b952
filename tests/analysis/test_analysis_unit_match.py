"""Best-matching model units: a plain loop, known twins, chance, invariance, and the bounds."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter1d

from dynaprobe.analysis.unit_match import UnitMatch, unit_match
from dynaprobe.core.errors import RatesError, SettingsError
from dynaprobe.core.rates import make_rates

ROUND_OFF = 1e-10  # correlations of a few hundred doubles


def rates_of(values: np.ndarray) -> xr.DataArray:
    return make_rates(
        values,
        dims=("condition", "time", "unit"),
        time_ms=10.0 * np.arange(values.shape[1]),
        event="go_cue",
        rate_unit="a.u.",
        source="test",
    )


def smooth(*shape: int, seed: int) -> np.ndarray:
    return gaussian_filter1d(np.random.default_rng(seed).standard_normal(shape), 3.0, axis=1)


def halved(truth: np.ndarray, noise: float, n_splits: int = 1) -> list[tuple[xr.DataArray, xr.DataArray]]:
    def half(seed: int) -> xr.DataArray:
        return rates_of(truth + noise * smooth(*truth.shape, seed=seed))

    return [(half(100 + 2 * k), half(101 + 2 * k)) for k in range(n_splits)]


@pytest.mark.parametrize("condition_mean", ["subtract", "keep"])
def test_equals_a_plain_loop_over_units(condition_mean: Any) -> None:
    model = rates_of(smooth(4, 30, 9, seed=0) + np.arange(9))
    halves = halved(smooth(4, 30, 5, seed=1), 0.5, n_splits=2)

    def course(rates: xr.DataArray, unit: int) -> np.ndarray:
        values = rates.values[:, :, unit]
        return (values - values.mean(axis=0) if condition_mean == "subtract" else values).ravel()

    def r(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.corrcoef(x, y)[0, 1])

    result = unit_match(model, halves, seed=0, n_floor=1, condition_mean=condition_mean).data
    for unit in range(5):
        scores = []
        for split, (first, second) in enumerate(halves):
            for fold, (choose, judge) in enumerate(((first, second), (second, first))):
                best = max(range(9), key=lambda m: r(course(choose, unit), course(model, m)))
                assert int(result["match"][split, fold, unit]) == best
                scores.append(r(course(judge, unit), course(model, best)))
        assert float(result["correlation"][unit]) == pytest.approx(np.mean(scores), abs=ROUND_OFF)
        pairs = [r(course(a, unit), course(b, unit)) for a, b in halves]
        assert float(result["ceiling"][unit]) == pytest.approx(np.mean(pairs), abs=ROUND_OFF)


def test_a_model_that_holds_the_recorded_units_finds_each_of_them() -> None:
    truth = smooth(6, 40, 12, seed=0)
    order = np.random.default_rng(1).permutation(12)
    # Scale and offset of a unit are not its shape.
    result = unit_match(rates_of(truth[:, :, order] * 3 + 7), halved(truth, 0.0), seed=0, n_floor=20)
    np.testing.assert_array_equal(order[result.data["match"][0, 0]], np.arange(12))
    np.testing.assert_allclose(result.data["correlation"], 1.0, atol=ROUND_OFF)
    assert float(result.data["normalised"]) == pytest.approx(1.0, abs=ROUND_OFF)
    assert float(result.data["p_value"]) == 1 / 21
    assert result.status == "nothing failed"


def test_noise_of_the_recording_enters_score_and_ceiling_alike() -> None:
    truth = smooth(6, 60, 40, seed=0)
    halves = halved(truth, 0.7, n_splits=4)
    noisy = unit_match(rates_of(truth + 0.7 * smooth(*truth.shape, seed=9)), halves, seed=0, n_floor=20).data
    clean = unit_match(rates_of(truth), halves, seed=0, n_floor=20).data
    # A noisy twin of every unit reaches what the other half reaches; without noise, its square root.
    assert float(noisy["normalised"]) == pytest.approx(1.0, abs=0.06)
    assert float(clean["normalised_noiseless"]) == pytest.approx(1.0, abs=0.06)
    assert float(clean["normalised"]) > 1.1
    reliability = 1 / (1 + 0.7**2)
    assert float(noisy["ceiling_median"]) == pytest.approx(reliability, abs=0.05)
    whole = 1 / (1 + 0.7**2 / 2)
    assert float(noisy["ceiling_spearman_brown"].median()) == pytest.approx(whole, abs=0.05)


def test_a_model_drawn_like_its_surrogates_has_uniform_p_values() -> None:
    halves = halved(smooth(5, 20, 15, seed=0), 0.5)
    p_values = [
        float(unit_match(rates_of(smooth(5, 20, 12, seed=20 + k)), halves, seed=k, n_floor=19).data["p_value"])
        for k in range(40)
    ]
    # Uniform on 1/20 .. 1: mean 0.525, sd 0.288.
    assert abs(np.mean(p_values) - 0.525) < 3 * 0.288 / np.sqrt(40)


def test_choosing_and_judging_on_different_halves_removes_the_flattery() -> None:
    # Units that are noise alone: whatever is chosen on one half means nothing on the other.
    halves = halved(np.zeros((6, 40, 60)), 1.0)
    result = unit_match(rates_of(smooth(6, 40, 50, seed=3)), halves, seed=0, n_floor=5).data
    assert abs(float(result["median"])) < 0.1
    flattered = unit_match(rates_of(smooth(6, 40, 50, seed=3)), [(halves[0][0],) * 2], seed=0, n_floor=5).data
    assert float(flattered["median"]) > 0.3


def test_order_of_units_and_affine_scale_change_nothing() -> None:
    model, halves = rates_of(smooth(4, 30, 9, seed=0)), halved(smooth(4, 30, 6, seed=1), 0.5)
    before = unit_match(model, halves, seed=0, n_floor=1).data
    scale = np.arange(1.0, 7.0)
    moved = [tuple(rates_of((h.values * scale + scale)[:, :, ::-1]) for h in split) for split in halves]
    after = unit_match(rates_of(2 * model.values[:, :, ::-1] + 5), moved, seed=0, n_floor=1).data  # type: ignore[arg-type]
    np.testing.assert_allclose(after["correlation"][::-1], before["correlation"], atol=ROUND_OFF)
    np.testing.assert_array_equal(8 - after["match"].values[:, :, ::-1], before["match"])


def test_silent_units_count_as_no_agreement_and_are_reported() -> None:
    truth = smooth(5, 30, 6, seed=0)
    truth[:, :, 2] = 1.3
    model = smooth(5, 30, 8, seed=1)
    model[:, :, 4:] = 0.1
    result = unit_match(rates_of(model), halved(truth, 0.0), seed=0, n_floor=3)
    assert float(result.data["correlation"][2]) == 0
    assert result.failures["model unit that never changes, its correlations counted as 0"] == 4
    assert result.failures["recorded unit that never changes in a half, its correlations counted as 0"] == 2


def test_without_room_above_the_floor_the_score_is_undefined() -> None:
    halves = halved(np.zeros((5, 30, 21)), 1.0)
    flipped = [(first, rates_of(-first.values)) for first, _ in halves]
    result = unit_match(rates_of(smooth(5, 30, 8, seed=1)), flipped, seed=0, n_floor=3)
    assert float(result.data["ceiling_median"]) == pytest.approx(-1)
    assert np.isnan(result.data["normalised"])
    assert "the score has no scale" in result.status


def test_the_record_has_its_axes_and_survives_storage() -> None:
    model, halves = rates_of(smooth(4, 30, 9, seed=0)), halved(smooth(4, 30, 6, seed=1), 0.5, n_splits=3)
    named = [tuple(h.assign_coords(unit=list("abcdef")) for h in split) for split in halves]
    result = unit_match(model, named, seed=2, n_floor=7)  # type: ignore[arg-type]
    assert dict(result.data.sizes) == {"unit": 6, "split": 3, "fold": 2, "draw": 7}
    assert result.data["unit"].values.tolist() == list("abcdef")
    assert result.data["floor"].dims == ("draw", "unit")
    np.testing.assert_allclose(result.data["floor"].median("unit"), result.data["floor_median"])
    again = unit_match(model, named, seed=2, n_floor=7)  # type: ignore[arg-type]
    xr.testing.assert_identical(again.data, result.data)
    assert UnitMatch.from_dataset(result.to_dataset()).settings["n_floor"] == 7


def test_bad_input_is_named() -> None:
    model, halves = rates_of(smooth(4, 30, 9, seed=0)), halved(smooth(4, 30, 6, seed=1), 0.5)
    with pytest.raises(RatesError, match=r"halves\[..\]\[0\] must have as many values along time as model \(20\)"):
        unit_match(model.isel(time=slice(20)), halves, seed=0)
    with pytest.raises(RatesError, match="halves must hold the same units in both halves, but got 6 and 5 units"):
        unit_match(model, [(halves[0][0], halves[0][1].isel(unit=slice(5)))], seed=0)
    with pytest.raises(SettingsError, match="n_floor must be at least 1, but got 0"):
        unit_match(model, halves, seed=0, n_floor=0)
    with pytest.raises(SettingsError, match="condition_mean must be one of"):
        unit_match(model, halves, seed=0, condition_mean="no")  # type: ignore[arg-type]
