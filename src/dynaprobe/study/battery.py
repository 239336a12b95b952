"""Run the battery over the networks of a run, keep every result, and put the numbers side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import xarray as xr

from dynaprobe.analysis.motifs import MotifGallery
from dynaprobe.analysis.result import Result
from dynaprobe.core.errors import DataError
from dynaprobe.study.comparison import ComparisonSettings, Population, describe, headline, population, score
from dynaprobe.study.dynamics import fixed_points_of_trial
from dynaprobe.study.networks import TrainedNetwork
from dynaprobe.study.render import render, run_trials
from dynaprobe.study.statistics import mean_interval
from dynaprobe.study.study import Run

LEVELS = ("single_unit", "population")


@dataclass(frozen=True)
class Reference:
    """What was computed of the recording.

    Attributes:
        results: by name.
        numbers: one number per question.
    """

    results: Mapping[str, Result]
    numbers: Mapping[str, float]

    @property
    def gallery(self) -> MotifGallery | None:
        """Clusters of the recorded PSTH shapes, into which network units are sorted."""
        return cast("MotifGallery | None", self.results.get("gallery"))


def analyse_recording(recorded: Population, settings: ComparisonSettings, run: Run) -> Reference:
    """Describe the recording and keep the results."""
    results, reasons = describe(recorded, settings, seed=run.seed)
    numbers = headline(results)
    run.store.save("results/recording", _groups(recorded, results, reasons, numbers))
    return Reference(results, numbers)


def analyse_network(
    network: TrainedNetwork,
    recorded: Population,
    reference: Reference,
    settings: ComparisonSettings,
    run: Run,
    *,
    n_repeats: int,
    n_starts: int,
) -> None:
    """Describe and score one network, and keep the results; does nothing where they are there already."""
    name = f"results/{network.id}"
    if run.store.has(name):
        return
    try:
        rendered = render(
            network.network,
            network.task,
            like=recorded.rates,
            n_repeats=n_repeats,
            n_units=recorded.rates.sizes["unit"],
            seed=run.seed,
            name=network.id,
        )
    except DataError as error:
        run.store.save(name, {"account": _account({}, {"all": str(error)})})
        return
    side = population(rendered, settings, seed=run.seed)
    results, reasons = describe(side, settings, seed=run.seed, gallery=reference.gallery)
    results |= score(side, recorded, settings, seed=run.seed)
    results["fixed_points"] = fixed_points_of_trial(
        network.network, network.task, n_starts=n_starts, seed=run.seed
    )
    groups = _groups(side, results, reasons, headline(results))
    groups["example"] = _example(network)
    run.store.save(name, groups)


def summarise(
    networks: Sequence[TrainedNetwork],
    cells: Mapping[str, str],
    reference: Reference,
    run: Run,
    *,
    level: float,
) -> dict[str, xr.Dataset]:
    """Networks, recording and cells side by side.

    Args:
        networks: all networks, those that did not learn included.
        cells: cell of the grid of every network, by id.
        reference: the recording.
        run: the run.
        level: confidence of the intervals over all cells together.
    """
    names = list(reference.numbers)
    rows = [_numbers_of(network, names, run) for network in networks]
    table = xr.Dataset(
        {name: ("network", np.array([row[name] for row in rows])) for name in names}
        | {
            key: ("network", np.array([n.scores.get(key, np.nan) for n in networks]))
            for key in ("score", "r2_velocity", "r2_position")
        }
        | {key: ("network", np.array([getattr(n, key) for n in networks])) for key in ("status", "reason")},
        coords={
            "id": ("network", np.array([n.id for n in networks])),
            "cell": ("network", np.array([cells[n.id] for n in networks])),
            **{key: ("network", np.array([n.labels[key] for n in networks])) for key in networks[0].labels},
        },
    )
    recording = xr.Dataset({name: float(value) for name, value in reference.numbers.items()})
    return {"networks": table, "recording": recording, "cells": _cells(table, level)}


def _cells(table: xr.Dataset, level: float) -> xr.Dataset:
    cell = table["cell"].values
    order = list(dict.fromkeys(cell.tolist()))
    learned = table["status"].values == "converged"
    data: dict[str, Any] = {
        "n_networks": ("cell", [int((cell == c).sum()) for c in order]),
        "n_learned": ("cell", [int(((cell == c) & learned).sum()) for c in order]),
    }
    columns = {name: table[name].values for name in LEVELS}
    columns["gap"] = columns["single_unit"] - columns["population"]
    # Two levels are judged in every cell, so twice as many intervals are looked at side by side.
    n_comparisons = len(LEVELS) * len(order)
    for name, values in columns.items():
        intervals = [mean_interval(values[cell == c], level=level, n_comparisons=n_comparisons) for c in order]
        for part in ("mean", "low", "high"):
            data[f"{name}_{part}"] = ("cell", [getattr(i, part) for i in intervals])
    return xr.Dataset(data, coords={"cell": order}, attrs={"level": level, "n_comparisons": n_comparisons})


def _numbers_of(network: TrainedNetwork, names: Sequence[str], run: Run) -> dict[str, float]:
    nothing = dict.fromkeys(names, float("nan"))
    path = f"results/{network.id}"
    if not network.learned or not run.store.path(f"{path}.nc").is_file():
        return nothing
    found = json.loads(run.store.load(path)["account"].attrs["numbers"])
    return {name: float(found.get(name, "nan")) for name in names}


def _groups(
    side: Population, results: Mapping[str, Result], reasons: Mapping[str, str], numbers: Mapping[str, float]
) -> dict[str, xr.Dataset]:
    psth = xr.Dataset({"mean": side.rates, "sem": side.standard_error, "n_trials": side.n_trials})
    groups = {"psth": psth.assign_attrs(side.rates.attrs, left_out=json.dumps(dict(side.left_out)))}
    groups |= {name: result.to_dataset() for name, result in results.items()}
    groups["account"] = _account(numbers, reasons)
    return groups


def _account(numbers: Mapping[str, float], reasons: Mapping[str, str]) -> xr.Dataset:
    return xr.Dataset(attrs={"numbers": json.dumps(dict(numbers)), "reasons": json.dumps(dict(reasons))})


def _example(network: TrainedNetwork) -> xr.Dataset:
    """One noise-free trial of every condition: what was asked for and what the network did."""
    trials, _, outputs, events_ms = run_trials(network.network, network.task, n_repeats=1, seed=0, noise=False)
    return xr.Dataset(
        {
            "outputs": (("condition", "time", "output"), outputs),
            "targets": (("condition", "time", "output"), np.asarray(trials.targets)),
            "inputs": (("condition", "time", "input"), np.asarray(trials.inputs)),
            **{f"{event}_ms": ("condition", times) for event, times in events_ms.items()},
        },
        coords={
            "time": ("time", trials.timeline.time_ms, {"units": "ms", "event": "trial_start"}),
            "output": list(trials.output_names),
            "input": list(trials.input_names),
            "direction_deg": ("condition", [float(row[0]) for row in trials.conditions.rows]),
        },
    )
