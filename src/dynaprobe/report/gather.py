"""Read a finished run: everything the report speaks of, with what is missing said in words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dynaprobe.report.captions import listed
from dynaprobe.report.colour import Look
from dynaprobe.report.gather_pairs import PairContents, gather_pairs, load_shown
from dynaprobe.report.gather_probes import ProbeContents, gather_probes, is_control, seen, with_mechanisms
from dynaprobe.report.style import looks_of
from dynaprobe.study.records import Verdict
from dynaprobe.study.store import RunStore, read_json

RECORDING_NAME = "recording"
# More sides have no room beside one another; the tables hold all candidates.
MOST_SIDES = 4


@dataclass(frozen=True)
class Side:
    """The recording or one network, with its results.

    Attributes:
        name: as it stands in figures.
        activation: of the network; None for the recording.
        groups: datasets by name of the result.
    """

    name: str
    activation: str | None
    groups: Mapping[str, xr.Dataset]


@dataclass(frozen=True)
class RunContents:
    """A run as the report needs it.

    Attributes:
        manifest: settings, counts, provenance.
        verdicts: the claims and what the run says of them.
        networks, settings: rows per network and per setting of the grid; None where the summary is missing.
        recording: numbers of the recording; None where missing.
        sides: what is drawn side by side, the recording first.
        histories: training of every network, by id.
        missing: sentences on what the folder does not hold.
        pairs: a comparison of many candidates; None for another kind of run.
        probes: what probes of the networks found; None where there are none.
    """

    manifest: Mapping[str, Any]
    verdicts: tuple[Verdict, ...]
    networks: xr.Dataset | None
    settings: xr.Dataset | None
    recording: xr.Dataset | None
    sides: tuple[Side, ...]
    histories: Mapping[str, xr.Dataset]
    missing: tuple[str, ...]
    pairs: PairContents | None = None
    probes: ProbeContents | None = None

    @property
    def bar(self) -> float | None:
        """The score from which a network reproduces a level of the recording; None where the run sets none."""
        value = self.manifest.get("settings", {}).get("reproduces")
        return float(value) if isinstance(value, int | float) else None

    @property
    def looks(self) -> dict[str, Look]:
        """How to draw every side."""
        return looks_of({side.name: side.activation for side in self.sides})

    def having(self, group: str) -> dict[str, tuple[Side, xr.Dataset]]:
        """The sides that hold a result, with it, by name."""
        return {side.name: (side, side.groups[group]) for side in self.sides if group in side.groups}


def gather(store: RunStore) -> RunContents:
    """Read a run.

    Raises:
        DataError: when the folder holds no run.
    """
    manifest = store.manifest()
    missing: list[str] = []
    pairs = gather_pairs(store, missing)
    if pairs is not None and not manifest.get("counts"):
        # Without a reference there are no networks beside one.
        sides = _alone(store, pairs, (), missing)
        return RunContents(manifest, (), None, None, None, tuple(sides), {}, tuple(missing), pairs)
    summary = load_shown(store, "results/summary", missing, "The summary over networks")
    networks = summary.get("networks")
    probes = gather_probes(store, networks, missing) if pairs is None else None
    networks = with_mechanisms(networks, probes)
    recorded = load_shown(store, "results/recording", missing, "Results of the recording")
    missing.extend(_left_out(what, ["the recording"], reason) for what, reason in _reasons(recorded).items())
    sides = [Side(RECORDING_NAME, None, recorded)]
    for k in chosen_networks(networks) if networks is not None else ():
        assert networks is not None
        name = str(networks["id"].values[k])
        groups = load_shown(store, f"results/{name}", missing, f"Results of network {name}")
        name_shown = network_name(networks, k)
        missing.extend(_left_out(what, [name_shown], reason) for what, reason in _reasons(groups).items())
        if groups:
            sides.append(Side(network_name(networks, k), str(networks["activation"].values[k]), groups))
    if networks is not None and len(sides) == 1:
        missing.append("No network learned the task and was compared, so figures show the recording alone.")
    if pairs is not None:
        sides += _alone(store, pairs, tuple(side.name for side in sides), missing)
    return RunContents(
        manifest=manifest,
        verdicts=_verdicts(store, missing),
        networks=networks,
        settings=summary.get("cells"),
        recording=summary.get("recording"),
        sides=tuple(side for side in sides if side.groups),
        histories=_histories(store, networks, missing),
        missing=tuple(missing),
        pairs=pairs,
        probes=probes,
    )


def _alone(store: RunStore, pairs: PairContents, drawn: tuple[str, ...], missing: list[str]) -> list[Side]:
    """Candidates that are described by themselves, the first network of each; the reference is drawn already."""
    if pairs.alone is None:
        return []
    sides: list[Side] = []
    reasons: dict[tuple[str, str], list[str]] = {}
    for k, candidate in enumerate(map(str, pairs.alone["candidate"].values)):
        file = str(pairs.alone["file"].values[k])
        known = [side.name for side in sides]
        beside = bool(drawn) and candidate == pairs.reference
        if (
            candidate in known
            or beside
            or not file.startswith("results/alone/")
            or len(sides) + len(drawn) >= MOST_SIDES
        ):
            continue
        groups = load_shown(store, file, missing, f"Results of {candidate}")
        for found in _reasons(groups).items():
            reasons.setdefault(found, []).append(candidate)
        about = pairs.candidates.get(candidate, {})
        activation = str(about.get("activation")) if about.get("kind") == "networks" else None
        sides.append(Side(candidate, activation, groups))
    # What is missing of several for one reason is said once.
    missing.extend(_left_out(what, names, reason) for (what, reason), names in reasons.items())
    return sides


def learned(networks: xr.Dataset) -> np.ndarray:
    """Which networks count."""
    return np.asarray(networks["status"].values.astype(str) == "converged")


def chosen_networks(networks: xr.Dataset) -> list[int]:
    """One network per activation to draw: of those that learned, the one of median population similarity.

    The lower of the two in the middle where their number is even; ties go to the first. The median shows what is
    usual; the best would flatter.
    """
    chosen = []
    population = networks["population"].values.astype(float)
    activation = networks["activation"].values.astype(str)
    for name in sorted(set(activation)):
        of_kind = np.flatnonzero((activation == name) & learned(networks) & ~is_control(networks))
        if not of_kind.size:
            continue
        known = of_kind[np.isfinite(population[of_kind])]
        order = known[np.argsort(population[known], kind="stable")] if known.size else of_kind
        chosen.append(int(order[(order.size - 1) // 2]))
    return chosen


def network_name(networks: xr.Dataset, k: int) -> str:
    """How a network is called in figures: activation, penalty, seed and, on a second line where tasks differ, its
    task. Where another network would have the same name it is called by its cell, or by its id.
    """
    for name_of in (_by_settings, _by_cell):
        names = [name_of(networks, j) for j in range(networks.sizes["network"])]
        if names.count(names[k]) == 1:
            return names[k]
    return str(networks["id"].values[k])


def _by_settings(networks: xr.Dataset, k: int) -> str:
    activation = str(networks["activation"].values[k]).replace("_", " ")
    penalty = float(networks["penalty_rate"].values[k])
    # Networks trained outside a grid have no penalty to be told by, but the candidate they belong to.
    name = f"{activation}, penalty {penalty:g}" if np.isfinite(penalty) else f"{networks['cell'].values[k]}"
    tasks = [seen(networks, j) for j in range(networks.sizes["network"])]
    task = f",\n{tasks[k]}" if tasks[k] and len(set(tasks)) > 1 else ""
    return name + _seed(networks, k) + task


def _by_cell(networks: xr.Dataset, k: int) -> str:
    return f"{networks['cell'].values[k]}{_seed(networks, k)}" if "cell" in networks.variables else ""


def _seed(networks: xr.Dataset, k: int) -> str:
    return f", seed {int(networks['seed'].values[k])}" if "seed" in networks.coords else ""


def _reasons(groups: Mapping[str, xr.Dataset]) -> dict[str, str]:
    """Why analyses of one side were left out, as the run noted it."""
    if "account" not in groups:
        return {}
    found: dict[str, str] = json.loads(groups["account"].attrs.get("reasons", "{}"))
    return found


def _left_out(what: str, names: Sequence[str], reason: str) -> str:
    return f"{what.replace('_', ' ')} of {listed(names)} was left out: {reason}"


def _verdicts(store: RunStore, missing: list[str]) -> tuple[Verdict, ...]:
    path = store.path("claims.json")
    if not path.is_file():
        missing.append("No claims were judged: no file claims.json.")
        return ()
    return tuple(Verdict.from_dict(values) for values in read_json(path))


def _histories(store: RunStore, networks: xr.Dataset | None, missing: list[str]) -> dict[str, xr.Dataset]:
    if networks is None:
        return {}
    histories = {}
    for name in map(str, networks["id"].values):
        groups = load_shown(store, f"networks/{name}", missing, f"Training of network {name}")
        if "history" in groups and "loss" in groups["history"]:
            histories[name] = groups["history"]
    return histories
