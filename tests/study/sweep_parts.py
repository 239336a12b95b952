"""What tests of sweeps share: tiny jobs, the bits of their results, an engine that does what a script says."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from dynaprobe.core.settings import parse
from dynaprobe.study.jobs import JobSettings
from dynaprobe.study.pieces import Outcome, Piece
from dynaprobe.study.store_files import read_tree
from dynaprobe.study.store_seal import unseal
from dynaprobe.study.store_sweep import SweepStore
from dynaprobe.study.sweep import Job, grid

TINY: dict[str, Any] = {
    "task": {"dt_ms": 20.0, "delay_range_ms": (100.0, 200.0), "catch_fraction": 0.0, "n_targets": 4},
    "network": {"n_units": 6, "dt_ms": 20.0},
    "fit": {
        "n_updates": 12,
        "batch_size": 4,
        "n_validation_trials": 8,
        "validate_every": 4,
        "checkpoint_every": 4,
    },
}


# As TINY, but long enough to be killed on the way.
LONG = {**TINY, "fit": {**TINY["fit"], "n_updates": 1600, "checkpoint_every": 200, "validate_every": 100}}


def tiny_jobs(n_seeds: int = 2, penalties: Sequence[float] = (0.0, 0.1)) -> list[Job[JobSettings]]:
    return grid(parse(JobSettings, TINY), {"fit.penalty_rate": penalties}, seeds=list(range(n_seeds)))


def open_store(folder: Path) -> SweepStore:
    store = SweepStore(folder)
    store.open()
    return store


def bits(folder: Path) -> dict[str, bytes]:
    """The netCDF part of every result by job: the same bytes exactly if all numbers are the same."""
    files = sorted((folder / "networks").glob("[!.]*.nc"))
    return {file.stem: unseal(file.read_bytes(), file)[0] for file in files}


def numbers(folder: Path, job: str) -> dict[str, xr.Dataset]:
    return {name: group.drop_attrs() for name, group in read_tree(folder / "networks" / f"{job}.nc").items()}


def pretend(store: SweepStore, *jobs: str) -> tuple[str, ...]:
    """Store results of another making, for tests of what leads a sweep."""
    for job in jobs:
        store.save(f"networks/{job}", {"network": xr.Dataset({"x": 1.0})}, {"id": job, "status": "converged"})
    return jobs


class Scripted:
    """An engine without processes: a function says what becomes of every piece."""

    def __init__(self, script: Callable[[Piece], Outcome]) -> None:
        self.script = script
        self.seen: list[tuple[str, ...]] = []

    def run(self, waiting: deque[Piece]) -> Iterator[tuple[Piece, Outcome] | None]:
        while waiting:
            piece = waiting.popleft()
            self.seen.append(tuple(job.id for job in piece.jobs))
            yield None
            yield piece, self.script(piece)

    def close(self) -> None:
        pass
