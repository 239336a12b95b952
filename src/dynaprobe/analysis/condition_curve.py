"""Dimensionality against the number of conditions: is it the population or the task that limits it?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynaprobe.analysis.dimensionality import (
    Halves,
    Moments,
    check_population,
    checked_half,
    covariance,
    signal_moments,
    unit_weights,
)
from dynaprobe.analysis.matrix import check_at_least, one_thread, psth_values
from dynaprobe.analysis.result import Result
from dynaprobe.core.errors import RatesError
from dynaprobe.core.random import generator


@dataclass(frozen=True)
class ConditionCurve(Result):
    """Participation ratio of subsets of the conditions.

    Variables of `data`; the dim ``n_conditions`` counts from the fewest that are possible to all, ``bound`` holds
    ``low`` and ``high``:
        participation_ratio ``(n_conditions,)``: mean over subsets of that size.
        spread ``(n_conditions, bound)``: smallest and largest over subsets.
        interval_units ``(n_conditions, bound)``: percentile interval of the mean over a bootstrap of the units.
        signal_participation_ratio ``(n_conditions,)``: the same without the estimation noise; with halves.
        complexity ``(n_conditions,)``: ceiling set by conditions and smoothness in time, mean over subsets.
        signal_complexity ``(n_conditions,)``: the same without the estimation noise; with halves.
        n_subsets ``(n_conditions,)``: subsets that were analysed.
    """


@one_thread
def condition_curve(
    rates: xr.DataArray,
    halves: Halves = (),
    *,
    subtract_mean: bool = True,
    n_subsets: int = 20,
    n_bootstrap: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> ConditionCurve:
    """Dimensionality of subsets of the conditions, with the ceiling of task and smoothness.

    For every subset of k conditions the participation ratio ``PR = (tr C)^2 / tr(C^2)`` of the units' covariance.
    Trajectories that were random but as smooth in time and as alike between conditions as the data would reach
    ``complexity = PR(S_time) PR(S_condition)``, the participation ratio of the separable covariance
    ``S_condition x S_time`` (S: covariances over times and over conditions, summed over the rest). Dimensionality
    near this ceiling says that the task was too small to show what the population can do; a curve that stays below
    and flattens says that the population is confined. Two conditions without their mean are one trajectory, which
    is always at its ceiling.

    With halves of the trials both are also given without the noise's share, as in `dimensionality`, with
    cross-covariances of the halves in place of the covariances; noise of one unit that is alike in neighbouring
    bins is left with a weight of one over the number of units.

    Args:
        rates: dims ``(condition, time, unit)``.
        halves: pairs of the same from halves of the trials, as in `dimensionality`.
        subtract_mean: remove the mean over the conditions of the subset at every time. Then k conditions have at
            most k - 1 dimensions at a time, and the curve starts at two conditions instead of one.
        n_subsets: subsets of each size, drawn at random where there are more.
        n_bootstrap: draws of units.
        level: confidence of the intervals.
        seed: of subsets and draws.

    Raises:
        RatesError: rates or halves outside the schema or of other shape, too few conditions or units, rates that
            do not vary in some subset, a level outside (0, 1).

    Source: Gao et al. (2017), bioRxiv 214262 (neuronal task complexity); Gao & Ganguli (2015), Curr Opin Neurobiol
    32:148. Estimating the separable covariance from the data themselves is our choice.
    """
    values = psth_values(rates)
    _check_request(values, subtract_mean, level)
    check_at_least("n_subsets", n_subsets, 1)
    check_at_least("n_bootstrap", n_bootstrap, 1)
    parts = [checked_half(half, values.shape, k) for k, pair in enumerate(halves) for half in pair]
    weights = unit_weights(values.shape[-1], n_bootstrap, seed)
    sizes = np.arange(1 + subtract_mean, values.shape[0] + 1)
    rows = [_row(values, parts, k, (subtract_mean, n_subsets, level, seed), weights) for k in sizes.tolist()]
    columns: dict[str, Any] = {
        name: (
            ("n_conditions", "bound") if np.ndim(rows[0][name]) else ("n_conditions",),
            [row[name] for row in rows],
        )
        for name in rows[0]
    }
    data = xr.Dataset(
        columns, coords={"n_conditions": sizes, "bound": ["low", "high"]}, attrs=dict(rates.attrs)
    ).assign(n_units=values.shape[-1])
    settings = {"subtract_mean": subtract_mean, "n_subsets": n_subsets, "n_bootstrap": n_bootstrap}
    return ConditionCurve(data, {**settings, "n_halvings": len(halves), "level": level, "seed": seed})


def _row(
    values: np.ndarray,
    parts: list[np.ndarray],
    k: int,
    options: tuple[bool, int, float, int],
    weights: np.ndarray,
) -> dict[str, Any]:
    """Everything about subsets of k conditions."""
    subtract_mean, n_subsets, level, seed = options
    ratios, resampled, complexity, signal, signal_complexity = [], [], [], [], []
    for subset in _subsets(values.shape[0], k, n_subsets, seed):
        chosen = _chosen(values, subset, subtract_mean)
        moments = Moments.of_covariance(covariance(chosen))
        ratios.append(moments.ratio)
        resampled.append(moments.resampled(weights))
        complexity.append(_complexity([(chosen, chosen)]))
        if parts:
            cut = [_chosen(part, subset, subtract_mean) for part in parts]
            signal.append(signal_moments(cut[::2], cut[1::2]).ratio)
            signal_complexity.append(_complexity(list(zip(cut[::2], cut[1::2], strict=True))))
    if not np.isfinite(ratios).all():
        raise RatesError(
            "rates",
            rule="vary in every subset of the conditions",
            received=f"subsets of {k} conditions without variance",
            remedy="Check for conditions that are copies of one another",
        )
    tail = (1 - level) / 2
    row = {
        "participation_ratio": np.mean(ratios),
        "spread": [min(ratios), max(ratios)],
        "interval_units": np.nanquantile(np.mean(resampled, axis=0), [tail, 1 - tail]).tolist(),
        "complexity": np.mean(complexity),
        "n_subsets": len(ratios),
    }
    for name, found in (("signal_participation_ratio", signal), ("signal_complexity", signal_complexity)):
        if found:
            row[name] = np.nanmean(found) if np.isfinite(found).any() else np.nan
    return row


def _subsets(n: int, k: int, n_subsets: int, seed: int) -> Iterator[tuple[int, ...]]:
    """All subsets of k conditions, or different random ones where there are more than asked for."""
    if comb(n, k) <= n_subsets:
        yield from combinations(range(n), k)
        return
    random = generator(seed, "analysis", "condition_curve", "subsets", k)
    seen: set[tuple[int, ...]] = set()
    while len(seen) < n_subsets:
        subset = tuple(sorted(random.permutation(n)[:k].tolist()))
        if subset not in seen:
            seen.add(subset)
            yield subset


def _chosen(values: np.ndarray, subset: tuple[int, ...], subtract_mean: bool) -> np.ndarray:
    chosen = values[list(subset)]
    return chosen - chosen.mean(axis=0) if subtract_mean else chosen


def _complexity(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Participation ratio of the separable covariance over conditions and times; NaN where noise leaves nothing.

    Args:
        pairs: two measurements ``(condition, time, unit)`` of the same, whose products are averaged over pairs.
    """
    product = 1.0
    for axis in (0, 1):
        S = np.mean([_along(a, axis) @ _along(b, axis).T for a, b in pairs], axis=0)
        trace, square = float(np.trace(S)), float((S * S.T).sum())
        product *= trace**2 / square if trace > 0 and square > 0 else np.nan
    return product


def _along(values: Float[np.ndarray, "condition time unit"], axis: int) -> Float[np.ndarray, "size rest"]:
    """One row per condition or per time, about the mean of every unit."""
    centred = values - values.mean(axis=(0, 1))
    flat: Float[np.ndarray, "size rest"] = np.moveaxis(centred, axis, 0).reshape(centred.shape[axis], -1)
    return flat


def _check_request(values: np.ndarray, subtract_mean: bool, level: float) -> None:
    least = 2 + subtract_mean
    if values.shape[0] < least:
        raise RatesError(
            "rates.condition",
            rule=f"have at least {least} entries",
            received=values.shape[0],
            remedy="A curve needs two sizes of subsets; give more conditions",
        )
    check_population(values, level)
