"""The two causal probes on networks whose mechanism was written down."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from hand_networks import ALPHA, ROUND_OFF, TASK, by_hand, linear, permuted, reach_trials, silent, turned
from numpy.testing import assert_allclose
from scipy.stats import ortho_group

from dynaprobe.analysis.probes.causal import InputRemoval, StateSwap, input_removal, mechanism_of, state_swap
from dynaprobe.analysis.probes.scene import ReachReading
from dynaprobe.core.errors import DynaprobeError
from dynaprobe.core.trials import Trials
from dynaprobe.study.teacher import teacher_network

TRIALS = reach_trials()
MECHANISMS = ((1.0, "initial_condition"), (0.5, "mixed"), (0.0, "input_driven"))


@pytest.mark.parametrize(("part", "verdict"), MECHANISMS)
def test_a_network_written_down_is_found_out(part, verdict):
    """End points are ``part G_i + (1 - part) G_j`` exactly."""
    network = by_hand(part)
    removal, swap = input_removal(network, TRIALS).data, state_swap(network, TRIALS).data
    assert_allclose(float(removal["remaining"]), part, atol=ROUND_OFF)
    assert_allclose(removal["error"], 0, atol=ROUND_OFF)
    assert_allclose(removal["error_removed"], 1 - part, atol=ROUND_OFF)
    assert_allclose([float(swap["state_weight"]), float(swap["input_weight"])], [part, 1 - part], atol=ROUND_OFF)
    assert_allclose(float(swap["explained"]), 1, atol=ROUND_OFF)
    assert_allclose(float(swap["mechanism_index"]), part, atol=ROUND_OFF)
    assert swap.attrs["mechanism"] == verdict
    goals = removal["goal"].values
    assert_allclose(swap["end_point"], part * goals[:, None] + (1 - part) * goals[None, :], atol=ROUND_OFF)


def test_what_an_input_leaves_behind_decays_as_it_should():
    """A leaky follower of its input alone: removed 100 ms before the end window, an exponential is left."""
    network, at_ms = by_hand(0.0), 900.0
    swap = state_swap(network, TRIALS, at_ms=at_ms).data
    # The gate and the follower each forget by 1 - a per step; the window is the ten bins from the switch on.
    gate = follower = 1.0
    left = []
    for _ in range(10):
        follower, gate = (1 - ALPHA) * follower + ALPHA * gate, (1 - ALPHA) * gate
        left.append(follower)
    assert_allclose(
        float(swap["state_weight"]), np.mean(left), atol=1e-3
    )  # the first gate has not opened to the full


def test_weights_are_those_of_least_squares():
    """Against the regression written out row by row, on end points that follow no rule."""
    network = linear(seed=3)
    swap = state_swap(network, TRIALS).data
    E = swap["end_point"].values
    goals = input_removal(network, TRIALS).data["goal"].values
    n = len(goals)
    rows, wanted = [], []
    for i in range(n):
        for j in range(n):
            for axis in range(2):
                rows.append([goals[i, axis], goals[j, axis], axis == 0, axis == 1])
                wanted.append(E[i, j, axis])
    fit, *_ = np.linalg.lstsq(np.array(rows, dtype=float), np.array(wanted), rcond=None)
    assert_allclose([float(swap["state_weight"]), float(swap["input_weight"])], fit[:2], atol=1e-9)
    residual = np.array(wanted) - np.array(rows, dtype=float) @ fit
    total = ((E - E.mean(axis=(0, 1))) ** 2).sum()
    assert_allclose(float(swap["explained"]), 1 - (residual**2).sum() / total, atol=1e-9)


def test_without_a_target_nothing_is_left_of_a_linear_network_but_its_memory():
    """E' by powers of the step matrix."""
    network = linear(seed=1)
    found = input_removal(network, TRIALS).data["end_point_removed"].values
    S, w_in = network.step_matrix(), np.asarray(network.w_in, dtype=np.float64)
    inputs = np.asarray(TRIALS.inputs, dtype=np.float64).copy()
    inputs[:, 70:, :2] = 0
    x, outputs = np.zeros((8, 12)), []
    for t in range(170):
        x = x @ S.T + ALPHA * inputs[:, t] @ w_in.T
        outputs.append(x @ np.asarray(network.w_out, dtype=np.float64)[2:].T)
    assert_allclose(found, np.mean(outputs[160:170], axis=0), atol=ROUND_OFF)


def test_a_network_that_never_moves_has_no_mechanism():
    result = state_swap(silent(), TRIALS)
    assert result.data.attrs["mechanism"] == "unclear"
    assert result.status == "1 x network whose end points follow neither state nor input"
    assert np.isnan(input_removal(silent(), TRIALS).data["remaining"])


def test_noise_for_end_points_is_called_unclear():
    """Random weights give end points that follow the goals in a random way; most go nowhere."""
    verdicts = [
        state_swap(linear(seed=seed, radius=0.3), TRIALS, n_bootstrap=50).data.attrs["mechanism"]
        for seed in range(5)
    ]
    assert verdicts.count("unclear") >= 4


