"""Updates of all members: spread over the devices, and one member after another on each.

Where there are more devices than members, several devices share the trials of one member.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Int

from dynaprobe.core.devices import device_mesh
from dynaprobe.core.trials import Trials
from dynaprobe.tasks.base import AbstractTask
from dynaprobe.training.settings import FitSettings
from dynaprobe.training.shares import n_segments, n_shares
from dynaprobe.training.state import MemberState, Phase
from dynaprobe.training.update import Layout, Member, update_member, validate_member


def everywhere(tree: Any) -> Any:
    """Copies of all arrays on every device, which is what `advance` and `validate` take and return.

    A fit that begins and one that goes on then share one compiled program.
    """
    return jax.device_put(tree, NamedSharding(device_mesh(1), PartitionSpec()))


def program_settings(settings: FitSettings) -> FitSettings:
    """The settings with all those at their defaults that `advance` does not look at.

    What is left decides whether a program compiled before can be used again. Penalty weights travel as arrays.
    """
    looked_at = ("n_updates", "batch_size", "learning_rate", "learning_rate_end", "schedule", "warmup_updates")
    return FitSettings(**{name: getattr(settings, name) for name in (*looked_at, "clip_norm", "memory_gb")})


@partial(jax.jit, static_argnames=("task", "settings"))
def advance(
    members: Member, start: Int[Array, ""], stop: Int[Array, ""], *, task: AbstractTask, settings: FitSettings
) -> MemberState:
    """Updates ``start, ..., stop - 1`` of every member that is still training."""
    mesh, layout = _layout(members, settings.batch_size, task, settings.memory_gb)

    def updates(member: Member, start: Array, stop: Array) -> MemberState:
        state, key, penalties = member

        def running(carry: tuple[Array, MemberState]) -> Array:
            update, state = carry
            return (update < stop) & (state.phase == Phase.TRAINING)

        def one(carry: tuple[Array, MemberState]) -> tuple[Array, MemberState]:
            update, state = carry
            return update + 1, update_member(task, settings, (state, key, penalties), update, layout=layout)

        _, advanced = jax.lax.while_loop(running, one, (start, state))
        result: MemberState = advanced
        return result

    return _for_all_members(updates, members, start, stop, mesh=mesh)


@partial(jax.jit, static_argnames=("task", "settings"))
def validate(
    members: Member,
    trials: Trials,
    update: Int[Array, ""],
    patience: Int[Array, ""],
    *,
    task: AbstractTask,
    settings: FitSettings,
) -> MemberState:
    """Validate every member that is still training."""
    mesh, layout = _layout(members, trials.n_trials, task, settings.memory_gb)

    def one(member: Member, trials: Trials, update: Array, patience: Array) -> MemberState:
        result: MemberState = jax.lax.cond(
            member[0].phase == Phase.TRAINING,
            lambda: validate_member(task, trials, member, update, patience, layout=layout),
            lambda: member[0],
        )
        return result

    return _for_all_members(one, members, trials, update, patience, mesh=mesh)


def _layout(
    members: Member, n_trials: int, task: AbstractTask, memory_gb: float
) -> tuple[jax.sharding.Mesh, Layout]:
    network = jax.tree.map(lambda leaf: leaf[0], members[0].network)
    n_units = network.initial_state().size
    mesh = device_mesh(members[0].phase.shape[0], n_shares(n_trials))
    segments = n_segments(
        task.timeline.n_bins, n_trials, n_units, memory_gb=memory_gb, n_devices=mesh.devices.size
    )
    return mesh, Layout(mesh.shape["share"], segments)


def _for_all_members(
    function: Callable[..., MemberState], members: Member, *shared: Any, mesh: jax.sharding.Mesh
) -> MemberState:
    """Apply `function` to every member.

    One after another, not by vmap: on a CPU the small products of one network are faster than batched ones, its
    activity stays in the cache, and a member's numbers cannot depend on its neighbours.
    """
    n_members = members[0].phase.shape[0]
    # Rows of devices take equally many members: the last is repeated, out of the race so that it takes no time.
    n_padding = -n_members % mesh.shape["member"]
    padded = jax.tree.map(lambda leaf: jnp.concatenate([leaf, *([leaf[-1:]] * n_padding)]), members)
    phase = jnp.where(jnp.arange(n_members + n_padding) < n_members, padded[0].phase, Phase.OUT_OF_PATIENCE)
    padded = (eqx.tree_at(lambda state: state.phase, padded[0], phase), *padded[1:])

    def on_device(members: Member, shared: Any) -> MemberState:
        result: MemberState = jax.lax.map(lambda member: function(member, *shared), members)
        return result

    across, same = PartitionSpec("member"), PartitionSpec()
    spread = jax.shard_map(on_device, mesh=mesh, in_specs=(across, same), out_specs=across, check_vma=False)
    done = jax.lax.with_sharding_constraint(spread(padded, shared), NamedSharding(mesh, same))
    unpadded: MemberState = jax.tree.map(lambda leaf: leaf[:n_members], done)
    return unpadded
