"""Scores between floor and ceiling: equals stand at 1, surrogates at 0, chance is chance, for either kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from similarity_samples import halves, latents, noise, population, rates_of, turned

from dynaprobe.analysis.bounds import BoundedScore, between_ceiling, bounded, bounded_scores
from dynaprobe.analysis.measures import MEASURES, measure_named
from dynaprobe.analysis.surrogates import fit_tme
from dynaprobe.core.errors import RatesError, SettingsError

KINDS = pytest.mark.parametrize("name", ["cca", "procrustes_distance"])


def sides(seed_a=1, seed_b=5, n_a=9, n_b=9, latent_b=None):
    found = []
    for latent, n, seed in (
        (latents(), n_a, seed_a),
        (latent_b if latent_b is not None else latents(), n_b, seed_b),
    ):
        pairs = halves(latent, n, seed=seed)
        whole = pairs[0][0].copy(data=(pairs[0][0].values + pairs[0][1].values) / 2)
        found.append((whole, pairs))
    return found


@KINDS
def test_score_floor_and_ceiling_equal_plain_calls_of_the_measure(name):
    """The whole of it by hand, for equal numbers of units."""
    measure = measure_named(name)
    (a, halves_a), (b, halves_b) = sides()
    found = bounded(measure, a, b, halves_a=halves_a, halves_b=halves_b, seed=4, n_floor=5).data
    wanted = [
        np.mean([measure.score(x, y) for x, y in zip(pair_a, pair_b, strict=True)])
        for pair_a, pair_b in zip(halves_a, halves_b, strict=True)
    ]
    np.testing.assert_allclose(found["score_setting"], wanted, atol=1e-12)
    assert float(found["score"]) == pytest.approx(np.mean(wanted))
    np.testing.assert_allclose(found["ceiling"], [measure.score(*pair) for pair in halves_b], atol=1e-12)
    floor = []
    for draw in range(5):
        fit = fit_tme(halves_a[draw % 3][0])
        surrogate = a.copy(data=fit.draw_values(draw, seed=4))
        floor.append(np.mean([measure.score(surrogate, half) for half in halves_b[draw % 3]]))
    np.testing.assert_allclose(found["floor"], floor, atol=1e-12)
    k = np.sum(np.asarray(floor) <= np.mean(wanted)) if "distance" in name else np.sum(floor >= np.mean(wanted))
    assert float(found["p_value"]) == pytest.approx((k + 1) / 6)


@KINDS
def test_the_same_in_another_frame_stands_at_one_and_surrogates_at_zero(name):
    """Other noise and a rotation of the units: as like as two halves of the same trials."""
    halves_b = halves(latents(), 9, seed=5)
    halves_a = [tuple(turned(half, seed=3) for half in pair) for pair in halves(latents(), 9, seed=5, first=70)]
    a, b = halves_a[0][0], halves_b[0][0]
    measure = measure_named(name)
    found = bounded(measure, a, b, halves_a=halves_a, halves_b=halves_b, seed=0, n_floor=30)
    assert float(found.data["normalised"]) == pytest.approx(1.0, abs=0.08)  # SAMPLING of the noise
    assert float(found.data["p_value"]) == pytest.approx(1 / 31)
    assert found.failures == {}
    # SAMPLING: surrogates other than those of the floor; the scale is one of tenths.
    draws = fit_tme(halves_a[0][0]).draw(8, seed=99)
    placed = [
        float(
            bounded(measure, draws.isel(draw=k, drop=True), b, halves_b=halves_b, seed=0, n_floor=1).data["score"]
        )
        for k in range(8)
    ]
    low, high = float(found.data["floor_mean"]), float(found.data["ceiling_mean"])
    assert abs((np.mean(placed) - low) / (high - low)) < 0.2


@pytest.mark.parametrize("name", ["procrustes_distance", pytest.param("cca", marks=pytest.mark.slow)])
def test_the_null_rejects_at_its_rate(name):
    """Sides without any relation, smooth over time: one error in ten at most, up to sampling of 40 pairs."""
    measure, p_values = measure_named(name), []
    for seed in range(40):
        a = rates_of(noise(6, 24, 9, seed=3000 + seed))
        halves_b = halves(latents(seed=seed + 50), 9, seed=100 + seed, n_splits=1)
        found = bounded(measure, a, halves_b[0][0], halves_b=halves_b, seed=seed, n_floor=9)
        p_values.append(float(found.data["p_value"]))
    # Binomial(40, 0.1): 9 or more have a chance of 1.6 %.
    assert np.sum(np.asarray(p_values) <= 0.1) <= 8
    assert 0.3 < np.mean(p_values) < 0.8


def test_the_larger_side_is_subsampled_anew_in_every_setting_and_it_is_said():
    (a, halves_a), (b, halves_b) = sides(n_a=12, n_b=8)
    found = bounded(
        measure_named("procrustes_distance"), a, b, halves_a=halves_a, halves_b=halves_b, seed=0, n_floor=3
    )
    assert found.settings["n_units"] == 8
    assert found.sentences == (
        "6 conditions, matched by direction_deg; 24 bins; nothing left out",
        "8 of the 12 units of a, chosen anew in each of 3 settings",
        "a enters by halves of its trials, 3 splits",
        "b enters by halves of its trials, 3 splits",
    )
    again = bounded(
        measure_named("procrustes_distance"), a, b, halves_a=halves_a, halves_b=halves_b, seed=0, n_floor=6
    )
    np.testing.assert_array_equal(again.data["score_setting"], found.data["score_setting"])
    np.testing.assert_array_equal(again.data["floor"][:3], found.data["floor"])  # draws do not depend on how many
    other = bounded(
        measure_named("procrustes_distance"), a, b, halves_a=halves_a, halves_b=halves_b, seed=1, n_floor=3
    )
    assert not np.array_equal(other.data["score_setting"], found.data["score_setting"])


def test_units_are_subsampled_ten_times_where_there_are_no_splits():
    found = bounded(
        measure_named("procrustes_distance"),
        population(latents(), 5, seed=1),
        population(latents(), 9, seed=5),
        seed=0,
        n_floor=3,
    )
    assert found.data["score_setting"].size == 10
    assert float(found.data["score_sd"]) > 0
    assert found.failures == {"no ceiling: halves of b were not given": 1}
    assert np.isnan(found.data["normalised"])
    assert np.isfinite(found.data["p_value"])


def test_only_shared_conditions_enter_and_halves_are_cut_alike():
    (a, _), (b, halves_b) = sides()
    fewer = a.isel(condition=[4, 2, 1, 0], time=slice(3, 20))
    measure = measure_named("procrustes_distance")
    found = bounded(measure, fewer, b, halves_b=halves_b, seed=0, n_floor=2)
    assert found.settings["n_conditions"] == 4
    assert found.settings["n_bins"] == 17
    wanted = [measure.score(half.isel(condition=[4, 2, 1, 0], time=slice(3, 20)), fewer) for half in halves_b[1]]
    assert float(found.data["score_setting"][1]) == pytest.approx(np.mean(wanted))
    assert "left out: 2 x condition of b without a counterpart" in found.sentences[0]


@KINDS
def test_other_recordings_give_a_second_ceiling(name):
    (a, halves_a), (b, halves_b) = sides()
    measure = measure_named(name)
    found = bounded(measure, a, b, halves_a=halves_a, halves_b=halves_b, seed=0, n_floor=5)
    others = [population(latents(), 12, seed=20), population(latents(), 6, seed=30)]
    both = between_ceiling(found, measure, others, b, halves_b=halves_b, seed=0)
    assert both.data["ceiling_between"].shape == (2,)
    assert both.failures == {"other recording with fewer units than the 9 of the comparison": 1}
    low, high = float(both.data["floor_mean"]), float(both.data["ceiling_between_mean"])
    assert float(both.data["normalised_between"]) == pytest.approx(
        (float(found.data["score"]) - low) / (high - low)
    )
    same = between_ceiling(found, measure, [a], b, halves_b=halves_b, seed=0)
    wanted = np.mean([measure.score(a, half) for pair in halves_b for half in pair])
    assert float(same.data["ceiling_between_mean"]) == pytest.approx(wanted)


def test_no_room_is_said_and_not_divided_by():
    unreliable = halves(latents(), 6, seed=1, noise_sd=50.0)
    found = bounded(
        measure_named("procrustes_distance"),
        unreliable[0][0],
        unreliable[1][0],
        halves_b=unreliable,
        seed=0,
        n_floor=9,
    )
    if np.isnan(found.data["normalised"]):
        assert "no more alike than floor" in found.status
    worse = replace(measure_named("cca"), compare=lambda a, b: 0.5)
    flat = bounded(worse, unreliable[0][0], unreliable[1][0], halves_b=unreliable, seed=0, n_floor=9)
    assert "ceiling 0.5 no more alike than floor 0.5: the score has no scale and is undefined" in flat.failures
    assert np.isnan(flat.data["normalised"])
    assert float(flat.data["p_value"]) == 1.0


def test_scores_that_are_not_defined_are_counted():
    (a, _), (b, halves_b) = sides()
    calls = iter(range(10**6))
    patchy = replace(measure_named("cca"), compare=lambda x, y: np.nan if next(calls) % 8 == 7 else 0.1)
    found = bounded(patchy, a, b, halves_b=halves_b, seed=0, n_floor=9)
    assert found.failures["surrogate whose score is not defined, left out of the floor"] >= 1
    never = replace(measure_named("cca"), compare=lambda x, y: float("nan"))
    found = bounded(never, a, b, halves_b=halves_b, seed=0, n_floor=4)
    assert found.failures["score that is not defined"] == 3
    assert np.isnan(found.data["p_value"])
    assert np.isnan(found.data["normalised"])


def test_every_measure_goes_through_and_survives_a_round_trip():
    (a, halves_a), (b, halves_b) = sides(n_a=8, n_b=7)
    found = list(bounded_scores(MEASURES, a, b, halves_a=halves_a, halves_b=halves_b, seed=0, n_floor=4))
    for measure, record in zip(MEASURES, found, strict=True):
        assert record.settings["measure"] == measure.name
        assert np.isfinite(record.data["score"])
        low, score = float(record.data["floor_mean"]), float(record.data["score"])
        assert measure.sign * (score - low) > 0, measure.name
        again = BoundedScore.from_dataset(record.to_dataset())
        assert again.settings == record.settings
        assert again.data.equals(record.data)


def test_bad_requests_are_refused():
    (a, _), (b, halves_b) = sides()
    with pytest.raises(SettingsError, match=r"n_floor must be at least 1, but got 0"):
        bounded(MEASURES[0], a, b, seed=0, n_floor=0)
    with pytest.raises(
        RatesError, match=r"halves_b must hold pairs with the 9 units of b, but got 2 parts with \[8"
    ):
        bounded(MEASURES[0], a, b, halves_b=[(halves_b[0][0].isel(unit=slice(8)), halves_b[0][1])], seed=0)
    with pytest.raises(SettingsError, match=r"len\(halves_b\) must be at least 1"):
        bounded(MEASURES[0], a, b, halves_b=[], seed=0)
