"""All pairs of candidates under one measure: scores with intervals, floor and ceiling, and what parts them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, permutations
from math import comb

import numpy as np
import xarray as xr
from scipy import stats

from dynaprobe.analysis.matrix import one_thread
from dynaprobe.analysis.measures import Measure
from dynaprobe.analysis.surrogates import normalised_score
from dynaprobe.core.errors import DynaprobeError
from dynaprobe.study.parting import chance_of, parted
from dynaprobe.study.sample import (
    Plan,
    Sample,
    Side,
    floor_between,
    score_between,
    score_resampled,
)

Note = Callable[[int], None]


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error.

    Attributes:
        value: the number.
        error: its standard error; NaN where it is unknown.
        dof: degrees of freedom behind the error.
        over: what the error is of.
        draws: resampled values, paired by draw with those of other pairs; empty over networks.
    """

    value: float
    error: float
    dof: float
    over: str
    draws: np.ndarray = field(default_factory=lambda: np.array([]))

    def interval(self, level: float) -> tuple[float, float]:
        """Student's interval; NaN where there is no error."""
        reach = float(stats.t.ppf((1 + level) / 2, self.dof)) * self.error if self.dof > 0 else float("nan")
        return self.value - reach, self.value + reach


UNITS_AND_TRIALS = "units and trials"
NETWORKS = "networks"


@one_thread
def score_measure(
    measure: Measure,
    samples: Mapping[str, Sequence[Sample]],
    plan: Plan,
    *,
    level: float,
    on_pair: Note | None = None,
) -> xr.Dataset:
    """Score every pair of candidates.

    A pair of a symmetric measure is one row, of another measure one row for each direction. Everything that is
    drawn at random depends on the names of the two candidates alone, so their order changes nothing and another
    candidate moves no row.

    Args:
        measure: a row of `dynaprobe.analysis.measures.MEASURES`.
        samples: the samples of every candidate, one for a recording and one for each network.
        plan: numbers of units and draws.
        level: confidence of every interval alone.
        on_pair: hears how many rows are done.

    Returns:
        Variables along ``row``: first, second, score, low, high, error, dof, over, floor, ceiling, p_floor,
        placed, apart_null, apart_p, apart_least_p, apart_found (see `dynaprobe.study.parting.parted`),
        n_labellings, shared (units that both hold), is_rest (whether they were left out of the larger one), and
        a sentence in ``reason`` where something is missing; ``draws (row, draw)``; ``own (candidate)``: what the
        same units reach in other trials. The measure is in the attributes.
    """
    sides = {name: [Side(measure, sample, plan) for sample in members] for name, members in samples.items()}
    names = sorted(sides)
    pairs = list(combinations(names, 2) if measure.is_symmetric else permutations(names, 2))
    rows = []
    for done, (first, second) in enumerate(pairs, start=1):
        try:
            row = _row(measure, sides[first], sides[second], plan, level=level)
        except DynaprobeError as error:
            row = {"reason": str(error)}
        rows.append({**_NOTHING, **row, "first": first, "second": second})
        if on_pair is not None:
            on_pair(done)
    own = {name: _mean_own(members) for name, members in sides.items()}
    return _dataset(measure, rows, own, plan).assign_attrs(level=level)


_NOTHING: dict[str, object] = {
    **dict.fromkeys(
        (
            *("score", "low", "high", "error", "dof", "floor", "ceiling", "p_floor", "placed"),
            *("apart_null", "apart_p", "apart_least_p", "apart_found"),
        ),
        float("nan"),
    ),
    **dict.fromkeys(("over", "reason"), ""),
    **dict.fromkeys(("n_labellings", "shared", "is_rest"), 0),
    "draws": np.array([]),
}


def n_rows(measure: Measure, n_candidates: int) -> int:
    """How many rows `score_measure` computes."""
    return comb(n_candidates, 2) * (1 if measure.is_symmetric else 2)


