"""Scores of pairs on samples whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import xarray as xr
from made_up_samples import latents, plan, rates_of, sample

from dynaprobe.analysis.measures import MEASURES, Measure, measure_named
from dynaprobe.analysis.surrogates import fit_tme
from dynaprobe.study.pair_tables import distance_matrix, embed, pair_table, with_tests
from dynaprobe.study.pairwise import n_rows, score_measure
from dynaprobe.study.parting import part_pair
from dynaprobe.study.sample import Sample, Side, score_between

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
    data = scored(measure, first, again, surrogate, n_floor=8, n_halvings=3)
    assert float(row_of(data, "a", "b")["placed"]) == pytest.approx(1.0, abs=0.25)
    # SAMPLING: one surrogate against the mean of sixteen, both ways.
    assert float(row_of(data, "a", "s")["placed"]) < 0.6
    assert float(row_of(data, "a", "b")["p_floor"]) == pytest.approx(1 / 9)
    twins = (data["first"].values != "s") & (data["second"].values != "s")
    assert (data["reason"].values[~twins] == "").all()
    assert set(data["reason"].values[twins]) == {
        "both hold the same units: the score is how like they are in other trials, without an interval"
    }
    assert np.isfinite(data["error"].values[~twins]).all()
    assert np.isnan(data["error"].values[twins]).all()
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
    sizes = [[first.values.shape[-1] for first, _ in parts] for _, parts in side.parted]
    assert sizes == [[10, 10, 16]] * 4
    assert side.rest == pytest.approx(0.8)
    odd = Side(PROCRUSTES, big, plan(21)).parted[0][1]
    assert [first.values.shape[-1] for first, _ in odd] == [10, 10, 17]
    # A mean over two choices of 20 of 60 units scatters less than one of 20, and more than all 60.
    assert side.kept == pytest.approx(20 * (1 / 60 + (1 / 20 - 1 / 60) / 2))


def test_the_very_same_units_are_compared_in_other_trials():
    """Without noise of trials units against themselves are at no distance; with it at the ceiling."""
    a = sample("a", noise=0.0)
    b = Sample("b", "b", a.rates, a.halves)
    assert score_between(*(Side(PROCRUSTES, one, plan()) for one in (a, b))) == pytest.approx(0.0, abs=1e-6)
    noisy = sample("c", noise=1.0)
    twin = Sample("d", "d", noisy.rates, noisy.halves)
    row = row_of(scored(PROCRUSTES, noisy, twin), "c", "d")
    assert float(row["score"]) == pytest.approx(float(row["ceiling"]), rel=1e-6)


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


def test_equal_labels_of_other_units_are_not_the_same_units():
    a, b = sample("a"), sample("b")
    other = Sample("b", "b", a.rates + 1, b.halves)
    assert a.shared_with(other) == {}
    assert a.shared_with(b) == {k: k for k in range(24)}


def test_a_copy_under_other_labels_is_the_same():
    a = sample("a", noise=1.0)
    renamed = [tuple(half.assign_coords(unit=[f"x{k}" for k in range(24)]) for half in pair) for pair in a.halves]
    copy = Sample("copy", "copy", a.rates.assign_coords(unit=[f"x{k}" for k in range(24)]), renamed[::-1])
    assert len(a.shared_with(copy)) == 24
    row = row_of(scored(PROCRUSTES, a, copy), "a", "copy")
    # Halved in another order, a copy would meet its own trials; it is heard in the halves of the first.
    assert float(row["score"]) == pytest.approx(float(row["ceiling"]), rel=0.05)
    few, other = copy.rates.isel(unit=slice(0, 5)), sample("other", units=5)
    mixed = xr.concat([few, other.rates], dim="unit")
    # A few units alike under other names are chance, as where both fired once.
    assert a.shared_with(Sample("mixed", "mixed", mixed, [])) == {}


def test_silent_units_are_not_the_same_units():
    rates = sample("a").rates * 0
    assert Sample("a", "a", rates, []).shared_with(Sample("b", "b", rates, [])) == {}


def test_copies_of_networks_are_no_pair():
    """Three networks against two, one of which is on both sides under another name."""
    first = [replace(sample(f"f{k}", units=k, candidate="f"), content=f"net {k}") for k in range(3)]
    second = [replace(sample(f"s{k}", units=k, candidate="s"), content=f"net {k}") for k in (2, 7)]
    row = row_of(scored(PROCRUSTES, *first, *second), "f", "s")
    sides = [[Side(PROCRUSTES, one, plan()) for one in group] for group in (first, second)]
    others = [score_between(a, b) for a in sides[0] for b in sides[1] if a.sample.content != b.sample.content]
    assert float(row["score"]) == pytest.approx(np.mean(others))
    assert "1 of the networks have a copy on the other side" in str(row["reason"].item())
    alone = row_of(scored(PROCRUSTES, first[2], second[0]), "f", "s")
    assert np.isnan(float(alone["low"]))
    assert "both are one network" in str(alone["reason"].item())


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
    assert float(row["dof"]) == pytest.approx(2)
    assert str(row["over"].item()) == "networks"


def test_two_groups_of_networks_have_the_jackknife_error_of_both():
    first = [sample(f"f{k}", units=k, candidate="f") for k in range(3)]
    second = [sample(f"s{k}", units=10 + k, candidate="s") for k in range(4)]
    data = scored(PROCRUSTES, *first, *second)
    row = row_of(data, "f", "s")
    table = np.array(
        [[score_between(Side(PROCRUSTES, a, plan()), Side(PROCRUSTES, b, plan())) for b in second] for a in first]
    )

    def jackknife(axis: int) -> float:
        n = table.shape[axis]
        left = np.array([np.delete(table, k, axis=axis).mean() for k in range(n)])
        return (n - 1) / n * float(((left - left.mean()) ** 2).sum())

    parts = jackknife(0), jackknife(1)
    assert float(row["error"]) == pytest.approx(np.sqrt(sum(parts)))
    # Satterthwaite's.
    assert float(row["dof"]) == pytest.approx(sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 3))
    # Every network met every other, for the test that parts groups of them.
    between = data["between"].values
    assert between.shape == (7, 7)
    np.testing.assert_allclose(between[:3, 3:], table)
    assert np.isfinite(between[~np.eye(7, dtype=bool)]).all()


def test_without_trials_there_is_no_ceiling_and_the_row_says_so():
    averages = sample("avg", noise=0.0)
    bare = Sample("avg", "avg", averages.rates, [(averages.rates, averages.rates)] * 2, has_trials=False)
    data = scored(PROCRUSTES, bare, sample("b", units=1))
    row = row_of(data, "avg", "b")
    assert np.isfinite(float(row["score"]))
    assert np.isnan(float(row["ceiling"]))
    assert np.isnan(float(row["placed"]))
    assert "no ceiling" in str(row["reason"].item())


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
    samples = {name: [sample(name, units=k)] for k, name in enumerate("abc")}
    data = score_measure(PROCRUSTES, samples, plan(), level=LEVEL)
    tests = {
        pair: part_pair((PROCRUSTES,), *(samples[name] for name in pair), plan(), scores={}, alpha=0.05)
        for pair in combinations("abc", 2)
    }
    table = pair_table({"procrustes_distance": with_tests(data, tests)})
    assert list(table["first"]) == ["a", "a", "b"]
    assert table["score"].tolist() == data["score"].values.tolist()
    assert table["apart_p"].tolist() == [float(tests[pair]["apart_p"][0]) for pair in combinations("abc", 2)]
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


def broken(share: float) -> Measure:
    """A measure without a score for some of what is no recording: every surrogate whose first rate is low."""

    def prepare(rates: xr.DataArray) -> tuple[float, float]:
        first = float(rates.values[0, 0, 0])
        is_surrogate = any("surrogate" in str(step) for step in rates.attrs.get("steps", ())) or first < share
        return float(rates.std()), float("nan") if is_surrogate else 0.0

    return Measure("broken", "broken", "distance", True, prepare, lambda a, b: abs(a[0] - b[0]) + a[1] + b[1])


def test_surrogates_without_a_score_are_left_out_of_the_floor_and_counted():
    """The first rate of both recordings is high, so that only surrogates fall below the bar."""
    samples = []
    for name, units in (("a", 0), ("b", 1)):
        one = sample(name, units=units)
        high = [tuple(half.where(half.condition != -1) + 0 for half in pair) for pair in one.halves]
        samples.append(Sample(name, name, one.rates, high))
    bar = min(float(half.values[0, 0].min()) for one in samples for pair in one.halves for half in pair)
    data = scored(broken(bar), *samples, n_floor=40)
    row = row_of(data, "a", "b")
    n_lost = int(row["n_floor_failed"])
    assert 0 < n_lost < 80
    assert np.isfinite(float(row["floor"]))
    assert f"{n_lost} of 80 surrogates have no score: left out of the floor, counted against p" in str(
        row["reason"].item()
    )
    assert float(row["p_floor"]) >= (1 + min(n_lost, 1)) / 41
    lost = row_of(scored(broken(1e9), *samples), "a", "b")
    assert np.isnan([float(lost[name]) for name in ("score", "floor", "ceiling", "p_floor", "placed")]).all()
    assert str(lost["reason"].item()).startswith("no score: it is not defined for these rates")
    assert "no floor: not one surrogate has a score" in str(lost["reason"].item())
