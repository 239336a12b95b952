"""From settings to networks: the grid of the paper, and cells on variants of the task."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from dynaprobe.studies.kao2019.settings import Kao2019Settings
from dynaprobe.study.jobs import JobSettings
from dynaprobe.study.sweep import Job, grid
from dynaprobe.tasks.reach import DelayedReach
from dynaprobe.tasks.reach_axes import reach_variant

# Networks that never see the target before the go cue prepare nothing: they show what the probes are worth.
CONTROL = "from_go"
# What a task leaves a network no choice in; the verdict that probes should come to.
FORCED = {"until_go": "initial_condition", "flash": "initial_condition", CONTROL: "input_driven"}


def jobs_of(settings: Kao2019Settings, task: DelayedReach, *, seed: int) -> list[Job[JobSettings]]:
    """All networks of the study, labelled with activation, penalties, visibility and delay law.

    Args:
        settings: of the study.
        task: its task with the directions of the recording.
        seed: of the run; seeds of networks count up from it.
    """
    own: tuple[Mapping[str, Any], DelayedReach, Any, Any] = (
        {"visibility": task.target_visible},
        task,
        settings.activations,
        settings.rate_penalties,
    )
    parts = [own] + [
        (
            {"visibility": variant.visibility, "delay_law": variant.delay_law},
            reach_variant(task, visibility=variant.visibility, delay_law=variant.delay_law),
            variant.activations,
            variant.rate_penalties,
        )
        for variant in settings.variants
    ]
    return [
        Job(job.settings, job.seed, {**job.labels, **labels, **further}, job.run_seed)
        for labels, of_part, activations, penalties in parts
        for further, changes in _further(settings)
        for job in grid(
            JobSettings(task=of_part, network=settings.network, fit=settings.fit).with_changes(changes),
            {"network.activation": activations, "fit.penalty_rate": penalties},
            seeds=[seed + k for k in range(settings.n_seeds)],
            run_seed=seed,
        )
    ]


def _further(settings: Kao2019Settings) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Labels and changes of the axes on request, every combination; one without changes where there are none."""
    sizes = [({"n_units": n}, {"network.n_units": n}) for n in settings.sizes] or [({}, {})]
    weights = [
        ({"penalty_weight": weight}, {f"fit.penalty_weight_{part}": weight for part in ("in", "rec", "out")})
        for weight in settings.weight_penalties
    ] or [({}, {})]
    return [({**a, **b}, {**c, **d}) for (a, c), (b, d) in itertools.product(sizes, weights)]
