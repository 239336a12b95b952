"""Classes of units on data whose classes are built in."""

from typing import Any

import numpy as np
import pytest
import xarray as xr

from dynaprobe.analysis.unit_classes import (
    CLASSES,
    FEATURES,
    ClassThresholds,
    PsthClasses,
    count_phases,
    psth_classes,
)
from dynaprobe.core.errors import RatesError
from dynaprobe.core.rates import make_rates

ROUND_OFF = 1e-10
DEGREES = np.arange(8) * 45.0
TIME = np.arange(20)


def rates_of(values: np.ndarray, *, event: str = "go_cue", degrees: Any = None) -> xr.DataArray:
    angles = np.arange(values.shape[0]) * 360.0 / values.shape[0] if degrees is None else np.asarray(degrees)
    return make_rates(
        values,
        dims=("condition", "time", "unit"),
        time_ms=10.0 * np.arange(values.shape[1]),
        event=event,
        rate_unit="spikes/s",
        source="test",
        coords={"direction_deg": ("condition", angles)},
    )


def tuned(preferred_deg: float, course: Any = 1.0, base: float = 20.0) -> np.ndarray:
    """One unit: base + 10 cos(direction - preferred) times a course."""
    tuning = 10 * np.cos(np.deg2rad(DEGREES - preferred_deg))
    return base + tuning[:, None] * (course * np.ones(TIME.size))


FLAT = np.full((8, TIME.size), 20.0)
RAMP = FLAT + TIME  # a response without direction
WAVE = np.sin(2 * np.pi * (TIME + 0.5) / TIME.size)


def two_epochs(*units: tuple[np.ndarray, np.ndarray]) -> tuple[xr.DataArray, xr.DataArray]:
    before, during = (np.stack(side, axis=2) for side in zip(*units, strict=True))
    return rates_of(before, event="target_on"), rates_of(during, event="move_onset")


UNITS = {
    "inactive": (FLAT, FLAT + 1e-3),
    "untuned": (RAMP, RAMP[:, ::-1]),
    "preparatory_only": (tuned(30), FLAT),
    "movement_only": (FLAT, tuned(200)),
    "both": (tuned(90), tuned(120)),
}


def test_units_built_for_a_class_are_put_there() -> None:
    result = psth_classes(*two_epochs(*UNITS.values()))
    assert result.data["unit_class"].values.tolist() == list(UNITS)
    np.testing.assert_allclose(result.data["fraction"].sel(motif=list(CLASSES)), 0.2)
    assert not result.data["has_feature"].any()


def test_the_cosine_fit_is_read_back_exactly() -> None:
    data = psth_classes(*two_epochs((tuned(30), tuned(330)), (tuned(250), tuned(60)))).data
    np.testing.assert_allclose(data["preferred_direction_deg"], [[30, 250], [330, 60]], atol=1e-8)
    np.testing.assert_allclose(data["depth"], 10.0, rtol=ROUND_OFF)
    np.testing.assert_allclose(data["r_squared"], 1.0, rtol=ROUND_OFF)
    np.testing.assert_allclose(data["turn_deg"], [60, 170], atol=1e-8)  # the short way round
    np.testing.assert_allclose(data["tuning_correlation"], np.cos(np.deg2rad([60, 170])), atol=1e-8)
    assert data["has_feature"].sel(feature="preferred_direction_changes").values.tolist() == [False, True]
    assert float(data["median_tuning_correlation"]) == pytest.approx(np.cos(np.deg2rad([60, 170])).mean())


def test_tuning_that_reverses_within_the_movement_is_multiphasic_and_still_tuned() -> None:
    data = psth_classes(*two_epochs((FLAT, tuned(45, WAVE)), (FLAT, tuned(45)), (tuned(45, WAVE), FLAT))).data
    assert data["unit_class"].values.tolist() == ["movement_only", "movement_only", "preparatory_only"]
    assert data["has_feature"].sel(feature="multiphasic").values.tolist() == [True, False, False]
    assert data["n_phases"].values.tolist()[:2] == [2, 1]
    assert float(data["depth"].sel(epoch="movement")[0]) == pytest.approx(10 / np.sqrt(2))


