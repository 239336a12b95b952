"""Single units through the battery: both sides alike, numbers in the summary, and a reason where data lack."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dynaprobe.core.errors import SettingsError
from dynaprobe.recordings.session import Recording
from dynaprobe.study.comparison import ComparisonSettings, Population, population, resolve, score, timing
from dynaprobe.study.describe import describe, headline
from dynaprobe.study.prepared import Prepared
from dynaprobe.study.single_trials import SingleTrials, before_movement_ms
from dynaprobe.study.teacher import teacher_recording
from dynaprobe.study.unit_analyses import UNIT_ANALYSES
from dynaprobe.study.unit_pairs import surrogate_features, unit_pairs
from dynaprobe.study.unit_settings import UnitSettings

UNITS = UnitSettings(n_permutations=99, n_latency_null=99, n_surrogates=5)
SETTINGS = ComparisonSettings(n_splits=2, n_floor=19, n_chance=20, n_motifs=3, n_surrogates=2, units=UNITS)
OPTIONS = {"n_units": 50, "n_repeats": 10, "n_targets": 6, "delay_ms": 1000.0}


@pytest.fixture(scope="module")
def recording() -> Recording:
    return teacher_recording(**OPTIONS, seed=1)


@pytest.fixture(scope="module")
def settings(recording) -> ComparisonSettings:
    return resolve(SETTINGS, timing(recording))


def described(side: Population, settings: ComparisonSettings, gallery=None) -> dict:
    return {row.name: row.run(Prepared(side, settings, 0, gallery)) for row in UNIT_ANALYSES}


@pytest.fixture(scope="module")
def recorded(recording, settings):
    side = population(recording, settings, seed=0)
    return side, described(side, settings) | {"surrogate_features": surrogate_features(side, settings, seed=0)}


@pytest.fixture(scope="module")
def equal(settings, recorded):
    """Other neurons of the same teacher, in the place of a network."""
    side = population(teacher_recording(**OPTIONS, seed=2), settings, seed=0)
    results = described(side, settings, recorded[1]["gallery"])
    return side, results | score(side, recorded[0], settings, seed=0)


def test_baseline_tells_nothing_and_the_epochs_do(recorded):
    data = recorded[1]["direction_tuning"].data
    assert data["epoch"].values.tolist() == ["baseline", "preparatory", "movement"]
    assert int(data["n_selective"].sel(epoch="baseline")) <= 2
    assert (data["fraction"].sel(epoch=["preparatory", "movement"]) > 0.3).all()
    assert data["unit"].values.tolist() == recorded[0].rates["unit"].values.tolist()


def test_latencies_follow_the_events(recorded):
    numbers = headline(recorded[1])
    # The teacher's preparation rises with 200 ms from target onset; its movement begins about movement onset.
    assert 30 <= numbers["response_latency_ms"] <= 300
    assert -200 <= numbers["movement_latency_ms"] <= 100
    assert recorded[1]["latency_move"].settings["baseline_ms"] == list(before_movement_ms(SETTINGS.move_window_ms))


def test_an_equal_is_not_told_apart_and_its_numbers_stand_in_the_summary(recorded, equal, settings):
    found, reasons = unit_pairs(equal[0], recorded[0], equal[1], recorded[1], settings, seed=0)
    assert reasons == {}
    numbers = headline(equal[1] | found)
    # One draw of each: a true null falls at or below 0.01 once in a hundred.
    assert numbers["feature_p"] > 0.01
    assert numbers["feature_similarity"] > 0.5
    assert numbers["motif_p"] > 0.01
    assert numbers["class_p"] > 0.01
    assert (found["match_distribution"].data["shift"] > 0).all()
    assert 0 <= numbers["matched_recorded"] <= 1
    assert 0 < numbers["selective_movement"] <= 1
    known = [name for name in numbers if name.startswith(("selective", "tuning", "lifetime", "population_sp"))]
    assert len(known) == 6
    assert np.isfinite([numbers[name] for name in known]).all()


def test_units_unlike_the_recording_are_told_apart(recorded, equal, settings):
    rates = equal[0].rates
    flat = rates.copy(data=0.2 * rates.values + 0.8 * rates.mean("condition").values)
    other = dict(equal[1])
    changed = replace(equal[0], rates=flat)
    other["unit_features"] = next(r for r in UNIT_ANALYSES if r.name == "unit_features").run(
        Prepared(changed, settings, 0, None)
    )
    found, _ = unit_pairs(changed, recorded[0], other, recorded[1], settings, seed=0)
    assert float(found["feature_distance"].data["energy_p"]) == 0.01


def test_what_cannot_be_computed_has_a_reason(recorded, equal, settings):
    side = replace(recorded[0], trials=SingleTrials(None, "unobserved before the target"))
    results, reasons = describe(side, settings, seed=0)
    assert set(reasons) == {"direction_tuning", "latency_target", "latency_move"}
    assert "trials must be at hand, as this analysis tests on them, but got unobserved" in reasons["latency_move"]
    assert np.isnan(headline(results)["selective_movement"])
    without = {name: result for name, result in equal[1].items() if name != "gallery"}
    found, why = unit_pairs(equal[0], recorded[0], without, recorded[1], settings, seed=0)
    assert why == {"motif_distance": "it needs gallery of both sides"}
    assert "class_distance" in found


def test_a_recording_without_a_baseline_keeps_its_psths():
    recording = teacher_recording(**OPTIONS | {"n_units": 12}, seed=1)
    long = SETTINGS.with_changes({"units.baseline_window_ms": (-5000.0, -4500.0)})
    side = population(recording, resolve(long, timing(recording)), seed=0)
    assert side.trials.rates is None
    assert "usable trials" in side.trials.reason
    assert side.rates.sizes["unit"] > 0
    with pytest.raises(SettingsError, match="latency_window_ms starts before it stops"):
        SETTINGS.with_changes({"units.latency_window_ms": (100.0, 0.0)})
