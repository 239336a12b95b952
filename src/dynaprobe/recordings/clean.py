"""From the bare tables of a file to a session: what cannot be used is refused or left out, and counted.

Refused are faults that make the whole file doubtful: times in ms, events on another clock, most trials
overlapping. Left out and counted are single trials, events, spikes and units.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from dynaprobe.core.errors import DataError
from dynaprobe.recordings.clocks import (
    MOST,
    SAME_INSTANT_S,
    check_clock,
    check_seconds,
    check_spike_clock,
    outside_trials,
)
from dynaprobe.recordings.columns import (
    ColumnMapping,
    condition_columns,
    direction_deg,
    direction_rule,
    event_columns,
    last_entries,
    missing_column,
)
from dynaprobe.recordings.onset import movement_onset_s, speed_series
from dynaprobe.recordings.selection import check_trials, remarks, select
from dynaprobe.recordings.session import ReadingAccount, Session
from dynaprobe.recordings.tables import SessionTables
from dynaprobe.recordings.targets import with_direction


@dataclass
class _Notes:
    """The account while it is being written."""

    left_out: Counter[str] = field(default_factory=Counter)
    mended: Counter[str] = field(default_factory=Counter)
    rules: list[str] = field(default_factory=list)

    def leave_out(self, n: int, reason: str) -> None:
        if n:
            self.left_out[reason] += int(n)

    def mend(self, n: int, what: str) -> None:
        if n:
            self.mended[what] += int(n)

    def account(self) -> ReadingAccount:
        return ReadingAccount(dict(self.left_out), dict(self.mended), tuple(dict.fromkeys(self.rules)))


def build_session(tables: SessionTables, mapping: ColumnMapping, *, n_directions: int | None = None) -> Session:
    """Make a session of a file's tables.

    Args:
        tables: what the file holds.
        mapping: overrides of the column table.
        n_directions: number of directions where the file counts them by index; None takes the mapping's, or the
            largest index in the file.

    Raises:
        DataError: a column is missing, or the file as a whole is doubtful (see the top of this file).
    """
    before = tables.account
    notes = _Notes(Counter(before.left_out), Counter(before.mended), list(before.rules))
    check_trials(tables)
    tables, mapping, derived = with_direction(tables, mapping.over(tables.declared))
    # Counted before trials are chosen: an index keeps its angle whichever trials are read.
    n_directions = n_directions or mapping.n_directions or _counted_directions(tables, mapping)
    notes.rules += [*([derived] if derived else []), *remarks(tables, mapping.where)]
    tables, unchosen = select(tables, mapping.where)
    notes.left_out.update(unchosen)
    trials, events, conditions = _trials(tables, mapping, n_directions, notes)
    trials, events = _with_onset(tables, trials, events, mapping, notes)
    spikes, kept = _spikes(tables, trials, notes)
    obs = tables.obs_intervals_s
    return Session(
        identifier=tables.identifier,
        subject=tables.subject,
        units=pd.DataFrame(dict(tables.unit_columns), index=pd.Index(tables.unit_ids, name="unit")).iloc[kept],
        spike_times_s=spikes,
        trials=trials,
        events=events,
        conditions=conditions,
        obs_intervals_s=None if obs is None else tuple(_merged(obs[k], notes) for k in kept),
        account=notes.account(),
        series=tables.series,
        resolution_ms=tables.resolution_ms,
    )


def largest_index(tables: SessionTables, mapping: ColumnMapping) -> int | None:
    """How many directions the index of a file counts at least, or None where it gives angles."""
    check_trials(tables)
    tables, mapping, _ = with_direction(tables, mapping.over(tables.declared))
    return _counted_directions(tables, mapping)


def _counted_directions(tables: SessionTables, mapping: ColumnMapping) -> int | None:
    column, _ = condition_columns(tables.trial_columns, mapping, where=tables.where)
    if column is None:
        return None
    values = _numbers(tables, column)
    rule = direction_rule(column, values, mapping, where=tables.where)
    if not rule.startswith("index") or not np.isfinite(values).any():
        return None
    return int(np.nanmax(values)) + (rule == "index0")


def _trials(
    tables: SessionTables, mapping: ColumnMapping, n_directions: int | None, notes: _Notes
) -> tuple[pd.DataFrame, tuple[str, ...], tuple[str, ...]]:
    """The trial table in order of time, its events and its task variables."""
    for name in ("start_time", "stop_time"):
        if name not in tables.trial_columns:
            raise missing_column("a required column", name, list(tables.trial_columns), where=tables.where)
    frame = pd.DataFrame({"start": _numbers(tables, "start_time"), "stop": _numbers(tables, "stop_time")})
    events = event_columns(tables.trial_columns, mapping, where=tables.where)
    conditions = _conditions(tables, mapping, n_directions, notes)
    check_seconds(frame, tables.where)
    for entry in events:
        times_s, was_array = _event_times(tables, entry.column)
        outside = outside_trials(frame, times_s)
        if not entry.certain and (outside.any() or np.isnan(times_s).all()):
            why = "some of its times lie outside their trials" if outside.any() else "no trial has a time"
            notes.rules.append(f"{entry.column} is not read as an event: {why}")
            continue
        check_clock(entry.column, times_s, outside, tables.where)
        notes.leave_out(int(outside.sum()), f"times of {entry.event} outside their trials")
        frame[entry.event] = np.where(outside, np.nan, times_s)
        notes.rules.append(f"{entry.event} is {'the last entry of ' * was_array}{entry.column}")
    names = tuple(name for name in frame.columns if name not in ("start", "stop"))
    if not names:
        raise missing_column("an event column", "e.g. go_cue_time", list(tables.trial_columns), where=tables.where)
    return (
        _usable_trials(frame.assign(**conditions), tuple(conditions), tables.where, notes),
        names,
        tuple(conditions),
    )


def _with_onset(
    tables: SessionTables,
    trials: pd.DataFrame,
    events: tuple[str, ...],
    mapping: ColumnMapping,
    notes: _Notes,
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Add movement onset from the speed of the hand where the file has a path and no onset."""
    if "move_onset" in events or "go_cue" not in events:
        return trials, events
    name = speed_series(tables.series, mapping.behaviour, where=tables.where)
    if name is None:
        return trials, events
    onset_s = movement_onset_s(name, tables.series[name], trials, mapping.behaviour)
    if tables.resolution_ms is not None:
        # On the grid of the bins, like the events that the file gives.
        bin_s, start_s = tables.resolution_ms * 1e-3, trials["start"].to_numpy()
        onset_s = start_s + np.floor((onset_s - start_s) / bin_s + 1e-6) * bin_s
    notes.leave_out(int(np.isnan(onset_s).sum()), f"trials without a movement onset in the speed of {name}")
    notes.rules.append(
        f"move_onset is computed from {name}, as the file has none: where its speed rises above "
        f"{mapping.behaviour.onset_fraction:g} of the peak between go cue and end of the trial"
    )
    if np.isnan(onset_s).all():
        return trials, events
    return trials.assign(move_onset=onset_s), (*events, "move_onset")


