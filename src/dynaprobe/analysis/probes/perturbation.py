"""Perturbations of the state and of units, and how a network recovers from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import numpy as np
import xarray as xr
from jaxtyping import Float

from dynaprobe.analysis.matrix import check_at_least
from dynaprobe.analysis.probes.directions import spread_of
from dynaprobe.analysis.probes.measures import N_BOOTSTRAP, draw_counts, with_interval
from dynaprobe.analysis.probes.runs import check_fits, run
from dynaprobe.analysis.probes.scene import REACH, ReachReading, Scene, set_scene
from dynaprobe.analysis.result import Result
from dynaprobe.core.errors import DataError, SettingsError
from dynaprobe.core.timeline import n_bins
from dynaprobe.core.trials import Trials
from dynaprobe.model.rnn import AbstractNetwork

PULSE_MS = (-200.0, 0.0, 150.0)
SIZES = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Pulses(Result):
    """What a pulse to the state does.

    Variables of `data`; x' is the perturbed state, x the one without a pulse:
        distance ``(direction, pulse_ms, size, time)``: ``|x' - x|``, mean over conditions, in units of the spread
            (attribute ``spread``): the root mean square distance of states from their mean over conditions at the
            same time, averaged from target onset to the end of the movement.
        end_point_shift ``(direction, pulse_ms, size)``: mean distance of end points with and without the pulse.
        end_point_error: mean distance of the end point from its goal; end_point_error_unperturbed ``()``.
        half_life_ms: time from the end of the pulse until the distance has fallen to half of what it is then, for
            good within the trial; NaN where it does not.
        remaining: distance at the end of the movement over that at the end of the pulse.
    The last four ``(direction, pulse_ms, size)``; shift and error with ``_low`` and ``_high``.
    """


@dataclass(frozen=True)
class Silencing(Result):
    """What is lost while some units are silent.

    Variables of `data`: end_point_error, end_point_shift ``(group,)`` with ``_low`` and ``_high``; n_silenced
    ``(group,)``; end_point ``(group, condition, axis)``; distance ``(group, time)`` as in `Pulses`;
    end_point_error_unperturbed ``()``.
    """


def pulses(
    network: AbstractNetwork,
    trials: Trials,
    directions: Mapping[str, Float[np.ndarray, " unit"]],
    *,
    pulse_ms: Sequence[float] = PULSE_MS,
    sizes: Sequence[float] = SIZES,
    duration_ms: float = 50.0,
    reading: ReachReading = REACH,
    seed: int = 0,
) -> Pulses:
    """Push the state along directions at several times and sizes, and watch it come back; see `Pulses`.

    From the bin at each time on, ``size x spread x d / n`` is added to the state in each of the n bins that
    `duration_ms` covers, d the direction at unit length. Trials run without noise; intervals are 95 % percentiles
    over conditions drawn with replacement.

    Args:
        network: the network.
        trials: ``task.condition_trials()``.
        directions: in state space, by name; see `usual_directions`.
        pulse_ms: starts of the pulses relative to the go cue.
        sizes: of the pulses, in units of the spread; the sign counts.
        duration_ms: length of a pulse.
        reading: names of channels and events.
        seed: of the draws.

    Raises:
        SettingsError, DataError: as `dynaprobe.analysis.probes.causal.input_removal`, or a direction of another
            length than the state, or of length 0.
    """
    scene = set_scene(trials, reading)
    check_fits(network, scene)
    if not duration_ms > 0:
        raise SettingsError("duration_ms", rule="be positive", received=duration_ms, remedy="For example 50")
    states, outputs = run(network, scene.inputs)
    units = _unit_length(directions, states.shape[2])
    spread, n_steps = spread_of(scene, states), n_bins(duration_ms, scene.dt_ms)
    begins = [scene.bin_from_go(time, "pulse_ms") for time in pulse_ms]
    shape = (len(units), len(begins), len(sizes))
    check_at_least("number of directions, times and sizes", int(np.prod(shape)), 1)
    # Times and sizes of one direction run together, conditions fastest.
    steps = np.zeros((len(begins), len(sizes), scene.stop, 1), dtype=states.dtype)
    for k, begin in enumerate(begins):
        steps[k, :, begin : begin + n_steps, 0] = np.asarray(sizes)[:, None] * spread / n_steps
    n_pushes = len(begins) * len(sizes)
    course = np.repeat(steps.reshape(n_pushes, -1).T, scene.n_conditions, axis=1)
    inputs = np.tile(scene.inputs, (1, n_pushes, 1))
    alone = np.tile(states, (n_pushes, 1, 1))
    pushed_ends, pushed = [], []
    for vector in units.values():
        found = run(network, inputs, push=course[..., None] * vector.astype(states.dtype))
        pushed.append(_distance(found[0], alone) / spread)
        pushed_ends.append(scene.end_points(found[1]))
    distance = np.stack(pushed).reshape(*shape, scene.n_conditions, scene.stop)
    dims = ("direction", "pulse_ms", "size")
    ends = np.stack(pushed_ends).reshape(*shape, scene.n_conditions, -1)
    data = _loss(scene, ends, scene.end_points(outputs), dims, seed)
    recovery = np.full((2, *shape), np.nan)
    for at in np.ndindex(shape):
        recovery[(slice(None), *at)] = _recovery(distance[at].mean(axis=0), begins[at[1]] + n_steps, scene)
    data = data.assign(
        distance=((*dims, "time"), distance.mean(axis=-2)),
        half_life_ms=(dims, recovery[0], {"units": "ms"}),
        remaining=(dims, recovery[1]),
    )
    data = data.assign_coords(
        direction=list(units),
        pulse_ms=np.asarray(pulse_ms, dtype=np.float64),
        size=np.asarray(sizes, dtype=np.float64),
        time=("time", scene.time_from_go_ms(), {"units": "ms"}),
    )
    settings = {"duration_ms": duration_ms, "reading": reading.model_dump(), "seed": seed}
    return Pulses(data.assign_attrs(spread=spread), settings)


def silencing(
    network: AbstractNetwork,
    trials: Trials,
    groups: Mapping[str, Sequence[int]],
    *,
    start_ms: float | None = None,
    stop_ms: float | None = None,
    reading: ReachReading = REACH,
    seed: int = 0,
) -> Silencing:
    """Silence groups of units, throughout or for some time; see `Silencing`.

    A silent unit sends nothing: its columns of ``w_rec`` and ``w_out`` are 0, while its state goes on. Trials run
    without noise; intervals as in `pulses`.

    Args:
        network: a network with weights ``w_rec`` and ``w_out``.
        trials: ``task.condition_trials()``.
        groups: numbers of the units of every group.
        start_ms, stop_ms: from when until when, relative to the go cue; None is the start, the end of the trial.
        reading: names of channels and events.
        seed: of the draws.

    Raises:
        SettingsError, DataError: as `pulses`, or a unit that the network does not have.
    """
    scene = set_scene(trials, reading)
    check_fits(network, scene)
    states, outputs = run(network, scene.inputs)
    begin = 0 if start_ms is None else scene.bin_from_go(start_ms, "start_ms")
    end = scene.stop if stop_ms is None else scene.bin_from_go(stop_ms, "stop_ms")
    if not begin < end:
        raise SettingsError(
            "start_ms", rule="come before stop_ms", received=(start_ms, stop_ms), remedy="Exchange the two"
        )
    check_at_least("number of groups", len(groups), 1)
    spread = spread_of(scene, states)
    ends, distances = [], []
    for name, numbers in groups.items():
        quiet = silenced(network, _unit_numbers(name, numbers, states.shape[2]))
        found = _in_turns(scene.inputs, [(network, begin), (quiet, end), (network, scene.stop)])
        ends.append(scene.end_points(found[1]))
        distances.append(_distance(found[0], states).mean(axis=0) / spread)
    data = _loss(scene, np.stack(ends), scene.end_points(outputs), ("group",), seed)
    data = data.assign(
        end_point=(("group", "condition", "axis"), np.stack(ends)),
        distance=(("group", "time"), np.stack(distances)),
        n_silenced=(("group",), [len(set(numbers)) for numbers in groups.values()]),
    )
    data = data.assign_coords(
        group=list(groups), time=("time", scene.time_from_go_ms(), {"units": "ms"}), **scene.condition_coords()
    )
    settings: dict[str, Any] = {"start_ms": start_ms, "stop_ms": stop_ms, "reading": reading.model_dump()}
    return Silencing(data.assign_attrs(spread=spread), {**settings, "seed": seed})


def _unit_length(directions: Mapping[str, np.ndarray], n_units: int) -> dict[str, np.ndarray]:
    units = {}
    for name, given in directions.items():
        vector = np.asarray(given, dtype=np.float64)
        length = float(np.linalg.norm(vector)) if vector.shape == (n_units,) else 0.0
        if not (np.isfinite(length) and length > 0):
            raise SettingsError(
                f"direction {name}",
                rule=f"be a vector of length above 0 with one number per unit ({n_units})",
                received=f"shape {vector.shape}, length {length:g}",
                remedy="Make it with usual_directions, or give one of your own",
            )
        units[name] = vector / length
    return units


def _unit_numbers(name: str, numbers: Sequence[int], n_units: int) -> np.ndarray:
    chosen = np.asarray(list(numbers), dtype=np.int64)
    if chosen.size and not ((chosen >= 0) & (chosen < n_units)).all():
        raise SettingsError(
            f"group {name}",
            rule=f"hold numbers of units, 0 to {n_units - 1}",
            received=sorted(chosen.tolist()),
            remedy="Leave out the others",
        )
    return chosen


def silenced(network: AbstractNetwork, units: np.ndarray) -> AbstractNetwork:
    """The network in which some units send nothing.

    Raises:
        DataError: a network without ``w_rec`` and ``w_out``.
    """
    if not (hasattr(network, "w_rec") and hasattr(network, "w_out")):
        raise DataError(
            "network",
            rule="have weights w_rec and w_out",
            received=type(network).__name__,
            remedy="Silence units of a CTRNN, or push the state with pulses",
        )
    keep = np.ones(network.w_rec.shape[1], dtype=np.float32)
    keep[units] = 0
    quiet: AbstractNetwork = eqx.tree_at(
        lambda n: (n.w_rec, n.w_out), network, (network.w_rec * keep, network.w_out * keep)
    )
    return quiet


def _in_turns(inputs: np.ndarray, turns: Sequence[tuple[AbstractNetwork, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Run each network up to its bin, from where the one before left off."""
    begin, start, states, outputs = 0, None, [], []
    for network, end in turns:
        if end > begin:
            found = run(network, inputs[begin:end], start=start)
            states.append(found[0])
            outputs.append(found[1])
            start, begin = found[0][:, -1], end
    return np.concatenate(states, axis=1), np.concatenate(outputs, axis=1)


