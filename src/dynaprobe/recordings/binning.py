"""Spikes become smoothed single-trial rates around events: done once, averaged as often as wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Annotated

import numpy as np
import xarray as xr
from pydantic import Field

from dynaprobe.core.errors import DataError
from dynaprobe.core.preprocess import smooth
from dynaprobe.core.rates import done, make_rates
from dynaprobe.core.settings import Settings
from dynaprobe.core.timeline import EDGE_TOLERANCE_BINS, n_bins
from dynaprobe.core.trials import ConditionTable
from dynaprobe.recordings.counts import observed, spike_counts
from dynaprobe.recordings.session import Recording, Session, check_event, condition_rows


class PsthSettings(Settings):
    """How spikes become rates.

    Attributes:
        dt_ms: bin width.
        sd_ms: standard deviation of the Gaussian kernel; 0 for none.
        min_trials: units with fewer usable trials in any condition are left out.
    """

    dt_ms: Annotated[float, Field(gt=0)] = 10.0
    sd_ms: Annotated[float, Field(ge=0)] = 30.0
    min_trials: Annotated[int, Field(ge=1)] = 5


DEFAULT_SETTINGS = PsthSettings()


@dataclass(frozen=True)
class Segment:
    """The window ``[start_ms, stop_ms)`` around an event."""

    event: str
    start_ms: float
    stop_ms: float

    def __post_init__(self) -> None:
        if not self.start_ms < self.stop_ms:
            raise DataError(
                f"the window around {self.event}",
                rule="start before it stops",
                received=f"[{self.start_ms:g}, {self.stop_ms:g}) ms",
                remedy="Exchange start_ms and stop_ms",
            )

    def __str__(self) -> str:
        return f"{self.event} [{self.start_ms:g}, {self.stop_ms:g}) ms"

    def time_ms(self, dt_ms: float) -> np.ndarray:
        """Start of every bin relative to the event."""
        return np.asarray(self.start_ms + np.arange(n_bins(self.stop_ms - self.start_ms, dt_ms)) * dt_ms)


@dataclass(frozen=True, eq=False)
class Block:
    """Units of one session that share their usable trials.

    Attributes:
        session: position of the session in the recording.
        units: positions of these units in the whole recording.
        trials: rows of the session's trial table that are usable in every segment.
        condition: condition of each of these trials.
        rates: smoothed rates in spikes/s, shape ``(trial, time, unit)``, the segments one after another.
    """

    session: int
    units: np.ndarray
    trials: np.ndarray
    condition: np.ndarray
    rates: np.ndarray


@dataclass(frozen=True, eq=False)
class Binned:
    """Single-trial rates of a recording around events; the same trials and units in every segment.

    Attributes:
        recording: where they come from.
        segments: the windows, in the order of the rates' time axis.
        settings: bin width, kernel, minimum of trials.
        blocks: the rates, by session and usable trials.
        left_out: how many trials, unit-trials and units were left out, by reason in words.
    """

    recording: Recording
    segments: tuple[Segment, ...]
    settings: PsthSettings
    blocks: tuple[Block, ...]
    left_out: Mapping[str, int]

    @property
    def conditions(self) -> ConditionTable:
        """What the numbers in `Block.condition` mean."""
        return self.recording.conditions

    @property
    def units(self) -> np.ndarray:
        """Positions in the recording of the units that are left, in order."""
        return np.sort(np.concatenate([block.units for block in self.blocks]))

    @property
    def n_units(self) -> int:
        """Number of units that are left."""
        return int(self.units.size)


def binned(
    recording: Recording,
    segments: Sequence[Segment | tuple[str, float, float]],
    *,
    settings: PsthSettings = DEFAULT_SETTINGS,
) -> Binned:
    """Bin and smooth the spikes of every trial around one or several events.

    The rate of trial k, unit i at the bin starting at t is

        r_ki(t) = sum_s G(t - s) o_ki(s) n_ki(s) / (dt sum_s G(t - s) o_ki(s))

    with n the spike count of each half-open bin, o = 1 where the unit was observed and 0 elsewhere, G a Gaussian
    of `sd_ms`, and s running over a margin of four standard deviations around the window. Where everything was
    observed the denominator is dt. A trial counts for a unit when it has every event and the unit was observed
    throughout every window (not its margin).

    Args:
        recording: the sessions.
        segments: windows ``(event, start_ms, stop_ms)``, each around another event.
        settings: bin width, kernel, minimum of trials.

    Raises:
        DataError: unknown event, two windows of one event, or no unit left.
    """
    windows = tuple(part if isinstance(part, Segment) else Segment(*part) for part in segments)
    _check_events(recording, windows)
    _check_resolution(recording, settings.dt_ms)
    number = {row: k for k, row in enumerate(recording.conditions.rows)}
    left_out = Counter[str]()
    blocks: list[Block] = []
    first_unit = 0
    for index, session in enumerate(recording.sessions):
        rows = condition_rows(session, recording.conditions.columns)
        condition = np.asarray([number[row] for row in rows], dtype=np.int64)
        usable = _usable(session, windows, settings.dt_ms, left_out)
        for units, trials in _same_trials(usable):
            counts = np.bincount(condition[trials], minlength=len(number))
            if counts.min() < settings.min_trials:
                left_out[f"units with fewer than {settings.min_trials} usable trials in a condition"] += units.size
                continue
            rates = [_smoothed(session, units, trials, window, settings) for window in windows]
            joined = np.concatenate(rates, axis=1)
            blocks.append(Block(index, first_unit + units, trials, condition[trials], joined))
        first_unit += session.n_units
    if not blocks:
        raise DataError(
            "recording",
            rule=f"have a unit with {settings.min_trials} usable trials in each of {len(number)} conditions",
            received="; ".join(f"{n} {reason}" for reason, n in left_out.items()) or "no unit",
            remedy="Lower min_trials, narrow the windows, or choose conditions with fewer levels",
            where=recording.source,
        )
    return Binned(recording, windows, settings, tuple(blocks), dict(left_out))


def _check_events(recording: Recording, windows: tuple[Segment, ...]) -> None:
    events = [window.event for window in windows]
    for event in events:
        check_event(recording, event)
    if not events or len(set(events)) < len(events):
        raise DataError(
            "segments",
            rule="hold at least one window, each around another event",
            received=events,
            remedy="Join windows of one event into one and cut it afterwards",
        )


def _check_resolution(recording: Recording, dt_ms: float) -> None:
    """Counts can be added up, not divided: bins must hold whole bins of a file that has no spike times."""
    for session in recording.sessions:
        width_ms = session.resolution_ms
        if width_ms is not None and (dt_ms < width_ms or abs(dt_ms / width_ms - round(dt_ms / width_ms)) > 1e-6):
            raise DataError(
                "dt_ms",
                rule=f"be a multiple of the {width_ms:g} ms in which the file counts spikes",
                received=f"{dt_ms:g} ms",
                remedy=f"Set psth.dt_ms of the comparison to {width_ms:g} or a multiple of it",
                where=session.identifier,
            )


def _usable(session: Session, windows: tuple[Segment, ...], dt_ms: float, left_out: Counter[str]) -> np.ndarray:
    """Which trials count for which units, shape ``(trial, unit)``."""
    usable = np.ones((session.n_trials, session.n_units), dtype=bool)
    for window in windows:
        missing = session.trials[window.event].isna().to_numpy()
        if missing.any():
            left_out[f"trials without {window.event}"] += int(missing.sum())
        usable &= ~missing[:, None]
    if session.obs_intervals_s is None:
        return usable
    slack_s = EDGE_TOLERANCE_BINS * dt_ms * 1e-3
    for window in windows:
        event_s = session.trials[window.event].to_numpy()
        start_s, stop_s = event_s + window.start_ms * 1e-3, event_s + window.stop_ms * 1e-3
        columns = [observed(start_s, stop_s, spans, slack_s=slack_s) for spans in session.obs_intervals_s]
        seen = np.column_stack(columns)
        unseen = int((usable & ~seen).sum())
        if unseen:
            left_out[f"unit-trials with unobserved time in {window}"] += unseen
        usable &= seen
    return usable


def _same_trials(usable: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Groups of units with the same usable trials: (units, trials) in order of the first unit."""
    groups: dict[bytes, list[int]] = {}
    for unit in range(usable.shape[1]):
        groups.setdefault(usable[:, unit].tobytes(), []).append(unit)
    return [(np.asarray(units), np.flatnonzero(usable[:, units[0]])) for units in groups.values()]


