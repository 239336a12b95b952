"""Dask: real schedulers and workers on loopback, killed and started again; and what a queue would be given."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import tomllib
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from sweep_parts import TINY, bits, open_store

from dynaprobe.core.errors import SettingsError
from dynaprobe.core.settings import parse
from dynaprobe.study import engine_table
from dynaprobe.study.jobs import JobSettings
from dynaprobe.study.pieces import pieces_of, work
from dynaprobe.study.sweep import Job
from dynaprobe.study.sweeping import run_sweep

distributed = pytest.importorskip("distributed")
pytest.importorskip("dask_jobqueue")

from dynaprobe.study import engine_dask  # noqa: E402
from dynaprobe.study.engine_dask import DaskEngine, QueueEngine, job_script  # noqa: E402

# Its own loggers and event loops end some of their work after the tests do.
pytestmark = pytest.mark.filterwarnings("ignore")

LONG = {**TINY, "fit": {**TINY["fit"], "n_updates": 1600, "checkpoint_every": 200, "validate_every": 100}}
JOBS = [Job(parse(JobSettings, LONG), seed) for seed in range(4)]
QUEUE = {
    "cores": 4,
    "memory": "8GB",
    "queue": "normal",
    "account": "lab",
    "walltime": "12:00:00",
    "job_extra_directives": ["--requeue"],
    "scheduler_options": {"host": "127.0.0.1", "dashboard_address": None},
}


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
def test_killed_workers_of_a_local_cluster_cost_only_time(tmp_path, cached, undisturbed):
    store = open_store(tmp_path / "store")
    with ExitStack() as stack:
        cluster = stack.enter_context(
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
            )
        )
        engine = stack.enter_context(closing(DaskEngine(lambda: cluster.scheduler_address)))
        killed = stack.enter_context(killer(store, 3))
        report = run_sweep(JOBS, store, engine, n_members=2)
    assert len(killed) == 3
    assert report.failures == {}
    assert bits(store.folder) == undisturbed
    assert list(store.path("claims").iterdir()) == []


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
        list(engine.run([piece]))
    assert len(said) == 1
    assert "No scheduler answers at tcp://127.0.0.1:" in said[0]


def test_the_script_for_slurm_says_what_the_table_says():
    """Read line by line: resources, one process per core, one thread each, pinned in the environment."""
    lines = job_script("slurm", QUEUE).splitlines()
    for directive in ("-p normal", "-A lab", "--cpus-per-task=4", "-t 12:00:00", "--requeue", "-n 1"):
        assert f"#SBATCH {directive}" in lines
    assert any(line.startswith("#SBATCH --mem=8G") for line in lines)
    for name in ("JAX_NUM_CPU_DEVICES", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        assert f"export {name}='1'" in lines
    command = lines[-1]
    assert f"{sys.executable} -m distributed.cli.dask_worker tcp://127.0.0.1:" in command
    for words in ("--nthreads 1", "--nworkers 4", "--nanny"):
        assert words in command
    assert lines.index("export OMP_NUM_THREADS='1'") < len(lines) - 1


@pytest.mark.parametrize(("kind", "mark"), [("pbs", "#PBS"), ("sge", "#$"), ("lsf", "#BSUB"), ("oar", "#OAR")])
def test_every_queue_has_its_own_words(kind, mark):
    options = {name: QUEUE[name] for name in ("cores", "memory", "queue", "walltime", "scheduler_options")}
    script = job_script(kind, options)
    assert mark in script
    assert "--nthreads 1 --" in script
    assert "export OMP_NUM_THREADS='1'" in script


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        ("torque", {}, "--cluster must be one of slurm, pbs, sge, lsf, htcondor, oar, but got torque"),
        ("slurm", {"memory": "8GB"}, "cluster.cores must be given"),
        ("slurm", {**QUEUE, "cores": 0}, "cluster.cores must be given as a whole number from 1, but got 0"),
        (
            "slurm",
            {**QUEUE, "n_jobs": "two"},
            "cluster.n_jobs must be given as a whole number from 1, but got two",
        ),
        ("slurm", {**QUEUE, "memory": 64}, 'cluster.memory must be given as a text such as "32GB", but got 64'),
        (
            "slurm",
            {**QUEUE, "job_script_prologue": "module load python"},
            "cluster.job_script_prologue must be given as a list of lines, but got module load python",
        ),
        ("slurm", {**QUEUE, "walltme": "1:00"}, "cluster must hold options of SLURMCluster, but got .*walltme"),
    ],
)
def test_a_table_that_a_queue_does_not_take_is_a_sentence(kind, options, sentence):
    with pytest.raises(SettingsError, match=sentence):
        job_script(kind, options)


def test_a_machine_without_the_queue_is_a_sentence(tmp_path, monkeypatch):
    """Dask would write it to a log and wait for workers for ever."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        SettingsError, match="--cluster must be started where sbatch can be run, but got slurm on a"
    ):
        QueueEngine("slurm", QUEUE)


