"""Fixed points of a network at the inputs that its trial goes through."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from dynaprobe.analysis.fixed_point_record import FixedPoints
from dynaprobe.analysis.fixed_points import fixed_points_along_inputs, starts_from_states
from dynaprobe.core.errors import DataError
from dynaprobe.model.rnn import AbstractNetwork, run_network
from dynaprobe.tasks.base import AbstractTask

# Starts scatter about the visited states by this fraction of their standard deviation.
START_NOISE = 0.2


def trial_inputs(
    inputs: Float[np.ndarray, "time input"], names: tuple[str, ...], *, start: int, stop: int
) -> tuple[Float[np.ndarray, "stage input"], list[str]]:
    """The constant inputs of one trial in the order in which they come on, each named by its active channels.

    Args:
        inputs: noise-free inputs of one trial.
        names: of the channels; ``target_x`` and ``target_y`` are named together as ``target``.
        start, stop: bins of the trial that count.
    """
    part = np.asarray(inputs, dtype=np.float64)[start:stop]
    changes = np.flatnonzero((np.diff(part, axis=0) != 0).any(axis=1)) + 1
    stages = part[[0, *changes.tolist()]]
    kept: list[np.ndarray] = []
    labels: list[str] = []
    for stage in stages:
        active = dict.fromkeys(name.rsplit("_", 1)[0] for name, on in zip(names, stage != 0, strict=True) if on)
        label = " + ".join(active) or "no input"
        if label not in labels:
            labels.append(label)
            kept.append(stage)
    return np.stack(kept), labels


def fixed_points_of_trial(
    network: AbstractNetwork, task: AbstractTask, *, n_starts: int, seed: int, condition: int = 0
) -> FixedPoints:
    """Fixed and slow points at every input that one condition's trial goes through, followed along them.

    Searches start from the states of noise-free trials of all conditions, plus noise of `START_NOISE` of their
    standard deviation.

    Args:
        network: the network; its vector field is searched.
        task: its task.
        n_starts: starts per input.
        seed: of the starts.
        condition: whose inputs.

    Raises:
        DataError: when there is no such condition.
    """
    trials = task.condition_trials(1)
    if not 0 <= condition < trials.n_trials:
        raise DataError(
            "condition",
            rule=f"be a row of the {trials.n_trials} conditions",
            received=condition,
            remedy="Count conditions from 0; `dynaprobe tasks NAME` lists them",
        )
    states = np.asarray(run_network(network, trials.inputs).states, dtype=np.float64)
    starts = starts_from_states(states, n_starts, noise_sd=START_NOISE * float(states.std()), seed=seed)
    inside = np.flatnonzero(np.asarray(trials.mask)[condition].any(axis=-1))
    inputs, labels = trial_inputs(
        np.asarray(trials.inputs)[condition], trials.input_names, start=int(inside[0]), stop=int(inside[-1]) + 1
    )
    return fixed_points_along_inputs(network.vector_field, starts, inputs, kind="vector_field", labels=labels)
