"""Who works at what: a locked file for every job in progress, so that two sweeps never compute one job twice.

The lock belongs to the process and ends with it, however it ends: what a killed process left is free at once, on
this machine by the kernel, on others by the lock service of a shared file system. The text of the file says who
and how far, for people and progress bars; nothing is decided by it.

Where a file system has no locks everything still works: results are written whole and a job has the same numbers
whoever computes it, but two sweeps at the same time may then compute it twice.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

if sys.platform != "win32":
    import fcntl

# A claim that nobody has written to for so long is not shown as work in progress. Compiling takes half a minute.
SHOWN_FOR_S = 120.0


class Claim:
    """A job that this process, and no other, works at until `release` or its own end.

    Attributes:
        name: of the job.
    """

    def __init__(self, name: str, path: Path, handle: int) -> None:
        self.name, self._path, self._handle = name, path, handle
        self.tell({})

    def tell(self, facts: Mapping[str, Any]) -> None:
        """Leave word of how far the work is; a full disk does not stop it."""
        text = json.dumps({"host": platform.node(), "pid": os.getpid(), **facts}).encode()
        with contextlib.suppress(OSError):
            # Overwritten in place: the lock is on this very file.
            os.pwrite(self._handle, text + b"\n", 0)
            os.ftruncate(self._handle, len(text) + 1)

    def release(self) -> None:
        """Let others have it."""
        if self._handle < 0:
            return
        # First the name, then the lock: whoever opened the file meanwhile finds that it has no name any more.
        with contextlib.suppress(OSError):
            self._path.unlink()
        os.close(self._handle)
        self._handle = -1


class Claims:
    """The claims in one folder.

    Attributes:
        folder: where they are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(self, name: str) -> Claim | None:
        """Claim a job; None when a living process has it.

        Raises:
            OSError: when the folder cannot be written to.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.claim"
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            if not _lock(handle):
                os.close(handle)
                return None
            if _is_file(handle, path):
                return Claim(name, path, handle)
            os.close(handle)  # its owner has finished and removed it since it was opened

    def at_work(self) -> dict[str, dict[str, Any]]:
        """What is known of the jobs that someone has written about lately, by name; of this machine, who lives."""
        known: dict[str, dict[str, Any]] = {}
        if not self.folder.is_dir():
            return known
        for entry in os.scandir(self.folder):
            # A claim may vanish, or be half rewritten, at any moment: then it is not shown this time.
            with contextlib.suppress(OSError, ValueError):
                if entry.name.endswith(".claim") and time.time() - entry.stat().st_mtime < SHOWN_FOR_S:
                    facts = json.loads(Path(entry.path).read_bytes())
                    if facts.get("host") != platform.node() or _lives(facts.get("pid")):
                        known[entry.name.removesuffix(".claim")] = facts
        return known


def _lives(pid: object) -> bool:
    """Whether a process of this machine lives; where that cannot be known it does."""
    if not isinstance(pid, int) or sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is someone else's
        return True
    return True


def _lock(handle: int) -> bool:
    if sys.platform == "win32":
        return True
    try:
        # Of the open file, not of the process: two threads exclude each other as well.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Any other error is of a file system without locks.
        return error.errno not in (errno.EAGAIN, errno.EACCES)
    return True


def _is_file(handle: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    here = os.fstat(handle)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