def _row(
    measure: Measure, first: Sequence[Side], second: Sequence[Side], plan: Plan, *, level: float
) -> dict[str, object]:
    first, second, n_shared, same_trials = _disjoint(first, second, plan)
    scores = np.array([[score_between(a, b) for b in second] for a in first])
    found = _estimate(scores, first, second, same_trials)
    low, high = found.interval(level)
    floors = [_floors(first, second)]
    if measure.is_symmetric:
        floors.append(_floors(second, first))
    floor = float(np.mean([draws.mean() for draws in floors]))
    ceiling = float(np.mean([_mean_own(first), _mean_own(second)]))
    # Surrogates of either side are a null of their own; the score must beat the harder one.
    p_floor = max(chance_of(measure.sign * found.value, measure.sign * draws) for draws in floors)
    placed, failed = normalised_score(
        measure.sign * found.value, floor=measure.sign * floor, ceiling=measure.sign * ceiling
    )
    row: dict[str, object] = {
        "score": found.value,
        "low": low,
        "high": high,
        "error": found.error,
        "dof": found.dof,
        "over": found.over,
        "draws": found.draws,
        "floor": floor,
        "ceiling": ceiling,
        "p_floor": p_floor,
        "placed": placed if np.isfinite(ceiling) else float("nan"),
        "shared": n_shared,
        "is_rest": int(n_shared > 0 and not same_trials),
        "reason": next(iter(failed), "") if np.isfinite(ceiling) else "no trials to halve on one side: no ceiling",
    }
    if n_shared:
        # Who belongs to which side is no chance where one is a part of the other.
        return row
    return row | parted(measure, float(scores.mean()), first, second, alpha=1 - level)


def _disjoint(
    first: Sequence[Side], second: Sequence[Side], plan: Plan
) -> tuple[Sequence[Side], Sequence[Side], int, bool]:
    """Both sides without the units they share, those taken from the larger one.

    A recording and a part of it would otherwise be alike because they are the same. Where too few units are left,
    as when one recording is given twice, all of them stay and the two are compared on other trials.
    """
    if len(first) > 1 or len(second) > 1:
        return first, second, 0, False
    a, b = first[0], second[0]
    shared_a, shared_b = a.sample.shared_with(b.sample), b.sample.shared_with(a.sample)
    if not shared_a.size:
        return first, second, 0, False
    a_is_larger = (a.sample.n_units, b.sample.name) > (b.sample.n_units, a.sample.name)
    larger, shared = (a, shared_a) if a_is_larger else (b, shared_b)
    if larger.sample.n_units - shared.size < plan.n_units:
        return first, second, int(shared_a.size), True
    other = b if a_is_larger else a
    rest = Side(a.measure, larger.sample.without(shared, f"without {other.sample.name}"), plan)
    return (
        ([rest], second, int(shared_a.size), False) if a_is_larger else (first, [rest], int(shared_a.size), False)
    )


def _estimate(scores: np.ndarray, first: Sequence[Side], second: Sequence[Side], same_trials: bool) -> Estimate:
    """Mean score with the error over networks where there are several, over units and trials otherwise."""
    value = float(scores.mean())
    several = [axis for axis in (0, 1) if scores.shape[axis] > 1]
    if not several:
        draws = score_resampled(first[0], second[0], share_trials=same_trials)
        spread = float(draws.std(ddof=1)) if np.isfinite(draws).all() else float("nan")
        return Estimate(value, spread, draws.size - 1, UNITS_AND_TRIALS, draws)
    # Jackknife over the networks of either side; for one side it is the usual error of a mean.
    variance = 0.0
    for axis in several:
        members = scores.mean(axis=1 - axis)
        variance += float(members.var(ddof=1)) / members.size
    dof = min(scores.shape[axis] for axis in several) - 1
    return Estimate(value, float(np.sqrt(variance)), dof, NETWORKS)


def _floors(first: Sequence[Side], second: Sequence[Side]) -> np.ndarray:
    """Draws of the floor; where there are several networks each pair contributes some of them."""
    n_draws = first[0].plan.settings.n_floor
    pairs = [(a, b) for a in first for b in second]
    share = max(2, -(-n_draws // len(pairs)))
    found = [floor_between(a, b)[:share] for a, b in pairs] if len(pairs) > 1 else [floor_between(*pairs[0])]
    return np.concatenate(found)


def _mean_own(sides: Sequence[Side]) -> float:
    return float(np.mean([side.own for side in sides]))


def _dataset(
    measure: Measure, rows: Sequence[Mapping[str, object]], own: Mapping[str, float], plan: Plan
) -> xr.Dataset:
    n_draws = plan.settings.n_resamples
    draws = np.full((len(rows), n_draws), np.nan)
    for k, row in enumerate(rows):
        found = np.asarray(row["draws"], dtype=np.float64)
        draws[k, : found.size] = found
    names = [name for name in rows[0] if name != "draws"]
    data = {name: ("row", np.array([row[name] for row in rows])) for name in names}
    about = {
        "measure": measure.name,
        "title": measure.title,
        "kind": measure.kind,
        "is_symmetric": int(measure.is_symmetric),
        "n_units": plan.n_units,
    }
    candidates = sorted(own)
    return xr.Dataset(
        {**data, "draws": (("row", "draw"), draws), "own": ("candidate", [own[name] for name in candidates])},
        coords={"candidate": candidates},
        attrs=about,
    )
