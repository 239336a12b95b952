"""Probe every network of a run that learned its task, and put the numbers side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from dynaprobe.core.errors import DataError
from dynaprobe.study.networks import TrainedNetwork, load_network
from dynaprobe.study.probing import PROBES, ProbeSettings, probe_network
from dynaprobe.study.side_by_side import work_apart
from dynaprobe.study.store_folder import ResultFolder
from dynaprobe.study.study import Run

ENDS = ("", "_low", "_high")
EPOCHS = ("preparatory", "movement", "throughout")
NOISY = "all"


@dataclass(frozen=True)
class _Probing:
    """What every network of a run is probed with."""

    folder: Path
    changes: Mapping[str, Any]
    settings: ProbeSettings
    which: tuple[str, ...]
    seed: int


def probe_all(
    run: Run,
    networks: Sequence[TrainedNetwork],
    settings: ProbeSettings,
    *,
    changes: Mapping[str, Any],
    which: Sequence[str] = PROBES,
) -> xr.Dataset:
    """Run the probes on every network that learned, store the results as ``probes/ID.nc``, and collect numbers.

    Args:
        run: the run.
        networks: all networks, those that did not learn included.
        settings: of the probes.
        changes: of the task for probing, e.g. the directions and the delay of the recording.
        which: rows of `dynaprobe.study.probing.PROBES`.

    Returns:
        The table of `probe_numbers`.
    """
    learned = [network.id for network in networks if network.learned]
    probing = _Probing(run.store.folder, changes, settings, tuple(which), run.seed)
    missing = [name for name in learned if not run.store.has(f"probes/{name}")]
    with run.timed("probes"), run.progress.step("Probe networks", len(learned)) as step:
        n_before = len(learned) - len(missing)
        work_apart(
            partial(_probe, probing),
            missing,
            n_processes=run.n_processes,
            on_done=lambda done, name: step.update(n_before + done, name),
        )
    return probe_numbers(networks, run.store)


def _probe(probing: _Probing, name: str) -> None:
    store = ResultFolder(probing.folder)
    trained = load_network(store.path("networks", f"{name}.nc"))
    try:
        matched = replace(trained, task=trained.task.with_changes(probing.changes, where="the recording"))
        results = probe_network(matched, probing.settings, which=probing.which, seed=probing.seed)
    except DataError as error:
        # A network whose states explode on some trial cannot be probed; that is a finding.
        store.save(f"probes/{name}", {"account": xr.Dataset(attrs={"reason": str(error)})})
        return
    groups = {kind: result.to_dataset() for kind, result in results.items()}
    store.save(f"probes/{name}", groups | {"account": xr.Dataset(attrs={"reason": ""})})


def probe_numbers(networks: Sequence[TrainedNetwork], store: ResultFolder) -> xr.Dataset:
    """What the probes found, one row per network, in the order of the networks.

    Args:
        networks: all networks; a row is NaN for those that did not learn or could not be probed.
        store: holds ``probes/ID.nc``.

    Returns:
        Along ``network``: the variables of `numbers_of`, ``mechanism`` (the verdict, or ``none``) and ``reason``
        (why there are no numbers); coordinate ``id``.
    """
    rows = []
    for network in networks:
        row: dict[str, Any] = {"mechanism": "none", "reason": "" if network.learned else "did not learn the task"}
        if network.learned and store.path("probes", f"{network.id}.nc").is_file():
            groups = store.load(f"probes/{network.id}")
            row["reason"] = str(groups.pop("account").attrs["reason"])
            row |= numbers_of(groups)
            row["mechanism"] = str(groups["mechanism"].attrs["mechanism"]) if "mechanism" in groups else "none"
        rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row if name not in ("mechanism", "reason")))
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


def numbers_of(groups: Mapping[str, xr.Dataset]) -> dict[str, float]:
    """A few numbers of the probes of one network.

    Args:
        groups: results of `dynaprobe.study.probing.probe_network` as datasets.

    Returns:
        Of what is there: ``mechanism_index``, ``suffices``, ``decides`` with ``_low`` and ``_high``;
        ``decides_shown``, the swap's index with the target in sight throughout; ``clean_error``,
        the end-point error without noise; for every epoch of the noise, ``excess_error_EPOCH``: the end-point
        error less that without noise, mean over the strengths above 0, noise at all inputs;
        ``tolerated_sd_EPOCH``; ``switch_success_early`` and ``_late``: share of pairs whose target switched before
        the go cue, or at it or later, that end at the new target, mean over the times; ``visited_early``: share of
        early switches after which the state came by the new target's preparatory state; ``reaction_early_ms``, of
        the outputs; ``direction_error_between_deg``, mean absolute error halfway between trained directions;
        ``error_between``, of the end point there; ``gain_near`` and ``gain_far``: amplitude gain at the smallest
        and the largest distance; ``pulse_half_life_ms``, median over times and directions of those that recover;
        ``horizon_go_ms``: how long a linear model of the moment of the go cue predicts.
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
        numbers |= _switch(groups["target_switch"])
    if "locations_between" in groups:
        between, radii = groups["locations_between"], groups["locations_radii"]
        numbers["direction_error_between_deg"] = float(np.abs(between["direction_error_deg"]).mean())
        numbers["error_between"] = float(between["error"].mean())
        numbers["gain_near"] = float(radii["mean_gain"][0])
        numbers["gain_far"] = float(radii["mean_gain"][-1])
    if "pulses" in groups:
        half_life = groups["pulses"]["half_life_ms"].values
        known = half_life[np.isfinite(half_life)]
        numbers["pulse_half_life_ms"] = float(np.median(known)) if known.size else float("nan")
    if "linear_prediction" in groups:
        horizon = groups["linear_prediction"]["horizon_ms"]
        numbers["horizon_go_ms"] = float(horizon.sel(start_ms=0.0, method="nearest"))
    return numbers


def _noise(data: xr.Dataset) -> dict[str, float]:
    error = data["end_point_error"]
    clean = float(error.sel(sd=0.0).mean())
    noisy = error.sel(sd=error["sd"] > 0)
    numbers = {"clean_error": clean}
    for epoch in EPOCHS:
        numbers[f"excess_error_{epoch}"] = float(noisy.sel(epoch=epoch).mean()) - clean
        numbers[f"tolerated_sd_{epoch}"] = float(data["tolerated_sd"].sel(epoch=epoch))
    return numbers


def _switch(data: xr.Dataset) -> dict[str, float]:
    early = data["switch_ms"].values < 0
    return {
        "switch_success_early": float(data["success"].values[early].mean()) if early.any() else float("nan"),
        "switch_success_late": float(data["success"].values[~early].mean()) if (~early).any() else float("nan"),
        "visited_early": float(data["visited"].values[early].mean()) if early.any() else float("nan"),
        "reaction_early_ms": float(data["output_reaction_ms"].values[early].mean())
        if early.any()
        else float("nan"),
    }
