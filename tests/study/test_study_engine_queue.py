"""Queues: what they are given, where their scheduler listens, and one that starts it on this machine."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path

import dask
import pytest
from sweep_parts import LONG, bits, open_store

from dynaprobe.core.errors import SettingsError
from dynaprobe.core.settings import parse
from dynaprobe.study import engine_table
from dynaprobe.study.jobs import JobSettings
from dynaprobe.study.pieces import pieces_of, work
from dynaprobe.study.sweep import Job
from dynaprobe.study.sweeping import run_sweep

pytest.importorskip("dask_jobqueue")

from dynaprobe.study import engine_dask, engine_queue
from dynaprobe.study.engine_dask import DaskEngine
from dynaprobe.study.engine_queue import QueueEngine, job_script

# Its own loggers and event loops end some of their work after the tests do.
pytestmark = pytest.mark.filterwarnings("ignore")

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
        (
            "slurm",
            {**QUEUE, "scheduler_options": {}},
            "cluster.interface must name the network between the nodes, but got nothing, so that the scheduler "
            'would listen on all networks.*"ib0" .this machine has .*lo',
        ),
        ("slurm", {**QUEUE, "interface": 3}, 'cluster.interface must be given as a name such as "ib0", but got 3'),
        ("slurm", {**QUEUE, "scheduler_options": "lo"}, "cluster.scheduler_options must be given as a table"),
        (
            "slurm",
            {**QUEUE, "scheduler_options": {}, "interface": "no_such"},
            "cluster must hold options of SLURMCluster, but got .*'no_such' is not a valid network interface",
        ),
        ("slurm", {**QUEUE, "walltme": "1:00"}, "cluster must hold options of SLURMCluster, but got .*walltme"),
    ],
)
def test_a_table_that_a_queue_does_not_take_is_a_sentence(kind, options, sentence):
    with pytest.raises(SettingsError, match=sentence):
        job_script(kind, options)


@pytest.mark.parametrize(
    "more",
    [
        {"interface": "lo"},
        {"scheduler_options": {"host": "127.0.0.1"}},
        {"scheduler_options": {"interface": "lo"}},
    ],
)
def test_the_scheduler_listens_where_it_was_told_and_shows_no_page(more):
    """Whoever reaches it can have it run anything, and left alone Dask opens both to all networks."""
    options = {name: QUEUE[name] for name in ("cores", "memory", "walltime")}
    cluster = engine_queue.make_cluster("slurm", {**options, **more})
    try:
        passed = cluster.scheduler_spec["options"]
        assert passed["dashboard_address"] is None
        assert {name: passed.get(name) for name in ("host", "interface")} in (
            {"host": "127.0.0.1", "interface": None},
            {"host": None, "interface": "lo"},
        )
        assert [listener.bound_address[0] for listener in cluster.scheduler.listeners] == ["127.0.0.1"]
        assert cluster.scheduler_address.startswith("tcp://127.0.0.1:")
    finally:
        cluster.close(timeout=10)


def test_a_scheduler_with_tls_answers_those_with_its_certificate(tmp_path, monkeypatch):
    pytest.importorskip("cryptography")
    options = {name: QUEUE[name] for name in ("cores", "memory", "walltime")}
    secured = {"interface": "lo", "protocol": "tls://", "security": True, "shared_temp_directory": str(tmp_path)}
    cluster = engine_queue.make_cluster("slurm", {**options, **secured})
    try:
        assert cluster.scheduler_address.startswith("tls://127.0.0.1:")
        assert f"--tls-key {tmp_path}" in cluster.job_script()
        with closing(DaskEngine(lambda: cluster.scheduler_address, security=cluster.security)) as engine:
            assert engine._connected().scheduler_info()["workers"] == {}
        monkeypatch.setattr(engine_dask, "CONNECT_S", 1.0)
        monkeypatch.setattr(engine_dask, "PATIENCE_S", 0.0)
        with (
            closing(DaskEngine(lambda: cluster.scheduler_address)) as engine,
            pytest.raises((SettingsError, TypeError)),
        ):
            engine._connected()
    finally:
        cluster.close(timeout=10)


def test_a_network_from_the_settings_of_dask_counts():
    options = {name: QUEUE[name] for name in ("cores", "memory", "walltime")}
    with dask.config.set({"jobqueue.slurm.interface": "lo"}):
        assert "dask_worker tcp://127.0.0.1:" in job_script("slurm", options)


def test_a_page_is_there_for_those_who_ask_for_it():
    options = {**QUEUE, "scheduler_options": {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}}
    assert engine_queue._listening("slurm", options)["dashboard_address"] == "127.0.0.1:0"


def test_a_machine_without_the_queue_is_a_sentence(tmp_path, monkeypatch):
    """Dask would write it to a log and wait for workers for ever."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        SettingsError, match="--cluster must be started where sbatch can be run, but got slurm on a"
    ):
        QueueEngine("slurm", QUEUE)


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
def test_a_queue_that_starts_what_it_is_given(tmp_path, monkeypatch):
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
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "true")
    alone, store = open_store(tmp_path / "alone"), open_store(tmp_path / "store")
    for piece in pieces_of(JOBS, alone.folder, n_members=2):
        assert '"done"' in work(piece.to_text())
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
    assert bits(store.folder) == bits(alone.folder)
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
