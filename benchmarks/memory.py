"""Peak resident memory of training one large network on long trials."""

from __future__ import annotations

import sys
import time

from benchmarks.measure import Outcome, Row
from benchmarks.worker import Worker

GIB = 2**30
SIZES = ((1000, 64, 1000), (256, 64, 1000), (100, 64, 150))
QUICK_SIZES = ((50, 8, 60),)


def measure(*, quick: bool) -> Outcome:
    """A few updates of one network per size, each size in a fresh process.

    Args:
        quick: one small size, to see that everything works.
    """
    rows: list[Row] = []
    for n_units, batch_size, n_steps in QUICK_SIZES if quick else SIZES:
        print(f"  N {n_units}, {n_steps} steps", file=sys.stderr, flush=True)
        size = {"n_units": n_units, "batch_size": batch_size, "n_steps": n_steps}
        with Worker("benchmarks.engine", call_s=0.0, **size, n_members=1) as worker:
            start_s = time.perf_counter()
            worker.run()
            update_s = time.perf_counter() - start_s
        rows.append({**size, "peak_gib": worker.peak_bytes / GIB, "update_s": update_s})
    largest = rows[0]
    summary = (
        f"Memory: one network of {largest['n_units']} units, {largest['batch_size']} trials of "
        f"{largest['n_steps']} steps, trains in {largest['peak_gib']:.1f} GiB (peak of the whole process)."
    )
    return Outcome(rows, summary)
