"""The study from end to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from dynaprobe.recordings.session import Recording
from dynaprobe.studies.kao2019.cells import CONTROL, FORCED, jobs_of
from dynaprobe.studies.kao2019.generalisation import MEASURES, REPORTED, TOO_SHORT, claim_4
from dynaprobe.studies.kao2019.mechanisms import by_mechanism, claim_2, confusion
from dynaprobe.studies.kao2019.robustness import EPOCHS, claim_3
from dynaprobe.studies.kao2019.settings import PRESETS, Kao2019Settings
from dynaprobe.studies.kao2019.similarity import claim_1
from dynaprobe.studies.kao2019.texts import CHOICES, CLAIMS, METHODS
from dynaprobe.study.association import Association
from dynaprobe.study.battery import check_recording, compare, directions_deg
from dynaprobe.study.comparison import timing
from dynaprobe.study.jobs import JobSettings, train
from dynaprobe.study.networks import TrainedNetwork
from dynaprobe.study.probe_battery import probe_all
from dynaprobe.study.records import Verdict
from dynaprobe.study.study import Run, Study
from dynaprobe.study.sweep import Job

# Labels that say on which task a network was trained, and not how.
_OF_TASK = ("visibility", "delay_law")
# What the summary says of controls, which are not compared with the recording.
_OF_CONTROLS = ("cell", "activation", "penalty_rate", "visibility", "seed", "status", "score", "mechanism")
_SUMMARISED = (
    "single_unit", "population", "mechanism_index", "suffices", "decides", "decides_shown", "clean_error",
    *(f"excess_error_{epoch}" for epoch in EPOCHS), *REPORTED, TOO_SHORT,
    "reaction_early_ms", "visited_early", "gain_near", "gain_far", "pulse_half_life_ms", "horizon_go_ms",
)  # fmt: skip


def check(settings: Kao2019Settings, recording: Recording) -> None:
    """Refuse a recording that the battery cannot use, before anything is trained."""
    check_recording(settings.battery, recording)


def run(run: Run) -> tuple[list[Verdict], dict[str, Any]]:
    """Train the grid, analyse both sides alike, probe every network, and decide on the claims."""
    settings: Kao2019Settings = run.settings
    degrees = directions_deg(run.recording)
    task = settings.task.with_changes({"directions_deg": degrees}, where="the recording")
    jobs = jobs_of(settings, task, seed=run.seed)
    with run.timed("training"):
        networks = train(jobs, run.store, progress=run.progress)
    # Controls have nothing to prepare, and so nothing to compare with a recording.
    compared = [n for n, job in zip(networks, jobs, strict=True) if job.labels["visibility"] != CONTROL]
    summary, facts = compare(run, compared, settings.battery, cells={job.id: job.cell for job in jobs})
    changes = {"directions_deg": degrees, "analysis_delay_ms": timing(run.recording).delay_ms}
    probed = probe_all(run, networks, settings.probes, changes=changes)
    table = mechanism_table(jobs, networks, probed, summary["networks"])
    summary |= {"controls": table[list(_OF_CONTROLS)].isel(network=is_control(table))}
    run.store.save("results/summary", summary)
    verdicts, groups = judge(table, summary["cells"], settings, seed=run.seed)
    run.store.save("results/mechanisms", groups)
    return verdicts, facts


def judge(
    table: xr.Dataset, cells: xr.Dataset, settings: Kao2019Settings, *, seed: int
) -> tuple[list[Verdict], dict[str, xr.Dataset]]:
    """Decide on every claim.

    Args:
        table: as `mechanism_table` gives it.
        cells: similarity by cell, from the summary of the battery.
        settings: hold the bars.
        seed: of the permutations.

    Returns:
        The verdicts, and what they rest on: groups ``networks``, ``confusion``, ``associations``,
        ``by_mechanism``.
    """
    own = table.isel(network=~is_control(table))
    third, noise = claim_3(own, seed=seed)
    fourth, other = claim_4(own, follows=settings.follows, seed=seed)
    verdicts = [claim_1(cells, settings.reproduces), claim_2(own, settings.reproduces), third, fourth]
    columns = {EPOCHS[epoch]: (f"excess_error_{epoch}", -1) for epoch in EPOCHS} | MEASURES
    found = {(EPOCHS[epoch], kind): value for (epoch, kind), value in noise.items()} | other
    groups = {
        "networks": table,
        "confusion": confusion(table),
        "associations": _associations(found, columns),
        "by_mechanism": by_mechanism(own, [name for name in _SUMMARISED if name in own]),
    }
    return verdicts, groups


def is_control(table: xr.Dataset) -> np.ndarray:
    """Networks that never see their target before the go cue: they check the probes and take part in no claim."""
    return np.asarray(table["visibility"].values.astype(str) == CONTROL)


def mechanism_table(
    jobs: Sequence[Job[JobSettings]],
    networks: Sequence[TrainedNetwork],
    probed: xr.Dataset,
    summary: xr.Dataset,
) -> xr.Dataset:
    """What the probes found beside where each network stands in the grid and how similar it is to the recording.

    Args:
        jobs, networks: in the same order.
        probed: as `dynaprobe.study.probe_numbers.probe_numbers` gives it, in this order.
        summary: networks of the battery's summary; holds those that were compared.

    Returns:
        `probed` with ``cell``, ``stratum`` (the labels of training, task aside), ``activation``, ``penalty_rate``,
        ``visibility``, ``delay_law``, ``seed``, ``forced`` (the mechanism a task leaves no choice in, or ``""``),
        ``status``, ``score``, ``single_unit`` and ``population``.
    """
    known = {str(name): k for k, name in enumerate(summary["id"].values)}
    columns: dict[str, list[Any]] = {
        "cell": [job.cell for job in jobs],
        "stratum": [_stratum(job) for job in jobs],
        "activation": [job.settings.network.activation for job in jobs],
        "penalty_rate": [job.settings.fit.penalty_rate for job in jobs],
        "visibility": [str(job.labels["visibility"]) for job in jobs],
        "delay_law": [str(job.labels.get("delay_law", "as set")) for job in jobs],
        "seed": [job.seed for job in jobs],
        "forced": [FORCED.get(str(job.labels["visibility"]), "") for job in jobs],
        "status": [network.status for network in networks],
        "score": [float(network.scores.get("score", np.nan)) for network in networks],
    }
    for level in ("single_unit", "population"):
        values = summary[level].values
        columns[level] = [float(values[known[n.id]]) if n.id in known else np.nan for n in networks]
    return probed.assign({name: ("network", np.array(values)) for name, values in columns.items()})


def _stratum(job: Job[JobSettings]) -> str:
    return Job(job.settings, job.seed, {k: v for k, v in job.labels.items() if k not in _OF_TASK}).cell


def _associations(
    found: Mapping[tuple[str, str], Association], columns: Mapping[str, tuple[str, int]]
) -> xr.Dataset:
    rows = list(found.items())
    numbers = {part: np.array([getattr(value, part) for _, value in rows]) for part in Association._fields}
    texts = {
        "name": [name for (name, _), _ in rows],
        "strata": [kind for (_, kind), _ in rows],
        "x": ["mechanism_index"] * len(rows),
        "y": [columns[name][0] for (name, _), _ in rows],
    }
    signs = np.array([columns[name][1] for (name, _), _ in rows])
    return xr.Dataset(
        {name: ("row", values) for name, values in (numbers | {"sign": signs}).items()}
        | {name: ("row", np.array(values)) for name, values in texts.items()}
    )


STUDY = Study(
    name="kao2019",
    title="Considerations in using recurrent neural networks to probe neural dynamics",
    citation="Kao JC (2019) J Neurophysiol 122:2504-2521, doi:10.1152/jn.00467.2018",
    methods=METHODS,
    claims=CLAIMS,
    settings=Kao2019Settings,
    presets=PRESETS,
    check=check,
    run=run,
    choices=CHOICES,
)
