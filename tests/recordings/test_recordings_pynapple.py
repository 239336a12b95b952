"""Objects of pynapple, the real ones where it is installed and stand-ins with its documented fields elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from recording_samples import plain_spikes, plain_trials

from dynaprobe.core.errors import DataError
from dynaprobe.recordings.columns import ColumnMapping
from dynaprobe.recordings.from_pynapple import session_from_pynapple
from dynaprobe.recordings.session import Session

Maker = Callable[[], dict[str, Any]]


def stand_ins() -> dict[str, Any]:
    class Group(dict):  # type: ignore[type-arg]
        metadata = pd.DataFrame({"rate": [1.0, 2.0], "area": ["M1", "PMd"]}, index=[3, 5])

    trials = {k: v for k, v in plain_trials().items() if k not in ("start_time", "stop_time")}
    frame = pd.DataFrame({"start": plain_trials()["start_time"], "end": plain_trials()["stop_time"], **trials})
    times = np.arange(2000) / 100
    return {
        "spikes": Group(zip((3, 5), (SimpleNamespace(t=t) for t in plain_spikes()), strict=True)),
        "trials": SimpleNamespace(as_dataframe=lambda: frame),
        "series": {
            "hand_vel": SimpleNamespace(t=times, values=np.ones((2000, 2)), columns=["x", "y"]),
            "force": SimpleNamespace(t=times, values=np.zeros(2000)),
        },
        "observed": SimpleNamespace(start=np.array([0.0]), end=np.array([30.0])),
    }


def real_objects() -> dict[str, Any]:
    nap = pytest.importorskip("pynapple", reason="pynapple is not installed: the stand-ins are tested alone")
    trials = plain_trials()
    start, stop = trials.pop("start_time"), trials.pop("stop_time")
    times = np.arange(2000) / 100
    return {
        "spikes": nap.TsGroup(
            {k: nap.Ts(t) for k, t in zip((3, 5), plain_spikes(), strict=True)}, metadata={"area": ["M1", "PMd"]}
        ),
        "trials": nap.IntervalSet(start, stop, metadata=trials),
        "series": {
            "hand_vel": nap.TsdFrame(times, np.ones((2000, 2)), columns=["x", "y"]),
            "force": nap.Tsd(times, np.zeros(2000)),
        },
        "observed": nap.IntervalSet([0.0], [30.0]),
    }


@pytest.mark.parametrize("objects", [stand_ins, real_objects])
def test_a_group_and_its_trials_become_a_session(objects: Maker) -> None:
    given = objects()
    session = session_from_pynapple(**given, identifier="a", subject="Ada", units={"hand_vel": "mm/s"})
    assert isinstance(session, Session)
    assert (session.identifier, session.subject, session.n_units, session.n_trials) == ("a", "Ada", 2, 6)
    assert session.events[:2] == ("target_on", "go_cue")
    assert session.trials["direction_deg"].tolist() == [0.0, 120.0, 240.0] * 2
    assert session.units.index.tolist() == [3, 5]
    assert session.units["area"].tolist() == ["M1", "PMd"]
    for found, wanted in zip(session.spike_times_s, plain_spikes(), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-9)  # pynapple rounds times to the nanosecond
    assert (session.series["hand_vel"].unit, session.series["hand_vel"].channels) == ("mm/s", ("x", "y"))
    assert (session.series["force"].unit, session.series["force"].channels) == ("unknown", ("force",))
    assert session.obs_intervals_s is not None


@pytest.mark.parametrize("objects", [stand_ins, real_objects])
def test_trials_as_a_table_and_no_more(objects: Maker) -> None:
    session = session_from_pynapple(objects()["spikes"], pd.DataFrame(plain_trials()))
    assert (session.n_trials, session.obs_intervals_s, dict(session.series)) == (6, None, {})


@pytest.mark.parametrize("objects", [stand_ins, real_objects])
def test_objects_of_another_kind_are_named(objects: Maker) -> None:
    given = objects()
    with pytest.raises(DataError, match="pynapple: spikes must be a pynapple TsGroup, but got list"):
        session_from_pynapple([1, 2], given["trials"])
    with pytest.raises(DataError, match="trials must be a pynapple IntervalSet or a data frame, but got list"):
        session_from_pynapple(given["spikes"], [1])
    with pytest.raises(DataError, match="the series x must be a pynapple Tsd or TsdFrame, but got list"):
        session_from_pynapple(given["spikes"], given["trials"], series={"x": [1]})
    with pytest.raises(DataError, match="observed must be a pynapple IntervalSet, but got list"):
        session_from_pynapple(given["spikes"], given["trials"], observed=[1])
    with pytest.raises(DataError, match="the column of go_cue"):
        session_from_pynapple(given["spikes"], given["trials"], ColumnMapping(events=(("go_cue", "nosuch"),)))
