"""Curves for other programs: what TensorBoard would show is what training told."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from sweep_parts import tiny_jobs

from dynaprobe.core.errors import SettingsError
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
