"""Can two candidates be told apart? Permutation tests over units or networks, and what they could have found."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb

import numpy as np
import xarray as xr

from dynaprobe.analysis.measures import Measure
from dynaprobe.analysis.surrogates import fit_tme
from dynaprobe.core.random import generator
from dynaprobe.study.sample import Side, score_between

# Regroupings of networks are enumerated up to this many and drawn at random beyond.
MOST_LABELLINGS = 5000
# Shares of one side's units that are replaced by surrogates to see what the test would find.
REPLACED = (0.25, 0.5, 1.0)
# Simulated pairs behind each of them.
N_REPLACED = 20
# Two groupings whose scores differ by less are equal up to round-off.
TIE = 1e-12


def chance_of(score: float, null: np.ndarray) -> float:
    """Share of draws at least as large, the score itself counted: ``(k + 1) / (n + 1)``; NaN for no score.

    A draw without a score counts as large: what could not be computed must not make a finding.
    """
    return float((np.sum(~(null < score)) + 1) / (null.size + 1)) if np.isfinite(score) else float("nan")


def parted(
    measure: Measure,
    score: float,
    first: Sequence[Side],
    second: Sequence[Side],
    *,
    alpha: float,
) -> dict[str, object]:
    """Test whether two candidates are less alike than two random groups of the same members.

    Members are units where both candidates are one population, and networks where both have several. There is no
    test where one is a single population and the other has several networks, or without trials to halve.

    Args:
        measure: the measure.
        score: mean score of the pair.
        first, second: the samples of both.
        alpha: level of the test; where it is not reached, power is simulated.

    Returns:
        apart_p: chance that random groups are as little alike; apart_null: their mean score; apart_least_p: the
        smallest p that the test could have given; n_labellings: groupings behind it; apart_found: the smallest of
        the shares `REPLACED` of one side's units that could be surrogates and be found in four of five simulated
        pairs, infinite where none is, NaN where the two were told apart.
    """
    if len(first) == 1 and len(second) == 1:
        a, b = first[0], second[0]
        if not (a.sample.has_trials and b.sample.has_trials):
            return {}
        null = regrouped(a, b)
        p = chance_of(-measure.sign * score, -measure.sign * null)
        return {
            "apart_p": p,
            "apart_null": float(null.mean()),
            "apart_least_p": 1 / (null.size + 1),
            "n_labellings": null.size + 1,
            "apart_found": _found(a, b, null, alpha) if p > alpha else float("nan"),
        }
    if min(len(first), len(second)) < 2:
        return {}
    everyone = [*first, *second]
    table = np.array([[measure.sign * score_between(a, b) for b in everyone] for a in everyone])
    return _labellings(table, len(first), seed=first[0].plan.seed)


def regrouped(a: Side, b: Side, *, replaced: float = 0.0, n_draws: int | None = None) -> np.ndarray:
    """Scores between two random groups of the units of both sides, as large as the sides.

    Where the units of both sides come from one population, who belongs to which side is chance, and the true
    grouping is one among these (permutation test). Each draw takes one halving of the trials, both ways.

    Args:
        a, b: the sides.
        replaced: share of the units of one group that are replaced by surrogates of all units together.
        n_draws: regroupings; None takes as many as the plan says.
    """
    measure, plan = a.measure, a.plan
    n_splits = min(a.n_splits, b.n_splits)
    pools = [[_joined(a.half(k, h), b.half(k, h)) for h in (0, 1)] for k in range(n_splits)]
    names = sorted((a.sample.name, b.sample.name))
    fits = [fit_tme(pool[0]) for pool in pools] if replaced else []
    scores = []
    for draw in range(n_draws or plan.settings.n_regroupings):
        rng = generator(plan.seed, "pairs", "regroup", *names, draw, f"{replaced:g}")
        pool = pools[draw % n_splits]
        order = rng.permutation(pool[0].sizes["unit"])
        one, other = order[: plan.n_units], order[plan.n_units :]
        changed = list(pool)
        if replaced:
            lost = other[: round(replaced * other.size)]
            noise = fits[draw % n_splits].draw_values(draw, seed=int(rng.integers(2**31)))
            changed = [_with(half, noise, lost) for half in pool]
        forth, back = (
            measure.compare(
                measure.prepare(pool[h].isel(unit=np.sort(one))),
                measure.prepare(changed[1 - h].isel(unit=np.sort(other))),
            )
            for h in (0, 1)
        )
        scores.append((forth + back) / 2)
    return np.array(scores)


def _found(a: Side, b: Side, null: np.ndarray, alpha: float) -> float:
    """The smallest share of surrogates among the units of one side that the test finds in most simulated pairs."""
    sign = a.measure.sign
    for share in REPLACED:
        simulated = regrouped(a, b, replaced=share, n_draws=N_REPLACED)
        chances = np.array([chance_of(-sign * score, -sign * null) for score in simulated])
        if np.mean(chances <= alpha) >= a.plan.settings.power:
            return share
    return float("inf")


def _with(rates: xr.DataArray, noise: np.ndarray, units: np.ndarray) -> xr.DataArray:
    values = rates.values.copy()
    values[..., units] = noise[..., units]
    return rates.copy(data=values)


def _joined(a: xr.DataArray, b: xr.DataArray) -> xr.DataArray:
    """The units of two samples side by side; conditions and times are those of the first."""
    kept = {name: c for name, c in a.coords.items() if "unit" not in c.dims}
    return xr.DataArray(
        np.concatenate([a.values, b.values], axis=-1), dims=a.dims, coords=kept, name=a.name, attrs=a.attrs
    )


def _labellings(table: np.ndarray, n_first: int, *, seed: int) -> dict[str, object]:
    """Permutation test over networks: likeness between the two groups against likeness within them."""
    n = table.shape[0]
    if comb(n, n_first) <= MOST_LABELLINGS:
        groups = [np.array(chosen) for chosen in combinations(range(n), n_first)]
    else:
        rng = generator(seed, "pairs", "labellings", n, n_first)
        groups = [np.arange(n_first), *(rng.permutation(n)[:n_first] for _ in range(MOST_LABELLINGS - 1))]
    apart = np.array([_between_minus_within(table, group) for group in groups])
    # Groups of one size count twice, once as the first and once as the second.
    least = (2 if 2 * n_first == n else 1) / len(groups)
    # The first grouping is the true one; it counts among those at least as far apart.
    p = float(np.mean(apart <= apart[0] + TIE))
    return {"apart_p": p, "apart_least_p": least, "n_labellings": len(groups)}


def _between_minus_within(table: np.ndarray, group: np.ndarray) -> float:
    """Mean likeness across the groups minus that within them, each ordered pair of networks counted once."""
    inside = np.zeros(table.shape[0], dtype=bool)
    inside[group] = True
    across = inside[:, None] != inside[None, :]
    within = ~across & ~np.eye(inside.size, dtype=bool)
    return float(table[across].mean() - table[within].mean())
