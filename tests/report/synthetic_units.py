"""Results of single units for made-up runs, from the real analyses."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from dynaprobe.analysis.direction_tuning import direction_tuning
from dynaprobe.analysis.feature_distance import feature_distance
from dynaprobe.analysis.latency import response_latency
from dynaprobe.analysis.match_distribution import match_distribution
from dynaprobe.analysis.motifs import label_distance
from dynaprobe.analysis.sparseness import sparseness
from dynaprobe.analysis.tuning_correlation import tuning_correlation
from dynaprobe.analysis.unit_features import SHAPE_FEATURES, unit_features
from dynaprobe.analysis.unit_match import UnitMatch, unit_match
from dynaprobe.core.rates import make_rates

Halves = list[tuple[xr.DataArray, xr.DataArray]]


def segment(rates: xr.DataArray, event: str, start_ms: float, stop_ms: float) -> xr.DataArray:
    """A window of one of the joined alignments."""
    inside = (
        (rates["segment"].values == event) & (rates["time"].values >= start_ms) & (rates["time"].values < stop_ms)
    )
    part = rates.isel(time=np.flatnonzero(inside)).drop_vars("segment")
    part["time"].attrs["event"] = event
    return part


def made_up_trials(rates: xr.DataArray, event: str, n_repeats: int = 4) -> xr.DataArray:
    """Noisy trials around the PSTHs of one alignment."""
    part = segment(rates, event, -1e9, 1e9)
    condition = np.repeat(np.arange(part.sizes["condition"]), n_repeats)
    noise = np.random.default_rng(5).normal(size=(condition.size, *part.shape[1:]))
    return make_rates(
        part.values[condition] + 3 * noise,
        dims=("trial", "time", "unit"),
        time_ms=part["time"].values,
        event=event,
        rate_unit="spikes/s",
        source="made up",
        coords={
            "condition": ("trial", condition),
            "direction_deg": ("trial", part["direction_deg"].values[condition]),
            "unit": part["unit"].values,
        },
    )


def unit_groups(rates: xr.DataArray, halves: Halves) -> dict[str, xr.Dataset]:
    """What is computed of the single units of one side."""
    target, move = ([made_up_trials(rates, event)] for event in ("target_on", "move_onset"))
    epochs = {
        name: [
            block.isel(time=np.flatnonzero((block["time"] >= start) & (block["time"] < stop))) for block in blocks
        ]
        for name, blocks, start, stop in (
            ("baseline", target, -100, 0),
            ("preparatory", target, 200, 500),
            ("movement", move, 0, 300),
        )
    }
    before = [tuple(segment(half, "target_on", 200, 500) for half in pair) for pair in halves]
    during = [tuple(segment(half, "move_onset", 0, 300) for half in pair) for pair in halves]
    few = {"seed": 0, "n_null": 19, "n_bootstrap": 10}
    windows = segment(rates, "target_on", 200, 500), segment(rates, "move_onset", 0, 300)
    results = {
        "direction_tuning": direction_tuning(epochs, seed=0, n_permutations=50),
        "tuning_correlation": tuning_correlation(before, during, **few),
        "latency_target": response_latency(target, search_ms=(0, 480), baseline_ms=(-100, 0), **few),
        "latency_move": response_latency(move, search_ms=(-140, 380), baseline_ms=(-200, -140), **few),
        "sparseness": sparseness(rates),
        "unit_features": unit_features(rates, *windows),
    }
    return {name: result.to_dataset() for name, result in results.items()}


def pair_groups(
    groups: Mapping[str, xr.Dataset],
    reference: Mapping[str, xr.Dataset],
    match: UnitMatch,
    sides: tuple[Halves, Halves],
) -> dict[str, xr.Dataset]:
    """What is computed of the single units of a network and a recording together."""
    theirs, ours = sides
    backward = unit_match(theirs[0][0], ours, seed=0, n_floor=4)
    a, b = groups["unit_features"], reference["unit_features"]
    results = {
        "motif_distance": label_distance(
            groups["gallery"]["label"], reference["gallery"]["label"], seed=0, n_null=50
        ),
        "class_distance": label_distance(
            groups["motifs"]["unit_class"], reference["motifs"]["unit_class"], seed=0, n_null=50
        ),
        "feature_distance": feature_distance(a, b, joint=SHAPE_FEATURES, seed=0, surrogates=[a, a], n_null=50),
        "match_distribution": match_distribution(match, backward),
    }
    return {name: result.to_dataset() for name, result in results.items()}
