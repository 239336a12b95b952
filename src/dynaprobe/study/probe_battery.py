"""Probe every network of a run that learned its task, and put the numbers side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import xarray as xr

from dynaprobe.analysis.result import Result
from dynaprobe.core.errors import DataError, SettingsError
from dynaprobe.study.networks import TrainedNetwork, load_network
from dynaprobe.study.probe_numbers import probe_numbers
from dynaprobe.study.probing import KINDS, PROBES, ProbeSettings, check_task, probe_network
from dynaprobe.study.progress import Progress, Silent
from dynaprobe.study.side_by_side import work_apart
from dynaprobe.study.store_folder import ResultFolder
from dynaprobe.study.study import Run

# Raised where a probe comes to other numbers on the same network with the same settings.
REVISIONS = {"switch": 2}


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
    try:
        trained = load_network(file)
        check_task(trained.task)
    except SettingsError as error:
        # Of this network alone; what is wrong with the settings of probes is wrong for all, and stops them.
        _keep(store, file.stem, probing, groups={}, done=[], reason=str(error))
        return
    kept = _kept(store, trained.id, probing)
    reason, groups = "", store.load(f"probes/{trained.id}") if kept.done else {}
    try:
        matched = replace(trained, task=trained.task.with_changes(probing.changes, where="the recording"))
        results = probe_network(matched, probing.settings, which=kept.missing, seed=probing.seed)
        groups |= {kind: result.to_dataset() for kind, result in results.items()}
    except DataError as error:
        # A network whose states explode on some trial cannot be probed; that is a finding.
        reason = str(error)
    done = [*kept.done, *map(_revised, kept.missing)]
    _keep(store, trained.id, probing, groups=groups, done=done, reason=reason)


def _keep(
    store: ResultFolder,
    name: str,
    probing: _Probing,
    *,
    groups: dict[str, xr.Dataset],
    done: Sequence[str],
    reason: str,
) -> None:
    """Write the probes of a network with an account of what was asked."""
    known = {_revised(probe) for probe in PROBES}
    request = json.dumps(probing.terms | {"which": sorted({*done} & known)}, sort_keys=True)
    account = xr.Dataset(attrs={"reason": reason, "request": request})
    store.save(f"probes/{name}", groups | {"account": account})


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
