"""A sweep by the command line under everything that happens to one: kill -9, disks, two at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sweep_parts import bits

from dynaprobe.study.store_files import check_whole
from dynaprobe.study.store_index import rows_of

N_JOBS, N_KILLS = 12, 20
SETTINGS = """
[task]
dt_ms = 20.0
delay_range_ms = [100.0, 200.0]
catch_fraction = 0.0
n_targets = 4
[network]
n_units = 8
dt_ms = 20.0
[fit]
n_updates = 600
batch_size = 4
n_validation_trials = 8
validate_every = 50
checkpoint_every = 50
[sweep]
seeds = 6
together = 2
tries = 2
grid."fit.penalty_rate" = [0.0, 0.1]
"""


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Path:
    # Processes share their compiled programs.
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "true")
    file = tmp_path / "my.toml"
    file.write_text(SETTINGS)
    return file


def command(settings: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "dynaprobe.cli.app", "sweep", str(settings), "--out", str(out), *more]


def finished(out: Path) -> dict[str, tuple[int, bytes]]:
    """Inode and bytes of every result: a file computed again would have another inode and another time inside."""
    return {
        file.name: (file.stat().st_ino, file.read_bytes()) for file in sorted((out / "networks").glob("[!.]*.nc"))
    }


def wait_for_work(out: Path, process: subprocess.Popen, before: float) -> None:
    """Until a job is claimed that has told of an update, or the sweep is over."""
    while process.poll() is None:
        for claim in (out / "claims").glob("*.claim") if (out / "claims").is_dir() else ():
            if claim.stat().st_mtime > before and b'"note"' in claim.read_bytes():
                return
        time.sleep(0.02)


@pytest.mark.slow
def test_twenty_kills_lose_nothing_compute_nothing_twice_and_change_no_bit(tmp_path, settings, record_property):
    alone, out = tmp_path / "alone", tmp_path / "killed"
    longer = ("--set", "fit.n_updates=6000", "--set", "fit.checkpoint_every=200")
    duration_s = train_undisturbed(command(settings, alone, *longer), alone)
    rng = np.random.default_rng(0)
    before: dict[str, tuple[int, bytes]] = {}
    n_kills = n_twice = n_lost = 0
    for k in range(N_KILLS):
        with subprocess.Popen(
            command(settings, out, *longer), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as sweep:
            if k % 4:  # three of four kills fall into the training, the others anywhere, starts included
                wait_for_work(out, sweep, time.time())
            # All of them together leave some of the work for the end.
            time.sleep(rng.uniform(0, duration_s / N_KILLS if k % 4 else 5))
            n_kills += sweep.poll() is None
            sweep.send_signal(signal.SIGKILL)
        after = finished(out) if out.is_dir() else {}
        n_lost += len(before.keys() - after.keys())
        n_twice += sum(after[name] != before[name] for name in before.keys() & after.keys())
        before = after
    ended = subprocess.run(command(settings, out, *longer), check=True, capture_output=True, text=True)
    after = finished(out)
    n_lost += len(before.keys() - after.keys())
    n_twice += sum(after[name] != before[name] for name in before.keys() & after.keys())
    same = sum(bits(out)[name] == content for name, content in bits(alone).items())
    figures = {"kills": n_kills, "before_the_last_start": len(before), "lost": n_lost, "twice": n_twice}
    for name, value in {**figures, "bit_equal": same}.items():
        record_property(name, value)
    assert (n_kills, n_lost, n_twice) == (N_KILLS, 0, 0)
    assert len(after) == same == N_JOBS
    for file in (out / "networks").glob("*.nc"):
        check_whole(file)
    assert list((out / "checkpoints").glob("[!.]*")) == list((out / "claims").iterdir()) == []
    assert f"{N_JOBS - len(before)} networks trained" in ended.stdout


def train_undisturbed(words: list[str], out: Path) -> float:
    """How long the training itself takes, from the first update that is told."""
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as sweep:
        wait_for_work(out, sweep, time.time())
        begin = time.monotonic()
    assert sweep.returncode == 0
    return time.monotonic() - begin


@pytest.mark.slow
def test_two_sweeps_at_the_same_time_share_the_work(tmp_path, settings):
    alone, out = tmp_path / "alone", tmp_path / "shared"
    subprocess.run(command(settings, alone), check=True, capture_output=True)
    both = [
        subprocess.Popen(command(settings, out, "--processes", "1"), stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert bits(out) == bits(alone)
    trained = [int(text.rpartition(" networks trained")[0].split()[-1]) for text in said]
    assert sum(trained) == N_JOBS, "a job was computed twice, or by nobody"


@pytest.mark.slow
def test_a_disk_that_is_full_ends_the_sweep_with_a_sentence_and_a_sound_store(tmp_path, settings):
    """A limit on the size of files stands for the full disk: the system refuses to write on, half-way."""
    out = tmp_path / "store"
    subprocess.run([*command(settings, out, "--processes", "1", "--set", "fit.n_updates=50")], check=True)
    before = finished(out)
    limited = ["bash", "-c", 'ulimit -f 8; exec "$@"', "bash", *command(settings, out, "--processes", "1")]
    ended = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "must be written, but got File too large" in ended.stderr
    assert "what was finished before is kept" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert finished(out) == before
    subprocess.run(command(settings, out), check=True, capture_output=True)
    assert len(rows_of(out)) == 2 * N_JOBS


def test_a_store_that_cannot_be_written_is_said_at_once(tmp_path, settings):
    if os.geteuid() == 0:
        # Root may write anywhere: a file in place of a folder stops root as well.
        (tmp_path / "read_only").write_text("")
        out = tmp_path / "read_only" / "store"
    else:
        (tmp_path / "read_only").mkdir(mode=0o500)
        out = tmp_path / "read_only" / "store"
    ended = subprocess.run(command(settings, out), capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "sweep.json must be written" in ended.stderr
    assert "Choose an --out" in ended.stderr
