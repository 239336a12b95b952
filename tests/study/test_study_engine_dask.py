"""Dask: real schedulers and workers on loopback, killed and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from sweep_parts import LONG, bits, open_store

from dynaprobe.core.errors import SettingsError
from dynaprobe.core.settings import parse
from dynaprobe.study.jobs import JobSettings
from dynaprobe.study.pieces import Outcome, pieces_of, work
from dynaprobe.study.sweep import Job
from dynaprobe.study.sweeping import run_sweep

distributed = pytest.importorskip("distributed")

from dynaprobe.study import engine_dask  # noqa: E402
from dynaprobe.study.engine_dask import DaskEngine  # noqa: E402

# Its own loggers and event loops end some of their work after the tests do.
pytestmark = pytest.mark.filterwarnings("ignore")

JOBS = [Job(parse(JobSettings, LONG), seed) for seed in range(4)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    store = open_store(tmp_path_factory.mktemp("alone") / "store")
    for piece in pieces_of(JOBS, store.folder, n_members=2):
        assert '"done"' in work(piece.to_text())
    return bits(store.folder)


@pytest.fixture
def cached(monkeypatch):
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "true")
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(*words: str):
    """A process of Dask by hand, ended with its children whatever happens."""
    started = subprocess.Popen(
        [sys.executable, "-m", *words],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield started
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(started.pid, number)
            except ProcessLookupError:
                break
            time.sleep(0.5)
        started.wait()


def scheduler(port: int):
    words = ("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    return process(*words, "--no-show")


def worker(port: int):
    words = ("distributed.cli.dask_worker", f"tcp://127.0.0.1:{port}", "--nthreads", "1", "--no-dashboard")
    return process(*words, "--host", "127.0.0.1", "--death-timeout", "120")


def killing(store, stop: threading.Event, killed: list[int], n_kills: int) -> None:
    """Kill processes that hold a claim, each once it has left a checkpoint further than those before."""
    furthest = 0
    while not stop.wait(0.02) and len(killed) < n_kills:
        saved = [one.get("done", 0) for one in store.all_facts("checkpoints").values()]
        for facts in store.claims.at_work().values():
            if saved and max(saved) > furthest and facts["pid"] not in killed and "leader" in facts:
                furthest = max(saved)
                os.kill(facts["pid"], signal.SIGKILL)
                killed.append(facts["pid"])
                break


@contextmanager
def killer(store, n_kills):
    stop, killed = threading.Event(), []
    thread = threading.Thread(target=killing, args=(store, stop, killed, n_kills))
    thread.start()
    try:
        yield killed
    finally:
        stop.set()
        thread.join()


@pytest.mark.slow
def test_twenty_killed_workers_of_a_local_cluster_cost_only_time(tmp_path, cached, record_property):
    fit = {**LONG["fit"], "n_updates": 6000}
    jobs = [Job(parse(JobSettings, {**LONG, "fit": fit}), seed) for seed in range(4)]
    alone, store = open_store(tmp_path / "alone"), open_store(tmp_path / "store")
    for piece in pieces_of(jobs, alone.folder, n_members=2):
        assert '"done"' in work(piece.to_text())
    with ExitStack() as stack:
        cluster = stack.enter_context(
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
            )
        )
        engine = stack.enter_context(closing(DaskEngine(lambda: cluster.scheduler_address)))
        killed = stack.enter_context(killer(store, 20))
        report = run_sweep(jobs, store, engine, n_members=2)
    record_property("kills", len(killed))
    record_property("stored", len(report.computed) + len(report.by_others))
    assert len(set(killed)) == 20
    assert report.failures == {}
    assert len(set(report.computed)) == len(report.computed), "a job was computed twice"
    assert bits(store.folder) == bits(alone.folder)
    assert list(store.path("claims").iterdir()) == list(store.path("checkpoints").glob("[!.]*")) == []


@pytest.mark.slow
def test_a_scheduler_that_is_killed_and_started_again_is_found_again(tmp_path, cached, undisturbed, monkeypatch):
    """Scheduler and workers by hand; workers that lose their scheduler end, as under a queue."""
    monkeypatch.setattr(engine_dask, "CONNECT_S", 5.0)
    store, port, said = open_store(tmp_path / "store"), free_port(), []
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        first.enter_context(scheduler(port))
        first.enter_context(worker(port))
        first.enter_context(worker(port))
        finished = threading.Event()

        def restart() -> None:
            while not store.path("checkpoints").is_dir() or not list(store.path("checkpoints").glob("[!.]*.nc")):
                if finished.wait(0.05):
                    return
            first.close()
            stack.enter_context(scheduler(port))
            stack.enter_context(worker(port))

        restarting = threading.Thread(target=restart)
        restarting.start()
        try:
            with closing(DaskEngine(lambda: f"tcp://127.0.0.1:{port}", say=said.append)) as engine:
                report = run_sweep(JOBS, store, engine, n_members=2)
        finally:
            finished.set()
            restarting.join()
    assert any("connection to the scheduler was lost" in text for text in said)
    assert report.failures == {}
    assert bits(store.folder) == undisturbed


def stored_and_read(folder: str) -> float:
    """Named and imported on a worker, as work is."""
    store = open_store(Path(folder) / str(os.getpid()))
    store.save("networks/x", {"g": xr.Dataset({"x": ("n", np.arange(3.0))})}, {"id": "x"})
    return float(store.load("networks/x")["g"]["x"].sum())


def test_a_worker_writes_and_reads_results_without_locks_of_the_cluster(tmp_path):
    """With a client in its process xarray would ask the scheduler for a lock on memory, and fail."""
    options = {"processes": False, "protocol": "tcp", "host": "127.0.0.1", "dashboard_address": None}
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, **options) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert client.submit(stored_and_read, str(tmp_path)).result(timeout=60) == 3.0


def test_no_scheduler_is_a_sentence(monkeypatch):
    said = []
    monkeypatch.setattr(engine_dask, "TICK_S", 0.05)
    monkeypatch.setattr(engine_dask, "PATIENCE_S", 0.5)
    monkeypatch.setattr(engine_dask, "CONNECT_S", 0.3)
    (piece,) = pieces_of(JOBS[:1], Path("nowhere"), n_members=1)
    with (
        closing(DaskEngine(lambda: f"tcp://127.0.0.1:{free_port()}", say=said.append)) as engine,
        pytest.raises(SettingsError, match=r"--scheduler must be the address of a Dask scheduler.*dask scheduler"),
    ):
        list(engine.run(deque([piece])))
    assert len(said) == 1
    assert "No scheduler answers at tcp://127.0.0.1:" in said[0]


def test_what_is_tried_again_goes_before_what_waits_at_the_scheduler():
    (piece,) = pieces_of(JOBS[:1], Path("nowhere"), n_members=1)
    said: list[int] = []

    class Client:
        def submit(self, *_, priority, **__):
            said.append(priority)
            return Future()

        def close(self, timeout):
            pass

    class Future:
        status = "finished"

        def result(self, timeout):
            return Outcome("failed", "x").to_text()

    with closing(DaskEngine(lambda: "nowhere")) as engine:
        engine._client = Client()
        engine._wait = lambda futures: None
        waiting = deque([piece, piece])
        running = engine.run(waiting)
        next(running)
        waiting.append(replace(piece, first=True))
        list(running)
    assert said == [0, 0, 1]


def test_a_scheduler_without_workers_is_said_once(tmp_path, monkeypatch):
    monkeypatch.setattr(engine_dask, "TICK_S", 0.05)
    options = {"host": "127.0.0.1", "dashboard_address": None, "protocol": "tcp"}
    (piece,) = pieces_of(JOBS[:1], tmp_path, n_members=1)
    said = []
    with (
        distributed.LocalCluster(n_workers=0, **options) as cluster,
        closing(DaskEngine(lambda: cluster.scheduler_address, say=said.append)) as engine,
    ):
        running = engine.run(deque([piece]))
        assert [next(running) for _ in range(3)] == [None] * 3
    assert said == ["The scheduler has no workers; the sweep goes on as soon as one joins"]
