"""Errors and intervals of scores: closed forms, ranges that are kept, and how often intervals hold the truth."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from made_up_samples import from_trials, plan
from scipy import stats

from dynaprobe.analysis.measures import MEASURES, Measure, measure_named
from dynaprobe.study.estimate import (
    Estimate,
    halving_influences,
    interval,
    member_influences,
    noise_of_units,
    unit_influences,
)
from dynaprobe.study.pairwise import score_measure

PROCRUSTES = measure_named("procrustes_distance")


def measure(least: float, most: float) -> Measure:
    return Measure("made up", "made up", "similarity", True, lambda x: x, lambda x, y: 0.0, least, most)


def estimate(value: float, error: float, dof: float = 9.0) -> Estimate:
    return Estimate(value, {"units_first": np.array([error])}, {"units_first": dof})


def halves_of(n: int, n_draws: int, seed: int) -> np.ndarray:
    """Which elements are in the first half, ``(draw, element)``."""
    return np.random.default_rng(seed).permuted(np.tile(np.arange(n) < n // 2, (n_draws, 1)), axis=1)


def test_halving_units_gives_the_error_of_a_mean():
    """Known answer, by enumeration: halves of 8 units scatter by s^2 / n."""
    values = np.random.default_rng(0).normal(size=8)
    halves = np.array([[values[list(c)].mean(), np.delete(values, c).mean()] for c in combinations(range(8), 4)])
    whole, nothing = np.full(70, values.mean()), np.zeros((70, 2))
    # The other side is a constant: with it halved or not, the score is the same.
    found, none = unit_influences(whole, halves, nothing, np.stack([halves, halves], axis=2))
    assert (found**2).sum() == pytest.approx(values.var(ddof=1) / 8)
    np.testing.assert_array_equal(none, 0)
    fewer, _ = unit_influences(whole, halves, nothing, np.stack([halves, halves], axis=2), kept=(0.25, 1.0))
    np.testing.assert_allclose(fewer, found / 2)


def test_what_rests_on_two_units_is_counted_once():
    """Known answer: a mean of products of two units about 0 has variance 2 / (n (n - 1)); one half of the units
    set against all of them shows three times that."""
    rng = np.random.default_rng(1)

    def products(x: np.ndarray) -> np.ndarray:
        n = x.shape[-1]
        return (x.sum(axis=-1) ** 2 - (x**2).sum(axis=-1)) / (n * (n - 1))

    found, before = [], []
    for k in range(150):
        x = rng.normal(size=40)
        first = halves_of(40, 60, k)
        tiled = np.tile(x, (60, 1))
        halves = np.stack([products(tiled[chosen].reshape(60, 20)) for chosen in (first, ~first)], axis=1)
        whole = np.full(60, products(x))
        one, _ = unit_influences(whole, halves, np.zeros((60, 2)), np.stack([halves, halves], axis=2))
        found.append((one**2).sum())
        before.append((halves[:, 0] - whole).var(ddof=1))
    truth = 2 / (40 * 39)
    # SAMPLING: the variance of products has a spread of about 2.2 of itself, over 150 samples 0.18; at least half
    # of the spread between halves is kept, which is more than the truth where by chance it holds less.
    assert 0.7 < np.mean(found) / truth < 1.6
    assert np.mean(before) / truth > 2.3


def test_what_rests_on_both_sides_is_counted_once():
    """Known answer: of a product of two means about 0 the variance is the product of theirs, and halving either
    side shows it whole."""
    rng = np.random.default_rng(1)
    ratios = []
    for k in range(200):
        a, b = rng.normal(size=(2, 20))
        parts = []
        for x, seed in ((a, k), (b, 1000 + k)):
            first = halves_of(20, 100, seed)
            parts.append(np.stack([(first * x).sum(1), (~first * x).sum(1)], axis=1) / 10)
        both = parts[0][:, :, None] * parts[1][:, None, :]
        whole = np.full(100, a.mean() * b.mean())
        found = unit_influences(whole, parts[0] * b.mean(), a.mean() * parts[1], both)
        ratios.append(sum((one**2).sum() for one in found))
    # SAMPLING: with the floor at the larger side the mean lies between one and two products of 1 / 20.
    assert 1.0 <= np.mean(ratios) * 400 < 2.0


def test_noise_of_each_unit_is_not_counted_as_noise_of_trials_again():
    """Known answer, a crossed layout: of means of u_i + t_j + e_ij over 20 units and 16 trials the variance is
    1 / 20 + v / 16 + 4 / (20 * 16), v that of the noise the units share."""
    rng = np.random.default_rng(3)
    for v in (0.0, 1.0):
        totals, plain = [], []
        for k in range(120):
            values = rng.normal(size=(20, 1)) + np.sqrt(v) * rng.normal(size=16) + 2 * rng.normal(size=(20, 16))
            trials, units = halves_of(16, 20, 2 * k), halves_of(20, 20, 2 * k + 1)
            halves = np.stack([trials, ~trials], axis=1) / 8
            of_units = np.stack([units, ~units], axis=1) / 10
            scores = np.einsum("duj,jt,dht->duh", of_units, values, halves)
            table = np.repeat((values.mean(axis=0) * halves).sum(axis=2)[:, :, None], 2, axis=2)
            whole = np.full(20, values.mean())
            whole_both = np.stack([scores.mean(axis=2)] * 2, axis=2)
            found, _ = unit_influences(whole, scores.mean(axis=2), np.zeros((20, 2)), whole_both)
            noise = halving_influences(table, 1, of_units=noise_of_units(scores))
            totals.append((found**2).sum() + (noise**2).sum())
            plain.append((found**2).sum() + (halving_influences(table, 1) ** 2).sum())
        truth = 1 / 20 + v / 16 + 4 / 320
        # SAMPLING: the variance of 20 units or 16 trials is known to a third, over 120 layouts to 3 %; what noise
        # is below nothing counts as nothing.
        assert np.mean(totals) / truth == pytest.approx(1.05, abs=0.12)
        assert np.mean(plain) - np.mean(totals) > 0.5 * 4 / 320


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
@example(measure_named("regression_forth"), 1e-14, 15.0, 1.0)
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
        how = plan(n_units, n_splits=5, n_halvings=10, n_floor=2, seed=k)
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
