"""A trained network as a file: parameters, the task it was trained on, and how training went.

The file is all one needs: `load_network` gives back the network and the task without the run it came from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from dynaprobe.core.errors import DataError
from dynaprobe.core.settings import parse
from dynaprobe.model.rnn import CTRNN
from dynaprobe.study.store import read_tree
from dynaprobe.tasks.base import AbstractTask
from dynaprobe.tasks.table import task_entry

# Dims of every parameter; a network file is readable without dynaprobe.
_DIMS = {
    "w_in": ("unit", "input"),
    "w_rec": ("unit", "unit_pre"),
    "w_out": ("output", "unit"),
    "b": ("unit",),
    "x0": ("unit",),
    "noise_state": (),
    "noise_input": ("input",),
    "mask_rec": ("unit", "unit_pre"),
    "dale_sign": ("unit",),
}
_STATIC = ("activation_name", "tau_ms", "dt_ms")


@dataclass(frozen=True)
class TrainedNetwork:
    """A network and where it comes from.

    Attributes:
        id: the job's name.
        network: the network.
        task_name: row of the task table.
        task: the task it was trained on.
        status: ``converged``, ``below_threshold``, ``diverged``, or ``untrained``.
        reason: why, in words.
        labels: where it stands in the grid, with its seed.
        scores: measures on fresh trials.
        history: what happened at every update, dim update.
    """

    id: str
    network: CTRNN
    task_name: str
    task: AbstractTask
    status: str
    reason: str
    labels: Mapping[str, Any]
    scores: Mapping[str, float]
    history: xr.Dataset

    @property
    def learned(self) -> bool:
        """Whether the network counts."""
        return self.status == "converged"

    @cached_property
    def content(self) -> str:
        """SHA-256 of all that makes the network, whatever it is called: equal for copies alone."""
        digest = hashlib.sha256()
        for name in _DIMS:
            values = np.ascontiguousarray(getattr(self.network, name))
            digest.update(f"{name} {values.dtype} {values.shape} ".encode())
            digest.update(values.tobytes())
        digest.update(" ".join(str(getattr(self.network, name)) for name in _STATIC).encode())
        return digest.hexdigest()

    def to_groups(self) -> dict[str, xr.Dataset]:
        """What the network's file holds."""
        parameters = xr.Dataset(
            {name: (dims, np.asarray(getattr(self.network, name))) for name, dims in _DIMS.items()}
        )
        about = {
            "id": self.id,
            "task_name": self.task_name,
            "task": self.task.model_dump(mode="json"),
            "status": self.status,
            "reason": self.reason,
            "labels": dict(self.labels),
            "scores": dict(self.scores),
        }
        static = {name: getattr(self.network, name) for name in _STATIC}
        return {"network": parameters.assign_attrs(about=json.dumps(about), **static), "history": self.history}


def load_network(path: Path | str) -> TrainedNetwork:
    """Read a network file.

    Raises:
        DataError: when the file is damaged or is no network.
    """
    path = Path(path)
    groups = read_tree(path)
    if "network" not in groups or "about" not in groups["network"].attrs:
        raise DataError(
            path.name,
            rule="hold a network",
            received=f"the groups {', '.join(groups) or 'none'}",
            remedy="Give a file of a run's networks folder",
            where=path.parent,
        )
    parameters = groups["network"]
    about = json.loads(parameters.attrs["about"])
    arrays = {name: jnp.asarray(parameters[name].values) for name in _DIMS}
    static = {name: parameters.attrs[name] for name in _STATIC}
    network = CTRNN(
        **arrays,
        activation_name=str(static["activation_name"]),
        tau_ms=float(static["tau_ms"]),
        dt_ms=float(static["dt_ms"]),
    )
    task = parse(task_entry(about["task_name"]).task, about["task"], where=path)
    names = ("id", "task_name", "status", "reason", "labels", "scores")
    return TrainedNetwork(
        network=network, task=task, history=groups["history"], **{name: about[name] for name in names}
    )


def tree_to_dataset(tree: Any) -> xr.Dataset:
    """The arrays of any tree as one dataset, in the order of the tree: a checkpoint."""
    leaves = jax.tree.leaves(eqx.filter(tree, eqx.is_array))
    return xr.Dataset(
        {
            f"leaf_{k:04d}": (tuple(f"leaf_{k:04d}_{d}" for d in range(np.ndim(leaf))), np.asarray(leaf))
            for k, leaf in enumerate(leaves)
        }
    )


def tree_from_dataset(dataset: xr.Dataset, template: Any) -> Any:
    """Put the arrays of `tree_to_dataset` into a tree of the same structure.

    Raises:
        DataError: when the arrays do not fit the template.
    """
    arrays, rest = eqx.partition(template, eqx.is_array)
    leaves, structure = jax.tree.flatten(arrays)
    stored = [dataset[name].values for name in sorted(dataset.data_vars, key=str)]
    fits = len(stored) == len(leaves) and all(
        a.shape == b.shape and a.dtype == b.dtype for a, b in zip(stored, leaves, strict=True)
    )
    if not fits:
        raise DataError(
            "checkpoint",
            rule=f"hold the {len(leaves)} arrays of this fit",
            received=f"{len(stored)} arrays of other shapes",
            remedy="Remove the run's checkpoints folder and resume; finished networks are kept",
        )
    return eqx.combine(jax.tree.unflatten(structure, [jnp.asarray(a) for a in stored]), rest)
