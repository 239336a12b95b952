"""Best matches as a distribution: twins, chance, both directions, and a plain loop."""

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter1d
from scipy.stats import wasserstein_distance

from dynaprobe.analysis.match_distribution import MatchDistribution, _pooled_p, match_distribution
from dynaprobe.analysis.surrogates import fit_tme
from dynaprobe.analysis.unit_match import unit_match
from dynaprobe.core.errors import SettingsError
from dynaprobe.core.rates import make_rates


def rates_of(values: np.ndarray) -> xr.DataArray:
    return make_rates(
        values,
        dims=("condition", "time", "unit"),
        time_ms=10.0 * np.arange(values.shape[1]),
        event="go_cue",
        rate_unit="a.u.",
        source="test",
    )


def smooth(n_units: int, seed: int) -> np.ndarray:
    return gaussian_filter1d(np.random.default_rng(seed).standard_normal((6, 30, n_units)), 3.0, axis=1)


def halves_of(values: np.ndarray, seed: int, noise: float = 0.3) -> list[tuple[xr.DataArray, xr.DataArray]]:
    first, second = (rates_of(values + noise * smooth(values.shape[2], 900 + seed + k)) for k in range(2))
    return [(first, second)]


def matched(
    recorded: np.ndarray, model: np.ndarray, n: int = 60, seed: int = 0, **how: float
) -> MatchDistribution:
    theirs, ours = halves_of(recorded, 2 * seed), halves_of(model, 2 * seed + 500)
    forward = unit_match(ours[0][0], theirs, seed=seed, n_floor=n)
    backward = unit_match(theirs[0][0], ours, seed=seed + 1, n_floor=n)
    return match_distribution(forward, backward, **how)


def test_twins_are_all_above_chance_in_both_directions() -> None:
    shapes = smooth(12, 0)
    data = matched(shapes, shapes[:, :, ::-1]).data
    np.testing.assert_array_equal(data["fraction"], 1)
    np.testing.assert_array_equal(data["p_value"], 1 / 61)
    assert (data["shift"] > 0.2).all()
    np.testing.assert_allclose(data["distance"], data["shift"], atol=0.02)
    assert (data["quantile"] >= data["floor_high"] - 0.1).all()


def test_a_model_that_holds_a_part_is_told_apart_by_direction() -> None:
    """Four model units are copies of recorded ones; sixteen other recorded units have no twin."""
    recorded = smooth(20, 0)
    data = matched(recorded, recorded[:, :, :4]).data
    fraction = data["fraction"].sel(judged=["model_unit", "recorded_unit"]).values
    assert fraction[0] == 1.0
    assert fraction[1] <= 0.5
    assert (data["q_recorded"].values[:4] <= 0.05).all()


def test_chance_is_found_at_its_rate() -> None:
    """The model is one more surrogate of itself: no unit stands above, and p is spread evenly."""
    fractions, p_values = [], []
    for seed in range(25):
        base = fit_tme(rates_of(smooth(15, 100 + seed)))
        draw = base.draw_values(7, seed=seed + 77)
        data = matched(smooth(15, 300 + seed), draw, n=39, seed=seed).data
        fractions.append(data["fraction"].values[0])
        p_values.append(data["p_value"].values[0])
    # SAMPLING: 25 fractions and 25 roughly uniform numbers.
    assert np.mean(fractions) < 0.05
    assert np.mean(np.array(p_values) <= 0.05) <= 0.2
    assert np.mean(p_values) > 0.3


def test_standardised_draws_are_each_held_against_the_others() -> None:
    source = np.random.default_rng(0)
    floor, correlation = source.uniform(-0.5, 0.9, (8, 3)), np.array([0.95, 0.2, -0.4])
    z_all = []
    for u in range(3):
        draws = np.arctanh(floor[:, u])
        for d in range(8):
            others = np.delete(draws, d)
            z_all.append((draws[d] - others.mean()) / others.std(ddof=1))
    own = [
        (np.arctanh(correlation[u]) - np.arctanh(floor[:, u]).mean()) / np.arctanh(floor[:, u]).std(ddof=1)
        for u in range(3)
    ]
    brute = [(1 + np.sum(np.array(z_all) >= z)) / 25 for z in own]
    np.testing.assert_allclose(_pooled_p(correlation, floor), brute)
    np.testing.assert_array_equal(_pooled_p(correlation, np.zeros((8, 3))), 1)


