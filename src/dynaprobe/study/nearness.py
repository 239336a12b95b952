"""Which candidate is nearer to the reference, and what the test of it could have found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from dynaprobe.study.pairwise import UNITS_AND_TRIALS, Estimate
from dynaprobe.study.power import Rule, simulated_power

# Which way a measure that is not symmetric is read.
DIRECTIONS = ("both ways", "to the reference", "from the reference")


def nearness(
    scores: Mapping[str, xr.Dataset],
    reference: str,
    *,
    level: float,
    rule: Rule,
) -> xr.Dataset:
    """Compare the scores of all pairs of candidates with the reference, measure by measure.

    The difference of two scores is signed so that it is positive where the first candidate is the nearer. Where
    both errors are over units and trials, resamples of the reference are the same for both candidates, and the
    error is that of the differences resample by resample; otherwise the variances add, with Satterthwaite's
    degrees of freedom. p-values are of t-tests, two-sided, corrected over the pairs of candidates of one measure
    (Holm). Candidates that hold units of the reference are not asked.

    Args:
        scores: results of `dynaprobe.study.pairwise.score_measure`, by measure.
        reference: name of the candidate that the others are compared with.
        level: confidence; the test is at 1 - level.
        rule: how power is simulated where the test does not part two candidates.

    Returns:
        Along ``row``: measure, direction, first, second, first_score, second_score, difference, low, high, p,
        p_corrected, over, is_parted, found, times, least_times (see `dynaprobe.study.power.Power`; NaN where the
        two were parted).
    """
    rows: list[dict[str, Any]] = []
    for name, data in scores.items():
        for direction in DIRECTIONS:
            found = dict(_with_reference(data, reference, direction))
            pairs = [
                _difference(found[a], found[b], sign=1 if data.attrs["kind"] == "similarity" else -1, level=level)
                | {"measure": name, "direction": direction, "first": a, "second": b}
                for a, b in combinations(sorted(found), 2)
            ]
            for row, p in zip(pairs, holm([row["p"] for row in pairs]), strict=True):
                row["p_corrected"] = p
                row["is_parted"] = bool(p <= 1 - level)
                rows.append(row | _power(row, rule))
    for row in rows:
        del row["_difference"]
    names = list(rows[0]) if rows else []
    return xr.Dataset(
        {name: ("row", np.array([row[name] for row in rows])) for name in names},
        attrs={"reference": reference, "level": level, "power": rule.power},
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's rule (1979); NaN stay and are not counted."""
    values = np.asarray(p_values, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(values))
    corrected = values.copy()
    largest = 0.0
    for rank, k in enumerate(known[np.argsort(values[known], kind="stable")]):
        largest = max(largest, min(1.0, values[k] * (known.size - rank)))
        corrected[k] = largest
    return [float(value) for value in corrected]


def _with_reference(data: xr.Dataset, reference: str, direction: str) -> Iterator[tuple[str, Estimate]]:
    """Every candidate's score with the reference, read in one direction."""
    symmetric = bool(data.attrs["is_symmetric"])
    if symmetric != (direction == DIRECTIONS[0]):
        return
    for k in range(data.sizes["row"]):
        row = data.isel(row=k)
        first, second = str(row["first"].item()), str(row["second"].item())
        if reference not in (first, second) or not np.isfinite(float(row["score"])):
            continue
        if int(row["shared"]):
            continue
        if not symmetric and (second == reference) != (direction == DIRECTIONS[1]):
            continue
        draws = row["draws"].values
        over = str(row["over"].item())
        kept = draws if over == UNITS_AND_TRIALS and np.isfinite(draws).all() else np.array([])
        estimate = Estimate(float(row["score"]), float(row["error"]), float(row["dof"]), over, kept)
        yield (first if second == reference else second), estimate


def _difference(a: Estimate, b: Estimate, *, sign: int, level: float) -> dict[str, Any]:
    draws = sign * (a.draws - b.draws) if a.draws.size and a.draws.size == b.draws.size else np.array([])
    value = sign * (a.value - b.value)
    if draws.size:
        error, dof = float(draws.std(ddof=1)), float(draws.size - 1)
    else:
        error, dof = float(np.hypot(a.error, b.error)), _satterthwaite(a, b)
    found = Estimate(value, error, dof, a.over if a.over == b.over else f"{a.over}; {b.over}", draws)
    low, high = found.interval(level)
    p = float(2 * stats.t.sf(abs(value) / error, dof)) if error > 0 and dof > 0 else float("nan")
    return {
        "first_score": a.value,
        "second_score": b.value,
        "difference": value,
        "low": low,
        "high": high,
        "p": p,
        "over": found.over,
        "_difference": found,
    }


def _satterthwaite(a: Estimate, b: Estimate) -> float:
    """Degrees of freedom of a sum of two variances."""
    parts = [(one.error**2, one.dof) for one in (a, b)]
    if not all(np.isfinite(variance) and dof > 0 for variance, dof in parts):
        return float("nan")
    below = sum(variance**2 / dof for variance, dof in parts)
    return float(sum(variance for variance, _ in parts) ** 2 / below) if below > 0 else float("nan")


def _power(row: Mapping[str, Any], rule: Rule) -> dict[str, float]:
    found: Estimate = row["_difference"]
    if row["is_parted"] or not (found.error > 0 and found.dof > 0):
        return dict.fromkeys(("found", "times", "least_times"), float("nan"))
    power = simulated_power(
        found.value,
        found.error,
        dof=found.dof,
        rule=rule,
        name="/".join(str(row[part]) for part in ("measure", "direction", "first", "second")),
        errors=found.draws if found.draws.size else None,
    )
    return {"found": power.difference, "times": power.times, "least_times": power.least_times}
