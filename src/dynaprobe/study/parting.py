"""Can two candidates be told apart? Permutation tests over units or networks, corrected over all measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import comb

import numpy as np
import xarray as xr

from dynaprobe.analysis.matrix import one_thread
from dynaprobe.analysis.measures import Measure
from dynaprobe.analysis.multiple_tests import max_t
from dynaprobe.core.random import generator
from dynaprobe.study.regrouping import Asked, Pooled, asked_of, found_share
from dynaprobe.study.sample import Plan, Sample

# Regroupings of networks are enumerated up to this many and drawn at random beyond.
MOST_GROUPINGS = 999
NO_NUMBERS = ("apart_score", "apart_null", "apart_p", "apart_p_alone", "apart_least_p", "apart_found")


def chance_of(score: float, null: np.ndarray) -> float:
    """Share of draws at least as large, the score itself counted: ``(k + 1) / (n + 1)``; NaN for no score.

    A draw without a score counts as large: what could not be computed must not make a finding.
    """
    return float((np.sum(~(null < score)) + 1) / (null.size + 1)) if np.isfinite(score) else float("nan")


@one_thread
def part_pair(
    measures: Sequence[Measure],
    first: Sequence[Sample],
    second: Sequence[Sample],
    plan: Plan,
    *,
    scores: Mapping[str, xr.Dataset],
    alpha: float,
) -> xr.Dataset:
    """Test whether two candidates are less alike than two random groups of the same members.

    Members are units where both candidates are one population, and networks where both have several. There is no
    test where one is a single population and the other has several networks, without trials to halve, or where
    one holds units of the other. The statistic is the same for the true groups and for random ones: of units, the
    score in one halving of the trials, both ways; of networks, mean likeness across the groups less that within
    them. All measures see the same groupings, and p is corrected over measures by the largest of their
    standardised statistics (`dynaprobe.analysis.multiple_tests.max_t`), so that the chance of calling equals apart
    by any measure is at most alpha. It is not corrected over pairs.

    Args:
        measures: all of the comparison.
        first, second: the samples of both.
        plan: numbers of units and draws.
        scores: results of `dynaprobe.study.pairwise.score_measure`, for the likeness of networks.
        alpha: level of the test; where it is not reached, power is simulated.

    Returns:
        Along ``row``, one for each measure and direction: measure, is_back, apart_score (of the true groups),
        apart_null (mean of the random ones), apart_p, apart_p_alone (not corrected), apart_least_p (the smallest
        that the test could have given), n_groupings, apart_found (see
        `dynaprobe.study.regrouping.found_share`); ``groupings (grouping, row)``, the true one first, large where
        the groups are unlike; the reason in ``untested`` where there is no test.
    """
    asked = asked_of(measures)
    untested = why_untested(first, second)
    if untested:
        return _dataset(asked, np.full((1, len(asked)), np.nan), {}, untested)
    if len(first) > 1:
        samples = [[one.name for one in members] for members in (first, second)]
        tables = [one.measure.sign * scores[one.measure.name]["between"] for one in asked]
        chosen = _groupings(len(first), len(second), seed=plan.seed)
        groupings = np.stack(
            [_apart(table.loc[_both(samples), _both(samples)], chosen) for table in tables], axis=1
        )
        # Groups of one size count twice, once as the first and once as the second.
        least = (2 if len(first) == len(second) else 1) / len(chosen)
        return _dataset(asked, groupings, {"apart_least_p": least}, "")
    pooled = Pooled(first[0], second[0], plan)
    signs = np.array([one.measure.sign for one in asked])
    seen, null = pooled.as_seen(asked), pooled.regrouped(asked, plan.settings.n_regroupings)
    groupings = -signs * np.vstack([seen, null])
    known = np.isfinite(null).any(axis=0)
    means = np.full(len(asked), np.nan)
    means[known] = np.nanmean(null[:, known], axis=0)
    numbers: dict[str, np.ndarray | float] = {
        "apart_score": seen,
        "apart_null": means,
        "apart_least_p": 1 / len(groupings),
    }
    open_ = max_t(groupings) > alpha
    numbers["apart_found"] = found_share(pooled, asked, groupings, open_=open_, alpha=alpha)
    return _dataset(asked, groupings, numbers, "")


def why_untested(first: Sequence[Sample], second: Sequence[Sample]) -> str:
    """Why there is no test of two candidates; empty where there is one."""
    if min(len(first), len(second)) == 1 < max(len(first), len(second)):
        return "one population against several networks"
    if {one.content for one in first} & {one.content for one in second} - {""}:
        return "they hold the same networks"
    if len(first) > 1:
        return ""
    lacking = [one.name for one in (first[0], second[0]) if not one.has_trials]
    if lacking:
        return f"{' and '.join(lacking)} {'have' if len(lacking) > 1 else 'has'} no trials to halve"
    return "they hold some of the same units" if first[0].shared_with(second[0]) else ""


def _dataset(
    asked: Sequence[Asked], groupings: np.ndarray, numbers: Mapping[str, np.ndarray | float], untested: str
) -> xr.Dataset:
    n = len(asked)
    data: dict[str, object] = {name: ("row", np.full(n, np.nan)) for name in NO_NUMBERS}
    data["apart_p"] = "row", max_t(groupings)
    data["apart_p_alone"] = "row", [max_t(column[:, None])[0] for column in groupings.T]
    data |= {name: ("row", np.broadcast_to(value, n)) for name, value in numbers.items()}
    data["n_groupings"] = "row", np.full(n, 0 if untested else len(groupings))
    data["measure"] = "row", [one.measure.name for one in asked]
    data["is_back"] = "row", [one.is_back for one in asked]
    data["groupings"] = ("grouping", "row"), groupings
    return xr.Dataset(data, attrs={"untested": untested})


def _both(samples: Sequence[Sequence[str]]) -> list[str]:
    return [name for members in samples for name in members]


def _groupings(n_first: int, n_second: int, *, seed: int) -> np.ndarray:
    """Which networks are in the first group, ``(grouping, network)``; the true grouping first."""
    n = n_first + n_second
    if comb(n, n_first) <= MOST_GROUPINGS:
        groups = [list(chosen) for chosen in combinations(range(n), n_first)]
    else:
        rng = generator(seed, "pairs", "groupings", n, n_first)
        groups = [
            list(range(n_first)),
            *(rng.permutation(n)[:n_first].tolist() for _ in range(MOST_GROUPINGS - 1)),
        ]
    inside = np.zeros((len(groups), n), dtype=bool)
    for row, group in zip(inside, groups, strict=True):
        row[group] = True
    return inside


def _apart(table: xr.DataArray, groupings: np.ndarray) -> np.ndarray:
    """Mean likeness within groups minus that across them, each ordered pair of networks counted once."""
    values = table.values
    other = ~np.eye(len(values), dtype=bool)
    found = []
    for inside in groupings:
        across = inside[:, None] != inside[None, :]
        found.append(values[~across & other].mean() - values[across].mean())
    return np.array(found)
