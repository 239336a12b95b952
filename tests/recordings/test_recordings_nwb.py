"""The reader: what a good file becomes, and what each kind of bad file is told."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from recording_samples import WriteNwb, plain_spikes, plain_trials

from dynaprobe.core.errors import DataError
from dynaprobe.core.settings import parse
from dynaprobe.recordings.clean import SessionTables, build_session
from dynaprobe.recordings.columns import ColumnMapping
from dynaprobe.recordings.load import load_recording
from dynaprobe.recordings.nwb import read_nwb
from dynaprobe.recordings.psth import psth


def test_a_plain_file_is_read_as_it_stands(write_file: WriteNwb) -> None:
    session = read_nwb(write_file())
    assert (session.identifier, session.subject) == ("a", "monkey")
    assert (session.n_units, session.n_trials) == (2, 6)
    assert session.events == ("target_on", "go_cue")
    assert session.conditions == ("direction_deg",)
    assert session.trials["direction_deg"].tolist() == [0.0, 120.0, 240.0] * 2
    np.testing.assert_array_equal(session.trials["go_cue"], 4.0 * np.arange(6) + 1.5)
    for found, written in zip(session.spike_times_s, plain_spikes(), strict=True):
        np.testing.assert_array_equal(found, written)
    assert session.left_out == {}
    assert session.account.mended == {}
    assert session.obs_intervals_s is None
    assert "direction_deg is target_direction, read as an index from 1 of 3 evenly spaced directions" in (
        session.account.rules
    )


def test_a_file_without_a_subject_says_unknown(write_file: WriteNwb) -> None:
    assert read_nwb(write_file(subject=None)).subject == "unknown"


def test_touching_observed_intervals_are_joined(write_file: WriteNwb) -> None:
    obs = [np.array([[4.0, 8.0], [0.0, 4.0], [9.0, 30.0]]), np.array([[0.0, 30.0]])]
    found = read_nwb(write_file(obs=obs)).obs_intervals_s
    assert found is not None
    np.testing.assert_array_equal(found[0], [[0.0, 8.0], [9.0, 30.0]])


def without_column(path: Path, column: str) -> Path:
    """Take a column out of a file's trial table."""
    with h5py.File(path, "r+") as file:
        table = file["intervals/trials"]
        del table[column]
        table.attrs["colnames"] = [name for name in table.attrs["colnames"] if name != column]
    return path


def test_a_missing_condition_column_is_named_with_those_there_are(write_file: WriteNwb) -> None:
    with pytest.raises(DataError, match=r"a\.nwb: a condition column .*target_direction") as caught:
        read_nwb(without_column(write_file(), "target_direction"))
    assert "a table with the columns start_time, stop_time, target_on_time, go_cue_time" in str(caught.value)
    assert "--map conditions=ITS_COLUMN" in str(caught.value)


@pytest.mark.parametrize("column", ["start_time", "stop_time"])
def test_a_missing_required_column_is_named(write_file: WriteNwb, column: str) -> None:
    with pytest.raises(
        DataError, match=rf"a\.nwb: a required column \({column}\) must be in the trial table, but"
    ):
        read_nwb(without_column(write_file(), column))


@pytest.mark.parametrize("column", ["start_time", "stop_time"])
def test_tables_of_any_reader_need_the_required_columns(column: str) -> None:
    trials = {name: values for name, values in plain_trials().items() if name != column}
    tables = SessionTables(Path("any.file"), "a", "monkey", {}, np.arange(2), tuple(plain_spikes()), trials)
    with pytest.raises(DataError, match=rf"any\.file: a required column \({column}\) must be in the trial table"):
        build_session(tables, ColumnMapping())


def test_a_missing_event_matters_once_it_is_asked_for(write_file: WriteNwb) -> None:
    recording = load_recording(without_column(write_file(), "go_cue_time"))
    assert recording.event_names == ("target_on",)
    with pytest.raises(DataError, match=r"event must be one of target_on, but got go_cue.*map a column"):
        psth(recording, event="go_cue", start_ms=0, stop_ms=100)


def test_no_event_at_all(write_file: WriteNwb) -> None:
    trials = {k: v for k, v in plain_trials().items() if not k.endswith(("on_time", "cue_time"))}
    with pytest.raises(
        DataError, match=r"an event column .* must be in the trial table, but got .*target_direction"
    ):
        read_nwb(write_file(trials=trials))


def test_mapped_column_that_is_not_there(write_file: WriteNwb) -> None:
    mapping = parse(ColumnMapping, {"events": ["go_cue=MyGo"]})
    with pytest.raises(
        DataError, match=r"the column of go_cue \(MyGo\) must be in the trial table, but got a table"
    ):
        read_nwb(write_file(), mapping)


