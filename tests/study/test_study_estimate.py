"""Errors and intervals of scores: closed forms, ranges that are kept, and how often intervals hold the truth."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_samples import from_trials, plan
from scipy import stats

from dynaprobe.analysis.measures import MEASURES, Measure, measure_named
from dynaprobe.study.estimate import (
    Estimate,
    halving_influences,
    interval,
    member_influences,
    unit_influences,
)
from dynaprobe.study.pairwise import score_measure

PROCRUSTES = measure_named("procrustes_distance")


def measure(least: float, most: float) -> Measure:
    return Measure("made up", "made up", "similarity", True, lambda x: x, lambda x, y: 0.0, least, most)


def estimate(value: float, error: float, dof: float = 9.0) -> Estimate:
    return Estimate(value, {"units_first": np.array([error])}, {"units_first": dof})


def test_halving_units_gives_the_error_of_a_mean():
    """Known answer, by enumeration: halves of 8 units scatter by s^2 / n."""
    values = np.random.default_rng(0).normal(size=8)
    changes = np.array([values[list(half)].mean() for half in combinations(range(8), 4)]) - values.mean()
    found, none = unit_influences(changes, np.zeros(70), changes)
    assert (found**2).sum() * 69 / 70 == pytest.approx(values.var(ddof=1) / 8)
    np.testing.assert_array_equal(none, 0)
    fewer, _ = unit_influences(changes, np.zeros(70), changes, kept=(0.25, 1.0))
    np.testing.assert_allclose(fewer, found / 2)


def test_what_rests_on_both_sides_is_counted_once():
    """Known answer: of a product of two means about 0 the variance is the product of theirs, and halving either
    side shows it whole."""
    rng = np.random.default_rng(1)
    ratios = []
    for _ in range(200):
        a, b = rng.normal(size=(2, 20))
        half_a, half_b = (rng.permuted(np.tile(x, (100, 1)), axis=1)[:, :10].mean(axis=1) for x in (a, b))
        first, second = half_a * b.mean() - a.mean() * b.mean(), a.mean() * half_b - a.mean() * b.mean()
        both = half_a * half_b - a.mean() * b.mean()
        found = unit_influences(first, second, both)
        ratios.append(sum((one**2).sum() for one in found))
    # SAMPLING: with the floor at the larger side the mean lies between one and two products of 1 / 20.
    assert 1.0 <= np.mean(ratios) * 400 < 2.0


def test_halvings_give_the_error_of_a_mean_over_trials():
    """Known answer, by enumeration: over all halvings of 8 trials the mean square is s^2 / n."""
    values = np.random.default_rng(1).normal(size=8)
    tables = []
    for chosen in combinations(range(8), 4):
        halves = values[list(chosen)].mean(), np.delete(values, chosen).mean()
        tables.append([[half, half] for half in halves])
    influences = halving_influences(np.array(tables), 1)
    assert (influences**2).sum() == pytest.approx(values.var(ddof=1) / 8)
    np.testing.assert_allclose(halving_influences(np.array(tables), 2), 0, atol=1e-15)


def test_members_give_the_error_of_a_mean():
    values = np.random.default_rng(2).normal(size=7)
    assert math.sqrt((member_influences(values) ** 2).sum()) == pytest.approx(stats.sem(values))


def test_variances_add_with_satterthwaites_degrees_of_freedom():
    both = Estimate(0.0, {"a": np.array([0.3]), "b": np.array([0.0, 0.4])}, {"a": 4.0, "b": 9.0})
    assert both.error == pytest.approx(0.5)
    assert both.total_dof == pytest.approx(0.25**2 / (0.09**2 / 4 + 0.16**2 / 9))
    assert math.isnan(Estimate(0.0, {}, {}).error)
    assert math.isnan(Estimate(0.0, {"a": np.array([np.nan])}, {"a": 3.0}).total_dof)


def test_what_two_scores_share_cancels():
    one = Estimate(0.9, {"units_reference": np.array([1.0, 2.0]), "units_candidate": np.array([3.0])}, {
        "units_reference": 1.0, "units_candidate": 5.0})  # fmt: skip
    other = Estimate(0.5, {"units_reference": np.array([1.0, 2.0]), "units_candidate": np.array([4.0])}, {
        "units_reference": 1.0, "units_candidate": 5.0})  # fmt: skip
    shared = {"units_reference": "units_reference"}
    assert one.minus(other, shared=shared).error == pytest.approx(5.0)
    assert one.minus(other, shared={}).error == pytest.approx(math.sqrt(5 + 9 + 5 + 16))
    assert one.minus(other, shared=shared).value == pytest.approx(0.4)


@given(
    st.sampled_from(MEASURES),
    st.floats(0, 1),
    st.floats(0, 1e3),
    st.floats(1, 30),
)
def test_an_interval_holds_its_score_and_stays_in_the_range(measure, place, error, dof):
    least = measure.least if math.isfinite(measure.least) else measure.most - 5
    score = least + place * (measure.most - least)
    low, high = interval(estimate(score, error, dof), measure, level=0.95)
    # ROUND-OFF of the ends of the range.
    slack = 1e-12 * (1 + abs(score))
    assert measure.least <= low <= score + slack
    assert score - slack <= high <= measure.most


@pytest.mark.parametrize(("least", "most"), [(-1.0, 1.0), (-math.inf, 1.0), (-math.inf, math.inf), (0.0, 3.0)])
def test_a_small_error_gives_students_interval(least, most):
    low, high = interval(estimate(0.4, 1e-6), measure(least, most), level=0.9)
    reach = stats.t.ppf(0.95, 9) * 1e-6
    assert low == pytest.approx(0.4 - reach, abs=1e-10)
    assert high == pytest.approx(0.4 + reach, abs=1e-10)


def test_a_correlation_has_fishers_interval():
    """Second route: on the scale of atanh the interval is symmetric."""
    low, high = interval(estimate(0.8, 0.1), measure(-1.0, 1.0), level=0.95)
    reach = stats.t.ppf(0.975, 9) * 0.1 / (1 - 0.8**2)
    assert (low, high) == pytest.approx((math.tanh(math.atanh(0.8) - reach), math.tanh(math.atanh(0.8) + reach)))


def test_no_error_no_interval():
    assert all(map(math.isnan, interval(estimate(0.4, float("nan")), PROCRUSTES, level=0.95)))
    assert all(map(math.isnan, interval(estimate(float("nan"), 0.1), PROCRUSTES, level=0.95)))


def replicates(name: str, n: int, *, n_units: int, n_there: int) -> tuple[np.ndarray, ...]:
    """Scores, errors and intervals of many samples of two populations that are half alike."""
    rows = []
    for k in range(n):
        a = from_trials("a", units=5000 + k, n_units=n_there)
        b = from_trials("b", units=7000 + k, n_units=n_units, mixed=0.5)
        how = plan(n_units, n_splits=5, n_halvings=20, n_floor=2, seed=k)
        rows.append(score_measure(measure_named(name), {"a": [a], "b": [b]}, how, level=0.9).isel(row=0))
    return tuple(np.array([float(row[column]) for row in rows]) for column in ("score", "error", "low", "high"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["procrustes_distance", "angular_distance", "cca", "cka", "rsa"])
@pytest.mark.parametrize("n_there", [30, 60])
def test_intervals_are_as_wide_as_they_need_be(name, n_there):
    """Eighty experiments: the error against the spread of scores, and how many intervals hold their mean."""
    scores, errors, low, high = replicates(name, 80, n_units=30, n_there=n_there)
    ratio = float(np.sqrt(np.mean(errors**2)) / scores.std(ddof=1))
    # SAMPLING: the spread of 80 scores is known to 8 %, twice which is allowed below; above, the jackknife counts
    # interactions of units, trials and sides more than once (Efron & Stein 1981), and larger samples more.
    assert 0.84 < ratio < 1.45
    covered = float(np.mean((low <= scores.mean()) & (scores.mean() <= high)))
    # SAMPLING: 80 intervals of 90 %, two standard errors below.
    assert covered >= 0.83
