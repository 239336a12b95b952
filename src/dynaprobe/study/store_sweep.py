"""The store of sweeps: one folder, one file per finished job, shared by all who work at it.

DIR/sweep.json            that this is such a store, and of which format
DIR/sweeps/HASH.json      settings of every sweep that wrote to it
DIR/networks/ID.nc        a finished job: parameters, history, status, sealed with a checksum
DIR/networks/ID.damaged   a file that did not agree with its checksum; its job is computed again
DIR/checkpoints/NAME.nc   training in progress
DIR/claims/ID.claim       held by the process that works at a job
DIR/failures/ID.json      why a job has no result, in words
DIR/searches/HASH.json    what a search has proposed, see `dynaprobe.study.search`
DIR/index.jsonl           the facts of all results, for a quick table; made again from the files when it is lost
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dynaprobe import __version__
from dynaprobe.core.errors import DataError, SettingsError
from dynaprobe.study.store_claims import Claim, Claims
from dynaprobe.study.store_files import WriteError, read_json, write_json
from dynaprobe.study.store_folder import ResultFolder

# Raised whenever a store written before can no longer be read as it was meant.
SWEEP_FORMAT_VERSION = 1
# A temporary file older than this belongs to a process that was killed.
ABANDONED_AFTER_S = 3600.0


class SweepStore(ResultFolder):
    """A store that any number of sweeps and processes may write to at the same time.

    Attributes:
        folder: the store's folder.
    """

    @property
    def manifest_path(self) -> Path:
        """Where the store says what it is."""
        return self.folder / "sweep.json"

    @property
    def claims(self) -> Claims:
        """Who works at what."""
        return Claims(self.folder / "claims")

    def open(self) -> None:
        """Make the store, or check that the one that is there can be read and written to.

        Raises:
            SettingsError: when the folder holds something else.
            DataError: when the store has another format.
            WriteError: when the folder cannot be written to.
        """
        if not self.manifest_path.is_file():
            if self.is_taken(self.manifest_path):
                raise SettingsError(
                    "--out",
                    rule="be a new folder, an empty one or the store of a sweep",
                    received=str(self.folder),
                    remedy="Choose another folder; nothing there was touched",
                )
            created = datetime.now(UTC).isoformat(timespec="seconds")
            about = {"kind": "sweep", "format_version": SWEEP_FORMAT_VERSION}
            write_json(self.manifest_path, {**about, "created": created, "dynaprobe": __version__})
        self.check()
        self._clear()

    def _clear(self) -> None:
        """Remove temporary files of processes that were killed; others may be writing theirs at this moment."""
        # In a folder where nobody may write there is nothing to clear; that it is so is said at the first result.
        with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=self.folder) as written:
            # Of the clock that files are stamped by, which may not be the one of this machine.
            now = os.fstat(written.fileno()).st_mtime
            for leftover in self.folder.rglob(".*.tmp*"):
                with contextlib.suppress(OSError):
                    if now - leftover.stat().st_mtime > ABANDONED_AFTER_S:
                        leftover.unlink()

    def check(self) -> None:
        """Refuse a folder that is no store of sweeps, or one of another format.

        Raises:
            DataError: with what was found.
        """
        about = read_json(self.manifest_path)
        found = about.get("format_version") if isinstance(about, dict) else None
        if found != SWEEP_FORMAT_VERSION:
            raise DataError(
                "format_version",
                rule=f"be {SWEEP_FORMAT_VERSION}",
                received=found,
                remedy="Read this store with the version of dynaprobe that wrote it, or start a new one",
                where=self.manifest_path,
            )

    def note_sweep(self, settings: Mapping[str, Any], **facts: Any) -> None:
        """Keep the settings of a sweep; the same settings are kept once.

        Raises:
            WriteError: when the folder cannot be written to.
        """
        content = json.dumps(settings, sort_keys=True, default=str)
        name = hashlib.sha256(content.encode()).hexdigest()[:12]
        write_json(self.path("sweeps", f"{name}.json"), {"settings": settings, **facts})

    def claim(self, job: str) -> Claim | None:
        """Claim a job for this process; None when another works at it.

        Raises:
            WriteError: when the folder cannot be written to.
        """
        try:
            return self.claims.take(job)
        except OSError as error:
            raise WriteError(
                f"{job}.claim",
                rule="be written",
                received=error.strerror or str(error),
                remedy="Free some space, or choose an --out in which you may write; what is finished is kept",
                where=self.folder,
            ) from None

    def finished(self) -> set[str]:
        """The jobs that have a result, by the names of the files alone."""
        folder = self.path("networks")
        return {file.stem for file in folder.glob("[!.]*.nc")} if folder.is_dir() else set()

    def note_failure(self, job: str, reason: str, *, n_tries: int) -> None:
        """Say why a job has no result."""
        when = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(self.path("failures", f"{job}.json"), {"reason": reason, "tries": n_tries, "when": when})

    def forget_failure(self, job: str) -> None:
        """The job has a result now."""
        self.path("failures", f"{job}.json").unlink(missing_ok=True)

    def failures(self) -> dict[str, str]:
        """Why jobs have no result, by job."""
        files = sorted(self.path("failures").glob("[!.]*.json"))
        return {file.stem: str(read_json(file).get("reason")) for file in files}
