"""Continuous series: what the filter passes and stops, gaps, alignment, onset; theorems and brute force."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording_samples import make_session

from dynaprobe.core.errors import DataError
from dynaprobe.recordings.alongside import aligned_series
from dynaprobe.recordings.binning import PsthSettings
from dynaprobe.recordings.onset import BehaviourMapping, movement_onset_s, speed_series
from dynaprobe.recordings.psth import psth
from dynaprobe.recordings.series import (
    BETA,
    CUTOFF,
    HALF_LENGTH_BINS,
    ContinuousSeries,
    _exact_kernel,
    _kernel,
    resampled,
)
from dynaprobe.recordings.session import Recording, Session

TIMES_S = np.arange(4000) / 1000.0
CENTRES_S = 1.0 + (np.arange(150) + 0.5) * 0.01


def make(values: np.ndarray, times_s: np.ndarray = TIMES_S, unit: str = "mm") -> ContinuousSeries:
    values = values if values.ndim == 2 else values[:, None]
    return ContinuousSeries(times_s, values, unit, tuple("xyz"[: values.shape[1]]))


def tone(hz: float) -> np.ndarray:
    return np.exp(2j * np.pi * hz * TIMES_S)


def gain(hz: float, width_s: float = 0.01) -> float:
    both = np.column_stack([tone(hz).real, tone(hz).imag])
    found = resampled(make(both), CENTRES_S, width_s)
    return float(np.abs(found[:, 0] + 1j * found[:, 1]).max())


@pytest.mark.parametrize("hz", [0.0, 1.0, 10.0, 20.0, 25.0])
def test_up_to_half_the_nyquist_frequency_a_series_passes_unchanged(hz: float) -> None:
    both = np.column_stack([tone(hz).real, tone(hz).imag])
    wanted = np.exp(2j * np.pi * hz * CENTRES_S)
    found = resampled(make(both), CENTRES_S, 0.01)
    np.testing.assert_allclose(found[:, 0] + 1j * found[:, 1], wanted, atol=0.01)


@pytest.mark.parametrize("hz", [50.0, 60.0, 77.0, 99.0, 100.0, 130.0, 300.0, 450.0])
def test_nothing_above_the_nyquist_frequency_folds_back(hz: float) -> None:
    assert gain(hz) < 10 ** (-50 / 20)


def test_taking_every_tenth_sample_would_fold_back() -> None:
    """The test above can fail: without the filter a tone of 99 Hz comes out as one of 1 Hz, undamped."""
    assert np.abs(tone(99.0)[::10]).max() == pytest.approx(1.0)
    assert gain(99.0) < 0.004


def test_the_filter_is_the_sum_it_says_it_is() -> None:
    draw = np.random.default_rng(0)
    times_s = np.cumsum(draw.uniform(0.5e-3, 1.5e-3, 500))
    x = draw.normal(size=500)
    centre, width = 0.25, 0.01
    d = np.concatenate([[times_s[1] - times_s[0]], np.diff(times_s)])
    stands_for = (d + np.append(d[1:], d[-1])) / 2
    u = (times_s - centre) / width
    inside = np.abs(u) <= 6
    kaiser = np.i0(BETA * np.sqrt(np.clip(1 - (u / 6) ** 2, 0, None))) / np.i0(BETA)
    h = np.where(inside, 2 * CUTOFF * np.sinc(2 * CUTOFF * u) * kaiser, 0.0)
    brute = (h * stands_for * x).sum() / (h * stands_for).sum()
    assert resampled(make(x, times_s), np.array([centre]), width)[0, 0] == pytest.approx(brute, abs=1e-7)


def test_the_looked_up_kernel_is_the_kernel() -> None:
    bins = np.random.default_rng(0).uniform(-HALF_LENGTH_BINS, HALF_LENGTH_BINS, 100_000)
    np.testing.assert_allclose(_kernel(bins), _exact_kernel(bins), atol=6e-9)


@settings(max_examples=25, deadline=None)
@given(shift=st.floats(-100, 100), scale=st.floats(0.1, 10), width=st.sampled_from([0.001, 0.005, 0.02]))
def test_offsets_scales_and_clocks_pass_through(shift: float, scale: float, width: float) -> None:
    x = np.random.default_rng(0).normal(size=(1000, 2))
    times_s = np.arange(1000) / 1000
    centres_s = np.linspace(0.3, 0.7, 9)
    plain = resampled(make(x, times_s), centres_s, width)
    moved = resampled(make(scale * x + shift, times_s + shift), centres_s + shift, width)
    np.testing.assert_allclose(moved, scale * plain + shift, atol=1e-7 * max(1, scale))


def test_bins_as_wide_as_samples_get_the_samples() -> None:
    x = np.random.default_rng(0).normal(size=(100, 2))
    times_s = 5.0 + (np.arange(100) + 0.5) * 0.01
    np.testing.assert_allclose(resampled(make(x, times_s), times_s[3:60], 0.01), x[3:60], atol=1e-9)


def test_gaps_and_ends_are_missing_and_what_is_beside_them_is_not() -> None:
    x = np.sin(2 * np.pi * TIMES_S)
    x[1500:1700] = np.nan
    centres_s = (np.arange(-5, 405) + 0.5) * 0.01
    for width, slack in ((0.01, 0.02), (0.0005, 0.002)):
        found = resampled(make(x), centres_s, width)[:, 0]
        inside = (centres_s > slack) & (centres_s < 4 - slack)
        in_gap = (centres_s > 1.5 + slack) & (centres_s < 1.7 - slack)
        near = (centres_s > 1.5 - slack) & (centres_s < 1.7 + slack)
        assert np.isnan(found[in_gap]).all()
        assert np.isnan(found[(centres_s < -slack) | (centres_s > 4 + slack)]).all()
        assert np.isfinite(found[inside & ~near]).all()
        np.testing.assert_allclose(found[inside & ~near], np.sin(2 * np.pi * centres_s[inside & ~near]), atol=0.05)


@pytest.mark.parametrize("x", [np.full(4000, np.nan), np.full(4000, 1e-300), np.full(4000, 1e300)])
def test_nothing_constants_and_extremes(x: np.ndarray) -> None:
    np.testing.assert_allclose(resampled(make(x), np.array([1.0, np.nan]), 0.01)[:, 0], [x[0], np.nan])


def test_a_single_sample_stands_for_its_bin() -> None:
    one = make(np.array([3.0]), np.array([1.0]))
    found = resampled(one, np.array([0.9, 1.0, 1.1]), 0.01)[:, 0]
    np.testing.assert_array_equal(found, [np.nan, 3.0, np.nan])


@pytest.mark.parametrize("times_s", [[0.0, 0.0, 1.0], [1.0, 0.0, 2.0], [0.0, np.nan, 1.0], [0.0, 1.0], []])
def test_times_that_are_none(times_s: list[float]) -> None:
    with pytest.raises(DataError, match="at increasing finite times"):
        ContinuousSeries(np.asarray(times_s), np.zeros((3, 1)), "mm", ("x",))


def session_with(values: np.ndarray, identifier: str = "s", go: float = 1.0, unit: str = "mm") -> Session:
    n_trials = len(values) // 4000
    times_s = np.arange(len(values)) / 1000
    plain = make_session(
        [np.arange(0.05, 4 * n_trials, 0.1)], direction_deg=[90.0 * (k % 2) for k in range(n_trials)],
        identifier=identifier, go_cue=[go] * n_trials,
    )  # fmt: skip
    series = {"hand_pos": ContinuousSeries(times_s, values, unit, ("x", "y"))}
    return Session(**{**plain.__dict__, "series": series})


def test_a_series_stands_beside_the_rates() -> None:
    ramp = np.tile(np.arange(4000.0), 4)
    values = np.column_stack([ramp, np.repeat([0.0, 1.0, 0.0, 1.0], 4000)])
    recording = Recording((session_with(values), session_with(values, "t")))
    window = {"event": "go_cue", "start_ms": -200.0, "stop_ms": 300.0}
    found = aligned_series(recording, "hand_pos", **window, dt_ms=10)  # type: ignore[arg-type]
    rates = psth(recording, **window, settings=PsthSettings(min_trials=2)).mean  # type: ignore[arg-type]
    assert found.dims == ("condition", "time", "channel")
    for name in ("time", "condition", "direction_deg"):
        assert found[name].equals(rates[name])
    assert found.attrs["units"] == "mm"
    assert found["time"].attrs == {"units": "ms", "event": "go_cue", "dt_ms": 10.0}
    # A ramp of 1 per ms: the value at the centre of the bin that starts at -200 ms is that of 805 ms.
    np.testing.assert_allclose(found.sel(channel="x").values[0], 1005 + found["time"].values, atol=1e-6)
    np.testing.assert_allclose(found.sel(channel="y").values[:, 0], [0.0, 1.0], atol=1e-9)
    trials = aligned_series(recording, "hand_pos", **window, by="trial")  # type: ignore[arg-type]
    assert trials.sizes == {"trial": 8, "time": 50, "channel": 2}
    np.testing.assert_allclose(trials.groupby("direction_deg").mean().values, found.values, atol=1e-9)


def test_trials_that_are_not_covered_are_counted() -> None:
    values = np.zeros((16000, 2))
    values[4900:5100] = np.nan
    recording = Recording((session_with(values),))
    found = aligned_series(recording, "hand_pos", event="go_cue", start_ms=-100, stop_ms=100)
    assert found.attrs["left_out"] == 1
    assert np.isfinite(found).all()
    by_trial = aligned_series(recording, "hand_pos", event="go_cue", start_ms=-100, stop_ms=100, by="trial")
    assert np.isnan(by_trial.values[1]).any()
    values[12900:13100] = np.nan
    with pytest.raises(
        DataError, match="cover the window in at least one trial of every condition, but got none of"
    ):
        aligned_series(Recording((session_with(values),)), "hand_pos", event="go_cue", start_ms=-9, stop_ms=9)


def test_what_cannot_be_aligned() -> None:
    recording = Recording((session_with(np.zeros((8000, 2))),))
    window = {"start_ms": 0.0, "stop_ms": 10.0}
    with pytest.raises(DataError, match="the series must be one of hand_pos, but got emg"):
        aligned_series(recording, "emg", event="go_cue", **window)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="event must be one of go_cue, but got target_on"):
        aligned_series(recording, "hand_pos", event="target_on", **window)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"start before it stops, .* but got \[5, 0\) ms"):
        aligned_series(recording, "hand_pos", event="go_cue", start_ms=5, stop_ms=0)
    bare = Recording((make_session([np.arange(3.0)], direction_deg=[0.0], go_cue=[1.0]),))
    with pytest.raises(DataError, match="emg, and a recording without any series"):
        aligned_series(bare, "emg", event="go_cue", **window)  # type: ignore[arg-type]
    two = Recording((session_with(np.zeros((8000, 2))), session_with(np.zeros((8000, 2)), "t", unit="m")))
    with pytest.raises(DataError, match=r"hand_pos must have one unit .* but got x, y in m; x, y in mm"):
        aligned_series(two, "hand_pos", event="go_cue", **window)  # type: ignore[arg-type]


def reaches(peaks: list[float], moving_at_go: bool = False) -> tuple[ContinuousSeries, pd.DataFrame]:
    times_s = np.arange(2000 * len(peaks)) / 1000
    phase = times_s % 2.0
    speed = np.repeat(peaks, 2000) * np.exp(-(((phase - (0.55 if moving_at_go else 1.0)) / 0.1) ** 2))
    start = 2.0 * np.arange(len(peaks))
    trials = pd.DataFrame({"start": start, "stop": start + 2.0, "go_cue": start + 0.5})
    return ContinuousSeries(times_s, speed[:, None], "mm/s", ("v",)), trials


def test_onset_is_where_the_speed_crosses_the_stated_fraction() -> None:
    series, trials = reaches([100.0, 300.0, 200.0])
    for fraction in (0.1, 0.2, 0.5):
        found = movement_onset_s("vel", series, trials, BehaviourMapping(onset_fraction=fraction))
        np.testing.assert_allclose(found - trials["start"], 1 - 0.1 * np.sqrt(-np.log(fraction)), atol=0.003)


def test_trials_without_a_movement_have_no_onset() -> None:
    series, trials = reaches([100.0, 10.0, 100.0, 100.0])
    trials.loc[2, "go_cue"] = np.nan
    found = movement_onset_s("vel", series, trials, BehaviourMapping())
    assert np.isnan(found).tolist() == [False, True, True, False]
    series, trials = reaches([100.0, 100.0], moving_at_go=True)
    assert np.isnan(movement_onset_s("vel", series, trials, BehaviourMapping())).all()
    nothing = ContinuousSeries(series.times_s, np.full_like(series.values, np.nan), "mm/s", ("v",))
    assert np.isnan(movement_onset_s("vel", nothing, trials, BehaviourMapping())).all()


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["cursor_vel", "hand_pos", "hand_vel"], "hand_vel"),
        (["cursor_vel", "hand_pos"], "hand_pos"),
        (["Eye", "Hand"], "Hand"),
        (["pos", "vel", "acc"], "vel"),
        (["eye_vel", "emg"], None),
        ([], None),
    ],
)
def test_the_hand_comes_first(names: list[str], wanted: str | None) -> None:
    series = {name: make(np.zeros(4000)) for name in names}
    assert speed_series(series, BehaviourMapping()) == wanted


def test_a_speed_that_is_not_there() -> None:
    with pytest.raises(DataError, match=r"behaviour\.speed must be one of hand_vel, but got nose"):
        speed_series({"hand_vel": make(np.zeros(4000))}, BehaviourMapping(speed="nose"))
