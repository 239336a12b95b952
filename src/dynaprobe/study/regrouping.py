"""The units of two populations regrouped at random, under all measures at once, and what such a test can find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynaprobe.analysis.measures import Measure
from dynaprobe.analysis.multiple_tests import standardised
from dynaprobe.analysis.surrogates import TensorMaximumEntropy, fit_tme
from dynaprobe.core.errors import DynaprobeError
from dynaprobe.core.random import generator
from dynaprobe.study.sample import Plan, Sample, chosen_units

# Shares of one side's units that are replaced by surrogates to see what the test would find.
REPLACED = (0.25, 0.5, 1.0)
# Simulated pairs behind each of them.
N_REPLACED = 20


@dataclass(frozen=True)
class Asked:
    """One score of a pair: a measure, read from the first to the second or back."""

    measure: Measure
    is_back: bool = False


def asked_of(measures: Sequence[Measure]) -> list[Asked]:
    """Every measure, those that are not symmetric in both directions."""
    return [Asked(one, back) for one in measures for back in ((False,) if one.is_symmetric else (False, True))]


class Pooled:
    """The units of two populations together, in both halves of the first halving of the trials.

    Attributes:
        plan: numbers of units and draws.
        names: of both, in order.
    """

    def __init__(self, a: Sample, b: Sample, plan: Plan) -> None:
        self.plan, self.names = plan, sorted((a.name, b.name))
        sides = [(side.halves[0], np.sort(chosen_units(side, plan, split=0))) for side in (a, b)]
        self._halves = [_joined(*(halves[h].isel(unit=units) for halves, units in sides)) for h in (0, 1)]

    @cached_property
    def _fit(self) -> TensorMaximumEntropy:
        return fit_tme(self._halves[0])

    def as_seen(self, asked: Sequence[Asked]) -> Float[np.ndarray, " asked"]:
        """The scores of the true groups."""
        n = self.plan.n_units
        return _scores(asked, self._halves, (np.arange(n), np.arange(n, 2 * n)))

    def regrouped(
        self, asked: Sequence[Asked], n_draws: int, *, replaced: float = 0.0
    ) -> Float[np.ndarray, "draw asked"]:
        """Scores of random groups of all units, each as large as a side.

        Where the units of both sides come from one population, who belongs to which side is chance, and the true
        grouping is one among these (permutation test). All measures see the same groups, so that what they find
        can be corrected together.

        Args:
            asked: what is scored.
            n_draws: regroupings; draw k does not depend on how many others there are.
            replaced: share of the units of one group that are replaced by surrogates of all units together.
        """
        found = np.empty((n_draws, len(asked)))
        for draw in range(n_draws):
            rng = generator(self.plan.seed, "pairs", "regroup", *self.names, draw, f"{replaced:g}")
            order = rng.permutation(2 * self.plan.n_units)
            one, other = order[: self.plan.n_units], order[self.plan.n_units :]
            halves = self._halves
            if replaced:
                noise = self._fit.draw_values(draw, seed=int(rng.integers(2**31)))
                lost = other[: round(replaced * other.size)]
                halves = [_with(half, noise, lost) for half in halves]
            found[draw] = _scores(asked, halves, (np.sort(one), np.sort(other)))
        return found


def found_share(
    pooled: Pooled,
    asked: Sequence[Asked],
    groupings: Float[np.ndarray, "grouping asked"],
    *,
    open_: np.ndarray,
    alpha: float,
) -> Float[np.ndarray, " asked"]:
    """The smallest of the shares `REPLACED` of surrogates among the units of one side that the test would find.

    A share is found where as many simulated pairs as `PairSettings.power` asks for have a corrected p of at most
    alpha: they stand out by more than the largest of all measures does in all but so many regroupings.

    Args:
        pooled: the units.
        asked: what was scored.
        groupings: statistics of the true grouping and all others, large where the groups are unlike.
        open_: the scores that found nothing.
        alpha: level of the test.

    Returns:
        Infinite where no share is found, NaN where there is nothing open.
    """
    found = np.full(len(asked), np.nan)
    found[open_] = np.inf
    scores, mean, spread = standardised(groupings)
    largest = scores[1:, np.isfinite(groupings[0])].max(axis=1)
    for share in REPLACED:
        left = np.flatnonzero(np.isinf(found)).tolist()
        if not left:
            break
        kept = [asked[k] for k in left]
        signs = np.array([one.measure.sign for one in kept])
        simulated = -signs * pooled.regrouped(kept, N_REPLACED, replaced=share)
        reach = (simulated - mean[left]) / spread[left]
        p_values = ((largest[:, None, None] >= reach).sum(axis=0) + 1) / (largest.size + 1)
        # A simulated pair without a score finds nothing.
        hits = np.where(np.isfinite(reach), p_values <= alpha, False).mean(axis=0)
        found[np.array(left)[hits >= pooled.plan.settings.power]] = share
    return found


class _Prepared:
    """Both halves of both groups, each prepared once for all measures that prepare it alike."""

    def __init__(self, halves: Sequence[xr.DataArray], groups: Sequence[np.ndarray]) -> None:
        self._halves, self._groups = halves, groups
        self._known: dict[tuple[Callable[..., Any], int, int], Any] = {}

    def of(self, measure: Measure, group: int, half: int) -> Any:
        place = measure.prepare, group, half
        if place not in self._known:
            self._known[place] = measure.prepare(self._halves[half].isel(unit=self._groups[group]))
        return self._known[place]


def _scores(asked: Sequence[Asked], halves: Sequence[xr.DataArray], groups: Sequence[np.ndarray]) -> np.ndarray:
    """One half of the trials of either group against the other half, mean of both ways."""
    prepared = _Prepared(halves, groups)
    return np.array([_score(one, prepared) for one in asked])


def _score(asked: Asked, prepared: _Prepared) -> float:
    measure, (a, b) = asked.measure, (1, 0) if asked.is_back else (0, 1)
    try:
        ways = [measure.compare(prepared.of(measure, a, h), prepared.of(measure, b, 1 - h)) for h in (0, 1)]
    except DynaprobeError:
        # Groups in which nothing varies have no score; among the random ones that counts against a finding.
        return float("nan")
    return sum(ways) / 2


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
