"""Run the battery over the networks of a run, keep every result, and put the numbers side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import xarray as xr
from pydantic import Field

from dynaprobe.analysis.motifs import MotifGallery
from dynaprobe.analysis.result import Result
from dynaprobe.core.errors import DataError, RatesError
from dynaprobe.core.settings import Settings
from dynaprobe.recordings.session import Recording
from dynaprobe.study.comparison import (
    ComparisonSettings,
    Population,
    population,
    resolve,
    score,
    timing,
)
from dynaprobe.study.describe import ANALYSES, describe, headline
from dynaprobe.study.dynamics import fixed_points_of_trial
from dynaprobe.study.networks import TrainedNetwork, load_network
from dynaprobe.study.output_dims import null_potent_of_network
from dynaprobe.study.render import render, run_trials
from dynaprobe.study.side_by_side import work_apart
from dynaprobe.study.statistics import mean_interval
from dynaprobe.study.store_folder import ResultFolder
from dynaprobe.study.study import Run
from dynaprobe.study.unit_pairs import surrogate_features, unit_pairs
from dynaprobe.study.yardstick import LEVELS, Yardstick, check_enough_units, place, yardstick

# Cross-validation over conditions needs as many.
MIN_CONDITIONS = 3


class BatterySettings(Settings):
    """How networks are compared with a recording.

    Attributes:
        comparison: preprocessing and analyses.
        level: confidence of the intervals, over all cells and levels together.
        n_fixed_point_starts: starts of the search for fixed points, per input.
    """

    comparison: ComparisonSettings = ComparisonSettings()
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    n_fixed_point_starts: Annotated[int, Field(ge=1)] = 256


@dataclass(frozen=True)
class Reference:
    """What was computed of the recording.

    Attributes:
        results: by name.
        numbers: one number per question.
        scale: from surrogates of recorded neurons to other recorded neurons.
    """

    results: Mapping[str, Result]
    numbers: Mapping[str, float]
    scale: Yardstick

    @property
    def gallery(self) -> MotifGallery | None:
        """Clusters of the recorded PSTH shapes, into which network units are sorted."""
        return cast("MotifGallery | None", self.results.get("gallery"))


@dataclass(frozen=True)
class _Sides:
    """What every network of a run is compared with, how, and where results go."""

    recorded: Population
    reference: Reference
    settings: ComparisonSettings
    n_repeats: int
    n_starts: int
    changes: Mapping[str, Any]
    folder: Path
    seed: int


def compare(
    run: Run, networks: Sequence[TrainedNetwork], settings: BatterySettings, *, cells: Mapping[str, str]
) -> tuple[dict[str, xr.Dataset], dict[str, Any]]:
    """Analyse the recording and every network that learned its task, and put the numbers side by side.

    Args:
        run: the run; its recording is the other side.
        networks: all networks, those that did not learn included.
        settings: of the battery.
        cells: cell of the grid of every network, by id.

    Returns:
        The summary, which is also kept as ``results/summary``, and facts for the manifest: the settings with every
        window resolved, and the timing of the recording they follow.
    """
    facts = timing(run.recording)
    comparison = resolve(settings.comparison, facts)
    with run.timed("analysis of the recording"):
        recorded = population(run.recording, comparison, seed=run.seed)
        reference = analyse_recording(recorded, comparison, run)
    learned = [network for network in networks if network.learned]
    run.progress.say(f"{len(learned)} of {len(networks)} networks learned their task")
    changes = {"directions_deg": directions_deg(run.recording), "analysis_delay_ms": facts.delay_ms}
    sides = _Sides(
        recorded,
        reference,
        comparison,
        n_repeats=facts.n_repeats,
        n_starts=settings.n_fixed_point_starts,
        changes=changes,
        folder=run.store.folder,
        seed=run.seed,
    )
    missing = [network.id for network in learned if not run.store.has(f"results/{network.id}")]
    n_before = len(learned) - len(missing)
    with run.timed("analysis of networks"), run.progress.step("Analyse networks", len(learned)) as step:
        step.update(n_before)
        work_apart(
            partial(_analyse, sides),
            missing,
            n_processes=run.n_processes,
            on_done=lambda done, name: step.update(n_before + done, name),
        )
    summary = summarise(networks, cells, reference, run, level=settings.level)
    run.store.save("results/summary", summary)
    resolved = {"resolved_comparison": comparison.model_dump(mode="json"), "timing_facts": vars(facts)}
    return summary, resolved


def check_recording(settings: BatterySettings, recording: Recording) -> None:
    """Refuse a recording that networks cannot be compared with, before any of them is trained.

    Raises:
        DataError: conditions other than directions, too few of them, a missing event, a delay without room for the
            windows, no unit with enough trials, or silence.
    """
    directions_deg(recording)
    n_conditions = len(recording.conditions)
    if n_conditions < MIN_CONDITIONS:
        raise DataError(
            "recording",
            rule=f"have at least {MIN_CONDITIONS} directions, as cross-validation over them needs",
            received=n_conditions,
            remedy="Bring a recording with more directions, or check --map direction=COLUMN",
            where=recording.source,
        )
    resolved = resolve(settings.comparison, timing(recording))
    recorded = population(recording, resolved.with_changes({"n_splits": 1}), seed=0)
    if not (recorded.rates > 0).any():
        raise DataError(
            "recording",
            rule="have spikes about target onset or movement onset",
            received="silence in every window",
            remedy="Check that spikes and events are on one clock",
            where=recording.source,
        )
    check_enough_units(recorded, settings.comparison)


def directions_deg(recording: Recording) -> tuple[float, ...]:
    """The directions of the reach in a recording.

    Raises:
        DataError: when its conditions are something else, or more than that.
    """
    table = recording.conditions
    if table.columns != ("direction_deg",):
        raise DataError(
            "conditions",
            rule="be directions of the reach alone",
            received=f"the task variables {', '.join(table.columns)}",
            remedy="Name the direction's column with --map direction=COLUMN, and no other condition columns",
            where=recording.source,
        )
    return tuple(float(row[0]) for row in table.rows)


def analyse_recording(recorded: Population, settings: ComparisonSettings, run: Run) -> Reference:
    """Describe the recording and keep the results."""
    with run.progress.step("Analyse the recording", len(ANALYSES)) as step:
        results, reasons = describe(recorded, settings, seed=run.seed, step=step)
    if "unit_features" in results:
        results["surrogate_features"] = surrogate_features(recorded, settings, seed=run.seed)
    scale = yardstick(recorded, settings, seed=run.seed)
    results["yardstick"] = scale
    # On its own scale a recording stands at 1; its raw numbers are what other neurons of it reach.
    own = {f"{level}_raw": float(scale.data["ceiling"].sel(level=level).mean()) for level in LEVELS}
    numbers = headline(results) | dict.fromkeys(LEVELS, 1.0) | own
    run.store.save("results/recording", groups_of(recorded, results, reasons, numbers))
    return Reference(results, numbers, scale)


def _analyse(sides: _Sides, name: str) -> None:
    store = ResultFolder(sides.folder)
    trained = load_network(store.path("networks", f"{name}.nc"))
    task = trained.task.with_changes(sides.changes, where="the recording")
    _analyse_network(replace(trained, task=task), sides, store)


def _analyse_network(network: TrainedNetwork, sides: _Sides, store: ResultFolder) -> None:
    """Describe and score one network, and keep the results."""
    name = f"results/{network.id}"
    recorded, settings = sides.recorded, sides.settings
    try:
        rendered = render(
            network.network,
            network.task,
            like=recorded.rates,
            n_repeats=sides.n_repeats,
            n_units=recorded.rates.sizes["unit"],
            after_onset_ms=settings.move_window_ms[1],
            seed=sides.seed,
            name=network.id,
        )
        side = population(rendered, settings, seed=sides.seed)
    except DataError as error:
        # A network that hardly moves in some direction cannot be aligned to its movement; that is a finding.
        store.save(name, {"account": _account({}, {"all": str(error)})})
        return
    results, reasons = describe(side, settings, seed=sides.seed, gallery=sides.reference.gallery)
    results |= score(side, recorded, settings, seed=sides.seed)
    pairs, without = unit_pairs(side, recorded, results, sides.reference.results, settings, seed=sides.seed)
    results |= pairs
    reasons |= without
    results["placement"] = place(side, recorded, sides.reference.scale, settings, seed=sides.seed)
    points = fixed_points_of_trial(network.network, network.task, n_starts=sides.n_starts, seed=sides.seed)
    results["fixed_points"] = points
    try:
        results["null_potent"] = null_potent_of_network(network.network, network.task, settings, seed=sides.seed)
    except (DataError, RatesError) as error:
        reasons["null_potent"] = str(error)
    groups = groups_of(side, results, reasons, headline(results))
    groups["example"] = _example(network)
    store.save(name, groups)


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
            "activation": ("network", np.array([n.network.activation_name for n in networks])),
            "seed": ("network", np.array([n.labels["seed"] for n in networks])),
            "penalty_rate": ("network", np.array([n.labels.get("penalty_rate", np.nan) for n in networks])),
        },
    )
    recording = xr.Dataset({name: float(value) for name, value in reference.numbers.items()})
    return {"networks": table, "recording": recording, "cells": _cells(table, level)}


def _cells(table: xr.Dataset, level: float) -> xr.Dataset:
    cell = table["cell"].values
    order = list(dict.fromkeys(cell.tolist()))
    learned = table["status"].values == "converged"
    # A network that learned but cannot be aligned to its movement has no numbers.
    compared = np.isfinite(table[LEVELS[0]].values)
    data: dict[str, Any] = {
        "n_networks": ("cell", [int((cell == c).sum()) for c in order]),
        "n_learned": ("cell", [int(((cell == c) & learned).sum()) for c in order]),
        "n_compared": ("cell", [int(((cell == c) & compared).sum()) for c in order]),
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
    found = json.loads(run.store.load(path, only=["account"])["account"].attrs["numbers"])
    return {name: float(found.get(name, "nan")) for name in names}


def groups_of(
    side: Population, results: Mapping[str, Result], reasons: Mapping[str, str], numbers: Mapping[str, float]
) -> dict[str, xr.Dataset]:
    """What the file of one population holds: PSTHs, every result, and an account of numbers and reasons."""
    psth = xr.Dataset({"mean": side.rates, "sem": side.standard_error, "n_trials": side.n_trials})
    # Of averages without trials neither is known.
    psth = psth.drop_vars([name for name in ("sem", "n_trials") if psth[name].isnull().all()])
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
