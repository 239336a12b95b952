"""All pairs of candidates under one measure: scores with intervals, floor and ceiling, and what parts them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, permutations
from math import comb
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynaprobe.analysis.matrix import one_thread
from dynaprobe.analysis.measures import Measure
from dynaprobe.analysis.surrogates import normalised_score
from dynaprobe.core.errors import DynaprobeError
from dynaprobe.study.estimate import (
    SOURCES,
    Estimate,
    halving_influences,
    interval,
    member_influences,
    noise_of_units,
    unit_influences,
)
from dynaprobe.study.parting import chance_of
from dynaprobe.study.sample import Plan, Sample, Side, floor_between, score_between, scores_of_halves

Note = Callable[[int], None]


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
        Variables along ``row``: first, second, score, low, high, error, dof, over, floor, n_floor_failed
        (surrogates without a score), ceiling, p_floor, placed, shared (units that both hold), is_rest (whether
        they were left out of the larger one), and a sentence in ``reason`` where something is missing; ``influence
        (row, source, element)`` and ``source_dof`` and ``source_size (row, source)``, see
        `dynaprobe.study.estimate.Estimate`; ``own (candidate)``: what the same units reach in other trials;
        ``between (sample, other)``: scores of all networks, where two candidates have several. The measure is in
        the attributes.
    """
    sides = {name: [Side(measure, sample, plan) for sample in members] for name, members in samples.items()}
    names = sorted(sides)
    known = _Scores()
    pairs = list(combinations(names, 2) if measure.is_symmetric else permutations(names, 2))
    rows = []
    for done, (first, second) in enumerate(pairs, start=1):
        try:
            row = _row(measure, sides[first], sides[second], plan, known, level=level)
        except DynaprobeError as error:
            row = {"reason": str(error)}
        rows.append({**_NOTHING, **row, "first": first, "second": second})
        if on_pair is not None:
            on_pair(done)
    own = {name: _mean_own(members) for name, members in sides.items()}
    found = _dataset(measure, rows, own, plan).assign_attrs(level=level)
    groups = [members for members in sides.values() if len(members) > 1]
    return (
        found if len(groups) < 2 else found.assign(between=known.table([one for group in groups for one in group]))
    )


