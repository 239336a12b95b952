"""Directions in state space in which activity varies, turns, or is read out, and how far it spreads."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dynaprobe.analysis.jpca import fit_skew
from dynaprobe.analysis.probes.runs import check_fits, run
from dynaprobe.analysis.probes.scene import REACH, ReachReading, Scene, set_scene
from dynaprobe.analysis.subspace import fix_signs, numerical_rank, principal_axes
from dynaprobe.core.errors import DataError
from dynaprobe.core.random import generator
from dynaprobe.core.trials import Trials
from dynaprobe.model.rnn import AbstractNetwork

# Dimensions in which rotations are looked for, as in jPCA.
N_JPCA_PCS = 6


def usual_directions(
    network: AbstractNetwork,
    trials: Trials,
    *,
    n_pcs: int = 2,
    n_random: int = 2,
    reading: ReachReading = REACH,
    seed: int = 0,
) -> dict[str, Float[np.ndarray, " unit"]]:
    """Directions in state space worth pushing along, each of unit length.

    ``pc1 ...``: principal axes of the states from target onset to the end of the movement, less their mean over
    conditions; ``jpc1, jpc2``: the plane that turns fastest, from a skew-symmetric fit to the same states in their
    first six PCs during the movement; ``readout_NAME``: the gradient of an output with respect to the state at the
    go cue; ``random1 ...``: isotropic.

    Args:
        network: the network.
        trials: ``task.condition_trials()``.
        n_pcs, n_random: how many of these.
        reading: names of channels and events.
        seed: of the random directions.
    """
    scene = set_scene(trials, reading)
    check_fits(network, scene)
    states, _ = run(network, scene.inputs)
    tuned = _tuned(scene, states)
    axes, variances = principal_axes(tuned.reshape(-1, tuned.shape[-1]))
    axes = axes[: numerical_rank(variances)]
    found = {f"pc{k + 1}": axes[k] for k in range(min(n_pcs, len(axes)))}
    found |= _jpcs(tuned[:, scene.go - scene.onset :], axes)
    at_go = jnp.asarray(states[:, scene.go - 1].mean(axis=0))
    slopes = np.asarray(_readout_slopes(network, at_go), dtype=np.float64)
    for k, name in enumerate(trials.output_names):
        if np.linalg.norm(slopes[k]) > 0:
            found[f"readout_{name}"] = slopes[k]
    rng = generator(seed, "probes", "random_directions")
    found |= {f"random{k + 1}": rng.standard_normal(states.shape[2]) for k in range(n_random)}
    return {name: vector / np.linalg.norm(vector) for name, vector in found.items()}


@eqx.filter_jit
def _readout_slopes(network: AbstractNetwork, x: Float[Array, " unit"]) -> Float[Array, "output unit"]:
    slopes: Array = jax.jacrev(lambda state: network.readout(network.rate(state)))(x)
    return slopes


def _jpcs(
    movement: Float[np.ndarray, "condition time unit"], axes: Float[np.ndarray, "axis unit"]
) -> dict[str, np.ndarray]:
    """The plane that turns fastest, as two orthonormal axes."""
    basis = axes[: min(N_JPCA_PCS, len(axes))]
    if len(basis) < 2 or movement.shape[1] < 2:
        return {}
    latent = movement @ basis.T
    before, after = (part.reshape(-1, len(basis)) for part in (latent[:, :-1], latent[:, 1:]))
    if numerical_rank(np.linalg.svd(before, compute_uv=False) ** 2) < len(basis):
        # A plane that the movement never enters does not turn.
        return {}
    # As in `dynaprobe.analysis.jpca`: real and imaginary part of the eigenvector of i M span the plane.
    speeds, vectors = np.linalg.eigh(1j * fit_skew(before, after - before))
    fastest = vectors[:, np.argmax(speeds)]
    plane = fix_signs(np.stack([fastest.real, fastest.imag]) @ basis)
    return {"jpc1": plane[0], "jpc2": plane[1]}


def spread_of(scene: Scene, states: Float[np.ndarray, "condition time unit"]) -> float:
    """Root mean square distance of states from their mean over conditions, from target onset to the movement's
    end.

    Raises:
        DataError: when all conditions have the same states.
    """
    spread = float(np.sqrt((_tuned(scene, states) ** 2).sum(axis=2).mean()))
    if not spread > 0:
        raise DataError(
            "states",
            rule="differ between conditions",
            received="a spread of 0",
            remedy="Probe a network that reacts to its target",
        )
    return spread


def _tuned(scene: Scene, states: np.ndarray) -> Float[np.ndarray, "condition time unit"]:
    part = states[:, scene.onset : scene.end].astype(np.float64)
    tuned: np.ndarray = part - part.mean(axis=0)
    return tuned
