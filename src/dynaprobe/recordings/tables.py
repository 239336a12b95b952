"""The tables of a file as they stand, before any decision: what every reader hands over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dynaprobe.recordings.columns import DEFAULT_MAPPING, ColumnMapping, TrialColumn
from dynaprobe.recordings.series import ContinuousSeries
from dynaprobe.recordings.session import ReadingAccount


@dataclass(frozen=True, eq=False)
class SessionTables:
    """The tables of a file as they stand, before any decision.

    Attributes:
        where: the file.
        identifier, subject: names of session and animal.
        unit_columns: plain columns of the unit table.
        unit_ids: id of every unit.
        spike_times_s: spike times of every unit as they stand in the file.
        trial_columns: columns of the trial table, ``start_time`` and ``stop_time`` among them; array-valued ones
            are sequences of arrays.
        obs_intervals_s: observed intervals of every unit, or None.
        declared: what the file itself says about its columns, as files written by `write_nwb` do.
        series: continuous series by name.
        resolution_ms: width of the bins in which the file counts spikes, or None where it has their times.
        account: what the reader left out and decided itself.
    """

    where: Path
    identifier: str
    subject: str
    unit_columns: Mapping[str, np.ndarray]
    unit_ids: np.ndarray
    spike_times_s: tuple[np.ndarray, ...]
    trial_columns: Mapping[str, TrialColumn]
    obs_intervals_s: tuple[np.ndarray, ...] | None = None
    declared: ColumnMapping = DEFAULT_MAPPING
    series: Mapping[str, ContinuousSeries] = field(default_factory=dict)
    resolution_ms: float | None = None
    account: ReadingAccount = field(default_factory=ReadingAccount)