class _Scores:
    """Scores of networks, each computed once: a network meets the same others in several pairs of candidates."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], float] = {}

    def of(self, a: Side, b: Side) -> float:
        """The score of two networks; NaN where there is none."""
        place = a.sample.name, b.sample.name
        if place not in self._known:
            score = self._known[place] = score_between(a, b)
            if a.measure.is_symmetric:
                self._known[place[::-1]] = score
        return self._known[place]

    def table(self, sides: Sequence[Side]) -> xr.DataArray:
        """Scores of all pairs of networks."""
        values = np.full((len(sides), len(sides)), np.nan)
        for i, j in permutations(range(len(sides)), 2):
            try:
                values[i, j] = self.of(sides[i], sides[j])
            except DynaprobeError:
                # Two that cannot be scored leave their candidates untested; the row of the pair says why.
                continue
        names = [side.sample.name for side in sides]
        return xr.DataArray(values, dims=("sample", "other"), coords={"sample": names, "other": names})


_NOTHING: dict[str, object] = {
    **dict.fromkeys(
        ("score", "low", "high", "error", "dof", "floor", "ceiling", "p_floor", "placed"), float("nan")
    ),
    **dict.fromkeys(("over", "reason"), ""),
    **dict.fromkeys(("n_floor_failed", "n_copies", "shared", "is_rest"), 0),
    "estimate": Estimate(float("nan"), {}, {}),
}


def n_rows(measure: Measure, n_candidates: int) -> int:
    """How many rows `score_measure` computes."""
    return comb(n_candidates, 2) * (1 if measure.is_symmetric else 2)


def _row(
    measure: Measure, first: Sequence[Side], second: Sequence[Side], plan: Plan, known: _Scores, *, level: float
) -> dict[str, object]:
    first, second, n_shared, same_trials = _disjoint(first, second, plan)
    found = _estimate(first, second, known, same_trials=same_trials)
    low, high = interval(found, measure, level=level)
    floors = [_floors(first, second)]
    if measure.is_symmetric:
        floors.append(_floors(second, first))
    scored = [draws[np.isfinite(draws)] for draws in floors]
    floor = float(np.mean([draws.mean() for draws in scored])) if all(d.size for d in scored) else float("nan")
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
        "dof": found.total_dof,
        "over": found.over,
        "estimate": found,
        "floor": floor,
        "n_floor_failed": int(sum((~np.isfinite(draws)).sum() for draws in floors)),
        "ceiling": ceiling,
        "p_floor": p_floor if np.isfinite(floor) else float("nan"),
        "placed": placed if np.isfinite([floor, ceiling]).all() else float("nan"),
        "shared": n_shared,
        "is_rest": int(n_shared > 0 and not same_trials),
    }
    row["n_copies"] = n_copies(first, second)
    n_without_trials = sum(not side.sample.has_trials for side in (first[0], second[0]))
    is_single = len(first) == len(second) == 1
    n_floor = sum(draws.size for draws in floors)
    remarks = _remarks(row, n_floor=n_floor, failed=failed, n_without_trials=n_without_trials, is_single=is_single)
    return row | {"reason": "; ".join(remarks)}


def _remarks(
    row: Mapping[str, Any],
    *,
    n_floor: int,
    failed: Mapping[str, int],
    n_without_trials: int,
    is_single: bool,
) -> Iterator[str]:
    """What a row lacks, in words."""
    if not np.isfinite(row["score"]):
        yield "no score: it is not defined for these rates, as where a population does not vary"
    elif row["shared"] and not row["is_rest"]:
        yield "both hold the same units: the score is how like they are in other trials, without an interval"
    if row["n_copies"] and is_single:
        yield "both are one network: the score is how like it is in other trials, without an interval"
    elif row["n_copies"]:
        yield f"{row['n_copies']} of the networks have a copy on the other side, with which they are not compared"
    n_lost = row["n_floor_failed"]
    if n_lost == n_floor:
        yield "no floor: not one surrogate has a score"
    elif n_lost:
        yield f"{n_lost} of {n_floor} surrogates have no score: left out of the floor, counted against p"
    if n_without_trials:
        yield f"no trials to halve on {'either' if n_without_trials > 1 else 'one'} side: no ceiling"
    elif not np.isfinite(row["ceiling"]):
        yield "no ceiling: the same units have no score with themselves in other trials"
    elif np.isfinite(row["floor"]):
        yield from failed


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
    shared = a.sample.shared_with(b.sample)
    if not shared:
        return first, second, 0, False
    a_is_larger = (a.sample.n_units, b.sample.name) > (b.sample.n_units, a.sample.name)
    larger, units = (a, list(shared)) if a_is_larger else (b, list(shared.values()))
    if larger.sample.n_units - len(units) < plan.n_units:
        heard = b.sample.heard_as(a.sample, {there: here for here, there in shared.items()})
        return first, [Side(b.measure, heard, plan)], len(shared), True
    other = b if a_is_larger else a
    rest = Side(a.measure, larger.sample.without(np.array(units), f"without {other.sample.name}"), plan)
    return ([rest], second, len(shared), False) if a_is_larger else (first, [rest], len(shared), False)


def _estimate(first: Sequence[Side], second: Sequence[Side], known: _Scores, *, same_trials: bool) -> Estimate:
    """Mean score with the error over networks where there are several, over units and trials otherwise."""
    if len(first) == len(second) == 1:
        return _of_populations(first[0], second[0], same_trials=same_trials or n_copies(first, second) > 0)
    scores = np.array([[known.of(a, b) for b in second] for a in first])
    copies = np.array(
        [[bool(a.sample.content) and a.sample.content == b.sample.content for b in second] for a in first]
    )
    influences = {}
    for axis, side in enumerate(("first", "second")):
        if scores.shape[axis] > 1:
            # A network that is on both sides is compared with the others there.
            met = ~copies.all(axis=1 - axis)
            members = np.where(copies, 0.0, scores).sum(axis=1 - axis)[met] / (~copies).sum(axis=1 - axis)[met]
            if members.size > 1:
                influences[f"networks_{side}"] = member_influences(members)
    dof = {source: float(found.size - 1) for source, found in influences.items()}
    return Estimate(float(scores[~copies].mean()), influences, dof)


def _of_populations(a: Side, b: Side, *, same_trials: bool) -> Estimate:
    """The score of two populations, with what it owes to groups of units and to halvings of the trials of both."""
    table = scores_of_halves(a, b)
    crossed = table[:, [0, 1], [1, 0]]
    value = float(crossed.mean())
    if same_trials:
        # Leaving a unit out of one of two equal sides is not another sample of both.
        return Estimate(value, {}, {})
    whole = np.array([crossed[split].mean() for split, _ in a.parted])
    first, second, both = _parted_units(a, b)
    units = unit_influences(
        whole, first.mean(axis=-1), second.mean(axis=-1), both, rest=a.rest, kept=(a.kept, b.kept)
    )
    influences = dict(zip(("units_first", "units_second"), units, strict=True))
    dof = {source: float(found.size - 1) for source, found in influences.items()}
    for axis, (name, side, crosses) in enumerate((("first", a, first), ("second", b, second)), start=1):
        if side.sample.has_trials:
            source = f"trials_{name}"
            influences[source] = halving_influences(table, axis, of_units=noise_of_units(crosses[:, :2]))
            dof[source] = float(len(table))
    return Estimate(value, influences, dof)


Parted = Float[np.ndarray, "draw part cross"]


def _parted_units(a: Side, b: Side) -> tuple[Parted, Parted, Float[np.ndarray, "draw half other"]]:
    """Scores of parts of the units of one side, of the other, and of halves of both.

    Those of one side stand apart for both crosses: its one half of the trials with the other's other half, and its
    other half with the other's one.
    """

    def crosses(x: tuple[Any, Any], y: tuple[Any, Any]) -> list[float]:
        return [a.measure.compare(x[0], y[1]), a.measure.compare(x[1], y[0])]

    first, second, both = [], [], []
    for (split, of_a), (_, of_b) in zip(a.parted, b.parted, strict=True):
        first.append([crosses(x, b.halves[split]) for x in of_a])
        second.append([crosses(a.halves[split], y) for y in of_b])
        both.append([[np.mean(crosses(x, y)) for y in of_b[:2]] for x in of_a[:2]])
    return np.array(first), np.array(second), np.array(both)


def n_copies(first: Sequence[Side], second: Sequence[Side]) -> int:
    """How many networks are on both sides."""
    return len({a.sample.content for a in first} & {b.sample.content for b in second} - {""})


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
    measure: Measure, rows: Sequence[Mapping[str, Any]], own: Mapping[str, float], plan: Plan
) -> xr.Dataset:
    estimates = [row["estimate"] for row in rows]
    sizes = [found.size for one in estimates for found in one.influences.values()]
    shape = len(rows), len(SOURCES)
    influence, dof = np.full((*shape, max(sizes, default=0)), np.nan), np.full(shape, np.nan)
    size = np.zeros(shape, dtype=int)
    for k, one in enumerate(estimates):
        for source, found in one.influences.items():
            place = k, SOURCES.index(source)
            influence[place][: found.size], size[place] = found, found.size
            dof[place] = one.dof[source]
    names = [name for name in rows[0] if name != "estimate"]
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
        {
            **data,
            "influence": (("row", "source", "element"), influence),
            "source_dof": (("row", "source"), dof),
            "source_size": (("row", "source"), size),
            "own": ("candidate", [own[name] for name in candidates]),
        },
        coords={"candidate": candidates, "source": list(SOURCES)},
        attrs=about,
    )
