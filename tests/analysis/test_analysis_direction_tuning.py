"""Direction tuning: known fits, exact permutations, calibrated chance, and what PSTHs alone allow."""

from itertools import permutations

import numpy as np
import pytest
import xarray as xr
from scipy.stats import f_oneway
from trial_samples import DEGREES, block_of, cosine_block

from dynaprobe.analysis.direction_tuning import DirectionTuning, direction_tuning
from dynaprobe.core.errors import RatesError, SettingsError

ROUND_OFF = 1e-9


def tuned(*blocks: xr.DataArray, n: int = 199, seed: int = 0) -> DirectionTuning:
    return direction_tuning({"preparatory": blocks}, seed=seed, n_permutations=n)


def test_noise_free_cosines_are_read_back() -> None:
    preferred = np.array([10.0, 123.0, 350.0])
    data = tuned(cosine_block(preferred, depth=4, noise=0)).data.sel(epoch="preparatory")
    np.testing.assert_allclose(data["preferred_direction_deg"], preferred, rtol=ROUND_OFF)
    for name, value in {"depth": 4, "depth_corrected": 4, "r_squared": 1, "r_squared_corrected": 1}.items():
        np.testing.assert_allclose(data[name], value, rtol=ROUND_OFF)
    np.testing.assert_allclose(data["preferred_direction_se_deg"], 0, atol=1e-5)
    assert (data["p_value"] == 1 / 200).all()
    assert data["is_selective"].all()
    np.testing.assert_allclose(data["mean_rate"], 20)


def test_standard_error_of_the_preferred_direction_is_its_spread() -> None:
    # 300 units of one direction: a cosine of depth 4 under means of 10 trials with noise 3 / sqrt(10) per mean.
    data = tuned(cosine_block(np.full(300, 77.0), depth=4, noise=3, n_time=1), n=1).data.isel(epoch=0)
    spread = (data["preferred_direction_deg"] - 77).std()
    # SAMPLING: the spread of 300 numbers is known to 4 %, three of which are allowed.
    assert float(spread / data["preferred_direction_se_deg"].mean()) == pytest.approx(1, abs=0.12)


def test_corrected_depth_and_fit_are_free_of_noise() -> None:
    source = np.random.default_rng(3)
    condition = np.repeat(np.arange(8), 6)
    theta = np.deg2rad(DEGREES[condition])
    # Half of the variance over directions is no cosine: amplitude 2 at once and at twice the angle.
    values = 20 + 2 * np.cos(theta) + 2 * np.cos(2 * theta)
    noisy = values[:, None, None] + 3 * source.standard_normal((48, 1, 400))
    data = tuned(block_of(noisy, condition), n=1).data.isel(epoch=0)
    assert float(data["r_squared_corrected"].median()) == pytest.approx(0.5, abs=0.04)
    squared = (data["depth"] ** 2).mean(), (data["depth_corrected"] ** 2).mean()
    # Noise adds 2 * 2 * 9 / 6 / 8 = 0.75 to the squared depth of 4; the correction's floor at 0 leaves a trifle.
    assert float(squared[0]) == pytest.approx(4.75, abs=0.5)
    assert float(squared[1]) == pytest.approx(4.0, abs=0.5)


def test_p_values_are_those_of_all_permutations() -> None:
    """Four directions, two trials each: 8! deals can be written out, sums of squares by SciPy's F."""
    condition = np.array([0, 2, 4, 6, 0, 2, 4, 6])
    values = np.array([3.0, 1.0, 0.5, 2.0, 2.5, 0.0, 1.0, 0.7])
    block = block_of(values[:, None, None], condition)
    found = float(tuned(block, n=20000).data["p_value"][0, 0])

    def ratio(order: tuple[int, ...]) -> float:
        dealt = values[list(order)]
        return f_oneway(*(dealt[condition == c] for c in (0, 2, 4, 6))).statistic

    # Only the split into four pairs matters; a fixed first trial and a sample of every 64th order are enough.
    orders = [o for k, o in enumerate(permutations(range(8))) if k % 64 == 0]
    here = ratio(tuple(range(8)))
    exact = np.mean([ratio(order) >= here * (1 - 1e-9) for order in orders])
    # SAMPLING: both fractions come from thousands of deals.
    assert found == pytest.approx(exact, abs=0.04)


