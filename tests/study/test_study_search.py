"""A search: it finds what is good, goes on where it was, and is a function of results and seed alone."""

from __future__ import annotations

import json
import math
import re
import sys

import pytest
import xarray as xr
from sweep_parts import TINY, open_store

from dynaprobe.core.errors import SettingsError
from dynaprobe.core.settings import parse
from dynaprobe.study.deltas import Search, jobs_of
from dynaprobe.study.jobs import JobSettings
from dynaprobe.study.search import propose, run_search
from dynaprobe.study.sweeping import SweepReport

pytest.importorskip("optuna")
BASE = parse(JobSettings, TINY)
DRAW = {
    "fit.learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
    "network.activation": ["tanh", "relu"],
    "network.n_units": {"low": 5, "high": 9, "whole": True},
}


def search(**more) -> Search:
    return parse(Search, {"n_draws": 30, "draw": DRAW, **more})


def jobs(changes):
    plain = [{**change, "fit.learning_rate_end": 1e-5} for change in changes]
    return jobs_of(BASE, plain, [0, 1], seed=0)


def goodness(job) -> float:
    """Best at a learning rate of 0.01 with relu."""
    rate = job.settings.fit.learning_rate
    return -abs(math.log10(rate) + 2) + (job.settings.network.activation == "relu")


def sweeping(store, trained):
    def sweep(jobs):
        new = [job for job in jobs if not store.is_whole(f"networks/{job.id}")]
        for job in new:
            facts = {"id": job.id, "scores": {"score": goodness(job)}}
            store.save(f"networks/{job.id}", {"network": xr.Dataset({"x": 1.0})}, facts)
        trained.extend(job.id for job in new)
        return SweepReport(len(jobs), (), tuple(job.id for job in new), (), {})

    return sweep


def test_it_finds_what_is_good_and_goes_on_where_it_was(tmp_path):
    trained: list[str] = []
    store = open_store(tmp_path / "store")
    report, best = run_search(search(), jobs, sweeping(store, trained), store, seed=0)
    assert report.n_jobs == len(trained) == 60
    assert best["network.activation"] == "relu"
    assert abs(math.log10(best["fit.learning_rate"]) + 2) < 0.5
    # Started again it proposes the same, whose results are there ...
    again, same = run_search(search(), jobs, sweeping(store, trained), store, seed=0)
    assert (len(again.computed), same) == (0, best)
    # ... and with more draws it goes on from there.
    more, _ = run_search(search(n_draws=34), jobs, sweeping(store, trained), store, seed=0)
    assert len(more.computed) == 8


def batch_of(n, *, seed, told=()):
    batch = []
    for _ in range(n):
        batch.append(propose(search(), told, batch, seed=seed))
    return batch


def test_a_proposal_follows_from_seed_number_and_results_alone():
    """The tenth of a batch, asked for without the others being made first; no run of a generator goes on."""
    batch = batch_of(12, seed=3)
    assert propose(search(), [], batch[:9], seed=3) == batch[9]
    # Optuna's first ten are drawn at random; from then on results count.
    told = [(changes, float(k)) for k, changes in enumerate(batch)]
    after = propose(search(), told, [], seed=3)
    assert propose(search(n_draws=99), list(told), [], seed=3) == after
    assert propose(search(), [(changes, -value) for changes, value in told], [], seed=3) != after
    # Seed 0 after four results is not seed 4 at its start.
    assert batch_of(1, seed=4) != [propose(search(), told[:4], [], seed=0)]


class Disturbed:
    """Sweeps whose jobs end in any order, of which some fail at first and some are lost."""

    def __init__(self, store, *, failing=()):
        self.store, self.failing, self.seen = store, set(failing), []

    def __call__(self, jobs):
        missing = [job for job in jobs if not self.store.is_whole(f"networks/{job.id}")]
        failures = {}
        for job in reversed(missing):
            self.seen.append(job.id)
            if len(self.seen) in self.failing:
                failures[job.id] = "killed"
                continue
            facts = {"id": job.id, "scores": {"score": goodness(job)}}
            self.store.save(f"networks/{job.id}", {"network": xr.Dataset({"x": 1.0})}, facts)
        return SweepReport(len(jobs), (), tuple(job.id for job in missing), (), failures)


