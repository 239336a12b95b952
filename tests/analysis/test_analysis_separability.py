"""Telling candidates apart: standard errors that are known, error rates, power against theory, the sentence."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from similarity_samples import halves, latents, noise, population, rates_of

from dynaprobe.analysis.measures import Measure, measure_named
from dynaprobe.analysis.separability import Separability, can_separate, paired_scores
from dynaprobe.core.errors import RatesError, SettingsError


def mean_of_side(rates):
    return float(rates.values.mean())


# A "score" whose standard error over units is known: the mean rate of a candidate, whatever the reference.
MEAN_RATE = Measure("mean_rate", "mean rate (a.u.)", "similarity", False, mean_of_side, lambda a, b: a)


def test_random_halves_scatter_as_new_samples_would():
    """Means over 40 units: the error of the difference of two is ``sqrt(2 / 40)`` times the spread over units."""
    spreads = []
    for seed in range(6):
        a, b = (
            rates_of(np.broadcast_to(np.random.default_rng(2 * seed + k).standard_normal(40), (3, 4, 40)))
            for k in (0, 1)
        )
        first, second = paired_scores(MEAN_RATE, a, b, b, n_draws=400, seed=seed)
        wanted = np.sqrt(np.var(a.values[0, 0], ddof=1) / 40 + np.var(b.values[0, 0], ddof=1) / 40)
        spreads.append(np.std(first - second, ddof=1) / wanted)
    assert np.mean(spreads) == pytest.approx(1.0, abs=0.05)  # SAMPLING of 2400 draws


def test_candidates_drawn_alike_are_separated_at_the_rate_of_the_test():
    """New units for both candidates each time: 5 % of tests find something, up to sampling of 60."""
    found = 0
    for seed in range(60):
        a, b = (
            rates_of(np.broadcast_to(np.random.default_rng(1000 + 2 * seed + k).standard_normal(30), (3, 4, 30)))
            for k in (0, 1)
        )
        scores = paired_scores(MEAN_RATE, a, b, a, n_draws=60, seed=seed)
        found += bool(can_separate(*scores, seed=seed, n_simulations=100).data["can_be_separated"])
    assert found <= 8  # Binomial(60, 0.05): 9 or more have a chance of 0.4 %


def test_power_is_that_of_a_t_test():
    draws = np.random.default_rng(0).standard_normal(400)
    found = can_separate(draws + 2.0, np.zeros(400), seed=1, n_simulations=20000)
    error, seen = float(found.data["error"]), float(found.data["difference"])
    # Known error, as there are 400 draws: power is the normal tail beyond the bar.
    quantile = stats.t.ppf(0.975, 399)
    wanted = stats.norm.sf(quantile - seen / error) + stats.norm.cdf(-quantile - seen / error)
    assert float(found.data["power"]) == pytest.approx(wanted, abs=0.04)  # SAMPLING of the draws
    assert float(found.data["smallest_found"]) == pytest.approx((quantile + stats.norm.ppf(0.8)) * error, rel=0.06)
    assert float(found.data["p_value"]) == pytest.approx(2 * stats.t.sf(seen / error, 399))
    more = can_separate(draws + 2.0, np.zeros(400), seed=1, wanted_power=0.95)
    assert float(more.data["smallest_found"]) > float(found.data["smallest_found"])


@pytest.mark.parametrize("name", ["procrustes_distance", "cka"])
def test_a_good_candidate_and_a_bad_one_are_separated_and_two_equals_are_not(name):
    measure = measure_named(name)
    trials = halves(latents(n=3), 40, seed=5, n_splits=2)
    good, twin = population(latents(n=3), 40, seed=1), population(latents(n=3), 40, seed=2)
    bad = rates_of(noise(6, 24, 40, seed=9, sd_bins=4.0))
    options = {"halves": {"reference": trials}, "n_draws": 60, "seed": 0}
    apart = can_separate(*paired_scores(measure, good, bad, trials[0][0], **options), seed=0)
    assert bool(apart.data["can_be_separated"])
    assert measure.sign * float(apart.data["difference"]) > 0
    assert apart.sentence.startswith("The test separates the two: difference ")
    alike = can_separate(*paired_scores(measure, good, twin, trials[0][0], **options), seed=0)
    assert not bool(alike.data["can_be_separated"])
    assert "The test cannot separate the two" in alike.sentence
    assert "would be found in 80% of repeats." in alike.sentence
    assert float(alike.data["smallest_found"]) < abs(float(apart.data["difference"]))


def test_draws_are_halves_of_shared_conditions_and_do_not_depend_on_their_number():
    reference = population(latents(), 12, seed=1)
    a, b = population(latents(), 20, seed=2).isel(condition=[5, 3, 1, 0]), population(latents(), 9, seed=3)
    seen = []

    def remember(rates):
        seen.append(rates)
        return rates

    spy = Measure("spy", "nothing (0)", "similarity", True, remember, lambda x, y: float(x.values[0, 0, 0]))
    few = paired_scores(spy, a, b, reference, n_draws=2, seed=4)
    assert {part.sizes["unit"] for part in seen} == {4}
    assert all(part["direction_deg"].values.tolist() == [0.0, 60.0, 180.0, 300.0] for part in seen)
    many = paired_scores(spy, a, b, reference, n_draws=5, seed=4)
    np.testing.assert_array_equal(many[0][:2], few[0])
    np.testing.assert_array_equal(many[1][:2], few[1])


def test_draws_without_scatter():
    same = can_separate(np.ones(10), np.ones(10), seed=0)
    assert float(same.data["p_value"]) == 1.0
    assert not bool(same.data["can_be_separated"])
    apart = can_separate(np.ones(10), np.zeros(10), seed=0)
    assert float(apart.data["p_value"]) == 0.0
    assert bool(apart.data["can_be_separated"])


def test_a_round_trip_and_the_messages():
    draws = np.random.default_rng(0).standard_normal((2, 20))
    found = can_separate(*draws, seed=0)
    assert Separability.from_dataset(found.to_dataset()).data.equals(found.data)
    with pytest.raises(
        RatesError, match=r"scores_b must hold one score for each of the 20 draws of scores_a, but got 9"
    ):
        can_separate(draws[0], draws[1, :9], seed=0)
    with pytest.raises(SettingsError, match=r"number of draws must be at least 8, but got 5"):
        can_separate(draws[0, :5], draws[1, :5], seed=0)
    with pytest.raises(SettingsError, match=r"alpha must lie between 0 and 1, but got 5"):
        can_separate(*draws, seed=0, alpha=5)
    with pytest.raises(RatesError, match=r"scores must be finite, but got 1 draws"):
        can_separate(np.where(np.arange(20) == 3, np.nan, draws[0]), draws[1], seed=0)
    a = population(latents(), 6, seed=1)
    with pytest.raises(SettingsError, match=r"halves must name sides among .*, but got \['c'\]"):
        paired_scores(MEAN_RATE, a, a, a, halves={"c": []}, seed=0)
    with pytest.raises(
        SettingsError, match=r"half of the units of the smallest side must be at least 1, but got 0"
    ):
        paired_scores(MEAN_RATE, a, a.isel(unit=[0]), a, seed=0)
