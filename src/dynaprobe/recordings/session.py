"""What was recorded: one session, and several pooled as a pseudo-population."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from dynaprobe.core.errors import DataError
from dynaprobe.core.trials import ConditionTable
from dynaprobe.recordings.series import ContinuousSeries


@dataclass(frozen=True)
class ReadingAccount:
    """What a reader decided on its way from a file to a session.

    Attributes:
        left_out: how many things were left out, by reason in words.
        mended: how many things were put right (sorted, merged), by what was done.
        rules: which column was read as what, one sentence each.
    """

    left_out: Mapping[str, int] = field(default_factory=dict)
    mended: Mapping[str, int] = field(default_factory=dict)
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Session:
    """One recording: units, their spikes and the trials, on one clock in seconds.

    Attributes:
        identifier: name of the session, unique within a recording.
        subject: name of the animal.
        units: one row per unit, indexed by the unit's id in the file.
        spike_times_s: spike times of every unit, sorted, in the order of `units`.
        trials: one row per trial in order of time: ``start`` and ``stop``, one column per event (all in s on
            the session clock, NaN where a trial lacks the event) and one per task variable.
        events: the event columns of `trials`.
        conditions: the task variables in `trials` whose combinations are the conditions.
        obs_intervals_s: for every unit the intervals in which it was observed, disjoint and sorted, shape
            ``(interval, 2)``; None when the file does not say, and then everything counts as observed.
        account: what was left out, mended and assumed while reading.
        series: continuous series by name: hand, cursor, muscles.
        resolution_ms: width of the bins in which spikes were counted, at whose centres `spike_times_s` then stand;
            None where their times are known.

    Raises:
        DataError: when the parts do not fit together.
    """

    identifier: str
    subject: str
    units: pd.DataFrame
    spike_times_s: tuple[np.ndarray, ...]
    trials: pd.DataFrame
    events: tuple[str, ...]
    conditions: tuple[str, ...]
    obs_intervals_s: tuple[np.ndarray, ...] | None = None
    account: ReadingAccount = ReadingAccount()
    series: Mapping[str, ContinuousSeries] = field(default_factory=dict)
    resolution_ms: float | None = None

    def __post_init__(self) -> None:
        self._demand(
            "spike_times_s",
            len(self.spike_times_s) == self.n_units,
            "have one entry per unit",
            len(self.spike_times_s),
        )
        if self.obs_intervals_s is not None:
            n_intervals = len(self.obs_intervals_s)
            self._demand("obs_intervals_s", n_intervals == self.n_units, "have one entry per unit", n_intervals)
        wanted = ("start", "stop", *self.events, *self.conditions)
        missing = [name for name in wanted if name not in self.trials.columns]
        self._demand(
            "trials", not missing, "have a column for every event and task variable", f"none for {missing}"
        )
        for unit, times_s in zip(self.units.index, self.spike_times_s, strict=True):
            good = bool(np.isfinite(times_s).all() and (np.diff(times_s) >= 0).all())
            self._demand(f"spike_times_s of unit {unit}", good, "be finite and sorted", "times that are not")

    def _demand(self, name: str, holds: bool, rule: str, received: object) -> None:
        if not holds:
            raise DataError(
                name,
                rule=rule,
                received=received,
                remedy="Build sessions with a reader or with simulate_session",
                where=self.identifier,
            )

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.units)

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return len(self.trials)

    @property
    def left_out(self) -> Mapping[str, int]:
        """How many things were left out while reading, by reason in words."""
        return self.account.left_out


@dataclass(frozen=True, eq=False)
class Recording:
    """Sessions pooled as a pseudo-population: units of all sessions, matched by condition.

    Attributes:
        sessions: the sessions, each with its own name.
        source: what to call the recording, e.g. the name of its file or folder.

    Raises:
        DataError: no session, two of one name, or task variables that differ between sessions.
    """

    sessions: tuple[Session, ...]
    source: str = "recording"

    def __post_init__(self) -> None:
        if not self.sessions:
            raise self._error("sessions", "hold at least one session", "none", "Read at least one file")
        names = Counter(session.identifier for session in self.sessions)
        twice = sorted(name for name, count in names.items() if count > 1)
        if twice:
            raise self._error("identifier", "differ between sessions", twice, "Remove the copies, or rename them")
        columns = {session.conditions for session in self.sessions}
        if len(columns) > 1:
            raise self._error(
                "conditions",
                "be the same task variables in every session",
                sorted(columns),
                "Name columns that all files have in the column mapping",
            )
        if not self.event_names:
            found = {session.identifier: session.events for session in self.sessions}
            raise self._error(
                "events", "be shared by all sessions", found, "Map the columns to common event names"
            )

    def _error(self, name: str, rule: str, received: object, remedy: str) -> DataError:
        return DataError(name, rule=rule, received=received, remedy=remedy, where=self.source)

    @property
    def n_sessions(self) -> int:
        """Number of sessions."""
        return len(self.sessions)

    @property
    def n_units(self) -> int:
        """Number of units of all sessions together."""
        return sum(session.n_units for session in self.sessions)

    @property
    def event_names(self) -> tuple[str, ...]:
        """The events that every session has."""
        shared = set.intersection(*(set(session.events) for session in self.sessions))
        return tuple(name for name in self.sessions[0].events if name in shared)

    @cached_property
    def conditions(self) -> ConditionTable:
        """All combinations of task variables that occur, sorted."""
        columns = self.sessions[0].conditions
        rows = {row for session in self.sessions for row in condition_rows(session, columns)}
        # Numbers sort by value; a column that mixes numbers and text sorts by its text after them.
        ordered = sorted(
            rows, key=lambda row: [(isinstance(v, str), 0 if isinstance(v, str) else v, str(v)) for v in row]
        )
        return ConditionTable(columns=columns, rows=tuple(ordered))

    @property
    def left_out(self) -> Mapping[str, int]:
        """How many things were left out while reading all sessions, by reason in words."""
        return _total(session.account.left_out for session in self.sessions)

    @property
    def mended(self) -> Mapping[str, int]:
        """How many things were put right while reading all sessions, by what was done."""
        return _total(session.account.mended for session in self.sessions)

    @property
    def rules(self) -> tuple[str, ...]:
        """Which column was read as what, every sentence once."""
        return tuple(dict.fromkeys(rule for session in self.sessions for rule in session.account.rules))

    @property
    def summary(self) -> str:
        """One paragraph: how much there is, of whom, and what was left out."""
        by_subject = Counter[str]()
        for session in self.sessions:
            by_subject[session.subject] += session.n_units
        subjects = ", ".join(f"{n} {name}" for name, n in sorted(by_subject.items()))
        n_trials = sum(session.n_trials for session in self.sessions)
        left_out = "; ".join(f"{count} {reason}" for reason, count in self.left_out.items()) or "nothing"
        sessions = f"{self.n_sessions} session{'s' * (self.n_sessions > 1)}"
        return (
            f"{self.source}: {self.n_units} units ({subjects}) in {sessions}, "
            f"{n_trials} trials, {len(self.conditions)} conditions ({', '.join(self.conditions.columns)}), "
            f"events {', '.join(self.event_names)}. Left out: {left_out}."
        )


def check_event(recording: Recording, event: str) -> None:
    """Check that an event is one of the recording's.

    Raises:
        DataError: names those that are.
    """
    if event not in recording.event_names:
        raise DataError(
            "event",
            rule=f"be one of {', '.join(recording.event_names)}",
            received=event,
            remedy=f"Name one of these, or map a column to it: --map {event}=ITS_COLUMN",
            where=recording.source,
        )


def condition_rows(session: Session, columns: tuple[str, ...]) -> list[tuple[float | int | str, ...]]:
    """The values of the task variables in every trial, as plain Python values."""
    return list(zip(*(session.trials[name].tolist() for name in columns), strict=True))


def _total(counts: object) -> Mapping[str, int]:
    total = Counter[str]()
    for count in counts:  # type: ignore[attr-defined]
        total.update(count)
    return dict(total)
