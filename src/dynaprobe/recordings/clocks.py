"""Do trials, events and spikes of a file share one clock in seconds?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from dynaprobe.core.errors import DataError

# A trial of a behaving animal lasts seconds; a median beyond this is milliseconds called seconds.
LONGEST_TRIAL_S = 100.0
# Spikes may go on long after the last trial, but not this many times as long.
CLOCK_RATIO = 100.0
# Instants this close are the same: clocks of behaviour and of spikes are rarely aligned better.
SAME_INSTANT_S = 1e-3
# Single bad rows are left out; beyond this fraction the column itself is wrong.
MOST = 0.5


def check_spike_clock(spikes: list[np.ndarray], trials: pd.DataFrame, where: Path) -> None:
    """Refuse spikes that cannot be on the clock of the trials."""
    begin_s, end_s = trials["start"].min(), trials["stop"].max()
    last_s = max(times_s[-1] for times_s in spikes)
    in_trials = sum(np.searchsorted(t, end_s) - np.searchsorted(t, begin_s) for t in spikes)
    if not in_trials or last_s > CLOCK_RATIO * abs(end_s):
        raise DataError(
            "spike_times",
            rule="be in seconds on the clock of the trials",
            received=f"spikes up to {last_s:g} and trials from {begin_s:g} to {end_s:g}",
            remedy="Divide by 1000 if they are milliseconds, or add the offset of their clock",
            where=where,
        )


def check_seconds(frame: pd.DataFrame, where: Path) -> None:
    """Refuse trials so long that their times must be milliseconds."""
    duration = float((frame["stop"] - frame["start"]).median())
    if duration > LONGEST_TRIAL_S:
        raise DataError(
            "start_time and stop_time",
            rule="be in seconds",
            received=f"a median trial of {duration:g}, which looks like milliseconds",
            remedy="Divide the times by 1000 before writing the file",
            where=where,
        )


def check_clock(column: str, times_s: np.ndarray, outside: np.ndarray, where: Path) -> None:
    """Refuse an event that mostly lies outside its trials."""
    n_times = int(np.isfinite(times_s).sum())
    if outside.sum() > MOST * n_times:
        raise DataError(
            column,
            rule="be in seconds on the session clock, within its trial",
            received=f"{int(outside.sum())} of {n_times} times outside their trials",
            remedy="Add start_time if times are relative to the trial, divide by 1000 if they are milliseconds",
            where=where,
        )


def outside_trials(frame: pd.DataFrame, times_s: np.ndarray) -> np.ndarray:
    """Which event times lie outside their trial; False where there is no time.

    A trial owns the time until the next one starts (the last one as long again as it lasts): movements end, and
    rewards fall, after the stop that some rigs write down, and there is no doubt which trial they belong to.
    """
    start, stop = frame["start"].to_numpy(), frame["stop"].to_numpy()
    begins = np.sort(start[np.isfinite(start)])
    ends = np.append(begins, np.inf)[np.searchsorted(begins, start, side="right")]
    ends = np.where(np.isfinite(ends), ends, 2 * stop - start)
    limit = np.fmax(stop, ends)
    return np.asarray((times_s < start - SAME_INSTANT_S) | (times_s > limit + SAME_INSTANT_S))
