"""netCDF loses nothing: sessions and rates come back to the last bit, and other libraries open the files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mat_samples import write_mat5
from nlb_samples import write_nlb
from recording_samples import make_session
from trial_table_samples import table_rows

from dynaprobe.core.errors import DataError, RatesError
from dynaprobe.core.preprocess import concatenate_segments, smooth
from dynaprobe.core.rates import make_rates
from dynaprobe.core.settings import parse
from dynaprobe.recordings.binning import PsthSettings
from dynaprobe.recordings.columns import ColumnMapping
from dynaprobe.recordings.export import write_netcdf, write_nwb
from dynaprobe.recordings.load import kind_of, load_psth, load_recording
from dynaprobe.recordings.netcdf import read_rates, read_session
from dynaprobe.recordings.nwb import read_nwb
from dynaprobe.recordings.psth import aligned
from dynaprobe.recordings.session import Recording, Session


def assert_same(a: Session, b: Session, *, account: bool = True) -> None:
    for name in ("identifier", "subject", "events", "conditions", "resolution_ms"):
        assert getattr(a, name) == getattr(b, name)
    if account:
        assert a.account == b.account
    pd.testing.assert_frame_equal(
        a.trials.rename_axis("trial"), b.trials[list(a.trials)], check_exact=True, check_dtype=False
    )
    pd.testing.assert_frame_equal(
        a.units, b.units, check_dtype=False, check_index_type=False, check_column_type=False
    )
    assert (a.obs_intervals_s is None) == (b.obs_intervals_s is None)
    pairs = [*zip(a.spike_times_s, b.spike_times_s, strict=True)]
    pairs += zip(a.obs_intervals_s or (), b.obs_intervals_s or (), strict=True)
    assert set(a.series) == set(b.series)
    for name, series in a.series.items():
        other = b.series[name]
        assert (series.unit, series.channels) == (other.unit, other.channels)
        pairs += [(series.times_s, other.times_s), (series.values, other.values)]
    for one, two in pairs:
        np.testing.assert_array_equal(one, two)


def mat_session(folder: Path) -> Session:
    path = write_mat5(folder / "table.mat", {"trial_data": table_rows()})
    return load_recording(path).sessions[0]


def test_a_session_with_everything_survives_both_formats(tmp_path: Path) -> None:
    for session in (read_nwb(write_nlb(tmp_path / "maze.nwb")), mat_session(tmp_path)):
        back = read_session(write_netcdf(session, tmp_path / "s.nc"))
        assert_same(session, back)
        assert_same(session, read_nwb(write_nwb(session, tmp_path / "s.nwb")), account=False)


times = st.lists(st.floats(0.0, 20.0, allow_subnormal=False), min_size=1, max_size=20)


@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    spikes=st.lists(times, min_size=1, max_size=4), label=st.text(min_size=1, max_size=5), observed=st.booleans()
)
def test_any_session_survives(tmp_path: Path, spikes: list[list[float]], label: str, observed: bool) -> None:
    session = make_session(
        [np.sort(unit) for unit in spikes],
        direction_deg=[0.0, 22.5, 315.0],
        obs=[np.array([[0.0, 7.5], [8.0, 30.0]])] * len(spikes) if observed else None,
        go_cue=[1.0, float("nan"), 2.0],
    )
    # Text without the characters that HDF5 cannot hold.
    label = label.encode("utf-8", "ignore").decode().replace("\0", "") or "x"
    session = replace(session, units=session.units.assign(area=label), subject=label)
    assert_same(session, read_session(write_netcdf(session, tmp_path / "s.nc")))


def test_a_written_session_is_a_recording_like_any_other(tmp_path: Path) -> None:
    path = write_netcdf(read_nwb(write_nlb(tmp_path / "maze.nwb")), tmp_path / "maze.nc")
    assert kind_of(path) == "trials"
    recording = load_recording(path)
    assert recording.event_names == ("target_on", "go_cue", "move_onset")
    assert recording.sessions[0].left_out == {"series without usable times or values (broken)": 1}
    mapping = parse(ColumnMapping, {"where": ["trial_version==0"], "behaviour": {"series": "hand_vel"}})
    chosen = load_recording(path, mapping).sessions[0]
    assert (chosen.n_trials, set(chosen.series)) == (6, {"hand_vel"})


def test_counts_stay_counts(tmp_path: Path) -> None:
    session = mat_session(tmp_path)
    for path in (write_netcdf(session, tmp_path / "b.nc"), write_nwb(session, tmp_path / "b.nwb")):
        assert load_recording(path).sessions[0].resolution_ms == 10.0


def test_rates_of_every_shape_survive(tmp_path: Path, random_recording: Recording) -> None:
    both = aligned(random_recording, [("target_on", -100, 200), ("go_cue", -200, 300)], settings=PsthSettings())
    joined = concatenate_segments([part.mean for part in both.values()])
    members = make_rates(
        np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32),
        dims=("member", "condition", "time", "unit"), time_ms=np.arange(4.0), event="go_cue", rate_unit="a.u.",
        source="network", coords={"seed": ("member", [1, 2])},
    )  # fmt: skip
    for rates in (both["go_cue"].mean, joined, members, smooth(both["go_cue"].mean, sd_ms=20)):
        back = read_rates(write_netcdf(rates, tmp_path / "r.nc"))
        xr.testing.assert_identical(rates, back)
        assert back["time"].attrs == rates["time"].attrs
        assert back.dtype == rates.dtype


def test_psths_come_back_through_the_door(tmp_path: Path, random_recording: Recording) -> None:
    rates = aligned(random_recording, [("go_cue", -200, 300)])["go_cue"].mean
    path = write_netcdf(rates, tmp_path / "r.nc")
    assert kind_of(path) == "psth"
    xr.testing.assert_identical(load_psth(path), rates)
    with pytest.raises(DataError, match="hold a session"):
        load_recording(path)
    write_netcdf(rates.expand_dims(member=2), path)
    with pytest.raises(DataError, match=r"r\.nc: rates must have the dims \('condition', 'time', 'unit'\)"):
        load_psth(path)


def test_other_libraries_read_the_file(tmp_path: Path) -> None:
    session = read_nwb(write_nlb(tmp_path / "maze.nwb"))
    with h5py.File(write_netcdf(session, tmp_path / "s.nc")) as file:
        assert file["spike_time_s"].size == sum(t.size for t in session.spike_times_s)
        assert file["spike_time_s"].attrs["units"] == "s"
        kinds = {name: item.dtype.kind for name, item in file.items()}
    # Numbers and text only: an opaque or compound type would be a pickle in disguise, or unknown to MATLAB.
    assert {kind for name, kind in kinds.items() if kind not in "iufbS"} <= {"O"}
    text = [name for name, kind in kinds.items() if kind == "O"]
    with h5py.File(tmp_path / "s.nc") as file:
        assert all(h5py.check_string_dtype(file[name].dtype) is not None for name in text)


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.95])
def test_a_truncated_file_is_named(tmp_path: Path, kept: float) -> None:
    path = write_netcdf(make_session([np.arange(5000.0)], direction_deg=[0.0], go_cue=[1.0]), tmp_path / "s.nc")
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError, match=r"s\.nc: the file must be a complete netCDF-4 file"):
        kind_of(path)


def test_files_that_hold_something_else(tmp_path: Path) -> None:
    xr.Dataset({"weights": ("x", [1.0])}).to_netcdf(tmp_path / "net.nc", engine="h5netcdf")
    for call in (kind_of, load_recording, read_rates, read_session):
        with pytest.raises(DataError, match=r"net\.nc: the file must hold .* but got the variables weights"):
            call(tmp_path / "net.nc")  # type: ignore[operator]


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    session = make_session([np.arange(3.0)], direction_deg=[0.0], go_cue=[1.0])
    for path in (tmp_path / "s.mat", tmp_path / "absent" / "s.nc"):
        with pytest.raises(DataError, match=r"must end in \.nc and lie in a folder that exists"):
            write_netcdf(session, path)
    with pytest.raises(RatesError, match="be one of"):
        write_netcdf(
            xr.DataArray(
                [1.0], dims="time", coords={"time": xr.Variable("time", [0.0], {"units": "ms", "event": "e"})}
            ),
            tmp_path / "r.nc",
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.recording
def test_the_real_recording_survives(riehle: Recording, tmp_path: Path) -> None:
    for session in riehle.sessions[::8]:
        assert_same(session, read_session(write_netcdf(session, tmp_path / "s.nc")))
