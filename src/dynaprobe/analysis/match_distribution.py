"""All best matches, not the best of them: how the correlations of units with their best match are spread.

A gallery of look-alikes can be found between any two populations. What counts is the whole distribution over
units, both ways round, against what surrogates reach with the same choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynaprobe.analysis.multiple_tests import benjamini_hochberg, check_fraction, wilson_interval
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.surrogates import p_value_above
from dynaprobe.analysis.unit_match import UnitMatch

DIRECTIONS = ("recorded_unit", "model_unit")
LEVELS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class MatchDistribution(Result):
    """Spread over units of the held-out correlation with the best match, in both directions.

    Variables of `data` (judged: recorded_unit, the best model unit of every recorded unit; model_unit, the best
    recorded unit of every model unit):
        quantile (judged, level): of the correlations over units.
        floor_low, floor_median, floor_high (judged, level): the same quantile of the surrogates, middle 95 % of
            draws and their median.
        ceiling (judged, level): quantile of the correlations of a unit's two halves.
        distance (judged): Wasserstein distance of the correlations to those of all surrogates.
        shift (judged): difference of the means; equals `distance` where the units lie above chance throughout.
        distance_null (judged, draw): distance of each surrogate to all others.
        p_value (judged): of `distance` against it.
        n_above, fraction, fraction_low, fraction_high (judged): units above chance at the false discovery rate,
            with the Wilson interval.
        correlation_recorded, q_recorded (recorded_unit); correlation_model, q_model (model_unit): per unit.
        smallest_p (judged): the smallest p-value a single unit can have.
    """


def match_distribution(
    recorded: UnitMatch, model: UnitMatch, *, false_discovery: float = 0.05, confidence: float = 0.95
) -> MatchDistribution:
    """Spread of best matches in both directions, against the surrogates of either match.

    With c(u) the held-out correlation of unit u with its best match, c_d(u) that with the best unit of surrogate
    d, and Q, Q_d their quantile functions over units:

        distance = integral over levels of |Q - mean over d of Q_d|
        z_d(u) = (atanh c_d(u) - mean) / sd,    mean and sd over the other draws of unit u
        p(u) = (1 + number of all z_d of all units >= z(u)) / (1 + number of all z_d)

    A hundred draws of one unit cannot give a p-value that survives the correction for as many units. So the draws
    of all units are put together once each is centred and scaled, on the assumption that they then have one shape.
    The p(u) of a side are adjusted together (Benjamini-Hochberg). A unit at chance may still correlate highly: a
    best match always does, among surrogates as well.

    Args:
        recorded: `dynaprobe.analysis.unit_match.unit_match` of model units to recorded units.
        model: the same with the roles exchanged.
        false_discovery: rate at which units count as above chance.
        confidence: of the intervals.

    Source of the correction: Benjamini & Hochberg 1995, J R Stat Soc B 57:289.
    """
    check_fraction("false_discovery", false_discovery)
    check_fraction("confidence", confidence)
    sides = [_side(match, false_discovery, confidence) for match in (recorded, model)]
    n_draws = min(side["distance_null"].size for side in sides)
    for side in sides:
        side["distance_null"] = side["distance_null"][:n_draws]
    per_level = ("quantile", "floor_low", "floor_median", "floor_high", "ceiling")
    per_side = (
        "distance",
        "shift",
        "p_value",
        "n_above",
        "fraction",
        "fraction_low",
        "fraction_high",
    )
    variables = {
        **{name: (("judged", "level"), np.stack([side[name] for side in sides])) for name in per_level},
        **{name: ("judged", np.array([side[name] for side in sides])) for name in per_side},
        "distance_null": (("judged", "draw"), np.stack([side["distance_null"] for side in sides])),
        "smallest_p": ("judged", np.array([side["smallest_p"] for side in sides])),
    }
    for dim, name, side in zip(DIRECTIONS, ("recorded", "model"), sides, strict=True):
        variables[f"correlation_{name}"] = (dim, side["correlation"])
        variables[f"q_{name}"] = (dim, side["q_value"])
    data = xr.Dataset(variables, coords={"judged": list(DIRECTIONS), "level": LEVELS})
    failures: dict[str, int] = {}
    for match in (recorded, model):
        for reason, count in match.failures.items():
            if "never changes" in reason:
                failures[reason] = failures.get(reason, 0) + count
    settings = {"false_discovery": false_discovery, "confidence": confidence}
    return MatchDistribution(data, settings, failures)


def _side(match: UnitMatch, false_discovery: float, confidence: float) -> dict[str, np.ndarray]:
    """Everything of one direction."""
    correlation, floor = match.data["correlation"].values, match.data["floor"].values
    n_draws = floor.shape[0]
    p_value = _pooled_p(correlation, floor)
    q_value = benjamini_hochberg(p_value)
    above = int((q_value <= false_discovery).sum())
    fraction, low, high = wilson_interval(above, correlation.size, confidence)
    quantile, floors = np.quantile(correlation, LEVELS), np.quantile(floor, LEVELS, axis=1).T
    distance, shift = _distance(quantile, floors.mean(axis=0)), correlation.mean() - floor.mean()
    # A surrogate among the other surrogates stands where a population at chance would.
    others = (floors.sum(axis=0) - floors) / max(n_draws - 1, 1)
    null = np.array([_distance(own, rest) for own, rest in zip(floors, others, strict=True)])
    band = np.quantile(floors, [0.025, 0.5, 0.975], axis=0)
    return {
        "correlation": correlation,
        "q_value": q_value,
        "quantile": quantile,
        "floor_low": band[0],
        "floor_median": band[1],
        "floor_high": band[2],
        "ceiling": np.quantile(match.data["ceiling"].values, LEVELS),
        "distance": np.asarray(distance),
        "shift": np.asarray(shift),
        "distance_null": null,
        "p_value": np.asarray(p_value_above(distance, null)),
        "n_above": np.asarray(above),
        "fraction": np.asarray(fraction),
        "fraction_low": np.asarray(low),
        "fraction_high": np.asarray(high),
        "smallest_p": np.asarray(1 / (floor.size + 1)),
    }


def _pooled_p(
    correlation: Float[np.ndarray, " unit"], floor: Float[np.ndarray, "draw unit"]
) -> Float[np.ndarray, " unit"]:
    """p-value of every unit against the standardised draws of all units."""
    n = floor.shape[0]
    # A unit that equals its match would be infinitely far out.
    own, draws = (np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12)) for r in (correlation, floor))
    mean, variance = draws.mean(axis=0), draws.var(axis=0)
    # Units that never change correlate with nothing, in every draw.
    varies = variance > 1e-24
    if n < 3 or not varies.any():
        return np.ones(correlation.size)
    # Each draw is held against the others, as the units are against all of them.
    apart = (draws - mean)[:, varies]
    rest = (n * variance[varies] - apart**2 * n / (n - 1)) / (n - 2)
    null = np.sort((apart * n / (n - 1) / np.sqrt(np.maximum(rest, 1e-24))).ravel())
    scale = np.sqrt(np.where(varies, variance, 1.0) * n / (n - 1))
    above = null.size - np.searchsorted(null, (own - mean) / scale)
    return np.where(varies, (above + 1) / (null.size + 1), 1.0)


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """Mean over levels of the difference of two quantile functions, which is their Wasserstein distance."""
    return float(np.trapezoid(np.abs(one - other), LEVELS))
