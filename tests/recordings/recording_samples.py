"""Trials, spikes and sessions whose content is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dynaprobe.recordings.session import Session

WriteNwb = Callable[..., Path]


def plain_trials(n_trials: int = 6) -> dict[str, Any]:
    """Trials of 3 s every 4 s, target on after 0.5 s, go cue after 1.5 s, three directions in turn."""
    start = 4.0 * np.arange(n_trials)
    return {
        "start_time": start,
        "stop_time": start + 3.0,
        "target_on_time": start + 0.5,
        "go_cue_time": start + 1.5,
        "target_direction": 1 + np.arange(n_trials) % 3,
    }


def plain_spikes(n_trials: int = 6) -> list[np.ndarray]:
    """Two units: one with a spike every 0.1 s of every trial, one with a single spike a trial."""
    start = 4.0 * np.arange(n_trials)
    return [np.concatenate([s + 0.05 + 0.1 * np.arange(30) for s in start]), start + 1.0]


def make_session(
    spikes: list[np.ndarray],
    *,
    direction_deg: list[float],
    n_s: float = 3.0,
    gap_s: float = 1.0,
    identifier: str = "s",
    subject: str = "monkey",
    obs: list[np.ndarray] | None = None,
    **events_s: list[float],
) -> Session:
    """A session in memory; event times are given relative to the start of their trial."""
    start = (n_s + gap_s) * np.arange(len(direction_deg))
    trials = pd.DataFrame({"start": start, "stop": start + n_s, "direction_deg": direction_deg})
    for event, times_s in events_s.items():
        trials[event] = start + np.asarray(times_s)
    return Session(
        identifier=identifier,
        subject=subject,
        units=pd.DataFrame(index=pd.RangeIndex(len(spikes), name="unit")),
        spike_times_s=tuple(np.asarray(times_s, dtype=np.float64) for times_s in spikes),
        trials=trials,
        events=tuple(events_s),
        conditions=("direction_deg",),
        obs_intervals_s=None if obs is None else tuple(obs),
    )
