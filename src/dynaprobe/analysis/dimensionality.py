"""How many dimensions activity has, with intervals over units and over trials, and without the noise's share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.stats import t as student

from dynaprobe.analysis.matrix import check_at_least, one_thread, psth_values
from dynaprobe.analysis.result import Result
from dynaprobe.core.errors import RatesError
from dynaprobe.core.random import generator

Halves = Sequence[tuple[xr.DataArray, xr.DataArray]]


@dataclass(frozen=True)
class DimensionalityResult(Result):
    """Participation ratio of condition-averaged rates.

    Variables of `data`; the dim ``bound`` holds ``low`` and ``high``:
        participation_ratio: PR of the rates as they are.
        interval_units ``(bound,)``: percentile interval over a bootstrap of the units.
        signal_participation_ratio: PR without the estimation noise, mean over halvings; with halves.
        interval_signal_units ``(bound,)``: its percentile interval over the same bootstrap.
        interval_trials ``(bound,)``: interval of `participation_ratio` over trials, from halves.
        n_units: number of units.
    """


@one_thread
def dimensionality(
    rates: xr.DataArray,
    halves: Halves = (),
    *,
    n_bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> DimensionalityResult:
    """Participation ratio with intervals.

    ``PR = (tr C)^2 / tr(C^2)`` with C the covariance of the units over conditions and times; 1 when one
    direction holds all variance, N when N directions share it evenly.

    Units: units are drawn with replacement. A unit that is drawn twice would be counted as a pair of units that
    always agree, which no two units do, so a pair of draws of one unit is given the mean of the pairs of
    different units: ``PR* = (N mean_i C_ii)^2 / (N mean_i C_ii^2 + N (N - 1) mean_{i != j} C_ij^2)`` over the
    draws. The interval speaks of other units of the same kind, for these conditions and times; units that were
    recorded together are taken as independent.

    Trials: with halves ``a, b`` of the trials, ``Var(PR) = mean over halvings of (PR_a - PR_b)^2 / 4`` (each half
    has twice the variance of the whole), and the interval is ``PR +- t sqrt(Var)`` with as many degrees of
    freedom as there are halvings. It is about the PR with the noise of this many trials.

    Noise: independent noise adds to every variance. With cross-covariances ``K_ij = mean_s a_si b_sj`` of the two
    halves, ``PR = (sum_i K_ii)^2 / (sum_i K_ii^2 + sum_{i != j} K_ij K_ji)``, in which noise that is independent
    between trials and units cancels from all sums but that of ``K_ii^2``; to shrink what is left there, K_ii is
    averaged over halvings before it is squared.

    Args:
        rates: dims ``(condition, time, unit)``, at least two units.
        halves: pairs of the same rates from disjoint halves of the trials, on one scale per unit.
        n_bootstrap: draws of units.
        level: confidence of the intervals.
        seed: of the draws.

    Raises:
        RatesError: rates or halves outside the schema, of other shape, or constant; a single unit; a level outside
            (0, 1).

    Source: PR: Gao et al. (2017), bioRxiv 214262; cross-validated covariances: Stringer et al. (2019), Nature
    571:361; half-samples: McCarthy (1969), Rev Int Stat Inst 37:239. The bootstrap's correction follows from the
    equation.
    """
    values = psth_values(rates)
    _check_request(values, level)
    check_at_least("n_bootstrap", n_bootstrap, 1)
    pairs = [checked_half(half, values.shape, k) for k, pair in enumerate(halves) for half in pair]
    moments = Moments.of_covariance(covariance(values))
    n_units = values.shape[-1]
    weights = unit_weights(n_units, n_bootstrap, seed)
    data: dict[str, Any] = {
        "participation_ratio": moments.ratio,
        "interval_units": ("bound", _interval(moments.resampled(weights), level)),
        "n_units": n_units,
    }
    failures: dict[str, int] = {}
    if halves:
        a, b = pairs[::2], pairs[1::2]
        apart = [Moments.of_covariance(covariance(x)).ratio - Moments.of_covariance(covariance(y)).ratio
                 for x, y in zip(a, b, strict=True)]  # fmt: skip
        reach = float(student.ppf((1 + level) / 2, len(apart)) * np.sqrt(np.mean(np.square(apart)) / 4))
        data["interval_trials"] = ("bound", [moments.ratio - reach, moments.ratio + reach])
        signal = signal_moments(a, b)
        data["signal_participation_ratio"] = signal.ratio
        data["interval_signal_units"] = ("bound", _interval(signal.resampled(weights), level))
        if not np.isfinite(signal.ratio):
            failures["no signal left once the noise is removed"] = 1
    dataset = xr.Dataset(data, coords={"bound": ["low", "high"]}, attrs=dict(rates.attrs))
    settings = {"n_halvings": len(halves), "n_bootstrap": n_bootstrap, "level": level, "seed": seed}
    return DimensionalityResult(dataset, settings, failures)


def _interval(draws: np.ndarray, level: float) -> Float[np.ndarray, " bound"]:
    """Percentiles of the draws that have a ratio; NaN where none has."""
    known = draws[np.isfinite(draws)]
    tail = (1 - level) / 2
    return np.quantile(known, [tail, 1 - tail]) if known.size else np.full(2, np.nan)


@dataclass(frozen=True)
class Moments:
    """What a participation ratio is made of, unit by unit.

    Attributes:
        variance: C_ii of every unit.
        square: C_ii^2 of every unit.
        shared: C_ij^2 of every pair of units, 0 on the diagonal.
    """

    variance: Float[np.ndarray, " unit"]
    square: Float[np.ndarray, " unit"]
    shared: Float[np.ndarray, "unit unit"]

    @classmethod
    def of_covariance(cls, C: Float[np.ndarray, "unit unit"]) -> Moments:
        """Moments of one covariance matrix."""
        variance = np.diagonal(C).copy()
        shared = C**2
        np.fill_diagonal(shared, 0.0)
        return cls(variance, variance**2, shared)

    @property
    def ratio(self) -> float:
        """The participation ratio; NaN where noise leaves nothing of a sum of squares."""
        return float(_ratio(self.variance.sum(), self.square.sum() + self.shared.sum()))

    def resampled(self, weights: Float[np.ndarray, "draw unit"]) -> Float[np.ndarray, " draw"]:
        """The ratio of populations in which each unit occurs as often as its weight says; see `dimensionality`."""
        n = weights.sum(axis=1)
        of_pairs = ((weights @ self.shared) * weights).sum(axis=1)
        n_pairs = n**2 - (weights**2).sum(axis=1)
        return _ratio(weights @ self.variance, weights @ self.square + n * (n - 1) * _ratio_of(of_pairs, n_pairs))


def _ratio(total: np.ndarray | float, squares: np.ndarray | float) -> Float[np.ndarray, "..."]:
    total, squares = np.asarray(total), np.asarray(squares)
    sound = (squares > 0) & (total > 0)
    return np.where(sound, total**2 / np.where(sound, squares, 1.0), np.nan)


def _ratio_of(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Mean over pairs; a draw of one unit alone has none."""
    return np.asarray(np.where(below > 0, above / np.where(below > 0, below, 1.0), np.nan))


