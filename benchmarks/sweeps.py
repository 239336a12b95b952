"""Sweeps: two processes against one, what scheduling and storing cost, and tables of thousands of results."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.measure import Outcome, Row, short, spread
from benchmarks.worker import ROOT

N_NETWORKS, N_UPDATES, N_RESULTS = 16, 1000, 10_000
WHERE = "activation == 'tanh' and penalty_rate > 0"
# But for the number of updates in a quick run, the training that dynaprobe does where a user says nothing else.
SETTINGS = """
[fit]
n_updates = {n_updates}
[sweep]
seeds = {n_seeds}
together = 4
grid."network.activation" = ["tanh", "relu"]
"""


def measure(*, quick: bool) -> Outcome:
    """All three, each from the start of the command to its end.

    Args:
        quick: few networks, updates and results, to see that everything works.
    """
    with TemporaryDirectory() as scratch:
        rows = [*_processes(Path(scratch), quick=quick), *_overhead(Path(scratch), quick=quick)]
        rows += _tables(Path(scratch), quick=quick)
    figures = {str(row["what"]): row["median"] for row in rows}
    share, percent, slow, fast = (
        short(figures[name])
        for name in ("two over one", "percent of a 30 s job", "table, no index", "table, index")
    )
    words = (
        f"Sweeps: {N_NETWORKS} networks of 100 units, half tanh and half relu, with default settings ({N_UPDATES} "
        f"updates of 64 trials), four of them together: two processes of one thread take {share} of the time of "
        "one, from the command to its end, with compiled programs in the cache. Scheduling and storing take "
        f"{percent} % of a job of 30 s. A store of {N_RESULTS} results is listed and filtered in {slow} s without "
        f"its index and in {fast} s with it, command and all."
    )
    return Outcome(rows, "" if quick else words)


def _row(what: str, values: list[float]) -> Row:
    found = spread(values)
    return {"what": what, "median": found.median, "min": found.low, "max": found.high}


def _run(*words: str | Path) -> str:
    command = [sys.executable, "-m", "dynaprobe.cli.app", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, env=os.environ)
    return done.stdout


def _processes(scratch: Path, *, quick: bool) -> list[Row]:
    """One process, which has one device and one thread, against two of them.

    A sweep before, which is not counted, fills the cache of compiled programs. Each is then timed once: they take
    minutes, in which what disturbs a machine for a moment evens out.
    """
    settings = scratch / "sweep.toml"
    n_updates, n_seeds = (20, 2) if quick else (N_UPDATES, N_NETWORKS // 2)
    settings.write_text(SETTINGS.format(n_updates=n_updates, n_seeds=n_seeds), encoding="utf-8")
    wall_s: list[float] = []
    processor_s: list[float] = []
    for turn, n_processes in enumerate((2, 1, 2)):
        begin, before = time.perf_counter(), os.times()
        _run("sweep", settings, "--out", scratch / f"sweep-{turn}", "--processes", str(n_processes))
        wall_s.append(time.perf_counter() - begin)
        after = os.times()
        own = (after.children_user + after.children_system) - (before.children_user + before.children_system)
        processor_s.append(own)
    return [
        _row("two processes that fill the cache, s", [wall_s[0]]),
        _row("one process, s", [wall_s[1]]),
        _row("two processes, s", [wall_s[2]]),
        _row("two over one", [wall_s[2] / wall_s[1]]),
        _row("cores that one process used", [processor_s[1] / wall_s[1]]),
        _row("cores that two processes used", [processor_s[2] / wall_s[2]]),
    ]


def _overhead(scratch: Path, *, quick: bool) -> list[Row]:
    """What a job costs beside its training: piece as text, claim, checkpoint, file with its seal.

    Jobs have 100 units and 1000 updates of history, and are stored by what stores them in a sweep.
    """
    import xarray as xr  # noqa: PLC0415

    from dynaprobe.core.settings import parse  # noqa: PLC0415
    from dynaprobe.study.deltas import jobs_of  # noqa: PLC0415
    from dynaprobe.study.jobs import JobSettings  # noqa: PLC0415
    from dynaprobe.study.pieces import Piece, pieces_of  # noqa: PLC0415
    from dynaprobe.study.store_sweep import SweepStore  # noqa: PLC0415

    store = SweepStore(scratch / "overhead")
    store.open()
    rng = np.random.default_rng(0)
    weights = xr.Dataset({"w_rec": (("post", "pre"), rng.normal(size=(100, 100)).astype(np.float32))})
    history = xr.Dataset({f"v{k}": ("update", rng.normal(size=1000).astype(np.float32)) for k in range(8)})
    jobs = jobs_of(parse(JobSettings, {}), [{}], range(5 if quick else 50), seed=0)
    times = []
    for piece in pieces_of(jobs, store.folder, n_members=1):
        begin = time.perf_counter()
        (job,) = Piece.from_text(piece.to_text()).jobs
        claim = store.claim(job.id)
        store.has(f"networks/{job.id}")
        facts = {"id": job.id, "settings": job.settings.model_dump(mode="json")}
        store.save(f"checkpoints/{job.id}", {"state": weights})
        store.save(f"networks/{job.id}", {"network": weights, "history": history}, facts)
        store.remove(f"checkpoints/{job.id}")
        store.all_facts("checkpoints")
        if claim is not None:
            claim.release()
        times.append(time.perf_counter() - begin)
    return [
        _row("scheduling and storing a job, s", times),
        _row("percent of a 30 s job", [t / 0.3 for t in times]),
    ]


def _tables(scratch: Path, *, quick: bool) -> list[Row]:
    """Results with the facts of real ones, some two thousand characters each."""
    from dynaprobe.core.settings import parse  # noqa: PLC0415
    from dynaprobe.study.deltas import jobs_of  # noqa: PLC0415
    from dynaprobe.study.jobs import JobSettings  # noqa: PLC0415
    from dynaprobe.study.store_seal import seal  # noqa: PLC0415

    folder = scratch / "table"
    (folder / "networks").mkdir(parents=True)
    changes = [
        {"network.activation": name, "fit.penalty_rate": rate} for name in ("tanh", "relu") for rate in (0.0, 0.1)
    ]
    settings = [jobs_of(parse(JobSettings, {}), [change], [0], seed=0)[0].settings for change in changes]
    plain = [one.model_dump(mode="json") for one in settings]
    for k in range(100 if quick else N_RESULTS):
        facts = {"id": f"job-{k:06d}", "status": "converged", "seed": k, "scores": {"score": k / 1e4}}
        file = folder / "networks" / f"job-{k:06d}.nc"
        file.write_bytes(seal(bytes(4096), {**facts, "settings": plain[k % 4]}))
    without: list[float] = []
    with_index: list[float] = []
    for _ in range(1 if quick else 3):
        (folder / "index.jsonl").unlink(missing_ok=True)
        for times in (without, with_index):
            begin = time.perf_counter()
            _run("runs", folder, "--where", WHERE)
            times.append(time.perf_counter() - begin)
    return [_row("table, no index", without), _row("table, index", with_index)]
