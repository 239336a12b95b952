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

import errno
import json
import os
import platform
import sys
import weakref
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

if sys.platform != "win32":  # which has no such locks; there nothing keeps two runs apart
    import fcntl

from dynaprobe.core.errors import DataError, SettingsError
from dynaprobe.study.store_files import read_json, read_tree, write_atomically, write_json, write_tree
from dynaprobe.study.store_folder import ResultFolder

# Other rooms come in by this door.
__all__ = [
    "FORMAT_VERSION",
    "RunStore",
    "provenance",
    "read_json",
    "read_tree",
    "write_atomically",
    "write_json",
    "write_tree",
]

# Raised whenever a file written before can no longer be read as it was meant.
FORMAT_VERSION = 1
# What a complete run holds, and folders and files whose loss changes no result.
_RESULT_SUFFIXES = (".nc", ".json", ".csv")
_NO_RESULTS = ("report", "checkpoints", "recording", "run.json")
_REPORTED_PACKAGES = ("dynaprobe", "jax", "jaxlib", "equinox", "optax", "numpy", "scipy", "xarray", "pynwb")


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


class RunStore(ResultFolder):
    """One run on disk.

    Attributes:
        folder: the run's folder.
    """

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
            if self.is_taken(self.manifest_path):
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
        """Mark the run as complete, with further facts for the manifest and the names of all its results."""
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        facts = {"files": self._files(), "state": "complete", "finished": finished}
        write_json(self.manifest_path, {**self.manifest(), **more, **facts})

    def is_complete(self) -> bool:
        """Whether the run came to its end and holds every result it then held, whole; damaged ones are set aside.

        Raises:
            NotJudgedError: as `has`.
        """
        manifest = self.manifest()
        # A run of a version that noted no files is gone through once more: what is there is kept.
        if manifest["state"] != "complete" or "files" not in manifest:
            return False
        # Looked at to the end, so that each damaged file is set aside.
        lost = [file for file in manifest["files"] if not self._is_kept(file)]
        return not lost

    def _files(self) -> list[str]:
        """Networks, results and tables below the folder; what reports write can be written again."""
        found = (file.relative_to(self.folder) for file in self.folder.rglob("[!.]*") if file.is_file())
        return sorted(
            file.as_posix()
            for file in found
            if file.suffix in _RESULT_SUFFIXES
            and file.parts[0] not in _NO_RESULTS
            and not any(part.startswith(".") for part in file.parts)
        )

    def _is_kept(self, file: str) -> bool:
        path = self.folder / file
        if path.suffix == ".nc":
            return self.has(file.removesuffix(".nc"))
        try:
            return path.is_file() and (path.suffix != ".json" or read_json(path) is not None)
        except DataError:
            return False

    def note(self, **facts: Any) -> None:
        """Add facts to the manifest."""
        write_json(self.manifest_path, {**self.manifest(), **facts})


def _differences(there: Any, here: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(there, dict) and isinstance(here, dict):
        for key in sorted(there.keys() | here.keys()):
            yield from _differences(there.get(key), here.get(key), f"{name}.{key}" if name else key)
    elif there != here:
        yield name, there, here
