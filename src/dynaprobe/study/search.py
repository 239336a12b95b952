"""A search by Optuna: settings proposed from the results so far.

Proposals are trained in batches. Proposal k of a batch that starts at number b follows from the run's seed, its
number, the results of proposals 0 to b - 1 in the order of their numbers, and the proposals b to k - 1; not from
when or where anything was computed. A search that is started again goes through the same proposals, finds their
results in the store, and goes on where it was. Only a result that has changed since, because a job had failed
then, changes what is proposed after it: to what a search would have proposed in which it had not failed.

T Akiba, S Sano, T Yanase, T Ohta, M Koyama (2019) Optuna: a next-generation hyperparameter optimization framework.
Proc. KDD, doi:10.1145/3292500.3330701.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dynaprobe.core.errors import DataError, SettingsError
from dynaprobe.core.random import generator
from dynaprobe.study.deltas import Search, Span
from dynaprobe.study.jobs import JobSettings
from dynaprobe.study.store_files import read_json, write_json
from dynaprobe.study.store_seal import read_facts
from dynaprobe.study.store_sweep import SweepStore
from dynaprobe.study.sweep import Job
from dynaprobe.study.sweeping import SweepReport

Changes = dict[str, Any]
# Changes with the mean of the measure.
Told = tuple[Changes, float]


def run_search(
    search: Search,
    jobs_of: Callable[[Sequence[Changes]], list[Job[JobSettings]]],
    sweep: Callable[[Sequence[Job[JobSettings]]], SweepReport],
    store: SweepStore,
    *,
    seed: int,
    say: Callable[[str], object] = lambda _: None,
) -> tuple[SweepReport, Changes]:
    """Train batch after batch of proposals.

    Args:
        search: what to search through, and how long.
        jobs_of: from changes of the settings to jobs, all seeds of every change.
        sweep: has jobs computed, see `dynaprobe.study.sweeping.run_sweep`.
        store: where their results are, and a record of the proposals.
        seed: the run's seed.
        say: told where the search does not go as it went before.

    Returns:
        A report over all batches, and the changes with the best mean of the measure, none where there is no mean.

    Raises:
        SettingsError: when Optuna is not installed, or the measure is none of the scores.
    """
    told: list[Told] = []
    reports = []
    record = _record(search, jobs_of([{}]), store, seed=seed)
    before, strayed = _proposed(record), False
    while len(told) < search.n_draws:
        batch: list[Changes] = []
        for _ in range(min(search.at_once, search.n_draws - len(told))):
            batch.append(propose(search, told, batch, seed=seed))
        if not strayed:
            strayed = _strayed(before[len(told) : len(told) + len(batch)], batch, len(told), say)
        reports.append(sweep(jobs_of(batch)))
        told += [(changes, _value(search, jobs_of([changes]), store)) for changes in batch]
        now = [{"number": k, "changes": changes, search.measure: value} for k, (changes, value) in enumerate(told)]
        write_json(record, [*now, *before[len(told) :]])
    if any(report.failures for report in reports):
        say(
            "Some networks of the search have no result. Started again it tries them again, and may then propose "
            "other settings after them"
        )
    return _together(reports), _best(search, told)


def propose(search: Search, told: Sequence[Told], running: Sequence[Changes], *, seed: int) -> Changes:
    """The next proposal, by the tree-structured Parzen estimator, a function of its arguments alone.

    Args:
        search: what to search through.
        told: changes tried so far in the order of their numbers, with the mean of the measure; NaN where there is
            none.
        running: changes proposed since, in the same order, of which nothing is known yet; the next one keeps away
            from them.
        seed: the run's seed.

    Raises:
        SettingsError: when Optuna is not installed.
    """
    optuna = _optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    among = {name: _distribution(optuna, values) for name, values in search.draw.items()}
    # A stream per number: what is drawn for one does not depend on how much was drawn for those before.
    stream = int(generator(seed, "search", len(told) + len(running)).integers(2**32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is experimental to keep proposals of one batch apart
        sampler = optuna.samplers.TPESampler(seed=stream, constant_liar=True)
    study = optuna.create_study(direction="maximize" if search.aim == "high" else "minimize", sampler=sampler)
    state = optuna.trial.TrialState
    ended = [{"value": value} if math.isfinite(value) else {"state": state.FAIL} for _, value in told]
    ended += [{"state": state.RUNNING}] * len(running)
    for changes, how in zip([*(one for one, _ in told), *running], ended, strict=True):
        study.add_trial(optuna.trial.create_trial(params=changes, distributions=among, **how))
    return dict(study.ask(among).params)


def _best(search: Search, told: Sequence[Told]) -> Changes:
    """The changes with the best mean, the first of those that are equal."""
    sign = 1 if search.aim == "high" else -1
    known = [(sign * value, -k) for k, (_, value) in enumerate(told) if math.isfinite(value)]
    return told[-max(known)[1]][0] if known else {}


def _record(search: Search, base: Sequence[Job[JobSettings]], store: SweepStore, *, seed: int) -> Path:
    """Where the proposals of a search are kept; one that is made longer is the same search."""
    content = {"search": search.model_dump(mode="json", exclude={"n_draws"}), "seed": seed}
    text = json.dumps([content, [job.id for job in base]], sort_keys=True)
    return store.path("searches", f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.json")


def _proposed(record: Path) -> list[dict[str, Any]]:
    """What was proposed the last time; nothing, where that cannot be read: it only serves to tell."""
    try:
        return [dict(one) for one in read_json(record)]
    except (DataError, TypeError, ValueError):
        return []


def _strayed(
    before: Sequence[Mapping[str, Any]], batch: Sequence[Changes], first: int, say: Callable[[str], object]
) -> bool:
    """Whether proposals are not those that were made the last time; if so, it is said."""
    same = [json.dumps(one.get("changes")) == json.dumps(now) for one, now in zip(before, batch, strict=False)]
    if not all(same):
        say(
            f"From proposal {first + same.index(False)} on the search goes another way than the last time: "
            "results before it have changed (a job that had failed has one now), or Optuna is of another version. "
            "What was computed for the old proposals stays in the store"
        )
    return not all(same)


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
    untracked: dict[str, str] = {}
    for report in reports:
        untracked = {**report.untracked, **untracked}
    return SweepReport(
        n_jobs=sum(report.n_jobs for report in reports),
        already=tuple(job for report in reports for job in report.already),
        computed=tuple(job for report in reports for job in report.computed),
        by_others=tuple(job for report in reports for job in report.by_others),
        failures=failures,
        untracked=untracked,
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
