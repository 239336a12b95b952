"""A search by Optuna: settings proposed from the results so far.

Proposals are made in batches, each from the results of all batches before it and the run's seed alone. A search
that is started again goes through the same batches, finds their results in the store, and goes on where it was:
there is nothing else to remember.

T Akiba, S Sano, T Yanase, T Ohta, M Koyama (2019) Optuna: a next-generation hyperparameter optimization framework.
Proc. KDD, doi:10.1145/3292500.3330701.
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from dynaprobe.core.errors import SettingsError
from dynaprobe.study.deltas import Search, Span
from dynaprobe.study.jobs import JobSettings
from dynaprobe.study.store_seal import read_facts
from dynaprobe.study.store_sweep import SweepStore
from dynaprobe.study.sweep import Job
from dynaprobe.study.sweeping import SweepReport

Changes = dict[str, Any]


def run_search(
    search: Search,
    jobs_of: Callable[[Sequence[Changes]], list[Job[JobSettings]]],
    sweep: Callable[[Sequence[Job[JobSettings]]], SweepReport],
    store: SweepStore,
    *,
    seed: int,
) -> tuple[SweepReport, Changes]:
    """Train batch after batch of proposals.

    Args:
        search: what to search through, and how long.
        jobs_of: from changes of the settings to jobs, all seeds of every change.
        sweep: has jobs computed, see `dynaprobe.study.sweeping.run_sweep`.
        store: where their results are.
        seed: the run's seed.

    Returns:
        A report over all batches, and the changes with the best mean of the measure, none where there is no mean.

    Raises:
        SettingsError: when Optuna is not installed, or the measure is none of the scores.
    """
    told: list[tuple[Changes, float]] = []
    reports = []
    while len(told) < search.n_draws:
        batch = propose(search, told, min(search.at_once, search.n_draws - len(told)), seed=seed)
        reports.append(sweep(jobs_of(batch)))
        told += [(changes, _value(search, jobs_of([changes]), store)) for changes in batch]
    sign = 1 if search.aim == "high" else -1
    known = [(sign * value, k) for k, (_, value) in enumerate(told) if math.isfinite(value)]
    best = told[max(known)[1]][0] if known else {}
    return _together(reports), best


def propose(search: Search, told: Sequence[tuple[Changes, float]], number: int, *, seed: int) -> list[Changes]:
    """The next proposals, by the tree-structured Parzen estimator, a function of its arguments alone.

    Args:
        search: what to search through.
        told: changes tried so far, with the mean of the measure; NaN where there is none.
        number: how many to propose.
        seed: the run's seed.

    Raises:
        SettingsError: when Optuna is not installed.
    """
    optuna = _optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    among = {name: _distribution(optuna, values) for name, values in search.draw.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is experimental to keep proposals of one batch apart
        sampler = optuna.samplers.TPESampler(seed=seed + len(told), constant_liar=True)
        study = optuna.create_study(direction="maximize" if search.aim == "high" else "minimize", sampler=sampler)
        for changes, value in told:
            ended = {"value": value} if math.isfinite(value) else {"state": optuna.trial.TrialState.FAIL}
            study.add_trial(optuna.trial.create_trial(params=changes, distributions=among, **ended))
        return [dict(study.ask(among).params) for _ in range(number)]


def _value(search: Search, jobs: Sequence[Job[JobSettings]], store: SweepStore) -> float:
    """Mean of the measure over the networks of one setting; NaN when one of them has none."""
    values = []
    for job in jobs:
        path = store.path("networks", f"{job.id}.nc")
        facts = (read_facts(path) if path.is_file() else None) or {}
        if facts and search.measure not in facts["scores"]:
            raise SettingsError(
                "sweep.search.measure",
                rule=f"be one of {', '.join(sorted(facts['scores']))}",
                received=search.measure,
                remedy="Choose one of these",
            )
        value = facts["scores"][search.measure] if facts else None
        values.append(math.nan if value is None else float(value))
    return sum(values) / len(values)


def _distribution(optuna: Any, values: Span | Sequence[Any]) -> Any:
    kinds = optuna.distributions
    if not isinstance(values, Span):
        return kinds.CategoricalDistribution(tuple(values))
    if values.whole:
        return kinds.IntDistribution(int(values.low), int(values.high), log=values.log)
    return kinds.FloatDistribution(values.low, values.high, log=values.log)


def _together(reports: Sequence[SweepReport]) -> SweepReport:
    failures: dict[str, str] = {}
    for report in reports:
        failures |= report.failures
    return SweepReport(
        n_jobs=sum(report.n_jobs for report in reports),
        already=tuple(job for report in reports for job in report.already),
        computed=tuple(job for report in reports for job in report.computed),
        by_others=tuple(job for report in reports for job in report.by_others),
        failures=failures,
    )


def _optuna() -> Any:
    try:
        return importlib.import_module("optuna")
    except ImportError:
        raise SettingsError(
            "sweep.search",
            rule="have optuna installed",
            received="a Python without it",
            remedy="Run pip install 'dynaprobe[search]', or draw at random with [sweep.random]",
        ) from None
