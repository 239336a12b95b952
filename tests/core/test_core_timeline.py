from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynaprobe.core.errors import SettingsError
from dynaprobe.core.timeline import Epoch, Timeline, bin_of, in_interval, n_bins

EPOCHS = (Epoch("baseline", "start", "target_on"), Epoch("delay", "target_on", "go_cue"))
TIMELINE = Timeline(10.0, 60, EPOCHS)
DT_MS = st.sampled_from([0.1, 1.0, 2.5, 10.0, 1000 / 30, 0.3])
TIMES_MS = st.floats(0, 3000, allow_nan=False)


def test_a_bin_begins_inside_and_ends_outside() -> None:
    assert [bin_of(t, 10.0) for t in (0.0, 9.99, 10.0, 19.99, -0.5)] == [0, 0, 1, 1, -1]


@pytest.mark.parametrize(
    ("time_ms", "dt_ms", "expected"),
    [
        (0.1 + 0.2, 0.1, 3),
        (0.3, 0.1, 3),
        (0.7, 0.1, 7),
        (1.1 * 3, 1.1, 3),
        (100 * 0.1, 0.1, 100),
        (4.35 * 100, 1, 435),
    ],
)
def test_a_time_a_hair_off_the_edge_belongs_to_the_bin_that_starts_there(
    time_ms: float, dt_ms: float, expected: int
) -> None:
    assert bin_of(time_ms, dt_ms) == expected
    assert n_bins(time_ms, dt_ms) == expected
    assert in_interval(expected * dt_ms, time_ms, time_ms + dt_ms, dt_ms)
    assert not in_interval(expected * dt_ms, time_ms - dt_ms, time_ms, dt_ms)


@given(dt_ms=DT_MS, k=st.integers(0, 100_000))
def test_every_bin_starts_in_itself(dt_ms: float, k: int) -> None:
    assert bin_of(k * dt_ms, dt_ms) == k
    assert n_bins(k * dt_ms, dt_ms) == k


@given(dt_ms=DT_MS, duration_ms=TIMES_MS)
def test_the_bins_cover_the_duration_and_no_bin_is_idle(dt_ms: float, duration_ms: float) -> None:
    n = n_bins(duration_ms, dt_ms)
    slack = 2e-4 * dt_ms  # twice the tolerance at bin edges
    assert n * dt_ms >= duration_ms - slack
    assert (n - 1) * dt_ms <= duration_ms or n == 0


@given(dt_ms=DT_MS, times_ms=st.tuples(TIMES_MS, TIMES_MS, TIMES_MS))
def test_adjacent_intervals_share_no_bin_and_lose_none(dt_ms: float, times_ms: tuple[float, float, float]) -> None:
    start, middle, stop = sorted(times_ms)
    bins_ms = np.arange(n_bins(3000, dt_ms) if dt_ms >= 1 else 1000) * dt_ms
    first, second = (in_interval(bins_ms, a, b, dt_ms).astype(int) for a, b in ((start, middle), (middle, stop)))
    np.testing.assert_array_equal(first + second, in_interval(bins_ms, start, stop, dt_ms))


@given(start=st.integers(0, 40), length=st.integers(0, 40))
def test_an_interval_of_whole_bins_holds_exactly_them(start: int, length: int) -> None:
    inside = in_interval(np.arange(100) * 0.1, start * 0.1, (start + length) * 0.1, 0.1)
    assert np.flatnonzero(inside).tolist() == list(range(start, start + length))


@given(start_ms=TIMES_MS, length_ms=st.floats(0, 1000))
def test_halving_dt_keeps_ms(start_ms: float, length_ms: float) -> None:
    n = [in_interval(np.arange(round(4000 / dt)) * dt, start_ms, start_ms + length_ms, dt).sum() for dt in (10, 5)]
    assert abs(10 * n[0] - length_ms) <= 10.01
    assert abs(5 * n[1] - length_ms) <= 5.01
    assert TIMELINE.time_ms[20] == Timeline(5.0, 120).time_ms[40]


def test_an_end_that_is_not_there_is_nowhere() -> None:
    bins_ms = np.arange(5) * 10.0
    assert not in_interval(bins_ms, np.nan, 30.0, 10.0).any()
    assert not in_interval(bins_ms, 0.0, np.nan, 10.0).any()
    assert np.isnan(bin_of(np.nan, 10.0))


def test_epochs_of_a_trial() -> None:
    events_ms = {
        "start": np.zeros(3),
        "target_on": np.array([100.0, 95.0, np.nan]),
        "go_cue": np.array([100.0, 300.0, np.nan]),
    }
    baseline, delay = (TIMELINE.epoch_mask(name, events_ms) for name in ("baseline", "delay"))
    assert baseline.shape == (3, 60)
    # The bin starting at 90 ms lies before 95 ms: it is baseline though the target appears within it.
    assert [np.flatnonzero(row).tolist() for row in baseline] == [list(range(10)), list(range(10)), []]
    assert [np.flatnonzero(row).tolist() for row in delay] == [[], list(range(10, 30)), []]


def test_traced_single_precision_arrays_go_through_the_same_lines() -> None:
    events_ms = {
        "start": jnp.zeros(2),
        "target_on": jnp.array([100.0, 200.0]),
        "go_cue": jnp.array([300.0, jnp.nan]),
    }
    traced = jax.jit(lambda events: TIMELINE.epoch_mask("delay", events))(events_ms)
    plain = TIMELINE.epoch_mask("delay", {k: np.asarray(v) for k, v in events_ms.items()})
    np.testing.assert_array_equal(traced, plain)


def test_an_unknown_epoch_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        SettingsError, match=r"^epoch must be one of baseline, delay, but got move\. Name an epoch that the task"
    ):
        TIMELINE.epoch("move")


@pytest.mark.parametrize("dt_ms", [0.0, -10.0, float("nan")])
def test_a_bin_has_a_width(dt_ms: float) -> None:
    with pytest.raises(
        SettingsError, match=r"^dt_ms must be positive, but got .*Give the bin width in milliseconds"
    ):
        Timeline(dt_ms, 10)
