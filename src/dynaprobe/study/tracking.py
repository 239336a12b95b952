"""Curves of jobs in progress for programs that show them, while they train.

The history of every update is always in the result file; a tracker gets the latest values about once a second.
Trackers work in threads of their own: one that fails, or waits for a disk or a network, costs points of its curves
and never a result or time of the training.
"""

from __future__ import annotations

import importlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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


# So many points may wait for a tracker, and so long the end of a piece waits for what is left of them.
N_WAITING = 100
CLOSE_S = 30.0
Point = tuple[int, list[dict[str, float]]]


class _Follower(threading.Thread):
    """One kind of tracker for jobs that train together.

    Attributes:
        trouble: what went wrong first, in words; None while nothing has.
    """

    def __init__(self, name: str, folder: Path, jobs: Sequence[Job[Any]]) -> None:
        # A thread that hangs does not keep its process alive.
        super().__init__(name=f"tracker {name}", daemon=True)
        self.tracker = name
        self.trouble: str | None = None
        self._folder, self._jobs = folder, jobs
        self._points: queue.Queue[Point | None] = queue.Queue(N_WAITING)
        self.start()

    def run(self) -> None:
        """Make a tracker per job, hand them what comes, close them: whatever any of it raises ends here."""
        trackers: list[Tracker] = []
        try:
            for job in self._jobs:
                trackers.append(TRACKERS[self.tracker](self._folder, job))
            while (point := self._points.get()) is not None:
                update, values = point
                for tracker, own in zip(trackers, values, strict=True):
                    tracker.log(update, own)
        except BaseException as error:  # also what ends a process elsewhere, as sys.exit does
            self._note(error)
        for tracker in trackers:
            try:
                tracker.close()
            except BaseException as error:
                self._note(error)

    def _note(self, error: BaseException) -> None:
        first = next(iter(str(error).strip().splitlines()), "")
        self.trouble = self.trouble or f"{type(error).__name__}: {first}".removesuffix(": ")

    def log(self, point: Point) -> None:
        """Hand a point on, if there is anybody who takes it."""
        try:
            self._points.put_nowait(point)
        except queue.Full:
            self.trouble = self.trouble or f"it does not take its points, of which {N_WAITING} wait"

    def end(self, until: float) -> None:
        """Have everything written, or give up at this time of `time.monotonic`."""
        while self.is_alive() and time.monotonic() < until:
            try:
                self._points.put(None, timeout=0.1)
                break
            except queue.Full:
                continue
        self.join(max(0.0, until - time.monotonic()))
        if self.is_alive():
            self.trouble = self.trouble or f"it was not done {CLOSE_S:g} s after the training"


class Tracking:
    """The trackers of jobs that train together.

    Args:
        followers: one per kind of tracker.
    """

    def __init__(self, followers: Sequence[_Follower]) -> None:
        self._followers = followers

    @property
    def troubles(self) -> dict[str, str]:
        """What went wrong, by kind of tracker; their curves have points missing, the results have not."""
        return {one.tracker: one.trouble for one in self._followers if one.trouble is not None}

    def log(self, state: FitProgress) -> None:
        """Hand every member's latest values on."""
        known = []
        for loss, score in zip(state.loss, state.score, strict=True):
            values = {"loss": float(loss), "validation_score": float(score)}
            known.append({name: value for name, value in values.items() if np.isfinite(value)})
        for follower in self._followers:
            follower.log((state.update, known))

    def end(self) -> None:
        """Close all trackers; those that hang are left behind after `CLOSE_S`."""
        until = time.monotonic() + CLOSE_S
        for follower in self._followers:
            follower.end(until)


@contextmanager
def tracked(names: Sequence[str], folder: Path, jobs: Sequence[Job[Any]]) -> Iterator[Tracking]:
    """Trackers of some jobs, closed at the end; nothing that goes wrong with them is raised."""
    tracking = Tracking([_Follower(name, folder, jobs) for name in names])
    try:
        yield tracking
    finally:
        tracking.end()


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