def test_chance_is_found_at_its_rate_and_no_unit_survives_the_correction() -> None:
    blocks = [cosine_block(np.zeros(20), depth=0, seed=k, name=f"s{k}") for k in range(20)]
    data = tuned(*blocks).data.isel(epoch=0)
    # SAMPLING: 400 tests at 5 % scatter by 1.1 %.
    assert float(data["fraction_nominal"]) == pytest.approx(0.05, abs=0.035)
    assert float((data["p_cosine"] <= 0.05).mean()) == pytest.approx(0.05, abs=0.035)
    assert int(data["n_selective"]) <= 2
    assert float(data["p_value"].mean()) == pytest.approx(0.5, abs=0.05)


def test_blocks_scale_and_order_of_trials_do_not_matter() -> None:
    block = cosine_block(np.array([30.0, 200.0]), depth=1.0, noise=4)
    before = tuned(block, n=499).data
    order = np.random.default_rng(1).permutation(block.sizes["trial"])
    moved = block.copy(data=block.values * 1e-4 + 3).isel(trial=order)
    after = tuned(moved, n=499).data
    for name in ("preferred_direction_deg", "r_squared", "r_squared_corrected", "preferred_direction_se_deg"):
        np.testing.assert_allclose(after[name], before[name], rtol=1e-6)
    np.testing.assert_allclose(after["depth"], before["depth"] * 1e-4, rtol=1e-6)
    np.testing.assert_allclose(after["p_value"], before["p_value"], atol=0.06)  # SAMPLING: other permutations
    xr.testing.assert_identical(tuned(block, n=499).data, before)
    turned = block.assign_coords(direction_deg=block["direction_deg"] + 33)
    shift = tuned(turned).data["preferred_direction_deg"] - before["preferred_direction_deg"]
    np.testing.assert_allclose(shift % 360, 33, atol=1e-6)


def test_trials_of_unequal_number_are_weighted_as_f_does() -> None:
    source = np.random.default_rng(0)
    condition = np.repeat([0, 1, 3, 5], [12, 3, 5, 9])
    values = source.standard_normal((29, 1, 1)) + (condition == 1)[:, None, None]
    block = block_of(values, condition)
    found = float(tuned(block, n=5000).data["p_value"][0, 0])
    groups = [values[condition == c, 0, 0] for c in (0, 1, 3, 5)]
    assert found == pytest.approx(f_oneway(*groups).pvalue, abs=0.03)  # Gaussian trials: F's own p


def test_a_silent_unit_is_not_tested() -> None:
    block = cosine_block(np.array([30.0, 200.0]), depth=5)
    block.values[:, :, 1] = 0
    result = tuned(block)
    assert np.isnan(result.data["p_value"][0, 1])
    assert int(result.data["n_tested"][0]) == 1
    assert "1 x unit whose trials are all alike" in result.status
    assert DirectionTuning.from_dataset(result.to_dataset()).settings["n_permutations"] == 199


def test_bad_input_is_named() -> None:
    block = cosine_block(np.array([30.0]), depth=5)
    with pytest.raises(RatesError, match="direction_deg must be a coordinate along trial with at least 4"):
        tuned(block.drop_vars("direction_deg"))
    with pytest.raises(RatesError, match=r"trials of preparatory.condition must be a coordinate along trial"):
        tuned(block.drop_vars("condition"))
    with pytest.raises(RatesError, match="each with two trials in every block, but got 8 conditions, 0 trials"):
        tuned(block, cosine_block(np.array([1.0]), depth=1).isel(trial=slice(3)))
    with pytest.raises(RatesError, match="must be the same 3 bins in every block"):
        tuned(block, block.isel(time=slice(2)))
    with pytest.raises(RatesError, match="trials of preparatory must hold at least one block"):
        tuned()
    other = cosine_block(np.array([30.0]), depth=5, name="b")
    with pytest.raises(RatesError, match="trials of movement must hold the units of preparatory"):
        direction_tuning({"preparatory": [block], "movement": [other]}, seed=0)
    with pytest.raises(SettingsError, match="false_discovery must lie between 0 and 1, but got 5"):
        direction_tuning({"preparatory": [block]}, seed=0, n_permutations=1, false_discovery=5)
    mixed = block.assign_coords(direction_deg=("trial", np.arange(80.0)))
    with pytest.raises(RatesError, match="direction_deg must be one direction per condition"):
        tuned(mixed)
