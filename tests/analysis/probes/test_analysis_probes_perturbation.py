"""Pulses and silence in networks whose answer can be computed."""

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
    linear_network,
    permuted,
    reach_trials,
    turned,
)
from numpy.testing import assert_allclose
from scipy.stats import ortho_group

from dynaprobe.analysis.probes.directions import usual_directions
from dynaprobe.analysis.probes.perturbation import pulses, silencing
from dynaprobe.core.errors import DynaprobeError

TRIALS = reach_trials()
GO, END = 70, 170


def test_a_follower_forgets_a_pulse_by_its_time_constant():
    data = pulses(
        follower(), TRIALS, {"x": np.array([3.0, 0.0])}, pulse_ms=(0.0,), sizes=(1.0, -2.0), duration_ms=10.0
    ).data
    after = np.zeros(200)
    after[GO:] = (1 - ALPHA) ** np.arange(200 - GO)
    for size in (1.0, -2.0):
        assert_allclose(data["distance"].sel(direction="x", size=size)[0], abs(size) * after, atol=ROUND_OFF)
    assert_allclose(data["half_life_ms"], 40)  # 0.8^4 is the first power below a half
    assert_allclose(data["remaining"], (1 - ALPHA) ** (END - 1 - GO), atol=ROUND_OFF)
    assert_allclose(data["end_point_shift"], 0, atol=ROUND_OFF)


def test_a_pulse_is_spread_over_its_duration_and_moves_the_end_point_as_computed():
    network, size = linear(seed=6, radius=0.99), 0.7
    vector = np.random.default_rng(0).standard_normal(12)
    data = pulses(network, TRIALS, {"v": vector}, pulse_ms=(800.0,), sizes=(size,), duration_ms=50.0).data
    S, w_out = network.step_matrix(), np.asarray(network.w_out, dtype=np.float64)
    shift, x = np.zeros((200, 4)), np.zeros(12)
    for t in range(200):
        push = size * data.attrs["spread"] / 5 * vector / np.linalg.norm(vector) if 150 <= t < 155 else 0
        x = S @ x + push
        shift[t] = w_out @ x
        assert_allclose(float(data["distance"][0, 0, 0, t]) * data.attrs["spread"], np.linalg.norm(x), atol=2e-3)
    expected = np.linalg.norm(shift[END - 10 : END, 2:].mean(axis=0))
    assert_allclose(float(data["end_point_shift"][0, 0, 0]), expected, atol=1e-3)


def test_a_line_that_keeps_what_it_gets_never_recovers():
    """An integrator: the whole of the pulse stays, and has no half-life."""
    network = linear_network(np.eye(2, 3), np.diag([1.0, 0.0]), np.eye(4, 2))
    data = pulses(network, TRIALS, {"line": np.array([1.0, 0.0])}, pulse_ms=(0.0,), sizes=(1.0,)).data
    assert_allclose(data["remaining"], 1, atol=1e-3)
    assert np.isnan(data["half_life_ms"]).all()


def test_a_pulse_of_size_zero_does_nothing():
    data = pulses(by_hand(0.5), TRIALS, {"v": np.ones(16)}, pulse_ms=(-100.0,), sizes=(0.0,)).data
    assert_allclose(data["distance"], 0)
    assert_allclose(data["end_point_error"], data["end_point_error_unperturbed"])
    assert np.isnan(data["remaining"]).all()


def test_pulses_turn_with_the_basis_of_the_state():
    network, vector, Q = linear(seed=2), np.arange(1.0, 13.0), ortho_group.rvs(12, random_state=0)
    first = pulses(network, TRIALS, {"v": vector}, sizes=(1.0,)).data
    second = pulses(turned(network, Q), TRIALS, {"v": Q @ vector}, sizes=(1.0,)).data
    assert_allclose(second["distance"], first["distance"], atol=2e-3)
    assert_allclose(second["end_point_shift"], first["end_point_shift"], atol=2e-3)


