"""Updates of all members: spread over the devices, and one member after another on each.

Where there are more devices than members, several devices share the trials of one member.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Int

from dynaprobe.core.devices import device_mesh
from dynaprobe.core.trials import Trials
from dynaprobe.tasks.base import AbstractTask
from dynaprobe.training.settings import FitSettings
from dynaprobe.training.shares import n_segments, n_shares
from dynaprobe.training.state import MemberState, Phase
from dynaprobe.training.update import Layout, Member, update_member, validate_member

T = TypeVar("T")


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


def advance(
    members: Member, start: Int[Array, ""], stop: Int[Array, ""], *, task: AbstractTask, settings: FitSettings
) -> MemberState:
    """Updates ``start, ..., stop - 1`` of every member that is still training."""
    mesh, layout = _layout(members, settings.batch_size, task, settings.memory_gb)
    padded = _padded(members, mesh)
    done = _advance(padded, start, stop, task=task, settings=settings, mesh=mesh, layout=layout)
    advanced: MemberState = _unpadded(done, members, mesh)
    return advanced


@partial(jax.jit, static_argnames=("task", "settings", "mesh", "layout"))
def _advance(
    members: Member,
    start: Int[Array, ""],
    stop: Int[Array, ""],
    *,
    task: AbstractTask,
    settings: FitSettings,
    mesh: jax.sharding.Mesh,
    layout: Layout,
) -> MemberState:
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
    found = _validate(_padded(members, mesh), trials, update, patience, mesh=mesh, layout=layout)
    done, outputs = _unpadded(found, members, mesh)
    # By a program of their own, one member at a time: within the other, sums would be compiled in an order that
    # depends on how outputs come together from the devices.
    measured = [_measure(task, member, trials) for member in np.asarray(outputs)]
    noted: MemberState = _noted(done, members[0].phase, jax.tree.map(_stacked, *measured), update)
    return noted


def _stacked(*values: Array) -> Array:
    stacked: Array = jax.device_put(np.stack([np.asarray(value) for value in values]))
    return stacked


@partial(jax.jit, static_argnames="task")
def _measure(task: AbstractTask, outputs: Array, trials: Trials) -> dict[str, Array]:
    return task.performance(outputs, trials)


@jax.jit
def _noted(done: MemberState, phase: Array, measured: dict[str, Array], update: Array) -> MemberState:
    """Put the measures of the members that were training into the history."""
    rows = {
        name: jnp.where((phase == Phase.TRAINING)[:, None], known.at[:, update].set(measured[name]), known)
        for name, known in done.history.validation.items()
    }
    noted: MemberState = eqx.tree_at(lambda state: state.history.validation, done, rows)
    return noted


@partial(jax.jit, static_argnames=("mesh", "layout"))
def _validate(
    members: Member,
    trials: Trials,
    update: Int[Array, ""],
    patience: Int[Array, ""],
    *,
    mesh: jax.sharding.Mesh,
    layout: Layout,
) -> tuple[MemberState, Array]:
    def one(member: Member, trials: Trials, update: Array, patience: Array) -> tuple[MemberState, Array]:
        n_outputs = trials.targets.shape[-1]
        silence = jnp.zeros((trials.n_trials, trials.inputs.shape[1], n_outputs), trials.targets.dtype)
        result: tuple[MemberState, Array] = jax.lax.cond(
            member[0].phase == Phase.TRAINING,
            lambda: validate_member(trials, member, update, patience, layout=layout),
            lambda: (member[0], silence),
        )
        return result

    return _for_all_members(one, members, trials, update, patience, mesh=mesh)


def _layout(
    members: Member, n_trials: int, task: AbstractTask, memory_gb: float
) -> tuple[jax.sharding.Mesh, Layout]:
    n_units = jax.eval_shape(jax.vmap(lambda network: network.initial_state()), members[0].network).shape[-1]
    mesh = device_mesh(members[0].phase.shape[0], n_shares(n_trials))
    segments = n_segments(
        task.timeline.n_bins, n_trials, n_units, memory_gb=memory_gb, n_devices=mesh.devices.size
    )
    return mesh, Layout(mesh.shape["share"], segments)


def _places(n_members: int, n_rows: int) -> tuple[int, ...]:
    """Which member stands where, row of devices by row; -1 is nobody.

    As many for each row as can be, so that no device waits while another has two to train. Two places at least in
    a row: XLA takes a loop around a single one apart and adds up in another order, so that a member alone got
    other round-off than one among neighbours.
    """
    n_places = max(2, -(-n_members // n_rows))
    rows = np.array_split(np.arange(n_members), n_rows)
    return tuple(int(k) for row in rows for k in [*row, *([-1] * (n_places - len(row)))])


# The axis member changes its length in these four, which a shape checker would take for a mistake.
def _padded(members: Any, mesh: jax.sharding.Mesh) -> Any:
    """The members in their places, before the program that trains them begins.

    Where nobody stands the last member is repeated, out of the race, and takes no time.
    """
    n_members = members[0].phase.shape[0]
    places = _places(n_members, mesh.shape["member"])
    return members if places == tuple(range(n_members)) else _placed(members, places)


@partial(jax.jit, static_argnames="places")
def _placed(members: Any, places: tuple[int, ...]) -> Any:
    there = np.array(places) >= 0
    whose = np.where(there, places, members[0].phase.shape[0] - 1)
    padded = jax.tree.map(lambda leaf: leaf[whose], members)
    phase = jnp.where(there, padded[0].phase, Phase.OUT_OF_PATIENCE)
    return (eqx.tree_at(lambda state: state.phase, padded[0], phase), *padded[1:])


def _unpadded(done: Any, members: Any, mesh: jax.sharding.Mesh) -> Any:
    places = _places(members[0].phase.shape[0], mesh.shape["member"])
    return _taken(done, places) if -1 in places else done


@partial(jax.jit, static_argnames="places")
def _taken(done: Any, places: tuple[int, ...]) -> Any:
    where = np.flatnonzero(np.array(places) >= 0)
    return jax.tree.map(lambda leaf: leaf[where], done)


def _for_all_members(function: Callable[..., T], members: Member, *shared: Any, mesh: jax.sharding.Mesh) -> T:
    """Apply `function` to every member.

    One after another, not by vmap: on a CPU the small products of one network are faster than batched ones, its
    activity stays in the cache, and a member's numbers cannot depend on its neighbours.
    """

    def on_device(members: Member, shared: Any) -> T:
        result: T = jax.lax.map(lambda member: function(member, *shared), members)
        return result

    across, same = PartitionSpec("member"), PartitionSpec()
    spread = jax.shard_map(on_device, mesh=mesh, in_specs=(across, same), out_specs=across, check_vma=False)
    done: T = jax.lax.with_sharding_constraint(spread(members, shared), NamedSharding(mesh, same))
    return done
