"""Work in several processes: the same results as here, interruptions without a trace, deaths in one sentence."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

from dynaprobe.core.errors import DataError
from dynaprobe.study.side_by_side import work_apart


def note(folder: Path, item: int) -> None:
    """Leave a file that says who did it."""
    (folder / f"{item}.txt").write_text(f"{item**2} {os.getpid()}")


def die(item: int) -> None:
    if item == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def refuse(item: int) -> None:
    raise DataError("item", rule="be even", received=item, remedy="Choose another")


def squares(folder: Path) -> dict[str, str]:
    return {file.stem: file.read_text().split()[0] for file in folder.iterdir()}


def test_no_further_process_works_here_and_in_order(tmp_path):
    told: list[tuple[int, int]] = []
    work_apart(
        partial(note, tmp_path), [3, 1, 2], n_processes=0, on_done=lambda done, item: told.append((done, item))
    )
    assert told == [(1, 3), (2, 1), (3, 2)]
    assert {file.read_text().split()[1] for file in tmp_path.iterdir()} == {str(os.getpid())}
    work_apart(partial(note, tmp_path), [], n_processes=4)


@pytest.mark.slow
def test_one_process_is_a_process_of_its_own_as_well(tmp_path):
    """Or a run that goes on with a single network left would give it other bits."""
    work_apart(partial(note, tmp_path), [2], n_processes=1)
    assert str(os.getpid()) not in {file.read_text().split()[1] for file in tmp_path.iterdir()}


@pytest.mark.slow
def test_several_processes_do_everything_once(tmp_path):
    told: list[int] = []
    work_apart(partial(note, tmp_path), [1, 2, 3, 4], n_processes=2, on_done=lambda done, _: told.append(done))
    assert told == [1, 2, 3, 4]
    assert squares(tmp_path) == {"1": "1", "2": "4", "3": "9", "4": "16"}
    assert str(os.getpid()) not in {file.read_text().split()[1] for file in tmp_path.iterdir()}


def note_threads(folder: Path, item: int) -> None:
    """How many threads every library that has a pool of its own may use."""
    threads = [library["num_threads"] for library in threadpool_info()]
    (folder / f"{item}.txt").write_text(" ".join(map(str, threads)))


@pytest.mark.slow
def test_processes_side_by_side_use_one_thread_each(tmp_path, monkeypatch):
    """Whatever the environment says in which the pool is used: BLAS reads it before a process can be told."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    work_apart(partial(note_threads, tmp_path), [1, 2], n_processes=2)
    said = [file.read_text().split() for file in tmp_path.iterdir()]
    assert len(said) == 2
    for threads in said:
        assert threads
        assert set(threads) == {"1"}


@pytest.mark.slow
def test_a_killed_process_and_a_refusal_are_one_sentence():
    with pytest.raises(DataError, match=r"a process that was ended from outside.*Resume: what is done is kept"):
        work_apart(die, [0, 1, 2], n_processes=2)
    with pytest.raises(DataError, match=r"item must be even, but got 1"):
        work_apart(refuse, [1, 3], n_processes=2)


SCRIPT = """
import os, sys, time
from pathlib import Path
from dynaprobe.study.side_by_side import work_apart

def sleep(item):
    Path(sys.argv[1], str(os.getpid())).touch()
    time.sleep(600)

if __name__ == "__main__":
    work_apart(sleep, [1, 2, 3], n_processes=2)
"""


def _started(folder: Path) -> bool:
    return len(list(folder.iterdir())) == 2


@pytest.mark.slow
@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_one_that_started_it(tmp_path, blow):
    script, folder = tmp_path / "work.py", tmp_path / "done"
    script.write_text(SCRIPT)
    folder.mkdir()
    leader = subprocess.Popen([sys.executable, str(script), str(folder)], stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + 120
        while not _started(folder):
            assert time.monotonic() < end
            time.sleep(0.2)
        children = [file.name for file in folder.iterdir()]
        assert str(leader.pid) not in children
        leader.send_signal(blow)
        leader.communicate(timeout=60)
    finally:
        leader.kill()
    end = time.monotonic() + 30
    while any(Path("/proc", pid).exists() for pid in children):
        assert time.monotonic() < end, "a process is still there"
        time.sleep(0.2)


BARE = """
import sys
from functools import partial
from pathlib import Path
from dynaprobe.study.side_by_side import work_apart

with open(sys.argv[1], "a") as file:
    file.write("ran\\n")
work_apart(partial(print, "item"), [1, 2], n_processes=2)
"""


@pytest.mark.slow
@pytest.mark.parametrize("through", ["file", "pipe"])
def test_a_script_without_a_guard_runs_once(tmp_path, through):
    """Also one that came through a pipe, whose name is that of no file."""
    script, log = tmp_path / "bare.py", tmp_path / "log"
    script.write_text(BARE)
    first = str(script) if through == "file" else "-"
    ended = subprocess.run(
        [sys.executable, first, str(log)],
        input=None if through == "file" else BARE,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert log.read_text() == "ran\n"
    assert sorted(ended.stdout.split("\n")) == ["", "item 1", "item 2"]


def test_a_daemonic_process_works_alone(tmp_path, monkeypatch):
    """It may not start others; worker pools of notebooks and queues are such."""
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    work_apart(partial(note, tmp_path), [1, 2], n_processes=2)
    assert {file.read_text().split()[1] for file in tmp_path.iterdir()} == {str(os.getpid())}
