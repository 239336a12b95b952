"""From a grid of settings to jobs with stable names, and from jobs to ensembles that train together."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from dynaprobe.core.settings import Settings

S = TypeVar("S", bound=Settings)

# Part of every job's name: raised when the same settings would give other numbers.
NUMBERS_VERSION = 1


@dataclass(frozen=True)
class Job(Generic[S]):
    """One resolved setting: everything that decides a network's numbers.

    Attributes:
        settings: the full settings of this network.
        seed: the network's own seed.
        run_seed: the seed of the run, behind the streams that networks of one seed share in it.
        labels: where it stands in the grid, e.g. ``{"activation": "tanh", "penalty_rate": 0.1}``.
    """

    settings: S
    seed: int
    labels: Mapping[str, Any] = field(default_factory=dict)
    run_seed: int = 0

    @property
    def id(self) -> str:
        """A name that depends on the settings and the seeds alone: the same job, the same name, anywhere."""
        content = {
            "numbers": NUMBERS_VERSION,
            "seed": self.seed,
            "run_seed": self.run_seed,
            "settings": self.settings.model_dump(mode="json"),
        }
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
        # Labels have no part in it: they change with the grid that a setting stands in.
        readable = _short(getattr(self.settings, "title", ""))
        return "-".join(part for part in (readable, f"s{self.seed}", digest) if part)

    @property
    def cell(self) -> str:
        """The grid cell, seeds aside, readable: ``tanh, penalty_rate 0.1``."""
        parts = (
            f"{v}" if isinstance(v, str) else f"{k} {v:g}" if isinstance(v, int | float) else f"{k} {v}"
            for k, v in self.labels.items()
        )
        return ", ".join(parts)


def grid(base: S, axes: Mapping[str, Sequence[Any]], *, seeds: Sequence[int], run_seed: int = 0) -> list[Job[S]]:
    """Every combination of the axes, for every seed.

    Args:
        base: the settings that the axes change.
        axes: values by dotted name, e.g. ``{"network.activation": ["tanh", "relu"]}``; the last part of the
            name becomes the label.
        seeds: seeds of the networks in every cell.
        run_seed: the seed of the run.
    """
    jobs: list[Job[S]] = []
    for values in itertools.product(*axes.values()):
        changes = dict(zip(axes, values, strict=True))
        settings = base.with_changes(changes)
        jobs.extend(Job(settings, seed, labels_of(changes), run_seed) for seed in seeds)
    return jobs


def labels_of(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes by the last part of their dotted name, or by all of it where two share that part."""
    last = [name.rsplit(".", 1)[-1] for name in changes]
    return {
        part if last.count(part) == 1 else name: value
        for part, (name, value) in zip(last, changes.items(), strict=True)
    }


def group(jobs: Sequence[Job[S]], *, member_fields: Sequence[str]) -> list[list[Job[S]]]:
    """Jobs that can train as one ensemble: all settings alike but those that a member may have of its own.

    Args:
        jobs: any jobs.
        member_fields: dotted names of the settings in which members of an ensemble may differ.

    Returns:
        The groups, in the order of their first job.
    """
    groups: dict[str, list[Job[S]]] = {}
    for job in jobs:
        groups.setdefault(shared(job, member_fields=member_fields), []).append(job)
    return list(groups.values())


def shared(job: Job[S], *, member_fields: Sequence[str]) -> str:
    """What the jobs of an ensemble share, as text: all settings but those that a member may have of its own."""
    common = job.settings.model_dump(mode="json")
    for name in member_fields:
        *path, last = name.split(".")
        place = common
        for part in path:
            place = place[part]
        place.pop(last)
    return json.dumps({**common, "run_seed": job.run_seed}, sort_keys=True)


def _short(value: Any) -> str:
    # The name becomes that of a file: what a list or a text holds besides letters and digits gives way.
    return (
        f"{value:g}" if isinstance(value, float | int) else re.sub(r"[^\w.+]+", "_", str(value)).strip("_.")[:40]
    )
