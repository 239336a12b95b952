"""What the probes of every network found, in a few numbers each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from dynaprobe.analysis.probes.target_switch import Followed, shares_followed
from dynaprobe.study.networks import TrainedNetwork
from dynaprobe.study.store_folder import ResultFolder
from dynaprobe.tasks.reach import DelayedReach

ENDS = ("", "_low", "_high")
EPOCHS = ("preparatory", "movement", "throughout")
NOISY = "all"
# The groups that `numbers_of` looks at, with the account: reading all of a file takes seconds.
_TELLING = (
    "account", "mechanism", "state_swap_visible", "input_noise", "target_switch", "locations_between",
    "locations_radii", "pulses", "linear_prediction",
)  # fmt: skip
# What `numbers_of` finds where all probes were run.
NUMBERS = (
    *(name + end for name in ("mechanism_index", "suffices", "decides") for end in ENDS), "decides_shown",
    "clean_error", *(f"{name}_{epoch}" for epoch in EPOCHS for name in ("excess_error", "tolerated_sd")),
    *(f"switch_success_{part}" for part in Followed._fields), "shortest_delay_ms", "visited_early",
    "reaction_early_ms", "direction_error_between_deg", "direction_error_between_fraction", "n_too_short_between",
    "error_between", "gain_near", "gain_far", "pulse_half_life_ms", "horizon_go_ms",
)  # fmt: skip


def probe_numbers(networks: Sequence[TrainedNetwork], store: ResultFolder) -> xr.Dataset:
    """What the probes found, one row per network, in the order of the networks.

    Args:
        networks: all networks; a row is NaN for those that did not learn or could not be probed.
        store: holds ``probes/ID.nc``.

    Returns:
        Along ``network``: `NUMBERS`, as `numbers_of` finds them, ``mechanism`` (the verdict, or ``none``) and
        ``reason`` (why there are no numbers); coordinate ``id``.
    """
    rows = []
    for network in networks:
        row: dict[str, Any] = {"mechanism": "none", "reason": "" if network.learned else "did not learn the task"}
        row["shortest_delay_ms"] = trained_delay_ms(network)
        if network.learned and store.path("probes", f"{network.id}.nc").is_file():
            groups = store.load(f"probes/{network.id}", only=_TELLING)
            row["reason"] = str(groups.pop("account").attrs["reason"])
            row |= numbers_of(groups, shortest_delay_ms=row["shortest_delay_ms"])
            row["mechanism"] = str(groups["mechanism"].attrs["mechanism"]) if "mechanism" in groups else "none"
        rows.append(row)
    # Of all names, so that a run in which no network could be probed has the same columns, all of them NaN.
    names = list(dict.fromkeys([*NUMBERS, *(name for row in rows for name in row)]))
    names = [name for name in names if name not in ("mechanism", "reason")]
    table = xr.Dataset(
        {name: ("network", np.array([row.get(name, np.nan) for row in rows], dtype=np.float64)) for name in names}
        | {name: ("network", np.array([str(row[name]) for row in rows])) for name in ("mechanism", "reason")},
        coords={"id": ("network", np.array([network.id for network in networks]))},
    )
    units = {"_deg": "degrees", "_ms": "ms"}
    for name in names:
        if unit := next((unit for end, unit in units.items() if end in name), None):
            table[name].attrs["units"] = unit
    return table


def trained_delay_ms(network: TrainedNetwork) -> float:
    """The shortest delay with which a network was trained; NaN for a task without delays."""
    task = network.task
    return task.shortest_delay_ms if isinstance(task, DelayedReach) else float("nan")


def numbers_of(groups: Mapping[str, xr.Dataset], *, shortest_delay_ms: float = float("nan")) -> dict[str, float]:
    """A few numbers of the probes of one network.

    Args:
        groups: results of `dynaprobe.study.probing.probe_network` as datasets.
        shortest_delay_ms: of the network's training, by which early switches are parted; NaN parts none.

    Returns:
        Of what is there: ``mechanism_index``, ``suffices``, ``decides`` with ``_low`` and ``_high``;
        ``decides_shown``, the swap's index with the target in sight throughout; ``clean_error``, the end-point
        error without noise; for every epoch of the noise, ``excess_error_EPOCH``: the end-point error less that
        without noise, mean over the strengths above 0, noise at all inputs; ``tolerated_sd_EPOCH``;
        ``switch_success_early`` and ``_late``: share of pairs whose target switched before the go cue, or at it or
        later, that end at the new target, mean over the times; ``switch_success_early_trained`` and
        ``_early_short``: the early ones that leave the new target at least the shortest delay of training, and
        those closer to the go cue than any such delay; ``visited_early``: share of early switches after which the
        state came by the new target's preparatory state; ``reaction_early_ms``, of the outputs;
        ``direction_error_between_deg``, mean absolute error halfway between trained directions, and
        ``direction_error_between_fraction``, the mean of each over the angle to the nearest trained direction,
        both without the ``n_too_short_between`` movements that are too short to have a direction;
        ``error_between``, of the end point there; ``gain_near`` and ``gain_far``: amplitude gain at the smallest
        and the largest distance; ``pulse_half_life_ms``, median over times and directions of those that recover;
        ``horizon_go_ms``: how long a linear model of the moment of the go cue predicts, at most its longest lead.
    """
    numbers: dict[str, float] = {}
    if "mechanism" in groups:
        data = groups["mechanism"]
        numbers |= {
            name + end: float(data[name + end])
            for name in ("mechanism_index", "suffices", "decides")
            for end in ENDS
        }
        numbers["decides_shown"] = float(groups["state_swap_visible"]["mechanism_index"])
    if "input_noise" in groups:
        numbers |= _noise(groups["input_noise"].sel(channel=NOISY))
    if "target_switch" in groups:
        numbers |= _switch(groups["target_switch"], shortest_delay_ms)
    if "locations_between" in groups:
        numbers |= _locations(groups["locations_between"], groups["locations_radii"])
    if "pulses" in groups:
        half_life = groups["pulses"]["half_life_ms"].values
        known = half_life[np.isfinite(half_life)]
        numbers["pulse_half_life_ms"] = float(np.median(known)) if known.size else float("nan")
    if "linear_prediction" in groups:
        prediction = groups["linear_prediction"]
        horizon = float(prediction["horizon_ms"].sel(start_ms=0.0, method="nearest"))
        # A mean over networks leaves out what is infinite, and so those of which the model predicts best.
        numbers["horizon_go_ms"] = min(horizon, float(prediction["lead_ms"][-1]))
    return numbers


def _locations(between: xr.Dataset, radii: xr.Dataset) -> dict[str, float]:
    turned_deg: xr.DataArray = abs(between["direction_error_deg"])
    return {
        "direction_error_between_deg": float(turned_deg.mean()),
        # Halfway between neighbours, the nearest trained direction is half their gap away.
        "direction_error_between_fraction": float((turned_deg / between["from_trained_deg"]).mean()),
        "n_too_short_between": float(turned_deg.isnull().sum()),
        "error_between": float(between["error"].mean()),
        "gain_near": float(radii["mean_gain"][0]),
        "gain_far": float(radii["mean_gain"][-1]),
    }


def _noise(data: xr.Dataset) -> dict[str, float]:
    error = data["end_point_error"]
    clean = float(error.sel(sd=0.0).mean())
    noisy = error.sel(sd=error["sd"] > 0)
    numbers = {"clean_error": clean}
    for epoch in EPOCHS:
        numbers[f"excess_error_{epoch}"] = float(noisy.sel(epoch=epoch).mean()) - clean
        numbers[f"tolerated_sd_{epoch}"] = float(data["tolerated_sd"].sel(epoch=epoch))
    return numbers


def _switch(data: xr.Dataset, shortest_delay_ms: float) -> dict[str, float]:
    early = data["switch_ms"].values < 0
    followed = shares_followed(data, shortest_delay_ms)
    means = {"visited_early": "visited", "reaction_early_ms": "output_reaction_ms"}
    return {f"switch_success_{part}": share for part, share in followed._asdict().items()} | {
        name: float(data[variable].values[early].mean()) if early.any() else float("nan")
        for name, variable in means.items()
    }