def _smoothed(
    session: Session, units: np.ndarray, trials: np.ndarray, window: Segment, settings: PsthSettings
) -> np.ndarray:
    """Smoothed rates of some units and trials in one window, shape ``(trial, time, unit)``."""
    dt_ms = settings.dt_ms
    margin = ceil(4 * settings.sd_ms / dt_ms) + 1 if settings.sd_ms > 0 else 0
    time_ms = window.time_ms(dt_ms)
    n, wide = time_ms.size, time_ms.size + 2 * margin
    start_ms = window.start_ms - margin * dt_ms
    events_s = session.trials[window.event].to_numpy()[trials]
    counts = np.stack(
        [
            spike_counts(session.spike_times_s[unit], events_s, start_ms=start_ms, dt_ms=dt_ms, n_bins=wide)
            for unit in units
        ],
        axis=-1,
    )
    seen = _seen(session, units, events_s, start_ms + np.arange(wide + 1) * dt_ms)
    rates: np.ndarray = counts * seen * (1e3 / dt_ms)
    if settings.sd_ms == 0:
        return rates
    smoothed = _kernel(rates, window.event, start_ms, settings)[:, margin : margin + n]
    if seen.all():
        return smoothed
    weight = _kernel(np.broadcast_to(seen, rates.shape).astype(np.float64), window.event, start_ms, settings)
    return np.asarray(smoothed / weight[:, margin : margin + n])


