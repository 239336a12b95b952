"""The only writer of results: one folder per run, every file written whole or not at all.

RUN/run.json            settings, seed, versions, provenance, state of the run
RUN/recording/          a simulated recording, where none was given
RUN/networks/ID.nc      a trained network: parameters, history, status
RUN/checkpoints/ID.nc   training in progress; removed when its networks are done
RUN/results/NAME.nc     analyses, one netCDF group per result
RUN/claims.json         verdicts
RUN/report/             page and figures
RUN/.lock               held by the process at work
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import platform
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import xarray as xr

if sys.platform != "win32":  # which has no such locks; there nothing keeps two runs apart
    import fcntl

from dynaprobe.core.errors import DataError, SettingsError

# Raised whenever a file written before can no longer be read as it was meant.
FORMAT_VERSION = 1
ENGINE: Literal["h5netcdf"] = "h5netcdf"
_REPORTED_PACKAGES = ("dynaprobe", "jax", "jaxlib", "equinox", "optax", "numpy", "scipy", "xarray", "pynwb")


def write_atomically(path: Path, write: Callable[[Path], Any]) -> Path:
    """Let `write` fill a temporary file in the same folder, then move it into place.

    A reader sees the old file or the new one, never half of one; a killed run leaves at most a hidden
    temporary file, which `RunStore.start` clears away when the run is resumed.

    Raises:
        DataError: when the folder cannot be written to or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=f".tmp{path.suffix}", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            # mkstemp makes private files; results are shared like any other file.
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            str(path.name),
            rule="be written",
            received=error.strerror or str(error),
            remedy=f"{_write_remedy(error)}; what was finished before is kept",
            where=path.parent,
        ) from error
    return path


def _write_remedy(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "Free some space or choose another --out"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "Choose an --out in which you may write"
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return "Choose an --out that does not lead through a file"
    return "Check the disk, or choose another --out"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: Path, values: Mapping[str, Any] | list[Any]) -> Path:
    """Write plain values as JSON, atomically; what is not finite becomes null, as JSON has no word for it."""
    text = json.dumps(_finite(values), indent=2, ensure_ascii=False, default=str, allow_nan=False) + "\n"
    return write_atomically(path, lambda target: target.write_text(text, encoding="utf-8"))


