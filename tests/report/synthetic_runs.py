"""Run folders for tests of the report: made-up rates through the real analyses, written as a study writes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr
from synthetic_probes import add_probes
from synthetic_units import pair_groups, unit_groups

from dynaprobe.analysis.alignment import alignment
from dynaprobe.analysis.cca import cca_with_bounds
from dynaprobe.analysis.condition_curve import condition_curve
from dynaprobe.analysis.condition_independent import condition_independent_fraction
from dynaprobe.analysis.dimensionality import dimensionality
from dynaprobe.analysis.divergence import divergence
from dynaprobe.analysis.epoch_subspaces import epoch_subspaces
from dynaprobe.analysis.fixed_point_record import FixedPoints, Table, successors, to_dataset
from dynaprobe.analysis.fixed_point_search.root_steps import Outcome
from dynaprobe.analysis.jpca import jpca
from dynaprobe.analysis.jpca_surrogates import jpca_surrogates
from dynaprobe.analysis.motifs import assign_motifs, motif_gallery
from dynaprobe.analysis.null_potent import null_potent
from dynaprobe.analysis.pca import pca
from dynaprobe.analysis.tangling import tangling
from dynaprobe.analysis.unit_classes import psth_classes
from dynaprobe.analysis.unit_match import unit_match
from dynaprobe.core.preprocess import concatenate_segments, soft_normalise
from dynaprobe.core.rates import make_rates
from dynaprobe.study.records import Claim, Verdict
from dynaprobe.study.statistics import mean_interval
from dynaprobe.study.store import RunStore, write_json
from dynaprobe.tasks.reach import DelayedReach

MEASURES = [
    "score",
    "r2_velocity",
    "r2_position",
    "single_unit",
    "population",
    "single_unit_raw",
    "population_raw",
    "single_unit_p",
    "population_p",
    "alignment_index",
    "alignment_chance",
    "alignment_p",
    "jpca_r2_skew",
    "jpca_r2_m",
    "jpca_ratio",
    "jpca_hz",
    "n_pcs_90",
    "participation_ratio",
    "condition_independent_fraction",
    "n_fixed_points",
]


@dataclass(frozen=True)
class RunShape:
    """What kind of run to make up."""

    activations: tuple[str, ...] = ("tanh", "relu")
    penalties: tuple[float, ...] = (0.0, 0.01)
    n_seeds: int = 2
    n_directions: int = 8
    n_failed: int = 1
    without_results: int = 0
    left_out_groups: tuple[str, ...] = field(default=())
    with_probes: bool = False


def made_up_rates(seed: int, *, n_directions: int, n_units: int = 20, source: str = "made up") -> xr.DataArray:
    """Preparatory tuning that turns into a rotation, on top of a common time course; two segments."""
    rng = np.random.default_rng(seed)
    theta = np.arange(n_directions) * 2 * np.pi / n_directions
    plan = np.stack([np.cos(theta), np.sin(theta)], axis=1)
    weights = rng.normal(size=(5, n_units))
    parts = []
    for event, start, stop in (("target_on", -100, 500), ("move_onset", -200, 400)):
        time_ms = np.arange(start, stop, 20.0)
        rise = 1 / (1 + np.exp(-(time_ms - 120) / 40)) if event == "target_on" else np.ones(time_ms.size)
        moving = np.exp(-((time_ms - 80) ** 2) / (2 * 120**2)) if event == "move_onset" else np.zeros(time_ms.size)
        phase = 2 * np.pi * 1.5e-3 * time_ms
        prep = plan[:, None, :] * (rise * (1 - moving))[None, :, None]
        turn = np.stack(
            [np.cos(theta[:, None] + phase) * moving, np.sin(theta[:, None] + phase) * moving], axis=-1
        )
        common = np.broadcast_to(moving[None, :, None], (n_directions, time_ms.size, 1))
        latent = np.concatenate([prep, turn, common], axis=-1)
        values = 20 + 6 * latent @ weights + 0.6 * rng.normal(size=(n_directions, time_ms.size, n_units))
        coords = {
            "condition": [f"direction_deg={360.0 / n_directions * k:g}" for k in range(n_directions)],
            "direction_deg": ("condition", 360.0 / n_directions * np.arange(n_directions)),
            "unit": [f"u{k}" for k in range(n_units)],
        }
        parts.append(
            make_rates(
                np.maximum(values, 0.1),
                dims=("condition", "time", "unit"),
                time_ms=time_ms,
                event=event,
                rate_unit="spikes/s",
                source=source,
                coords=coords,
            )
        )
    return concatenate_segments(parts)


def side_groups(rates: xr.DataArray, sem: float = 0.8) -> dict[str, xr.Dataset]:
    """The groups that recording and networks share."""
    normalised = soft_normalise(rates, constant=5.0)
    prep, move = _parts(normalised)
    psth = xr.Dataset(
        {
            "mean": rates,
            "sem": xr.full_like(rates, sem),
            "n_trials": (("condition", "unit"), np.full((rates.sizes["condition"], rates.sizes["unit"]), 12)),
        }
    )
    return {
        "psth": psth,
        "pca": pca(normalised, min(20, rates.sizes["unit"])).to_dataset(),
        "condition_independent": condition_independent_fraction(
            normalised, standard_error=0.02 * xr.ones_like(normalised), n_null=20
        ).to_dataset(),
        "jpca": jpca(rates, n_pcs=4).to_dataset(),
        "alignment": alignment(prep, move, n_chance=200).to_dataset(),
        "motifs": psth_classes(prep, move).to_dataset(),
        "dimensionality": dimensionality(normalised, [(normalised, normalised)], n_bootstrap=20).to_dataset(),
        "condition_curve": condition_curve(normalised, n_subsets=3, n_bootstrap=20).to_dataset(),
        "jpca_surrogates": jpca_surrogates(rates, jpca(rates, n_pcs=4), n_surrogates=4).to_dataset(),
        "tangling": tangling(move, n_surrogates=4).to_dataset(),
        "divergence": divergence(move, n_surrogates=4).to_dataset(),
        "epoch_subspaces": epoch_subspaces(
            prep, move, [((prep, move), (prep, move))], max_dims=2, leak=0.5, n_surrogates=3
        ).to_dataset(),
    }


def _parts(rates: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """The rates around target onset and around movement onset."""
    parts = []
    for name in ("target_on", "move_onset"):
        part = rates.isel(time=np.flatnonzero(rates["segment"].values == name)).drop_vars("segment")
        part["time"].attrs["event"] = name
        parts.append(part)
    return parts[0], parts[1]


def _noisy_halves(rates: xr.DataArray, seed: int) -> list[tuple[xr.DataArray, xr.DataArray]]:
    rng = np.random.default_rng(seed)
    halves = [rates + 1.5 * rng.normal(size=rates.shape) for _ in range(2)]
    for half in halves:
        half.attrs = dict(rates.attrs)
    return [(halves[0], halves[1])]


def made_up_points(seed: int, n_units: int = 12) -> FixedPoints:
    """One stable point per input, led on to the next, and beside the second input a saddle and a slow point."""
    rng = np.random.default_rng(seed)
    labels = ["hold", "target + hold", "target"]
    tables = []
    for k in range(len(labels)):
        n_points = 3 if k == 1 else 1
        growth = -0.02 * (0.2 + rng.random((n_points, n_units)))
        growth[1:, 0] = 0.004
        turn = np.zeros((n_points, n_units))
        turn[:, 2], turn[:, 3] = 0.01, -0.01
        tables.append(
            Table(
                x=rng.normal(size=(n_points, n_units)) + 2 * k,
                q=np.where(np.arange(n_points) == 2, 1e-6, 1e-24),
                is_slow=np.arange(n_points) == 2,
                eigenvalues=growth + 1j * turn,
                is_smooth=np.ones(n_points, dtype=bool),
                n_starts=np.array([20, 3, 1])[:n_points],
                member=np.zeros(24 + (0 if k == 0 else len(tables[-1].x)), dtype=int),
                outcome=np.full(24 + (0 if k == 0 else len(tables[-1].x)), int(Outcome.FIXED)),
            )
        )
    data = to_dataset(
        tables, rng.normal(size=(24, n_units)), np.eye(3), labels, kind="vector_field", tol_marginal=1e-6
    )
    data["successor"] = ("point", successors(tables, 24))
    return FixedPoints(data, {"tol_fixed": 1e-20}, {"start that left the region": 2})


def made_up_example(n_directions: int) -> xr.Dataset:
    """A trial per condition of the real task; the network undershoots."""
    task = DelayedReach(directions_deg=tuple(360.0 / n_directions * k for k in range(n_directions)))
    trials = task.condition_trials()
    targets = np.asarray(trials.targets, dtype=np.float64)
    events = {
        f"{name}_ms": ("condition", np.asarray(times, dtype=np.float64))
        for name, times in trials.events_ms.items()
    }
    return xr.Dataset(
        {
            "outputs": (("condition", "time", "output"), 0.9 * targets),
            "targets": (("condition", "time", "output"), targets),
            **events,
        },
        coords={
            "time": ("time", trials.timeline.time_ms, {"units": "ms", "event": "trial_start"}),
            "output": list(trials.output_names),
            "direction_deg": ("condition", [float(row[0]) for row in trials.conditions.rows]),
        },
    )


def make_run(folder: Path, shape: RunShape = RunShape()) -> RunStore:
    """A finished run of the given shape."""
    store = RunStore(folder)
    store.start(
        {"network": {"n_units": 100, "activation": "tanh"}, "fit": {"n_updates": 60, "learned_score": 0.9}},
        study="kao2019",
        seed=0,
        resume=False,
        preset="smoke",
    )
    recording = made_up_rates(1, n_directions=shape.n_directions, source="recording")
    halves = _noisy_halves(recording, 2)
    gallery = motif_gallery(recording, 4, seed=0)
    known = {**side_groups(recording), **unit_groups(recording, halves), "gallery": gallery.to_dataset()}
    store.save("results/recording", _kept(known, shape))
    rows = []
    for activation in shape.activations:
        for penalty in shape.penalties:
            for seed in range(shape.n_seeds):
                rows.append(
                    (
                        f"{activation}-{penalty:g}-s{seed}",
                        f"{activation}, penalty_rate {penalty:g}",
                        activation,
                        penalty,
                        seed,
                    )
                )
    learned = [k >= shape.n_failed for k in range(len(rows))]
    table = {name: np.full(len(rows), np.nan) for name in MEASURES}
    for k, row in enumerate(rows):
        _write_history(store, row[0], learned=learned[k], seed=k)
        if not learned[k]:
            table["score"][k] = 0.3
            continue
        model = made_up_rates(10 + k, n_directions=shape.n_directions, n_units=16, source=row[0])
        match = unit_match(model, halves, seed=0, n_floor=4)
        agreement = cca_with_bounds(model, recording, halves_b=halves, seed=0, n_floor=4, n_pcs=4)
        groups = {**side_groups(model), "unit_match": match.to_dataset(), "cca": agreement.to_dataset()}
        groups |= unit_groups(model, _noisy_halves(model, 3))
        groups["fixed_points"] = made_up_points(k).to_dataset()
        prep, move = (part.isel(time=slice(0, 20)) for part in _parts(model))
        readout = np.random.default_rng(k).normal(size=(2, model.sizes["unit"]))
        groups["null_potent"] = null_potent(prep, move, readout=readout, n_null=50).to_dataset()
        groups["example"] = made_up_example(shape.n_directions)
        groups["gallery"] = assign_motifs(gallery, model).to_dataset()
        groups |= pair_groups(groups, known, match, (halves, _noisy_halves(model, 3)))
        if k - shape.n_failed >= shape.without_results:
            store.save(f"results/{row[0]}", _kept(groups, shape))
        table["score"][k] = 0.95
        table["single_unit"][k] = float(match.data["normalised"])
        table["population"][k] = float(agreement.data["normalised"])
        table["jpca_hz"][k] = float(groups["jpca"]["frequency_hz"][0])
        table["n_pcs_90"][k] = float(groups["pca"]["n_for_threshold"])
    store.save("results/summary", _summary(rows, learned, table))
    if shape.with_probes:
        add_probes(store, made_up_points(0).to_dataset())
    _write_claims(store)
    n_learned = sum(learned)
    store.finish(**_facts(len(rows), n_learned))
    return store


def _kept(groups: dict[str, xr.Dataset], shape: RunShape) -> dict[str, xr.Dataset]:
    return {name: data for name, data in groups.items() if name not in shape.left_out_groups}


def _write_history(store: RunStore, name: str, *, learned: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    at = np.arange(1, 61)
    loss = (0.02 + 0.3 * np.exp(-at / (10 if learned else 60))) * np.exp(0.05 * rng.normal(size=at.size))
    score = 1 - (0.05 if learned else 0.6) - 1.2 * np.exp(-at / 8)
    score[np.arange(at.size) % 10 != 9] = np.nan
    history = xr.Dataset(
        {
            "loss": ("update", loss),
            "validation_loss": ("update", loss * 1.1),
            "validation_score": ("update", score),
        }
    )
    attrs = {"settings": "{}", "status": "converged" if learned else "below_threshold"}
    store.save(
        f"networks/{name}",
        {"network": xr.Dataset({"w_rec": (("post", "pre"), np.eye(2))}, attrs=attrs), "history": history},
    )


def _summary(rows: list[tuple], learned: list[bool], table: dict[str, np.ndarray]) -> dict[str, xr.Dataset]:
    columns = list(zip(*rows, strict=True))
    names = ("id", "cell", "activation", "penalty_rate", "seed")
    networks = xr.Dataset(
        {name: ("network", values) for name, values in table.items()}
        | {
            "status": ("network", ["converged" if ok else "below_threshold" for ok in learned]),
            "reason": ("network", ["" if ok else "score 0.300 after 60 updates is below 0.9" for ok in learned]),
        },
        coords={name: ("network", list(values)) for name, values in zip(names, columns, strict=True)},
    )
    cells = list(dict.fromkeys(columns[1]))
    parts: dict[str, list[float]] = {}
    ok = np.array(learned)
    for name in cells:
        members = np.array(columns[1]) == name
        parts.setdefault("n_networks", []).append(int(members.sum()))
        parts.setdefault("n_learned", []).append(int((members & ok).sum()))
        gap = table["single_unit"] - table["population"]
        for measure, values in (
            ("single_unit", table["single_unit"]),
            ("population", table["population"]),
            ("gap", gap),
        ):
            interval = mean_interval(values[members])
            for part in ("mean", "low", "high"):
                parts.setdefault(f"{measure}_{part}", []).append(getattr(interval, part))
    settings = xr.Dataset({name: ("cell", values) for name, values in parts.items()}, coords={"cell": cells})
    recording = xr.Dataset({"n_pcs_90": 5.0, "jpca_hz": 1.5, "jpca_r2_skew": 0.6, "alignment_index": 0.31})
    return {"networks": networks, "recording": recording, "cells": settings}


def _write_claims(store: RunStore) -> None:
    claims = [
        Verdict(
            Claim(
                "1",
                "Reproducing single units need not reproduce the population.",
                "supported when in one setting the interval of the gap lies above 0.1",
                "Kao 2019, abstract",
            ),
            "undecided",
            "The gap is 0.05 [-0.10, 0.20] <over> 4 networks.",
            {"gap": 0.05, "low": -0.1, "high": 0.2, "n": 4},
        ),
        Verdict(
            Claim(
                "2",
                "Networks alike at both levels may work differently.",
                "needs both probes",
                "Kao 2019, abstract",
            ),
            "not tested",
            "This run does not measure mechanisms.",
            {},
        ),
    ]
    write_json(store.path("claims.json"), [verdict.as_dict() for verdict in claims])


def _facts(n_networks: int, n_learned: int) -> dict:
    return {
        "title": "Considerations in using recurrent neural networks to probe neural dynamics",
        "citation": "Kao (2019) J Neurophysiol 122:2504, doi:10.1152/jn.00467.2018",
        "recording": {
            "kind": "simulated",
            "source": "teacher network",
            "n_sessions": 1,
            "n_units": 24,
            "left_out": {"unit with fewer than 5 trials in a condition": 3},
        },
        "counts": {
            "networks": n_networks,
            "learned": n_learned,
            "below_threshold": n_networks - n_learned,
            "diverged": 0,
        },
        "timing_s": {"training": 12.5, "analysis": 3.25},
        "choices": ["Our choice: the bar of 0.5."],
        "methods": [
            "jPCA: Churchland et al. (2012), Nature 487:51.",
            "Alignment: Elsayed et al. (2016), doi:10.1038/ncomms13239.",
        ],
    }
