"""What every task of the table keeps. A new row is tested here without a further line."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from dynaprobe.core.errors import SettingsError
from dynaprobe.core.random import key
from dynaprobe.core.settings import parse
from dynaprobe.core.trials import Trials
from dynaprobe.tasks.base import AbstractTask
from dynaprobe.tasks.table import TASKS, task_entry

# Settings worth a second look; every task is tested with its defaults as well.
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "delayed_reach": {
        "until go, fixed delay, no catch": {
            "target_visible": "until_go",
            "n_targets": 6,
            "no_delay_fraction": 0.0,
            "delay_range_ms": (500.0, 500.0),
            "catch_fraction": 0.0,
        },
        "from go, two radii": {"target_visible": "from_go", "radii": (0.5, 1.5), "dt_ms": 7.0},
        "flash": {"target_visible": "flash", "flash_ms": 60.0},
        "off around go": {"target_visible": "off_around_go", "n_targets": 3},
    }
}
CASES = {name: (name, {}) for name in TASKS} | {
    f"{name}: {label}": (name, changes) for name in TASKS for label, changes in VARIANTS.get(name, {}).items()
}
N_TRIALS = 256

# Round-off: single precision, values of order one; compiled code may add up in another order.
ROUND_OFF = 1e-5


# Compiled once for each setting: run line by line, JAX would compile every operation for every size.
make_trials = eqx.filter_jit(lambda task, key, n_trials: task.trials(key, n_trials))
make_condition_trials = eqx.filter_jit(lambda task, n_repeats: task.condition_trials(n_repeats))


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES.keys())
def task(request: pytest.FixtureRequest) -> AbstractTask:
    name, changes = request.param
    return TASKS[name].task().with_changes(changes)


@pytest.fixture(scope="module")
def once(task: AbstractTask) -> Trials:
    return make_condition_trials(task, 1)


@pytest.fixture(scope="module")
def trials(task: AbstractTask) -> Trials:
    return make_trials(task, key(0, "contract"), N_TRIALS)


def same(one: Trials, other: Trials) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)


def test_shapes_names_and_single_precision(task: AbstractTask, trials: Trials) -> None:
    n_times = task.timeline.n_bins
    assert trials.timeline == task.timeline
    assert trials.inputs.shape == (N_TRIALS, n_times, len(task.input_names))
    assert trials.targets.shape == trials.mask.shape == (N_TRIALS, n_times, len(task.output_names))
    assert (trials.input_names, trials.output_names) == (task.input_names, task.output_names)
    assert trials.conditions == task.conditions
    arrays = (trials.inputs, trials.targets, trials.mask, *trials.events_ms.values())
    assert {a.dtype for a in arrays} == {jnp.dtype("float32")}
    assert all(times.shape == (N_TRIALS,) for times in trials.events_ms.values())
    assert len(set(task.input_names)) == len(task.input_names)
    assert len(set(task.output_names)) == len(task.output_names)


def test_numbers_are_finite(trials: Trials) -> None:
    for array in (trials.inputs, trials.targets, trials.mask):
        assert bool(jnp.isfinite(array).all())


def test_every_condition_is_met(task: AbstractTask, trials: Trials, once: Trials) -> None:
    n_conditions = len(task.conditions)
    assert set(np.asarray(trials.condition).tolist()) - {-1} == set(range(n_conditions))
    assert len(set(task.conditions.rows)) == len(set(task.conditions.labels)) == n_conditions
    np.testing.assert_array_equal(once.condition, np.arange(n_conditions))


def test_trials_for_analyses_repeat_and_share_their_timing(task: AbstractTask, once: Trials) -> None:
    thrice = make_condition_trials(task, 3)
    np.testing.assert_array_equal(thrice.condition, np.repeat(np.arange(len(task.conditions)), 3))
    for a, b in ((once.inputs, thrice.inputs), (once.targets, thrice.targets)):
        np.testing.assert_array_equal(np.repeat(a, 3, axis=0), b)
    for name, times in once.events_ms.items():
        assert np.ptp(times) == 0, f"{name} is missing or differs between conditions"


def test_conditions_differ_in_what_is_asked_or_shown(task: AbstractTask, once: Trials) -> None:
    rows = np.concatenate([once.inputs.reshape(once.n_trials, -1), once.targets.reshape(once.n_trials, -1)], 1)
    assert len(np.unique(rows, axis=0)) == len(task.conditions)


def test_nothing_is_asked_before_the_response_event(task: AbstractTask, trials: Trials, once: Trials) -> None:
    for batch in (trials, once):
        respond_ms = np.asarray(batch.events_ms[task.response_event])
        # Where the event is missing nothing is ever asked.
        respond_ms = np.where(np.isnan(respond_ms), np.inf, respond_ms)
        before = task.timeline.time_ms < respond_ms[:, None]
        assert before.any()
        assert not np.asarray(batch.targets)[before].any()
        assert np.asarray(batch.targets).any()


def test_the_padding_counts_nothing_and_asks_nothing(task: AbstractTask, trials: Trials) -> None:
    end_ms = np.asarray(trials.events_ms["trial_end"])
    assert np.isfinite(end_ms).all()
    assert end_ms.max() <= task.timeline.n_bins * task.dt_ms + 1e-3
    mask, padding = np.asarray(trials.mask), task.timeline.time_ms >= end_ms[:, None]
    assert not mask[padding].any()
    assert not np.asarray(trials.targets)[padding].any()
    assert not np.asarray(trials.inputs)[padding].any()
    assert ((mask >= 0) & (mask <= 1)).all()
    assert mask.any(axis=(1, 2)).all()


def test_the_last_bin_is_used_by_the_longest_trial_the_settings_allow(task: AbstractTask) -> None:
    # A timeline too long would cost time in every update.
    batches = (make_trials(task, key(seed, "long"), N_TRIALS) for seed in range(4))
    longest_ms = max(float(np.max(batch.events_ms["trial_end"])) for batch in batches)
    assert longest_ms > 0.9 * task.timeline.n_bins * task.dt_ms


def test_the_same_key_gives_the_same_trials_and_another_key_others(task: AbstractTask, trials: Trials) -> None:
    assert same(trials, make_trials(task, key(0, "contract"), N_TRIALS))
    assert not same(trials, make_trials(task, key(1, "contract"), N_TRIALS))


@pytest.mark.parametrize("name", TASKS)
def test_compiled_trials_are_the_same_trials(name: str) -> None:
    task = TASKS[name].task()
    plain, compiled = task.trials(key(0, "contract"), N_TRIALS), make_trials(task, key(0, "contract"), N_TRIALS)
    for one, other in zip(jax.tree.leaves(plain), jax.tree.leaves(compiled), strict=True):
        np.testing.assert_allclose(one, other, rtol=ROUND_OFF, atol=ROUND_OFF)


@pytest.mark.parametrize("name", TASKS)
def test_trials_can_be_made_for_many_members_at_once(name: str) -> None:
    task = TASKS[name].task()
    keys = jnp.stack([key(1, "contract"), key(0, "contract")])
    both = eqx.filter_jit(eqx.filter_vmap(lambda one: task.trials(one, N_TRIALS)))(keys)
    alone = make_trials(task, keys[1], N_TRIALS)
    np.testing.assert_allclose(both.inputs[1], alone.inputs, rtol=ROUND_OFF, atol=ROUND_OFF)


def test_halving_dt_keeps_events_in_ms_and_targets_at_common_times(task: AbstractTask, trials: Trials) -> None:
    fine = task.with_changes({"dt_ms": task.dt_ms / 2})
    halved = make_trials(fine, key(0, "contract"), N_TRIALS)
    n_common = min(task.timeline.n_bins, -(-fine.timeline.n_bins // 2))
    assert abs(task.timeline.n_bins - fine.timeline.n_bins / 2) <= 1
    for name, times in trials.events_ms.items():
        np.testing.assert_array_equal(times, halved.events_ms[name], err_msg=name)
    for name in ("inputs", "targets", "mask"):
        coarse, every_other = getattr(trials, name)[:, :n_common], getattr(halved, name)[:, ::2][:, :n_common]
        np.testing.assert_allclose(coarse, every_other, atol=ROUND_OFF, err_msg=name)


def test_epochs_follow_one_another_without_gap_or_overlap(task: AbstractTask, trials: Trials) -> None:
    masks = np.stack([trials.epoch_mask(epoch.name) for epoch in task.timeline.epochs])
    assert masks.sum(0).max() == 1
    whole = ~np.isnan(np.stack(list(trials.events_ms.values()))).any(0)
    inside = np.asarray(trials.mask).any(-1)
    np.testing.assert_array_equal(masks.any(0)[whole], inside[whole])
    for before, after in zip(task.timeline.epochs[:-1], task.timeline.epochs[1:], strict=True):
        assert before.stop == after.start


def test_the_targets_themselves_score_one_and_stillness_scores_nothing(task: AbstractTask, trials: Trials) -> None:
    perfect = task.performance(trials.targets, trials)
    assert all(abs(float(value) - 1) < ROUND_OFF for value in perfect.values())
    still = task.performance(jnp.zeros_like(trials.targets), trials)
    assert "score" in still
    assert float(still["score"]) <= 0


def test_what_happens_in_the_padding_does_not_change_the_score(task: AbstractTask, trials: Trials) -> None:
    outputs = jnp.where(trials.mask > 0, trials.targets + 0.1, 1e3)
    other = jnp.where(trials.mask > 0, trials.targets + 0.1, -1e3)
    assert float(task.performance(outputs, trials)["score"]) == float(task.performance(other, trials)["score"])
    assert float(task.performance(outputs, trials)["score"]) < 1


def test_a_task_is_its_own_frozen_settings(task: AbstractTask) -> None:
    twin = type(task).model_validate(task.model_dump())
    assert (twin, hash(twin)) == (task, hash(task))
    with pytest.raises(ValidationError, match="frozen"):
        task.dt_ms = 1.0  # type: ignore[misc]


def test_a_task_survives_toml(task: AbstractTask) -> None:
    # JSON's numbers, strings and lists are TOML's as well; what is None is left out.
    values = task.model_dump(mode="json", exclude_none=True)
    text = "\n".join(f"{name} = {json.dumps(value)}" for name, value in values.items())
    assert parse(type(task), tomllib.loads(text)) == task


@pytest.mark.parametrize("name", TASKS)
def test_every_row_says_what_and_from_where(name: str) -> None:
    entry = task_entry(name)
    assert entry.summary.endswith(".")
    assert "doi:10." in entry.citation
    assert entry.task().response_event in make_condition_trials(entry.task(), 1).events_ms
    assert name.islower()
    assert (entry.task.__doc__ or "").startswith(tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))


def test_an_unknown_task_is_answered_with_the_known_ones() -> None:
    with pytest.raises(SettingsError) as caught:
        task_entry("reach")
    assert str(caught.value) == f"task must be one of {', '.join(TASKS)}, but got reach. See `dynaprobe tasks`."
