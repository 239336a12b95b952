"""Train a whole ensemble, with one loop for every task and architecture."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray

from dynaprobe.core.devices import prepare_devices
from dynaprobe.core.errors import SettingsError
from dynaprobe.core.random import key, member_keys
from dynaprobe.core.trials import Trials
from dynaprobe.model.ensemble import Ensemble
from dynaprobe.tasks.base import AbstractTask
from dynaprobe.training.across_devices import advance, everywhere, program_settings, validate
from dynaprobe.training.objective import PENALTIES, check_hyperparameters
from dynaprobe.training.settings import FitSettings
from dynaprobe.training.state import FitState, MemberState, Phase, check_resumable, initial_state

# Python takes over again about this often, to show progress and to notice Ctrl-C.
CALL_DURATION_S = 1.0
NO_END = np.iinfo(np.int32).max


@dataclass(frozen=True)
class FitProgress:
    """Where a fit stands, for whoever watches.

    Attributes:
        update: number of updates done.
        n_updates: number of updates asked for.
        elapsed_s: time since `fit` was called.
        remaining_s: estimate for the rest, NaN at first.
        loss: latest training loss of every member.
        score: latest validation score of every member, NaN before the first validation.
        n_training: number of members still training.
    """

    update: int
    n_updates: int
    elapsed_s: float
    remaining_s: float
    loss: np.ndarray
    score: np.ndarray
    n_training: int


@dataclass(frozen=True)
class FitResult:
    """What training gave.

    Attributes:
        ensemble: the networks with the parameters of their lowest validation cost.
        history: loss, cost, gradient norm and validation measures, dims (member, update).
        status: ``converged``, ``below_threshold`` or ``diverged``, for each member.
        reason: why, in words, for each member.
        score: score of the kept parameters on the held-out trials, NaN without a validation.
    """

    ensemble: Ensemble
    history: xr.Dataset
    status: tuple[str, ...]
    reason: tuple[str, ...]
    score: np.ndarray


def fit(
    task: AbstractTask,
    ensemble: Ensemble,
    settings: FitSettings,
    *,
    seed: int,
    resume: FitState | None = None,
    on_update: Callable[[FitProgress], None] | None = None,
    on_checkpoint: Callable[[FitState], None] | None = None,
) -> FitResult:
    """Train every member of an ensemble on a task.

    Each update of a member: fresh trials, gradient of `dynaprobe.training.objective.cost`, clipping, Adam. It
    draws its trials and noise from `seed` and its own seed, so its numbers do not depend on the other members, on
    their number, or on the number of devices. A member whose loss or gradient is not finite stops alone.

    Args:
        task: makes the trials and measures performance.
        ensemble: the networks to start from; its hyperparameters override the penalty weights in `settings`.
        settings: how to train.
        seed: seed of trials and noise.
        resume: a state received by `on_checkpoint`; the fit goes on from it to the same numbers, bit for bit.
        on_update: called about once a second.
        on_checkpoint: called every `settings.checkpoint_every` updates with the state to save.

    Raises:
        SettingsError: when task and network disagree on dt_ms or on the number of channels, when a hyperparameter
            is unknown, or when `resume` belongs to another fit.
    """
    prepare_devices()
    check_hyperparameters(ensemble.hyperparameters)
    _check_fits(task, ensemble)
    held_out = everywhere(_trials(task, key(seed, "training", "validation"), settings.n_validation_trials))
    state = prepare_state(task, ensemble, settings, seed=seed)
    if resume is not None:
        check_resumable(resume, state)
        state = resume
    state = everywhere(state)
    keys = everywhere(member_keys(key(seed, "training", "updates"), ensemble.seeds))
    penalties = everywhere(_penalty_weights(ensemble, settings))
    program = program_settings(settings)
    of_validation = FitSettings(memory_gb=settings.memory_gb)
    patience = jnp.int32(settings.patience if settings.patience is not None else NO_END)
    clock = _Clock(int(state.n_done))
    while int(state.n_done) < settings.n_updates:
        done = int(state.n_done)
        stop = _next_stop(done, done + clock.n_per_call, settings)
        members = advance(
            (state.members, keys, penalties), jnp.int32(done), jnp.int32(stop), task=task, settings=program
        )
        if stop % settings.validate_every == 0 or stop == settings.n_updates:
            members = validate(
                (members, keys, penalties),
                held_out,
                jnp.int32(stop - 1),
                patience,
                task=task,
                settings=of_validation,
            )
        state = FitState(jnp.int32(stop), state.seed, jax.block_until_ready(members))
        clock.tick(stop)
        if on_update is not None:
            on_update(_progress(state, settings, clock))
        if on_checkpoint is not None and settings.checkpoint_every and stop % settings.checkpoint_every == 0:
            on_checkpoint(state)
        if not (np.asarray(members.phase) == Phase.TRAINING).any():
            break
    return _result(ensemble, state, settings)


def prepare_state(task: AbstractTask, ensemble: Ensemble, settings: FitSettings, *, seed: int) -> FitState:
    """The state before the first update; also the template into which a saved state is read."""
    return initial_state(ensemble, settings, _measures(task), seed=seed)


@partial(jax.jit, static_argnums=(0, 2))
def _trials(task: AbstractTask, stream: PRNGKeyArray, n_trials: int) -> Trials:
    return task.trials(stream, n_trials)


def _measures(task: AbstractTask) -> tuple[str, ...]:
    def perform() -> object:
        trials = task.trials(key(0, "training", "shapes"), 1)
        return task.performance(trials.targets, trials)

    shapes = jax.eval_shape(perform)
    assert isinstance(shapes, dict)
    return tuple(shapes)


def _check_fits(task: AbstractTask, ensemble: Ensemble) -> None:
    network = ensemble.networks
    if network.dt_ms != task.dt_ms:
        raise SettingsError(
            "dt_ms",
            rule=f"be the same for network and task ({task.dt_ms:g} ms)",
            received=network.dt_ms,
            remedy="Set dt_ms of the network to that of the task",
        )
    trials: Trials = jax.eval_shape(lambda: task.trials(key(0, "training", "shapes"), 1))
    weights = jax.eval_shape(lambda: ensemble.member(0).weights())
    channels = (weights["in"].shape[1], weights["out"].shape[0])
    if channels != (trials.inputs.shape[-1], trials.targets.shape[-1]):
        raise SettingsError(
            "network",
            rule=f"have the {len(task.input_names)} inputs and {len(task.output_names)} outputs of the task",
            received=f"{channels[0]} and {channels[1]}",
            remedy="Make the ensemble with the task's numbers of inputs and outputs",
        )


def _penalty_weights(ensemble: Ensemble, settings: FitSettings) -> dict[str, jax.Array]:
    n = ensemble.n_members
    common = {name: np.full(n, getattr(settings, name), np.float32) for name in PENALTIES}
    return {**jax.device_put(common), **ensemble.hyperparameters}


def _next_stop(done: int, wanted: int, settings: FitSettings) -> int:
    """Where to stop next: not beyond the next validation, checkpoint or the end."""
    stops = [wanted, settings.n_updates, (done // settings.validate_every + 1) * settings.validate_every]
    if settings.checkpoint_every:
        stops.append((done // settings.checkpoint_every + 1) * settings.checkpoint_every)
    return min(stops)


class _Clock:
    """Measures how long an update takes and chooses how many to do per call; numbers do not depend on it."""

    def __init__(self, done: int) -> None:
        self.start_s = self.last_s = time.perf_counter()
        self.done = done
        self.n_per_call = 1
        self.update_duration_s = float("nan")

    def tick(self, done: int) -> None:
        now_s = time.perf_counter()
        # The first call compiles, which says nothing about the time of an update.
        if self.n_per_call > 1 or self.done > 0:
            self.update_duration_s = (now_s - self.last_s) / (done - self.done)
            self.n_per_call = max(1, round(CALL_DURATION_S / self.update_duration_s))
        else:
            self.n_per_call = 2
        self.done, self.last_s = done, now_s


def _progress(state: FitState, settings: FitSettings, clock: _Clock) -> FitProgress:
    done = int(state.n_done)
    members = state.members
    return FitProgress(
        update=done,
        n_updates=settings.n_updates,
        elapsed_s=clock.last_s - clock.start_s,
        remaining_s=clock.update_duration_s * (settings.n_updates - done),
        loss=_latest(members.history.loss),
        score=_latest(members.history.validation["score"]),
        n_training=int((np.asarray(members.phase) == Phase.TRAINING).sum()),
    )


def _latest(values: jax.Array) -> np.ndarray:
    """Last value of every row that is not NaN; NaN where there is none."""
    array = np.asarray(values)
    known = ~np.isnan(array)
    last = array.shape[1] - 1 - np.argmax(known[:, ::-1], axis=1)
    latest: np.ndarray = array[np.arange(array.shape[0]), last]
    return latest


def _result(ensemble: Ensemble, state: FitState, settings: FitSettings) -> FitResult:
    members = state.members
    best_update = np.asarray(members.best_update)
    scores = np.asarray(members.history.validation["score"])
    score = np.where(best_update >= 0, scores[np.arange(best_update.size), best_update], np.nan)
    judged = [_judge(members, k, float(score[k]), settings) for k in range(best_update.size)]
    return FitResult(
        ensemble=eqx.tree_at(lambda e: e.networks, ensemble, members.best),
        history=members.history.to_dataset(np.asarray(ensemble.seeds)),
        status=tuple(status for status, _ in judged),
        reason=tuple(reason for _, reason in judged),
        score=score,
    )


def _judge(members: MemberState, k: int, score: float, settings: FitSettings) -> tuple[str, str]:
    phase, stopped_at = Phase(int(members.phase[k])), int(members.stopped_at[k])
    kept = int(members.best_update[k]) + 1
    if phase in (Phase.LOSS_NOT_FINITE, Phase.GRADIENT_NOT_FINITE):
        what = "loss" if phase == Phase.LOSS_NOT_FINITE else "gradient"
        since = f"the parameters of update {kept} are kept" if kept else "the initial parameters are kept"
        return "diverged", f"the {what} was not finite at update {stopped_at + 1}; {since}"
    patience = (
        f"; stopped at update {stopped_at + 1} after {settings.patience} validations without improvement"
        if phase == Phase.OUT_OF_PATIENCE
        else ""
    )
    learned = score >= settings.threshold
    relation = "reaches" if learned else "stays below"
    reason = f"score {score:.3f} at update {kept} {relation} the threshold {settings.threshold:g}{patience}"
    return ("converged" if learned else "below_threshold"), reason
