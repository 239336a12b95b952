"""Two experiments that tell a mechanism without a picture: take the target away at the go cue, or swap it.

A network that reaches from an initial condition carries the movement in its state at the go cue; one that is
driven by its input needs the target while it moves. Both are asked by changing inputs alone.

The two need not agree, and say different things: a network whose movement survives without the target may all the
same follow the target when it contradicts the state. Where the target is hidden after the go cue, a swap has no
input to give weight to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynaprobe.analysis.matrix import check_at_least
from dynaprobe.analysis.probes.measures import (
    N_BOOTSTRAP,
    draw_counts,
    percentile_interval,
    r2_by_group,
    with_interval,
)
from dynaprobe.analysis.probes.runs import check_fits, run
from dynaprobe.analysis.probes.scene import REACH, ReachReading, Scene, set_scene
from dynaprobe.analysis.result import Result
from dynaprobe.core.trials import Trials
from dynaprobe.model.rnn import AbstractNetwork

Mechanism = Literal["initial_condition", "input_driven", "mixed", "unclear"]
# The index is cut into thirds; a verdict needs its whole interval on one side.
INPUT_DRIVEN_BELOW, INITIAL_CONDITION_ABOVE = 1 / 3, 2 / 3
# Below this R2 the end points follow neither state nor input, and there is no mechanism to name.
LEAST_EXPLAINED = 0.5
# Nor is there one where the weights add up to less than half of the way to the goal.
LEAST_REACH = 0.5


@dataclass(frozen=True)
class InputRemoval(Result):
    """What is left of the movement when the target is taken away.

    Variables of `data`; E are end points with the target, E' without:
        end_point, end_point_removed, goal ``(condition, axis)``: E, E' and what is asked for.
        remaining: ``sum E.E' / sum E.E`` over conditions: 1 for a movement that goes on as if nothing had
            happened, 0 for one that is lost. With ``_low`` and ``_high``.
        error, error_removed: mean distance of end point and goal. With bounds.
        r2, r2_removed ``(group,)``: R2 of velocity and position over the trial.
    """


@dataclass(frozen=True)
class StateSwap(Result):
    """Where the movement ends when the state of one condition meets the input of another.

    Variables of `data`:
        end_point ``(state_condition, input_condition, axis)``: E_ij, state of i and input of j.
        state_weight, input_weight: weights of the regression on the goals G, ``E_ij = c +
            state_weight G_i + input_weight G_j``.
        explained: R2 of that regression.
        mechanism_index: ``state_weight / (state_weight + input_weight)``, cut to [0, 1]: 1 where the state
            alone decides.
    All but the first with ``_low`` and ``_high``. The attribute ``mechanism`` of `data` is the verdict, see
    `mechanism_of`.
    """


def mechanism_of(index_low: float, index_high: float, *, explained: float, reach: float) -> Mechanism:
    """The verdict: ``initial_condition`` when the whole interval of the mechanism index lies above 2/3,
    ``input_driven`` when it lies below 1/3, else ``mixed``; ``unclear`` when the regression explains less than
    half of the end points (`explained`), or `reach`, the sum of the two weights, is less than half of the way.
    """
    known = np.isfinite([index_low, index_high]).all()
    if not (known and explained >= LEAST_EXPLAINED and reach >= LEAST_REACH):
        return "unclear"
    if index_low > INITIAL_CONDITION_ABOVE:
        return "initial_condition"
    return "input_driven" if index_high < INPUT_DRIVEN_BELOW else "mixed"


def input_removal(
    network: AbstractNetwork,
    trials: Trials,
    *,
    at_ms: float = 0.0,
    reading: ReachReading = REACH,
    n_bootstrap: int = N_BOOTSTRAP,
    seed: int = 0,
) -> InputRemoval:
    """Take the target away at the go cue: how much of the movement remains? See `InputRemoval`.

    The channels ``reading.target_inputs`` are 0 from `at_ms` on. Trials run without noise; intervals are 95 %
    percentiles over conditions drawn with replacement.

    Args:
        network: the network.
        trials: ``task.condition_trials()``.
        at_ms: when, relative to the go cue.
        reading: names of channels and events.
        n_bootstrap: draws behind the intervals.
        seed: of the draws.

    Raises:
        SettingsError, DataError: trials that do not fit the reading, or a network that does not fit the trials.
    """
    scene = _scene(network, trials, reading, n_bootstrap)
    removed = scene.inputs.copy()
    removed[scene.bin_from_go(at_ms, "at_ms") :, :, scene.target_channels] = 0
    _, outputs = run(network, np.concatenate([scene.inputs, removed], axis=1))
    whole, less = outputs[: scene.n_conditions], outputs[scene.n_conditions :]
    E, E_less = scene.end_points(whole), scene.end_points(less)
    counts = draw_counts(scene.n_conditions, seed=seed, name="removal", n_bootstrap=n_bootstrap)
    kept, of = (E * E_less).sum(axis=1), (E * E).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        remaining, draws = kept.sum() / of.sum(), (counts @ kept) / (counts @ of)
    errors = {
        "error": np.linalg.norm(E - scene.goals, axis=1),
        "error_removed": np.linalg.norm(E_less - scene.goals, axis=1),
    }
    r2s = [r2_by_group(scene, values) for values in (whole, less)]
    data = xr.Dataset(
        {
            "end_point": (("condition", "axis"), E),
            "end_point_removed": (("condition", "axis"), E_less),
            "goal": (("condition", "axis"), scene.goals),
            **with_interval("remaining", remaining, draws, ()),
            "r2": (("group",), np.array([r2s[0][name] for name in scene.groups])),
            "r2_removed": (("group",), np.array([r2s[1][name] for name in scene.groups])),
        },
        coords={"group": list(scene.groups), **scene.condition_coords()},
    )
    for name, values in errors.items():
        data = data.assign(with_interval(name, values.mean(), counts @ values / values.size, ()))
    return InputRemoval(data, {"at_ms": at_ms, "reading": reading.model_dump(), "seed": seed})


def state_swap(
    network: AbstractNetwork,
    trials: Trials,
    *,
    at_ms: float = 0.0,
    reading: ReachReading = REACH,
    n_bootstrap: int = N_BOOTSTRAP,
    seed: int = 0,
) -> StateSwap:
    """The state of condition A meets the input of condition B at the go cue: which decides? See `StateSwap`.

    All pairs are run without noise, with the inputs of A until `at_ms` and those of B from then on, so that
    nothing but inputs is changed. Intervals are 95 % percentiles over draws, with replacement, of the conditions
    that give the state and, independently, of those that give the input.

    Args and errors as in `input_removal`; at least three conditions are needed.
    """
    scene = _scene(network, trials, reading, n_bootstrap)
    n = scene.n_conditions
    check_at_least("number of conditions", n, 3)
    inputs = swapped(scene, scene.inputs, scene.bin_from_go(at_ms, "at_ms"))
    _, outputs = run(network, inputs)
    E = scene.end_points(outputs).reshape(n, n, -1)
    once = np.ones((1, n))
    state_weight, input_weight, explained = (float(value[0]) for value in _regress(E, scene.goals, once, once))
    by_state, by_input = (
        draw_counts(n, seed=seed, name=f"swap {side}", n_bootstrap=n_bootstrap) for side in ("state", "input")
    )
    draws = _regress(E, scene.goals, by_state, by_input)
    index, index_draws = _index(np.array([state_weight]), np.array([input_weight]))[0], _index(draws[0], draws[1])
    low, high = percentile_interval(index_draws)
    data = xr.Dataset(
        {
            "end_point": (("state_condition", "input_condition", "axis"), E),
            **with_interval("state_weight", np.asarray(state_weight), draws[0], ()),
            **with_interval("input_weight", np.asarray(input_weight), draws[1], ()),
            **with_interval("explained", np.asarray(explained), draws[2], ()),
            **with_interval("mechanism_index", np.asarray(index), index_draws, ()),
        },
    )
    verdict = mechanism_of(float(low), float(high), explained=explained, reach=state_weight + input_weight)
    failures = {"network whose end points follow neither state nor input": 1} if verdict == "unclear" else {}
    settings = {"at_ms": at_ms, "reading": reading.model_dump(), "seed": seed}
    return StateSwap(data.assign_attrs(mechanism=verdict), settings, failures)


def swapped(
    scene: Scene, after: Float[np.ndarray, "time condition input"], at: int
) -> Float[np.ndarray, "time pair input"]:
    """Inputs of all pairs: those of the first condition before bin `at`, those of the second, from `after`, on."""
    n = scene.n_conditions
    first, second = np.repeat(np.arange(n), n), np.tile(np.arange(n), n)
    return np.concatenate([scene.inputs[:at, first], after[at:, second]])


def _scene(network: AbstractNetwork, trials: Trials, reading: ReachReading, n_bootstrap: int) -> Scene:
    check_at_least("n_bootstrap", n_bootstrap, 1)
    scene = set_scene(trials, reading)
    check_fits(network, scene)
    return scene


def _index(
    state_weight: Float[np.ndarray, " draw"], input_weight: Float[np.ndarray, " draw"]
) -> Float[np.ndarray, " draw"]:
    total = state_weight + input_weight
    with np.errstate(invalid="ignore", divide="ignore"):
        # Weights that cancel say that the movement goes nowhere: no index then.
        return np.where(total > 0, np.clip(state_weight / total, 0, 1), np.nan)


def _regress(
    E: Float[np.ndarray, "state input axis"],
    goals: Float[np.ndarray, "condition axis"],
    by_state: Float[np.ndarray, "draw state"],
    by_input: Float[np.ndarray, "draw input"],
) -> tuple[Float[np.ndarray, " draw"], Float[np.ndarray, " draw"], Float[np.ndarray, " draw"]]:
    """state_weight, input_weight and R2 for every draw of conditions.

    Over all pairs the two regressors are independent once centred, so that each weight is a covariance with its
    own regressor over that regressor's variance:

        state_weight = sum_i n_i g_i . e_i / sum_i n_i g_i . g_i

    with n_i how often condition i was drawn, e_i the mean of E_ij over the inputs drawn, both e and g less their
    means over the draw; input_weight likewise.
    """
    n_pairs = by_state.sum(axis=1) * by_input.sum(axis=1)

    def slope(mine: np.ndarray, others: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        g = goals - (mine @ goals / mine.sum(axis=1, keepdims=True))[:, None]
        e = np.einsum("dj,ija->dia", others, ends) / others.sum(axis=1)[:, None, None]
        power = np.einsum("di,dia->d", mine, g**2)
        with np.errstate(invalid="ignore", divide="ignore"):
            weight = np.where(power > 0, np.einsum("di,dia,dia->d", mine, g, e) / power, np.nan)
        return weight, weight**2 * power * others.sum(axis=1)

    state_weight, from_state = slope(by_state, by_input, E)
    input_weight, from_input = slope(by_input, by_state, E.swapaxes(0, 1))
    mean = np.einsum("di,dj,ija->da", by_state, by_input, E, optimize=True) / n_pairs[:, None]
    squares = np.einsum("di,dj,ija->d", by_state, by_input, E**2, optimize=True)
    total = squares - n_pairs * (mean**2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        explained = np.where(total > 0, (from_state + from_input) / total, np.nan)
    return state_weight, input_weight, explained
