"""The test that parts two candidates: its error rate over all measures, what it finds and could find."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import xarray as xr
from made_up_samples import plan, sample

from dynaprobe.analysis.measures import Measure, measure_named
from dynaprobe.study.pair_tables import with_tests
from dynaprobe.study.pairwise import score_measure
from dynaprobe.study.parting import part_pair
from dynaprobe.study.regrouping import Pooled, asked_of
from dynaprobe.study.sample import Sample, Side, score_between
from dynaprobe.study.sentences import apart_sentences

PROCRUSTES, CKA, RSA = (measure_named(name) for name in ("procrustes_distance", "cka", "rsa"))


def compared(
    *samples: Sample, measures: tuple[Measure, ...] = (PROCRUSTES,), level: float = 0.95, **changes
) -> dict[str, xr.Dataset]:
    """Scores of all pairs with what parts them."""
    groups: dict[str, list[Sample]] = {}
    for one in samples:
        groups.setdefault(one.candidate, []).append(one)
    how = plan(**changes)
    scores = {one.name: score_measure(one, groups, how, level=level) for one in measures}
    tests = {
        pair: part_pair(measures, *(groups[name] for name in pair), how, scores=scores, alpha=round(1 - level, 12))
        for pair in combinations(sorted(groups), 2)
    }
    return {name: with_tests(data, tests) for name, data in scores.items()}


def said_of(*samples: Sample, level: float = 0.95, **changes) -> list[str]:
    return [one.text for one in apart_sentences(compared(*samples, level=level, **changes), level=level)]


def error_rate(n_pairs: int, measures: tuple[Measure, ...], *, n_regroupings: int, n_units: int = 16) -> int:
    """Pairs of equals that any measure calls apart at .05."""
    found = 0
    for k in range(n_pairs):
        pair = [sample(name, units=1000 + 2 * k + j, n_units=n_units) for j, name in enumerate("ab")]
        how = plan(n_units, n_regroupings=n_regroupings)
        test = part_pair(measures, pair[:1], pair[1:], how, scores={}, alpha=1.0)
        found += bool((test["apart_p"].values <= 0.05).any())
    return found


def test_equals_are_called_apart_by_any_measure_no_more_often_than_the_level():
    """Forty pairs of one population under three measures."""
    # SAMPLING: at a rate of .05 more than 6 of 40 happens once in 300 times.
    assert error_rate(40, (PROCRUSTES, CKA, RSA), n_regroupings=19) <= 6


@pytest.mark.slow
def test_the_rate_of_equals_called_apart_is_the_level_over_many_pairs():
    """Three hundred pairs of one population: the rate lies at .05 within two and a half standard errors."""
    rate = error_rate(300, (PROCRUSTES, CKA, RSA, measure_named("cca")), n_regroupings=39) / 300
    # SAMPLING: 2.5 sqrt(.05 * .95 / 300) = .031.
    assert abs(rate - 0.05) <= 0.031


def test_the_true_groups_are_scored_as_random_ones_are():
    """Second route: groups drawn by hand, scored by the measure itself, one way and the other."""
    a, b = sample("a"), sample("b", units=1)
    pooled = Pooled(a, b, plan())
    ways = [PROCRUSTES.score(a.halves[0][h], b.halves[0][1 - h]) for h in (0, 1)]
    asked = asked_of([PROCRUSTES])
    assert pooled.as_seen(asked)[0] == pytest.approx(np.mean(ways))
    null = pooled.regrouped(asked, 40)[:, 0]
    # Groups of twins: with the same units on both sides, the true grouping is like any other.
    assert null.min() < pooled.as_seen(asked)[0] < null.max()


def test_the_order_of_the_two_and_further_draws_change_nothing():
    a, b = sample("a"), sample("b", units=1)
    asked = asked_of([PROCRUSTES])
    one, more = Pooled(a, b, plan()).regrouped(asked, 5), Pooled(a, b, plan()).regrouped(asked, 9)
    np.testing.assert_array_equal(one, more[:5])


def test_worlds_are_told_apart_and_equals_are_not():
    found = compared(sample("a"), sample("b", units=1), sample("x", world=3, units=2))
    said = apart_sentences(found, level=0.95)
    texts = [one.text for one in said]
    assert "a and x can be told apart by the one measure." in texts
    assert "b and x can be told apart by the one measure." in texts
    (same,) = [one for one in said if one.text.startswith("a and b")]
    assert "cannot be told apart" in same.text
    assert "surrogates in place of" in same.details[0]
    assert texts[-1] == (
        "Whether two can be told apart is corrected over measures and not over pairs: of 3 pairs of equals 0.15 "
        "would be told apart, on average."
    )


def test_worlds_are_told_apart_by_many_measures_and_the_correction_is_said():
    found = compared(sample("a"), sample("x", world=3, units=2), measures=(PROCRUSTES, CKA, RSA), n_regroupings=39)
    for data in found.values():
        assert float(data["apart_p"][0]) >= float(data["apart_p_alone"][0])
    (said, *_) = apart_sentences(found, level=0.95)
    assert said.text.startswith("a and x can be told apart by ")
    assert "in random groups of units, p = " in said.details[0]


def test_a_measure_that_is_not_symmetric_is_read_both_ways():
    def ratio(a: float, b: float) -> float:
        return a / b

    directed = Measure("spread", "ratio", "similarity", False, lambda rates: float(rates.std()), ratio)
    wide = sample("b", signal=3 * sample("b", units=1).rates.values)
    data = compared(sample("a"), wide, measures=(directed,))["spread"]
    there, back = (float(data["apart_p"].values[data["first"].values == name][0]) for name in "ab")
    # From the narrow to the wide one the ratio is far below that of mixed groups, and back far above it.
    assert there == pytest.approx(1 / 20)
    assert back == pytest.approx(1.0)


def test_what_is_not_tested_is_said_with_the_reason():
    nets = [sample(f"n{k}", units=k, candidate="nets") for k in range(2)]
    averages = replace(sample("avg", units=8, noise=0.0), has_trials=False)
    recorded = sample("rec", units=9)
    twin = Sample("twin", "twin", recorded.rates, recorded.halves)
    said = apart_sentences(compared(*nets, recorded, averages, twin), level=0.95)
    assert said[-1].text == "Whether these can be told apart was not tested."
    assert "nets and rec: one population against several networks" in said[-1].details
    assert "avg and rec: avg has no trials to halve" in said[-1].details
    assert "rec and twin: they hold some of the same units" in said[-1].details


def test_more_units_of_another_world_are_found_more_easily():
    """The power that is simulated grows with the share of units that are replaced."""
    pooled = Pooled(sample("a"), sample("b", units=1), plan())
    asked = asked_of([PROCRUSTES])
    null, few, many = (pooled.regrouped(asked, 8, replaced=share).mean() for share in (0.0, 0.25, 1.0))
    assert null < few < many


def test_a_group_without_a_score_makes_no_finding():
    """A measure that fails for every other grouping: half of the null counts as larger than anything."""

    def compare(a: np.ndarray, b: np.ndarray) -> float:
        return float("nan") if a[0] > 0 else float(abs(a.mean() - b.mean()))

    fragile = Measure("fragile", "fragile", "distance", True, lambda rates: rates.values[0, 0], compare)
    found = compared(sample("a"), sample("x", world=3, units=2), measures=(fragile, PROCRUSTES))
    p = float(found["fragile"]["apart_p"][0])
    assert np.isnan(p) or p > 0.2


def test_networks_are_parted_by_regrouping_them():
    first = [sample(f"f{k}", units=k, candidate="f") for k in range(4)]
    second = [sample(f"s{k}", world=1, units=10 + k, candidate="s") for k in range(4)]
    data = compared(*first, *second)[PROCRUSTES.name]
    # 70 groupings, of which the true one and its mirror are the farthest apart.
    assert float(data["apart_p"][0]) == pytest.approx(2 / 70)
    assert int(data["n_groupings"][0]) == 70


def test_networks_are_as_far_apart_as_their_scores_say():
    """Second route: the statistic of the true grouping, from scores computed one by one."""
    groups = {
        side: [sample(f"{side}{k}", world=w, units=9 * w + k, candidate=side) for k in range(2)]
        for w, side in enumerate("fs")
    }
    how = plan()
    scores = {PROCRUSTES.name: score_measure(PROCRUSTES, groups, how, level=0.95)}
    test = part_pair((PROCRUSTES,), groups["f"], groups["s"], how, scores=scores, alpha=0.05)
    sides = {name: [Side(PROCRUSTES, one, how) for one in members] for name, members in groups.items()}
    across = np.mean([score_between(a, b) for a in sides["f"] for b in sides["s"]])
    within = np.mean([score_between(*sides[name]) for name in "fs"])
    assert float(test["groupings"][0, 0]) == pytest.approx(across - within)


def test_too_few_networks_are_said_to_be_too_few():
    few = [sample(f"{side}{k}", world=w, units=k, candidate=side) for w, side in enumerate("fs") for k in range(2)]
    (said,) = said_of(*few)
    assert "there are 6 groupings of them, so p cannot fall below .333. 4 on either side would do." in said
    (said,) = said_of(*few, level=0.99)
    # 2 / 70 is above a level of 0.01 and 2 / 252 below it.
    assert "5 on either side would do." in said


def test_too_few_random_groups_of_units_are_not_called_too_few_networks():
    (said,) = said_of(sample("a"), sample("x", world=3, units=2), level=0.99)
    assert "networks" not in said
    assert "of 19 p cannot fall below .050" in said
    assert "Set pairs.n_regroupings to 99 or more." in said
