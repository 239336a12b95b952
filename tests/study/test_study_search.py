"""A search: it finds what is good, goes on where it was, and is a function of results and seed alone."""

from __future__ import annotations

import math
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


def test_proposals_are_different_within_a_batch_and_stay_in_their_spans():
    batch = propose(search(), [], 12, seed=3)
    assert batch == propose(search(), [], 12, seed=3)
    assert batch != propose(search(), [], 12, seed=4)
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
        propose(search(), [], 1, seed=0)
