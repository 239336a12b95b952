"""Probe every network of a run that learned its task, and put the numbers side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from dynaprobe.analysis.result import Result
from dynaprobe.core.errors import DataError
from dynaprobe.study.networks import TrainedNetwork, load_network
from dynaprobe.study.probing import KINDS, PROBES, ProbeSettings, probe_network
from dynaprobe.study.progress import Progress, Silent
from dynaprobe.study.side_by_side import work_apart
from dynaprobe.study.store_folder import ResultFolder
from dynaprobe.study.study import Run

ENDS = ("", "_low", "_high")
EPOCHS = ("preparatory", "movement", "throughout")
NOISY = "all"
# The groups that `numbers_of` looks at, with the account: reading all of a file takes seconds.
_TELLING = (
    "account", "mechanism", "state_swap_visible", "input_noise", "target_switch", "locations_between",
    "locations_radii", "pulses", "linear_prediction",
)  # fmt: skip
# Raised where a probe comes to other numbers on the same network with the same settings.
REVISIONS = {"switch": 2}
# What `numbers_of` finds where all probes were run.
NUMBERS = (
    *(name + end for name in ("mechanism_index", "suffices", "decides") for end in ENDS), "decides_shown",
    "clean_error", *(f"{name}_{epoch}" for epoch in EPOCHS for name in ("excess_error", "tolerated_sd")),
    "switch_success_early", "switch_success_late", "visited_early", "reaction_early_ms",
    "direction_error_between_deg", "error_between", "gain_near", "gain_far", "pulse_half_life_ms", "horizon_go_ms",
)  # fmt: skip


@dataclass(frozen=True)
class _Probing:
    """What every network is probed with, and where results go."""

    folder: Path
    changes: Mapping[str, Any]
    settings: ProbeSettings
    which: tuple[str, ...]
    seed: int

    @property
    def terms(self) -> dict[str, Any]:
        """What decides the results of every probe, as plain values."""
        values = {"changes": self.changes, "settings": self.settings.model_dump(mode="json"), "seed": self.seed}
        plain: dict[str, Any] = json.loads(json.dumps(values))
        return plain


def probe_all(
    run: Run,
    networks: Sequence[TrainedNetwork],
    settings: ProbeSettings,
    *,
    changes: Mapping[str, Any],
    which: Sequence[str] = PROBES,
) -> xr.Dataset:
    """Run the probes on every network of a run that learned, and collect numbers.

    Args:
        run: the run.
        networks: all networks, those that did not learn included.
        settings: of the probes.
        changes: of the task for probing, e.g. the directions and the delay of the recording.
        which: rows of `dynaprobe.study.probing.PROBES`.

    Returns:
        The table of `probe_numbers`.
    """
    files = [run.store.path("networks", f"{network.id}.nc") for network in networks if network.learned]
    with run.timed("probes"):
        probe_files(
            files,
            run.store,
            settings,
            changes=changes,
            which=which,
            seed=run.seed,
            n_processes=run.n_processes,
            progress=run.progress,
        )
    return probe_numbers(networks, run.store)


def probe_files(
    files: Sequence[Path],
    out: ResultFolder,
    settings: ProbeSettings,
    *,
    changes: Mapping[str, Any] = MappingProxyType({}),
    which: Sequence[str] = PROBES,
    seed: int = 0,
    n_processes: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Probe networks and store the results as ``probes/ID.nc``.

    What is there from the same settings and the same revision of a probe is kept, and what is asked for beside it
    is added.

    Args:
        files: network files, named by the ids of the networks.
        out: where results go.
        settings: of the probes.
        changes: of the task of every network.
        which: rows of `dynaprobe.study.probing.PROBES`.
        seed: of every draw.
        n_processes: how many work side by side; None takes one per core.
        progress: listens.
    """
    probing = _Probing(out.folder, dict(changes), settings, tuple(which), seed)
    missing = [file for file in files if _kept(out, file.stem, probing).missing]
    n_before = len(files) - len(missing)
    with (progress or Silent()).step("Probe networks", len(files)) as step:
        step.update(n_before)
        work_apart(
            partial(_probe, probing),
            missing,
            n_processes=n_processes,
            on_done=lambda done, file: step.update(n_before + done, file.stem),
        )


class _Kept(NamedTuple):
    """What is there of a network, and which probes have still to be run."""

    done: list[str]
    missing: list[str]


def _kept(out: ResultFolder, name: str, probing: _Probing) -> _Kept:
    nothing = _Kept([], list(probing.which))
    if not out.has(f"probes/{name}"):
        return nothing
    account = out.load(f"probes/{name}", only=["account"])["account"].attrs
    terms = json.loads(account.get("request", "{}"))
    done = terms.pop("which", [])
    missing = [probe for probe in probing.which if _revised(probe) not in done]
    # A network that could not be probed has nothing that more could be added to.
    if terms != probing.terms or (missing and account["reason"]):
        return nothing
    return _Kept(done, missing)


def _revised(probe: str) -> str:
    """The name of a probe with its revision, where it is not the first."""
    return f"{probe} {REVISIONS[probe]}" if probe in REVISIONS else probe


def _probe(probing: _Probing, file: Path) -> None:
    store = ResultFolder(probing.folder)
    trained = load_network(file)
    kept = _kept(store, trained.id, probing)
    reason, groups = "", store.load(f"probes/{trained.id}") if kept.done else {}
    try:
        matched = replace(trained, task=trained.task.with_changes(probing.changes, where="the recording"))
        results = probe_network(matched, probing.settings, which=kept.missing, seed=probing.seed)
        groups |= {kind: result.to_dataset() for kind, result in results.items()}
    except DataError as error:
        # A network whose states explode on some trial cannot be probed; that is a finding.
        reason = str(error)
    known = {_revised(probe) for probe in PROBES}
    which = sorted({*kept.done, *map(_revised, kept.missing)} & known)
    request = json.dumps(probing.terms | {"which": which}, sort_keys=True)
    account = xr.Dataset(attrs={"reason": reason, "request": request})
    store.save(f"probes/{trained.id}", groups | {"account": account})


class Probed(NamedTuple):
    """What a file of probes holds.

    Attributes:
        results: by the names of `dynaprobe.study.probing.probe_network`; empty for a network that could not be
            probed.
        reason: why it could not.
    """

    results: Mapping[str, Result]
    reason: str


def read_probes(store: ResultFolder, name: str) -> Probed:
    """The results of a network as records."""
    groups = store.load(f"probes/{name}")
    account = groups.pop("account")
    kinds = {kind.__name__: kind for kind in KINDS}
    return Probed(
        {group: kinds[data.attrs["result"]].from_dataset(data) for group, data in groups.items()},
        str(account.attrs["reason"]),
    )


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
        if network.learned and store.path("probes", f"{network.id}.nc").is_file():
            groups = store.load(f"probes/{network.id}", only=_TELLING)
            row["reason"] = str(groups.pop("account").attrs["reason"])
            row |= numbers_of(groups)
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
        prediction = groups["linear_prediction"]
        horizon = float(prediction["horizon_ms"].sel(start_ms=0.0, method="nearest"))
        # A mean over networks leaves out what is infinite, and so those of which the model predicts best.
        numbers["horizon_go_ms"] = min(horizon, float(prediction["lead_ms"][-1]))
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
