"""New locations of networks that turn and scale what they are asked for."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hand_networks import ROUND_OFF, TASK, follower, linear, make_trials, reach_trials, silent, turned
from numpy.testing import assert_allclose
from scipy.stats import ortho_group

from dynaprobe.analysis.probes.new_locations import new_locations
from dynaprobe.analysis.probes.scene import ReachReading
from dynaprobe.core.errors import DataError
from dynaprobe.tasks.reach_axes import new_places

RADII = reach_trials(radii=(0.25, 1.0, 1.5))
TRAINED = tuple(45.0 * k for k in range(8))


def test_a_turn_and_a_gain_are_found_at_every_radius():
    data = new_locations(follower(angle_deg=10.0, gain=0.8), RADII).data
    assert_allclose(data["direction_error_deg"], 10, atol=0.01)
    assert_allclose(data["gain"], 0.8, atol=ROUND_OFF)
    assert_allclose(data["radius"], [0.25, 1.0, 1.5], atol=1e-4)
    for name, value in (("absolute_direction_error_deg", 10), ("mean_gain", 0.8)):
        for suffix in ("", "_low", "_high"):
            assert_allclose(data[name + suffix], value, atol=0.01)
    # |0.8 e^(i 10 deg) - 1| of the radius
    apart = abs(0.8 * np.exp(1j * np.deg2rad(10)) - 1)
    assert_allclose(data["mean_error"], apart * data["radius"], rtol=1e-3)


def test_a_faithful_network_errs_nowhere_and_turns_left_are_positive():
    assert_allclose(new_locations(follower(), RADII).data["error"], 0, atol=ROUND_OFF)
    assert_allclose(new_locations(follower(angle_deg=-170.0), RADII).data["direction_error_deg"], -170, atol=0.01)


@pytest.mark.parametrize(("name", "apart"), [("between", {22.5}), ("sweep", {0, 5, 10, 15, 20})])
def test_how_far_from_training_a_direction_is(name, apart):
    task = new_places(TASK)[name]
    data = new_locations(follower(), make_trials(task), trained_deg=TRAINED).data
    assert set(np.round(data["from_trained_deg"].values, 2).tolist()) == apart
    assert_allclose(data["goal_direction_deg"], task.directions_deg, atol=0.01)


def test_a_movement_without_direction_is_counted():
    result = new_locations(silent(), RADII)
    assert result.status == "24 x movement too short to have a direction"
    assert result.data["absolute_direction_error_deg"].isnull().all()
    assert_allclose(result.data["mean_gain"], 0)
    assert new_locations(follower(), RADII).data["from_trained_deg"].isnull().all()


def test_the_basis_of_the_state_does_not_matter():
    network = linear(seed=7)
    other = turned(network, ortho_group.rvs(12, random_state=1))
    first, second = (new_locations(one, RADII).data["end_point"] for one in (network, other))
    assert_allclose(first, second, atol=2e-3)


def test_one_seed_gives_one_interval_around_its_value():
    first, again = (new_locations(linear(seed=7), RADII, seed=2).data for _ in range(2))
    xr.testing.assert_identical(first, again)
    assert (first["mean_gain_low"] < first["mean_gain"]).all()
    assert (first["mean_gain"] < first["mean_gain_high"]).all()


def test_a_single_direction_has_a_value_of_its_own():
    data = new_locations(follower(gain=0.5), reach_trials(directions_deg=(30.0,))).data
    assert_allclose([data["mean_gain"].item(), data["mean_gain_low"].item()], 0.5, atol=ROUND_OFF)


def test_goals_outside_a_plane_are_refused():
    with pytest.raises(DataError, match="goals must lie in a plane, but got 1 axes"):
        new_locations(follower(), RADII, reading=ReachReading(position=("px",)))
