"""Which candidate is nearer to the reference, and what the test of it could have found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from dynaprobe.analysis.multiple_tests import holm
from dynaprobe.study.estimate import NETWORKS, Estimate
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
    both errors are over units and trials, the reference's units and trials are the same for both candidates, and
    what the scores owe to them is subtracted before it is squared; all other variances add. p-values are of
    t-tests with Satterthwaite's degrees of freedom, two-sided, corrected over all pairs of candidates and all
    measures together (Holm). Candidates that hold units of the reference are not asked.

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
            rows += pairs
    for row, p in zip(rows, holm(np.array([row["p"] for row in rows])), strict=True):
        row["p_corrected"] = float(p)
        # Without the round-off of 1 - level, so that p of exactly alpha is found.
        row["is_parted"] = bool(p <= round(1 - level, 12))
        row.update(_power(row, rule))
        del row["_difference"]
    names = list(rows[0]) if rows else []
    return xr.Dataset(
        {name: ("row", np.array([row[name] for row in rows])) for name in names},
        attrs={"reference": reference, "level": level, "power": rule.power},
    )


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
        is_first = first == reference
        yield (second if is_first else first), _estimate_of(row, reference="first" if is_first else "second")


def _estimate_of(row: xr.Dataset, *, reference: str) -> Estimate:
    """The score of a row, its sources named after the reference and the candidate."""
    influences, dof = {}, {}
    for source in row["source"].values:
        values = row["influence"].sel(source=source).values
        n_dof = float(row["source_dof"].sel(source=source))
        if np.isfinite(n_dof):
            what, _, side = str(source).partition("_")
            name = f"{what}_{'reference' if side == reference else 'candidate'}"
            # What is missing within a source that was asked for must not make the error small.
            influences[name] = values[: int(row["source_size"].sel(source=source))]
            dof[name] = n_dof
    return Estimate(float(row["score"]), influences, dof)


# What two scores with one reference owe to the same units and trials.
_SHARED = {f"{what}_reference": f"{what}_reference" for what in ("units", "trials")}


def _difference(a: Estimate, b: Estimate, *, sign: int, level: float) -> dict[str, Any]:
    found = a.minus(b, shared={} if NETWORKS in (a.over, b.over) else _SHARED)
    value, error, dof = sign * found.value, found.error, found.total_dof
    known = error > 0 and dof > 0
    reach = float(stats.t.ppf((1 + level) / 2, dof)) * error if known else float("nan")
    return {
        "first_score": a.value,
        "second_score": b.value,
        "difference": value,
        "low": value - reach,
        "high": value + reach,
        "p": float(2 * stats.t.sf(abs(value) / error, dof)) if known else float("nan"),
        "over": a.over if a.over == b.over else f"{a.over}; {b.over}",
        "_difference": found,
    }


def _power(row: Mapping[str, Any], rule: Rule) -> dict[str, float]:
    found: Estimate = row["_difference"]
    if row["is_parted"] or not (found.error > 0 and found.total_dof > 0):
        return dict.fromkeys(("found", "times", "least_times"), float("nan"))
    power = simulated_power(
        found.value,
        found.error,
        dof=found.total_dof,
        rule=rule,
        name="/".join(str(row[part]) for part in ("measure", "direction", "first", "second")),
        dof_grows=row["over"] == NETWORKS,
    )
    return {"found": power.difference, "times": power.times, "least_times": power.least_times}
