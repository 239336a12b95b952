"""This machine: one process per core, each with one device and one thread. Nothing to install or to start."""

from __future__ import annotations

import contextlib
import io
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from typing import IO

from dynaprobe.core.devices import n_cores, one_core_environment
from dynaprobe.study.pieces import Outcome, Piece

TICK_S = 0.5
# What a process is started with; it says READY when it can take up work.
WORKER = (sys.executable, "-m", "dynaprobe.study.worker")
READY = b"ready\n"
# So many processes may end one after another before they can take up work; then no more are started.
MOST_FAILED_STARTS = 5
# Of what a process said before it ended, as much is read; its last line goes into the sentence, and its last lines
# are shown when no process can be started.
_LAST_WORDS = 2000
_LAST_LINES = 8
_OUT_OF_MEMORY = ("MemoryError", "bad_alloc", "Cannot allocate memory", "RESOURCE_EXHAUSTED", "mmap error: 12")


class LocalEngine:
    """Processes of this machine; one that dies is replaced when the next piece needs it.

    A process that ends before it can take up work has not touched its piece, which waits for the next one. After
    `MOST_FAILED_STARTS` such ends in a row no more processes are started: those that live go on, and if there is
    none, the outcome is ``stop``.

    Attributes:
        n_processes: how many work at the same time.
    """

    def __init__(
        self,
        n_processes: int | None = None,
        *,
        memory_gb: float | None = None,
        say: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Start nothing yet.

        Args:
            n_processes: None takes one per core.
            memory_gb: limit for each process, in 10^9 bytes; None sets none.
            say: told of processes that cannot be started.
        """
        self.n_processes = n_processes or n_cores()
        self._memory_gb, self._say = memory_gb, say
        self._workers: list[_Worker] = []
        self._n_failed_starts = 0

    def run(self, waiting: deque[Piece]) -> Iterator[tuple[Piece, Outcome] | None]:
        """See `dynaprobe.study.engines.Engine`."""
        while waiting or any(worker.piece is not None for worker in self._workers):
            stopped = self._hand_out(waiting)
            if stopped is not None:
                yield waiting[0], stopped
            ended = list(self._ended(waiting))
            yield from ended
            if not ended:
                yield None

    def close(self) -> None:
        """See `dynaprobe.study.engines.Engine`."""
        for worker in self._workers:
            worker.close()
        self._workers = []

    def _hand_out(self, waiting: deque[Piece]) -> Outcome | None:
        """Give pieces to processes that have none, as many as there may be; the outcome if none can be had."""
        while waiting:
            free = next((worker for worker in self._workers if worker.piece is None), None)
            full = len(self._workers) >= self.n_processes or self._n_failed_starts >= MOST_FAILED_STARTS
            if free is None and full:
                break
            if free is None:
                try:
                    free = _Worker(self._memory_gb)
                except OSError as error:  # no memory for one more, or no more processes are allowed
                    return self._failed_start(f"{type(error).__name__}: {error}", f"  {error}")
                self._workers.append(free)
            free.give(self._chosen(free, waiting))
        return None

    def _chosen(self, worker: _Worker, waiting: deque[Piece]) -> Piece:
        """The next piece for a process: one whose program it has, or else one that no other is compiling."""
        if not waiting[0].first:
            others = {one.program for one in self._workers if one is not worker}
            for fits in (lambda piece: piece.program == worker.program, lambda piece: piece.program not in others):
                found = next((place for place, piece in enumerate(waiting) if fits(piece)), None)
                if found is not None:
                    piece = waiting[found]
                    del waiting[found]
                    return piece
        return waiting.popleft()

    def _ended(self, waiting: deque[Piece]) -> Iterator[tuple[Piece, Outcome]]:
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                if worker.piece is not None:
                    selector.register(worker.answers, selectors.EVENT_READ, worker)
            ready = [key.data for key, _ in selector.select(TICK_S)]
        for worker in ready:
            piece = worker.piece
            outcome = worker.outcome()
            if worker.was_ready:
                self._n_failed_starts = 0
            if outcome is not None and outcome.kind == "died":
                worker.close()
                self._workers.remove(worker)
                if not worker.was_ready:
                    waiting.appendleft(piece)
                    outcome = self._failed_start(outcome.reason, worker.last_lines)
            if outcome is not None:
                yield piece, outcome

    def _failed_start(self, reason: str, last_lines: str) -> Outcome | None:
        """One more process that did not start; the outcome for all that waits, if it was the last that may try."""
        self._n_failed_starts += 1
        n, most = self._n_failed_starts, MOST_FAILED_STARTS
        self._say(f"A process did not start: {reason}" + ("; another one is tried" if n < most else ""))
        if n < most or self._workers:
            return None
        return Outcome(
            "stop",
            f"No process could be started: {n} in a row ended before they could take up work. What is finished is "
            f"kept; mend this, and the same command goes on. The last one said:\n{last_lines}",
        )


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
        command = [*WORKER, *([] if memory_gb is None else [repr(memory_gb)])]
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        environment = {**os.environ, **one_core_environment()}
        try:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
            )
        except OSError:
            self._log.close()
            raise
        assert self._process.stdin is not None
        assert isinstance(self._process.stdout, io.BufferedReader)
        # Unbuffered: of two lines that came together the second would else wait where nobody looks for it.
        self._requests, self.answers = self._process.stdin, self._process.stdout.raw
        self._streams: tuple[IO[bytes], ...] = (self._process.stdin, self._process.stdout, self._log)
        self.piece: Piece | None = None
        self.program: tuple[int, str] | None = None
        self.was_ready = False
        self.last_lines = ""

    def give(self, piece: Piece) -> None:
        """Send a piece; that the process has ended shows when its answer is read."""
        self.piece, self.program = piece, piece.program
        with contextlib.suppress(BrokenPipeError):
            self._requests.write(piece.to_text().encode() + b"\n")
            self._requests.flush()

    def outcome(self) -> Outcome | None:
        """The answer that is there to be read; None when it is that the process can take up work."""
        # An answer is short and written at once, so that the line is whole.
        line = self.answers.readline()
        if line == READY:
            self.was_ready = True
            return None
        if line.endswith(b"\n"):
            self.piece = None
            return Outcome.from_text(line.decode())
        return Outcome("died", self._end())

    def _end(self) -> str:
        code = self._process.wait()
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - _LAST_WORDS))
        log = self._log.read().decode(errors="replace")
        lines = [line.rstrip() for line in log.splitlines() if line.strip()]
        self.last_lines = "\n".join(f"  {line}" for line in lines[-_LAST_LINES:]) or "  nothing"
        return said_at_end(code, log)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in self._streams:
            with contextlib.suppress(OSError):
                stream.close()