def test_a_scheduler_without_workers_is_said_once(tmp_path, monkeypatch):
    monkeypatch.setattr(engine_dask, "TICK_S", 0.05)
    options = {"host": "127.0.0.1", "dashboard_address": None, "protocol": "tcp"}
    (piece,) = pieces_of(JOBS[:1], tmp_path, n_members=1)
    said = []
    with (
        distributed.LocalCluster(n_workers=0, **options) as cluster,
        closing(DaskEngine(lambda: cluster.scheduler_address, say=said.append)) as engine,
    ):
        running = engine.run([piece])
        assert [next(running) for _ in range(3)] == [None] * 3
    assert said == ["The scheduler has no workers; the sweep goes on as soon as one joins"]


def test_options_that_exclude_each_other_are_refused():
    with pytest.raises(SettingsError, match="--scheduler must be given without --cluster"):
        engine_table.engine_of(scheduler="tcp://127.0.0.1:1", cluster="slurm", options={})
    with pytest.raises(SettingsError, match="--show-script must come with --cluster"):
        engine_table.job_script(None, {})


@pytest.mark.parametrize("missing", ["distributed", "dask_jobqueue"])
def test_what_is_not_installed_is_named_with_its_extra(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(
        SettingsError, match=r"must have dask.* installed.*pip install 'dynaprobe\[(dask|cluster)\]'"
    ):
        job_script("slurm", QUEUE)


@pytest.mark.slow
def test_a_queue_that_starts_what_it_is_given(tmp_path, cached, undisturbed, monkeypatch):
    """In place of SLURM, two programs that run the very script as a job of this machine and that end it."""
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    for name, lines in {
        "sbatch": f'cp "$1" {jobs}/job.sh\nsetsid bash {jobs}/job.sh > {jobs}/log 2>&1 &\necho $! > {jobs}/pid\n'
        'echo "Submitted batch job $(cat ' + f'{jobs}/pid)"\n',
        "scancel": 'kill -TERM -- "-$1"\n',
    }.items():
        file = tmp_path / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/bash\n{lines}")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    store = open_store(tmp_path / "store")
    options = {**QUEUE, "cores": 2, "n_jobs": 1}
    try:
        with closing(QueueEngine("slurm", options)) as engine:
            report = run_sweep(JOBS, store, engine, n_members=2)
    finally:
        pid = jobs / "pid"
        if pid.is_file():
            subprocess.run(
                ["kill", "-KILL", "--", f"-{pid.read_text().strip()}"], check=False, capture_output=True
            )
    assert sorted(report.computed) == sorted(job.id for job in JOBS)
    assert bits(store.folder) == undisturbed
    assert "--requeue" in (jobs / "job.sh").read_text()


def test_the_example_for_slurm_in_the_documentation_gives_a_job():
    text = (Path(__file__).resolve().parents[2] / "docs" / "sweeps.md").read_text(encoding="utf-8")
    block = text.partition("<!-- slurm:start -->")[2].partition("<!-- slurm:end -->")[0]
    options = tomllib.loads(block.replace("```toml", "").replace("```", ""))["cluster"]
    # This machine has no such network: the scheduler of the test listens on loopback.
    del options["interface"]
    lines = job_script("slurm", {**options, "scheduler_options": QUEUE["scheduler_options"]}).splitlines()
    for line in ("#SBATCH -p normal", "#SBATCH -A lab", "#SBATCH --cpus-per-task=16", "#SBATCH -t 24:00:00"):
        assert line in lines
    assert "#SBATCH --requeue" in lines
    assert lines.index("module load python/3.11") < lines.index("export OMP_NUM_THREADS='1'") < len(lines) - 1
    assert "--nthreads 1 --" in lines[-1]
    assert "--nworkers 16" in lines[-1]
