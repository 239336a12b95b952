"""A contender in a process of its own, which answers requests and sleeps while others run.

JAX fixes its devices and threads once per process, so contenders with other settings cannot share one. Requests
and answers are lines of JSON on the pipes of the process:

    {"module": m, "arguments": {...}, "call_s": t}    calls `m.build(**arguments)` and chooses n_calls
    {"n_calls": n}                                    does the work n times
    {"n_calls": n, "peak_bytes": b}                   every answer

`build` returns a function that does the work n times and returns after all of it is done.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO, cast

from benchmarks.measure import Contender

ROOT = Path(__file__).resolve().parents[1]
# The user's choices of devices and threads would be made for one contender and not for another.
SET_BY_CONTENDERS = ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES", "OMP_NUM_THREADS")

Work = Callable[[int], object]


class WorkerError(RuntimeError):
    """A contender could not do its work."""


class Worker:
    """The side that asks.

    Attributes:
        n_calls: how often the work is done per request, chosen by the worker.
        peak_bytes: largest memory the process has had resident, after the last request.
    """

    def __init__(self, module: str, *, call_s: float = 0.4, **arguments: Any) -> None:
        """Start a process, build and compile the work there.

        Args:
            module: a module with a function `build`.
            call_s: about how long a request should take; work that takes longer is done once.
            **arguments: for `build`.
        """
        environment = {name: value for name, value in os.environ.items() if name not in SET_BY_CONTENDERS}
        command = [sys.executable, "-m", "benchmarks.worker"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.peak_bytes = 0
        self.n_calls = 0
        try:
            self.n_calls = self._ask({"module": module, "arguments": arguments, "call_s": call_s})
        except BaseException:
            self.close()
            raise

    def run(self) -> None:
        """Do the work `n_calls` times."""
        self._ask({"n_calls": self.n_calls})

    def contender(self, name: str) -> Contender:
        """This worker under a name, for `benchmarks.measure.alternate`."""
        return Contender(name, self.run)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _ask(self, request: dict[str, Any]) -> int:
        to, back = cast(TextIO, self._process.stdin), cast(TextIO, self._process.stdout)
        to.write(json.dumps(request) + "\n")
        to.flush()
        line = back.readline()
        if not line:
            raise WorkerError(f"the worker ended while it answered {request}; its own words stand above")
        answer = json.loads(line)
        self.peak_bytes = answer["peak_bytes"]
        return int(answer["n_calls"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def peak_bytes() -> int:
    """Largest resident memory of this process so far.

    Linux counts what a process was before it turned into another program to its `ru_maxrss`, which would be the
    parent's memory here; VmHWM does not.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def calibrated(work: Work, call_s: float) -> int:
    """How often to do the work so that it takes about `call_s`; the first time, which compiles, does not count.

    What a call costs besides the work may be most of a short one: longer ones are tried until one is half as
    long.
    """
    work(1)
    n_calls = 1
    for _ in range(4):
        start_s = time.perf_counter()
        work(n_calls)
        took_s = time.perf_counter() - start_s
        fitting = max(1, round(n_calls * call_s / took_s))
        if took_s > call_s / 2:
            break
        n_calls = fitting
    return fitting


def answer(requests: TextIO, answers: TextIO) -> None:
    """The side that works: answer every request, until there are no more."""
    work: Work | None = None
    for line in requests:
        request = json.loads(line)
        if work is None:
            work = cast(Work, importlib.import_module(request["module"]).build(**request["arguments"]))
            n_calls = calibrated(work, request["call_s"])
        else:
            n_calls = request["n_calls"]
            work(n_calls)
        answers.write(json.dumps({"n_calls": n_calls, "peak_bytes": peak_bytes()}) + "\n")
        answers.flush()


def main() -> None:
    """Answer on the pipe; whatever a library prints goes to the terminal and not between the answers."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        answer(sys.stdin, answers)


if __name__ == "__main__":
    main()
