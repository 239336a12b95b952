"""The first half of a study on its own: train an ensemble.

The other half, `dynaprobe.study.compare_alone`, brings libraries that take longer to load than training to start.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from dynaprobe.study.jobs import JobSettings, train
from dynaprobe.study.networks import TrainedNetwork
from dynaprobe.study.progress import Progress
from dynaprobe.study.store import RunStore
from dynaprobe.study.sweep import grid


class TrainSettings(JobSettings):
    """An ensemble to train: a job and how many seeds.

    Attributes:
        n_seeds: number of networks, which differ in their seeds.
    """

    n_seeds: Annotated[int, Field(ge=1)] = 4


def train_ensemble(
    settings: TrainSettings, out: Path, *, seed: int = 0, resume: bool = False, progress: Progress | None = None
) -> list[TrainedNetwork]:
    """Train the networks of an ensemble into a run's folder; see `dynaprobe.study.jobs.train`.

    Raises:
        SettingsError: when the folder holds another run.
    """
    store = RunStore(out)
    values = settings.model_dump(mode="json")
    store.start(values, study="train", seed=seed, resume=resume, title="An ensemble of networks")
    job = JobSettings(**{name: getattr(settings, name) for name in JobSettings.model_fields})
    networks = train(
        grid(job, {}, seeds=[seed + k for k in range(settings.n_seeds)], run_seed=seed), store, progress=progress
    )
    store.finish()
    return networks
