"""Scores of pairs on samples whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from made_up_samples import latents, plan, rates_of, sample

from dynaprobe.analysis.measures import MEASURES, Measure, measure_named
from dynaprobe.analysis.surrogates import fit_tme
from dynaprobe.study.pair_tables import distance_matrix, embed, pair_table
from dynaprobe.study.pairwise import n_rows, score_measure
from dynaprobe.study.sample import Sample, Side, score_between, score_resampled

PROCRUSTES = measure_named("procrustes_distance")
LEVEL = 0.95


def scored(measure: Measure, *samples: Sample, n_units: int = 24, **changes) -> xr.Dataset:
    by_candidate: dict[str, list[Sample]] = {}
    for one in samples:
        by_candidate.setdefault(one.candidate, []).append(one)
    return score_measure(measure, by_candidate, plan(n_units, **changes), level=LEVEL)


def row_of(data: xr.Dataset, first: str, second: str) -> xr.Dataset:
    found = np.flatnonzero((data["first"].values == first) & (data["second"].values == second))
    return data.isel(row=int(found[0]))


# Regressions choose a penalty for every score, which takes its time.
EVERY = [
    pytest.param(one, marks=pytest.mark.slow if one.name.startswith("regression") else (), id=one.name)
    for one in MEASURES
]


@pytest.mark.parametrize("measure", EVERY)
def test_every_measure_finds_the_same_units_in_other_trials_at_the_ceiling(measure):
    """A second hearing of the same units stands at 1, surrogates of them near 0: whatever the measure."""
    first = sample("a", noise=0.5)
    again = Sample("b", "b", first.rates, sample("again", noise=0.5).halves)
    fit = fit_tme(first.halves[0][0])
    draws = [[fit.template.copy(data=fit.draw_values(2 * k + h, seed=3)) for h in (0, 1)] for k in (0, 1)]
    surrogate = Sample("s", "s", rates_of(draws[0][0].values, [f"s{k}" for k in range(24)]), draws)
    data = scored(measure, first, again, surrogate, n_floor=8, n_resamples=3)
    assert float(row_of(data, "a", "b")["placed"]) == pytest.approx(1.0, abs=0.25)
    # SAMPLING: one surrogate against the mean of sixteen, both ways.
    assert float(row_of(data, "a", "s")["placed"]) < 0.6
    assert float(row_of(data, "a", "b")["p_floor"]) == pytest.approx(1 / 9)
    assert (data["reason"].values == "").all()
    assert data.sizes["row"] == n_rows(measure, 3)


def test_a_rotated_copy_without_noise_is_at_no_distance():
    signal = sample("a").rates.values
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(24, 24)))[0]
    first = sample("a", noise=0.0)
    turned = sample("b", units=1, noise=0.0, signal=signal @ rotation)
    row = row_of(scored(PROCRUSTES, first, turned), "a", "b")
    assert float(row["score"]) == pytest.approx(0.0, abs=1e-6)
    assert float(row["placed"]) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("name", ["procrustes_distance", "cca"])
def test_the_order_of_candidates_and_further_ones_move_no_number(name):
    measure = measure_named(name)
    a, b, c = sample("a"), sample("b", units=1), sample("c", world=1, units=2)
    plain = scored(measure, a, b, c)
    turned = scored(measure, c, b, a)
    xr.testing.assert_identical(plain, turned)
    alone = row_of(scored(measure, b, a), "a", "b")
    xr.testing.assert_identical(
        alone.drop_vars(["own", "candidate"]), row_of(plain, "a", "b").drop_vars(["own", "candidate"])
    )


def test_the_seed_alone_decides():
    a, b = sample("a", n_units=30), sample("b", units=1)
    first, again, other = (scored(PROCRUSTES, a, b, seed=seed) for seed in (0, 0, 1))
    xr.testing.assert_identical(first, again)
    assert float(first["score"][0]) != float(other["score"][0])


def test_a_row_of_a_directed_measure_reads_from_first_to_second():
    directed = Measure(
        "spread", "ratio of spreads", "similarity", False, lambda rates: float(rates.std()), lambda a, b: a / b
    )
    data = scored(directed, sample("a"), sample("b", signal=3 * sample("b", units=1).rates.values))
    there, back = (float(row_of(data, *pair)["score"]) for pair in (("a", "b"), ("b", "a")))
    assert there < 1 < back
    assert data.sizes["row"] == 2
    matrix, words, _ = distance_matrix(data)
    assert "mean of both directions" in words
    assert matrix.values[0, 1] == pytest.approx(max(0.0, 1 - (there + back) / 2))


def test_larger_samples_are_brought_down_to_the_number_of_units():
    big = sample("big", n_units=60)
    side = Side(PROCRUSTES, big, plan(20))
    assert side.half(0, 0).sizes["unit"] == 20
    assert set(side.units(0)) != set(side.units(1))
    draw = side.resampled(0, 0)
    assert draw.values.shape[-1] == 10


def test_resamples_of_the_very_same_units_use_other_trials():
    """Without noise of trials half the units against themselves are at no distance; with it they are not."""
    a = sample("a", noise=0.0)
    b = Sample("b", "b", a.rates, a.halves)
    sides = [Side(PROCRUSTES, one, plan()) for one in (a, b)]
    assert score_resampled(*sides, share_trials=True).shape == (12,)
    assert score_between(*sides) == pytest.approx(0.0, abs=1e-6)
    noisy = sample("c", noise=1.0)
    twin = Sample("d", "d", noisy.rates, noisy.halves)
    sides = [Side(PROCRUSTES, one, plan()) for one in (noisy, twin)]
    assert score_between(*sides) == pytest.approx(sides[0].own, rel=1e-6)


def test_a_part_of_a_recording_is_compared_with_the_rest_of_it():
    whole = sample("whole", n_units=48)
    part = Sample(
        "part", "part", whole.rates.isel(unit=slice(0, 24)),
        [tuple(half.isel(unit=slice(0, 24)) for half in pair) for pair in whole.halves],
    )  # fmt: skip
    row = row_of(scored(PROCRUSTES, whole, part), "part", "whole")
    assert int(row["shared"]) == 24
    rest = Sample(
        "rest", "whole without part", whole.rates.isel(unit=slice(24, 48)),
        [tuple(half.isel(unit=slice(24, 48)) for half in pair) for pair in whole.halves],
    )  # fmt: skip
    expected = score_between(*(Side(PROCRUSTES, one, plan()) for one in (part, rest)))
    assert float(row["score"]) == pytest.approx(expected)
    assert np.isnan(float(row["apart_p"]))


def test_equal_labels_of_other_units_are_not_the_same_units():
    a, b = sample("a"), sample("b")
    other = Sample("b", "b", a.rates + 1, b.halves)
    assert a.shared_with(other).size == 0
    assert a.shared_with(b).size == 24


def test_networks_of_one_candidate_have_an_interval_over_networks():
    nets = [sample(f"n{k}", units=k, candidate="nets") for k in range(3)]
    recorded = sample("rec", units=9)
    row = row_of(scored(PROCRUSTES, *nets, recorded), "nets", "rec")
    values = np.array(
        [score_between(Side(PROCRUSTES, one, plan()), Side(PROCRUSTES, recorded, plan())) for one in nets]
    )
    assert str(row["over"].item()) == "networks"
    assert float(row["score"]) == pytest.approx(values.mean())
    assert float(row["error"]) == pytest.approx(values.std(ddof=1) / np.sqrt(3))
    assert float(row["dof"]) == 2
    assert np.isnan(row["draws"].values).all()


def test_two_groups_of_networks_have_the_jackknife_error_of_both():
    first = [sample(f"f{k}", units=k, candidate="f") for k in range(3)]
    second = [sample(f"s{k}", units=10 + k, candidate="s") for k in range(4)]
    row = row_of(scored(PROCRUSTES, *first, *second), "f", "s")
    table = np.array(
        [[score_between(Side(PROCRUSTES, a, plan()), Side(PROCRUSTES, b, plan())) for b in second] for a in first]
    )

    def jackknife(axis: int) -> float:
        n = table.shape[axis]
        left = np.array([np.delete(table, k, axis=axis).mean() for k in range(n)])
        return (n - 1) / n * float(((left - left.mean()) ** 2).sum())

    assert float(row["error"]) == pytest.approx(np.sqrt(jackknife(0) + jackknife(1)))
    assert float(row["dof"]) == 2


def test_without_trials_there_is_no_ceiling_and_the_row_says_so():
    averages = sample("avg", noise=0.0)
    bare = Sample("avg", "avg", averages.rates, [(averages.rates, averages.rates)] * 2, has_trials=False)
    data = scored(PROCRUSTES, bare, sample("b", units=1))
    row = row_of(data, "avg", "b")
    assert np.isfinite(float(row["score"]))
    assert np.isnan(float(row["ceiling"]))
    assert np.isnan(float(row["placed"]))
    assert "no ceiling" in str(row["reason"].item())
    assert np.isnan(float(row["apart_p"]))


def test_one_unit_that_never_changes_does_no_harm():
    values = sample("a").rates.values.copy()
    values[..., 0] = 3.0
    data = scored(PROCRUSTES, sample("a", signal=values, noise=0.0), sample("b", units=1))
    assert np.isfinite(data["score"].values).all()


def test_a_pair_that_cannot_be_scored_says_why_and_leaves_the_others():
    still = sample("still", signal=np.zeros((6, 24, 24)), noise=0.0)
    data = scored(measure_named("cca"), sample("a"), sample("b", units=1), still)
    assert np.isfinite(float(row_of(data, "a", "b")["score"]))
    assert embed(data) is not None


def test_the_table_has_every_row_of_every_measure():
    data = scored(PROCRUSTES, sample("a"), sample("b", units=1), sample("c", world=1, units=2))
    table = pair_table({"procrustes_distance": data})
    assert list(table["first"]) == ["a", "a", "b"]
    assert table["score"].tolist() == data["score"].values.tolist()
    assert {"floor", "ceiling", "p_floor", "low", "high", "over"} <= set(table.columns)


def test_a_similarity_becomes_one_minus_itself():
    data = scored(measure_named("cca"), sample("a"), sample("b", units=1), sample("c", world=1, units=2))
    matrix, words, left_out = distance_matrix(data)
    assert words == "1 - similarity"
    assert left_out == ()
    assert matrix.sel(item="a", other="b").item() == pytest.approx(1 - float(row_of(data, "a", "b")["score"]))
    found = embed(data)
    assert found is not None
    assert found.settings["distance"] == "1 - similarity"


def test_samples_of_one_world_are_nearer_than_those_of_two():
    assert latents(0).std() == pytest.approx(1)
    data = scored(PROCRUSTES, sample("a"), sample("b", units=1), sample("c", world=1, units=2))
    same, other = (float(row_of(data, *pair)["score"]) for pair in (("a", "b"), ("a", "c")))
    assert same < other
