"""All probes of one network on the task it was trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from dynaprobe.analysis.fixed_point_record import FixedPoints
from dynaprobe.analysis.probes.causal import InputRemoval, StateSwap, input_removal, state_swap
from dynaprobe.analysis.probes.directions import usual_directions
from dynaprobe.analysis.probes.input_noise import NOISE_SD, InputNoise, input_noise
from dynaprobe.analysis.probes.local_dynamics import (
    MOMENTS_MS,
    FlowFields,
    LinearPrediction,
    LocalSpectra,
    flow_fields,
    linear_prediction,
    spectra_along_trial,
)
from dynaprobe.analysis.probes.mechanism import MechanismVerdict, mechanism_verdict
from dynaprobe.analysis.probes.new_locations import NewLocations, new_locations
from dynaprobe.analysis.probes.perturbation import PULSE_MS, SIZES, Pulses, Silencing, pulses, silencing
from dynaprobe.analysis.probes.target_switch import SWITCH_MS, TargetSwitchProbe, target_switch
from dynaprobe.analysis.result import Result
from dynaprobe.core.errors import SettingsError
from dynaprobe.core.random import generator
from dynaprobe.core.settings import Settings
from dynaprobe.core.trials import Trials
from dynaprobe.model.rnn import AbstractNetwork
from dynaprobe.study.dynamics import fixed_points_of_trial
from dynaprobe.study.networks import TrainedNetwork
from dynaprobe.tasks.base import AbstractTask
from dynaprobe.tasks.reach import DelayedReach
from dynaprobe.tasks.reach_axes import new_places

Fraction = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class ProbeSettings(Settings):
    """How a network is probed.

    Attributes:
        noise_sd: strengths of input noise, growing from 0.
        n_noise_trials: trials of every condition for each strength, channel and epoch.
        within: distance from the goal that counts as reached, in output units.
        switch_ms: when the target switches, relative to the go cue.
        pulse_ms, pulse_sizes, pulse_duration_ms: pulses to the state; sizes in units of its spread.
        silenced_fractions: fractions of units that fall silent, drawn at random, the smaller within the larger.
        moments_ms: when the local dynamics are looked at, relative to the go cue.
        n_fixed_point_starts: starts of the search, per input.
    """

    noise_sd: tuple[float, ...] = NOISE_SD
    n_noise_trials: Count = 100
    within: Annotated[float, Field(gt=0)] = 0.2
    switch_ms: tuple[float, ...] = SWITCH_MS
    pulse_ms: tuple[float, ...] = PULSE_MS
    pulse_sizes: tuple[float, ...] = SIZES
    pulse_duration_ms: Annotated[float, Field(gt=0)] = 50.0
    silenced_fractions: tuple[Fraction, ...] = (0.05, 0.1, 0.2)
    moments_ms: tuple[float, ...] = MOMENTS_MS
    n_fixed_point_starts: Count = 128


# Classes of the records that probes give.
KINDS: tuple[type[Result], ...] = (
    InputRemoval, StateSwap, MechanismVerdict, InputNoise, TargetSwitchProbe, NewLocations, Pulses, Silencing,
    FixedPoints, LocalSpectra, LinearPrediction, FlowFields,
)  # fmt: skip
PROBES = ("mechanism", "noise", "switch", "locations", "perturb", "dynamics")


def probe_network(
    trained: TrainedNetwork,
    settings: ProbeSettings,
    *,
    which: Sequence[str] = PROBES,
    seed: int = 0,
) -> dict[str, Result]:
    """Run the probes named on a network, on the trials of its own task.

    ``mechanism``: ``input_removal`` and ``state_swap`` on trials of the network's own task that show the target as
    long as it ever does, their joint verdict ``mechanism``, and ``state_swap_visible``, with the target in sight
    throughout: a task that hides the target from the go cue on leaves a swap no input to find, and what its
    networks do with one that they never met is another question; ``noise``: ``input_noise``; ``switch``:
    ``target_switch``, at the go cue or later with the new target visible whatever the task shows; ``locations``:
    ``locations_between``, ``locations_sweep`` and ``locations_radii``; ``perturb``: ``pulses`` to PCs, jPCs,
    readouts and random directions, ``silencing``, ``silencing_preparatory``, ``silencing_movement``;
    ``dynamics``: ``fixed_points``, ``local_spectra``, ``linear_prediction`` and ``flow_fields``.

    Args:
        trained: the network with its task.
        settings: how.
        which: rows of `PROBES`.
        seed: of every draw: the same noise for every network.

    Returns:
        The results by the names above.

    Raises:
        SettingsError: an unknown probe, a task without targets that can be moved.
        DataError: a network that cannot be probed, as its states are not finite.
    """
    for name in which:
        if name not in PROBES:
            raise SettingsError(
                "probe", rule=f"be one of {', '.join(PROBES)}", received=name, remedy="Choose among these"
            )
    network, task = trained.network, check_task(trained.task)
    trials = task.condition_trials()
    parts: dict[str, Callable[[], dict[str, Result]]] = {
        "mechanism": lambda: _mechanism(network, task, seed),
        "noise": lambda: {
            "input_noise": input_noise(
                network,
                trials,
                sd=settings.noise_sd,
                n_repeats=settings.n_noise_trials,
                within=settings.within,
                seed=seed,
            )
        },
        "switch": lambda: {
            "target_switch": target_switch(
                network,
                trials,
                after=_visible(task).condition_trials(),
                switch_ms=settings.switch_ms,
                within=settings.within,
                seed=seed,
            )
        },
        "locations": lambda: _locations(network, task, seed),
        "perturb": lambda: _perturbations(network, trials, settings, seed),
        "dynamics": lambda: _dynamics(network, task, trials, settings, seed),
    }
    results: dict[str, Result] = {}
    for name in which:
        results |= parts[name]()
    return results


def check_task(task: AbstractTask) -> DelayedReach:
    """The task, if it is one that can be probed.

    Raises:
        SettingsError: for any other.
    """
    if not isinstance(task, DelayedReach):
        raise SettingsError(
            "task",
            rule="be a delayed reach, whose targets can be moved and hidden",
            received=type(task).__name__,
            remedy="Call the functions of dynaprobe.analysis.probes with trials of your own",
        )
    return task


def _mechanism(network: AbstractNetwork, task: DelayedReach, seed: int) -> dict[str, Result]:
    longest = _longest_seen(task).condition_trials()
    removal = input_removal(network, longest, seed=seed)
    swap = state_swap(network, longest, seed=seed)
    return {
        "input_removal": removal,
        "state_swap": swap,
        "state_swap_visible": state_swap(network, _visible(task).condition_trials(), seed=seed),
        "mechanism": mechanism_verdict(removal, swap),
    }


def _longest_seen(task: DelayedReach) -> DelayedReach:
    """Of a task whose target goes off at random, the trials in which it goes off last."""
    _, last_ms = task.target_off_range_ms
    return task.with_changes({"target_off_range_ms": (last_ms, last_ms)})


def _visible(task: DelayedReach) -> DelayedReach:
    return task.with_changes({"target_visible": "throughout"})


def _locations(network: AbstractNetwork, task: DelayedReach, seed: int) -> dict[str, Result]:
    trained_deg = sorted({float(row[0]) for row in task.conditions.rows})
    return {
        f"locations_{name}": new_locations(network, places.condition_trials(), trained_deg=trained_deg, seed=seed)
        for name, places in new_places(task).items()
    }


def _perturbations(
    network: AbstractNetwork, trials: Trials, settings: ProbeSettings, seed: int
) -> dict[str, Result]:
    n_units = int(network.initial_state().shape[0])
    order = generator(seed, "probes", "silenced").permutation(n_units)
    groups = {
        f"{fraction:.0%}": order[: max(1, round(fraction * n_units))].tolist()
        for fraction in settings.silenced_fractions
    }
    # The same units in every epoch, so that epochs can be compared.
    spans: Mapping[str, tuple[float | None, float | None]] = {
        "silencing": (None, None),
        "silencing_preparatory": (-_preparation_ms(trials), 0.0),
        "silencing_movement": (0.0, None),
    }
    pushed = pulses(
        network,
        trials,
        usual_directions(network, trials, seed=seed),
        pulse_ms=settings.pulse_ms,
        sizes=settings.pulse_sizes,
        duration_ms=settings.pulse_duration_ms,
        seed=seed,
    )
    quiet = {
        name: silencing(network, trials, groups, start_ms=start, stop_ms=stop, seed=seed)
        for name, (start, stop) in spans.items()
    }
    return {"pulses": pushed, **quiet}


def _preparation_ms(trials: Trials) -> float:
    return float(np.asarray(trials.events_ms["go_cue"])[0] - np.asarray(trials.events_ms["target_on"])[0])


def _dynamics(
    network: AbstractNetwork, task: DelayedReach, trials: Trials, settings: ProbeSettings, seed: int
) -> dict[str, Result]:
    moments_ms = settings.moments_ms
    return {
        "fixed_points": fixed_points_of_trial(network, task, n_starts=settings.n_fixed_point_starts, seed=seed),
        "local_spectra": spectra_along_trial(network, trials, moments_ms=moments_ms),
        "linear_prediction": linear_prediction(network, trials, starts_ms=moments_ms),
        "flow_fields": flow_fields(network, trials, moments_ms=moments_ms),
    }
