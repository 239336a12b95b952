"""Who leads a sweep: what is there is left alone, what is lost is tried again, what fails touches nobody else."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sweep_parts import Scripted, open_store, pretend, tiny_jobs

from dynaprobe.study import sweeping
from dynaprobe.study.pieces import Outcome
from dynaprobe.study.progress import Running
from dynaprobe.study.sweeping import SweepStoppedError, run_sweep


class Noted:
    """A board that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.shown: list[tuple[float, list[Running]]] = []

    def say(self, text):
        self.said.append(text)

    @contextmanager
    def board(self, title, total, *, done=0):
        self.shown.append((done, []))
        yield self

    def show(self, done, running):
        self.shown.append((done, list(running)))


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


def doing(store, fail=lambda _: None):
    """A script that stores what is missing, unless `fail` names another outcome."""

    def script(piece):
        outcome = fail(piece)
        if outcome is not None:
            return outcome
        missing = [job.id for job in piece.jobs if job.id not in store.finished()]
        return Outcome("done", computed=pretend(store, *missing))

    return script


def test_what_has_a_result_is_left_alone_and_what_is_damaged_is_not(store):
    jobs = tiny_jobs()
    first = [job.id for job in jobs[:2]]
    pretend(store, *[job.id for job in jobs[:3]])
    store.path("networks", f"{jobs[2].id}.nc").write_bytes(b"half a file")

    def script(piece):
        assert store.has(f"networks/{jobs[2].id}") is False  # as the process does that holds its claim
        return Outcome("done", computed=pretend(store, *[job.id for job in piece.jobs]))

    engine = Scripted(script)
    board = Noted()
    report = run_sweep(jobs, store, engine, n_members=2, board=board)
    assert engine.seen == [tuple(job.id for job in jobs[2:])]
    assert set(report.already) == set(first)
    assert set(report.computed) == {job.id for job in jobs[2:]}
    assert board.shown[0][0] == 2
    assert board.shown[-1][0] == 4
    again = run_sweep(jobs, store, Scripted(lambda _: pytest.fail("nothing is missing")))
    assert again.n_jobs == len(again.already) == 4


def test_a_damaged_file_that_nobody_has_set_aside_is_no_result(store):
    """Its name is there, but every process ended before it could look."""
    (job,) = tiny_jobs(1, [0.0])
    store.path("networks").mkdir()
    store.path("networks", f"{job.id}.nc").write_bytes(b"half a file")
    report = run_sweep([job], store, Scripted(lambda _: Outcome("died", "gone")))
    assert report.failures == {job.id: "gone (try 3 of 3)"}
    assert report.by_others == ()


def test_a_result_that_is_not_seen_here_yet_does_not_end_the_sweep(store):
    """Over a network a folder may show what another machine wrote some seconds late."""
    (job,) = tiny_jobs(1, [0.0])
    board = Noted()

    def late(piece):
        pretended = Outcome("done", computed=(job.id,))
        if len(engine.seen) == 2:
            pretend(store, job.id)
        return pretended

    engine = Scripted(late)
    report = run_sweep([job], store, engine, board=board)
    assert report.failures == {}
    assert f"{job.id}: stored, not yet seen here" in board.said


def test_the_same_job_twice_is_one(store):
    engine = Scripted(doing(store))
    assert run_sweep(tiny_jobs() + tiny_jobs(), store, engine, n_members=8).n_jobs == 4
    assert len(engine.seen) == 1


def test_a_process_that_dies_is_tried_again_together_and_then_job_by_job(store):
    jobs = tiny_jobs()
    bad = jobs[1].id

    def fail(piece):
        return Outcome("died", "signal 9") if bad in {job.id for job in piece.jobs} else None

    engine = Scripted(doing(store, fail))
    board = Noted()
    report = run_sweep(jobs, store, engine, n_members=4, n_tries=3, board=board)
    together = tuple(job.id for job in jobs)
    assert engine.seen == [together, together, *((job.id,) for job in jobs)]
    assert report.failures == {bad: "signal 9 (try 3 of 3)"}
    assert set(report.computed) == {job.id for job in jobs} - {bad}
    assert store.failures() == report.failures
    assert f"{bad}: no result, signal 9 (try 3 of 3)" in board.said


def test_what_is_lost_is_tried_again_before_what_waits(store):
    """Not after the whole sweep, which may take days."""
    jobs = tiny_jobs(4)
    bad = jobs[1].id
    deaths = iter(range(1))

    def fail(piece):
        mine = bad in {job.id for job in piece.jobs}
        return Outcome("died", "signal 9") if mine and next(deaths, None) is not None else None

    engine = Scripted(doing(store, fail))
    assert run_sweep(jobs, store, engine, n_members=2).failures == {}
    assert [seen[0] for seen in engine.seen] == [jobs[k].id for k in (0, 0, 2, 4, 6)]


def test_when_process_after_process_ends_others_are_tried_first(store):
    """Of settings that are too large for the machine the small ones that come last still get their turn."""
    jobs = tiny_jobs(8, [0.0])
    large = {job.id for job in jobs[:7]}

    def fail(piece):
        return Outcome("died", "signal 9") if piece.jobs[0].id in large else None

    engine = Scripted(doing(store, fail))
    report = run_sweep(jobs, store, engine, n_members=1, n_tries=3)
    assert report.computed == (jobs[7].id,)
    assert set(report.failures) == large
    first = [seen[0] for seen in engine.seen]
    # At most FEW_DEATHS at the front, then all others once.
    assert first.index(jobs[7].id) <= sweeping.FEW_DEATHS + len(large)
    assert Counter(first) == {**dict.fromkeys(large, 3), jobs[7].id: 1}


