"""Running a network through the trials of a probe, in pieces of one size and without noise."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dynaprobe.analysis.probes.scene import Scene
from dynaprobe.core.errors import DataError
from dynaprobe.model.rnn import AbstractNetwork

# Trials run together: one compiled program serves every probe of trials of one length.
CHUNK = 64


@eqx.filter_jit
def _run(network: AbstractNetwork, inputs: Array) -> tuple[Array, Array]:
    drive = network.drive(inputs, None)
    return _evolve(network, drive, jnp.broadcast_to(network.initial_state(), drive.shape[1:]))


@eqx.filter_jit
def _run_driven(network: AbstractNetwork, inputs: Array, push: Array) -> tuple[Array, Array]:
    drive = network.drive(inputs, None) + push
    return _evolve(network, drive, jnp.broadcast_to(network.initial_state(), drive.shape[1:]))


@eqx.filter_jit
def _run_from(network: AbstractNetwork, inputs: Array, start: Array) -> tuple[Array, Array]:
    return _evolve(network, network.drive(inputs, None), start)


def _evolve(network: AbstractNetwork, drive: Array, start: Array) -> tuple[Array, Array]:
    states, rates = network.evolve(drive, start, jnp.zeros(drive.shape[:2], drive.dtype))
    return states, network.readout(rates)


def run(
    network: AbstractNetwork,
    inputs: Float[np.ndarray, "time trial input"],
    *,
    push: Float[np.ndarray, "time trial unit"] | None = None,
    start: Float[np.ndarray, "trial unit"] | None = None,
) -> tuple[Float[np.ndarray, "trial time unit"], Float[np.ndarray, "trial time output"]]:
    """States and outputs of trials without noise, in the precision of the network.

    Args:
        network: the network.
        inputs: what it sees.
        push: what is added to the state at every step.
        start: state before the first step; None takes the network's own. Not together with `push`.

    Raises:
        DataError: inputs of another number of channels than the network has, or states that are not finite.
    """
    n_trials = inputs.shape[1]
    states, outputs = [], []
    for begin in range(0, n_trials, CHUNK):
        # The last chunk is filled up with its first trial, so that a program is compiled for one size alone.
        rows = np.arange(begin, begin + CHUNK)
        rows[rows >= n_trials] = begin
        shown = jnp.asarray(inputs[:, rows])
        if push is not None:
            found = _run_driven(network, shown, jnp.asarray(push[:, rows]))
        elif start is not None:
            found = _run_from(network, shown, jnp.asarray(start[rows]))
        else:
            found = _run(network, shown)
        n = min(CHUNK, n_trials - begin)
        states.append(np.swapaxes(np.asarray(found[0]), 0, 1)[:n])
        outputs.append(np.swapaxes(np.asarray(found[1]), 0, 1)[:n].astype(np.float64))
    together = np.concatenate(states), np.concatenate(outputs)
    n_bad = int((~np.isfinite(together[0]).all(axis=(1, 2))).sum())
    if n_bad:
        raise DataError(
            "network",
            rule="keep finite states in every trial",
            received=f"NaN or infinity in {n_bad} of {n_trials} trials",
            remedy="Probe networks that have learned their task",
        )
    return together


def check_fits(network: AbstractNetwork, scene: Scene) -> None:
    """Check that a network has the channels of the trials.

    Raises:
        DataError: another number of inputs or outputs.
    """
    weights = network.weights()
    for name, matrix, axis, wanted in (
        ("inputs", weights["in"], 1, scene.inputs.shape[2]),
        ("outputs", weights["out"], 0, len(scene.trials.output_names)),
    ):
        if matrix.shape[axis] != wanted:
            raise DataError(
                "network",
                rule=f"have the {wanted} {name} of the trials",
                received=matrix.shape[axis],
                remedy="Probe it with trials of the task it was trained on",
            )