@pytest.mark.parametrize("table", ["units", "intervals/trials"])
def test_a_missing_table(write_file: WriteNwb, table: str) -> None:
    path = write_file()
    with h5py.File(path, "r+") as file:
        del file[table]
    name = table.rsplit("/", maxsplit=1)[-1]
    with pytest.raises(
        DataError, match=rf"a\.nwb: the table {name} must be in the file, but got a file without it"
    ):
        read_nwb(path)


def test_units_without_spike_times(write_file: WriteNwb) -> None:
    path = write_file(obs=[np.array([[0.0, 24.0]])] * 2)
    with h5py.File(path, "r+") as file:
        del file["units/spike_times"], file["units/spike_times_index"]
        file["units"].attrs["colnames"] = ["obs_intervals"]
    with pytest.raises(
        DataError, match=r"spike_times must be in the unit table, but got a table with the columns obs"
    ):
        read_nwb(path)


def test_trials_without_an_event_stay_and_are_nan(write_file: WriteNwb) -> None:
    trials = plain_trials()
    trials["go_cue_time"][[1, 3]] = np.nan
    session = read_nwb(write_file(trials=trials))
    assert session.n_trials == 6
    assert np.flatnonzero(session.trials["go_cue"].isna()).tolist() == [1, 3]


def test_units_without_spikes_and_spikes_without_a_time_are_left_out(write_file: WriteNwb) -> None:
    good = plain_spikes()[0]
    spikes = [np.array([]), np.concatenate([good, [np.nan, np.inf]]), np.array([np.nan])]
    session = read_nwb(write_file(spikes=spikes))
    assert session.left_out == {"units without spikes": 2, "spikes without a time (NaN or infinite)": 3}
    assert session.units.index.tolist() == [1]
    np.testing.assert_array_equal(session.spike_times_s[0], good)


def test_no_unit_with_spikes(write_file: WriteNwb) -> None:
    with pytest.raises(DataError, match=r"a\.nwb: units must have spikes, but got 2 units, none with a spike"):
        read_nwb(write_file(spikes=[np.array([]), np.array([np.nan])]))


def test_spikes_out_of_order_are_sorted_and_counted(write_file: WriteNwb) -> None:
    good = plain_spikes()
    session = read_nwb(write_file(spikes=[good[0][::-1], good[1]]))
    np.testing.assert_array_equal(session.spike_times_s[0], good[0])
    assert session.account.mended == {"units with spikes out of order: sorted": 1}


def test_overlapping_trials_are_left_out(write_file: WriteNwb) -> None:
    trials = plain_trials()
    trials["stop_time"][2] = 13.0  # into trial 3, which starts at 12 s
    session = read_nwb(write_file(trials=trials))
    assert session.left_out == {"trials that overlap an earlier trial": 1}
    assert session.trials["start"].tolist() == [0.0, 4.0, 8.0, 16.0, 20.0]


def test_trials_that_mostly_overlap_are_refused(write_file: WriteNwb) -> None:
    trials = plain_trials() | {"stop_time": np.full(6, 30.0)}
    with pytest.raises(DataError, match=r"describe trials one after another, but got 5 of 6 trials that overlap"):
        read_nwb(write_file(trials=trials))


def test_trials_out_of_order_are_sorted(write_file: WriteNwb) -> None:
    trials = {name: values[::-1] for name, values in plain_trials().items()}
    session = read_nwb(write_file(trials=trials))
    assert session.trials["start"].is_monotonic_increasing
    assert session.account.mended == {"trial tables out of order: sorted by start": 1}
    assert session.trials["direction_deg"].tolist() == [0.0, 120.0, 240.0] * 2


def test_trials_without_times_or_condition_are_left_out(write_file: WriteNwb) -> None:
    trials = plain_trials()
    trials["start_time"][0] = np.nan
    trials["stop_time"][1] = trials["start_time"][1]
    trials["target_direction"] = trials["target_direction"].astype(float)
    trials["target_direction"][2] = np.nan
    session = read_nwb(write_file(trials=trials))
    assert session.left_out["trials without a start before their stop"] == 2
    assert session.left_out["trials without a condition"] == 1
    assert session.n_trials == 3


def test_no_usable_trial(write_file: WriteNwb) -> None:
    trials = plain_trials() | {"stop_time": np.full(6, np.nan)}
    with pytest.raises(DataError, match="trials must hold at least one usable trial, but got none"):
        read_nwb(write_file(trials=trials))


