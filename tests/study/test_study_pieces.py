"""Pieces at work in this process: claims, checkpoints of any split, failures in words, the same bits."""

from __future__ import annotations

import errno
import json

import jax
import numpy as np
import pytest
from sweep_parts import TINY, bits, open_store, tiny_jobs

from dynaprobe.core.settings import parse
from dynaprobe.study import jobs as training
from dynaprobe.study import pieces, tracking
from dynaprobe.study.jobs import JobSettings, train
from dynaprobe.study.pieces import Outcome, Piece, pieces_of, work
from dynaprobe.study.store import RunStore
from dynaprobe.study.store_files import WriteError
from dynaprobe.study.store_index import rows_of
from dynaprobe.study.sweep import Job

# Two sizes of ensembles, one and two, so that this file compiles two programs.
JOBS = tiny_jobs(2, [0.1])


class KilledError(BaseException):
    """Ends a piece as nothing inside it would."""


def done(piece: Piece) -> Outcome:
    return Outcome.from_text(work(piece.to_text()))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """All jobs in one ensemble, as a study trains them."""
    store = RunStore(tmp_path_factory.mktemp("runs") / "undisturbed")
    store.start({}, study="test", seed=0, resume=False)
    train(JOBS, store)
    return bits(store.folder)


def test_jobs_have_the_bits_of_a_study_however_they_are_cut(tmp_path, undisturbed):
    store = open_store(tmp_path / "store")
    for piece in pieces_of(JOBS, store.folder, n_members=1):
        assert done(piece) == Outcome("done", "", tuple(job.id for job in piece.jobs))
    assert bits(store.folder) == undisturbed
    assert list(store.path("checkpoints").iterdir()) == list(store.path("claims").iterdir()) == []
    assert {row["id"]: row["fit.penalty_rate"] for row in rows_of(store.folder)} == {
        job.id: job.settings.fit.penalty_rate for job in JOBS
    }


def test_a_piece_goes_on_from_a_checkpoint_of_more_jobs(tmp_path, undisturbed, monkeypatch):
    """Killed at update 8 of 12 with two members; what is left is then done one by one, from there."""
    store = open_store(tmp_path / "store")
    (piece,) = pieces_of(JOBS, store.folder, n_members=2)
    saved = []

    def kill(original):
        def keep(self, name, groups, facts=None):
            original(self, name, groups, facts)
            saved.append(name)
            if len(saved) == 2:
                raise KilledError

        return keep

    with monkeypatch.context() as patched:
        patched.setattr(type(store), "save", kill(type(store).save))
        with pytest.raises(KilledError):
            work(piece.to_text())
    (checkpoint,) = store.all_facts("checkpoints").values()
    assert checkpoint["done"] == 8
    resumed = []
    original = training.fit
    monkeypatch.setattr(
        training,
        "fit",
        lambda *a, resume=None, **k: resumed.append(int(resume.n_done)) or original(*a, resume=resume, **k),
    )
    for job in reversed(piece.jobs):
        assert done(Piece(piece.folder, (job,))).computed == (job.id,)
    assert resumed == [8] * 2
    assert bits(store.folder) == undisturbed
    assert list(store.path("checkpoints").iterdir()) == []


def test_what_another_process_has_is_left_to_it_and_the_rest_is_done(tmp_path, undisturbed):
    store = open_store(tmp_path / "store")
    (piece,) = pieces_of(JOBS, store.folder, n_members=2)
    theirs = store.claim(piece.jobs[0].id)
    assert theirs is not None
    outcome = done(piece)
    assert (outcome.kind, outcome.computed) == ("busy", (piece.jobs[1].id,))
    theirs.release()
    damaged = store.path("networks", f"{piece.jobs[1].id}.nc")
    damaged.write_bytes(damaged.read_bytes()[:3000])
    assert done(piece) == Outcome("done", "", tuple(job.id for job in piece.jobs))
    assert damaged.with_suffix(".damaged").exists()
    assert bits(store.folder) == undisturbed
    assert done(piece) == Outcome("done", "", ())


