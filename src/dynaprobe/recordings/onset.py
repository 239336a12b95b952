"""Movement onset from the speed of the hand, for files that have its path and not the onset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import BeforeValidator, Field

from dynaprobe.core.errors import DataError
from dynaprobe.core.settings import Settings
from dynaprobe.recordings.arrays import comma_separated
from dynaprobe.recordings.series import ContinuousSeries, resampled

# The speed is read on this grid, from samples low-passed as for bins of SMOOTH_S: hands move below 10 Hz.
STEP_S, SMOOTH_S = 0.005, 0.02
# A trial whose speed peaks below this share of the median peak is one without a movement.
LEAST_PEAK = 0.25
# Which series to take, first what is likelier to be the hand and needs no derivative.
PLACES, KINDS = ("hand", "finger", "cursor", ""), ("speed", "vel", "pos")
# Not the hand, whatever else its name holds.
OTHERS = ("eye", "gaze", "pupil", "acc", "emg")
SHORT_NAMES = {"hand": "pos", "cursor": "pos", "position": "pos"}


class BehaviourMapping(Settings):
    """Which continuous series are read, and how movement onset is found where a file has none.

    Attributes:
        series: names of the series to read; None reads all.
        speed: the series whose speed tells the onset; None takes the hand before the cursor, velocity before
            position.
        onset_fraction: movement begins when the speed rises above this fraction of its peak in the trial.
    """

    series: Annotated[tuple[str, ...] | None, BeforeValidator(comma_separated)] = None
    speed: str | None = None
    onset_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2


def speed_series(
    series: Mapping[str, ContinuousSeries], mapping: BehaviourMapping, *, where: Path | None = None
) -> str | None:
    """The series to take the speed of, or None.

    Raises:
        DataError: the mapping names one that is not there.
    """
    if mapping.speed is not None:
        if mapping.speed not in series:
            raise DataError(
                "behaviour.speed",
                rule=f"be one of {', '.join(series)}" if series else "be a series of the file",
                received=mapping.speed,
                remedy="Name one of the series that were read",
                where=where,
            )
        return mapping.speed
    moving = [name for name in series if not any(word in name.lower() for word in OTHERS)]
    for place in PLACES:
        for kind in KINDS:
            for name in moving:
                if place in name.lower() and kind in SHORT_NAMES.get(name.lower(), name.lower()):
                    return name
    return None


def speed_of(name: str, series: ContinuousSeries, times_s: np.ndarray) -> np.ndarray:
    """Speed on an even grid: the norm of a velocity, or of the derivative of a position.

        speed(t) = |v(t)|   or   |x(t + h) - x(t - h)| / (2 h)

    with v and x low-passed (see `resampled`) and h the step of the grid.
    """
    values = resampled(series, times_s, SMOOTH_S)
    if "speed" in name.lower():
        return np.asarray(np.abs(values[:, 0]))
    if "vel" in name.lower():
        return np.asarray(np.linalg.norm(values, axis=1))
    return np.asarray(np.linalg.norm(np.gradient(values, times_s, axis=0), axis=1))


def movement_onset_s(
    name: str, series: ContinuousSeries, trials: pd.DataFrame, mapping: BehaviourMapping
) -> np.ndarray:
    """Movement onset of every trial, NaN where there is none.

    With s(t) the speed between go cue and end of the trial and p the time of its largest value,

        onset = max {t < p : s(t) < f s(p)}   (the crossing of f s(p), linear between grid points)

    and f the `onset_fraction`. There is none where the speed is never below f s(p) before p (the hand moved
    already), where s(p) is below a quarter of the median over trials, or where samples are missing.

    Args:
        name: the series.
        series: its samples.
        trials: with the columns ``start``, ``stop`` and ``go_cue``.
        mapping: f.
    """
    onset, peaks = np.full(len(trials), np.nan), np.full(len(trials), np.nan)
    step_s = max(STEP_S, min(series.interval_s, 1.0))
    columns = (trials[column].to_numpy(np.float64) for column in ("start", "go_cue", "stop"))
    for row, (start_s, go_s, stop_s) in enumerate(zip(*columns, strict=True)):
        # Samples of the trial alone: some files hold nothing between trials, and there the hand jumps.
        own = series.between(start_s, stop_s)
        # One step before the cue: a movement at the very first step crosses the threshold there.
        times_s = np.arange(go_s - step_s, stop_s, step_s) if np.isfinite(go_s) and go_s < stop_s else np.empty(0)
        if own is None or times_s.size < 3:
            continue
        speed = speed_of(name, own, times_s)
        if not np.isfinite(speed).any():
            continue
        peak = int(np.nanargmax(speed))
        peaks[row] = speed[peak]
        threshold = mapping.onset_fraction * speed[peak]
        below = np.flatnonzero(speed[:peak] < threshold)
        if below.size and np.isfinite(speed[below[-1] : peak]).all():
            k = below[-1]
            share = (threshold - speed[k]) / (speed[k + 1] - speed[k])
            onset[row] = times_s[k] + share * step_s
    if np.isfinite(peaks).any():
        onset[~(peaks >= LEAST_PEAK * np.nanmedian(peaks))] = np.nan
    return onset
