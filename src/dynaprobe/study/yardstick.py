"""The scale on which networks are placed: 0 for surrogates of recorded neurons, 1 for other recorded neurons.

The neurons of a recording are parted at random in two, again and again. One part plays the model, the other is
what it is compared with: so much alike are two samples of one population, and no network need be more. Surrogates
of the first part, which share its covariances over time, units and conditions but nothing else, give the floor. A
network is measured against the same neurons with as many units, so one scale serves every network and both levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from dynaprobe.analysis.cca import cca_similarity
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.surrogates import fit_tme
from dynaprobe.analysis.unit_match import unit_match
from dynaprobe.core.errors import DataError
from dynaprobe.core.random import generator
from dynaprobe.study.comparison import ComparisonSettings, Population, conditions_alike

LEVELS = ("single_unit", "population")
Halves = tuple[xr.DataArray, xr.DataArray]


@dataclass(frozen=True)
class Yardstick(Result):
    """Floor and ceiling of both levels; see the head of this file.

    Variables of `data`:
        floor ``(level, split)``: similarity of surrogates of one part of the neurons to the other part, mean over
            surrogates.
        ceiling ``(level, split)``: similarity of the one part itself to the other.
        model_units, target_units ``(split, side_unit)``: positions of the neurons of both parts.
    """


@dataclass(frozen=True)
class Placement(Result):
    """Where a network stands on the scale of a `Yardstick`.

    Variables of `data`:
        raw ``(level, split)``: similarity to the second part of the neurons, with as many units as the first part.
        similarity ``(level,)``: mean over splits of raw, on the scale from the mean floor (0) to the mean
            ceiling (1); NaN where the ceiling does not exceed the floor.
    """

    @cached_property
    def scores(self) -> dict[str, float]:
        """Similarity and mean raw similarity, by level."""
        numbers = {level: float(self.data["similarity"].sel(level=level)) for level in LEVELS}
        return numbers | {f"{level}_raw": float(self.data["raw"].sel(level=level).mean()) for level in LEVELS}


def yardstick(recording: Population, settings: ComparisonSettings, *, seed: int) -> Yardstick:
    """Make the scale from a recording.

    The first part is represented by one half of its trials, as networks are; the second part by both halves. Where
    neurons were recorded at the same time their shared noise can raise the ceiling a little; parts of a
    pseudo-population mostly come from different sessions.

    Args:
        recording: the recorded neurons.
        settings: resolved settings; ``n_splits`` partitions, ``n_floor`` surrogates over all of them.
        seed: of partitions and surrogates.

    Raises:
        DataError: when there are too few neurons to part.
    """
    check_enough_units(recording, settings)
    n_units = recording.rates.sizes["unit"]
    n_side = n_units // 2
    orders = [generator(seed, "yardstick", "units", k).permutation(n_units) for k in range(settings.n_splits)]
    parts = [(np.sort(order[:n_side]), np.sort(order[n_side : 2 * n_side])) for order in orders]
    # At least two surrogates per partition, so that the floor is a mean.
    n_draws = max(2, settings.n_floor // settings.n_splits)
    floor, ceiling = np.empty((2, 2, settings.n_splits))
    for k, (model_units, target_units) in enumerate(parts):
        model = conditions_alike(recording.halves[k][0].isel(unit=model_units))
        targets = _targets(recording, k, target_units)
        ceiling[:, k] = _similarities(model, targets, settings, seed)
        draws = fit_tme(model).draw(n_draws, seed=seed + k)
        found = [_similarities(draws.isel(draw=d, drop=True), targets, settings, seed) for d in range(n_draws)]
        floor[:, k] = np.mean(found, axis=0)
    data = xr.Dataset(
        {
            "floor": (("level", "split"), floor),
            "ceiling": (("level", "split"), ceiling),
            "model_units": (("split", "side_unit"), np.stack([part[0] for part in parts])),
            "target_units": (("split", "side_unit"), np.stack([part[1] for part in parts])),
        },
        coords={"level": list(LEVELS)},
    )
    return Yardstick(
        data, {"n_splits": settings.n_splits, "n_draws": n_draws, "n_pcs": settings.n_pcs, "seed": seed}
    )


def check_enough_units(recording: Population, settings: ComparisonSettings) -> None:
    """Refuse a recording whose neurons cannot be parted in two.

    Raises:
        DataError: when a part would have fewer neurons than a comparison has PCs.
    """
    n_units = recording.rates.sizes["unit"]
    if n_units // 2 < settings.n_pcs:
        raise DataError(
            "recording",
            rule=f"have at least {2 * settings.n_pcs} usable units, twice the PCs of a comparison",
            received=n_units,
            remedy="Pool more sessions, or lower n_pcs of the comparison",
        )


def place(
    network: Population, recording: Population, scale: Yardstick, settings: ComparisonSettings, *, seed: int
) -> Placement:
    """Put a network on the scale.

    Args:
        network: the network, rendered as a recording.
        recording: the recorded neurons the scale was made from.
        scale: the scale.
        settings: the settings it was made with.
        seed: of the choice of the network's units.
    """
    n_there, n_side = network.rates.sizes["unit"], scale.data.sizes["side_unit"]
    raw = np.empty((2, settings.n_splits))
    for k in range(settings.n_splits):
        units = generator(seed, "yardstick", "network", k).permutation(n_there)[:n_side]
        model = conditions_alike(network.halves[k][0].isel(unit=np.sort(units)))
        raw[:, k] = _similarities(
            model, _targets(recording, k, scale.data["target_units"].values[k]), settings, seed
        )
    low, high = (scale.data[name].mean("split").values for name in ("floor", "ceiling"))
    room = high - low
    similarity = np.where(room > 0, (raw.mean(axis=1) - low) / np.where(room > 0, room, 1.0), np.nan)
    cramped = [name for name, r in zip(LEVELS, room, strict=True) if r <= 0]
    failures = {f"no room between floor and ceiling for {name}": 1 for name in cramped}
    data = xr.Dataset(
        {"raw": (("level", "split"), raw), "similarity": ("level", similarity)}, coords={"level": list(LEVELS)}
    )
    return Placement(data, {**scale.settings, "n_units": min(n_there, n_side)}, failures)


def _targets(recording: Population, split: int, units: np.ndarray) -> Halves:
    first, second = (conditions_alike(half.isel(unit=units)) for half in recording.halves[split])
    return first, second


def _similarities(
    model: xr.DataArray, targets: Halves, settings: ComparisonSettings, seed: int
) -> tuple[float, float]:
    """Similarity unit by unit (median over units) and as populations (mean held-out canonical correlation)."""
    single = unit_match(model, [targets], seed=seed, n_floor=1).data["median"]
    return float(single), float(np.mean([_population_similarity(model, half, settings) for half in targets]))


def _population_similarity(model: xr.DataArray, target: xr.DataArray, settings: ComparisonSettings) -> float:
    n_components = min(settings.n_pcs, target.sizes["condition"] - 1)
    return float(cca_similarity(model, target, n_pcs=settings.n_pcs, n_components=n_components).data["score"])
