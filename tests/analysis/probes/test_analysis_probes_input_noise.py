"""Robustness to input noise of networks for which it can be computed."""

from __future__ import annotations

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from hand_networks import ALPHA, ROUND_OFF, by_hand, follower, linear, reach_trials
from numpy.testing import assert_allclose

from dynaprobe.analysis.probes.input_noise import EPOCHS, input_noise
from dynaprobe.core.errors import SettingsError
from dynaprobe.core.random import key
from dynaprobe.model.noise import normal_noise

TRIALS = reach_trials()
SD = (0.0, 0.05, 0.1)
GO, END, STOP = 70, 170, 200


@pytest.fixture(scope="module")
def found() -> xr.Dataset:
    return input_noise(follower(), TRIALS, sd=SD, n_repeats=100).data


def test_the_error_of_a_follower_is_that_of_filtered_noise(found):
    """The end point is a Gaussian filtered and averaged, so that its distance has the mean of Rayleigh's law."""
    response = np.zeros(END)  # of the end point to a unit input in bin s
    for s in range(END):
        t = np.arange(END - 10, END)
        response[s] = np.where(t >= s, ALPHA * (1 - ALPHA) ** (t - s).clip(0), 0).mean()
    scale = math.sqrt(2 / ALPHA)
    for epoch, bins in (
        ("movement", slice(GO, END)),
        ("throughout", slice(0, END)),
        ("preparatory", slice(20, GO)),
    ):
        sd = 0.1 * scale * np.sqrt((response[bins] ** 2).sum())
        # SAMPLING: 800 trials, standard error of the mean of a Rayleigh variable 1.8 %.
        expected = sd * math.sqrt(math.pi / 2)
        value = float(found["end_point_error"].sel(sd=0.1, channel="target", epoch=epoch))
        assert_allclose(value, expected, rtol=0.08, atol=ROUND_OFF)


def test_all_strengths_share_their_draws(found):
    """A linear network then errs in exact proportion."""
    error = found["end_point_error"].sel(channel="target", epoch="movement").values
    assert_allclose(error[2], 2 * error[1], rtol=1e-3)
    assert_allclose(found["tolerated_sd"].sel(channel="target", epoch="movement"), np.inf)


def test_the_tolerated_strength_is_where_the_line_crosses():
    data = input_noise(follower(), TRIALS, sd=(0.0, 0.5, 2.0), n_repeats=20, within=0.3).data
    slope = float(data["end_point_error"].sel(sd=2.0, channel="target", epoch="movement")) / 2
    assert_allclose(data["tolerated_sd"].sel(channel="target", epoch="movement"), 0.3 / slope, rtol=1e-3)
    assert input_noise(follower(gain=0.5), TRIALS, sd=SD, n_repeats=2).data["tolerated_sd"].isnull().all()


def test_noise_that_is_not_looked_at_does_nothing(found):
    for name in ("end_point_error", "direction_error_deg"):
        values = found[name].sel(channel="hold")
        assert_allclose(values, float(values[0, 0]), atol=ROUND_OFF)
    assert_allclose(found["end_point_error"].sel(sd=0), 0, atol=ROUND_OFF)
    assert_allclose(found["end_point_error"].sel(channel="all"), found["end_point_error"].sel(channel="target"))


