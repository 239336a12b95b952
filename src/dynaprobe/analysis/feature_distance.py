"""Two populations as clouds of units: how far apart, feature by feature and all features together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.spatial.distance import pdist, squareform

from dynaprobe.analysis.matrix import check_at_least, one_thread
from dynaprobe.analysis.multiple_tests import benjamini_hochberg
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.surrogates import normalised_score, p_value_above
from dynaprobe.core.errors import RatesError
from dynaprobe.core.random import generator


@dataclass(frozen=True)
class FeatureDistance(Result):
    """Distances of two populations of units, with what chance and surrogates give.

    Variables of `data` (a: first side, b: second side, the reference):
        wasserstein (feature): between the distributions of a feature, in pooled standard deviations.
        wasserstein_null_mean, wasserstein_null_high (feature): mean and 95 % quantile after units were dealt anew.
        wasserstein_p, wasserstein_q (feature): against this null, and adjusted for the features.
        median_difference (feature): of a minus b, in pooled standard deviations.
        energy: squared energy distance of the features in `joint` together; about 0 for two samples of one
            population, and then as often below.
        energy_null (draw): after units were dealt anew.
        energy_p: against it.
        energy_halves (draw): between two random halves of b.
        energy_floor (surrogate): between halves of b and surrogates of b; empty where none are given.
        similarity: energy on the scale from `energy_floor` (0) to `energy_halves` (1); NaN without surrogates.
        is_joint (feature): whether it counts in the energy distance.
        value_a (feature, unit_a), value_b (feature, unit_b): the features themselves.
    """


@one_thread
def feature_distance(
    a: xr.Dataset,
    b: xr.Dataset,
    *,
    joint: Sequence[str],
    seed: int,
    surrogates: Sequence[xr.Dataset] = (),
    n_null: int = 1000,
) -> FeatureDistance:
    """Distances of the distributions of unit features.

    Every feature is divided by its standard deviation over the units of both sides. Feature by feature, the
    Wasserstein distance is ``W = integral |F_a(x) - F_b(x)| dx``. All of `joint` together, with x_i the units of
    a, y_j those of b and |.| the Euclidean norm, the energy distance in its unbiased form is

        E = 2 mean |x_i - y_j| - mean over i != i' of |x_i - x_i'| - mean over j != j' of |y_j - y_j'|

    which is 0 in expectation if and only if both sides come from one distribution, whatever their numbers. The
    nulls deal the units of both sides anew; ``p = (k + 1) / (n + 1)``. Units are taken as independent.

    Args:
        a, b: data of two `dynaprobe.analysis.unit_features.UnitFeatures`.
        joint: features of the joint distance; units that lack one of them are left out of it.
        seed: names the streams.
        surrogates: features of surrogates of b, for the floor.
        n_null: deals, and halvings of b.

    Raises:
        RatesError: when features differ, or a side has fewer than 4 units with all joint features.

    Source: Szekely & Rizzo 2013, J Stat Plan Inference 143:1249.
    """
    check_at_least("n_null", n_null, 1)
    _check_features([a, b, *surrogates], joint)
    source = generator(seed, "feature distance")
    both = np.concatenate([a["value"].values, b["value"].values], axis=1)
    n_a = a.sizes["unit"]
    spread = np.array([_spread(row) for row in both])
    rows = [_wasserstein_row(row / size, n_a, n_null, source) for row, size in zip(both, spread, strict=True)]
    names = [str(name) for name in a["feature"].values]
    chosen = [names.index(name) for name in joint]
    scaled = (both / spread[:, None])[chosen].T
    floor_units = [(surrogate["value"].values / spread[:, None])[chosen].T for surrogate in surrogates]
    together, failures = _joint(scaled[:n_a], scaled[n_a:], floor_units, n_null, source)
    data = xr.Dataset(
        {
            **{
                name: ("feature", np.array(column))
                for name, column in zip(_COLUMNS, zip(*rows, strict=True), strict=True)
            },
            "is_joint": ("feature", np.isin(names, list(joint))),
            **together,
            "value_a": (("feature", "unit_a"), a["value"].values),
            "value_b": (("feature", "unit_b"), b["value"].values),
        },
        coords={"feature": names},
    )
    data["wasserstein_q"] = ("feature", benjamini_hochberg(data["wasserstein_p"].values))
    settings = {"seed": seed, "n_null": n_null, "joint": list(joint), "n_surrogates": len(surrogates)}
    return FeatureDistance(data, settings, failures)


_COLUMNS = ("wasserstein", "wasserstein_null_mean", "wasserstein_null_high", "wasserstein_p", "median_difference")


def _check_features(sides: Sequence[xr.Dataset], joint: Sequence[str]) -> None:
    names = [str(name) for name in sides[0]["feature"].values]
    for side in sides[1:]:
        if [str(name) for name in side["feature"].values] != names:
            raise RatesError(
                "features",
                rule="be the same on both sides, in one order",
                received=[str(name) for name in side["feature"].values],
                remedy="Compute both with the same function",
            )
    unknown = [name for name in joint if name not in names]
    if unknown or not joint:
        raise RatesError(
            "joint",
            rule=f"name features from {', '.join(names)}",
            received=unknown or "none",
            remedy="Choose at least one of these",
        )


def _spread(row: np.ndarray) -> float:
    """Standard deviation of what is known; 1 where there is none, so that nothing is divided by 0."""
    known = row[np.isfinite(row)]
    # Round-off about a constant is no spread.
    return float(known.std()) if known.size and known.std() > 1e-12 * np.abs(known).max() else 1.0


def _wasserstein_row(
    row: Float[np.ndarray, " unit"], n_a: int, n_null: int, source: np.random.Generator
) -> tuple[float, float, float, float, float]:
    """Distance, its null and the difference of medians for one feature."""
    known = np.isfinite(row)
    first = (np.arange(row.size) < n_a)[known]
    values = row[known]
    if not 0 < first.sum() < first.size:
        return (float("nan"),) * 5
    order = np.argsort(values)
    steps, label = np.diff(values[order]), first[order]
    distance = _wasserstein(steps, label[None])[0]
    null = _wasserstein(steps, source.permuted(np.tile(label, (n_null, 1)), axis=1))
    difference = float(np.median(values[first]) - np.median(values[~first]))
    # Deals that give the same distance differ in the last bit.
    p_value = p_value_above(float(distance) - 1e-12, null)
    return float(distance), float(null.mean()), float(np.quantile(null, 0.95)), p_value, difference


def _wasserstein(steps: Float[np.ndarray, " step"], first: np.ndarray) -> Float[np.ndarray, " draw"]:
    """``sum |F_a - F_b| dx`` over the steps between sorted values, for labels of shape ``(draw, value)``."""
    n_first = first[0].sum()
    share_a = np.cumsum(first, axis=1)[:, :-1] / n_first
    share_b = np.cumsum(~first, axis=1)[:, :-1] / (first.shape[1] - n_first)
    return np.asarray(np.abs(share_a - share_b) @ steps)


def _energies(distances: Float[np.ndarray, "n n"], first: np.ndarray) -> Float[np.ndarray, " draw"]:
    """Unbiased energy distance for every labelling, shape ``(draw, n)``."""
    x = first.astype(float)
    y = 1 - x
    n, m = x[0].sum(), y[0].sum()
    to_x = x @ distances
    within_x, across = (to_x * x).sum(axis=1), (to_x * y).sum(axis=1)
    within_y = distances.sum() - within_x - 2 * across
    return np.asarray(2 * across / (n * m) - within_x / (n * (n - 1)) - within_y / (m * (m - 1)))


def _joint(
    a: Float[np.ndarray, "unit_a feature"],
    b: Float[np.ndarray, "unit_b feature"],
    surrogates: list[np.ndarray],
    n_null: int,
    source: np.random.Generator,
) -> tuple[dict[str, tuple[Any, Any]], dict[str, int]]:
    """Energy distance of all features together, its null, and its scale."""
    x, y = (side[np.isfinite(side).all(axis=1)] for side in (a, b))
    n_x, n_y = len(x), len(y)
    if min(n_x, n_y) < 4:
        raise RatesError(
            "features",
            rule="all be defined for at least 4 units of either side",
            received=f"{n_x} and {n_y} units",
            remedy="Choose joint features that more units have",
        )
    distances = squareform(pdist(np.concatenate([x, y])))
    first = np.arange(n_x + n_y) < n_x
    energy = float(_energies(distances, first[None])[0])
    null = _energies(distances, source.permuted(np.tile(first, (n_null, 1)), axis=1))
    half = source.permuted(np.tile(np.arange(n_y) < n_y // 2, (n_null, 1)), axis=1)
    halves = _energies(distances[n_x:, n_x:], half)
    floor = _floor(y, surrogates, source)
    similarity, failures = float("nan"), {"no surrogates given, so the distance has no scale": 1}
    if floor.size:
        similarity, failures = normalised_score(-energy, floor=-float(floor.mean()), ceiling=-float(halves.mean()))
    left = len(a) + len(b) - n_x - n_y
    if left:
        failures["unit without some joint feature, left out of the joint distance"] = left
    numbers: dict[str, tuple[Any, Any]] = {
        "energy": ((), energy),
        "energy_null": ("draw", null),
        "energy_p": ((), p_value_above(energy, null)),
        "energy_halves": ("draw", halves),
        "energy_floor": ("surrogate", floor),
        "similarity": ((), similarity),
    }
    return numbers, failures


def _floor(
    reference: Float[np.ndarray, "unit feature"], surrogates: list[np.ndarray], source: np.random.Generator
) -> Float[np.ndarray, " surrogate"]:
    """Energy distance of half of the reference's units to each surrogate."""
    n = reference.shape[0]
    found = []
    for values in surrogates:
        drawn = values[np.isfinite(values).all(axis=1)]
        half = reference[np.sort(source.permutation(n)[: n // 2])]
        if drawn.shape[0] < 2:
            continue
        label = np.arange(len(drawn) + len(half)) < len(drawn)
        found.append(float(_energies(squareform(pdist(np.concatenate([drawn, half]))), label[None])[0]))
    return np.array(found, dtype=np.float64)