def _conditions(
    tables: SessionTables, mapping: ColumnMapping, n_directions: int | None, notes: _Notes
) -> dict[str, np.ndarray]:
    """The task variables of every trial, the direction in degrees first."""
    column, others = condition_columns(tables.trial_columns, mapping, where=tables.where)
    conditions: dict[str, np.ndarray] = {}
    if column is not None:
        values = _numbers(tables, column)
        rule = direction_rule(column, values, mapping, where=tables.where)
        n = n_directions or 1
        conditions["direction_deg"] = direction_deg(values, rule, n, where=tables.where)
        first = {"index": 1, "index0": 0}.get(rule)
        reading = {"deg": "in degrees", "rad": "in radians"}.get(rule)
        reading = reading or f"as an index from {first} of {n} evenly spaced directions"
        notes.rules.append(f"direction_deg is {column}, read {reading}")
    for name in others:
        values = np.asarray(tables.trial_columns[name])
        if values.ndim != 1:
            raise DataError(
                name,
                rule="have one value per trial",
                received="an array-valued column",
                remedy="Choose another condition column",
                where=tables.where,
            )
        conditions[name] = values.astype(np.int64) if values.dtype == bool else values
        notes.rules.append(f"{name} is a condition as it stands")
    return conditions


def _usable_trials(frame: pd.DataFrame, conditions: tuple[str, ...], where: Path, notes: _Notes) -> pd.DataFrame:
    """Leave out trials without times or condition and those that overlap an earlier one; sort by start."""
    timed = (frame["stop"] > frame["start"]).to_numpy()
    notes.leave_out(int((~timed).sum()), "trials without a start before their stop")
    known = frame[list(conditions)].notna().all(axis=1).to_numpy()
    notes.leave_out(int((timed & ~known).sum()), "trials without a condition")
    frame = frame[timed & known]
    if frame.empty:
        raise DataError(
            "trials",
            rule="hold at least one usable trial",
            received=f"none ({dict(notes.left_out)})",
            remedy="Check start_time, stop_time and the condition columns",
            where=where,
        )
    start, stop = frame["start"].to_numpy(), frame["stop"].to_numpy()
    order = np.argsort(start, kind="stable")
    notes.mend(int((np.diff(start) < 0).any()), "trial tables out of order: sorted by start")
    kept, free_from = [], -np.inf
    for row in order:
        if start[row] >= free_from - SAME_INSTANT_S:
            kept.append(row)
            free_from = stop[row]
    n_overlapping = len(frame) - len(kept)
    if n_overlapping > MOST * len(frame):
        raise DataError(
            "start_time and stop_time",
            rule="describe trials one after another",
            received=f"{n_overlapping} of {len(frame)} trials that overlap an earlier one",
            remedy="Check both columns: stop_time is an instant on the session clock, not a duration",
            where=where,
        )
    notes.leave_out(n_overlapping, "trials that overlap an earlier trial")
    return frame.iloc[kept].reset_index(drop=True).rename_axis("trial")


