"""Does a unit prefer during movement what it preferred while it prepared?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynaprobe.analysis.matrix import check_at_least, one_thread, psth_values
from dynaprobe.analysis.multiple_tests import check_fraction, two_sided_p
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.unit_classes import correlation_over_conditions, unit_coords
from dynaprobe.core.errors import RatesError
from dynaprobe.core.random import generator

Halves = Sequence[tuple[xr.DataArray, xr.DataArray]]


@dataclass(frozen=True)
class TuningCorrelation(Result):
    """Correlation of preparatory with movement tuning, free of what trials share and of what noise takes away.

    Variables of `data`:
        raw (unit): correlation over conditions of the mean rates in the two epochs, all trials; NaN where one does
            not vary.
        corrected (unit): correlation without noise, see `tuning_correlation`; may leave [-1, 1]; NaN for units
            below the least reliability.
        reliability (epoch, unit): correlation over conditions of one half's mean rates with the other's.
        raw_median, corrected_median: over units.
        population: the correlation without noise of all units together, each by its tuning variance.
        population_low, population_high: percentile interval, units drawn with replacement.
        null (draw): `population` after every unit got the movement tuning of another.
        p_value: two-sided, of `population` against `null`.
        n_reliable: units with a corrected correlation.
    """


@one_thread
def tuning_correlation(
    preparatory: Halves,
    movement: Halves,
    *,
    seed: int,
    n_null: int = 1000,
    n_bootstrap: int = 1000,
    least_reliability: float = 0.3,
    confidence: float = 0.95,
) -> TuningCorrelation:
    """Correlation over conditions of tuning before and during movement.

    With p_h and m_h a unit's mean rates over the preparatory and the movement epoch in half h of the trials, the
    mean over conditions removed, and <..> the sum over conditions, mean over splits:

        corrected = 1/2 <p_0 m_1 + p_1 m_0> / sqrt(<p_0 p_1> <m_0 m_1>)

    Every product joins different trials, so noise adds nothing to any of them, not even noise that both epochs of
    a trial share. `population` takes the sums over all units. Its null pairs the preparation of each unit with the
    movement of a random one, which keeps both tunings and their smoothness over directions, and asks whether the
    pairing matters: where all units turn by one angle, it does.

    Args:
        preparatory: PSTHs in the preparatory window over two halves of the trials, for one or more random splits.
        movement: the same halves in the movement window.
        seed: names the streams.
        n_null: pairings of other units.
        n_bootstrap: draws of units for the interval.
        least_reliability: reliability that both epochs of a unit need for `corrected` (our choice).
        confidence: of the interval.

    Raises:
        RatesError: when splits, units or conditions differ, or there are fewer than 3 conditions.

    Sources: Churchland, Cunningham, Kaufman, Ryu & Shenoy 2010, Neuron 68:387 (tuning across epochs); Spearman
    1904, Am J Psychol 15:72 (correction for noise).
    """
    check_at_least("n_null", n_null, 1)
    check_at_least("n_bootstrap", n_bootstrap, 1)
    check_fraction("least_reliability", least_reliability)
    check_fraction("confidence", confidence)
    p, m = _centred(preparatory, "preparatory"), _centred(movement, "movement")
    _check_same(p, m)
    # Sums over conditions, mean over splits, of every unit's preparation (rows) with every unit's movement.
    pairs = (_products(p[:, 0], m[:, 1]) + _products(p[:, 1], m[:, 0])) / 2
    across = np.diag(pairs)
    within = np.stack([_own(h[:, 0], h[:, 1]) for h in (p, m)])
    size = np.stack([(_own(h[:, 0], h[:, 0]) + _own(h[:, 1], h[:, 1])) / 2 for h in (p, m)])
    reliability = np.where(size > 0, within / np.where(size > 0, size, 1.0), np.nan)
    reliable = (reliability >= least_reliability).all(axis=0)
    corrected = np.full(across.size, np.nan)
    corrected[reliable] = across[reliable] / np.sqrt(within[:, reliable].prod(axis=0))
    raw = correlation_over_conditions(p.mean(axis=(0, 1)), m.mean(axis=(0, 1)))
    together = _population(pairs, within, generator(seed, "tuning correlation"), (n_null, n_bootstrap, confidence))
    failures = {"unit below the least reliability, without corrected correlation": int((~reliable).sum())}
    if not np.isfinite(together["population"][1]):
        failures["population correlation undefined: tuning not reliable"] = 1
    data = xr.Dataset(
        {
            "raw": ("unit", raw),
            "corrected": ("unit", corrected),
            "reliability": (("epoch", "unit"), reliability),
            "raw_median": ((), _median(raw)),
            "corrected_median": ((), _median(corrected)),
            **together,
            "n_reliable": ((), int(reliable.sum())),
        },
        coords={"epoch": ["preparatory", "movement"], **unit_coords(preparatory[0][0])},
    )
    settings = {
        "seed": seed,
        "n_null": n_null,
        "n_bootstrap": n_bootstrap,
        "least_reliability": least_reliability,
        "confidence": confidence,
        "n_splits": len(preparatory),
    }
    return TuningCorrelation(data, settings, {k: n for k, n in failures.items() if n})


def _check_same(p: np.ndarray, m: np.ndarray) -> None:
    if p.shape != m.shape:
        raise RatesError(
            "movement",
            rule=f"hold the splits, halves, conditions and units of preparatory, {p.shape}",
            received=m.shape,
            remedy="Cut both windows from the same halves",
        )


def _population(
    pairs: Float[np.ndarray, "unit unit"],
    within: Float[np.ndarray, "2 unit"],
    source: np.random.Generator,
    how: tuple[int, int, float],
) -> dict[str, tuple[Any, Any]]:
    """The correlation of all units together, its interval and its null."""
    n_null, n_bootstrap, confidence = how
    across, n = np.diag(pairs), pairs.shape[0]
    population = float(_pooled(across, within))
    orders = np.stack([source.permutation(n) for _ in range(n_null)])
    null = _pooled(pairs[np.arange(n), orders], within[:, None])
    draws = source.integers(n, size=(n_bootstrap, n))
    spread = _pooled(across[draws], within[:, draws])
    known = spread[np.isfinite(spread)]
    low, high = (
        np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2]) if known.size else (np.nan, np.nan)
    )
    return {
        "population": ((), population),
        "population_low": ((), float(low)),
        "population_high": ((), float(high)),
        "null": ("draw", null),
        "p_value": ((), two_sided_p(population, null) if np.isfinite(population) else float("nan")),
    }


def _centred(halves: Halves, name: str) -> Float[np.ndarray, "split half condition unit"]:
    """Mean rates over time, the mean over conditions removed."""
    check_at_least(f"len({name})", len(halves), 1)
    means = [[psth_values(half, name).mean(axis=1) for half in pair] for pair in halves]
    shapes = {mean.shape for pair in means for mean in pair}
    if len(shapes) > 1 or min(shapes)[0] < 3:
        raise RatesError(
            name,
            rule="hold the same units and conditions in all halves, 3 conditions at least",
            received=sorted(shapes),
            remedy="Average the same trials of at least three conditions",
        )
    values = np.array(means)
    centred = values - values.mean(axis=2, keepdims=True)
    # Centring a constant leaves round-off, which is no tuning.
    still = np.abs(centred).max(axis=2, keepdims=True) <= 1e-12 * np.abs(values).max(axis=2, keepdims=True)
    return np.asarray(np.where(still, 0.0, centred))


def _products(
    a: Float[np.ndarray, "split condition unit"], b: Float[np.ndarray, "split condition other"]
) -> Float[np.ndarray, "unit other"]:
    products: np.ndarray = np.einsum("scu,scv->uv", a, b, optimize=True) / a.shape[0]
    return products


def _own(
    a: Float[np.ndarray, "split condition unit"], b: Float[np.ndarray, "split condition unit"]
) -> Float[np.ndarray, " unit"]:
    return np.asarray((a * b).sum(axis=1).mean(axis=0))


def _pooled(across: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Ratio of sums over the last axis; NaN where a sum of reliable variance is not positive."""
    top, (first, second) = across.sum(axis=-1), within.sum(axis=-1)
    defined = (first > 0) & (second > 0)
    ratio: np.ndarray = np.where(defined, top / np.sqrt(np.where(defined, first * second, 1.0)), np.nan)
    return ratio


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")
