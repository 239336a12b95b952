"""Switched targets of networks whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hand_networks import (
    ALPHA,
    N_DELAY,
    ROUND_OFF,
    by_hand,
    follower,
    linear,
    permuted,
    reach_trials,
    silent,
    turned,
)
from numpy.testing import assert_allclose
from scipy.stats import ortho_group

from dynaprobe.analysis.probes.target_switch import shares_followed, target_switch
from dynaprobe.core.errors import DynaprobeError

TRIALS = reach_trials()
BEFORE, AFTER = (-300.0, -100.0), (0.0, 200.0)
TIMES = (*BEFORE, *AFTER)


def test_a_network_driven_by_its_input_follows_every_switch():
    data = target_switch(by_hand(0.0), TRIALS, switch_ms=TIMES).data
    assert_allclose(data["success"], 1)
    assert_allclose(data["end_point_error"], 0, atol=ROUND_OFF)
    assert_allclose(data["direction_error_deg"], 0, atol=0.01)
    assert data.sizes["pair"] == 56


def test_a_network_that_gathers_its_target_until_go_mixes_what_it_saw():
    """``(1 - f) G_A + f G_B``, with f the part of the gate's output that B let through."""
    data = target_switch(by_hand(1.0), TRIALS, switch_ms=TIMES).data
    climb = np.cumsum(1 - (1 - ALPHA) ** np.arange(N_DELAY + 1))
    goals = data["goal"].values
    start = goals[[data["to_condition"].values.tolist().index(k) for k in data["from_condition"].values]]
    for time_ms, end_point in zip(TIMES, data["end_point"].values, strict=True):
        f = climb[int(-time_ms / 10)] / climb[-1] if time_ms < 0 else 0.0
        assert_allclose(end_point, (1 - f) * start + f * goals, atol=ROUND_OFF)
    assert_allclose(data["success"].sel(switch_ms=list(AFTER)), 0)
    assert_allclose(data["visited"].sel(switch_ms=list(AFTER)), 0)


def test_the_path_of_a_follower_is_an_exponential_to_the_state_of_b():
    data = target_switch(follower(), TRIALS, switch_ms=TIMES).data
    time_ms = data["time"].values
    prepared = 1 - (1 - ALPHA) ** N_DELAY
    for at_ms, progress in zip(TIMES, data["progress"].values, strict=True):
        n = ((time_ms - at_ms) / 10 + 1)[(time_ms >= at_ms) & (time_ms < 1000)]
        left = (1 - ALPHA) ** n
        already = 1 - (1 - ALPHA) ** ((at_ms + 500) / 10)
        expected = (1 - left * (1 + already)) / prepared / 2 + 0.5  # A counts -1/2, B 1/2, from the middle
        assert_allclose(progress[(time_ms >= at_ms) & (time_ms < 1000)], expected, atol=1e-3)
    # 0.8^4 is the first power below a half.
    assert_allclose(data["state_reaction_ms"].sel(switch_ms=0.0), 40)
    assert_allclose(data["output_reaction_ms"].sel(switch_ms=0.0), 40)
    assert_allclose(data["visited"], 1)
    assert (data["nearest_to_b_unswitched"] > 0.9).all()


def test_a_network_that_never_moves_succeeds_nowhere():
    data = target_switch(silent(), TRIALS, switch_ms=TIMES).data
    assert_allclose(data["success"], 0)
    assert_allclose(data["end_point_error"], 1, atol=ROUND_OFF)
    assert data["direction_error_deg"].isnull().all()
    assert data["output_reaction_ms"].isnull().all()


def test_a_movement_too_short_for_a_direction_has_reached_nothing():
    """However generous the bar: the start lies within 1.5 of every target."""
    for network, share, n_short in ((silent(), 0.0, 4 * 56), (by_hand(0.0), 1.0, 0)):
        result = target_switch(network, TRIALS, switch_ms=TIMES, within=1.5)
        assert_allclose(result.data["success"], share)
        assert result.failures == ({"movement too short to have a direction": n_short} if n_short else {})


def test_shares_of_what_was_followed_are_means_over_pairs_and_times():
    data = target_switch(by_hand(1.0), TRIALS, switch_ms=(-400.0, -300.0, -100.0, 0.0), within=0.8).data
    success = data["is_success"].values.mean(axis=1)
    found = shares_followed(data, 300.0)
    assert_allclose(found, [success[:3].mean(), success[:2].mean(), success[2], success[3]])
    assert found.early_trained > found.early_short


def test_a_target_that_is_gone_cannot_switch_unless_it_is_shown_again():
    gone = reach_trials(target_visible="until_go", no_delay_fraction=0.0)
    hidden = target_switch(by_hand(0.0), gone, switch_ms=AFTER).data
    assert_allclose(hidden["success"], 0)
    shown = target_switch(by_hand(0.0), gone, after=TRIALS, switch_ms=AFTER).data
    assert_allclose(shown["success"], 1)


def test_a_switch_before_the_go_cue_shows_what_the_task_does():
    """The target that `after` leaves in sight would drive a network that never saw one while it moved."""
    gone = reach_trials(target_visible="until_go", no_delay_fraction=0.0)
    own, other = (
        target_switch(by_hand(0.5), gone, after=after, switch_ms=BEFORE).data for after in (None, TRIALS)
    )
    xr.testing.assert_identical(own, other)
    shown = target_switch(by_hand(0.5), TRIALS, switch_ms=BEFORE).data
    assert np.abs(shown["end_point"] - own["end_point"]).max() > 0.1


def test_neither_basis_nor_order_of_units_matters():
    network = linear(seed=2)
    other = turned(network, ortho_group.rvs(12, random_state=0))
    first, second = (target_switch(one, TRIALS, switch_ms=(-100.0, 50.0)).data for one in (network, other))
    for name in ("end_point", "nearest_to_b", "progress", "distance_to_a"):
        assert_allclose(second[name], first[name], atol=2e-3, err_msg=name)
    network = by_hand(0.4)
    shuffled = permuted(network, np.random.default_rng(0).permutation(16))
    first, second = (target_switch(one, TRIALS, switch_ms=(-100.0, 50.0)).data for one in (network, shuffled))
    xr.testing.assert_allclose(first, second, atol=ROUND_OFF)


def test_one_seed_gives_one_interval_and_it_holds_the_value():
    network = by_hand(0.6)
    first, again = (target_switch(network, TRIALS, switch_ms=TIMES, within=0.4, seed=3).data for _ in range(2))
    xr.testing.assert_identical(first, again)
    assert (first["end_point_error_low"] <= first["end_point_error"]).all()
    assert (first["end_point_error"] <= first["end_point_error_high"]).all()


def test_two_conditions_are_enough():
    data = target_switch(by_hand(0.0), reach_trials(n_targets=2), switch_ms=(0.0,)).data
    assert data.sizes["pair"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"switch_ms": (-800.0,)}, "switch_ms must lie in the trial, -700 to 1300 ms from the go"),
        ({"switch_ms": ()}, "number of switch times must be at least 1"),
        ({"after": reach_trials(analysis_delay_ms=300.0)}, "after must hold the same conditions, channels"),
        ({"after": reach_trials(n_targets=4)}, "after must hold the same conditions, channels"),
    ],
)  # fmt: skip
def test_what_cannot_be_probed_is_said(options, message):
    with pytest.raises(DynaprobeError, match=message):
        target_switch(by_hand(0.0), TRIALS, **options)
