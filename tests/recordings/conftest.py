"""Files on disk and recordings in memory for the tests of this room."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pynwb import NWBHDF5IO, NWBFile
from pynwb.file import Subject
from recording_samples import WriteNwb, make_session, plain_spikes, plain_trials

from dynaprobe.recordings.load import load_recording
from dynaprobe.recordings.session import Recording


@pytest.fixture
def write_file(tmp_path: Path) -> WriteNwb:
    """Write an NWB file from columns, straight with the library and past our own exporter."""

    def write(
        name: str = "a.nwb",
        *,
        trials: dict[str, Any] | None = None,
        spikes: list[np.ndarray] | None = None,
        obs: list[np.ndarray] | None = None,
        subject: str | None = "monkey",
    ) -> Path:
        file = NWBFile(
            session_description="test",
            identifier=Path(name).stem,
            session_start_time=datetime(2000, 1, 1, tzinfo=UTC),
            subject=Subject(subject_id=subject) if subject else None,
        )
        columns = plain_trials() if trials is None else trials
        ragged = {name for name, values in columns.items() if isinstance(values, list)}
        for column in columns:
            if column not in ("start_time", "stop_time"):
                file.add_trial_column(column, "test", index=column in ragged)
        for row in range(len(next(iter(columns.values()), []))):
            file.add_trial(**{column: values[row] for column, values in columns.items()})
        for unit, times_s in enumerate(plain_spikes() if spikes is None else spikes):
            file.add_unit(spike_times=times_s, **({} if obs is None else {"obs_intervals": obs[unit]}))
        path = tmp_path / name
        with NWBHDF5IO(str(path), "w") as handle:
            handle.write(file)
        return path

    return write


@pytest.fixture(scope="session")
def random_recording() -> Recording:
    """Two sessions, five units, uneven numbers of trials, without and with observed intervals.

    Spikes are random but stay 0.05 ms away from all edges of bins of whole ms, so that whoever rounds otherwise
    than `core.timeline` (which moves an instant a hair below an edge into the next bin) counts the same.
    """
    draw = np.random.default_rng(3)
    sessions = []
    for index, (n_trials, n_units) in enumerate(((25, 2), (31, 3))):
        span_s = 4.0 * n_trials
        go = np.round(draw.uniform(1.0, 1.6, n_trials), 3)
        go[4] = np.nan
        start = 4.0 * np.arange(n_trials)
        sessions.append(
            make_session(
                [
                    np.sort(np.round(draw.uniform(0, span_s, 400 + 400 * unit), 4) + 5e-5)
                    for unit in range(n_units)
                ],
                direction_deg=[120.0 * (k % 3) for k in range(n_trials)],
                identifier=f"session{index}",
                subject=f"monkey{index}",
                obs=[np.column_stack([start, start + 3.0])] * n_units if index else None,
                target_on=[0.5] * n_trials,
                go_cue=go.tolist(),
            )
        )
    return Recording(sessions=tuple(sessions), source="random")


@pytest.fixture(scope="session")
def riehle(riehle_folder: Path) -> Recording:
    """The real recording, read once."""
    return load_recording(riehle_folder / "nwb")
