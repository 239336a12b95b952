"""Robustness to noise at the inputs: by strength, by channel, and by the epoch in which it comes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, PRNGKeyArray

from dynaprobe.analysis.matrix import check_at_least
from dynaprobe.analysis.probes.measures import (
    direction_error_deg,
    draw_counts,
    total_squares,
    weighted_mean,
    with_interval,
)
from dynaprobe.analysis.probes.runs import check_fits
from dynaprobe.analysis.probes.scene import REACH, ReachReading, Scene, set_scene
from dynaprobe.analysis.result import Result
from dynaprobe.core.errors import SettingsError
from dynaprobe.core.random import key
from dynaprobe.core.trials import Trials
from dynaprobe.model.noise import normal_noise
from dynaprobe.model.rnn import AbstractNetwork

NOISE_SD = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
EPOCHS = ("preparatory", "movement", "throughout")
DIMS = ("sd", "channel", "epoch")
# Trials simulated together: the rates of more would not stay in a processor's cache.
BATCH = 128


@dataclass(frozen=True)
class InputNoise(Result):
    """How a movement suffers from noise at the inputs.

    Variables of `data`, each ``(sd, channel, epoch)`` and with bounds ``_low`` and ``_high``:
        end_point_error: mean distance of end point and goal, in output units.
        direction_error_deg: mean absolute angle between end point and goal.
        r2_velocity, r2_position: R2 over all trials, where the task has such outputs.
        r2_min: the smaller of the two.
    Also:
        end_point_error_by_condition ``(sd, channel, epoch, condition)``.
        tolerated_sd ``(channel, epoch)``: the sd at which the mean end-point error reaches ``within``, linear in
            between; infinite when it never does, NaN when it does so without added noise.
    """


class _Measured(NamedTuple):
    end_points: Any
    squared: dict[str, Any]


def input_noise(
    network: AbstractNetwork,
    trials: Trials,
    *,
    sd: Sequence[float] = NOISE_SD,
    channels: Mapping[str, Sequence[str]] | None = None,
    n_repeats: int = 100,
    within: float = 0.2,
    reading: ReachReading = REACH,
    seed: int = 0,
) -> InputNoise:
    """End points and R2 under noise of several strengths, by channel and epoch; see `InputNoise`.

    A noisy input is ``u + sqrt(2 tau / dt) s xi``, fresh at every step: the noise of training, which is left out
    (the noise inside the network stays). Epochs are ``preparatory``, from target onset to the go cue;
    ``movement``, from the go cue to the end of the movement; ``throughout``, the whole trial. The same xi serve
    every strength, channel, epoch and network, so that differences are not those of the draws. Intervals are 95 %
    percentiles over trials, drawn with replacement within conditions: they speak of this network, not of others
    trained alike.

    Args:
        network: the network; its ``dt_ms`` and ``tau_ms`` scale the noise.
        trials: ``task.condition_trials()``.
        sd: s, growing from 0.
        channels: which inputs are noisy, by name; default ``target``, ``all``, and every other channel by itself.
        n_repeats: trials of every condition for each strength, channel and epoch.
        within: the error that counts as tolerated, in output units.
        reading: names of channels and events.
        seed: of all draws.

    Raises:
        SettingsError, DataError: as `dynaprobe.analysis.probes.causal.input_removal`, or strengths that do not
            grow from 0.
    """
    check_at_least("n_repeats", n_repeats, 1)
    scene = set_scene(trials, reading)
    check_fits(network, scene)
    strengths = _checked_strengths(sd)
    masks = _channel_masks(scene, reading, channels)
    windows = _epoch_windows(scene)
    goals = np.repeat(scene.goals, n_repeats, axis=0)
    counts = np.concatenate(
        [draw_counts(n_repeats, seed=seed, name=f"noise {k}") for k in range(scene.n_conditions)], axis=1
    )
    runner = _Runner(network, scene, n_repeats, seed)
    shape = (len(strengths), len(masks), len(EPOCHS))
    parts: dict[str, np.ndarray] = {}
    n_bad = 0
    found: dict[str, np.ndarray] = {}
    for at in np.ndindex(shape):
        # Without noise it does not matter in which channel and epoch there is none.
        if strengths[at[0]] > 0 or not found:
            weight = strengths[at[0]] * windows[EPOCHS[at[2]]][:, None] * list(masks.values())[at[1]]
            measured = runner.measure(weight)
            found = _summary(scene, measured, goals, counts)
            n_bad += int((~np.isfinite(measured.end_points).all(axis=1)).sum())
        for name, value in found.items():
            parts.setdefault(name, np.full((*shape, *np.shape(value)), np.nan))[at] = value
    data = _dataset(scene, parts, strengths, list(masks), within)
    failures = {"trial whose outputs are not finite": n_bad} if n_bad else {}
    settings = {"n_repeats": n_repeats, "within": within, "reading": reading.model_dump(), "seed": seed}
    return InputNoise(data, settings, failures)


class _Given(NamedTuple):
    """What all noisy trials share, time-major."""

    inputs: Float[Array, "time condition input"]
    targets: Float[Array, "time condition output"]
    mask: Float[Array, "time condition output"]
    end_weights: Float[Array, " time"]


class _Runner:
    """Runs noisy trials of all conditions and keeps of their outputs only what is measured."""

    def __init__(self, network: AbstractNetwork, scene: Scene, n_repeats: int, seed: int) -> None:
        self.network = without_input_noise(network)
        self.scale = math.sqrt(2 * float(getattr(network, "tau_ms", network.dt_ms)) / network.dt_ms)
        self.keys = key(seed, "probes", "input_noise"), key(seed, "probes", "state_noise")
        self.condition = np.repeat(np.arange(scene.n_conditions), n_repeats)
        groups = tuple((name, tuple(numbers)) for name, numbers in scene.groups.items())
        self.channels = tuple(scene.end_channels), groups
        asked = (np.swapaxes(a, 0, 1) for a in (scene.targets, scene.mask))
        given = (scene.inputs, *asked, scene.end_weights)
        self.given = _Given(*(jnp.asarray(a.astype(np.float32)) for a in given))

    def measure(self, weight: Float[np.ndarray, "time input"]) -> _Measured:
        """End points and squared errors of every trial with noise of sd `weight` (before scaling)."""
        pieces = []
        for begin in range(0, self.condition.size, BATCH):
            # The last batch is filled up, so that a program is compiled for one size alone.
            rows = self.condition[begin : begin + BATCH]
            rows = np.pad(rows, (0, BATCH - rows.size), mode="edge")
            found = _noisy_trials(
                self.network,
                self.given,
                jnp.asarray((self.scale * weight).astype(np.float32)),
                rows=(jnp.asarray(rows), jnp.asarray(begin)),
                keys=self.keys,
                channels=self.channels,
            )
            pieces.append(jax.tree.map(lambda leaf: np.asarray(leaf, dtype=np.float64), found))
        n_trials = self.condition.size
        joined: _Measured = jax.tree.map(lambda *leaves: np.concatenate(leaves)[:n_trials], *pieces)
        return joined


@eqx.filter_jit
def _noisy_trials(
    network: AbstractNetwork,
    given: _Given,
    sd: Float[Array, "time input"],
    *,
    rows: tuple[Array, Array],
    keys: tuple[PRNGKeyArray, PRNGKeyArray],
    channels: tuple[tuple[int, ...], tuple[tuple[str, tuple[int, ...]], ...]],
) -> _Measured:
    """The trials of some rows: their conditions and the number of the first of them."""
    (condition, first), (end_channels, groups) = rows, channels
    shown = given.inputs[:, condition]
    shown = shown + sd[:, None, :] * normal_noise(keys[0], shown.shape, shown.dtype, first=(0, first))
    start = jnp.broadcast_to(network.initial_state(), (shown.shape[1], *network.initial_state().shape))
    quiet = jnp.zeros(shown.shape[:2], shown.dtype)
    outputs = network.respond(shown, start, keys[1], quiet, first=(0, first)).outputs
    squared = jnp.sum(given.mask[:, condition] * (outputs - given.targets[:, condition]) ** 2, axis=0)
    end_points = jnp.einsum("tba,t->ba", outputs[..., jnp.asarray(end_channels)], given.end_weights)
    return _Measured(end_points, {name: squared[:, jnp.asarray(numbers)].sum(axis=1) for name, numbers in groups})


def without_input_noise(network: AbstractNetwork) -> AbstractNetwork:
    """The network without the noise that it adds to its inputs by itself, if it does."""
    if not hasattr(network, "noise_input"):
        return network
    quiet: AbstractNetwork = eqx.tree_at(lambda n: n.noise_input, network, jnp.zeros_like(network.noise_input))
    return quiet


def _checked_strengths(sd: Sequence[float]) -> Float[np.ndarray, " sd"]:
    strengths = np.asarray(sd, dtype=np.float64)
    if strengths.ndim != 1 or not strengths.size or strengths[0] != 0 or not (np.diff(strengths) > 0).all():
        raise SettingsError(
            "sd", rule="grow from 0", received=list(sd), remedy="For example 0, 0.05, 0.1, 0.2, 0.5, 1"
        )
    return strengths


def _channel_masks(
    scene: Scene, reading: ReachReading, channels: Mapping[str, Sequence[str]] | None
) -> dict[str, Float[np.ndarray, " input"]]:
    names = scene.trials.input_names
    if channels is None:
        others = {name: (name,) for name in names if name not in reading.target_inputs}
        channels = {"target": reading.target_inputs, **others, "all": names}
    for name in {one for group in channels.values() for one in group}:
        if name not in names:
            raise SettingsError(
                "channels",
                rule=f"name inputs of the trials ({', '.join(names)})",
                received=name,
                remedy="Correct the name of the channel",
            )
    return {label: np.isin(names, list(group)).astype(np.float64) for label, group in channels.items()}


def _epoch_windows(scene: Scene) -> dict[str, Float[np.ndarray, " time"]]:
    """1 in the bins of each epoch."""
    time = np.arange(scene.stop)
    edges = {
        "preparatory": (scene.onset, scene.go),
        "movement": (scene.go, scene.end),
        "throughout": (0, scene.stop),
    }
    return {name: ((time >= a) & (time < b)).astype(np.float64) for name, (a, b) in edges.items()}


def _summary(scene: Scene, measured: _Measured, goals: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Every measure with the bounds of its interval, of one strength, channel and epoch."""
    found: dict[str, np.ndarray] = {}

    def keep(name: str, value: Any, draws: np.ndarray) -> None:
        for suffixed, (_, number, _) in with_interval(name, value, draws, ()).items():
            found[suffixed] = number

    error = np.linalg.norm(measured.end_points - goals, axis=1)
    turned = np.abs(direction_error_deg(measured.end_points, goals))
    once = np.ones((1, error.size))
    for name, values in (("end_point_error", error), ("direction_error_deg", turned)):
        keep(name, weighted_mean(values, once)[0], weighted_mean(values, counts))
    n_repeats = error.size // scene.n_conditions
    totals = total_squares(scene)
    r2, r2_draws = [], []
    for name, squared in measured.squared.items():
        total = totals[name].sum() * n_repeats
        r2.append(1 - squared.sum() / total)
        r2_draws.append(1 - counts @ squared / total)
        keep(f"r2_{name}", r2[-1], r2_draws[-1])
    keep("r2_min", np.min(r2), np.min(r2_draws, axis=0))
    found["end_point_error_by_condition"] = error.reshape(scene.n_conditions, n_repeats).mean(axis=1)
    return found