@pytest.mark.parametrize("part", [1.0, 0.6, 0.0])
def test_silencing_takes_away_what_the_units_carried(part):
    """Units 8 to 11 carry the share of the state, 12 to 15 that of the input."""
    groups = {"none": (), "state": range(8, 12), "input": range(12, 16), "all": range(16)}
    data = silencing(by_hand(part), TRIALS, groups).data
    assert_allclose(data["end_point_shift"], [0, part, 1 - part, 1], atol=ROUND_OFF)
    assert_allclose(data["end_point_error"], data["end_point_shift"], atol=ROUND_OFF)
    assert data["n_silenced"].values.tolist() == [0, 4, 4, 16]
    assert_allclose(data["distance"].sel(group="none"), 0, atol=ROUND_OFF)


def test_silence_for_a_time_takes_away_what_passed_in_that_time():
    """The gates of the state are silent from 200 to 100 ms before the go cue."""
    data = silencing(by_hand(1.0), TRIALS, {"gates": range(4)}, start_ms=-200.0, stop_ms=-100.0).data
    # A rate acts one step after it was reached; the last gate's step before silence acts on the first silent one.
    passed = 1 - (1 - ALPHA) ** np.arange(N_DELAY + 1)
    assert_allclose(data["end_point_shift"], passed[30:40].sum() / passed.sum(), atol=ROUND_OFF)


def test_the_order_of_units_does_not_matter():
    order = np.random.default_rng(0).permutation(16)
    place = np.argsort(order)
    first = silencing(by_hand(0.3), TRIALS, {"g": [1, 9, 14]}).data
    second = silencing(permuted(by_hand(0.3), order), TRIALS, {"g": place[[1, 9, 14]].tolist()}).data
    xr.testing.assert_allclose(first, second, atol=ROUND_OFF)


def test_usual_directions_of_a_rotation():
    """Two units turn, a third only decays: the jPCs span the turning plane, the readout is its own gradient."""
    w_rec = np.array([[0.9, -0.6, 0], [0.6, 0.9, 0], [0, 0, -1.0]])
    w_out = np.zeros((4, 3))
    w_out[2:] = np.eye(2, 3)
    found = usual_directions(linear_network(np.eye(3), w_rec, w_out), TRIALS, n_random=3, seed=5)
    assert list(found) == [
        "pc1",
        "pc2",
        "jpc1",
        "jpc2",
        "readout_px",
        "readout_py",
        "random1",
        "random2",
        "random3",
    ]
    for vector in found.values():
        assert_allclose(np.linalg.norm(vector), 1)
    assert_allclose([found["jpc1"][2], found["jpc2"][2]], 0, atol=1e-3)
    assert_allclose(found["jpc1"] @ found["jpc2"], 0, atol=1e-6)
    assert_allclose(found["readout_py"], [0, 1, 0], atol=1e-6)
    again = usual_directions(linear_network(np.eye(3), w_rec, w_out), TRIALS, n_random=3, seed=5)
    for name, vector in found.items():
        assert_allclose(again[name], vector)


X = {"x": np.array([1.0, 0.0])}
WRONG = {
    r"direction x must be a vector of length above 0 with one number per unit \(2\), but got shape \(3,\)": (
        lambda: pulses(follower(), TRIALS, {"x": np.ones(3)})
    ),
    "direction x must be a vector of length above 0": lambda: pulses(follower(), TRIALS, {"x": np.zeros(2)}),
    "duration_ms must be positive, but got 0": lambda: pulses(follower(), TRIALS, X, duration_ms=0.0),
    "pulse_ms must lie in the trial": lambda: pulses(follower(), TRIALS, X, pulse_ms=(5000.0,)),
    "number of directions, times and sizes must be at least 1": lambda: pulses(follower(), TRIALS, {}),
    "states must differ between conditions, but got a spread of 0": (
        lambda: pulses(follower(), reach_trials(n_targets=1), X)
    ),
    r"group g must hold numbers of units, 0 to 15, but got \[3, 16\]": (
        lambda: silencing(by_hand(1.0), TRIALS, {"g": [16, 3]})
    ),
    "start_ms must come before stop_ms": (
        lambda: silencing(by_hand(1.0), TRIALS, {"g": [1]}, start_ms=100.0, stop_ms=50.0)
    ),
    "number of groups must be at least 1": lambda: silencing(by_hand(1.0), TRIALS, {}),
}  # fmt: skip


@pytest.mark.parametrize(("message", "call"), WRONG.items())
def test_what_cannot_be_done_is_said(message, call):
    with pytest.raises(DynaprobeError, match=message):
        call()
