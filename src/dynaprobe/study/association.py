"""Rank correlation between two properties of networks, kept apart from what the networks were trained with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from dynaprobe.core.random import generator

N_PERMUTATIONS = 9999


class Association(NamedTuple):
    """A rank correlation within strata, with its interval and a permutation p-value.

    Attributes:
        rho: between -1 and 1; NaN where nothing varies within any stratum.
        low, high: 95 % interval; infinite where too few networks leave none.
        p: two-sided.
        n: networks in strata in which there is something to compare.
        n_strata: the number of these.
    """

    rho: float
    low: float
    high: float
    p: float
    n: int
    n_strata: int

    def __str__(self) -> str:
        if not np.isfinite(self.rho):
            return "nothing to correlate"
        interval = f" [{self.low:+.2f}, {self.high:+.2f}]" if np.isfinite([self.low, self.high]).all() else ""
        return f"{self.rho:+.2f}{interval}, p {self.p:.2g}, {self.n} networks in {self.n_strata} strata"


def association(
    x: Sequence[float] | Float[np.ndarray, " network"],
    y: Sequence[float] | Float[np.ndarray, " network"],
    strata: Sequence[str],
    *,
    given: Sequence[float] | Float[np.ndarray, " network"] | None = None,
    n_permutations: int = N_PERMUTATIONS,
    level: float = 0.95,
    seed: int = 0,
) -> Association:
    """Rank correlation of x and y across networks of one stratum, all strata taken together.

    Within every stratum s, x and y are ranked (ties share their mean rank), centred and divided by the number of
    networks, so that strata of different size speak of the same thing:

        rho = sum_s sum_i a_si b_si / sqrt(sum_s sum_i a_si^2  sum_s sum_i b_si^2)

    With `given`, a and b are the residuals of their regression on that variable, ranked in the same way: networks
    are compared as if they were alike in it. A difference between strata, as of activation or penalty, adds
    nothing to rho. p: y is permuted within strata, the share of permutations with ``|rho|`` at least as large, the
    observed one counted; with `given` its residuals are. The interval is
    ``tanh(atanh rho +- z sqrt((1 + rho^2 / 2) / d))`` with ``d = n - n_strata - 2 - (1 with given)``. It holds the
    correlation of the population in some 94 of 100 samples of six strata of ten; a strong one, which ranks within
    few networks understate, in fewer (some 88 at 0.8).

    Args:
        x, y: one value per network; networks with a NaN are left out.
        strata: name of the stratum of every network.
        given: what is held alike.
        n_permutations: permutations behind p.
        level: of the interval.
        seed: of the permutations.

    Source: Spearman (1904) within blocks; variance of Fisher's z of ranks: Bonett & Wright (2000) Psychometrika
    65:23.
    """
    columns = [np.asarray(values, dtype=np.float64) for values in ((x, y) if given is None else (x, y, given))]
    known = np.isfinite(columns).all(axis=0)
    names, inside = np.unique(np.asarray(strata, dtype=str)[known], return_inverse=True)
    sizes = np.bincount(inside, minlength=names.size)
    # A stratum of one network has nothing to compare.
    usable = sizes[inside] > 1
    inside, columns = inside[usable], [values[known][usable] for values in columns]
    n, n_strata = int(usable.sum()), int((sizes > 1).sum())
    ranked = [_ranks(values, inside) for values in columns]
    a, b = (_without(values, ranked[2]) for values in ranked[:2]) if given is not None else ranked
    power = float(np.sqrt((a @ a) * (b @ b)))
    if n < 2 or power <= 1e-12 * n:
        return Association(float("nan"), float("-inf"), float("inf"), 1.0, n, n_strata)
    rho = float(np.clip(a @ b / power, -1, 1))
    shuffled = _permuted(b, inside, n_permutations, seed) @ a / power
    # Equal correlations differ by round-off.
    p = (1 + int((np.abs(shuffled) >= abs(rho) - 1e-9).sum())) / (1 + n_permutations)
    freedom = n - n_strata - 2 - (given is not None)
    if freedom < 1:
        return Association(rho, float("-inf"), float("inf"), p, n, n_strata)
    reach = float(stats.norm.ppf((1 + level) / 2)) * np.sqrt((1 + rho**2 / 2) / freedom)
    middle = np.arctanh(np.clip(rho, -1 + 1e-9, 1 - 1e-9))
    return Association(rho, float(np.tanh(middle - reach)), float(np.tanh(middle + reach)), p, n, n_strata)


def _ranks(values: Float[np.ndarray, " network"], inside: Int[np.ndarray, " network"]) -> np.ndarray:
    """Ranks within strata, centred, in units of the stratum's size."""
    ranks = np.zeros(values.size)
    for stratum in np.unique(inside):
        here = inside == stratum
        ranked = stats.rankdata(values[here])
        ranks[here] = (ranked - ranked.mean()) / ranked.size
    return ranks


def _without(values: Float[np.ndarray, " network"], given: Float[np.ndarray, " network"]) -> np.ndarray:
    power = given @ given
    rest: np.ndarray = values - given * (given @ values / power) if power > 0 else values
    return rest


def _permuted(
    values: Float[np.ndarray, " network"], inside: Int[np.ndarray, " network"], n_permutations: int, seed: int
) -> Float[np.ndarray, "permutation network"]:
    """The values in random order within their strata."""
    rng = generator(seed, "association", "permutations")
    out = np.empty((n_permutations, values.size))
    for stratum in np.unique(inside):
        here = np.flatnonzero(inside == stratum)
        out[:, here] = rng.permuted(np.tile(values[here], (n_permutations, 1)), axis=1)
    return out