def test_single_units_at_chance_have_even_p_values() -> None:
    source = np.random.default_rng(1)
    level, spread = source.uniform(0, 0.6, 400), source.uniform(0.05, 0.2, 400)
    draws = np.tanh(level + spread * source.gumbel(size=(61, 400)))  # skewed, at a level and a width of its own
    p = _pooled_p(draws[0], draws[1:])
    # SAMPLING: 400 p-values; 5 % scatter by 1.1 %.
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.035)
    assert np.mean(p) == pytest.approx(0.5, abs=0.05)


def test_the_distance_is_wassersteins_and_the_shift_the_difference_of_means() -> None:
    recorded, model = smooth(30, 0), smooth(25, 1)
    theirs, ours = halves_of(recorded, 0), halves_of(model, 500)
    forward = unit_match(ours[0][0], theirs, seed=0, n_floor=30)
    data = match_distribution(forward, unit_match(theirs[0][0], ours, seed=1, n_floor=10)).data.isel(judged=0)
    floor = forward.data["floor"].values
    # Averaging quantile functions is the mean in Wasserstein's sense; pooling the draws comes close to it.
    apart = wasserstein_distance(forward.data["correlation"].values, floor.ravel())
    assert float(data["distance"]) == pytest.approx(apart, abs=0.03)
    assert float(data["shift"]) == pytest.approx(forward.data["correlation"].values.mean() - floor.mean())
    assert data.sizes["draw"] == 10  # as many as the direction with fewer
    assert float(data["smallest_p"]) == pytest.approx(1 / (30 * 30 + 1))
    np.testing.assert_array_equal(np.diff(data["quantile"]) >= 0, True)


def test_scale_and_order_of_units_do_not_matter() -> None:
    recorded, model = smooth(10, 0), smooth(8, 1)
    before = matched(recorded, model).data
    after = matched(recorded * 50, model * 50, n=60).data
    np.testing.assert_allclose(after["correlation_recorded"].sizes["recorded_unit"], 10)
    assert before["correlation_model"].sizes == {"model_unit": 8}
    scaled = match_distribution(*_pair(recorded, model, 1.0)).data
    other = match_distribution(*_pair(recorded, model, 1e-3)).data
    xr.testing.assert_allclose(scaled, other, rtol=1e-6, atol=1e-9)


def _pair(recorded: np.ndarray, model: np.ndarray, scale: float):
    theirs, ours = halves_of(recorded, 0), halves_of(model, 500)
    theirs = [tuple((h * scale).assign_attrs(h.attrs) for h in pair) for pair in theirs]
    ours = [tuple((h * scale).assign_attrs(h.attrs) for h in pair) for pair in ours]
    return unit_match(ours[0][0], theirs, seed=0, n_floor=20), unit_match(theirs[0][0], ours, seed=0, n_floor=20)


def test_constant_units_are_counted_and_bad_settings_named() -> None:
    recorded, model = smooth(10, 0), smooth(8, 1)
    forward, backward = _pair(recorded, model, 1.0)
    with pytest.raises(SettingsError, match="false_discovery must lie between 0 and 1"):
        match_distribution(forward, backward, false_discovery=0)
    result = match_distribution(forward, backward)
    assert MatchDistribution.from_dataset(result.to_dataset()).settings["confidence"] == 0.95
    still = [
        tuple(h.copy(data=np.where(np.arange(8) == 2, 3.0, h.values)) for h in p) for p in halves_of(model, 500)
    ]
    theirs = halves_of(recorded, 0)
    dead = match_distribution(
        unit_match(still[0][0], theirs, seed=0, n_floor=20), unit_match(theirs[0][0], still, seed=0, n_floor=20)
    )
    assert "never changes" in dead.status
    assert float(dead.data["correlation_model"][2]) == 0.0