def _distance(states: np.ndarray, alone: np.ndarray) -> Float[np.ndarray, "condition time"]:
    apart: np.ndarray = np.linalg.norm((states - alone).astype(np.float64), axis=-1)
    return apart


def _loss(scene: Scene, ends: np.ndarray, alone: np.ndarray, dims: tuple[str, ...], seed: int) -> xr.Dataset:
    """Errors and shifts of end points ``(*dims, condition, axis)``."""
    counts = draw_counts(scene.n_conditions, seed=seed, name="perturbation", n_bootstrap=N_BOOTSTRAP)
    counts = counts / scene.n_conditions
    values = {
        "end_point_error": np.linalg.norm(ends - scene.goals, axis=-1),
        "end_point_shift": np.linalg.norm(ends - alone, axis=-1),
    }
    data = xr.Dataset({"end_point_error_unperturbed": np.linalg.norm(alone - scene.goals, axis=-1).mean()})
    for name, value in values.items():
        data = data.assign(with_interval(name, value.mean(axis=-1), value @ counts.T, dims))
    return data


def _recovery(distance: Float[np.ndarray, " time"], end: int, scene: Scene) -> tuple[float, float]:
    """Half-life after the last bin of the pulse, and what is left at the end of the movement."""
    last = min(end, scene.stop) - 1
    after = distance[last:]
    if not after[0] > 0:
        return float("nan"), float("nan")
    above = np.flatnonzero(after > after[0] / 2)[-1] + 1
    half_life_ms = above * scene.dt_ms if above < after.size else float("nan")
    return half_life_ms, float(distance[max(scene.end - 1, last)] / after[0])
