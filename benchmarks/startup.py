"""Seconds from the start of a process to the end of the first update of ``dynaprobe train`` with its defaults."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import Contender, Outcome, Row, alternate, spread
from benchmarks.worker import ROOT

EMPTY, FILLED = "empty cache", "filled cache"


def measure(*, quick: bool) -> Outcome:
    """Start with an empty cache of compiled programs, then with the one this start has filled, in turns.

    Args:
        quick: one round, to see that everything works.
    """
    with TemporaryDirectory() as scratch:
        cache, out = Path(scratch, "cache"), Path(scratch, "run")
        environment = {**os.environ, "DYNAPROBE_CACHE": str(cache)}

        def start() -> None:
            shutil.rmtree(out, ignore_errors=True)
            subprocess.run(
                [sys.executable, "-m", "benchmarks.first_update", str(out)], cwd=ROOT, env=environment, check=True
            )

        def start_empty() -> None:
            shutil.rmtree(cache, ignore_errors=True)
            start()

        times_s = alternate([Contender(EMPTY, start_empty), Contender(FILLED, start)], 1 if quick else 5)
    seconds = {name: spread(values) for name, values in times_s.items()}
    rows: list[Row] = [
        {"start": name, "median_s": found.median, "min_s": found.low, "max_s": found.high}
        for name, found in seconds.items()
    ]
    summary = (
        f"Start: `dynaprobe train` has done its first update after {seconds[FILLED].median:.1f} s, and after "
        f"{seconds[EMPTY].median:.1f} s the first time, when it compiles."
    )
    return Outcome(rows, summary)