def test_milliseconds_are_refused(write_file: WriteNwb) -> None:
    trials = {k: v * 1000.0 if k.endswith("_time") else v for k, v in plain_trials().items()}
    with pytest.raises(DataError, match=r"be in seconds, but got a median trial of 3000, which looks like milli"):
        read_nwb(write_file(trials=trials))
    with pytest.raises(DataError, match=r"spike_times must be in seconds on the clock .* Divide by 1000"):
        read_nwb(write_file(spikes=[times_s * 1000.0 for times_s in plain_spikes()]))
    trials = plain_trials() | {"go_cue_time": plain_trials()["go_cue_time"] * 1000.0}
    with pytest.raises(DataError, match=r"go_cue_time must be in seconds on the session clock, .* 6 of 6 times"):
        read_nwb(write_file(trials=trials))


def test_events_relative_to_the_trial_are_refused(write_file: WriteNwb) -> None:
    trials = plain_trials() | {"go_cue_time": np.full(6, 1.5)}
    with pytest.raises(DataError, match=r"but got 5 of 6 times outside their trials. Add start_time"):
        read_nwb(write_file(trials=trials))


def test_an_odd_event_outside_its_trial_is_left_out(write_file: WriteNwb) -> None:
    trials = plain_trials()
    trials["go_cue_time"][2] = 7.0  # before its trial
    trials["go_cue_time"][3] = 15.5  # after its stop, before the next start: still its own
    session = read_nwb(write_file(trials=trials))
    assert session.left_out == {"times of go_cue outside their trials": 1}
    assert np.flatnonzero(session.trials["go_cue"].isna()).tolist() == [2]


def test_spikes_on_another_clock(write_file: WriteNwb) -> None:
    with pytest.raises(DataError, match=r"spikes up to 122.* and trials from 0 to 23"):
        read_nwb(write_file(spikes=[times_s + 100.0 for times_s in plain_spikes()]))


def test_text_where_numbers_belong(write_file: WriteNwb) -> None:
    trials = plain_trials() | {"go_cue_time": np.array(["soon"] * 6)}
    with pytest.raises(DataError, match=r"a\.nwb: go_cue_time must hold one number per trial, but got text"):
        read_nwb(write_file(trials=trials))


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_named(write_file: WriteNwb, kept: float) -> None:
    path = write_file()
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError, match=r"a\.nwb: the file must be a complete NWB file, but got .*cut short"):
        read_nwb(path)


def test_a_file_of_another_format(tmp_path: Path) -> None:
    path = tmp_path / "other.nwb"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(3)
    with pytest.raises(DataError, match=r"other\.nwb: the file must be a complete NWB file"):
        read_nwb(path)


def test_a_folder_is_pooled(write_file: WriteNwb, tmp_path: Path) -> None:
    write_file("a.nwb")
    write_file("b.nwb")
    (tmp_path / "notes.txt").write_text("passed over")
    (tmp_path / ".c.nwb").write_text("hidden, passed over")
    seen: list[tuple[int, int, str]] = []
    recording = load_recording(tmp_path, on_progress=lambda *args: seen.append(args))
    assert seen == [(1, 2, "a.nwb"), (2, 2, "b.nwb")]
    assert (recording.n_sessions, recording.n_units) == (2, 4)
    assert recording.conditions.rows == ((0.0,), (120.0,), (240.0,))
    assert recording.event_names == ("target_on", "go_cue")
    assert re.search(r"4 units \(4 monkey\) in 2 sessions, 12 trials, 3 conditions", recording.summary)


def test_a_session_that_lacks_the_last_direction_keeps_the_angles_of_the_others(
    write_file: WriteNwb, tmp_path: Path
) -> None:
    write_file("a.nwb")
    trials = plain_trials()
    trials["target_direction"] = 1 + np.arange(6) % 2  # of three, two occur
    write_file("b.nwb", trials=trials)
    recording = load_recording(tmp_path)
    assert recording.sessions[1].trials["direction_deg"].unique().tolist() == [0.0, 120.0]


def test_one_bad_file_in_a_folder_is_named(write_file: WriteNwb, tmp_path: Path) -> None:
    write_file("a.nwb")
    (tmp_path / "b.nwb").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"b\.nwb: the file must be a complete NWB file"):
        load_recording(tmp_path)


def test_paths_that_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the folder must hold files ending in \.nwb, .*but got an empty folder"):
        load_recording(tmp_path)
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(DataError, match=r"hold files ending in \.nwb, .*but got a\.txt"):
        load_recording(tmp_path)
    with pytest.raises(DataError, match=r"the recording must end in \.nwb, .*but got a\.txt"):
        load_recording(tmp_path / "a.txt")
    with pytest.raises(DataError, match="must be a file or a folder, but got a path where nothing is"):
        load_recording(tmp_path / "absent.nwb")


def test_the_same_session_twice(write_file: WriteNwb, tmp_path: Path) -> None:
    path = write_file("a.nwb")
    (tmp_path / "copy.nwb").write_bytes(path.read_bytes())
    with pytest.raises(DataError, match=r"identifier must differ between sessions, but got \['a'\]"):
        load_recording(tmp_path)