def _spikes(
    tables: SessionTables, trials: pd.DataFrame, notes: _Notes
) -> tuple[tuple[np.ndarray, ...], list[int]]:
    """Sorted finite spike times of the units that have any, and which units these are."""
    spikes, kept = [], []
    for unit, raw in enumerate(tables.spike_times_s):
        times_s = np.asarray(raw, dtype=np.float64)
        finite = np.isfinite(times_s)
        notes.leave_out(int((~finite).sum()), "spikes without a time (NaN or infinite)")
        times_s = times_s[finite]
        if not times_s.size:
            notes.leave_out(1, "units without spikes")
            continue
        if (np.diff(times_s) < 0).any():
            notes.mend(1, "units with spikes out of order: sorted")
            times_s = np.sort(times_s)
        spikes.append(times_s)
        kept.append(unit)
    if not kept:
        raise DataError(
            "units",
            rule="have spikes",
            received=f"{len(tables.spike_times_s)} units, none with a spike",
            remedy="Check spike_times of the unit table",
            where=tables.where,
        )
    check_spike_clock(spikes, trials, tables.where)
    return tuple(spikes), kept


def _event_times(tables: SessionTables, column: str) -> tuple[np.ndarray, bool]:
    try:
        return last_entries(tables.trial_columns[column])
    except (TypeError, ValueError):
        raise _not_numbers(tables, column) from None


def _numbers(tables: SessionTables, column: str) -> np.ndarray:
    try:
        values = np.asarray(tables.trial_columns[column], dtype=np.float64)
    except (TypeError, ValueError):
        raise _not_numbers(tables, column) from None
    if values.ndim != 1:
        raise _not_numbers(tables, column)
    return values


def _not_numbers(tables: SessionTables, column: str) -> DataError:
    return DataError(
        column,
        rule="hold one number per trial",
        received="text or arrays",
        remedy="Choose another column in the column mapping",
        where=tables.where,
    )


def _merged(intervals_s: np.ndarray, notes: _Notes) -> np.ndarray:
    """Observed intervals in order, those that touch joined: a window may then span both."""
    intervals_s = np.asarray(intervals_s, dtype=np.float64).reshape(-1, 2)
    good = intervals_s[:, 1] > intervals_s[:, 0]
    notes.leave_out(int((~good).sum()), "observed intervals without a start before their stop")
    intervals_s = intervals_s[good]
    intervals_s = intervals_s[np.argsort(intervals_s[:, 0], kind="stable")]
    if not len(intervals_s):
        return intervals_s
    reach = np.maximum.accumulate(intervals_s[:, 1])
    # Touching within a microsecond is round-off of the writer, not a gap in the recording.
    first = np.concatenate([[True], intervals_s[1:, 0] > reach[:-1] + 1e-6])
    last = np.concatenate([first[1:], [True]])
    return np.column_stack([intervals_s[first, 0], reach[last]])
