"""Canonical correlation of two populations, found on one half of the trials and judged on the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynaprobe.analysis.cca import canonical_directions, whiten_rows
from dynaprobe.analysis.matrix import centred_values, check_at_least, check_matched, one_thread
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.surrogates import fit_tme, normalised_score, p_value_above
from dynaprobe.core.errors import RatesError, SettingsError
from dynaprobe.core.random import generator

Halves = Sequence[tuple[xr.DataArray, xr.DataArray]]
ValuePair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class CcaOverTrials(Result):
    """Canonical correlations on trials that had no part in finding the directions.

    Variables of `data`:
        correlation (component): mean over splits and over which half finds and which judges.
        correlation_in_sample (component): on the half that finds.
        score, score_split (split), score_sd: mean of `correlation` over components, the same in every split, and
            the standard deviation over splits.
        floor (draw): score of surrogates of a, each in one split.
        ceiling (split): score of the units chosen of b with as many others of b.
        p_value: of `score` against the floor, ``(k + 1) / (n + 1)``.
        normalised: ``(score - mean floor) / (mean ceiling - mean floor)``; NaN without room.
    """


@one_thread
def cca_over_trials(
    halves_a: Halves,
    halves_b: Halves,
    *,
    seed: int,
    n_pcs: int = 6,
    n_components: int | None = None,
    n_floor: int = 100,
) -> CcaOverTrials:
    """Canonical correlations cross-validated over trials.

    Directions are found as in `dynaprobe.analysis.cca.cca_similarity`, with the mean over conditions removed, on
    the PSTHs over one half of the trials of either side; those over the other halves, about their own mean over
    conditions, are projected on them: ``sum x y / sqrt(sum x^2 sum y^2)``. Then the halves change roles. This asks
    whether directions survive the noise of trials; conditions are the same in both halves, so a fit to what two
    populations share by chance in just these conditions survives as well. That is what
    `dynaprobe.analysis.cca.cca_similarity` leaves out and what the floor holds against it: tensor maximum entropy
    surrogates s of the mean m of both halves of a, with the noise of a put back as ``s + (a_1 - m)`` and
    ``s + (a_2 - m)``. In every split as many units of a, of b and others of b are chosen, as many as a has or half
    as many as b has, so that score, floor and ceiling rest on equal numbers.

    Args:
        halves_a, halves_b: pairs of PSTHs ``(condition, time, unit)`` over disjoint halves of the trials, one for
            each random split; units need not match between the sides.
        seed: names the streams of surrogates and of the halves of units.
        n_pcs: PCs kept on each side.
        n_components: components averaged; None takes as many as PCs, at most conditions less one.
        n_floor: surrogates.

    Raises:
        RatesError: when conditions, times, or the units of two halves do not match.
        SettingsError: when there are fewer units in half of b than PCs, or no halves.

    Source: Hotelling 1936, Biometrika 28:321; across animals and days as in Gallego et al. 2020, Nature
        Neuroscience 23:260.
    """
    for name, halves in (("halves_a", halves_a), ("halves_b", halves_b)):
        check_at_least(f"len({name})", len(halves), 1)
    check_at_least("n_floor", n_floor, 1)
    n_splits = min(len(halves_a), len(halves_b))
    a = [_values(pair, halves_a[0][0], "halves_a") for pair in halves_a[:n_splits]]
    b = [_values(pair, halves_a[0][0], "halves_b") for pair in halves_b[:n_splits]]
    n_units = min(a[0][0].shape[2], b[0][0].shape[2] // 2)
    n_components = _check_sizes(a[0][0].shape[0], n_units, n_pcs, n_components)
    parts = [_choose(*pair, n_units, k, seed) for k, pair in enumerate(zip(a, b, strict=True))]
    scored = [_across(side, target, n_pcs, n_components) for side, target, _ in parts]
    correlation, in_sample = (np.array(numbers) for numbers in zip(*scored, strict=True))
    ceiling = np.array([_across(target, rest, n_pcs, n_components)[0].mean() for _, target, rest in parts])
    fits = [fit_tme(_mean(halves_a[k], part[0])) for k, part in enumerate(parts)]
    floor = np.empty(n_floor)
    for draw in range(n_floor):
        side, target, _ = parts[draw % n_splits]
        surrogate, noise = fits[draw % n_splits].draw_values(draw, seed=seed), (side[0] - side[1]) / 2
        surrogate = surrogate - surrogate.mean(axis=0)
        floor[draw] = _across((surrogate + noise, surrogate - noise), target, n_pcs, n_components)[0].mean()
    score = float(correlation.mean())
    normalised, failures = normalised_score(score, floor=float(floor.mean()), ceiling=float(ceiling.mean()))
    by_split = correlation.mean(axis=1)
    data = xr.Dataset(
        {
            "correlation": ("component", correlation.mean(axis=0)),
            "correlation_in_sample": ("component", in_sample.mean(axis=0)),
            "score": score,
            "score_split": ("split", by_split),
            "score_sd": float(by_split.std(ddof=1)) if n_splits > 1 else float("nan"),
            "floor": ("draw", floor),
            "ceiling": ("split", ceiling),
            "p_value": p_value_above(score, floor),
            "normalised": normalised,
        },
        coords={"component": np.arange(1, n_components + 1)},
    )
    settings = {
        "n_pcs": n_pcs,
        "n_components": n_components,
        "n_floor": n_floor,
        "n_splits": n_splits,
        "seed": seed,
    }
    return CcaOverTrials(data, settings, failures)


def _values(pair: tuple[xr.DataArray, xr.DataArray], like: xr.DataArray, name: str) -> ValuePair:
    """Both halves about their mean over conditions."""
    for half in pair:
        check_matched(like, half, names=("halves_a", name))
    if pair[0].sizes["unit"] != pair[1].sizes["unit"]:
        raise RatesError(
            name,
            rule="hold the same units in both halves",
            received=f"{pair[0].sizes['unit']} and {pair[1].sizes['unit']} units",
            remedy="Keep a unit only where both halves have trials in every condition",
        )
    return centred_values(pair[0], "subtract", name=name), centred_values(pair[1], "subtract", name=name)


def _check_sizes(n_conditions: int, n_units: int, n_pcs: int, n_components: int | None) -> int:
    check_at_least("number of conditions", n_conditions, 3)
    check_at_least("n_pcs", n_pcs, 1)
    if n_pcs > n_units:
        raise SettingsError(
            "n_pcs",
            rule=f"be at most {n_units}, the fewer of the units of halves_a and half of those of halves_b",
            received=n_pcs,
            remedy="Ask for fewer or bring more units",
        )
    n = min(n_pcs, n_conditions - 1) if n_components is None else n_components
    check_at_least("n_components", n, 1)
    if n > n_pcs:
        raise SettingsError(
            "n_components", rule=f"be at most n_pcs, {n_pcs}", received=n, remedy="Ask for fewer, or for more PCs"
        )
    return n


def _choose(
    a: ValuePair, b: ValuePair, n_units: int, split: int, seed: int
) -> tuple[ValuePair, ValuePair, ValuePair]:
    """As many units of a, of b, and others of b."""
    of_a, of_b = (
        generator(seed, "cca_over_trials", "units", name, split).permutation(side[0].shape[2])
        for name, side in (("a", a), ("b", b))
    )
    chosen = (np.sort(of_a[:n_units]), np.sort(of_b[:n_units]), np.sort(of_b[n_units : 2 * n_units]))
    first, second, third = (
        (side[0][..., units], side[1][..., units]) for side, units in zip((a, b, b), chosen, strict=True)
    )
    return first, second, third


def _mean(pair: tuple[xr.DataArray, xr.DataArray], values: ValuePair) -> xr.DataArray:
    """The mean of two halves of chosen units, as rates."""
    return pair[0].isel(unit=slice(values[0].shape[2])).copy(data=(values[0] + values[1]) / 2)


def _across(
    a: ValuePair, b: ValuePair, n_pcs: int, n_components: int
) -> tuple[Float[np.ndarray, " component"], Float[np.ndarray, " component"]]:
    """Correlations on the half that judges and on the half that finds, mean over both ways."""
    judged, found = np.zeros((2, n_components)), np.zeros((2, n_components))
    for way, (find, judge) in enumerate(((0, 1), (1, 0))):
        (scores_a, map_a, _), (scores_b, map_b, _) = (whiten_rows(_rows(side[find]), n_pcs) for side in (a, b))
        P, rho, Q = canonical_directions(scores_a, scores_b)
        n = min(n_components, rho.size)
        x, y = _rows(a[judge]) @ map_a @ P[:, :n], _rows(b[judge]) @ map_b @ Q[:, :n]
        power = np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
        judged[way, :n] = np.divide((x * y).sum(axis=0), power, out=np.zeros(n), where=power > 0)
        found[way, :n] = rho[:n]
    return judged.mean(axis=0), found.mean(axis=0)


def _rows(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1, values.shape[-1])
