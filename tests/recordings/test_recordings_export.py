"""A written session comes back as it was, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from recording_samples import make_session

from dynaprobe.core.errors import DataError
from dynaprobe.core.rates import make_rates
from dynaprobe.recordings.export import write_nwb
from dynaprobe.recordings.load import load_recording
from dynaprobe.recordings.nwb import read_nwb
from dynaprobe.recordings.session import Session
from dynaprobe.recordings.simulate import simulate_session


def assert_same(a: Session, b: Session) -> None:
    """Equal to the last bit in everything but the account of reading."""
    assert (a.identifier, a.subject, a.events, a.conditions) == (b.identifier, b.subject, b.events, b.conditions)
    assert set(a.trials.columns) == set(b.trials.columns)
    columns = list(a.trials.columns)
    pd.testing.assert_frame_equal(a.trials.rename_axis("trial"), b.trials[columns], check_exact=True)
    pd.testing.assert_frame_equal(a.units, b.units, check_index_type=False, check_column_type=False)
    assert (a.obs_intervals_s is None) == (b.obs_intervals_s is None)
    pairs = [*zip(a.spike_times_s, b.spike_times_s, strict=True)]
    pairs += zip(a.obs_intervals_s or (), b.obs_intervals_s or (), strict=True)
    for one, other in pairs:
        np.testing.assert_array_equal(one, other)


times = st.lists(st.floats(0.0, 20.0, allow_subnormal=False), min_size=1, max_size=20)
event = st.lists(st.one_of(st.floats(0.0, 3.0), st.just(float("nan"))), min_size=5, max_size=5)


# Every example writes a file (0.1 s), so a failing one is shown as it is and not shrunk for minutes.
@settings(
    max_examples=15,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(spikes=st.lists(times, min_size=1, max_size=4), go=event, own=event, observed=st.booleans())
def test_round_trip(
    tmp_path: Path, spikes: list[list[float]], go: list[float], own: list[float], observed: bool
) -> None:
    # The last trial ends at 19 s; spikes that are all later are refused when they are read, as of another clock.
    assume(min(map(min, spikes)) < 19.0)
    session = make_session(
        [np.sort(unit) for unit in spikes],
        direction_deg=[0.0, 22.5, 315.0, 0.0, 90.0],
        identifier="round",
        obs=[np.array([[0.0, 7.5], [8.0, 30.0]])] * len(spikes) if observed else None,
        go_cue=go,
        go=own,  # go_time is another name of go_cue in the table: the file must say which is which
    )
    assert_same(session, read_nwb(write_nwb(session, tmp_path / "round.nwb")))


def test_all_task_variables_and_unit_columns_come_back(tmp_path: Path) -> None:
    rates = make_rates(
        np.full((4, 50, 3), 40.0),
        dims=("trial", "time", "unit"),
        time_ms=10.0 * np.arange(50),
        event="trial_start",
        rate_unit="spikes/s",
        source="teacher",
    )
    table = pd.DataFrame(
        {"direction_deg": [0.0, 90.0] * 2, "radius": [1.0, 2.0] * 2, "context": ["a", "a", "b", "b"]}
    )
    events = {"movement_end": np.full(4, 490.0), "trial_start": np.zeros(4), "odd_duration": np.full(4, 10.0)}
    simulated = simulate_session(rates, events_ms=events, conditions=table, seed=0, refractory_ms=2.0)
    session = Session(
        identifier=simulated.identifier,
        subject=simulated.subject,
        units=pd.DataFrame(
            {"area": ["M1", "PMd", "M1"], "depth": [1.5, 2.0, 2.5]}, index=pd.Index([7, 3, 5], name="unit")
        ),
        spike_times_s=simulated.spike_times_s,
        trials=simulated.trials,
        events=simulated.events,
        conditions=simulated.conditions,
        obs_intervals_s=simulated.obs_intervals_s,
    )
    path = write_nwb(session, tmp_path / "all.nwb")
    back = read_nwb(path)
    assert_same(session, back)
    assert back.left_out == {}
    assert len(load_recording(path).conditions) == 4


def test_an_existing_file_survives_a_failed_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = make_session([np.array([1.0, 2.0])], direction_deg=[0.0, 90.0], go_cue=[1.0, 1.0])
    path = write_nwb(session, tmp_path / "a.nwb")
    before = path.read_bytes()

    def full(self: Path, *_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match=r"a\.nwb must be written, but got No space left on device"):
        write_nwb(session, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.nwb"]


def test_places_where_nothing_can_be_written(tmp_path: Path) -> None:
    session = make_session([np.array([1.0])], direction_deg=[0.0], go_cue=[1.0])
    for path in (tmp_path / "a.h5", tmp_path / "absent" / "a.nwb"):
        with pytest.raises(DataError, match=r"must end in \.nwb and lie in a folder that exists"):
            write_nwb(session, path)
