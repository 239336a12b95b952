"""Write a session as NWB or netCDF, rates as netCDF, such that reading gives back the same."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import xarray as xr
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.behavior import SpatialSeries
from pynwb.file import Subject

from dynaprobe.core.errors import DataError
from dynaprobe.core.rates import check_rates
from dynaprobe.recordings.netcdf import RATES_NAME, session_dataset
from dynaprobe.recordings.nwb import CONDITION_MARK, EVENT_MARK, RESOLUTION_MARK
from dynaprobe.recordings.series import ContinuousSeries
from dynaprobe.recordings.session import Recording, Session

# NWB demands a date, and sessions have a clock but no date. A fixed one keeps same sessions same.
NO_DATE = datetime(2000, 1, 1, tzinfo=UTC)


def write_nwb(session: Session, path: Path | str) -> Path:
    """Write a session to `path`, whole or not at all.

    Events become columns ``<event>_time`` of the trial table, task variables keep their names. The file is written
    beside its place under a hidden name and then moved there.

    Args:
        session: the session.
        path: the file; an existing one is replaced; must end in ``.nwb``.

    Returns:
        The path.

    Raises:
        DataError: another ending, no such folder, or one that cannot be written to.
    """
    path = _checked(path, ".nwb")
    file = _nwb_file(session)
    # Through memory: HDF5 that runs into a full disk takes the whole process with it.
    content = BytesIO()
    with h5py.File(content, "w") as memory, NWBHDF5IO(file=memory, mode="w") as handle:
        handle.write(file)
    return _written(path, content)


def write_netcdf(what: Session | xr.DataArray, path: Path | str) -> Path:
    """Write a session or rates to `path` as netCDF-4, whole or not at all.

    Args:
        what: a session, for `load_recording`, or rates, for `load_psth` and `read_rates`.
        path: the file; an existing one is replaced; must end in ``.nc``.

    Returns:
        The path.

    Raises:
        DataError: another ending, no such folder, or one that cannot be written to.
        RatesError: rates that break the schema.
    """
    path = _checked(path, ".nc")
    if isinstance(what, Session):
        data = session_dataset(what)
    else:
        data = check_rates(what, finite=False).to_dataset(name=RATES_NAME)
    content = BytesIO()
    data.to_netcdf(content, engine="h5netcdf")
    return _written(path, content)


def write_recording(what: Recording | xr.DataArray, path: Path | str) -> Path:
    """Write what was loaded to `path`, as its ending says: ``.nwb`` (trials only) or ``.nc``.

    Raises:
        DataError: another ending, averages as NWB, or several sessions, which one file cannot hold.
    """
    path = Path(path)
    if isinstance(what, Recording):
        if what.n_sessions > 1:
            raise DataError(
                "the recording to write",
                rule="be one session, as one file holds one",
                received=f"{what.n_sessions} sessions",
                remedy="Convert its files one at a time",
                where=what.source,
            )
        return write_nwb(what.sessions[0], path) if path.suffix == ".nwb" else write_netcdf(what.sessions[0], path)
    return write_netcdf(what, path)


def _checked(path: Path | str, ending: str) -> Path:
    path = Path(path)
    if path.suffix != ending or not path.parent.is_dir():
        raise DataError(
            "the file to write",
            rule=f"end in {ending} and lie in a folder that exists",
            received=str(path),
            remedy="Create the folder or correct the name",
        )
    return path


def _written(path: Path, content: BytesIO) -> Path:
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        temporary.write_bytes(content.getbuffer())
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(
            path.name,
            rule="be written",
            received=error.strerror or str(error),
            remedy="Check the free space and the right to write there, or choose another folder",
            where=path.parent,
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return path


def _nwb_file(session: Session) -> NWBFile:
    file = NWBFile(
        session_description="A session written by dynaprobe; its clock starts at 0 s and its date is unknown.",
        identifier=session.identifier,
        session_id=session.identifier,
        session_start_time=NO_DATE,
        subject=Subject(subject_id=session.subject),
        notes=None if session.resolution_ms is None else f"{RESOLUTION_MARK}{session.resolution_ms:.17g}",
    )
    for event in session.events:
        file.add_trial_column(f"{event}_time", f"{EVENT_MARK}{event}")
    for name in session.conditions:
        file.add_trial_column(name, CONDITION_MARK)
    columns = {"start": "start_time", "stop": "stop_time"}
    columns |= {event: f"{event}_time" for event in session.events} | {name: name for name in session.conditions}
    trials = {column: session.trials[name].tolist() for name, column in columns.items()}
    for row in range(session.n_trials):
        file.add_trial(**{column: values[row] for column, values in trials.items()})
    for name in session.units.columns:
        file.add_unit_column(name, "as in the source")
    units = {str(name): session.units[name].tolist() for name in session.units.columns}
    for unit, label in enumerate(session.units.index.tolist()):
        extra = {} if session.obs_intervals_s is None else {"obs_intervals": session.obs_intervals_s[unit]}
        plain = {name: values[unit] for name, values in units.items()}
        file.add_unit(id=label, spike_times=np.asarray(session.spike_times_s[unit]), **extra, **plain)
    if session.series:
        module = file.create_processing_module("behavior", "continuous series")
        for name, series in session.series.items():
            module.add(_nwb_series(name, series))
    return file


def _nwb_series(name: str, series: ContinuousSeries) -> TimeSeries:
    """Values as they are, with times, since a rate and a start would give them back only up to round-off."""
    # Positions have a type of their own, which demands to know what they are measured from.
    place = {"reference_frame": "as in the source"} if "pos" in name.lower() else {}
    kind = SpatialSeries if place else TimeSeries
    return kind(
        name=name,
        data=np.asarray(series.values),
        timestamps=np.asarray(series.times_s),
        unit=series.unit,
        description=series.description or "no description",
        comments=f"columns=[{','.join(series.channels)}]",
        **place,
    )
