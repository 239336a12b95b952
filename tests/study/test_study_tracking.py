"""Curves for other programs: what TensorBoard would show is what training told."""

from __future__ import annotations

import errno
import sys
import threading
import time

import numpy as np
import pytest
from sweep_parts import tiny_jobs

from dynaprobe.core.errors import SettingsError
from dynaprobe.study import tracking as tracking_module
from dynaprobe.study.tracking import TRACKERS, check_trackers, tracked
from dynaprobe.training.fit import FitProgress

JOBS = tiny_jobs(2, [0.0])


def progress(update: int, loss: list[float], score: list[float]) -> FitProgress:
    return FitProgress(update, 12, 1.0, 1.0, np.asarray(loss), np.asarray(score), 2)


def test_files_for_tensorboard_hold_the_curves_of_every_job(tmp_path):
    pytest.importorskip("tensorboardX")
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    with tracked(["tensorboard"], tmp_path, JOBS) as tracking:
        tracking.log(progress(4, [0.5, 0.6], [np.nan, np.nan]))
        tracking.log(progress(8, [0.25, 0.125], [0.1, 0.2]))
    for k, job in enumerate(JOBS):
        (file,) = (tmp_path / job.id).iterdir()
        points = []
        data = file.read_bytes()
        while data:
            length = int.from_bytes(data[:8], "little")
            event = event_pb2.Event.FromString(data[12 : 12 + length])
            points += [(event.step, value.tag, round(value.simple_value, 4)) for value in event.summary.value]
            data = data[16 + length :]
        first, second = ((0.5, 0.25), (0.6, 0.125))[k]
        score = (0.1, 0.2)[k]
        assert points == [(4, "loss", first), (8, "loss", second), (8, "validation_score", score)]


def test_trackers_are_closed_when_training_fails(tmp_path, monkeypatch):
    closed = []

    class Kept:
        def __init__(self, folder, job):
            self.job = job

        def log(self, update, values):
            pass

        def close(self):
            closed.append(self.job.id)

    monkeypatch.setitem(TRACKERS, "kept", Kept)
    with pytest.raises(ZeroDivisionError), tracked(["kept"], tmp_path, JOBS):
        raise ZeroDivisionError
    assert sorted(closed) == sorted(job.id for job in JOBS)


class Broken:
    """Fails where it is told to; remembers what came."""

    at = "log"
    error: BaseException = OSError(errno.ENOSPC, "No space left on device")

    def __init__(self, folder, job):
        self.logged, self.closed = [], False
        MADE.append(self)
        self._maybe("init")

    def _maybe(self, where):
        if self.at == where and (where != "log" or len(self.logged) == 2):
            raise self.error

    def log(self, update, values):
        self.logged.append(update)
        self._maybe("log")

    def close(self):
        self.closed = True
        self._maybe("close")


MADE: list[Broken] = []


@pytest.mark.parametrize("where", ["init", "log", "close"])
@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "OSError: [Errno 28] No space left on device"),
        (SystemExit(1), "SystemExit: 1"),
        (MemoryError(), "MemoryError"),
        (ConnectionError("no route\nto host"), "ConnectionError: no route"),
    ],
)
def test_whatever_a_tracker_raises_is_said_and_no_more(tmp_path, monkeypatch, where, error, sentence):
    MADE.clear()
    monkeypatch.setattr(Broken, "at", where)
    monkeypatch.setattr(Broken, "error", error)
    monkeypatch.setitem(TRACKERS, "broken", Broken)
    kept = []
    monkeypatch.setitem(TRACKERS, "sound", lambda folder, job: Kept(kept))
    with tracked(["broken", "sound"], tmp_path, JOBS) as tracking:
        for update in (4, 8, 12):
            tracking.log(progress(update, [0.5, 0.6], [0.1, 0.2]))
    assert tracking.troubles == {"broken": sentence}
    # One that failed is closed like any other, unless it was never there.
    assert [one.closed for one in MADE] == ([False] if where == "init" else [True, True])
    assert [update for update in kept if update != "closed"] == [4, 4, 8, 8, 12, 12]


class Kept:
    def __init__(self, kept):
        self.kept = kept

    def log(self, update, values):
        self.kept.append(update)

    def close(self):
        self.kept.append("closed")


def test_a_tracker_that_hangs_holds_nobody_up(tmp_path, monkeypatch):
    """As TensorBoard's does whose own thread met a full disk: its queue is never emptied again."""
    never = threading.Event()
    monkeypatch.setattr(tracking_module, "CLOSE_S", 0.2)
    monkeypatch.setattr(Kept, "log", lambda self, update, values: never.wait(60))
    monkeypatch.setitem(TRACKERS, "kept", lambda folder, job: Kept([]))
    begin = time.monotonic()
    with tracked(["kept"], tmp_path, JOBS) as tracking:
        tracking.log(progress(1, [0.5, 0.5], [0.1, 0.1]))
        assert tracking.troubles == {}
        for update in range(2, 200):
            tracking.log(progress(update, [0.5, 0.5], [0.1, 0.1]))
        assert tracking.troubles == {"kept": "it does not take its points, of which 100 wait"}
    with tracked(["kept"], tmp_path, JOBS) as tracking:
        tracking.log(progress(1, [0.5, 0.5], [0.1, 0.1]))
    assert tracking.troubles == {"kept": "it was not done 0.2 s after the training"}
    assert time.monotonic() - begin < 5
    never.set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_tensorboard_on_a_disk_that_is_full_holds_nobody_up(tmp_path, monkeypatch):
    """The real package: its thread ends with the error, and whoever writes after that would wait for ever."""
    writer = pytest.importorskip("tensorboardX.event_file_writer")

    def full(self, event):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer.EventsWriter, "write_event", full)
    monkeypatch.setattr(tracking_module, "CLOSE_S", 0.5)
    with tracked(["tensorboard"], tmp_path, JOBS) as tracking:
        for update in range(1, 40):
            tracking.log(progress(update, [0.5, 0.5], [0.1, 0.1]))
    assert set(tracking.troubles) == {"tensorboard"}


@pytest.mark.parametrize(("name", "module"), [("tensorboard", "tensorboardX"), ("wandb", "wandb")])
def test_what_is_not_installed_is_named_before_work_starts(monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SettingsError, match=rf"--track {name} must have {module} installed.*dynaprobe\[{name}\]"):
        check_trackers([name])


def test_weights_and_biases_gets_every_job_as_a_run(tmp_path, monkeypatch):
    """Offline, with the real package where it is installed."""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with tracked(["wandb"], tmp_path, JOBS[:1]) as tracking:
        tracking.log(progress(4, [0.5], [0.1]))
    assert list(tmp_path.rglob("run-*.wandb"))
