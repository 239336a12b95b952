"""A network rendered as a recording: same timing, as many trials, rates in the recorded range, Poisson spikes.

What comes out is a `Recording`, so the network goes through the very lines of code that the neurons go through,
spiking noise included.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from dynaprobe.core.errors import DataError
from dynaprobe.core.preprocess import window
from dynaprobe.core.random import generator, key
from dynaprobe.core.rates import make_rates
from dynaprobe.core.trials import Trials
from dynaprobe.model.rnn import AbstractNetwork, run_network
from dynaprobe.recordings.session import Recording
from dynaprobe.recordings.simulate import match_rate_range, scale_rates, simulate_session
from dynaprobe.tasks.base import AbstractTask


def run_trials(
    network: AbstractNetwork, task: AbstractTask, *, n_repeats: int, seed: int, noise: bool = True
) -> tuple[Trials, xr.DataArray, np.ndarray, Mapping[str, np.ndarray]]:
    """Run a network through every condition of its task.

    Returns:
        The trials; the rates, dims ``(trial, time, unit)`` in a.u.; the outputs ``(trial, time, output)``; the
        events in ms, movement onset measured on the outputs.
    """
    trials = task.condition_trials(n_repeats)
    rollout = run_network(network, trials.inputs, key(seed, "render", "noise") if noise else None)
    outputs = np.asarray(rollout.outputs, dtype=np.float64)
    rates = make_rates(
        np.asarray(rollout.rates, dtype=np.float64),
        dims=("trial", "time", "unit"),
        time_ms=trials.timeline.time_ms,
        event="trial_start",
        rate_unit="a.u.",
        source="network",
    )
    return trials, rates, outputs, task.measured_events(outputs, trials)


def render(
    network: AbstractNetwork,
    task: AbstractTask,
    *,
    like: xr.DataArray,
    n_repeats: int,
    n_units: int,
    after_onset_ms: float,
    seed: int,
    name: str,
) -> Recording:
    """A network as a spiking recording that matches a real one.

    Each unit's rates are mapped affinely onto a range (lowest, highest) drawn from those of the recorded PSTHs,
    which keeps the shape of its own; the range that is mapped is that of its noise-free rates from target onset to
    `after_onset_ms` after movement onset. Spikes are Poisson. Where the network has more units than the recording,
    a random subset is taken.

    Args:
        network: the network.
        task: its task, with the delay of the recording.
        like: the recording's PSTHs in spikes/s; their ranges are matched.
        n_repeats: trials per condition.
        n_units: at most so many units.
        after_onset_ms: how long after movement onset a unit's rates count for its range, as the window of the
            PSTHs does.
        seed: of noise, subset, ranges and spikes.
        name: what to call the result.

    Raises:
        DataError: when the network does not move in some condition, so that there is nothing to align to.
    """
    trials, rates, _, events_ms = run_trials(network, task, n_repeats=n_repeats, seed=seed)
    keep = ("target_on", "go_cue", "move_onset")
    moved = np.isfinite(events_ms["move_onset"])
    condition = np.asarray(trials.condition)
    if len(set(condition[moved].tolist())) < len(trials.conditions):
        still = sorted(set(condition.tolist()) - set(condition[moved].tolist()))
        raise DataError(
            "network",
            rule="move in every condition",
            received=f"no movement in condition {still}",
            remedy="Compare only networks that have learned the task",
            where=name,
        )
    chosen = _subset(rates.sizes["unit"], n_units, seed)
    rates = rates.isel(unit=chosen)
    reference = _noise_free(network, task, after_onset_ms).isel(unit=chosen)
    low_hz, high_hz = match_rate_range(like, chosen.size, seed=seed)
    session = simulate_session(
        scale_rates(rates, low_hz=low_hz, high_hz=high_hz, reference=reference),
        events_ms={event: events_ms[event] for event in keep},
        conditions=trials.conditions.frame().iloc[condition][["direction_deg"]].reset_index(drop=True),
        seed=seed,
        identifier=name,
        subject="network",
    )
    return Recording(sessions=(session,), source=name)


def _noise_free(network: AbstractNetwork, task: AbstractTask, after_onset_ms: float) -> xr.DataArray:
    """Rates without noise in the part of the trial that is analysed, all conditions one after another."""
    _, rates, _, events_ms = run_trials(network, task, n_repeats=1, seed=0, noise=False)
    stop_ms = np.where(np.isfinite(events_ms["move_onset"]), events_ms["move_onset"], events_ms["go_cue"])
    first, last = float(events_ms["target_on"].min()), float(stop_ms.max()) + after_onset_ms
    return window(rates, start_ms=first, stop_ms=min(last, float(rates["time"].max())))


def _subset(n_there: int, n_wanted: int, seed: int) -> np.ndarray:
    if n_there <= n_wanted:
        return np.arange(n_there)
    return np.sort(generator(seed, "render", "subset").choice(n_there, n_wanted, replace=False))
