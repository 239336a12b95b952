"""Train the networks of a sweep: nothing finished is lost, and interruptions do not change the numbers."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any, Self, cast

import jax
import numpy as np
import xarray as xr
from pydantic import SerializeAsAny, model_validator

from dynaprobe.core.devices import runs_compiled_kernels
from dynaprobe.core.errors import DataError, SettingsError
from dynaprobe.core.random import key
from dynaprobe.core.settings import Settings, parse
from dynaprobe.core.trials import Trials
from dynaprobe.model.ensemble import Ensemble, simulate
from dynaprobe.model.rnn import CTRNN
from dynaprobe.model.settings import NetworkSettings
from dynaprobe.study.networks import TrainedNetwork, load_network, tree_from_dataset, tree_to_dataset
from dynaprobe.study.progress import Progress, Silent, Step
from dynaprobe.study.store_folder import ResultFolder
from dynaprobe.study.sweep import NUMBERS_VERSION, Job, group
from dynaprobe.tasks.base import AbstractTask
from dynaprobe.tasks.table import task_entry
from dynaprobe.training.fit import FitProgress, FitResult, fit, prepare_state
from dynaprobe.training.objective import PENALTIES
from dynaprobe.training.settings import FitSettings
from dynaprobe.training.state import FitState

N_TEST_TRIALS = 256
CHECKPOINT_EVERY_S = 60.0
# What members of one ensemble may have of their own.
MEMBER_FIELDS = (*(f"fit.{name}" for name in PENALTIES), "network.noise_state", "network.noise_input")


class JobSettings(Settings):
    """Everything that decides a network's numbers, seed aside.

    Attributes:
        task_name: row of the task table.
        task: settings of the task.
        network: settings of the network.
        fit: settings of the training.
    """

    task_name: str = "delayed_reach"
    task: SerializeAsAny[AbstractTask]
    network: NetworkSettings = NetworkSettings()
    fit: FitSettings = FitSettings()

    @property
    def title(self) -> str:
        """The readable part of a job's name."""
        return f"{self.network.activation}-{self.network.n_units}"

    @model_validator(mode="before")
    @classmethod
    def _task_of_its_class(cls, values: Any) -> Any:
        """Plain values of a task become the class that the task table names."""
        if isinstance(values, Mapping) and not isinstance(values.get("task"), AbstractTask):
            kind = task_entry(values.get("task_name", "delayed_reach")).task
            return {**values, "task": parse(kind, values.get("task", {}), where="task")}
        return values

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_one_clock(self.task, self.network)
        return self


def check_one_clock(task: AbstractTask, network: NetworkSettings) -> None:
    """Refuse a network whose step is not the bin of its task.

    Raises:
        SettingsError: when the two differ.
    """
    if network.dt_ms != task.dt_ms:
        raise SettingsError(
            "dt_ms",
            rule=f"be the same for network and task ({task.dt_ms:g} ms)",
            received=network.dt_ms,
            remedy="Set task.dt_ms and network.dt_ms alike",
        )


def train(
    jobs: Sequence[Job[JobSettings]], store: ResultFolder, *, progress: Progress | None = None
) -> list[TrainedNetwork]:
    """Train every job that has no network file yet, and return all networks in the order of the jobs.

    Jobs that differ only in seed, penalty weights or noise train together. A killed run goes on from its last
    checkpoint to the same numbers; finished networks are read back.

    Args:
        jobs: what to train.
        store: where networks and checkpoints go.
        progress: listens.
    """
    progress = progress or Silent()
    groups = group(jobs, member_fields=MEMBER_FIELDS)
    for number, members in enumerate(groups, start=1):
        missing = [job for job in members if not store.has(f"networks/{job.id}")]
        if not missing:
            progress.say(f"Networks {number}/{len(groups)}: {len(members)} already trained, read back")
            continue
        activation, n_updates = members[0].settings.network.activation, members[0].settings.fit.n_updates
        title = f"Train {len(missing)} networks ({activation}), {number}/{len(groups)}"
        with progress.step(title, n_updates) as step:

            def show(state: FitProgress, step: Step = step) -> None:
                step.update(state.update, standing(state))

            train_together(missing, store, on_update=show, say=progress.say)
    return [load_network(store.path("networks", f"{job.id}.nc")) for job in jobs]


