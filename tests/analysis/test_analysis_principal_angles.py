"""Principal angles along each mode: planes at known angles, brute force, chance, and floors that may be used."""

from __future__ import annotations

import numpy as np
import pytest
from similarity_samples import halves, latents, noise, population, rates_of, turned

from dynaprobe.analysis.bounds import bounded
from dynaprobe.analysis.measures import MODE_MEASURES, measure_named
from dynaprobe.analysis.principal_angles import PrincipalAngles, leading_axes, principal_angles
from dynaprobe.core.errors import RatesError, SettingsError

ROUND_OFF = 1e-9


def plane(axes, seed=0):
    """Activity in the span of the rows of `axes`, with equal variance along each."""
    z = np.random.default_rng(seed).standard_normal((8, 50, axes.shape[0]))
    return rates_of(z @ axes)


def test_planes_of_units_at_known_angles():
    first = np.eye(5)[:2]
    for one, two in ((0.0, 90.0), (20.0, 70.0), (45.0, 45.0)):
        a, b = np.radians([one, two])
        second = np.zeros((2, 5))
        second[0, [0, 2]] = np.cos(a), np.sin(a)
        second[1, [1, 3]] = np.cos(b), np.sin(b)
        found = principal_angles(plane(first), plane(second, seed=1), mode="unit", n_dims=2).data
        np.testing.assert_allclose(found["angles_deg"], [one, two], atol=1e-5)
        assert float(found["overlap"]) == pytest.approx((np.cos(a) ** 2 + np.cos(b) ** 2) / 2)
        assert float(found["captured_a"]) == pytest.approx(1.0)


@pytest.mark.parametrize("mode", ["unit", "time", "condition"])
def test_equals_successive_maxima_over_directions(mode):
    """The definition: the smallest angle between unit vectors of the two spans, found on a fine grid of planes."""
    a = population(latents(), 6, seed=1)
    b = population(latents(), 6, seed=5)
    found = principal_angles(a, b, mode=mode, n_dims=2).data
    grid = np.linspace(0, np.pi, 2001)
    circle = np.stack([np.cos(grid), np.sin(grid)], axis=1)
    axis = {"condition": 0, "time": 1, "unit": 2}[mode]
    spans = []
    for rates in (a, b):
        values = np.moveaxis(rates.values - rates.values.mean(axis=0), axis, 0)
        cov = values.reshape(values.shape[0], -1)
        spans.append(np.linalg.eigh(cov @ cov.T)[1][:, -2:])
    cosines = np.abs((circle @ spans[0].T) @ (circle @ spans[1].T).T)
    assert np.cos(np.radians(found["angles_deg"][0])) == pytest.approx(cosines.max(), abs=1e-5)  # the grid
    # In a plane the other angle belongs to the directions at right angles to the first.
    assert float(found["overlap"]) == pytest.approx(np.linalg.norm(spans[0].T @ spans[1]) ** 2 / 2)
    np.testing.assert_allclose(found["axes_a"].values @ found["axes_a"].values.T, np.eye(2), atol=ROUND_OFF)


def test_random_subspaces_overlap_by_chance():
    overlaps = [
        principal_angles(
            rates_of(noise(8, 40, 12, seed=2 * s, sd_bins=0.0)),
            rates_of(noise(8, 40, 12, seed=2 * s + 1, sd_bins=0.0)),
            mode="unit",
            n_dims=3,
        ).data
        for s in range(60)
    ]
    values = [float(data["overlap"]) for data in overlaps]
    assert float(overlaps[0]["overlap_chance"]) == pytest.approx(3 / 12)
    assert np.mean(values) == pytest.approx(3 / 12, abs=5 * np.std(values) / np.sqrt(60))  # SAMPLING


@pytest.mark.parametrize("mode", ["time", "condition"])
def test_units_of_either_side_may_be_turned_and_differ_in_number(mode):
    a, b = population(latents(), 8, seed=1), population(latents(), 6, seed=5)
    before = principal_angles(a, b, mode=mode).data["angles_deg"]
    after = principal_angles(turned(a, seed=2, gain=3.0), b, mode=mode).data["angles_deg"]
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_the_measures_of_modes_need_surrogates_that_do_not_keep_the_mode():
    pairs = halves(latents(), 8, seed=5)
    side = turned(pairs[0][0], seed=3)
    for measure, free, kept in zip(MODE_MEASURES, ("NC", "TN"), ("T", "C"), strict=True):
        low = bounded(measure, side, pairs[1][0], halves_b=pairs, seed=0, n_floor=20, keep=free)
        same = bounded(measure, side, pairs[1][0], halves_b=pairs, seed=0, n_floor=20, keep=kept)
        assert float(low.data["p_value"]) == pytest.approx(1 / 21)
        assert float(same.data["floor_mean"]) > float(low.data["floor_mean"]) + 0.05
    assert measure_named("time_overlap") is MODE_MEASURES[0]


def test_a_round_trip_and_the_messages():
    a, b = population(latents(), 6, seed=1), population(latents(), 5, seed=5)
    found = principal_angles(a, b, mode="time")
    assert PrincipalAngles.from_dataset(found.to_dataset()).data.equals(found.data)
    with pytest.raises(RatesError, match=r"hold the units of a in the same order for mode unit, but got 5 units"):
        principal_angles(a, b, mode="unit")
    named = [rates.assign_coords(unit=names) for rates, names in ((b, list("abcde")), (b, list("abced")))]
    with pytest.raises(RatesError, match=r"hold the units of a in the same order"):
        principal_angles(*named, mode="unit")
    with pytest.raises(
        SettingsError, match=r"n_dims must lie between 1 and 5, the dimensions of a along condition"
    ):
        principal_angles(a, b, mode="condition", n_dims=6)
    with pytest.raises(SettingsError, match=r"mode must be one of \('condition', 'time', 'unit'\), but got trial"):
        principal_angles(a, b, mode="trial")
    assert leading_axes(a.isel(unit=[0, 1]), "unit", None)[0].shape == (2, 2)
