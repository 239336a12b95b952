"""Spike counts per bin around events, and which stretches of time were observed."""

from __future__ import annotations

import numpy as np

from dynaprobe.core.timeline import bin_of


def spike_counts(
    times_s: np.ndarray, events_s: np.ndarray, *, start_ms: float, dt_ms: float, n_bins: int
) -> np.ndarray:
    """Spikes per bin around events: bin b of trial k counts ``start + b dt <= t - event_k < start + (b + 1) dt``.

    Args:
        times_s: sorted spike times of one unit.
        events_s: one finite event time per trial.
        start_ms: start of the first bin relative to the event.
        dt_ms: bin width.
        n_bins: number of bins.

    Returns:
        Counts of shape ``(trial, n_bins)``.
    """
    # Cut generously, then let `bin_of` decide, so that bin edges follow the one rule of core.timeline.
    low = np.searchsorted(times_s, events_s + (start_ms - dt_ms) * 1e-3)
    high = np.searchsorted(times_s, events_s + (start_ms + (n_bins + 1) * dt_ms) * 1e-3)
    n_spikes = high - low
    trial = np.repeat(np.arange(events_s.size), n_spikes)
    spike = np.arange(n_spikes.sum()) + np.repeat(low - np.cumsum(n_spikes) + n_spikes, n_spikes)
    since_ms = (times_s[spike] - events_s[trial]) * 1e3
    position = bin_of(since_ms - start_ms, dt_ms).astype(np.int64)
    inside = (position >= 0) & (position < n_bins)
    flat = trial[inside] * n_bins + position[inside]
    return np.bincount(flat, minlength=events_s.size * n_bins).reshape(events_s.size, n_bins)


def observed(start_s: np.ndarray, stop_s: np.ndarray, intervals_s: np.ndarray, *, slack_s: float) -> np.ndarray:
    """Whether each of the stretches ``[start, stop)`` lies inside one of the disjoint sorted intervals."""
    if not len(intervals_s):
        return np.zeros(np.shape(start_s), dtype=bool)
    candidate = np.searchsorted(intervals_s[:, 0], start_s + slack_s, side="right") - 1
    inside = stop_s <= intervals_s[np.maximum(candidate, 0), 1] + slack_s
    return np.asarray((candidate >= 0) & inside)
