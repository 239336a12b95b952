"""Reader for Neurodata Without Borders files."""

from __future__ import annotations

import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from pynwb import NWBHDF5IO

from dynaprobe.core.errors import DataError
from dynaprobe.recordings.clean import build_session
from dynaprobe.recordings.columns import DEFAULT_MAPPING, ColumnMapping, TrialColumn, missing_column
from dynaprobe.recordings.nwb_series import nwb_series
from dynaprobe.recordings.session import ReadingAccount, Session
from dynaprobe.recordings.tables import SessionTables

# Descriptions by which files written by `write_nwb` declare what their columns are.
EVENT_MARK = "dynaprobe event: "
CONDITION_MARK = "dynaprobe task variable"
RESOLUTION_MARK = "dynaprobe: spikes were counted in bins of these ms and stand at their centres: "


def read_nwb(path: Path | str, mapping: ColumnMapping = DEFAULT_MAPPING) -> Session:
    """Read one NWB file.

    Needs the unit table with ``spike_times`` and the trial table with ``start_time``, ``stop_time``, at least one
    event and something that tells conditions apart. ``obs_intervals`` and the subject are used where present.

    Args:
        path: the file.
        mapping: overrides of the column table in `dynaprobe.recordings.columns`.

    Raises:
        DataError: the file cannot be read, lacks a table or column, or is doubtful as a whole.
    """
    return build_session(nwb_tables(path, mapping), mapping)


def nwb_tables(path: Path | str, mapping: ColumnMapping = DEFAULT_MAPPING) -> SessionTables:
    """The tables of an NWB file, without any decision about them.

    Args:
        path: the file.
        mapping: says which continuous series are wanted.

    Raises:
        DataError: the file cannot be read, or lacks the unit table, its spike times or the trial table.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():
            # Files of older schema versions make the library warn about every namespace; they read well.
            warnings.simplefilter("ignore", UserWarning)
            with NWBHDF5IO(str(path), "r") as handle:
                return _tables(handle.read(), path, mapping)
    except DataError:
        raise
    # Damaged files surface as OSError, KeyError, ValueError, TypeError or errors of the libraries' own making.
    except Exception as error:
        raise _explain(error, path) from error


def _explain(error: Exception, path: Path) -> DataError:
    """Say why a file cannot be read; where a required column is missing the library speaks of row counts."""
    with suppress(OSError, KeyError), h5py.File(path, "r") as file:
        columns = list(file["intervals/trials"])
        for name in ("start_time", "stop_time"):
            if name not in columns:
                return missing_column("a required column", name, columns, where=path)
    cause = error.__cause__ or error
    reason = " ".join(str(cause).split())
    return DataError(
        "the file",
        rule="be a complete NWB file",
        received=f"{type(error).__name__}: {reason[:300]}",
        remedy="Copy or download it again; it may be cut short or be of another format",
        where=path,
    )


def _tables(file: Any, path: Path, mapping: ColumnMapping) -> SessionTables:
    for name in ("units", "trials"):
        if getattr(file, name) is None:
            raise _missing(f"the table {name}", "be in the file", "a file without it", path)
    units = file.units
    if "spike_times" not in units.colnames:
        received = f"a table with the columns {', '.join(units.colnames)}"
        raise _missing("spike_times", "be in the unit table", received, path)
    unit_columns = {
        name: _column(units, name) for name in units.colnames if name not in ("spike_times", "obs_intervals")
    }
    trials = {name: _column(file.trials, name) for name in file.trials.colnames}
    subject = file.subject.subject_id if file.subject is not None else None
    series, unusable = nwb_series(file, mapping.behaviour, path)
    return SessionTables(
        where=path,
        identifier=str(file.session_id or file.identifier),
        subject=str(subject or "unknown"),
        unit_columns={k: v for k, v in unit_columns.items() if isinstance(v, np.ndarray) and v.ndim == 1},
        unit_ids=np.asarray(units.id[:]),
        spike_times_s=tuple(_ragged(units["spike_times"])),
        trial_columns={k: v for k, v in trials.items() if v is not None},
        obs_intervals_s=tuple(_ragged(units["obs_intervals"])) if "obs_intervals" in units.colnames else None,
        declared=_declared(file.trials),
        series=series,
        resolution_ms=_resolution_ms(file),
        account=ReadingAccount(left_out=unusable),
    )


def _resolution_ms(file: Any) -> float | None:
    """The width of the bins in which spikes were counted, as `write_nwb` notes it."""
    _, mark, width = str(file.notes or "").partition(RESOLUTION_MARK)
    return float(width.split()[0]) if mark else None


def _declared(trials: Any) -> ColumnMapping:
    said = {name: str(trials[name].description) for name in trials.colnames}
    marked = {name: text.removeprefix(EVENT_MARK) for name, text in said.items() if text.startswith(EVENT_MARK)}
    return ColumnMapping(
        events=tuple((event, name) for name, event in marked.items()),
        conditions=tuple(name for name, text in said.items() if text == CONDITION_MARK),
    )


def _missing(name: str, rule: str, received: str, path: Path) -> DataError:
    return DataError(
        name, rule=rule, received=received, remedy="Write spikes and trials into the same NWB file", where=path
    )


def _column(table: Any, name: str) -> TrialColumn | None:
    """The values of a column; None for references to other tables and for arrays of arrays."""
    column = table[name]
    if type(column).__name__ == "VectorIndex":
        if type(column.target).__name__ != "VectorData":
            return None
        return _ragged(column)
    if type(column).__name__ not in ("VectorData", "EnumData"):
        return None
    values = np.asarray(column.data[:])
    if values.dtype.kind in "OSU":
        return np.asarray([v.decode() if isinstance(v, bytes) else v for v in values.tolist()], dtype=object)
    return values


def _ragged(index: Any) -> list[np.ndarray]:
    """Rows of a ragged column, cut out of one read of all its values."""
    ends = np.asarray(index.data[:], dtype=np.int64)
    values = np.asarray(index.target.data[:])
    return np.split(values, ends[:-1]) if ends.size else []
