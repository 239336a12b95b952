"""Processes of this machine: they die, run out of memory and are replaced; the numbers stay what they are."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import deque
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace

import pytest
from sweep_parts import LONG, TINY, bits, open_store, tiny_jobs

from dynaprobe.core import devices
from dynaprobe.core.settings import parse
from dynaprobe.study import engine_local
from dynaprobe.study.engine_local import LocalEngine, said_at_end
from dynaprobe.study.jobs import JobSettings
from dynaprobe.study.pieces import pieces_of, work
from dynaprobe.study.sweep import Job
from dynaprobe.study.sweeping import SweepStoppedError, run_sweep


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


def script(monkeypatch, code: str) -> None:
    """Processes that do what this code says, in place of workers."""
    monkeypatch.setattr(engine_local, "WORKER", (sys.executable, "-S", "-c", textwrap.dedent(code)))


def test_processes_that_end_at_their_start_stop_the_sweep_with_their_last_words(tmp_path, monkeypatch):
    code = "import sys; print('loading', file=sys.stderr); sys.exit('ImportError: libfoo.so: no such file')"
    script(monkeypatch, code)
    store, said = open_store(tmp_path / "store"), []
    jobs = tiny_jobs(20)
    with closing(LocalEngine(2, say=said.append)) as engine, pytest.raises(SweepStoppedError) as stopped:
        run_sweep(jobs, store, engine, n_members=1)
    first, *last = str(stopped.value).splitlines()
    assert re.match(r"No process could be started: [56] in a row ended before they could take up work\.", first)
    assert "What is finished is kept; mend this, and the same command goes on. The last one said:" in first
    assert last == ["  loading", "  ImportError: libfoo.so: no such file"]
    one = "A process did not start: the process ended with code 1; its last words: ImportError: libfoo.so: no such"
    assert said[:4] == [f"{one} file; another one is tried"] * 4
    assert len(said) in (5, 6)
    # No job is to blame.
    assert store.failures() == {}


def test_a_machine_that_starts_no_more_processes_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(engine_local, "WORKER", (str(tmp_path / "no_such_program"),))
    monkeypatch.setattr(engine_local, "TICK_S", 0.01)
    with closing(LocalEngine(2)) as engine, pytest.raises(SweepStoppedError) as stopped:
        run_sweep(tiny_jobs(), open_store(tmp_path / "store"), engine)
    assert "No process could be started: 5 in a row" in str(stopped.value)
    assert "No such file or directory" in str(stopped.value).splitlines()[-1]


def test_devices_that_do_not_start_are_not_the_fault_of_a_job(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "no_such_platform")
    monkeypatch.setattr(engine_local, "MOST_FAILED_STARTS", 1)
    with closing(LocalEngine(1)) as engine, pytest.raises(SweepStoppedError, match="no_such_platform"):
        run_sweep(tiny_jobs(1, [0.0]), open_store(tmp_path / "store"), engine)


ANSWERS = """
    import json, os, sys, pathlib
    out = os.fdopen(os.dup(1), "w")
    starts = pathlib.Path({count!r})
    n = len(starts.read_text()) if starts.exists() else 0
    with starts.open("a") as file:
        file.write("x")
    if n in {dying}:
        sys.exit("no memory")
    out.write("ready\\n"); out.flush()
    for line in sys.stdin:
        if n in {dying_at_work}:
            os.kill(os.getpid(), 9)
        jobs = [job["id"] for job in json.loads(line)["jobs"]]
        out.write(json.dumps(dict(kind="failed", reason="of process %d" % n, computed=[])) + "\\n"); out.flush()
"""


def test_a_start_that_fails_now_and_then_costs_no_try(tmp_path, monkeypatch):
    """Five in a row are too many; four are not, as often as it happens."""
    count = str(tmp_path / "starts")
    dying = (0, 1, 2, 3, 5, 6, 7, 8)
    script(monkeypatch, ANSWERS.format(count=count, dying=dying, dying_at_work=(4,)))
    (job,) = tiny_jobs(1, [0.0])
    said = []
    with closing(LocalEngine(1, say=said.append)) as engine:
        report = run_sweep([job], open_store(tmp_path / "store"), engine, n_tries=2)
    assert report.failures == {job.id: "of process 9 (try 2 of 2)"}
    assert len(said) == 8


def test_a_process_keeps_to_the_program_it_has_compiled(tmp_path):
    """Two that compile the same at once do so twice for nothing; what was lost comes first all the same."""
    jobs = [
        Job(parse(JobSettings, {**TINY, "network": {"n_units": size, "dt_ms": 20.0}}), seed)
        for size in (6, 7, 8)
        for seed in (0, 1)
    ]
    small, small_too, middle, middle_too, large, large_too = pieces_of(jobs, tmp_path, n_members=1)
    assert small.program == small_too.program != middle.program
    engine = LocalEngine(2)
    one, two, new = (SimpleNamespace(program=program) for program in (small.program, middle.program, None))
    engine._workers = [one, two, new]
    waiting = deque([small_too, middle_too, large, large_too])
    assert engine._chosen(new, waiting) is large
    assert engine._chosen(two, waiting) is middle_too
    assert list(waiting) == [small_too, large_too]
    new.program = large.program
    assert engine._chosen(new, waiting) is large_too
    assert engine._chosen(two, waiting) is small_too
    lost = replace(small, first=True)
    assert engine._chosen(two, deque([lost, middle])) is lost


def test_processes_that_live_go_on_where_no_more_can_be_started(tmp_path, monkeypatch):
    count = str(tmp_path / "starts")
    script(monkeypatch, ANSWERS.format(count=count, dying=tuple(range(1, 99)), dying_at_work=()))
    jobs = tiny_jobs(10)
    with closing(LocalEngine(1)) as engine:
        pieces = pieces_of(jobs, tmp_path, n_members=1)
        assert [outcome.reason for _, outcome in filter(None, engine.run(deque(pieces[:1])))] == ["of process 0"]
        engine.n_processes = 3
        ended = [outcome for _, outcome in filter(None, engine.run(deque(pieces)))]
    assert {outcome.reason for outcome in ended} == {"of process 0"}
    assert len(ended) == 20


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
