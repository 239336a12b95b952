"""An ensemble: networks of one architecture, stacked on member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, UInt32

from dynaprobe.core.devices import prepare_devices
from dynaprobe.core.errors import SettingsError
from dynaprobe.core.random import member_keys
from dynaprobe.model.rnn import CTRNN, AbstractNetwork, Rollout
from dynaprobe.model.settings import NetworkSettings


class Ensemble(eqx.Module):
    """Networks that differ in seed and in hyperparameters.

    Attributes:
        networks: one network whose every array has a leading axis member.
        seeds: seed of each member.
        hyperparameters: what training needs to know about each member, by name, e.g. ``penalty_rate``; each
            overrides the setting of the same name.
    """

    networks: AbstractNetwork
    seeds: UInt32[Array, " member"]
    hyperparameters: dict[str, Float[Array, " member"]]

    @classmethod
    def make(
        cls,
        settings: NetworkSettings,
        *,
        n_inputs: int,
        n_outputs: int,
        seeds: Sequence[int],
        hyperparameters: Mapping[str, Sequence[float]] | None = None,
    ) -> Self:
        """Untrained networks, one per seed.

        Args:
            settings: what all members share.
            n_inputs, n_outputs: number of channels of the task.
            seeds: seed of each member; equal seeds give equal initial weights.
            hyperparameters: one value per member and name. ``noise_state`` and ``noise_input`` change the networks
                themselves, all other names are handed to training.

        Raises:
            SettingsError: no seed, a seed out of range, or another number of values than seeds.
        """
        _check_seeds(seeds)
        prepare_devices()
        given = {name: _check_values(name, values, len(seeds)) for name, values in (hyperparameters or {}).items()}
        noise = {name: given.pop(name) for name in ("noise_state", "noise_input") if name in given}
        members = [
            CTRNN.make(
                settings.with_changes({name: float(values[k]) for name, values in noise.items()}),
                n_inputs=n_inputs,
                n_outputs=n_outputs,
                seed=seed,
            )
            for k, seed in enumerate(seeds)
        ]
        # Stacked by NumPy and put there as they are: JAX would compile a program for every shape.
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *members)
        return cls(*jax.device_put((stacked, np.asarray(seeds, dtype=np.uint32), given)))

    @property
    def n_members(self) -> int:
        """Number of members."""
        return int(self.seeds.shape[0])

    def member(self, index: int) -> AbstractNetwork:
        """The network of one member, without the member axis.

        Raises:
            SettingsError: when there is no such member.
        """
        if not -self.n_members <= index < self.n_members:
            raise SettingsError(
                "member",
                rule=f"be below the number of members ({self.n_members})",
                received=index,
                remedy="Count members from 0",
            )
        network: AbstractNetwork = jax.tree.map(lambda leaf: leaf[index], self.networks)
        return network

    def select(self, indices: Sequence[int] | np.ndarray) -> Self:
        """The ensemble of some members, in the order given; booleans select by mask."""
        chosen = np.arange(self.n_members)[np.asarray(indices)]
        picked: Self = jax.tree.map(lambda leaf: leaf[chosen], self)
        return picked


def concatenate(ensembles: Sequence[Ensemble]) -> Ensemble:
    """Join ensembles of one architecture along member.

    Raises:
        SettingsError: when architectures, sizes or names of hyperparameters differ.
    """
    first, *others = ensembles
    kinds = [
        (jax.tree.structure(each), tuple(leaf.shape[1:] for leaf in jax.tree.leaves(each))) for each in ensembles
    ]
    if any(kind != kinds[0] for kind in kinds[1:]):
        raise SettingsError(
            "ensembles",
            rule="share architecture, sizes and names of hyperparameters",
            received=f"{len(set(map(str, kinds)))} different kinds",
            remedy="Keep ensembles of different activation or size apart",
        )
    joined: Ensemble = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), first, *others)
    return joined


@eqx.filter_jit
def simulate(
    ensemble: Ensemble, inputs: Float[Array, "trial time input"], key: PRNGKeyArray | None = None
) -> Rollout:
    """Run the same trials through every member.

    Args:
        ensemble: the networks.
        inputs: what they see.
        key: stream of the noise; each member draws its own from its seed. None runs without noise.

    Returns:
        A `Rollout` whose arrays have a leading axis member.
    """
    # One after another rather than by vmap: batched small products are slower on a CPU, and a member's numbers
    # then cannot depend on how many neighbours it has.
    if key is None:
        quiet: Rollout = jax.lax.map(lambda network: network.rollout(inputs), ensemble.networks)
        return quiet
    keys = member_keys(key, ensemble.seeds)
    noisy: Rollout = jax.lax.map(lambda pair: pair[0].rollout(inputs, pair[1]), (ensemble.networks, keys))
    return noisy


def _check_seeds(seeds: Sequence[int]) -> None:
    if len(seeds) == 0 or any(not 0 <= seed < 2**32 for seed in seeds):
        raise SettingsError(
            "seeds",
            rule="name at least one seed, each from 0 to 2^32 - 1",
            received=list(seeds),
            remedy="Give one seed per member",
        )


def _check_values(name: str, values: Sequence[float], n_members: int) -> np.ndarray:
    array = np.asarray(values, dtype=np.float32)
    if array.shape != (n_members,) or not np.isfinite(array).all() or (array < 0).any():
        raise SettingsError(
            name,
            rule=f"hold one finite, non-negative value per member ({n_members})",
            received=list(values),
            remedy="Repeat the value for members that share it",
        )
    return array