def test_against_trials_run_one_by_one():
    """End points and R2 by matrices and loops, from the same draws."""
    network, n_repeats, sd = linear(seed=5), 3, 0.5
    data = input_noise(network, TRIALS, sd=(0.0, sd), n_repeats=n_repeats, seed=4).data
    xi = np.asarray(normal_noise(key(4, "probes", "input_noise"), (STOP, 8 * n_repeats, 3)), dtype=np.float64)
    S, w_in, w_out = (
        network.step_matrix(),
        *(np.asarray(w, dtype=np.float64) for w in (network.w_in, network.w_out)),
    )
    targets = np.asarray(TRIALS.targets, dtype=np.float64)[:, :STOP]
    errors, outputs = [], np.zeros((8 * n_repeats, STOP, 4))
    for trial in range(8 * n_repeats):
        x = np.zeros(12)
        for t in range(STOP):
            u = np.asarray(TRIALS.inputs)[trial // n_repeats, t].astype(np.float64)
            if GO <= t < END:
                u = u + [math.sqrt(2 / ALPHA) * sd, math.sqrt(2 / ALPHA) * sd, 0] * xi[t, trial]
            x = S @ x + ALPHA * w_in @ u
            outputs[trial, t] = w_out @ x
        goal = targets[trial // n_repeats, END - 10 : END, 2:].mean(axis=0)
        errors.append(np.linalg.norm(outputs[trial, END - 10 : END, 2:].mean(axis=0) - goal))
    here = data.sel(sd=sd, channel="target", epoch="movement")
    assert_allclose(float(here["end_point_error"]), np.mean(errors), rtol=1e-4)
    wanted = np.repeat(targets, n_repeats, axis=0)
    total = ((wanted - wanted.mean(axis=(0, 1))) ** 2).sum(axis=(0, 1))
    r2 = 1 - ((outputs - wanted) ** 2).sum(axis=(0, 1)).reshape(2, 2).sum(1) / total.reshape(2, 2).sum(1)
    assert_allclose([float(here["r2_velocity"]), float(here["r2_position"])], r2, rtol=1e-4)
    assert float(here["r2_min"]) == min(float(here["r2_velocity"]), float(here["r2_position"]))


def test_the_noise_of_training_is_left_out():
    network = by_hand(0.0)
    noisy = eqx.tree_at(lambda n: n.noise_input, network, jnp.full(3, 5.0))
    first, second = (input_noise(one, TRIALS, sd=SD, n_repeats=2).data for one in (network, noisy))
    xr.testing.assert_identical(first, second)


def test_intervals_hold_their_mean_and_narrow_with_trials(found):
    few = input_noise(follower(), TRIALS, sd=SD, n_repeats=10).data
    for data in (few, found):
        for name in ("end_point_error", "r2_min"):
            assert (data[name] >= data[f"{name}_low"] - 1e-9).all()
            assert (data[name] <= data[f"{name}_high"] + 1e-9).all()
    width = [
        float((d["end_point_error_high"] - d["end_point_error_low"]).sel(sd=0.1, channel="all")[1])
        for d in (few, found)
    ]
    assert 2 < width[0] / width[1] < 5  # SAMPLING: the root of ten, give or take
    assert found["epoch"].values.tolist() == list(EPOCHS)


def test_the_interval_covers_the_truth():
    """Twenty seeds: the mean of many trials lies in nearly all intervals of few."""

    def once(seed: int, n_repeats: int) -> xr.Dataset:
        channels = {"target": ("target_x", "target_y")}
        found = input_noise(follower(), TRIALS, sd=(0.0, 0.1), channels=channels, n_repeats=n_repeats, seed=seed)
        return found.data.sel(sd=0.1, channel="target", epoch="movement")

    truth = float(once(99, 400)["end_point_error"])
    few = [once(seed, 25) for seed in range(20)]
    hits = sum(float(d["end_point_error_low"]) <= truth <= float(d["end_point_error_high"]) for d in few)
    assert hits >= 16  # SAMPLING: fewer than 16 of 20 at 95 % happens less than once in a thousand


def test_one_seed_gives_one_result():
    first, again, other = (input_noise(follower(), TRIALS, sd=SD, n_repeats=2, seed=s).data for s in (0, 0, 1))
    xr.testing.assert_identical(first, again)
    assert not first.equals(other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sd": (0.1, 0.2)}, "sd must grow from 0, but got"),
        ({"sd": (0.0, 0.2, 0.1)}, "sd must grow from 0, but got"),
        (
            {"channels": {"cue": ("cue",)}},
            r"channels must name inputs of the trials \(target_x, target_y, hold\), but got cue",
        ),
        ({"n_repeats": 0}, "n_repeats must be at least 1, but got 0"),
    ],
)
def test_bad_settings_are_answered_in_words(options, message):
    with pytest.raises(SettingsError, match=message):
        input_noise(follower(), TRIALS, **options)
