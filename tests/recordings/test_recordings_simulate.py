"""Simulated recordings: rates come back, counts are Poisson, dead time is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from dynaprobe.core.errors import DataError, RatesError
from dynaprobe.core.rates import make_rates, steps_done
from dynaprobe.recordings.binning import PsthSettings
from dynaprobe.recordings.psth import psth
from dynaprobe.recordings.session import Recording, Session
from dynaprobe.recordings.simulate import (
    _with_dead_time,
    draw_rate_range,
    match_rate_range,
    scale_rates,
    simulate_session,
)

# Sampling: five standard deviations of the estimate; a correct program fails once in a million numbers.
SIGMAS = 5.0
ROUND_OFF = 1e-9


def rates_of(values: Any, *, start_ms: float = 0.0, unit: str = "spikes/s") -> xr.DataArray:
    values = np.asarray(values, dtype=float)
    time_ms = start_ms + 10.0 * np.arange(values.shape[1])
    return make_rates(
        values, dims=("trial", "time", "unit"), time_ms=time_ms, event="trial_start", rate_unit=unit, source="test"
    )


def simulated(rates: xr.DataArray, **choice: Any) -> Session:
    n = rates.sizes["trial"]
    table = pd.DataFrame({"direction_deg": np.zeros(n)})
    return simulate_session(
        rates, **{"events_ms": {"go_cue": np.full(n, 100.0)}, "conditions": table, "seed": 0} | choice
    )


def counts_of(session: Session) -> np.ndarray:
    """Spikes per trial and unit."""
    start, stop = session.trials["start"].to_numpy(), session.trials["stop"].to_numpy()
    return np.column_stack([np.searchsorted(t, stop) - np.searchsorted(t, start) for t in session.spike_times_s])


@pytest.mark.parametrize("refractory_ms", [0.0, 4.0])
def test_rate_and_fano_factor(refractory_ms: float) -> None:
    rate, n_trials = 50.0, 2000
    counts = counts_of(simulated(rates_of(np.full((n_trials, 100, 2), rate)), refractory_ms=refractory_ms))
    fano = (1 - rate * refractory_ms * 1e-3) ** 2
    slack = SIGMAS * np.sqrt(fano * rate / n_trials)
    np.testing.assert_allclose(counts.mean(0), rate, atol=slack)
    # A variance estimate has relative error sqrt(2 / n); a window of 1 s is long against the intervals of 20 ms
    # but not infinitely: the next term of the counting variance is below 1 %.
    np.testing.assert_allclose(
        counts.var(0, ddof=1) / rate, fano, atol=fano * SIGMAS * np.sqrt(2 / n_trials) + 0.01
    )


@pytest.mark.parametrize("refractory_ms", [0.0, 3.0])
def test_time_varying_rates_come_back(refractory_ms: float) -> None:
    n_trials = 1500
    bump = 5.0 + 55.0 * np.exp(-0.5 * ((np.arange(60) - 30) / 10.0) ** 2)
    rates = rates_of(np.broadcast_to(bump[:, None], (n_trials, 60, 1)))
    recording = Recording((simulated(rates, refractory_ms=refractory_ms),))
    plain = PsthSettings(sd_ms=0)
    found = psth(recording, event="go_cue", start_ms=-100, stop_ms=500, settings=plain).mean.values[0, :, 0]
    z = (found - bump) / np.sqrt(bump / (n_trials * 0.01))
    assert np.abs(z).max() < SIGMAS
    # Poisson: mean square 1 with relative error sqrt(2 / 60); dead time only makes counts more regular.
    assert np.mean(z**2) < 1 + SIGMAS * np.sqrt(2 / 60)


def test_intervals_respect_the_dead_time() -> None:
    session = simulated(rates_of(np.full((50, 100, 3), 80.0)), refractory_ms=5.0, gap_ms=0.0)
    assert min(np.diff(times_s).min() for times_s in session.spike_times_s) >= 5e-3 - ROUND_OFF
    without = simulated(rates_of(np.full((50, 100, 3), 80.0)), gap_ms=0.0)
    assert min(np.diff(times_s).min() for times_s in without.spike_times_s) < 1e-3


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(st.integers(1, 12), max_size=60), tau=st.integers(1, 15))
def test_dead_time_equals_one_spike_after_another(steps: list[int], tau: int) -> None:
    times = np.cumsum(np.asarray(steps, dtype=float))
    expected: list[float] = []
    for time in times:
        if not expected or time - expected[-1] >= tau:
            expected.append(time)
    found = _with_dead_time(times, np.array([0.0]), np.array([0.0]), float(tau))
    assert found.tolist() == expected


def test_same_seed_same_spikes() -> None:
    rates = rates_of(np.full((5, 50, 2), 30.0))
    first, again = simulated(rates, seed=3), simulated(rates, seed=3)
    for a, b in zip(first.spike_times_s, again.spike_times_s, strict=True):
        np.testing.assert_array_equal(a, b)
    for other in (simulated(rates, seed=4), simulated(rates, seed=3, identifier="another")):
        assert not np.array_equal(first.spike_times_s[0], other.spike_times_s[0])


def test_units_and_trials_are_independent() -> None:
    counts = counts_of(simulated(rates_of(np.full((2000, 20, 2), 40.0))))
    chance = SIGMAS / np.sqrt(2000)
    assert abs(np.corrcoef(counts.T)[0, 1]) < chance
    assert abs(np.corrcoef(counts[1:, 0], counts[:-1, 0])[0, 1]) < chance


def test_trials_follow_one_another_on_the_session_clock() -> None:
    rates = rates_of(np.full((3, 50, 1), 20.0), start_ms=-100.0)
    go_ms = np.array([0.0, 50.0, np.nan])
    table = pd.DataFrame({"direction_deg": [0.0, 90.0, 0.0], "radius": [1.0, 1.0, 2.0]})
    session = simulate_session(rates, events_ms={"go_cue": go_ms}, conditions=table, seed=0, gap_ms=500.0)
    np.testing.assert_allclose(session.trials["start"], [0.0, 1.0, 2.0], atol=ROUND_OFF)
    np.testing.assert_allclose(session.trials["stop"], [0.5, 1.5, 2.5], atol=ROUND_OFF)
    np.testing.assert_allclose(session.trials["go_cue"], [0.1, 1.15, np.nan], atol=ROUND_OFF)
    assert session.conditions == ("direction_deg", "radius")
    assert session.obs_intervals_s is not None
    np.testing.assert_allclose(session.obs_intervals_s[0], [[0.0, 0.5], [1.0, 1.5], [2.0, 2.5]], atol=ROUND_OFF)
    times_s = session.spike_times_s[0]
    assert ((times_s % 1.0) < 0.5).all()


@pytest.mark.parametrize(
    ("rates", "choice", "message"),
    [
        (rates_of(np.full((2, 5, 1), -1.0)), {}, r"rates must be 0 or more, but got -1\.0"),
        (rates_of(np.ones((2, 5, 1)), unit="a.u."), {}, r"rates must be in spikes/s, but got a\.u\.\. Scale them"),
        (
            rates_of(np.full((2, 5, 1), 300.0)),
            {"refractory_ms": 4.0},
            r"refractory_ms must .* 4 ms at 300 spikes/s",
        ),
        (rates_of(np.ones((2, 5, 1))), {"gap_ms": -1.0}, "gap_ms must be 0 or more"),
        (
            rates_of(np.ones((2, 5, 1))),
            {"events_ms": {"go_cue": np.zeros(3)}},
            r"each of 2 trials.*\{'go_cue': 3\}",
        ),
        (rates_of(np.ones((2, 5, 1))), {"events_ms": {}}, "name an event"),
    ],
)
def test_what_cannot_be_simulated(rates: xr.DataArray, choice: dict[str, Any], message: str) -> None:
    with pytest.raises((RatesError, DataError), match=message):
        simulated(rates, **choice)


def test_scaled_rates_fill_their_range_and_keep_their_shape() -> None:
    values = np.random.default_rng(0).normal(size=(3, 20, 4))
    values[..., 3] = 0.7  # a unit that never changes
    low, high = np.array([0.0, 2.0, 5.0, 1.0]), np.array([10.0, 60.0, 5.0, 30.0])
    scaled = scale_rates(rates_of(values, unit="a.u."), low_hz=low, high_hz=high)
    assert scaled.attrs["rate_unit"] == "spikes/s"
    assert scaled.dims == ("trial", "time", "unit")
    assert "affinely" in steps_done(scaled)[-1]
    np.testing.assert_allclose(scaled.min(("trial", "time")), low, atol=ROUND_OFF)
    np.testing.assert_allclose(scaled.max(("trial", "time")), [10.0, 60.0, 5.0, 1.0], atol=ROUND_OFF)
    for unit in (0, 1):
        shape = np.corrcoef(scaled.values[..., unit].ravel(), values[..., unit].ravel())[0, 1]
        assert shape == pytest.approx(1.0, abs=ROUND_OFF)


def test_the_range_of_the_reference_counts_and_nothing_fires_below_zero():
    """The reference runs from 0 to 1; what is twice that goes as far beyond, what is below is cut."""
    values = np.array([[[-1.0], [0.0], [0.5], [2.0]]])
    reference = rates_of(np.array([[[0.0], [0.25], [0.5], [1.0]]]), unit="a.u.")
    scaled = scale_rates(rates_of(values, unit="a.u."), low_hz=10.0, high_hz=40.0, reference=reference)
    np.testing.assert_allclose(scaled.values.ravel(), [0.0, 10.0, 25.0, 70.0], rtol=1e-12)


def test_a_unit_that_hardly_varies_is_not_blown_up():
    shape = np.linspace(0, 1, 11)
    values = np.stack([shape, shape, 1e-3 * shape], axis=-1)[None]
    scaled = scale_rates(rates_of(values, unit="a.u."), low_hz=5.0, high_hz=25.0).values[0]
    np.testing.assert_allclose(scaled[-1], [25.0, 25.0, 5.0 + 20.0 * 1e-3 / 0.1], rtol=1e-12)


@pytest.mark.parametrize(("low", "high"), [(5.0, 1.0), (-1.0, 5.0), (0.0, np.inf), (np.zeros(3), 5.0)])
def test_ranges_that_make_no_sense(low: Any, high: Any) -> None:
    with pytest.raises(DataError, match="low_hz and high_hz must"):
        scale_rates(rates_of(np.ones((1, 3, 2)), unit="a.u."), low_hz=low, high_hz=high)


def test_drawn_ranges_lie_in_the_stated_ones() -> None:
    low, high = draw_rate_range(500, seed=1, low_hz=(1.0, 4.0), high_hz=(20.0, 30.0))
    assert 1.0 <= low.min() < 1.1
    assert 3.9 < low.max() <= 4.0
    assert 20.0 <= high.min() < 20.2
    assert 29.8 < high.max() <= 30.0
    np.testing.assert_array_equal(low, draw_rate_range(500, seed=1, low_hz=(1.0, 4.0))[0])


def test_matched_ranges_are_the_recorded_ones_when_numbers_agree() -> None:
    values = np.random.default_rng(1).gamma(2.0, 10.0, size=(4, 30, 12))
    low, high = match_rate_range(rates_of(values), 12, seed=0)
    recorded = sorted(zip(values.min((0, 1)), values.max((0, 1)), strict=True))
    np.testing.assert_allclose(sorted(zip(low, high, strict=True)), recorded, atol=ROUND_OFF)
    many = match_rate_range(rates_of(values), 999, seed=0)[1]
    assert np.median(many) == pytest.approx(np.median(values.max((0, 1))), rel=1e-6)
    with pytest.raises(RatesError, match="be in spikes/s"):
        match_rate_range(rates_of(values, unit="a.u."), 3, seed=0)