def _seen(session: Session, units: np.ndarray, events_s: np.ndarray, edges_ms: np.ndarray) -> np.ndarray:
    """Whether each bin was observed from edge to edge, shape ``(trial, time, unit)`` or broadcast to it."""
    if session.obs_intervals_s is None:
        return np.ones((1, 1, 1), dtype=bool)
    edges_s = events_s[:, None] + edges_ms * 1e-3
    slack_s = EDGE_TOLERANCE_BINS * float(edges_ms[1] - edges_ms[0]) * 1e-3
    spans = [session.obs_intervals_s[unit] for unit in units]
    known: dict[bytes, np.ndarray] = {}
    for intervals_s in spans:
        if intervals_s.tobytes() not in known:
            inside = observed(edges_s[:, :-1], edges_s[:, 1:], intervals_s, slack_s=slack_s)
            known[intervals_s.tobytes()] = inside
    return np.stack([known[intervals_s.tobytes()] for intervals_s in spans], axis=-1)


def _kernel(values: np.ndarray, event: str, start_ms: float, settings: PsthSettings) -> np.ndarray:
    """Smooth along time by the same lines that smooth a network's rates."""
    time_ms = start_ms + np.arange(values.shape[1]) * settings.dt_ms
    dims = ("trial", "time", "unit")
    rates = make_rates(values, dims=dims, time_ms=time_ms, event=event, rate_unit="spikes/s", source="spikes")
    return np.asarray(smooth(rates, sd_ms=settings.sd_ms).values)


def rates_account(rates: xr.DataArray, settings: PsthSettings) -> xr.DataArray:
    """Write into the account of rates what binning and smoothing have done to them."""
    rates = done(rates, f"spikes binned at {settings.dt_ms:g} ms")
    return done(rates, f"Gaussian kernel, sd {settings.sd_ms:g} ms") if settings.sd_ms > 0 else rates