def test_a_job_that_diverges_is_a_finished_result(tmp_path):
    # A penalty so large that the length of its gradient overflows single precision.
    fit = {**TINY["fit"], "penalty_rate": 3e38}
    settings = parse(JobSettings, {**TINY, "fit": fit})
    store = open_store(tmp_path / "store")
    (piece,) = pieces_of([Job(settings, 0)], store.folder, n_members=1)
    assert done(piece).kind == "done"
    (row,) = rows_of(store.folder)
    assert row["status"] == "diverged"
    assert "not finite at update" in row["reason"]
    assert done(piece) == Outcome("done", "", ())


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (MemoryError(), "failed", "the process ran out of memory"),
        (
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes\nstack"),
            "failed",
            "the process ran out of memory (RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes)",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "stop", "OSError: [Errno 28] No space left on device"),
        (ConnectionResetError("by a server"), "failed", "ConnectionResetError: by a server"),
        (ZeroDivisionError("float division"), "failed", "ZeroDivisionError: float division"),
        (WriteError("x.nc", rule="be written", received="No space left on device", remedy="Free some"), "stop",
         "x.nc must be written, but got No space left on device. Free some."),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_said_and_claims_are_free_again(tmp_path, monkeypatch, error, kind, reason):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(pieces, "train_together", fails)
    store = open_store(tmp_path / "store")
    (piece,) = pieces_of(JOBS, store.folder, n_members=2)
    assert done(piece) == Outcome(kind, reason, ())
    assert list(store.path("claims").iterdir()) == []


def test_a_store_that_is_gone_is_said(tmp_path):
    (piece,) = pieces_of(JOBS, tmp_path / "nowhere", n_members=2)
    outcome = done(piece)
    assert outcome.kind == "failed"
    assert "sweep.json must be a readable JSON file" in outcome.reason


def test_curves_reach_the_trackers_of_every_job(tmp_path, monkeypatch):
    points: dict[str, list] = {}

    class Kept:
        def __init__(self, folder, job):
            self.own = points.setdefault(job.id, [])

        def log(self, update, values):
            assert np.isfinite(list(values.values())).all()
            self.own.append((update, dict(values)))

        def close(self):
            self.own.append("closed")

    monkeypatch.setitem(tracking.TRACKERS, "kept", Kept)
    store = open_store(tmp_path / "store")
    (piece,) = pieces_of(JOBS, store.folder, n_members=2, tracking=["kept"])
    assert done(piece).kind == "done"
    for job in piece.jobs:
        *curve, end = points[job.id]
        assert end == "closed"
        assert curve[-1][0] == 12
        assert set(curve[-1][1]) == {"loss", "validation_score"}
    assert json.loads(piece.to_text())["tracking"] == ["kept"]


@pytest.mark.parametrize("where", ["init", "log", "close"])
def test_a_tracker_that_raises_costs_no_result(tmp_path, undisturbed, monkeypatch, where):
    """Not even of a full disk, which stops a sweep when it meets a result."""

    def fail(at):
        if at == where:
            raise OSError(errno.ENOSPC, "No space left on device")

    class Full:
        def __init__(self, folder, job):
            fail("init")

        def log(self, update, values):
            fail("log")

        def close(self):
            fail("close")

    monkeypatch.setitem(tracking.TRACKERS, "full", Full)
    store = open_store(tmp_path / "store")
    (piece,) = pieces_of(JOBS, store.folder, n_members=2, tracking=["full"])
    outcome = done(piece)
    assert (outcome.kind, set(outcome.computed)) == ("done", {job.id for job in JOBS})
    assert outcome.untracked == {"full": "OSError: [Errno 28] No space left on device"}
    assert bits(store.folder) == undisturbed
