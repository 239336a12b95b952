"""A file or a folder of files becomes a recording; readers are found by file ending."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dynaprobe.core.errors import DataError
from dynaprobe.recordings.clean import SessionTables, build_session, largest_index
from dynaprobe.recordings.columns import DEFAULT_MAPPING, ColumnMapping
from dynaprobe.recordings.nwb import nwb_tables
from dynaprobe.recordings.session import Recording

READERS: dict[str, Callable[[Path], SessionTables]] = {".nwb": nwb_tables}

OnFile = Callable[[int, int, str], None]


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
        tables.append(READERS[file.suffix](file))
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
        return files
    if not path.is_file():
        raise _error("the recording", "be a file or a folder", "a path where nothing is", path)
    if path.suffix not in READERS:
        raise _error("the recording", f"end in {endings}", path.name, path)
    return [path]


def _error(name: str, rule: str, received: str, where: Path) -> DataError:
    remedy = "Give the path of a recording, or of the folder that directly holds its files"
    return DataError(name, rule=rule, received=received, remedy=remedy, where=where)


def _source(path: Path) -> str:
    """What to call it: a file by its name, a folder with the one it lies in, since many are just called nwb."""
    return path.name if path.is_file() else "/".join(path.parts[-2:])