def train_together(
    members: Sequence[Job[JobSettings]],
    store: ResultFolder,
    *,
    on_update: Callable[[FitProgress], None] | None = None,
    on_saved: Callable[[Job[JobSettings]], None] | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> None:
    """Train jobs as one ensemble and store each network; the numbers are those of every job alone.

    Args:
        members: jobs of one group, see `dynaprobe.study.sweep.group`.
        store: where networks and checkpoints go. The furthest checkpoint that holds all members, perhaps among
            others, is gone on from.
        on_update: called about once a second.
        on_saved: called after each network is stored.
        say: told of checkpoints, used or not.
    """
    # The run's seed is behind trials and noise, the members' own seeds behind their start.
    first, seed = members[0].settings, members[0].run_seed
    ensemble = _ensemble(members)
    ids = [job.id for job in members]
    resume = _checkpoint(store, ids, prepare_state(first.task, ensemble, first.fit, seed=seed), say)
    if resume is not None:
        say(f"Going on from update {int(resume.n_done)} of {first.fit.n_updates}")
    name = f"checkpoints/{ids[0]}-{hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:8]}"

    # Whoever names no number of updates gets a checkpoint about once a minute; where a fit stops to make one does
    # not touch its numbers.
    often = first.fit.checkpoint_every is not None
    settings = first.fit if often else first.fit.with_changes({"checkpoint_every": first.fit.validate_every})
    last_s = time.monotonic()

    def keep(state: FitState) -> None:
        nonlocal last_s
        if not often and time.monotonic() - last_s < CHECKPOINT_EVERY_S:
            return
        last_s = time.monotonic()
        store.save(name, {"state": tree_to_dataset(state)}, {"members": ids, "done": int(state.n_done)})

    result = fit(first.task, ensemble, settings, seed=seed, resume=resume, on_update=on_update, on_checkpoint=keep)
    for job, network in zip(members, _judged(members, result, seed=seed), strict=True):
        store.save(f"networks/{job.id}", network.to_groups(), facts_of(job, network))
        if on_saved is not None:
            on_saved(job)
    for checkpoint, facts in store.all_facts("checkpoints").items():
        if all(store.path("networks", f"{job}.nc").is_file() for job in facts.get("members", ids)):
            store.remove(checkpoint)


def facts_of(job: Job[JobSettings], network: TrainedNetwork) -> dict[str, Any]:
    """What a table of runs shows of a job: everything that decides its numbers, and what came out."""
    return {
        "id": job.id,
        "seed": job.seed,
        "run_seed": job.run_seed,
        "status": network.status,
        "reason": network.reason,
        "labels": dict(job.labels),
        "scores": dict(network.scores),
        "settings": job.settings.model_dump(mode="json"),
        "numbers_version": NUMBERS_VERSION,
        "engine": "compiled" if runs_compiled_kernels() else "plain",
        "versions": {name: version(name) for name in ("dynaprobe", "jax", "jaxlib", "numpy")},
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _checkpoint(
    store: ResultFolder, ids: Sequence[str], template: FitState, say: Callable[[str], object]
) -> FitState | None:
    """The part that belongs to some jobs of the furthest stored state that holds them all."""
    known = sorted(store.all_facts("checkpoints").items(), key=lambda one: one[1].get("done", 0), reverse=True)
    for name, facts in known:
        if not set(ids) <= set(facts.get("members", ())):
            continue
        try:
            part = _members_of(store.load(name)["state"], [facts["members"].index(job) for job in ids])
            return cast("FitState", tree_from_dataset(part, template))
        except (DataError, KeyError, IndexError) as error:
            say(f"The checkpoint {name} does not fit and is not used: {error}")
    return None


def _members_of(state: xr.Dataset, chosen: Sequence[int]) -> xr.Dataset:
    """Every array of a state but its two counters has a leading axis member."""
    return state.map(lambda array: array[list(chosen)] if array.ndim else array)


def standing(state: FitProgress) -> str:
    """Where a fit stands, in a few words."""
    parts = [f"{name} {_median(values)}" for name, values in (("loss", state.loss), ("R2", state.score))]
    return f"median {', '.join(parts)}"


def _median(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    return f"{np.median(known):.3f}" if known.size else "-"


def _ensemble(members: Sequence[Job[JobSettings]]) -> Ensemble:
    first = members[0].settings
    own: dict[str, list[float]] = {
        name: [getattr(job.settings.fit, name) for job in members] for name in PENALTIES
    }
    for name in ("noise_state", "noise_input"):
        values = [getattr(job.settings.network, name) for job in members]
        if len(set(values)) > 1:
            own[name] = values
    return Ensemble.make(
        first.network,
        n_inputs=len(first.task.input_names),
        n_outputs=len(first.task.output_names),
        seeds=[job.seed for job in members],
        hyperparameters=own,
    )


@partial(jax.jit, static_argnums=0)
def _performance(task: AbstractTask, outputs: jax.Array, trials: Trials) -> dict[str, jax.Array]:
    return task.performance(outputs, trials)


def _judged(members: Sequence[Job[JobSettings]], result: FitResult, *, seed: int) -> list[TrainedNetwork]:
    """Judge every network on trials that neither training nor the choice of parameters has seen."""
    task, settings = members[0].settings.task, members[0].settings.fit
    trials = task.trials(key(seed, "test", "trials"), N_TEST_TRIALS)
    networks = []
    for k, job in enumerate(members):
        # One after another by the same program, so that neighbours do not touch the last digit of a score.
        outputs = simulate(result.ensemble.select([k]), trials.inputs, key(seed, "test", "noise")).outputs[0]
        scores = {name: float(value) for name, value in _performance(task, outputs, trials).items()}
        status, reason = result.status[k], result.reason[k]
        if status != "diverged":
            learned = scores["score"] >= settings.threshold
            relation = "reaches" if learned else "stays below"
            status = "converged" if learned else "below_threshold"
            reason = (
                f"score {scores['score']:.3f} on {N_TEST_TRIALS} fresh trials {relation} {settings.threshold:g}"
            )
        networks.append(
            TrainedNetwork(
                id=job.id,
                network=cast("CTRNN", result.ensemble.member(k)),
                task_name=job.settings.task_name,
                task=task,
                status=status,
                reason=reason,
                labels={**job.labels, "seed": job.seed},
                scores=scores,
                history=result.history.isel(member=k, drop=True),
            )
        )
    return networks
