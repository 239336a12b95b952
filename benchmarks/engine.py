"""Contender: dynaprobe's own updates, as `fit` runs them.

The only file of this folder that knows the inside of the training engine.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from benchmarks.worker import Work
from dynaprobe.core.devices import prepare_devices
from dynaprobe.core.random import key, member_keys
from dynaprobe.model.ensemble import Ensemble
from dynaprobe.model.settings import NetworkSettings
from dynaprobe.tasks.reach import DelayedReach
from dynaprobe.training import fit
from dynaprobe.training.across_devices import advance, everywhere, program_settings
from dynaprobe.training.settings import FitSettings

DT_MS = 10.0


def reach_task(n_steps: int) -> DelayedReach:
    """A delayed reach whose longest trials last `n_steps` bins of 10 ms; all its times grow alike."""

    def part(fraction: float) -> float:
        return fraction * n_steps * DT_MS

    task = DelayedReach(
        dt_ms=DT_MS,
        baseline_mean_ms=part(2 / 15),
        baseline_sd_ms=part(1 / 30),
        baseline_range_ms=(part(1 / 15), part(1 / 5)),
        delay_range_ms=(part(1 / 10), part(2 / 15)),
        analysis_delay_ms=part(2 / 15),
        reaction_time_ms=part(1 / 10),
        reach_ms=part(1 / 3),
        speed_sd_ms=part(71 / 1500),
        movement_ms=part(7 / 15),
        post_ms=part(1 / 5),
        catch_ms=part(1),
    )
    if task.timeline.n_bins != n_steps:
        raise ValueError(f"the task has {task.timeline.n_bins} bins in place of {n_steps}")
    return task


def build(
    *, n_units: int, batch_size: int, n_steps: int, n_members: int, n_devices: int | None = None, seed: int = 0
) -> Work:
    """Updates of an ensemble with everything a fit does in them: fresh trials, noise, default penalties, history.

    Args:
        n_units, batch_size, n_steps, n_members: size of the work.
        n_devices: host devices; None takes what `dynaprobe.core.devices.prepare_devices` chooses.
        seed: seed of trials and noise.
    """
    prepare_devices(n_devices)
    task = reach_task(n_steps)
    ensemble = Ensemble.make(
        NetworkSettings(n_units=n_units, dt_ms=DT_MS), n_inputs=3, n_outputs=4, seeds=range(n_members)
    )
    settings = FitSettings(n_updates=1000, batch_size=batch_size)
    state = everywhere(fit.prepare_state(task, ensemble, settings, seed=seed))
    keys = everywhere(member_keys(key(seed, "training", "updates"), ensemble.seeds))
    penalties = everywhere(fit._penalty_weights(ensemble, settings))
    program = program_settings(settings)
    members = (state.members, keys, penalties)

    def work(n_updates: int) -> None:
        # From the start every time: the same numbers, so that no call is cheaper than another.
        done = advance(members, jnp.int32(0), jnp.int32(n_updates), task=task, settings=program)
        jax.block_until_ready(done)

    return work
