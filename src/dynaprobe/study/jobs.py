"""Train the networks of a sweep: nothing finished is lost, and interruptions do not change the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import SerializeAsAny, model_validator

from dynaprobe.core.errors import DataError, SettingsError
from dynaprobe.core.random import key
from dynaprobe.core.settings import Settings, parse
from dynaprobe.model.ensemble import Ensemble, simulate
from dynaprobe.model.rnn import CTRNN
from dynaprobe.model.settings import NetworkSettings
from dynaprobe.study.networks import TrainedNetwork, load_network, tree_from_dataset, tree_to_dataset
from dynaprobe.study.progress import Progress, Silent
from dynaprobe.study.store import RunStore
from dynaprobe.study.sweep import Job, group
from dynaprobe.tasks.base import AbstractTask
from dynaprobe.tasks.table import task_entry
from dynaprobe.training.fit import FitProgress, FitResult, fit, prepare_state
from dynaprobe.training.objective import PENALTIES
from dynaprobe.training.settings import FitSettings
from dynaprobe.training.state import FitState

N_TEST_TRIALS = 256
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
    jobs: Sequence[Job[JobSettings]], store: RunStore, *, progress: Progress | None = None
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
        if all(store.has(f"networks/{job.id}") for job in members):
            progress.say(f"Networks {number}/{len(groups)}: {len(members)} already trained, read back")
            continue
        title = f"Train {len(members)} networks ({members[0].settings.network.activation}), {number}/{len(groups)}"
        _train_group(members, store, title=title, progress=progress)
    return [load_network(store.path("networks", f"{job.id}.nc")) for job in jobs]


def _train_group(members: Sequence[Job[JobSettings]], store: RunStore, *, title: str, progress: Progress) -> None:
    # The run's seed is behind trials and noise, the members' own seeds behind their start.
    first, seed = members[0].settings, members[0].run_seed
    ensemble = _ensemble(members)
    checkpoint = f"checkpoints/{members[0].id}"
    resume = None
    if store.has(checkpoint):
        template = prepare_state(first.task, ensemble, first.fit, seed=seed)
        try:
            resume = tree_from_dataset(store.load(checkpoint)["state"], template)
            progress.say(f"Going on from update {int(resume.n_done)} of {first.fit.n_updates}")
        except DataError as error:
            progress.say(f"The checkpoint does not fit and is not used: {error}")
    with progress.step(title, first.fit.n_updates) as step:

        def show(state: FitProgress) -> None:
            parts = [
                f"{name} {value}" for name, value in (("loss", _median(state.loss)), ("R2", _median(state.score)))
            ]
            step.update(state.update, f"median {', '.join(parts)}")

        def keep(state: FitState) -> None:
            store.save(checkpoint, {"state": tree_to_dataset(state)})

        result = fit(
            first.task,
            ensemble,
            first.fit,
            seed=seed,
            resume=resume,
            on_update=show,
            on_checkpoint=keep,
        )
    for job, network in zip(members, _judged(members, result, seed=seed), strict=True):
        store.save(f"networks/{job.id}", network.to_groups())
    store.remove(checkpoint)


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


def _judged(members: Sequence[Job[JobSettings]], result: FitResult, *, seed: int) -> list[TrainedNetwork]:
    """Judge every network on trials that neither training nor the choice of parameters has seen."""
    task, settings = members[0].settings.task, members[0].settings.fit
    trials = task.trials(key(seed, "test", "trials"), N_TEST_TRIALS)
    outputs = simulate(result.ensemble, trials.inputs, key(seed, "test", "noise")).outputs
    measures = jax.vmap(lambda z: task.performance(z, trials))(jnp.asarray(outputs))
    networks = []
    for k, job in enumerate(members):
        scores = {name: float(values[k]) for name, values in measures.items()}
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
