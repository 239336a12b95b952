"""Surrogates that permute the conditions of every unit by itself and yet keep how units vary together."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from dynaprobe.analysis.matrix import check_at_least, one_thread, psth_values
from dynaprobe.analysis.result import Result
from dynaprobe.core.errors import RatesError
from dynaprobe.core.random import generator
from dynaprobe.core.rates import done


class CovarianceMatched(Result):
    """Permuted rates.

    Variables of `data`:
        rates ``(draw, condition, time, unit)``: the surrogates.
        similarity ``(draw,)``: S reached, see `covariance_matched_permutations`.
        start_similarity ``(draw,)``: S of the random orders from which the search started.
        order ``(draw, condition, unit)``: which condition of the data stands in each place.
        same_order ``(draw,)``: share of pairs of units whose conditions are in one and the same order; near 1 a
            surrogate is the data with the conditions renamed.
    """


@one_thread
def covariance_matched_permutations(
    rates: xr.DataArray, n: int, *, similarity: float = 0.9, n_sweeps: int = 50, seed: int = 0
) -> CovarianceMatched:
    """n surrogates in which each unit's conditions are in an order of its own, found so that covariances stay.

    With x the rates without their mean over conditions, ``C_ij = sum over c, t of x[c, t, i] x[c, t, j]`` and C*
    the
    same after each unit i has had its conditions put in the order p_i: orders start at random, and one unit after
    the other swaps the two conditions that bring ``E = sum_{i != j} (C_ij - C*_ij)^2`` down most, until
    ``S = 1 - E / sum_{i != j} C_ij^2`` reaches `similarity` or nothing is gained any more. Every unit keeps all
    its responses and with them its own variance and the mean over conditions; only which response goes with which
    condition changes.

    What a population shows beyond such surrogates depends on the order of conditions being one for all units. Few
    conditions leave few orders: look at `same_order` before trusting a null distribution.

    Args:
        rates: dims ``(condition, time, unit)``, at least two conditions and units.
        n: number of draws.
        similarity: S to reach, below 1.
        n_sweeps: most rounds through all units.
        seed: names the streams; draw k does not depend on n.

    Raises:
        RatesError: rates outside the schema, one condition or unit only, rates that do not depend on the
            condition or whose units do not covary, a similarity out of range.
        SettingsError: no draws or sweeps.

    Source: the idea is that of the covariance-matched permutation test of Michaels et al. (2016), PLoS Comput Biol
    12:e1005175 (conditions reassigned for each unit, relations between units kept); search, measure and threshold
    are our choice.
    """
    check_at_least("n", n, 1)
    check_at_least("n_sweeps", n_sweeps, 1)
    values = psth_values(rates)
    _check_request(values, similarity)
    mean = values.mean(axis=0)
    x = values - mean
    flat = x.reshape(-1, x.shape[-1])
    target = flat.T @ flat
    np.fill_diagonal(target, 0.0)
    if not (target**2).sum() > (1e-12 * np.abs(values).max()) ** 4:
        raise RatesError(
            "rates",
            rule="depend on the condition, in a way that units share",
            received="no covariance between units",
            remedy="Check the window: there is nothing that could be kept",
        )
    found = [
        _search(x, target, generator(seed, "surrogates", "covariance_matched", k), similarity, n_sweeps)
        for k in range(n)
    ]
    orders = np.stack([order for order, _, _ in found])
    draws = np.stack([_permuted(x, order) + mean for order in orders])
    step = f"conditions permuted within each unit, covariances kept to {similarity:g}"
    account = done(rates, step).attrs
    data = xr.Dataset(
        {
            "rates": (("draw", *rates.dims), draws, dict(account)),
            "similarity": ("draw", [reached for _, reached, _ in found]),
            "start_similarity": ("draw", [start for _, _, start in found]),
            "order": (("draw", "condition", "unit"), orders),
            "same_order": ("draw", [_same(order) for order in orders]),
        },
        coords=rates.coords,
        attrs=dict(rates.attrs),
    )
    short = int((data["similarity"].values < similarity).sum())
    failures = {f"draw whose covariances could not be kept to {similarity:g}": short} if short else {}
    return CovarianceMatched(data, {"similarity": similarity, "n_sweeps": n_sweeps, "seed": seed}, failures)


def _search(
    x: Float[np.ndarray, "condition time unit"],
    target: Float[np.ndarray, "unit unit"],
    random: np.random.Generator,
    similarity: float,
    n_sweeps: int,
) -> tuple[Int[np.ndarray, "condition unit"], float, float]:
    """Order, similarity reached and similarity at the start of one draw."""
    n_conditions, n_times, n_units = x.shape
    order = random.permuted(np.tile(np.arange(n_conditions)[:, None], n_units), axis=0)
    moved = _permuted(x, order)
    flat = moved.reshape(-1, n_units)
    present = flat.T @ flat
    np.fill_diagonal(present, 0.0)
    # Time first, so that all products of one unit's responses with all others are one product.
    by_time = np.ascontiguousarray(moved.swapaxes(0, 1))
    total = float((target**2).sum())
    error = float(((target - present) ** 2).sum())
    start, goal = 1 - error / total, (1 - similarity) * total
    first, second = np.array(list(combinations(range(n_conditions), 2))).T
    for _ in range(n_sweeps):
        before = error
        for i in random.permutation(n_units).tolist():
            if error <= goal:
                return order, 1 - error / total, start
            # products[a, b, j]: the response that unit i has in place a against that of unit j in place b.
            products = (by_time[:, :, i].T @ by_time.reshape(n_times, -1)).reshape(n_conditions, -1, n_units)
            change = (
                products[second, first]
                + products[first, second]
                - products[first, first]
                - products[second, second]
            )
            change[:, i] = 0.0
            missing = target[i] - present[i]
            gain = (change * (change - 2 * missing)).sum(axis=1)
            best = int(gain.argmin())
            if gain[best] < -1e-12 * total:
                swap = [first[best], second[best]]
                order[swap, i], by_time[:, swap, i] = order[swap[::-1], i], by_time[:, swap[::-1], i]
                present[i] += change[best]
                present[:, i] = present[i]
                # Each pair of units stands twice in the error.
                error += 2 * float(gain[best])
        if error >= before - 1e-9 * total:
            break
    return order, 1 - error / total, start


def _permuted(
    x: Float[np.ndarray, "condition time unit"], order: Int[np.ndarray, "condition unit"]
) -> Float[np.ndarray, "condition time unit"]:
    permuted: Float[np.ndarray, "condition time unit"] = np.take_along_axis(x, order[:, None, :], axis=0)
    return permuted


def _same(order: Int[np.ndarray, "condition unit"]) -> float:
    """Share of pairs of units with one order."""
    _, counts = np.unique(order, axis=1, return_counts=True)
    n = order.shape[1]
    return float((counts * (counts - 1)).sum() / (n * (n - 1)))


def _check_request(values: np.ndarray, similarity: float) -> None:
    for axis, name in ((0, "condition"), (2, "unit")):
        if values.shape[axis] < 2:
            raise RatesError(
                f"rates.{name}",
                rule="have at least 2 entries",
                received=values.shape[axis],
                remedy="Orders of conditions and covariances of units need two of each",
            )
    if not similarity < 1:
        raise RatesError(
            "similarity",
            rule="be below 1",
            received=similarity,
            remedy="At 1 only the data with renamed conditions would do; 0.9 leaves room",
        )
