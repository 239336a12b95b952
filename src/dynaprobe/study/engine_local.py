"""This machine: one process per core, each with one device and one thread. Nothing to install or to start."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from typing import IO

from dynaprobe.core.devices import n_cores, one_core_environment
from dynaprobe.study.pieces import Outcome, Piece

TICK_S = 0.5
# Of what a process said before it ended, as much is read; its last line goes into the sentence.
_LAST_WORDS = 2000
_OUT_OF_MEMORY = ("MemoryError", "bad_alloc", "Cannot allocate memory", "RESOURCE_EXHAUSTED", "mmap error: 12")


class LocalEngine:
    """Processes of this machine; one that dies is replaced when the next piece needs it.

    Attributes:
        n_processes: how many work at the same time.
    """

    def __init__(self, n_processes: int | None = None, *, memory_gb: float | None = None) -> None:
        """Start nothing yet.

        Args:
            n_processes: None takes one per core.
            memory_gb: limit for each process, in 10^9 bytes; None sets none.
        """
        self.n_processes = n_processes or n_cores()
        self._memory_gb = memory_gb
        self._workers: list[_Worker] = []

    def run(self, pieces: Sequence[Piece]) -> Iterator[tuple[Piece, Outcome] | None]:
        """See `dynaprobe.study.engines.Engine`."""
        waiting = deque(pieces)
        while waiting or any(worker.piece is not None for worker in self._workers):
            self._hand_out(waiting)
            ended = list(self._ended())
            yield from ended
            if not ended:
                yield None

    def close(self) -> None:
        """See `dynaprobe.study.engines.Engine`."""
        for worker in self._workers:
            worker.close()
        self._workers = []

    def _hand_out(self, waiting: deque[Piece]) -> None:
        while waiting:
            free = next((worker for worker in self._workers if worker.piece is None), None)
            if free is None and len(self._workers) >= self.n_processes:
                return
            if free is None:
                free = _Worker(self._memory_gb)
                self._workers.append(free)
            free.give(waiting.popleft())

    def _ended(self) -> Iterator[tuple[Piece, Outcome]]:
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                if worker.piece is not None:
                    selector.register(worker.answers, selectors.EVENT_READ, worker)
            ready = [key.data for key, _ in selector.select(TICK_S)]
        for worker in ready:
            piece = worker.piece
            outcome = worker.outcome()
            if outcome.kind == "died":
                worker.close()
                self._workers.remove(worker)
            yield piece, outcome


def said_at_end(code: int, log: str) -> str:
    """How a process ended, in words.

    Args:
        code: its exit code; minus the signal, if one ended it.
        log: the end of what it said.
    """
    how = f"with code {code}"
    if code < 0:
        known = -code in {one.value for one in signal.Signals}
        how = f"by signal {-code}" + (f" ({signal.Signals(-code).name})" if known else "")
        if -code == signal.SIGKILL:
            how += ", as when memory runs out or someone kills it"
    words = next((line.strip() for line in reversed(log.splitlines()) if line.strip()), "")[-300:]
    said = f"; its last words: {words}" if words else ""
    # A library that gets no memory often ends in some other way than by saying so last.
    ran_out = any(mark in log for mark in _OUT_OF_MEMORY)
    return ("the process ran out of memory and ended " if ran_out else "the process ended ") + how + said


class _Worker:
    """A process of `dynaprobe.study.worker`."""

    def __init__(self, memory_gb: float | None) -> None:
        command = [sys.executable, "-m", "dynaprobe.study.worker"]
        command += [] if memory_gb is None else [repr(memory_gb)]
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        environment = {**os.environ, **one_core_environment()}
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self.answers = self._process.stdin, self._process.stdout
        self.piece: Piece | None = None

    def give(self, piece: Piece) -> None:
        """Send a piece; that the process has ended shows when its answer is read."""
        self.piece = piece
        with contextlib.suppress(BrokenPipeError):
            self._requests.write(piece.to_text().encode() + b"\n")
            self._requests.flush()

    def outcome(self) -> Outcome:
        """The answer that is there to be read."""
        # An answer is short and written at once, so that the line is whole.
        line = self.answers.readline()
        if line.endswith(b"\n"):
            self.piece = None
            return Outcome.from_text(line.decode())
        return Outcome("died", self._end())

    def _end(self) -> str:
        code = self._process.wait()
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - _LAST_WORDS))
        return said_at_end(code, self._log.read().decode(errors="replace"))

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._requests, self.answers, self._log):
            with contextlib.suppress(OSError):
                stream.close()
