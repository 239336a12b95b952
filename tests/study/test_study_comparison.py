"""Scores mean what they say: 1 for a second sample of the same thing, 0 for what shares only simple features."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import xarray as xr

from dynaprobe.analysis.surrogates import fit_tme
from dynaprobe.core.errors import DataError, SettingsError
from dynaprobe.recordings.session import Recording
from dynaprobe.study.comparison import ComparisonSettings, population, resolve, score, timing
from dynaprobe.study.describe import headline
from dynaprobe.study.teacher import teacher_recording
from dynaprobe.study.yardstick import place, yardstick

SETTINGS = ComparisonSettings(n_splits=3, n_floor=20, n_chance=50)


@cache
def recording(seed: int, delay_ms: float = 1000.0) -> Recording:
    """Made once for all that read it; nothing below changes it."""
    return teacher_recording(n_units=80, n_repeats=24, n_targets=8, delay_ms=delay_ms, seed=seed)


@pytest.fixture(scope="module")
def resolved() -> ComparisonSettings:
    return resolve(SETTINGS, timing(recording(1)))


@pytest.fixture(scope="module")
def recorded(resolved):
    return population(recording(1), resolved, seed=0)


@pytest.fixture(scope="module")
def scale(resolved, recorded):
    return yardstick(recorded, resolved, seed=0)


def placed(side, recorded, scale, resolved) -> dict[str, float]:
    return place(side, recorded, scale, resolved, seed=0).scores


def test_other_neurons_of_the_same_kind_stand_at_one(resolved, recorded, scale):
    """The same teacher, other neurons, other spikes: an equal, unit by unit and as a population."""
    found = placed(population(recording(2), resolved, seed=0), recorded, scale, resolved)
    # SAMPLING: forty neurons that mix eleven latents in other proportions.
    assert found["population"] == pytest.approx(1.0, abs=0.25)
    assert found["single_unit"] == pytest.approx(1.0, abs=0.35)


def test_surrogates_of_the_neurons_stand_at_zero(resolved, recorded, scale):
    draws = fit_tme(recorded.halves[0][0]).draw(6, seed=11)
    found = []
    for k in range(6):
        draw = draws.isel(draw=k, drop=True).assign_attrs(recorded.rates.attrs)
        side = replace(recorded, rates=draw, halves=[(draw, draw)] * resolved.n_splits)
        found.append(placed(side, recorded, scale, resolved))
    for level in ("population", "single_unit"):
        # SAMPLING: six draws, whose scatter about the floor is a few tenths of the scale.
        assert abs(np.mean([numbers[level] for numbers in found])) < 0.25


def test_conditions_in_the_wrong_order_are_no_match(resolved, recorded, scale):
    other = population(recording(2), resolved, seed=0)
    order = [3, 0, 6, 1, 7, 4, 2, 5]
    wrong = replace(other, halves=[tuple(half.isel(condition=order) for half in pair) for pair in other.halves])
    right, shuffled = (placed(side, recorded, scale, resolved) for side in (other, wrong))
    for level in ("population", "single_unit"):
        assert shuffled[level] < 0.5 * right[level]


def test_the_networks_own_null(resolved, recorded):
    """Another sample of the same kind beats every surrogate of itself."""
    other = population(recording(2), resolved, seed=0)
    numbers = headline(score(other, recorded, resolved, seed=0))
    assert numbers["population_p"] == pytest.approx(1 / 21)
    assert numbers["single_unit_p"] == pytest.approx(1 / 21)


def test_parts_are_disjoint_and_the_same_every_time(resolved, recorded, scale):
    for k in range(resolved.n_splits):
        first, second = (set(scale.data[name].values[k].tolist()) for name in ("model_units", "target_units"))
        assert not first & second
        assert len(first) == len(second) == 40
    xr.testing.assert_identical(scale.data, yardstick(recorded, resolved, seed=0).data)


def test_too_few_neurons_to_part(resolved, recorded):
    few = replace(recorded, rates=recorded.rates.isel(unit=range(11)))
    with pytest.raises(DataError, match="recording must have at least 12 usable units, twice the PCs"):
        yardstick(few, resolved, seed=0)


def test_halves_are_scaled_alike_and_average_to_the_whole(recorded):
    first, second = recorded.halves[0]
    assert first.sizes == recorded.rates.sizes
    scale = (first / second).where(second != 0)
    assert np.isfinite(scale).any()
    spread = recorded.rates.max(("condition", "time")) - recorded.rates.min(("condition", "time")) + 5.0
    # Both halves hold twelve trials, so the mean of the halves is the mean of all trials.
    np.testing.assert_allclose(((first + second) / 2 * spread).values, recorded.rates.values, atol=1e-9)


def test_windows_follow_the_delay():
    long = resolve(SETTINGS, timing(recording(1)))
    short = resolve(SETTINGS, timing(recording(1, 500.0)))
    assert long.preparatory_window_ms == (500.0, 1000.0)
    assert short.preparatory_window_ms == (150.0, 450.0)
    assert short.target_window_ms == (-50.0, 500.0)


def test_a_delay_too_short_is_said():
    facts = replace(timing(recording(1)), delay_ms=300.0)
    with pytest.raises(
        DataError, match=r"preparatory_window_ms must end before the go cue, at the median delay of 300 ms"
    ):
        resolve(SETTINGS, facts)


def test_a_missing_event_is_said():
    session = recording(1).sessions[0]
    lame = replace(session, events=("target_on", "go_cue"))
    with pytest.raises(DataError, match=r"move_onset must be an event of the recording.*--map move_onset=COLUMN"):
        timing(Recording(sessions=(lame,), source="lame.nwb"))


def test_settings_must_be_resolved_first(recorded):
    with pytest.raises(DataError, match=r"target_window_ms must be resolved"):
        population(recording(1), SETTINGS, seed=0)
    assert recorded.left_out == {}


def test_an_event_without_any_time_is_said():
    session = recording(1).sessions[0]
    lame = replace(session, trials=session.trials.assign(move_onset=np.nan))
    with pytest.raises(DataError, match=r"lame\.nwb: go_cue and move_onset must both have a time in at least one"):
        timing(Recording(sessions=(lame,), source="lame.nwb"))


@pytest.mark.parametrize(
    ("window", "sentence"),
    [
        ({"move_window_ms": (100.0, -100.0)}, "move_window_ms starts before it stops"),
        ({"jpca_window_ms": (-50.0, 400.0)}, "jpca_window_ms lies inside move_window_ms"),
        ({"peri_movement_window_ms": (-300.0, 250.0)}, "peri_movement_window_ms lies inside move_window_ms"),
        (
            {"target_window_ms": (0.0, 400.0), "preparatory_window_ms": (150.0, 450.0)},
            "preparatory_window_ms lies inside target_window_ms",
        ),
    ],
)
def test_windows_that_do_not_fit_are_said(window, sentence):
    with pytest.raises(SettingsError, match=sentence):
        SETTINGS.with_changes(window)
