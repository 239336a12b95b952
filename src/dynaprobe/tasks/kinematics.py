"""When a movement began, measured on its speed: one rule for targets, networks and hands."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from dynaprobe.core.timeline import in_interval


def movement_onset_ms(
    speed: Float[np.ndarray, "trial time"],
    time_ms: Float[np.ndarray, " time"],
    *,
    start_ms: Float[np.ndarray, " trial"],
    stop_ms: Float[np.ndarray, " trial"],
    fraction: float,
    least_peak: float,
) -> Float[np.ndarray, " trial"]:
    """First time at which speed exceeds `fraction` of its own peak, looked for in ``[start_ms, stop_ms)``.

    The search goes backwards from the peak to the last bin below threshold, so that a twitch long before the
    movement does not count; between that bin and the next the crossing is interpolated linearly.

    Args:
        speed: speed of every trial, any unit.
        time_ms: start of every bin.
        start_ms, stop_ms: where a movement may be, e.g. go cue and end of the movement epoch.
        fraction: the threshold as a fraction of the trial's peak speed.
        least_peak: trials whose peak stays below this have not moved; in the unit of `speed`.

    Returns:
        Onset in ms, NaN for trials that have not moved.
    """
    dt_ms = float(time_ms[1] - time_ms[0])
    onset_ms = np.full(len(speed), np.nan)
    for trial, row in enumerate(np.asarray(speed, dtype=np.float64)):
        inside = np.flatnonzero(in_interval(time_ms, start_ms[trial], stop_ms[trial], dt_ms))
        if not inside.size:
            continue
        peak = inside[np.argmax(row[inside])]
        threshold = fraction * row[peak]
        if row[peak] < least_peak:
            continue
        below = inside[(inside < peak) & (row[inside] < threshold)]
        if not below.size:
            onset_ms[trial] = time_ms[inside[0]]
            continue
        last = below[-1]
        onset_ms[trial] = time_ms[last] + dt_ms * (threshold - row[last]) / (row[last + 1] - row[last])
    return onset_ms
