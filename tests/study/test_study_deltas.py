"""The jobs of a settings file: every combination, lists, draws that stay what they were, messages."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dynaprobe.core.errors import SettingsError
from dynaprobe.core.settings import parse
from dynaprobe.study.deltas import Span, SweepSettings, changes_of, drawn, jobs_of
from dynaprobe.study.jobs import JobSettings
from dynaprobe.study.pieces import Piece, pieces_of

BASE = parse(JobSettings, {})


def sweep(**values) -> SweepSettings:
    return parse(SweepSettings, values)


def test_a_grid_is_every_combination_with_every_seed():
    table = sweep(seeds=3, grid={"network.activation": ["tanh", "relu"], "fit.penalty_rate": [0.0, 0.1]})
    jobs = jobs_of(BASE, changes_of(table, seed=5), table.seeds_from(5), seed=5)
    assert len({job.id for job in jobs}) == 12
    assert {job.seed for job in jobs} == {5, 6, 7}
    assert jobs[0].labels == {"activation": "tanh", "penalty_rate": 0.0}
    assert jobs[-1].settings.network.activation == "relu"


def test_a_list_is_its_entries():
    table = sweep(list=[{"network.n_units": 50}, {"fit.n_updates": 7, "network.tau_ms": 40.0}])
    assert changes_of(table, seed=0) == [{"network.n_units": 50}, {"fit.n_updates": 7, "network.tau_ms": 40.0}]


def test_no_change_at_all_is_one_setting():
    assert changes_of(sweep(seeds=[4, 9]), seed=0) == [{}]
    assert sweep(seeds=[4, 9]).seeds_from(1) == (4, 9)


def test_two_names_with_one_last_part_have_their_whole_names_as_labels():
    (job,) = jobs_of(BASE, [{"network.dt_ms": 10.0, "task.dt_ms": 10.0, "fit.n_updates": 3}], [0], seed=0)
    assert job.labels == {"network.dt_ms": 10.0, "task.dt_ms": 10.0, "n_updates": 3}


def test_a_draw_does_not_depend_on_how_many_there_are_nor_on_the_others():
    among = {"fit.penalty_rate": {"low": 1e-4, "high": 1.0, "log": True}, "network.activation": ["tanh", "relu"]}
    few, many = (changes_of(sweep(random={"n_draws": n, "draw": among}), seed=3) for n in (5, 50))
    assert many[:5] == few
    one = sweep(random={"n_draws": 5, "draw": {"network.activation": ["tanh", "relu"]}})
    assert [change["network.activation"] for change in few] == [
        change["network.activation"] for change in changes_of(one, seed=3)
    ]
    assert changes_of(sweep(random={"n_draws": 5, "draw": among}), seed=4) != few


@pytest.mark.parametrize(("log", "whole"), [(False, False), (True, False), (False, True)])
def test_draws_are_spread_as_asked(log, whole):
    """Kolmogorov-Smirnov for spans, chi-squared for whole numbers; each misses once in 1000 seeds."""
    span = Span(low=2, high=9, log=log, whole=whole)
    values = [drawn({"x": span}, 0, k)["x"] for k in range(400)]
    if whole:
        assert set(values) == set(range(2, 10))
        assert stats.chisquare(np.bincount(values)[2:]).pvalue > 0.001
        assert all(isinstance(value, int) for value in values)
        return
    reference = stats.loguniform(2, 9) if log else stats.uniform(2, 7)
    assert stats.kstest(values, reference.cdf).pvalue > 0.001


def test_the_ends_of_a_span_are_kept():
    for span in (Span(low=1e-5, high=1.0, log=True), Span(low=1, high=3, whole=True), Span(low=-1, high=1)):
        assert span.at(0.0) == span.low
        assert span.low <= span.at(np.nextafter(1.0, 0.0)) <= span.high


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"grid": {"a": [1]}, "list": [{"a": 1}]}, "only one of grid, list, random and search is given"),
        ({"seeds": 0}, "seeds must be greater than or equal to 1, but got 0"),
        ({"grid": {"network.activation": []}}, "hold at least 1 value"),
        ({"sed": 3}, "Did you mean seeds"),
        ({"random": {"n_draws": 3, "draw": {"x": {"low": 2, "high": 1}}}}, "low (2) is below high (1)"),
        ({"random": {"n_draws": 3, "draw": {"x": {"low": 0, "high": 1, "log": True}}}}, "low (0) is above 0"),
        ({"random": {"n_draws": 3, "draw": {"x": {"low": 0.5, "high": 2, "whole": True}}}}, "are whole where"),
    ],
)
def test_a_table_that_makes_no_sense_is_a_sentence(values, sentence):
    with pytest.raises(SettingsError) as refused:
        sweep(**values)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("change", "seeds", "sentence"),
    [
        ({"network.activatoin": "tanh"}, [0], "Did you mean network.activation"),
        ({"network.n_units": -1}, [0], "network.n_units must be"),
        ({"network.dt_ms": 7.0}, [0], "dt_ms must be the same for network and task"),
        ({}, [1, 1], "sweep.seeds must be different whole numbers"),
        ({}, [-1], "sweep.seeds must be different whole numbers"),
    ],
)
def test_a_bad_job_is_refused_before_anything_is_computed(change, seeds, sentence):
    with pytest.raises(SettingsError) as refused:
        jobs_of(BASE, [change], seeds, seed=0, where="my.toml")
    assert sentence in str(refused.value)


def test_pieces_hold_what_can_train_together_and_travel_as_text(tmp_path):
    table = sweep(seeds=3, grid={"network.activation": ["tanh", "relu"], "fit.penalty_rate": [0.0, 0.1]})
    jobs = jobs_of(BASE, changes_of(table, seed=0), table.seeds_from(0), seed=0)
    pieces = pieces_of(jobs, tmp_path, n_members=4, tracking=["tensorboard"])
    assert [len(piece.jobs) for piece in pieces] == [4, 2, 4, 2]
    assert {job.id for piece in pieces for job in piece.jobs} == {job.id for job in jobs}
    for piece in pieces:
        assert len({job.settings.network.activation for job in piece.jobs}) == 1
        assert Piece.from_text(piece.to_text()) == piece


def test_a_worker_of_another_version_is_refused(tmp_path, monkeypatch):
    """Its numbers might be others than those of the rest of the sweep."""
    (piece,) = pieces_of(jobs_of(BASE, [{}], [0], seed=0), tmp_path, n_members=1)
    text = piece.to_text()
    monkeypatch.setattr("dynaprobe.study.sweep.NUMBERS_VERSION", 99)
    with pytest.raises(SettingsError, match=r"version of dynaprobe must be the same on all machines of a sweep"):
        Piece.from_text(text)