def test_a_sweep_whose_processes_all_end_is_stopped(store):
    jobs = tiny_jobs(30, [0.0])
    engine = Scripted(lambda _: Outcome("died", "the process ended by signal 11; its last words: no such library"))
    with pytest.raises(
        SweepStoppedError, match=r"^20 processes in a row ended.*no such library\. What is finished is kept"
    ):
        run_sweep(jobs, store, engine, n_members=1)
    assert len(engine.seen) == sweeping.MOST_DEATHS == 20


@pytest.mark.parametrize("sign", ["result", "checkpoint", "update", "words"])
def test_one_that_gets_further_among_many_that_end_keeps_the_sweep_going(store, sign):
    jobs = tiny_jobs(16, [0.0])
    n, held = 0, {}

    def script(piece):
        nonlocal n
        n += 1
        if n % 15:
            return Outcome("died", "signal 9")
        if sign == "result":
            return Outcome("done", computed=pretend(store, *[job.id for job in piece.jobs]))
        if sign == "checkpoint":
            store.save("checkpoints/x", {}, {"members": [piece.jobs[0].id], "done": n})
        if sign == "update":
            facts = {"leader": "x", "with": 1, "done": n, "total": 999}
            held.setdefault(piece.jobs[0].id, store.claim(piece.jobs[0].id)).tell(facts)
        return Outcome("failed" if sign == "words" else "died", "an error in words")

    report = run_sweep(jobs, store, Scripted(script), n_members=1, n_tries=3)
    assert n > 2 * sweeping.MOST_DEATHS
    assert len(report.failures) + len(report.computed) == 16
    for claim in held.values():
        claim.release()


def test_a_tracker_that_fails_is_said_once_and_costs_nothing(store):
    jobs = tiny_jobs(2)
    board = Noted()

    def script(piece):
        done = doing(store)(piece)
        return replace(done, untracked={"wandb": "CommError: no route to host"})

    report = run_sweep(jobs, store, Scripted(script), n_members=1, board=board)
    assert (len(report.computed), report.failures) == (4, {})
    assert report.untracked == {"wandb": "CommError: no route to host"}
    assert [text for text in board.said if "--track" in text] == [
        "--track wandb fails: CommError: no route to host. Training goes on, with gaps in these curves"
    ]


def test_a_tracker_that_fails_is_said_while_the_job_is_still_in_work(store):
    (job,) = tiny_jobs(1, [0.0])
    board = Noted()
    facts = {"leader": job.id, "with": 1, "done": 3, "total": 9, "untracked": {"tensorboard": "OSError: x"}}

    def script(piece):
        assert [text for text in board.said if "--track tensorboard fails: OSError: x" in text]
        return doing(store)(piece)

    claim = store.claim(job.id)
    claim.tell(facts)
    assert run_sweep([job], store, Scripted(script), board=board).untracked == {"tensorboard": "OSError: x"}
    claim.release()


def test_a_job_that_fails_by_itself_is_tried_alone_at_once(store):
    jobs = tiny_jobs()
    bad = jobs[3].id
    tries = Counter()

    def fail(piece):
        tries.update(job.id for job in piece.jobs)
        return Outcome("failed", "MemoryError: too large") if bad in {job.id for job in piece.jobs} else None

    report = run_sweep(jobs, store, Scripted(doing(store, fail)), n_members=4, n_tries=2)
    assert report.failures == {bad: "MemoryError: too large (try 2 of 2)"}
    assert tries[bad] == 2
    # Started again, it is tried again: the machine may have more memory now.
    assert run_sweep(jobs, store, Scripted(doing(store)), n_members=4).computed == (bad,)


def test_a_process_that_gets_further_each_time_is_not_given_up(store):
    """A queue that preempts ten times must not end a job that goes on from its checkpoints."""
    (job,) = tiny_jobs(1, [0.0])
    deaths = iter(range(10))

    def fail(piece):
        k = next(deaths, None)
        if k is None:
            return None
        store.save("checkpoints/x", {}, {"members": [job.id], "done": k + 1})
        return Outcome("died", "preempted")

    report = run_sweep([job], store, Scripted(doing(store, fail)), n_tries=2)
    assert report.computed == (job.id,)
    assert report.failures == {}


def test_jobs_of_another_sweep_are_waited_for(store, monkeypatch):
    monkeypatch.setattr(sweeping, "ASK_AGAIN_S", 0.0)
    jobs = tiny_jobs()
    rounds = iter(range(3))

    def script(piece):
        if next(rounds, None) is not None:
            return Outcome("busy", "another process works at it")
        pretend(store, *[job.id for job in piece.jobs])
        return Outcome("done")

    report = run_sweep(jobs, store, Scripted(script), n_members=4)
    assert set(report.by_others) == {job.id for job in jobs}
    assert report.computed == ()


def test_a_store_that_cannot_be_written_stops_the_sweep_with_its_sentence(store):
    jobs = tiny_jobs()
    engine = Scripted(
        lambda _: Outcome("stop", "x.nc must be written, but got No space left on device. Free some.")
    )
    with pytest.raises(SweepStoppedError, match=r"^x\.nc must be written, but got No space left on device\."):
        run_sweep(jobs, store, engine, n_members=1)
    assert len(engine.seen) == 1


def test_work_in_progress_is_shown_with_its_name_and_share(store):
    jobs = tiny_jobs()
    claims = [store.claim(job.id) for job in jobs[:2]]
    for claim in claims:
        claim.tell({"leader": jobs[0].id, "with": 2, "done": 30, "total": 100, "note": "median loss 0.1"})
    board = Noted()
    run_sweep(jobs, store, Scripted(doing(store)), n_members=4, board=board)
    done, running = board.shown[1]
    assert done == pytest.approx(0.6)
    assert running == [Running(f"{jobs[0].id} and 1 more", 30, 100, "median loss 0.1")]
