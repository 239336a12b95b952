"""Jobs, cells and groups; intervals over members."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import stats

from dynaprobe.core.errors import SettingsError
from dynaprobe.core.settings import Settings
from dynaprobe.study.records import Claim, Verdict
from dynaprobe.study.statistics import mean_interval
from dynaprobe.study.sweep import Job, grid, group


class Net(Settings):
    activation: str = "tanh"
    n_units: int = 10


class Fit(Settings):
    penalty_rate: float = 0.0
    n_updates: int = 5


class Both(Settings):
    network: Net = Net()
    fit: Fit = Fit()


AXES = {"network.activation": ["tanh", "relu"], "fit.penalty_rate": [0.0, 0.1, 1.0]}


def test_grid_holds_every_combination_once():
    jobs = grid(Both(), AXES, seeds=[0, 1])
    assert len(jobs) == 12
    assert len({job.id for job in jobs}) == 12
    assert {(j.labels["activation"], j.labels["penalty_rate"], j.seed) for j in jobs} == {
        (a, p, s) for a in ("tanh", "relu") for p in (0.0, 0.1, 1.0) for s in (0, 1)
    }
    assert jobs[-1].settings.network.activation == "relu"
    assert jobs[-1].settings.fit.penalty_rate == 1.0
    assert jobs[-1].cell == "relu, penalty_rate 1"


def test_a_job_keeps_its_name_in_another_grid():
    alone = grid(Both(), {"network.activation": ["relu"], "fit.penalty_rate": [0.1]}, seeds=[1])[0]
    assert alone.id in {job.id for job in grid(Both(), AXES, seeds=[0, 1])}


def test_a_job_keeps_its_name_when_its_grid_gains_an_axis():
    """What was computed before the axis was added holds the axis at the value that it had anyway."""
    before = {job.id for job in grid(Both(), {"network.activation": ["tanh", "relu"]}, seeds=[0, 1])}
    assert before < {job.id for job in grid(Both(), AXES, seeds=[0, 1])}
    turned = grid(Both(), dict(reversed(AXES.items())), seeds=[0, 1])
    assert {job.id for job in turned} == {job.id for job in grid(Both(), AXES, seeds=[0, 1])}


def test_a_job_with_other_numbers_has_another_name():
    first = grid(Both(), {}, seeds=[0])[0]
    other = grid(Both(fit=Fit(n_updates=6)), {}, seeds=[0])[0]
    assert first.id != other.id


def test_runs_of_other_seeds_share_no_name_and_no_ensemble():
    """Networks of seed 1 in a run of seed 0 and in one of seed 1 saw other trials."""
    first, second = (grid(Both(), {}, seeds=[1], run_seed=seed) for seed in (0, 1))
    assert first[0].id != second[0].id
    assert len(group(first + second, member_fields=[])) == 2


def test_groups_differ_only_in_what_members_may_differ():
    groups = group(grid(Both(), AXES, seeds=[0, 1]), member_fields=["fit.penalty_rate"])
    assert [len(members) for members in groups] == [6, 6]
    assert {job.settings.network.activation for job in groups[0]} == {"tanh"}


def test_a_name_is_readable_and_can_be_that_of_a_file():
    class Titled(Both):
        @property
        def title(self) -> str:
            return "../a/long value, with everything " * 30

    job = Job(Titled(), 3)
    assert re.fullmatch(r"a_long_value_with_everything[\w.]{0,14}-s3-[0-9a-f]{12}", job.id)
    assert re.fullmatch(r"s3-[0-9a-f]{12}", Job(Both(), 3).id)


def test_an_axis_that_is_no_setting_is_refused():
    with pytest.raises(SettingsError, match=r"have a known name.*activatoin.*Did you mean"):
        grid(Both(), {"network.activatoin": ["tanh"]}, seeds=[0])


def test_interval_is_students():
    values = np.array([1.0, 2.0, 4.0, 7.0])
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    interval = mean_interval(values)
    np.testing.assert_allclose([interval.low, interval.high], [low, high], rtol=1e-12)


def test_intervals_cover_together():
    """Five Bonferroni intervals side by side miss at least one mean in at most 5 % of runs."""
    rng = np.random.default_rng(1)
    n_runs = 4000
    misses = 0
    for _ in range(n_runs):
        intervals = [mean_interval(rng.normal(size=5), n_comparisons=5) for _ in range(5)]
        misses += any(not (i.low <= 0 <= i.high) for i in intervals)
    # SAMPLING: three binomial standard errors of a rate of 0.05 over n_runs.
    assert misses / n_runs < 0.05 + 3 * np.sqrt(0.05 * 0.95 / n_runs)


def test_one_member_has_no_interval_and_none_has_no_mean():
    assert mean_interval(np.array([0.3])).low == -np.inf
    assert str(mean_interval(np.array([0.3]))) == "0.30 (one network, no interval)"
    assert str(mean_interval(np.array([np.nan]))) == "no network"


def test_a_verdict_survives_json():
    verdict = Verdict(Claim("c1", "s", "r", "p"), "undecided", "why", {"n": 3})
    assert Verdict.from_dict(verdict.as_dict()) == verdict
