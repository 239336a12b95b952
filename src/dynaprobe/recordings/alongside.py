"""Continuous series around events, in the same bins and with the same labels as the rates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import xarray as xr

from dynaprobe.core.errors import DataError
from dynaprobe.core.timeline import n_bins
from dynaprobe.recordings.series import ContinuousSeries, resampled
from dynaprobe.recordings.session import Recording, Session, check_event, condition_rows


def aligned_series(
    recording: Recording,
    name: str,
    *,
    event: str,
    start_ms: float,
    stop_ms: float,
    dt_ms: float = 10.0,
    by: Literal["condition", "trial"] = "condition",
) -> xr.DataArray:
    """A continuous series in bins around an event.

    The value of a bin is that of the low-passed series at its centre, start + dt / 2, which is where a rate
    averaged over the bin stands; see `dynaprobe.recordings.series.resampled` for the filter. A condition's value
    is the mean over those of its trials, of all sessions, whose window is covered from end to end.

    Args:
        recording: the sessions.
        name: the series, as in the file, e.g. ``hand_vel``.
        event: event at 0 ms.
        start_ms, stop_ms: the window.
        dt_ms: bin width; the same as that of the rates puts both on one time axis.
        by: whether to average the trials of a condition.

    Returns:
        Dims ``(condition, time, channel)`` or ``(trial, time, channel)``; attributes ``units``, ``source``,
        ``resampling`` and the number of trials ``left_out``; coordinates as those of PSTHs. Trials that are not
        covered hold NaN.

    Raises:
        DataError: no such series or event, units that differ between sessions, or a condition without a covered
            trial.
    """
    _check_window(recording, event, start_ms, stop_ms, dt_ms)
    holders = list(_holders(recording, name))
    time_ms = start_ms + np.arange(n_bins(stop_ms - start_ms, dt_ms)) * dt_ms
    parts, labels, rows = [], [], []
    for session, series in holders:
        events_s = session.trials[event].to_numpy()
        has = np.flatnonzero(np.isfinite(events_s))
        centres_s = events_s[has, None] + (time_ms + dt_ms / 2) * 1e-3
        parts.append(resampled(series, centres_s, dt_ms * 1e-3))
        conditions = condition_rows(session, recording.conditions.columns)
        rows += [conditions[k] for k in has]
        labels += [f"{session.identifier}/{k}" for k in has]
    values = np.concatenate(parts)
    complete = np.isfinite(values).all(axis=(1, 2))
    first = holders[0][1]
    attrs = {
        "units": first.unit,
        "source": f"{name} of {recording.source}",
        "resampling": f"low-passed below the Nyquist frequency of bins of {dt_ms:g} ms, value at the centre",
        "left_out": int((~complete).sum()),
    }
    time = xr.Variable("time", time_ms, {"units": "ms", "event": event, "dt_ms": dt_ms})
    coords = {"time": time, "channel": np.asarray(first.channels)}
    numbers = {row: k for k, row in enumerate(recording.conditions.rows)}
    number = np.asarray([numbers[row] for row in rows], dtype=np.int64)
    if by == "trial":
        own = {"trial": np.asarray(labels), **_labelled("trial", recording, number)}
        return xr.DataArray(
            values, dims=("trial", "time", "channel"), coords={**coords, **own}, name=name, attrs=attrs
        )
    means = _condition_means(recording, values[complete], number[complete], name)
    own = {
        "condition": np.asarray(recording.conditions.labels),
        **_labelled("condition", recording, np.arange(len(numbers))),
    }
    return xr.DataArray(
        means, dims=("condition", "time", "channel"), coords={**coords, **own}, name=name, attrs=attrs
    )


def _check_window(recording: Recording, event: str, start_ms: float, stop_ms: float, dt_ms: float) -> None:
    check_event(recording, event)
    if not (start_ms < stop_ms and dt_ms > 0):
        raise DataError(
            "the window", rule="start before it stops, with bins of positive width",
            received=f"[{start_ms:g}, {stop_ms:g}) ms in bins of {dt_ms:g} ms",
            remedy="Correct start_ms, stop_ms or dt_ms",
        )  # fmt: skip


def _holders(recording: Recording, name: str) -> Iterator[tuple[Session, ContinuousSeries]]:
    """The sessions that have the series, which must be of one unit and the same channels."""
    have = [session for session in recording.sessions if name in session.series]
    known = sorted({series for session in recording.sessions for series in session.series})
    if not have:
        raise DataError(
            "the series",
            rule=f"be one of {', '.join(known)}" if known else "be in the recording",
            received=name if known else f"{name}, and a recording without any series",
            remedy="Name one of these" if known else "Bring files that hold hand, cursor or muscle signals",
            where=recording.source,
        )
    kinds = {(session.series[name].unit, session.series[name].channels) for session in have}
    if len(kinds) > 1:
        raise DataError(
            name,
            rule="have one unit and the same channels in all sessions",
            received="; ".join(sorted(f"{', '.join(channels)} in {unit}" for unit, channels in kinds)),
            remedy="Align the sessions one at a time",
            where=recording.source,
        )
    return ((session, session.series[name]) for session in have)


def _labelled(dim: str, recording: Recording, number: np.ndarray) -> dict[str, tuple[str, np.ndarray]]:
    """The task variables as coordinates along a dim whose entries have these conditions."""
    frame = recording.conditions.frame().iloc[number]
    columns = {str(name): frame[name].to_numpy() for name in frame.columns}
    return {name: (dim, v if v.dtype.kind in "iuf" else v.astype(str)) for name, v in columns.items()}


def _condition_means(recording: Recording, values: np.ndarray, number: np.ndarray, name: str) -> np.ndarray:
    n_conditions = len(recording.conditions)
    empty = sorted(set(range(n_conditions)) - set(number.tolist()))
    if empty:
        raise DataError(
            name,
            rule="cover the window in at least one trial of every condition",
            received=f"none of {recording.conditions.labels[empty[0]]}",
            remedy="Narrow the window, or ask for trials with by='trial'",
            where=recording.source,
        )
    return np.stack([values[number == k].mean(axis=0) for k in range(n_conditions)])