def covariance(values: Float[np.ndarray, "condition time unit"]) -> Float[np.ndarray, "unit unit"]:
    """Covariance of the units over conditions and times."""
    X = centred_rows(values)
    C: Float[np.ndarray, "unit unit"] = X.T @ X / X.shape[0]
    return C


def centred_rows(values: Float[np.ndarray, "condition time unit"]) -> Float[np.ndarray, "sample unit"]:
    """One row per condition and time, without the mean of every unit."""
    X = values.reshape(-1, values.shape[-1])
    centred: Float[np.ndarray, "sample unit"] = X - X.mean(axis=0)
    return centred


def signal_moments(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> Moments:
    """Moments without the noise's share, from halves of the trials; see `dimensionality`."""
    n_units = first[0].shape[-1]
    variance, shared = np.zeros(n_units), np.zeros((n_units, n_units))
    for a, b in zip(first, second, strict=True):
        A, B = centred_rows(a), centred_rows(b)
        K = A.T @ B / A.shape[0]
        variance += np.diagonal(K) / len(first)
        shared += K * K.T / len(first)
    np.fill_diagonal(shared, 0.0)
    return Moments(variance, variance**2, shared)


def unit_weights(n_units: int, n_bootstrap: int, seed: int) -> Float[np.ndarray, "draw unit"]:
    """How often each unit is drawn when as many are drawn with replacement."""
    random = generator(seed, "analysis", "dimensionality", "units")
    return random.multinomial(n_units, np.full(n_units, 1 / n_units), size=n_bootstrap).astype(np.float64)


def checked_half(half: xr.DataArray, shape: tuple[int, ...], k: int) -> Float[np.ndarray, "condition time unit"]:
    """The values of a half, which has the shape of the whole.

    Raises:
        RatesError: a half outside the schema or of another shape.
    """
    values = psth_values(half, f"halves[{k}]")
    if values.shape != shape:
        raise RatesError(
            f"halves[{k}]",
            rule=f"have the conditions, times and units of the rates, {shape}",
            received=values.shape,
            remedy="Cut the same window and select the same units in the halves",
        )
    return values


def check_population(values: np.ndarray, level: float) -> None:
    """Check that there are units enough for a dimensionality, and that a level is one.

    Raises:
        RatesError: names what is not.
    """
    if values.shape[-1] < 2:
        raise RatesError(
            "rates.unit",
            rule="have at least 2 entries",
            received=values.shape[-1],
            remedy="One unit has one dimension; give the population",
        )
    if not 0 < level < 1:
        raise RatesError("level", rule="lie in (0, 1)", received=level, remedy="Give a confidence, e.g. 0.95")


def _check_request(values: np.ndarray, level: float) -> None:
    check_population(values, level)
    spread = centred_rows(values)
    if not np.abs(spread).max() > 1e-12 * np.abs(values).max():
        raise RatesError(
            "rates",
            rule="vary over conditions or times",
            received="the same value everywhere in every unit",
            remedy="Check the window and the preprocessing: nothing is left to analyse",
        )
