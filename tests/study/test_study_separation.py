"""Tests that part candidates: their error rates, what they find, what they say they could have found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from made_up_samples import plan, sample
from scipy import stats

from dynaprobe.analysis.measures import measure_named
from dynaprobe.study.nearness import nearness
from dynaprobe.study.pairwise import score_measure
from dynaprobe.study.parting import chance_of
from dynaprobe.study.power import Rule, simulated_power
from dynaprobe.study.sample import Sample, Side
from dynaprobe.study.sentences import nearness_sentences, p_word, score_word

PROCRUSTES = measure_named("procrustes_distance")
RULE = Rule(alpha=0.05, power=0.8, n_simulations=2000, seed=0)


def by_candidate(*samples: Sample) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for one in samples:
        found.setdefault(one.candidate, []).append(one)
    return found


def near(*samples: Sample, reference: str = "ref", **changes) -> tuple[xr.Dataset, dict[str, xr.Dataset]]:
    scores = {PROCRUSTES.name: score_measure(PROCRUSTES, by_candidate(*samples), plan(**changes), level=0.95)}
    return nearness(scores, reference, level=0.95, rule=RULE), scores


def half_and_half(name: str, share: float, seed: int) -> Sample:
    """A sample of which a share of the units comes from another world."""
    own, other = sample(name, units=seed), sample(f"{name}'", world=7, units=seed + 50)
    n = round(share * own.n_units)

    def mixed(a: xr.DataArray, b: xr.DataArray) -> xr.DataArray:
        values = a.values.copy()
        values[..., :n] = b.values[..., :n]
        return a.copy(data=values)

    halves = [
        tuple(mixed(x, y) for x, y in zip(*pair, strict=True))
        for pair in zip(own.halves, other.halves, strict=True)
    ]
    return replace(own, rates=mixed(own.rates, other.rates), halves=halves)


def test_the_nearer_candidate_is_found_and_named():
    found, _ = near(sample("ref"), sample("kin", units=1), sample("stranger", world=1, units=2))
    assert found.sizes["row"] == 1
    row = found.isel(row=0)
    assert bool(row["is_parted"])
    assert float(row["difference"]) > 0, "kin comes first by name and is the nearer"
    assert float(row["low"]) > 0
    assert np.isnan(float(row["found"]))
    (said,) = nearness_sentences(found)
    assert said.text == "kin is nearer to ref than stranger by the one measure."
    assert said.details[0].startswith("procrustes distance: ")


def test_equals_are_not_parted_and_the_sentence_says_what_would_be_found():
    found, _ = near(sample("ref"), sample("kin", units=1), sample("sib", units=2))
    row = found.isel(row=0)
    assert not bool(row["is_parted"])
    assert float(row["low"]) < 0 < float(row["high"])
    assert float(row["found"]) > 0
    (said,) = nearness_sentences(found)
    assert said.text.startswith("Which of kin and sib is nearer to ref cannot be said by the one measure")
    assert "would be found in 80% of simulated repeats" in said.details[0]
    assert "units and trials" in said.details[0]


def test_candidates_that_hold_units_of_the_reference_are_not_asked():
    ref = sample("ref")
    twin = Sample("twin", "twin", ref.rates, ref.halves)
    found, scores = near(ref, twin, sample("kin", units=1))
    assert int(scores[PROCRUSTES.name]["shared"].values.max()) == ref.n_units
    assert found.sizes.get("row", 0) == 0


@pytest.mark.slow
def test_equals_are_rarely_parted():
    """Null: forty pairs of equals. The resampled error is known to be too large, never too small."""
    parted = []
    for k in range(40):
        samples = [sample(name, units=100 + 3 * k + j) for j, name in enumerate(("ref", "a", "b"))]
        found, _ = near(*samples)
        parted.append(bool(found["is_parted"][0]))
    # At a level of 0.05 more than 6 of 40 happens once in 300 times.
    assert sum(parted) <= 6


def test_draws_without_a_score_make_no_finding():
    null = np.array([0.1, np.nan, 0.3, np.nan])
    assert chance_of(1.0, null) == pytest.approx(3 / 5)
    assert chance_of(0.2, null) == pytest.approx(4 / 5)
    assert np.isnan(chance_of(np.nan, null))


def test_a_single_network_has_no_error_against_several():
    nets = [sample(f"n{k}", units=k, candidate="nets") for k in range(3)]
    other = [sample(f"o{k}", world=1, units=10 + k, candidate="others") for k in range(3)]
    found, _ = near(*nets, *other, sample("ref", units=20))
    row = found.isel(row=0)
    assert str(row["over"].item()) == "networks"
    # Welch's t-test of the members' scores, by another package.
    assert bool(row["is_parted"])
    assert float(row["difference"]) > 0


def test_the_test_over_networks_is_that_of_welch():
    nets = {
        side: [sample(f"{side}{k}", world=w, units=10 * w + k, candidate=side) for k in range(3)]
        for w, side in enumerate("ab")
    }
    ref = sample("ref", units=40)
    found, _ = near(*nets["a"], *nets["b"], ref)
    from dynaprobe.study.sample import score_between  # noqa: PLC0415

    values = {
        side: [score_between(Side(PROCRUSTES, one, plan()), Side(PROCRUSTES, ref, plan())) for one in members]
        for side, members in nets.items()
    }
    expected = stats.ttest_ind(values["a"], values["b"], equal_var=False)
    assert float(found["p"][0]) == pytest.approx(float(expected.pvalue))


def test_power_is_that_of_the_noncentral_t():
    """Second route: the simulated smallest difference against the exact power of a t-test."""
    found = simulated_power(0.5, 1.0, dof=20, rule=replace(RULE, n_simulations=40000), dof_grows=True, name="x")
    critical = stats.t.ppf(0.975, 20)
    exact = stats.nct.sf(critical, 20, found.difference) + stats.nct.cdf(-critical, 20, found.difference)
    # SAMPLING: forty thousand repeats.
    assert exact == pytest.approx(0.8, abs=0.01)
    # More networks make smaller errors, and errors that are better known.
    more = found.times * 22 - 2
    critical = stats.t.ppf(0.975, more)
    exact = stats.nct.sf(critical, more, 0.5 * np.sqrt(found.times))
    assert exact == pytest.approx(0.8, abs=0.01)
    assert 1 < found.least_times < found.times


def test_few_networks_are_not_asked_for_more_than_it_takes():
    """With two networks on either side most of the bar is ignorance of the error, which a few more take away."""
    found = simulated_power(1.0, 0.5, dof=2, rule=RULE, dof_grows=True, name="x")
    assert found.times < 0.6 * (found.difference / 1.0) ** 2


def test_of_units_and_trials_it_takes_the_square_of_the_ratio():
    found = simulated_power(0.4, 1.0, dof=29, rule=RULE, name="x", dof_grows=False)
    assert found.times == pytest.approx((found.difference / 0.4) ** 2, rel=1e-3)


def test_no_number_is_given_where_none_is_honest():
    assert simulated_power(0.0, 1.0, dof=20, rule=RULE, dof_grows=True, name="x").times == float("inf")
    assert simulated_power(1e-3, 1.0, dof=20, rule=RULE, dof_grows=True, name="x").times == float("inf")


def test_the_scale_of_a_difference_scales_what_is_found():
    one = simulated_power(0.5, 1.0, dof=9, rule=RULE, dof_grows=True, name="x")
    small = simulated_power(0.5e-9, 1e-9, dof=9, rule=RULE, dof_grows=True, name="x")
    assert small.difference == pytest.approx(one.difference * 1e-9, rel=1e-3)
    assert small.times == pytest.approx(one.times, rel=1e-3)


@pytest.mark.parametrize(("p", "word"), [(0.0004, "below .001"), (0.05, ".050"), (1.0, "1")])
def test_p_values_read_as_in_a_paper(p, word):
    assert p_word(p) == word


@pytest.mark.parametrize(
    ("value", "word"), [(0.604, "0.60"), (0.0213, "0.021"), (0.0, "0.00"), (-0.004, "-0.004"), (3e-7, "3.0e-07")]
)
def test_small_scores_keep_digits_that_count(value, word):
    assert score_word(value) == word


def test_units_of_another_world_move_a_candidate_away():
    found, _ = near(sample("ref"), half_and_half("mixed", 0.6, 1), sample("pure", units=2))
    assert float(found["difference"][0]) < 0, "mixed comes first by name and is the farther"
