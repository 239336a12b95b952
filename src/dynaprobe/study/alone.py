"""Every candidate by itself: the same analyses of recordings and networks, and their numbers side by side."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from dynaprobe.study.battery import groups_of
from dynaprobe.study.candidates import Candidate
from dynaprobe.study.common_ground import CommonGround
from dynaprobe.study.comparison import ComparisonSettings, Population, averages_population, within
from dynaprobe.study.describe import ANALYSES, describe, headline
from dynaprobe.study.own_rates import softening_of
from dynaprobe.study.progress import Step
from dynaprobe.study.sampling import Sampled
from dynaprobe.study.study import Run


def describe_all(
    candidates: Sequence[Candidate], sampled: Sampled, ground: CommonGround, run: Run, *, beside: bool
) -> xr.Dataset:
    """Analyse every population by itself and keep the results as ``results/alone/NAME``.

    Condition averages without trials get what can be computed of them. Networks that the battery has described
    beside a reference are read from there; networks on their own rates are not described, as the analyses are set
    for spikes/s.

    Args:
        candidates: what is compared.
        sampled: their samples.
        ground: what they share.
        run: the run.
        beside: whether the battery has been run.

    Returns:
        Numbers along ``sample``, with its candidate and its file.
    """
    described = {
        name: (population, ground.settings)
        for name, population in sampled.populations.items()
        if population.rates.attrs["rate_unit"] == "spikes/s" and not (beside and _network_id(name, candidates))
    }
    for candidate in candidates:
        if candidate.averages is not None and candidate.name in sampled.samples:
            described[candidate.name] = _of_averages(candidate.averages, ground.settings)
    rows: dict[str, tuple[str, dict[str, float]]] = {}
    with run.progress.step("Describe each alone", max(1, len(described) * len(ANALYSES))) as step:
        for done, (name, (population, settings)) in enumerate(described.items()):
            path = alone_file(name)
            if run.store.has(path):
                step.update((done + 1) * len(ANALYSES), name)
            else:
                heard = _Heard(step, done * len(ANALYSES), name)
                results, reasons = describe(population, settings, seed=run.seed, step=heard)
                run.store.save(path, groups_of(population, results, reasons, headline(results)))
            rows[name] = path, _numbers(run, path)
    if beside:
        for name in sampled.populations:
            network = _network_id(name, candidates)
            if network and run.store.path("results", f"{network}.nc").is_file():
                rows[name] = f"results/{network}", _numbers(run, f"results/{network}")
    return _table(rows, {s.name: s.candidate for members in sampled.samples.values() for s in members})


def _of_averages(rates: xr.DataArray, settings: ComparisonSettings) -> tuple[Population, ComparisonSettings]:
    """Averages as a population, softened in their own unit, with windows as far as they reach."""
    softening = softening_of(rates, settings.softening_hz)
    return averages_population(rates), within(settings, rates).with_changes({"softening_hz": softening})


def alone_file(name: str) -> str:
    """Where the results of a sample are kept."""
    return f"results/alone/{file_name(name)}"


def file_name(name: str) -> str:
    """A name as far as a file may have it, and a mark of its own."""
    readable = re.sub(r"[^\w.-]+", "-", name).strip("-.")[:60]
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


class _Heard:
    """Counts the analyses of one population into a step of many."""

    def __init__(self, step: Step, done: int, name: str) -> None:
        self._step, self._done, self._name = step, done, name

    def update(self, done: float, note: str = "") -> None:
        self._step.update(self._done + done, f"{self._name}: {note}" if note else self._name)


def _network_id(sample: str, candidates: Sequence[Candidate]) -> str:
    """The network behind a sample; empty for a recording."""
    for candidate in candidates:
        for network in candidate.networks:
            if sample == f"{candidate.name}/{network.id}":
                return network.id
    return ""


def _numbers(run: Run, path: str) -> dict[str, float]:
    found = json.loads(run.store.load(path)["account"].attrs["numbers"])
    return {name: float(value) for name, value in found.items()}


def _table(rows: Mapping[str, tuple[str, dict[str, float]]], candidates: Mapping[str, str]) -> xr.Dataset:
    samples = list(rows)
    names = list(dict.fromkeys(name for _, numbers in rows.values() for name in numbers))
    data = {
        name: ("sample", np.array([rows[sample][1].get(name, np.nan) for sample in samples])) for name in names
    }
    return xr.Dataset(
        data,
        coords={
            "sample": samples,
            "candidate": ("sample", [candidates.get(sample, sample) for sample in samples]),
            "file": ("sample", [rows[sample][0] for sample in samples]),
        },
    )
