"""Targets where the network was never asked to go: in which direction, and how far, does it go?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynaprobe.analysis.matrix import check_at_least
from dynaprobe.analysis.probes.measures import (
    N_BOOTSTRAP,
    direction_error_deg,
    draw_counts,
    r2_by_group,
    weighted_mean,
    with_interval,
)
from dynaprobe.analysis.probes.runs import check_fits, run
from dynaprobe.analysis.probes.scene import REACH, ReachReading, set_scene
from dynaprobe.analysis.result import Result
from dynaprobe.core.errors import DataError
from dynaprobe.core.trials import Trials
from dynaprobe.model.rnn import AbstractNetwork


@dataclass(frozen=True)
class NewLocations(Result):
    """Movements to any targets, trained or not.

    Variables of `data` by condition: end_point, goal ``(condition, axis)``; error ``(condition,)``, their
    distance; direction_error_deg, signed and counter-clockwise; gain, ``|end point| / |goal|``; goal_radius,
    goal_direction_deg; from_trained_deg, the angle to the nearest trained direction. And by distance of the goal,
    along ``radius`` and with ``_low`` and ``_high``:
        absolute_direction_error_deg, mean_gain, mean_error ``(radius,)``.
    r2 ``(group,)``: R2 of velocity and position over all conditions.
    """


def new_locations(
    network: AbstractNetwork,
    trials: Trials,
    *,
    trained_deg: Sequence[float] | None = None,
    reading: ReachReading = REACH,
    n_bootstrap: int = N_BOOTSTRAP,
    seed: int = 0,
) -> NewLocations:
    """Direction error and amplitude gain of movements to the targets of `trials`; see `NewLocations`.

    Trials run without noise; intervals are 95 % percentiles over the directions of a radius, with replacement.

    Args:
        network: the network.
        trials: ``task.condition_trials()`` of the task with other ``directions_deg`` or ``radii``.
        trained_deg: the directions of training, from which distances are taken.
        reading: names of channels and events.
        n_bootstrap: draws behind the intervals.
        seed: of the draws.

    Raises:
        SettingsError, DataError: as `dynaprobe.analysis.probes.causal.input_removal`, or goals that are not in a
            plane.
    """
    check_at_least("n_bootstrap", n_bootstrap, 1)
    scene = set_scene(trials, reading)
    check_fits(network, scene)
    if scene.goals.shape[1] != 2:
        raise DataError(
            "goals",
            rule="lie in a plane",
            received=f"{scene.goals.shape[1]} axes",
            remedy="Name two output channels",
        )
    _, outputs = run(network, scene.inputs)
    end_point = scene.end_points(outputs)
    goal_radius = np.linalg.norm(scene.goals, axis=1)
    # Goals are sums over bins: equal radii agree to round-off only.
    radius, ring = np.unique(np.round(goal_radius, 4), return_inverse=True)
    direction = np.rad2deg(np.arctan2(scene.goals[:, 1], scene.goals[:, 0])) % 360
    by_condition = {
        "error": np.linalg.norm(end_point - scene.goals, axis=1),
        "direction_error_deg": direction_error_deg(end_point, scene.goals),
        "gain": np.linalg.norm(end_point, axis=1) / goal_radius,
        "goal_radius": goal_radius,
        "goal_direction_deg": direction,
        "from_trained_deg": _from_trained(direction, trained_deg),
    }
    r2 = r2_by_group(scene, outputs)
    data = xr.Dataset(
        {
            "end_point": (("condition", "axis"), end_point),
            "goal": (("condition", "axis"), scene.goals),
            "r2": (("group",), np.array([r2[name] for name in scene.groups])),
            **{
                name: (("condition",), values, {"units": "degrees"} if name.endswith("_deg") else {})
                for name, values in by_condition.items()
            },
        },
        coords={"radius": radius, "group": list(scene.groups), **scene.condition_coords()},
    )
    # The condition table's own column of that name would hide the coordinate of the summaries.
    data = data.assign_coords(radius=radius)
    for name, source in (
        ("absolute_direction_error_deg", np.abs(by_condition["direction_error_deg"])),
        ("mean_gain", by_condition["gain"]),
        ("mean_error", by_condition["error"]),
    ):
        value, draws = _by_ring(source, ring, radius.size, n_bootstrap=n_bootstrap, seed=seed)
        data = data.assign(with_interval(name, value, draws, ("radius",)))
    n_lost = int(np.isnan(by_condition["direction_error_deg"]).sum())
    failures = {"movement too short to have a direction": n_lost} if n_lost else {}
    return NewLocations(data, {"reading": reading.model_dump(), "seed": seed}, failures)


def _by_ring(
    values: Float[np.ndarray, " condition"], ring: np.ndarray, n_rings: int, *, n_bootstrap: int, seed: int
) -> tuple[Float[np.ndarray, " ring"], Float[np.ndarray, "ring draw"]]:
    """Mean over the conditions of every ring, and over conditions drawn anew."""
    mean, draws = np.full(n_rings, np.nan), np.full((n_rings, n_bootstrap), np.nan)
    for k in range(n_rings):
        inside = values[ring == k]
        mean[k] = weighted_mean(inside, np.ones((1, inside.size)))[0]
        draws[k] = weighted_mean(
            inside, draw_counts(inside.size, seed=seed, name=f"ring {k}", n_bootstrap=n_bootstrap)
        )
    return mean, draws


def _from_trained(
    direction_deg: Float[np.ndarray, " condition"], trained_deg: Sequence[float] | None
) -> Float[np.ndarray, " condition"]:
    if trained_deg is None or not len(trained_deg):
        return np.full(direction_deg.shape, np.nan)
    apart = (direction_deg[:, None] - np.asarray(trained_deg, dtype=np.float64) + 180) % 360 - 180
    nearest: np.ndarray = np.abs(apart).min(axis=1)
    return nearest