def _finite(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {key: _finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        DataError: when the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            path.name,
            rule="be a readable JSON file",
            received=str(error),
            remedy="Restore the file, or start a new run with another --out",
            where=path.parent,
        ) from None


def write_tree(path: Path, groups: Mapping[str, xr.Dataset]) -> Path:
    """Write datasets as groups of one netCDF file, atomically."""
    tree = xr.DataTree.from_dict({name: data.reset_coords() for name, data in groups.items()})
    for name, data in groups.items():
        # netCDF has no coordinates of its own; the names are kept so that reading restores them.
        tree[name].attrs["coordinate_names"] = json.dumps([str(c) for c in data.coords if c not in data.dims])
    # Through memory: HDF5 that runs into a full disk takes the whole process with it.
    content = tree.to_netcdf(engine=ENGINE)
    return write_atomically(path, lambda target: target.write_bytes(content))


def read_tree(path: Path) -> dict[str, xr.Dataset]:
    """Read what `write_tree` wrote.

    Raises:
        DataError: when the file is missing, truncated or not netCDF.
    """
    try:
        with xr.open_datatree(path, engine=ENGINE) as tree:
            branches = {path.strip("/"): branch for path, branch in tree.subtree_with_keys if path != "."}
            loaded = {path: branch.to_dataset().load() for path, branch in branches.items()}
    except FileNotFoundError:
        raise DataError(
            path.name,
            rule="be a file",
            received="a path where nothing is",
            remedy="Check the path",
            where=path.parent,
        ) from None
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise DataError(
            path.name,
            rule="be a whole netCDF file",
            received=str(error).splitlines()[0] if str(error) else type(error).__name__,
            remedy="Remove the file and run the study again with --resume",
            where=path.parent,
        ) from None
    for name, data in loaded.items():
        loaded[name] = data.set_coords(json.loads(data.attrs.pop("coordinate_names", "[]")))
    return loaded


def provenance() -> dict[str, Any]:
    """What the numbers of a run depend on besides its settings."""
    return {
        "format_version": FORMAT_VERSION,
        "packages": {name: version(name) for name in _REPORTED_PACKAGES},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        "n_cores": os.cpu_count(),
    }


class RunStore:
    """One run on disk.

    Attributes:
        folder: the run's folder.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    @property
    def manifest_path(self) -> Path:
        """Where the run says what it is."""
        return self.folder / "run.json"

    def exists(self) -> bool:
        """Whether the folder already holds a run."""
        return self.manifest_path.is_file()

    def start(self, settings: Mapping[str, Any], *, study: str, seed: int, resume: bool, **more: Any) -> None:
        """Begin a run, or go on with the one that is there.

        Raises:
            SettingsError: when the folder holds a run and `resume` is False, a run with other settings, or one at
                which another process works.
        """
        if not self.exists():
            if self.folder.is_file() or (self.folder.exists() and any(self.folder.iterdir())):
                raise SettingsError(
                    "--out",
                    rule="be a new, an empty or a run's folder",
                    received=str(self.folder),
                    remedy="Choose another folder; nothing there was touched",
                )
            manifest = {
                "study": study,
                "seed": seed,
                "state": "running",
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "settings": settings,
                **more,
                "provenance": provenance(),
            }
            write_json(self.manifest_path, manifest)
            self._claim()
            return
        if not resume:
            raise SettingsError(
                "--out",
                rule="be a new folder unless --resume is given",
                received=f"{self.folder}, which holds a run",
                remedy="Add --resume to go on with it, or choose another folder",
            )
        self._check_same(settings, seed=seed, **more)
        self._claim()
        for leftover in self.folder.rglob(".*.tmp*"):
            leftover.unlink(missing_ok=True)

    def _claim(self) -> None:
        """Keep other processes out of the folder for as long as this one lives, however it ends.

        Raises:
            SettingsError: when another process works there.
        """
        if sys.platform == "win32":
            return
        try:
            lock = os.open(self.folder / ".lock", os.O_WRONLY | os.O_CREAT, 0o666)
        except OSError:
            # A full or read-only file system; what then cannot be written is said when it is.
            return
        # The lock ends with this store, or with the process, however that ends.
        weakref.finalize(self, os.close, lock)
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Any other error is of a file system without locks.
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise SettingsError(
                    "--out",
                    rule="be a folder in which no other run is at work",
                    received=str(self.folder),
                    remedy="Wait until that run has ended, or choose another folder",
                ) from None

    def _check_same(self, settings: Mapping[str, Any], **more: Any) -> None:
        manifest = self.manifest()
        found = manifest["provenance"]["format_version"]
        if found != FORMAT_VERSION:
            raise DataError(
                "format_version",
                rule=f"be {FORMAT_VERSION}",
                received=found,
                remedy="Read this run with the version of dynaprobe that wrote it, or start a new one",
                where=self.manifest_path,
            )
        # The comparison is between JSON values: tuples have become lists in the file.
        now = json.loads(json.dumps({"settings": settings, **more}, default=str))
        for name, there, here in _differences({k: manifest.get(k) for k in now}, now):
            raise SettingsError(
                name,
                rule="be as in the run that is resumed",
                received=f"{here!r} now and {there!r} there",
                remedy="Resume with the same options, or choose another --out",
                where=self.folder,
            )

    def manifest(self) -> dict[str, Any]:
        """Settings, seed, provenance and state of the run."""
        if not self.exists():
            raise DataError(
                "run",
                rule="hold run.json",
                received=str(self.folder),
                remedy="Give the folder that a study was told with --out",
            )
        manifest = read_json(self.manifest_path)
        if not isinstance(manifest, dict) or not {"study", "provenance"} <= manifest.keys():
            raise DataError(
                self.manifest_path.name,
                rule="be what a run writes about itself",
                received="a file without study and provenance",
                remedy="Restore the file, or start a new run with another --out",
                where=self.folder,
            )
        return manifest

    def finish(self, **more: Any) -> None:
        """Mark the run as complete, with further facts for the manifest."""
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(self.manifest_path, {**self.manifest(), **more, "state": "complete", "finished": finished})

    def note(self, **facts: Any) -> None:
        """Add facts to the manifest."""
        write_json(self.manifest_path, {**self.manifest(), **facts})

    def path(self, *parts: str) -> Path:
        """A path inside the run's folder."""
        return self.folder.joinpath(*parts)

    def make_folder(self, name: str) -> Path:
        """A folder inside the run's, made if it is not there."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def save(self, name: str, groups: Mapping[str, xr.Dataset]) -> Path:
        """Write datasets to ``NAME.nc``, e.g. ``save("results/pca", {"recording": ...})``."""
        return write_tree(self.folder / f"{name}.nc", groups)

    def load(self, name: str) -> dict[str, xr.Dataset]:
        """Read what `save` wrote."""
        return read_tree(self.folder / f"{name}.nc")

    def has(self, name: str) -> bool:
        """Whether ``NAME.nc`` is there and whole; a damaged file counts as absent and is set aside."""
        path = self.folder / f"{name}.nc"
        if not path.is_file():
            return False
        try:
            self.load(name)
        except DataError:
            path.replace(path.with_suffix(".damaged"))
            return False
        return True

    def adopt(self, file: Path, name: str) -> Path:
        """Copy a file from elsewhere to ``NAME.nc``, whole or not at all."""
        content = file.read_bytes()
        return write_atomically(self.folder / f"{name}.nc", lambda target: target.write_bytes(content))

    def remove(self, name: str) -> None:
        """Remove ``NAME.nc`` if it is there."""
        with contextlib.suppress(FileNotFoundError):
            (self.folder / f"{name}.nc").unlink()


def _differences(there: Any, here: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(there, dict) and isinstance(here, dict):
        for key in sorted(there.keys() | here.keys()):
            yield from _differences(there.get(key), here.get(key), f"{name}.{key}" if name else key)
    elif there != here:
        yield name, there, here
