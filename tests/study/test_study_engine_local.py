"""Processes of this machine: they die, run out of memory and are replaced; the numbers stay what they are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
from sweep_parts import TINY, bits, open_store, tiny_jobs

from dynaprobe.core import devices
from dynaprobe.core.settings import parse
from dynaprobe.study.engine_local import LocalEngine, said_at_end
from dynaprobe.study.jobs import JobSettings
from dynaprobe.study.pieces import pieces_of, work
from dynaprobe.study.sweep import Job
from dynaprobe.study.sweeping import run_sweep

# As TINY, but long enough to be killed on the way.
LONG = {**TINY, "fit": {**TINY["fit"], "n_updates": 1600, "checkpoint_every": 200, "validate_every": 100}}


@pytest.fixture
def cached(tmp_path_factory, monkeypatch):
    """Processes share their compiled programs, in a cache of their own."""
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "true")
    monkeypatch.setenv("DYNAPROBE_CACHE", os.environ["DYNAPROBE_CACHE"])


def kill_on_the_way(store, stop: threading.Event, killed: list[int], *, n_kills: int) -> None:
    """Kill whichever process has got further than the last checkpoint it was killed at."""
    furthest = 0
    while not stop.wait(0.02) and len(killed) < n_kills:
        for facts in store.claims.at_work().values():
            saved = [one.get("done", 0) for one in store.all_facts("checkpoints").values()]
            if saved and max(saved) > furthest and facts["pid"] not in (*killed, os.getpid()):
                furthest = max(saved)
                os.kill(facts["pid"], signal.SIGKILL)
                killed.append(facts["pid"])
                break


@pytest.mark.slow
def test_a_killed_process_is_replaced_and_its_work_gone_on_with(tmp_path, cached):
    jobs = [Job(parse(JobSettings, LONG), seed) for seed in (0, 1)]
    alone = open_store(tmp_path / "alone")
    (piece,) = pieces_of(jobs, alone.folder, n_members=2)
    assert '"done"' in work(piece.to_text())
    store = open_store(tmp_path / "store")
    stop, killed = threading.Event(), []
    killer = threading.Thread(target=kill_on_the_way, args=(store, stop, killed), kwargs={"n_kills": 2})
    killer.start()
    try:
        with closing(LocalEngine(1)) as engine:
            report = run_sweep(jobs, store, engine, n_members=2)
    finally:
        stop.set()
        killer.join()
    assert len(set(killed)) == 2, "the work was done before it could be killed"
    assert sorted(report.computed) == sorted(job.id for job in jobs)
    assert bits(store.folder) == bits(alone.folder)
    assert list(store.path("checkpoints").iterdir()) == list(store.path("claims").iterdir()) == []


def test_a_process_ends_with_the_one_that_started_it(tmp_path):
    """However that ends: its orphans would hold on to their claims."""
    code = (
        "import os, sys, time; from dynaprobe.study.engine_local import _Worker\n"
        "worker = _Worker(None); print(worker._process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 60
    while os.path.exists(f"/proc/{pid}") and _is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_running(pid)


def _is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_a_process_said_last_is_part_of_the_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "no_such_platform")
    store = open_store(tmp_path / "store")
    with closing(LocalEngine(1)) as engine:
        report = run_sweep(tiny_jobs(1, [0.0]), store, engine, n_tries=1)
    (reason,) = report.failures.values()
    assert "no_such_platform" in reason


def test_a_process_keeps_to_one_device_and_one_thread():
    environment = devices.one_core_environment()
    assert environment["JAX_NUM_CPU_DEVICES"] == "1"
    assert all(flag in environment["XLA_FLAGS"] for flag in devices.FLAGS.values())
    assert {environment[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")} == {
        "1"
    }


@pytest.mark.slow
def test_a_job_that_needs_too_much_memory_fails_alone(tmp_path, cached):
    """Under a limit of 4 GB of addresses; the large job alone asks for a matrix of 10 GB."""
    large = parse(JobSettings, {**TINY, "network": {"n_units": 50_000, "dt_ms": 20.0}})
    small = tiny_jobs(2, [0.0])
    store = open_store(tmp_path / "store")
    with closing(LocalEngine(1, memory_gb=4.0)) as engine:
        report = run_sweep([*small, Job(large, 0)], store, engine, n_tries=2)
    assert sorted(report.computed) == sorted(job.id for job in small)
    (reason,) = report.failures.values()
    assert "memory" in reason
    assert "try 2 of 2" in reason
    assert store.failures() == report.failures


@pytest.mark.parametrize(
    ("code", "log", "sentence"),
    [
        (0, "", "the process ended with code 0"),
        (1, "File x\nImportError: y\n\n", "the process ended with code 1; its last words: ImportError: y"),
        (-9, "", "the process ended by signal 9 (SIGKILL), as when memory runs out or someone kills it"),
        (-11, "MemoryError: a\nb",
         "the process ran out of memory and ended by signal 11 (SIGSEGV); its last words: b"),
        (-40, "", "the process ended by signal 40"),
    ],
)  # fmt: skip
def test_the_end_of_a_process_is_one_sentence(code, log, sentence):
    assert said_at_end(code, log) == sentence
