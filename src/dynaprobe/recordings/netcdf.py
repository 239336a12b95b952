"""Sessions and rates as netCDF-4: one file that Python, MATLAB (``ncread``) and Julia open, and nothing is lost.

A session is flat: ``trial_*`` and ``unit_*`` are the columns of its tables; ``spike_time_s`` holds the spikes of
all units one after another, ``n_spikes`` how many each has; ``obs_interval_s`` and ``n_obs_intervals`` likewise;
``series_NAME`` and ``series_NAME_time_s`` a continuous series. Attributes are text or numbers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from dynaprobe.core.errors import DataError, RatesError
from dynaprobe.core.rates import check_rates
from dynaprobe.recordings.columns import DEFAULT_MAPPING, ColumnMapping
from dynaprobe.recordings.series import ContinuousSeries
from dynaprobe.recordings.session import ReadingAccount, Session
from dynaprobe.recordings.tables import SessionTables

SESSION_FORMAT, RATES_NAME = "dynaprobe session 1", "rates"


def session_dataset(session: Session) -> xr.Dataset:
    """A session as a dataset that netCDF can hold; see the top of this file."""
    held: dict[str, Any] = {f"trial_{name}": ("trial", _plain(session.trials[name])) for name in session.trials}
    held |= {f"unit_{name}": ("unit", _plain(session.units[name])) for name in session.units}
    held["unit_id"] = ("unit", _plain(session.units.index.to_series()))
    held["n_spikes"] = ("unit", np.asarray([times.size for times in session.spike_times_s]))
    held["spike_time_s"] = ("spike", np.concatenate(session.spike_times_s), {"units": "s"})
    if session.obs_intervals_s is not None:
        held["n_obs_intervals"] = ("unit", np.asarray([len(spans) for spans in session.obs_intervals_s]))
        spans = np.concatenate([np.reshape(spans, (-1, 2)) for spans in session.obs_intervals_s])
        held["obs_interval_s"] = (("interval", "edge"), spans, {"units": "s"})
    for name, series in session.series.items():
        attrs = {"units": series.unit, "channels": json.dumps(series.channels), "description": series.description}
        held[f"series_{name}_time_s"] = (f"sample_{name}", series.times_s, {"units": "s"})
        held[f"series_{name}"] = ((f"sample_{name}", f"channel_{name}"), series.values, attrs)
    about: dict[str, Any] = {
        "format": SESSION_FORMAT,
        "identifier": session.identifier,
        "subject": session.subject,
        "events": json.dumps(session.events),
        "conditions": json.dumps(session.conditions),
        "trial_columns": json.dumps([str(name) for name in session.trials]),
        "unit_columns": json.dumps([str(name) for name in session.units]),
        "series": json.dumps(list(session.series)),
        "left_out": json.dumps(dict(session.account.left_out)),
        "mended": json.dumps(dict(session.account.mended)),
        "rules": json.dumps(session.account.rules),
    }
    if session.resolution_ms is not None:
        about["resolution_ms"] = session.resolution_ms
    return xr.Dataset(held, attrs=about)


def read_session(path: Path | str) -> Session:
    """The session of a file written by `dynaprobe.recordings.export.write_netcdf`, as it was.

    Raises:
        DataError: the file is damaged or holds something else.
    """
    path = Path(path)
    data = _loaded(path)
    if data.attrs.get("format") != SESSION_FORMAT:
        raise _other(path, data, f"a session (format {SESSION_FORMAT})")
    said = {name: json.loads(data.attrs[name]) for name in ("events", "conditions", "left_out", "mended", "rules")}
    columns = {name: json.loads(data.attrs[f"{name}_columns"]) for name in ("trial", "unit")}
    trials = pd.DataFrame({name: data[f"trial_{name}"].values for name in columns["trial"]})
    ids = pd.Index(data["unit_id"].values, name="unit")
    obs = None
    if "obs_interval_s" in data:
        obs = _cut(data["obs_interval_s"].values, data["n_obs_intervals"].values)
    return Session(
        identifier=str(data.attrs["identifier"]),
        subject=str(data.attrs["subject"]),
        units=pd.DataFrame({name: data[f"unit_{name}"].values for name in columns["unit"]}, index=ids),
        spike_times_s=_cut(data["spike_time_s"].values, data["n_spikes"].values),
        trials=trials.rename_axis("trial"),
        events=tuple(said["events"]),
        conditions=tuple(said["conditions"]),
        obs_intervals_s=obs,
        account=ReadingAccount(said["left_out"], said["mended"], tuple(said["rules"])),
        series={name: _series(data, name) for name in json.loads(data.attrs["series"])},
        resolution_ms=float(data.attrs["resolution_ms"]) if "resolution_ms" in data.attrs else None,
    )


def netcdf_tables(path: Path | str, mapping: ColumnMapping = DEFAULT_MAPPING) -> SessionTables:
    """The session of a file as tables, so that trials can be chosen and columns mapped like those of any file.

    Raises:
        DataError: the file is damaged or holds something else.
    """
    session = read_session(path)
    named = {"start": "start_time", "stop": "stop_time"}
    wanted = mapping.behaviour.series
    return SessionTables(
        where=Path(path),
        identifier=session.identifier,
        subject=session.subject,
        unit_columns={str(name): session.units[name].to_numpy() for name in session.units},
        unit_ids=session.units.index.to_numpy(),
        spike_times_s=session.spike_times_s,
        trial_columns={named.get(str(n), str(n)): session.trials[n].to_numpy() for n in session.trials},
        obs_intervals_s=session.obs_intervals_s,
        declared=ColumnMapping(
            events=tuple((event, event) for event in session.events), conditions=session.conditions
        ),
        series={n: s for n, s in session.series.items() if wanted is None or n in wanted},
        resolution_ms=session.resolution_ms,
        account=session.account,
    )


def read_rates(path: Path | str) -> xr.DataArray:
    """Rates of a netCDF file, checked.

    Raises:
        DataError: the file is damaged, holds something else, or rates that break the schema.
    """
    path = Path(path)
    data = _loaded(path)
    if RATES_NAME not in data:
        raise _other(path, data, f"a variable called {RATES_NAME}")
    try:
        return check_rates(data[RATES_NAME], finite=False)
    except RatesError as error:
        raise DataError(
            error.name, rule=error.rule, received=error.received, remedy=error.remedy, where=path
        ) from None


def netcdf_psth(path: Path, mapping: ColumnMapping = DEFAULT_MAPPING) -> xr.DataArray:
    """Condition averages of a netCDF file; nothing in it is left to the mapping.

    Raises:
        DataError: as in `read_rates`, or rates of members or of single trials.
    """
    del mapping
    rates = read_rates(path)
    try:
        return check_rates(rates, dims=("condition", "time", "unit"))
    except RatesError as error:
        raise DataError(
            error.name, rule=error.rule, received=error.received, remedy=error.remedy, where=path
        ) from None


def netcdf_kind(path: Path) -> Literal["trials", "psth"]:
    """Whether a netCDF file holds a session or rates.

    Raises:
        DataError: the file is damaged or holds neither.
    """
    data = _loaded(path)
    if data.attrs.get("format") == SESSION_FORMAT:
        return "trials"
    if RATES_NAME not in data:
        raise _other(path, data, f"a session (format {SESSION_FORMAT}) or a variable called {RATES_NAME}")
    return "psth"


def _loaded(path: Path) -> xr.Dataset:
    try:
        # Times in ms would otherwise be taken for durations and come back in nanoseconds.
        with xr.open_dataset(path, engine="h5netcdf", decode_times=False) as data:
            loaded = data.load()
    except Exception as error:
        reason = " ".join(str(error).split())
        raise DataError(
            "the file",
            rule="be a complete netCDF-4 file",
            received=f"{type(error).__name__}: {reason[:200]}",
            remedy="Copy or write it again; it may be cut short or be of another format",
            where=path,
        ) from error
    texts = {name: v.astype(str) for name, v in loaded.coords.items() if v.dtype.kind in "OT" and v.dims}
    return loaded.assign_coords(texts)


def _other(path: Path, data: xr.Dataset, wanted: str) -> DataError:
    return DataError(
        "the file",
        rule=f"hold {wanted}",
        received=f"the variables {', '.join(map(str, data)) or 'none'}",
        remedy="Write it with dynaprobe.recordings.export.write_netcdf",
        where=path,
    )


def _cut(values: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(np.split(values, np.cumsum(sizes)[:-1])) if sizes.size else ()


def _series(data: xr.Dataset, name: str) -> ContinuousSeries:
    held = data[f"series_{name}"]
    return ContinuousSeries(
        times_s=data[f"series_{name}_time_s"].values,
        values=held.values,
        unit=str(held.attrs["units"]),
        channels=tuple(json.loads(held.attrs["channels"])),
        description=str(held.attrs["description"]),
    )


def _plain(column: pd.Series) -> np.ndarray:
    """Numbers as they are, everything else as text: netCDF has no objects."""
    values = column.to_numpy()
    return values if values.dtype.kind in "biuf" else np.asarray([str(v) for v in values], dtype=object)