def proposed(store) -> list[dict]:
    (record,) = store.path("searches").iterdir()
    return json.loads(record.read_text())


def test_a_search_that_was_stopped_anywhere_and_repaired_is_that_of_an_undisturbed_run(tmp_path):
    alone = open_store(tmp_path / "alone")
    _, best = run_search(search(), jobs, Disturbed(alone), alone, seed=0)
    store = open_store(tmp_path / "store")

    def stopped(jobs):
        done = Disturbed(store)(jobs[:3])
        if len(store.finished()) > 40:
            raise KeyboardInterrupt
        return Disturbed(store)(jobs[3:]) and done

    with pytest.raises(KeyboardInterrupt):
        run_search(search(), jobs, stopped, store, seed=0)
    for name in sorted(store.finished())[::7]:
        store.path("networks", f"{name}.nc").write_bytes(b"half a file")
    said = []
    again, same = run_search(search(), jobs, Disturbed(store), store, seed=0, say=said.append)
    assert (same, said, again.failures) == (best, [], {})
    assert proposed(store) == proposed(alone)
    assert store.finished() == alone.finished()


def test_a_failed_job_that_gets_its_result_leads_back_to_the_undisturbed_search_and_that_is_said(tmp_path):
    alone, store = open_store(tmp_path / "alone"), open_store(tmp_path / "store")
    _, best = run_search(search(), jobs, Disturbed(alone), alone, seed=0)
    said = []
    first, _ = run_search(search(), jobs, Disturbed(store, failing=[21, 22]), store, seed=0, say=said.append)
    assert len(first.failures) == 2
    assert len(said) == 1
    assert "no result. Started again it tries them again, and may then propose other settings" in said[0]
    before = proposed(store)
    assert before != proposed(alone)
    _, same = run_search(search(), jobs, Disturbed(store), store, seed=0, say=said.append)
    assert same == best
    assert proposed(store) == proposed(alone)
    assert alone.finished() < store.finished()
    assert len(said) == 2
    # They were of the batch of 8 to 11; the next batch is the first to know.
    found = re.match(r"From proposal (\d+) on the search goes another way than the last time", said[1])
    first_other = int(found[1])
    assert first_other >= 12
    then, now = ([one["changes"] for one in record] for record in (before, proposed(store)))
    assert then[:first_other] == now[:first_other]
    assert then[first_other] != now[first_other]
    # A third time nothing is new.
    third, _ = run_search(search(), jobs, Disturbed(store), store, seed=0, say=said.append)
    assert (third.computed, len(said)) == ((), 2)


def test_a_record_that_cannot_be_read_is_made_again(tmp_path):
    store = open_store(tmp_path / "store")
    run_search(search(n_draws=4), jobs, Disturbed(store), store, seed=0)
    (record,) = store.path("searches").iterdir()
    before = record.read_text()
    for text in ("half", "3", "[3]", "{}"):
        record.write_text(text)
        run_search(search(n_draws=4), jobs, Disturbed(store), store, seed=0)
        assert record.read_text() == before


def test_proposals_are_different_within_a_batch_and_stay_in_their_spans():
    batch = batch_of(12, seed=3)
    assert batch == batch_of(12, seed=3)
    assert batch != batch_of(12, seed=4)
    assert len({change["fit.learning_rate"] for change in batch}) == 12
    for change in batch:
        assert 1e-4 <= change["fit.learning_rate"] <= 1.0
        assert change["network.n_units"] in range(5, 10)
        assert isinstance(change["network.n_units"], int)


def test_a_setting_without_results_does_not_end_the_search(tmp_path):
    store = open_store(tmp_path / "store")
    nothing = SweepReport(8, (), (), (), {"job": "it failed"})
    report, best = run_search(search(n_draws=8), jobs, lambda jobs: nothing, store, seed=0)
    assert best == {}
    assert report.failures == {"job": "it failed"}


def test_a_measure_that_is_no_score_is_a_sentence(tmp_path):
    store = open_store(tmp_path / "store")
    with pytest.raises(SettingsError, match=r"sweep.search.measure must be one of score, but got r2"):
        run_search(search(measure="r2"), jobs, sweeping(store, []), store, seed=0)


def test_without_optuna_there_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SettingsError, match=r"optuna installed.*pip install 'dynaprobe\[search\]'"):
        propose(search(), [], [], seed=0)
