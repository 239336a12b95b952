"""PSTHs against loops over spikes, known answers, halves, and what is left out."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from recording_samples import make_session

from dynaprobe.core.errors import DataError, SettingsError
from dynaprobe.core.preprocess import concatenate_segments
from dynaprobe.core.rates import check_rates, steps_done
from dynaprobe.core.settings import parse
from dynaprobe.recordings.binning import PsthSettings, binned
from dynaprobe.recordings.counts import observed, spike_counts
from dynaprobe.recordings.psth import aligned, average, psth
from dynaprobe.recordings.session import Recording, Session

ROUND_OFF = 1e-9  # rates of some 100 spikes/s, summed over some 100 bins in another order
PLAIN = PsthSettings(dt_ms=10, sd_ms=0, min_trials=1)


def brute_rates(
    session: Session, unit: int, event: str, window: tuple[float, float], chosen: PsthSettings
) -> dict[int, Any]:
    """Smoothed rate of every usable trial of a unit by loops over trials, spikes and kernel."""
    dt, sd_bins = chosen.dt_ms, chosen.sd_ms / chosen.dt_ms
    reach = math.floor(4 * sd_bins + 0.5)  # where the kernel is cut
    kernel = {k: math.exp(-0.5 * (k / sd_bins) ** 2) if sd_bins else 1.0 for k in range(-reach, reach + 1)}
    n = round((window[1] - window[0]) / dt)
    found = {}
    for trial, event_s in session.trials[event].items():
        inside = [(a, b) for a, b in session.obs_intervals_s[unit]] if session.obs_intervals_s else [(-1e9, 1e9)]
        if math.isnan(event_s) or not any(
            a <= event_s + window[0] / 1e3 + 1e-9 and event_s + window[1] / 1e3 <= b + 1e-9 for a, b in inside
        ):
            continue
        counts, seen = {}, {}
        for b in range(-reach, n + reach):
            low = event_s + (window[0] + b * dt) / 1e3
            seen[b] = any(a <= low + 1e-9 and low + dt / 1e3 <= z + 1e-9 for a, z in inside)
            counts[b] = 0
        for spike_s in session.spike_times_s[unit]:
            b = math.floor((spike_s - event_s) * 1e3 / dt - window[0] / dt)
            if b in counts and seen[b]:
                counts[b] += 1
        found[trial] = [
            sum(kernel[k] * counts[b + k] for k in kernel)
            / sum(kernel[k] * seen[b + k] for k in kernel)
            / dt
            * 1e3
            for b in range(n)
        ]
    return found


@pytest.mark.parametrize("sd_ms", [0.0, 20.0])
@pytest.mark.parametrize(("event", "window"), [("target_on", (-480.0, 300.0)), ("go_cue", (-200.0, 600.0))])
def test_psth_equals_loops_over_spikes(
    random_recording: Recording, sd_ms: float, event: str, window: tuple[float, float]
) -> None:
    chosen = PsthSettings(dt_ms=20, sd_ms=sd_ms, min_trials=3)
    found = psth(random_recording, event=event, start_ms=window[0], stop_ms=window[1], settings=chosen)
    column = 0
    for session in random_recording.sessions:
        for unit in range(session.n_units):
            rates = brute_rates(session, unit, event, window, chosen)
            for k, (direction,) in enumerate(found.conditions.rows):
                rows = [r for trial, r in rates.items() if session.trials["direction_deg"][trial] == direction]
                assert int(found.n_trials[k, column]) == len(rows)
                np.testing.assert_allclose(found.mean[k, :, column], np.mean(rows, axis=0), atol=ROUND_OFF)
                error = np.sqrt(np.var(rows, axis=0, ddof=1) / len(rows))
                np.testing.assert_allclose(found.standard_error[k, :, column], error, atol=ROUND_OFF)
            column += 1
    assert column == found.mean.sizes["unit"]


@settings(max_examples=60, deadline=None)
@given(
    bins=st.lists(st.integers(-30, 60), max_size=30),
    dt_ms=st.sampled_from([1.0, 5.0, 10.0]),
    event_s=st.sampled_from([0.0, 0.3, 1000.1]),
)
def test_spikes_on_edges_belong_to_the_bin_that_starts_there(
    bins: list[int], dt_ms: float, event_s: float
) -> None:
    # Edge times are computed in seconds and so carry round-off of either sign.
    times_s = np.sort(event_s + np.asarray(bins, dtype=float) * dt_ms * 1e-3)
    found = spike_counts(times_s, np.array([event_s]), start_ms=-20 * dt_ms, dt_ms=dt_ms, n_bins=50)[0]
    expected = [bins.count(b - 20) for b in range(50)]
    assert found.tolist() == expected


def test_a_regular_unit_keeps_its_rate_up_to_the_edge_of_what_was_observed() -> None:
    # One spike in the middle of every observed bin: 100 spikes/s, and no dip beside the unobserved gap.
    spikes = np.concatenate([4.0 * k + 0.005 + 0.01 * np.arange(300) for k in range(8)])
    start = 4.0 * np.arange(8)
    obs = np.column_stack([start, start + 3.0])
    session = make_session([spikes], direction_deg=[0.0, 90.0] * 4, obs=[obs], go_cue=[1.5] * 8)
    chosen = PsthSettings(sd_ms=30, min_trials=4)
    found = psth(Recording((session,)), event="go_cue", start_ms=-1500, stop_ms=1500, settings=chosen)
    np.testing.assert_allclose(found.mean, 100.0, atol=ROUND_OFF)
    np.testing.assert_allclose(found.standard_error, 0.0, atol=ROUND_OFF)
    assert found.n_trials.values.tolist() == [[4], [4]]


def test_trials_that_reach_outside_the_observed_time_are_left_out_and_counted() -> None:
    obs = np.array([[0.0, 7.0], [8.2, 40.0]])  # trial 2 begins at 8 s
    session = make_session(
        [np.arange(0.05, 24, 0.1)] * 2, direction_deg=[0.0] * 6, obs=[obs, obs], go_cue=[0.3] * 6
    )
    found = psth(Recording((session,)), event="go_cue", start_ms=-200, stop_ms=100, settings=PLAIN)
    assert found.n_trials.values.tolist() == [[5, 5]]
    assert found.left_out == {"unit-trials with unobserved time in go_cue [-200, 100) ms": 2}


def test_units_with_different_observed_time_have_their_own_trials() -> None:
    early, always = np.array([[0.0, 12.0]]), np.array([[0.0, 24.0]])
    spikes = np.arange(0.05, 24, 0.1)
    session = make_session(
        [spikes, spikes[::2], spikes], direction_deg=[0.0] * 6, obs=[early, always, early], go_cue=[1.0] * 6
    )
    found = psth(Recording((session,)), event="go_cue", start_ms=0, stop_ms=1000, settings=PLAIN)
    assert found.n_trials.values.tolist() == [[3, 6, 3]]
    np.testing.assert_allclose(found.mean.mean("time"), [[10.0, 5.0, 10.0]], atol=ROUND_OFF)
    assert found.mean["unit"].values.tolist() == ["s/0", "s/1", "s/2"]


def test_observed_means_inside_one_interval() -> None:
    spans = np.array([[0.0, 1.0], [2.0, 3.0]])
    start, stop = (
        np.array([0.0, 0.5, 2.0, 0.9, -0.1, 3.0, np.nan]),
        np.array([1.0, 1.2, 2.5, 2.1, 0.5, 3.1, np.nan]),
    )
    assert observed(start, stop, spans, slack_s=0).tolist() == [True, False, True, False, False, False, False]
    assert not observed(start, stop, np.empty((0, 2)), slack_s=0).any()


def test_too_few_trials(random_recording: Recording) -> None:
    # 25 trials in 3 conditions give one with 8, 31 give at least 10.
    found = psth(
        random_recording, event="target_on", start_ms=0, stop_ms=100, settings=PsthSettings(min_trials=10)
    )
    assert found.mean.sizes["unit"] == 3
    assert found.left_out["units with fewer than 10 usable trials in a condition"] == 2
    assert set(found.mean["session"].values) == {"session1"}
    with pytest.raises(
        DataError, match=r"random: recording must have a unit with 50 usable trials .*Lower min_trials"
    ):
        psth(random_recording, event="target_on", start_ms=0, stop_ms=100, settings=PsthSettings(min_trials=50))


def test_trials_without_the_event_are_counted(random_recording: Recording) -> None:
    found = psth(random_recording, event="go_cue", start_ms=0, stop_ms=100)
    assert found.left_out["trials without go_cue"] == 2
    assert (
        "trials without go_cue" not in psth(random_recording, event="target_on", start_ms=0, stop_ms=100).left_out
    )


def test_labels_and_account(random_recording: Recording) -> None:
    mean = psth(random_recording, event="go_cue", start_ms=-100, stop_ms=250).mean
    check_rates(mean, dims=("condition", "time", "unit"))
    assert mean["time"].values.tolist() == list(range(-100, 250, 10))
    assert mean["direction_deg"].values.tolist() == [0.0, 120.0, 240.0]
    assert mean["condition"].values.tolist() == ["direction_deg=0", "direction_deg=120", "direction_deg=240"]
    assert mean["subject"].values.tolist() == ["monkey0"] * 2 + ["monkey1"] * 3
    assert mean.attrs["rate_unit"] == "spikes/s"
    assert steps_done(mean) == (
        "spikes binned at 10 ms",
        "Gaussian kernel, sd 30 ms",
        "mean over trials of a condition",
    )


def test_segments_share_trials_units_and_conditions(random_recording: Recording) -> None:
    both = aligned(random_recording, [("target_on", -100, 300), ("go_cue", -200, 300)])
    assert list(both) == ["target_on", "go_cue"]
    xr.testing.assert_equal(both["target_on"].n_trials, both["go_cue"].n_trials)
    # The two trials without a go cue are missing in both.
    assert int(both["target_on"].n_trials.isel(unit=[0, 2]).sum()) == 25 + 31 - 2
    joined = concatenate_segments([part.mean for part in both.values()])
    assert dict(joined.sizes) == {"condition": 3, "time": 90, "unit": 5}
    alone = psth(random_recording, event="go_cue", start_ms=-200, stop_ms=300)
    np.testing.assert_allclose(both["go_cue"].mean, alone.mean, atol=ROUND_OFF)


def test_halves_are_disjoint_and_together_everything(random_recording: Recording) -> None:
    rates = binned(random_recording, [("target_on", 0.0, 500.0)])
    whole = average(rates)["target_on"]
    for split in range(3):
        halves = [average(rates, half=half, split=split)["target_on"] for half in (0, 1)]
        n = [half.n_trials for half in halves]
        assert set(np.unique((n[0] - n[1]).values)) <= {0, 1}
        xr.testing.assert_equal(n[0] + n[1], whole.n_trials)
        # Sums add up only if no trial is in both halves and none in neither.
        total = sum((half.mean * half.n_trials for half in halves), start=xr.zeros_like(whole.mean))
        np.testing.assert_allclose(
            total.transpose(*whole.mean.dims), whole.mean * whole.n_trials, atol=1e3 * ROUND_OFF
        )


def test_halves_depend_on_seed_and_split_alone(random_recording: Recording) -> None:
    def half(**choice: Any) -> np.ndarray:
        window = {"event": "target_on", "start_ms": 0.0, "stop_ms": 500.0}
        return psth(random_recording, **window, half=0, **choice).mean.values

    np.testing.assert_array_equal(half(seed=1, split=2), half(seed=1, split=2))
    draws = [half(), half(seed=1), half(split=1)]
    assert all((a != b).any() for a, b in itertools.combinations(draws, 2))
    # A session's halves do not depend on its neighbours.
    alone = Recording(random_recording.sessions[1:])
    second = psth(alone, event="target_on", start_ms=0, stop_ms=500, half=0).mean
    np.testing.assert_array_equal(second.values, half()[..., 2:])


def test_a_single_trial_has_no_error_and_no_halves() -> None:
    session = make_session([np.arange(0.05, 8, 0.1)], direction_deg=[0.0, 90.0], go_cue=[1.0, 1.0])
    recording = Recording((session,))
    found = psth(recording, event="go_cue", start_ms=0, stop_ms=100, settings=PLAIN)
    assert np.isnan(found.standard_error).all()
    with pytest.raises(
        DataError, match=r"half must leave at least one trial .* got a single trial of direction_deg=0"
    ):
        psth(recording, event="go_cue", start_ms=0, stop_ms=100, settings=PLAIN, half=1)


def test_what_cannot_be_asked_for(random_recording: Recording) -> None:
    with pytest.raises(DataError, match=r"event must be one of target_on, go_cue, but got move_onset"):
        psth(random_recording, event="move_onset", start_ms=0, stop_ms=100)
    with pytest.raises(DataError, match=r"window around go_cue must start before it stops, but got \[100, 0\) ms"):
        psth(random_recording, event="go_cue", start_ms=100, stop_ms=0)
    with pytest.raises(DataError, match="each around another event"):
        binned(random_recording, [("go_cue", 0, 100), ("go_cue", 200, 300)])
    with pytest.raises(DataError, match="at least one window"):
        binned(random_recording, [])
    with pytest.raises(SettingsError, match="dt_ms"):
        parse(PsthSettings, {"dt_ms": 0})


def test_sessions_must_fit_together() -> None:
    one = make_session([np.array([1.0])], direction_deg=[0.0], identifier="a", go_cue=[1.0])
    other = make_session([np.array([1.0])], direction_deg=[0.0], identifier="b", target_on=[1.0])
    with pytest.raises(DataError, match="recording: events must be shared by all sessions"):
        Recording((one, other))
    with pytest.raises(DataError, match="sessions must hold at least one session"):
        Recording(())
    with pytest.raises(DataError, match="spike_times_s of unit 0 must be finite and sorted"):
        make_session([np.array([2.0, 1.0])], direction_deg=[0.0], go_cue=[1.0])