def test_phases_are_swings_beyond_the_threshold() -> None:
    course = np.array([[0, 1, 0.1, -0.2, 1, -1, 0, -1, 0.5], [1, 1, 1, 1, 1, 1, 1, 1, 1], [0] * 9], dtype=float).T
    np.testing.assert_array_equal(count_phases(course, 0.3), [3, 1, 0])
    np.testing.assert_array_equal(count_phases(course, 0.1), [5, 1, 0])
    np.testing.assert_array_equal(count_phases(-course, 0.3), [3, 1, 0])


def test_classes_know_neither_rate_scale_nor_the_zero_of_directions() -> None:
    epochs = two_epochs(*UNITS.values(), (tuned(10), tuned(150)), (FLAT, tuned(45, WAVE)))
    before = psth_classes(*epochs).data
    scaled = psth_classes(*(rates.copy(data=rates.values * 1e-3 - 5) for rates in epochs)).data
    turned = psth_classes(*epochs, direction_deg=DEGREES + 77).data
    for after in (scaled, turned):
        xr.testing.assert_equal(after["unit_class"], before["unit_class"])
        xr.testing.assert_equal(after["has_feature"], before["has_feature"])
    shift = (turned["preferred_direction_deg"] - before["preferred_direction_deg"]).values % 360
    np.testing.assert_allclose(shift[np.isfinite(shift)], 77, atol=1e-6)


def test_units_without_tuning_are_tuned_by_chance_only_below_the_threshold() -> None:
    noise = np.random.default_rng(0).standard_normal((2, 8, 100, 200))
    data = psth_classes(rates_of(20 + noise[0]), rates_of(20 + noise[1])).data
    # White noise has a cosine depth of sqrt(2 * 2 / 8) = 0.71 +- 0.04 sd and 1600 values a range of 6.6 +- 0.5 sd:
    # 0.107 +- 0.01 of the range, four deviations below 0.15 and five above 0.05.
    assert float(data["fraction"].sel(motif="untuned")) > 0.9
    strict = psth_classes(rates_of(20 + noise[0]), rates_of(20 + noise[1]), thresholds=ClassThresholds(tuned=0.05))
    assert float(strict.data["fraction"].sel(motif="both")) > 0.9
    assert strict.settings["tuned"] == 0.05


def test_tuning_correlations_of_unrelated_epochs_scatter_about_zero() -> None:
    source = np.random.default_rng(1)
    units = [(tuned(a), tuned(b)) for a, b in source.uniform(0, 360, (300, 2))]
    correlation = psth_classes(*two_epochs(*units)).data["tuning_correlation"].values
    assert abs(correlation.mean()) < 4 * np.sqrt(0.5 / 300)  # the cosine of a random angle has variance 1/2


def test_intervals_are_wilsons() -> None:
    data = psth_classes(*two_epochs(*UNITS.values())).data
    z, n, p = 1.959963984540054, 5, 0.2
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert float(data["fraction_low"].sel(motif="both")) == pytest.approx(centre - half)
    assert float(data["fraction_high"].sel(motif="both")) == pytest.approx(centre + half)
    assert data["motif"].values.tolist() == list(CLASSES + FEATURES)


def test_a_record_of_classes_survives_storage_with_names_of_units() -> None:
    epochs = [rates.assign_coords(unit=list("abcde")) for rates in two_epochs(*UNITS.values())]
    result = psth_classes(*epochs)
    assert result.data["unit"].values.tolist() == list("abcde")
    assert PsthClasses.from_dataset(result.to_dataset()).settings == result.settings
    dead = psth_classes(*two_epochs((FLAT, FLAT), (tuned(0), tuned(0))))
    assert dead.status == "1 x unit that never changes, without tuning"
    assert np.isnan(dead.data["tuning_correlation"][0])


def test_bad_input_is_named() -> None:
    before, during = two_epochs(*UNITS.values())
    with pytest.raises(RatesError, match="movement must hold the conditions and units of the preparatory rates"):
        psth_classes(before, during.isel(unit=slice(3)))
    with pytest.raises(RatesError, match="direction_deg must be given or be a coordinate"):
        psth_classes(before.drop_vars("direction_deg"), during)
    with pytest.raises(RatesError, match="direction_deg must give each of 8 conditions a direction, 4 of them"):
        psth_classes(before, during, direction_deg=[0, 90, 180] * 2 + [0, 0])