def _dataset(
    scene: Scene, parts: Mapping[str, np.ndarray], strengths: np.ndarray, channels: list[str], within: float
) -> xr.Dataset:
    data = xr.Dataset(
        {
            name: ((*DIMS, "condition") if values.ndim == len(DIMS) + 1 else DIMS, values)
            for name, values in parts.items()
        },
        coords={"sd": strengths, "channel": channels, "epoch": list(EPOCHS), **scene.condition_coords()},
    )
    for name in data.data_vars:
        if str(name).startswith("direction_error_deg"):
            data[name].attrs["units"] = "degrees"
    errors = parts["end_point_error"]
    tolerated = np.array(
        [
            [_crossing(strengths, errors[:, channel, epoch], within) for epoch in range(len(EPOCHS))]
            for channel in range(len(channels))
        ]
    )
    return data.assign(tolerated_sd=(("channel", "epoch"), tolerated))


def _crossing(x: Float[np.ndarray, " point"], y: Float[np.ndarray, " point"], level: float) -> float:
    """Where y first reaches the level, linear in between."""
    above = np.flatnonzero(~(y < level))
    if not above.size:
        return math.inf
    if above[0] == 0:
        return math.nan
    k = above[0]
    return float(x[k - 1] + (level - y[k - 1]) / (y[k] - y[k - 1]) * (x[k] - x[k - 1]))
