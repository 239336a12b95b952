"""Contender: dynaprobe's search for fixed points, in float64."""

from __future__ import annotations

from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from benchmarks.worker import Work
from dynaprobe.analysis.fixed_points import find_fixed_points
from dynaprobe.core.devices import prepare_devices
from dynaprobe.model.rnn import CTRNN
from dynaprobe.model.settings import NetworkSettings


def network_of(file: Path) -> CTRNN:
    """The network whose weights stand in `file`."""
    with np.load(file) as kept:
        w_in, w_rec, b = (kept[name] for name in ("w_in", "w_rec", "b"))
    blank = CTRNN.make(NetworkSettings(n_units=len(b)), n_inputs=w_in.shape[1], n_outputs=1, seed=0)
    filled: CTRNN = eqx.tree_at(
        lambda network: (network.w_in, network.w_rec, network.b), blank, tuple(map(jnp.asarray, (w_in, w_rec, b)))
    )
    return filled


def build(*, file: str, n_starts: int, points_file: str = "") -> Work:
    """A search from the first `n_starts` starts in `file`.

    Args:
        file: weights, starts and input.
        n_starts: how many.
        points_file: where to leave the fixed points; empty for nowhere.
    """
    prepare_devices()
    network = network_of(Path(file))
    with np.load(file) as kept:
        starts, inputs = kept["starts"][:n_starts], kept["input"]

    def work(n_searches: int) -> None:
        for _ in range(n_searches):
            found = find_fixed_points(network.vector_field, starts, inputs, kind="vector_field").data
        if points_file:
            fixed = found["point_kind"].values == "fixed_point"
            np.savez(points_file, x=found["x"].values[fixed], n_ended=found["n_starts"].values[fixed].sum())

    return work
