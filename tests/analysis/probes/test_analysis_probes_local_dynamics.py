"""Local dynamics of linear networks, for which the linear model is the network."""

from __future__ import annotations

import equinox as eqx
import numpy as np
import pytest
from hand_networks import ALPHA, follower, linear, reach_trials, turned
from numpy.testing import assert_allclose
from scipy.stats import ortho_group

from dynaprobe.analysis.fixed_points import find_fixed_points
from dynaprobe.analysis.linearise import mode_times, sorted_eigenvalues
from dynaprobe.analysis.probes.local_dynamics import (
    flow_fields,
    linear_prediction,
    mode_table,
    spectra_along_trial,
)
from dynaprobe.core.errors import DynaprobeError
from dynaprobe.model.rnn import CTRNN
from dynaprobe.model.settings import NetworkSettings

TRIALS = reach_trials()


def test_spectra_of_a_linear_network_are_those_of_its_matrix():
    network = linear(n_units=6)
    data = spectra_along_trial(network, TRIALS, moments_ms=(-100.0, 50.0)).data
    J = (np.asarray(network.w_rec, dtype=np.float64) - np.eye(6)) / network.tau_ms
    values = sorted_eigenvalues(J, "vector_field")
    found = data["eigenvalue_real"].values + 1j * data["eigenvalue_imag"].values
    assert found.shape == (2, 8, 6)
    assert_allclose(found, np.broadcast_to(values, found.shape), atol=1e-6)
    assert_allclose(data["mode_hz"][0, 0], mode_times(values, "vector_field")[1], atol=1e-4)
    assert not data["n_unstable"].any()


def test_a_linear_network_is_predicted_for_ever_through_every_change_of_input():
    result = linear_prediction(linear(n_units=6), TRIALS, starts_ms=(-600.0, -100.0, 50.0), horizon_ms=600.0)
    # Round-off of single precision, over the spread between conditions.
    started = result.data["error"].sel(start_ms=[-100.0, 50.0])
    assert_allclose(started, 0, atol=1e-4)
    assert np.isinf(result.data["horizon_ms"].sel(start_ms=[-100.0, 50.0])).all()
    # Before target onset all conditions are alike: there is no spread to measure errors by.
    assert result.data["error"].sel(start_ms=-600.0)[:5].isnull().all()


def test_standing_still_is_as_wrong_as_the_follower_is_fast():
    """Until the target comes with the go cue nothing moves; then the follower goes to it."""
    trials = reach_trials(target_visible="from_go")
    still = linear_prediction(follower(), trials, starts_ms=(0.0, 50.0)).data["error_of_standing_still"]
    n = np.arange(1, still.sizes["lead_ms"] + 1)
    assert_allclose(still.sel(start_ms=0.0), 1, atol=1e-4)  # from the middle to where everyone is different
    here = (1 - (1 - ALPHA) ** (n + 5)) / (1 - (1 - ALPHA) ** (n + 5))
    moved = ((1 - (1 - ALPHA) ** (n + 5)) - (1 - (1 - ALPHA) ** 5)) / (1 - (1 - ALPHA) ** (n + 5))
    assert_allclose(still.sel(start_ms=50.0), here * moved, atol=1e-4)


def test_a_saturating_network_is_predicted_for_a_while():
    network = CTRNN.make(NetworkSettings(n_units=30, spectral_radius=2.5), n_inputs=3, n_outputs=4, seed=1)
    loud = eqx.tree_at(lambda n: n.w_in, network, 30 * network.w_in)
    data = linear_prediction(loud, TRIALS, starts_ms=(-300.0,)).data
    error = data["error"].values[0]
    assert error[0] < 1e-4
    assert error[-1] > 0.5
    horizon = float(data["horizon_ms"][0])
    assert error[data["lead_ms"].values < horizon].max() <= 0.5 < error[data["lead_ms"].values == horizon][0]


def test_flow_is_the_field_seen_in_the_plane():
    network = linear(n_units=6, seed=3)
    data = flow_fields(network, TRIALS, moments_ms=(-100.0, 100.0), condition=2, n_grid=5).data
    axes = data["axes"].values
    assert_allclose(axes @ axes.T, np.eye(2), atol=1e-9)
    w_in, w_rec = (np.asarray(w, dtype=np.float64) for w in (network.w_in, network.w_rec))
    states, outside = np.zeros((8, 200, 6)), np.zeros((8, 6))
    for t in range(200):
        outside = outside @ network.step_matrix().T + ALPHA * np.asarray(TRIALS.inputs)[:, t] @ w_in.T
        states[:, t] = outside
    middle = states[:, 20:170].reshape(-1, 6).mean(axis=0)
    for k, at in enumerate((60, 80)):
        x0 = states[2, at - 1]
        assert_allclose(data["state"][k], axes @ (x0 - middle), atol=1e-4)
        for row, column in ((0, 0), (4, 1), (2, 3)):
            place = data["grid"].values[row, column]
            x = x0 + (place - axes @ (x0 - middle)) @ axes
            velocity = (-x + w_rec @ x + w_in @ np.asarray(TRIALS.inputs)[2, at]) / network.tau_ms
            assert_allclose(data["flow"][k, row, column], axes @ velocity, atol=1e-5)
            share = np.linalg.norm(axes @ velocity) / np.linalg.norm(velocity)
            assert_allclose(data["in_plane"][k, row, column], share, atol=1e-4)
    assert_allclose(data["trajectory"], (states - middle) @ axes.T, atol=1e-4)


def test_what_is_measured_does_not_depend_on_the_basis():
    network = linear(n_units=6, seed=4)
    other = turned(network, ortho_group.rvs(6, random_state=2))
    options = {"moments_ms": (50.0,), "n_grid": 4}
    first, second = (flow_fields(one, TRIALS, **options).data for one in (network, other))
    # Signs of the axes follow their loadings, which the basis changes.
    assert_allclose(np.abs(first["trajectory"]), np.abs(second["trajectory"]), atol=1e-3)
    first, second = (spectra_along_trial(one, TRIALS).data["mode_tau_ms"] for one in (network, other))
    assert_allclose(first, second, rtol=1e-3)


@pytest.mark.slow
def test_the_table_of_modes_says_what_the_points_hold():
    network = linear(n_units=6)
    points = find_fixed_points(
        network.vector_field, np.zeros((2, 6)), np.eye(3), kind="vector_field", labels=["a", "b", "c"]
    )
    table = mode_table(points, n_modes=3)
    assert table["input"].tolist() == ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    assert set(table["stability"]) == {"stable"}
    assert (table["hz"] >= 0).all()
    values = sorted_eigenvalues((np.asarray(network.w_rec, dtype=np.float64) - np.eye(6)) / 50.0, "vector_field")
    tau_ms, _ = mode_times(values[values.imag >= 0][:3], "vector_field")
    assert_allclose(table["tau_ms"][:3], tau_ms, rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: flow_fields(follower(), TRIALS, condition=8), "condition must be below 8, but got 8"),
        (lambda: flow_fields(follower(), TRIALS, n_grid=1), "n_grid must be at least 2"),
        (lambda: linear_prediction(follower(), TRIALS, horizon_ms=0.0), "horizon_ms must be positive"),
        (lambda: spectra_along_trial(follower(), TRIALS, moments_ms=()), "number of moments must be at least 1"),
        (lambda: spectra_along_trial(follower(), TRIALS, moments_ms=(9e3,)), "moments_ms must lie in the trial"),
    ],
)
def test_bad_requests_are_answered_in_words(call, message):
    with pytest.raises(DynaprobeError, match=message):
        call()
