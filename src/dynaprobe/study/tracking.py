"""Curves of jobs in progress for programs that show them, while they train.

The history of every update is always in the result file; a tracker gets the latest values about once a second.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dynaprobe.core.errors import SettingsError
from dynaprobe.study.sweep import Job
from dynaprobe.training.fit import FitProgress


class Tracker(Protocol):
    """Receives the curves of one job."""

    def log(self, update: int, values: Mapping[str, float]) -> None:
        """Values by name after an update."""

    def close(self) -> None:
        """There will be no more."""


class TensorBoardTracker:
    """Writes files that ``tensorboard --logdir DIR/tracking`` shows."""

    def __init__(self, folder: Path, job: Job[Any]) -> None:
        # What a killed run has written after its last checkpoint is drawn again, over it.
        self._writer = _module("tensorboardX", "tensorboard", "tensorboard").SummaryWriter(str(folder / job.id))

    def log(self, update: int, values: Mapping[str, float]) -> None:
        """One point of every curve."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, update)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class WandbTracker:
    """One run per job in the project ``dynaprobe`` of Weights & Biases; WANDB_MODE=offline keeps it here."""

    def __init__(self, folder: Path, job: Job[Any]) -> None:
        wandb = _module("wandb", "wandb", "wandb")
        settings = job.settings.model_dump(mode="json")
        self._run = wandb.init(
            project="dynaprobe",
            id=job.id,
            name=job.id,
            config={**settings, "seed": job.seed},
            dir=str(folder),
            resume="allow",
            reinit="create_new",
        )

    def log(self, update: int, values: Mapping[str, float]) -> None:
        """One point of every curve."""
        self._run.log(dict(values), step=update)

    def close(self) -> None:
        """Send what is left."""
        self._run.finish()


# To add one: a class with the two methods of `Tracker`, made from a folder and a job, and its row here.
TRACKERS: dict[str, Callable[[Path, Job[Any]], Tracker]] = {
    "tensorboard": TensorBoardTracker,
    "wandb": WandbTracker,
}
_MODULES = {"tensorboard": "tensorboardX", "wandb": "wandb"}


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that are unknown or not installed, before work starts.

    Raises:
        SettingsError: with what to install.
    """
    for name in names:
        if name not in TRACKERS:
            raise SettingsError(
                "--track",
                rule=f"be one of {', '.join(TRACKERS)}",
                received=name,
                remedy="Choose one of these",
            )
        _module(_MODULES[name], name, name)


class Tracking:
    """The trackers of jobs that train together.

    Args:
        trackers: of every job, in the order of the members.
    """

    def __init__(self, trackers: Sequence[Sequence[Tracker]]) -> None:
        self._trackers = trackers

    def log(self, state: FitProgress) -> None:
        """Hand every member's latest values on."""
        for k, trackers in enumerate(self._trackers):
            values = {"loss": float(state.loss[k]), "validation_score": float(state.score[k])}
            known = {name: value for name, value in values.items() if np.isfinite(value)}
            for tracker in trackers:
                tracker.log(state.update, known)


@contextmanager
def tracked(names: Sequence[str], folder: Path, jobs: Sequence[Job[Any]]) -> Iterator[Tracking]:
    """Trackers of some jobs, closed at the end."""
    with ExitStack() as stack:
        trackers: list[list[Tracker]] = [[] for _ in jobs]
        for own, job in zip(trackers, jobs, strict=True):
            for name in names:
                own.append(TRACKERS[name](folder, job))
                stack.callback(own[-1].close)
        yield Tracking(trackers)


def _module(module: str, extra: str, option: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise SettingsError(
            f"--track {option}",
            rule=f"have {module} installed",
            received="a Python without it",
            remedy=f"Run pip install 'dynaprobe[{extra}]'",
        ) from None