def test_the_basis_of_the_state_does_not_matter():
    network = linear(seed=2)
    other = turned(network, ortho_group.rvs(12, random_state=0))
    for probe in (input_removal, state_swap):
        first, second = probe(network, TRIALS).data, probe(other, TRIALS).data
        for name in first.data_vars:
            assert_allclose(second[name], first[name], atol=2e-3, err_msg=str(name))


def test_the_order_of_units_does_not_matter():
    network = by_hand(0.3)
    other = permuted(network, np.random.default_rng(0).permutation(16))
    xr.testing.assert_allclose(state_swap(network, TRIALS).data, state_swap(other, TRIALS).data, atol=ROUND_OFF)


def test_one_seed_gives_one_interval():
    network = linear(seed=4)
    first, again, other = (state_swap(network, TRIALS, seed=seed).data for seed in (0, 0, 1))
    xr.testing.assert_identical(first, again)
    assert float(first["state_weight_low"]) != float(other["state_weight_low"])
    assert float(first["state_weight"]) == float(other["state_weight"])
    assert float(first["state_weight_low"]) <= float(first["state_weight"]) <= float(first["state_weight_high"])


def test_the_teacher_reaches_from_its_initial_condition():
    """It has velocities only; the end point is then their integral."""
    trials = reach_trials(target_visible="until_go", no_delay_fraction=0.0)
    velocities = Trials(
        trials.inputs, trials.targets[..., :2], trials.mask[..., :2], trials.condition, trials.events_ms,
        trials.timeline, trials.conditions, trials.input_names, ("vx", "vy"),
    )  # fmt: skip
    reading = ReachReading(position=())
    swap = state_swap(teacher_network(), velocities, reading=reading).data
    assert float(swap["mechanism_index_low"]) > 0.99
    assert float(input_removal(teacher_network(), velocities, reading=reading).data["remaining"]) == 1.0


@pytest.mark.parametrize(
    ("low", "high", "explained", "reach", "verdict"),
    [
        (0.7, 0.9, 1.0, 1.0, "initial_condition"),
        (0.6, 0.9, 1.0, 1.0, "mixed"),
        (0.0, 0.3, 1.0, 1.0, "input_driven"),
        (0.0, 0.4, 1.0, 1.0, "mixed"),
        (0.7, 0.9, 0.4, 1.0, "unclear"),
        (0.7, 0.9, 1.0, 0.4, "unclear"),
        (np.nan, np.nan, 1.0, 1.0, "unclear"),
    ],
)
def test_the_rule_of_the_verdict(low, high, explained, reach, verdict):
    assert mechanism_of(low, high, explained=explained, reach=reach) == verdict


def test_records_survive_a_file(tmp_path):
    for kind, result in (
        (InputRemoval, input_removal(by_hand(1.0), TRIALS)),
        (StateSwap, state_swap(by_hand(1.0), TRIALS)),
    ):
        result.to_dataset().to_netcdf(tmp_path / "one.nc", engine="h5netcdf")
        with xr.open_dataset(tmp_path / "one.nc", engine="h5netcdf") as stored:
            again = kind.from_dataset(stored.load())
        xr.testing.assert_identical(again.data.drop_attrs(), result.data.drop_attrs())
        assert again.settings["at_ms"] == 0.0


NAN = eqx.tree_at(lambda n: n.b, by_hand(1.0), jnp.full(16, jnp.nan))


def removed(trials: Trials = TRIALS, **options: Any) -> InputRemoval:
    return input_removal(by_hand(1.0), trials, **options)


WRONG = {
    "number of conditions must be at least 3, but got 2": lambda: state_swap(
        by_hand(1.0), reach_trials(n_targets=2)
    ),
    "network must keep finite states in every trial, but got NaN": lambda: state_swap(NAN, TRIALS),
    "at_ms must lie in the trial, -700 to 1300 ms": lambda: removed(at_ms=9000.0),
    "network must have the 4 outputs of the trials, but got 2": lambda: input_removal(linear(n_outputs=2), TRIALS),
    r"target_inputs must name channels of the trials \(target_x, target_y, hold\), but got cue": (
        lambda: removed(reading=ReachReading(target_inputs=("cue",)))
    ),
    "position and velocity must not both be empty": (
        lambda: removed(reading=ReachReading(position=(), velocity=()))
    ),
    "event must be one of .*, trial_start, but got start": lambda: removed(reading=ReachReading(go="start")),
    "n_bootstrap must be at least 1": lambda: removed(n_bootstrap=0),
    "movement_end must come after the first bin and before movement_end": (
        lambda: removed(reading=ReachReading(go="movement_end"))
    ),
}


@pytest.mark.parametrize(("message", "call"), WRONG.items())
def test_what_cannot_be_probed_is_said(message, call):
    with pytest.raises(DynaprobeError, match=message):
        call()


def test_trials_of_different_timing_or_repeated_are_refused():
    with pytest.raises(DynaprobeError, match="trials must hold one trial of every condition and no catch trial"):
        state_swap(by_hand(1.0), TASK.condition_trials(2))
    late = TRIALS.events_ms["go_cue"].at[0].add(10.0)
    random = eqx.tree_at(lambda trials: trials.events_ms["go_cue"], TRIALS, late)
    with pytest.raises(DynaprobeError, match="must come at one time in all trials"):
        state_swap(by_hand(1.0), random)
