"""Networks whose mechanism is forced by their task, and whether the probes find it out.

A target that is gone from the go cue on can only be reached for from the state at that moment; one that is shown
from then on, only by its input. Probes that are to be believed elsewhere must tell these two apart. They then
say what a network does on such trials, not what it would do with the target in sight: one trained on until_go may
still follow an input that it is shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import xarray as xr
from pydantic import Field

from dynaprobe.analysis.probes.causal import StateSwap, input_removal, state_swap
from dynaprobe.core.settings import Settings
from dynaprobe.model.settings import NetworkSettings
from dynaprobe.study.jobs import JobSettings, train
from dynaprobe.study.networks import TrainedNetwork
from dynaprobe.study.progress import Progress
from dynaprobe.study.store import RunStore
from dynaprobe.study.sweep import Job, grid
from dynaprobe.tasks.reach import DelayedReach
from dynaprobe.training.settings import FitSettings

# Changes of the settings of a job; the key is the verdict that the probes should give.
FORCED: dict[str, dict[str, Any]] = {
    "initial_condition": {"task.target_visible": "until_go", "task.no_delay_fraction": 0.0},
    "input_driven": {"task.target_visible": "from_go"},
}
VERDICTS = ("initial_condition", "input_driven", "mixed", "unclear")


class ForcedSettings(Settings):
    """Networks of forced mechanism.

    Attributes:
        n_seeds: networks of each mechanism.
        task: settings that both share; visibility of the target is set by `FORCED`.
        network: settings of the networks.
        fit: settings of the training.
    """

    n_seeds: Annotated[int, Field(ge=1)] = 10
    task: DelayedReach = DelayedReach()
    network: NetworkSettings = NetworkSettings()
    fit: FitSettings = FitSettings(n_updates=800, penalty_rate=1.9e-3)


def forced_jobs(settings: ForcedSettings, *, seed: int = 0) -> list[Job[JobSettings]]:
    """The jobs of all networks, each labelled ``forced`` with its mechanism."""
    base = JobSettings(task=settings.task, network=settings.network, fit=settings.fit)
    seeds = [seed + k for k in range(settings.n_seeds)]
    return [
        Job(job.settings, job.seed, {"forced": mechanism}, job.run_seed)
        for mechanism, changes in FORCED.items()
        for job in grid(base.with_changes(changes), {}, seeds=seeds, run_seed=seed)
    ]


def train_forced(
    settings: ForcedSettings, out: Path, *, seed: int = 0, resume: bool = False, progress: Progress | None = None
) -> list[TrainedNetwork]:
    """Train networks of both mechanisms into a run's folder; see `dynaprobe.study.jobs.train`.

    Raises:
        SettingsError: when the folder holds another run.
    """
    store = RunStore(out)
    store.start(
        settings.model_dump(mode="json"), study="forced", seed=seed, resume=resume, title="Forced mechanisms"
    )
    networks = train(forced_jobs(settings, seed=seed), store, progress=progress)
    store.finish()
    return networks


def confusion(networks: Sequence[TrainedNetwork], *, seed: int = 0) -> xr.Dataset:
    """The verdict of the probes against the mechanism that was forced.

    Args:
        networks: as `train_forced` gives them.
        seed: of the intervals.

    Returns:
        ``count (forced, verdict)``, of all networks, and ``count_learned``, of those that learned their task;
        ``mechanism_index``, ``index_low``, ``index_high``, ``remaining`` and ``score`` ``(network,)`` with
        the coordinates ``id``, ``forced_as``, ``found`` and ``learned``.
    """
    rows = [_row(network, seed) for network in networks]
    tables = {
        "count": Counter((row["forced_as"], row["found"]) for row in rows),
        "count_learned": Counter((row["forced_as"], row["found"]) for row in rows if row["learned"]),
    }
    columns = ("mechanism_index", "index_low", "index_high", "remaining", "score")
    data = xr.Dataset(
        {name: (("network",), np.array([row[name] for row in rows], dtype=np.float64)) for name in columns},
        coords={
            "forced": list(FORCED),
            "verdict": list(VERDICTS),
            **{name: ("network", [row[name] for row in rows]) for name in ("id", "forced_as", "found", "learned")},
        },
    )
    for name, counted in tables.items():
        data[name] = (
            ("forced", "verdict"),
            np.array([[counted[forced, verdict] for verdict in VERDICTS] for forced in FORCED]),
        )
    return data


def _row(network: TrainedNetwork, seed: int) -> Mapping[str, Any]:
    trials = network.task.condition_trials()
    swap: StateSwap = state_swap(network.network, trials, seed=seed)
    return {
        "id": network.id,
        "forced_as": str(network.labels["forced"]),
        "found": str(swap.data.attrs["mechanism"]),
        "learned": network.learned,
        "mechanism_index": float(swap.data["mechanism_index"]),
        "index_low": float(swap.data["mechanism_index_low"]),
        "index_high": float(swap.data["mechanism_index_high"]),
        "remaining": float(input_removal(network.network, trials, seed=seed).data["remaining"]),
        "score": float(network.scores["score"]),
    }
