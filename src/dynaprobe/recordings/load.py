"""A file or a folder of files becomes a recording; readers are found by file ending."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import xarray as xr

from dynaprobe.core.errors import DataError
from dynaprobe.recordings.arrays import contents, read_arrays
from dynaprobe.recordings.clean import build_session, largest_index
from dynaprobe.recordings.columns import DEFAULT_MAPPING, ColumnMapping
from dynaprobe.recordings.netcdf import netcdf_kind, netcdf_psth, netcdf_tables
from dynaprobe.recordings.nwb import nwb_tables
from dynaprobe.recordings.session import Recording
from dynaprobe.recordings.tables import SessionTables
from dynaprobe.recordings.tensors import condition_struct, no_trials, read_psth, tensor_names
from dynaprobe.recordings.trial_table import trial_rows, trial_table

# Files with trials, one session each.
READERS: dict[str, Callable[[Path, ColumnMapping], SessionTables]] = {
    ".nwb": nwb_tables,
    ".mat": trial_table,
    ".nc": netcdf_tables,
}
# Files with condition averages and nothing else.
PSTH_READERS: dict[str, Callable[[Path, ColumnMapping], xr.DataArray]] = {
    ".mat": read_psth,
    ".npz": read_psth,
    ".nc": netcdf_psth,
}
PICKLES = (".pkl", ".pickle", ".p", ".npy", ".joblib")

Kind = Literal["trials", "psth"]
OnFile = Callable[[int, int, str], None]


def kind_of(path: Path | str, mapping: ColumnMapping = DEFAULT_MAPPING) -> Kind:
    """What a path holds: trials, for `load_recording`, or condition averages, for `load_psth`.

    Of condition averages there are no split halves, standard errors or numbers of trials; analyses that need
    them are not available.

    Raises:
        DataError: nothing there, or a file of neither kind.
    """
    path = Path(path)
    if path.is_dir():
        return kind_of(recording_files(path)[0], mapping)
    file = _existing(path)
    if file.suffix in READERS and file.suffix not in PSTH_READERS:
        return "trials"
    if file.suffix == ".nc":
        return netcdf_kind(file)
    if file.suffix in PSTH_READERS:
        values = read_arrays(file)
        if trial_rows(values, mapping.arrays):
            return "trials"
        if condition_struct(values, mapping.arrays) or tensor_names(values, mapping.arrays):
            return "psth"
        raise DataError(
            "the file",
            rule="hold trials (a struct array with counts in fields such as M1_spikes) or condition averages (an "
            "array of three axes, or a struct array with the fields A and times)",
            received=f"a file with {contents(values)}",
            remedy="Save one of these; a MATLAB table becomes a struct array by table2struct",
            where=file,
        )
    raise _unknown(path)


def load_psth(path: Path | str, mapping: ColumnMapping = DEFAULT_MAPPING) -> xr.DataArray:
    """Condition averages of a file that holds nothing else.

    Args:
        path: the file.
        mapping: ``arrays`` and ``direction`` say what the arrays mean.

    Returns:
        Checked rates with dims ``(condition, time, unit)``; the coordinate ``direction_deg`` where the file knows
        directions. There are no trials, hence no split halves and no standard errors.

    Raises:
        DataError: no such file, one with trials, or one that cannot be used.
    """
    file = _existing(Path(path))
    if kind_of(file, mapping) == "trials":
        raise DataError(
            "the condition averages",
            rule="come from a file of averages",
            received=f"{file.name}, which holds trials",
            remedy="Average its trials: psth(load_recording(path), ...)",
            where=file.parent,
        )
    return PSTH_READERS[file.suffix](file, mapping)


def load_recording(
    path: Path | str, mapping: ColumnMapping = DEFAULT_MAPPING, *, on_progress: OnFile | None = None
) -> Recording:
    """Read a file, or all files of a folder whose ending has a reader, as one recording.

    A file of a folder that cannot be read is an error that names it: leaving it out would change the population
    without anybody having decided so. Directions counted by an index are spread over the largest index of all
    files, so that a session that lacks one direction keeps the angles of the others.

    Args:
        path: file or folder; hidden files are passed over.
        mapping: overrides of the column table in `dynaprobe.recordings.columns`.
        on_progress: called after every file with (files done, files in all, name of the file).

    Raises:
        DataError: nothing to read, or a file that cannot be used.
    """
    path = Path(path)
    files = recording_files(path)
    tables = []
    for done, file in enumerate(files, start=1):
        tables.append(READERS[file.suffix](file, mapping))
        if on_progress is not None:
            on_progress(done, len(files), file.name)
    n_directions = mapping.n_directions
    if n_directions is None:
        n_directions = max((largest_index(entry, mapping) or 0 for entry in tables), default=0) or None
    sessions = tuple(build_session(entry, mapping, n_directions=n_directions) for entry in tables)
    return Recording(sessions=sessions, source=_source(path.resolve()))


def recording_files(path: Path) -> list[Path]:
    """The files that make up the recording at a path, in order: those with a reader, hidden ones passed over.

    Raises:
        DataError: nothing there, nothing readable, or a file of another kind.
    """
    endings = ", ".join(READERS)
    if path.is_dir():
        entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
        files = [entry for entry in entries if entry.suffix in READERS and entry.is_file()]
        if not files:
            found = ", ".join(entry.name for entry in entries[:5]) or "an empty folder"
            raise _error("the folder", f"hold files ending in {endings}", found, path)
        kinds = Counter(file.suffix for file in files)
        if len(kinds) > 1:
            found = " and ".join(f"{n} {ending}" for ending, n in kinds.items())
            raise _error("the folder", "hold recordings of one kind", f"{found} files", path)
        return files
    if _existing(path).suffix not in READERS:
        if path.suffix in PSTH_READERS:
            raise no_trials(path)
        raise _unknown(path)
    return [path]


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise _error("the recording", "be a file or a folder", "a path where nothing is", path)
    return path


def _unknown(path: Path) -> DataError:
    endings = ", ".join({**READERS, **PSTH_READERS})
    if path.suffix in PICKLES:
        return DataError(
            "the recording",
            rule=f"end in {endings}",
            received=f"{path.name}, which may hold pickled Python objects",
            remedy="Save plain arrays with numpy.savez; a pickle can run any code when it is opened, so none is",
            where=path,
        )
    return _error("the recording", f"end in {endings}", path.name, path)


def _error(name: str, rule: str, received: str, where: Path) -> DataError:
    remedy = "Give the path of a recording, or of the folder that directly holds its files"
    return DataError(name, rule=rule, received=received, remedy=remedy, where=where)


def _source(path: Path) -> str:
    """What to call it: a file by its name, a folder with the one it lies in, since many are just called nwb."""
    return path.name if path.is_file() else "/".join(path.parts[-2:])
