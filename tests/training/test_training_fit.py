"""Training a whole ensemble: members independent, resuming exact, divergence contained, constraints kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_task import SignTask

from dynaprobe.core.errors import SettingsError
from dynaprobe.model.ensemble import Ensemble
from dynaprobe.model.settings import NetworkSettings
from dynaprobe.training.fit import fit, prepare_state
from dynaprobe.training.settings import FitSettings
from dynaprobe.training.state import OPTIMISER

TASK = SignTask()
NETWORK = NetworkSettings(n_units=8, tau_ms=20, density=0.7, dale_excitatory_fraction=0.5)
SETTINGS = FitSettings(
    n_updates=30,
    batch_size=8,
    learning_rate=0.05,
    learning_rate_end=0.01,
    n_validation_trials=16,
    validate_every=5,
    checkpoint_every=4,
    threshold=0.5,
)
SEEDS = (3, 1, 2)


def ensemble_of(seeds=SEEDS, **hyperparameters):
    return Ensemble.make(NETWORK, n_inputs=2, n_outputs=1, seeds=seeds, hyperparameters=hyperparameters)


def same(a, b):
    """Bit for bit, NaN equal to NaN."""
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(np.asarray(x), np.asarray(y), equal_nan=True) for x, y in leaves)


@pytest.fixture(scope="module")
def trained():
    """One fit, the states and the progress it reported."""
    states, progress = [], []
    result = fit(TASK, ensemble_of(), SETTINGS, seed=0, on_update=progress.append, on_checkpoint=states.append)
    return result, states, progress


def test_it_learns_and_says_so(trained):
    result, _, _ = trained
    assert result.status == ("converged",) * 3
    assert (result.score >= 0.5).all()
    best = int(np.nanargmin(result.history["validation_cost"][0])) + 1
    assert result.reason[0] == f"score {result.score[0]:.3f} at update {best} reaches the threshold 0.5"
    loss = result.history["loss"].values
    assert (loss[:, -3:].mean(1) < 0.5 * loss[:, :3].mean(1)).all()


def test_history_is_labelled_and_complete(trained):
    history = trained[0].history
    assert history.sizes == {"member": 3, "update": 30}
    assert history["seed"].values.tolist() == list(SEEDS)
    for name in ("loss", "cost", "gradient_norm"):
        assert np.isfinite(history[name]).all(), name
    validated = np.flatnonzero(np.isfinite(history["validation_score"][0]))
    assert validated.tolist() == [4, 9, 14, 19, 24, 29]
    assert (history["cost"] > history["loss"]).all()


def test_parameters_of_the_lowest_validation_cost_are_kept(trained):
    result, _, _ = trained
    best = np.nanargmin(result.history["validation_cost"].values, axis=1)
    np.testing.assert_array_equal(result.score, result.history["validation_score"].values[np.arange(3), best])


def test_constraints_hold_after_training(trained):
    networks = trained[0].ensemble.networks
    start = ensemble_of().networks
    w_rec, absent = np.asarray(networks.w_rec), np.asarray(start.mask_rec) == 0
    assert (w_rec[absent] == 0).all()
    assert (np.diagonal(w_rec, axis1=1, axis2=2) == 0).all()
    assert (w_rec * np.asarray(networks.dale_sign)[:, None, :] >= 0).all()
    for name in ("w_in", "w_rec", "w_out", "b", "x0"):
        assert not same(getattr(networks, name), getattr(start, name)), name
    for name in ("noise_state", "noise_input", "mask_rec", "dale_sign"):
        assert same(getattr(networks, name), getattr(start, name)), name


def test_resuming_gives_the_same_numbers_bit_for_bit(trained):
    result, states, _ = trained
    assert [int(state.n_done) for state in states] == [4, 8, 12, 16, 20, 24, 28]
    # Through NumPy, as a file would carry it.
    saved = jax.tree.map(np.asarray, states[2])
    resumed = fit(TASK, ensemble_of(), SETTINGS, seed=0, resume=jax.tree.map(jnp.asarray, saved))
    assert same(resumed.ensemble, result.ensemble)
    assert resumed.history.identical(result.history)
    assert resumed.reason == result.reason


def test_a_member_trained_alone_gets_the_same_numbers_bit_for_bit(trained):
    result, _, _ = trained
    alone = fit(TASK, ensemble_of([SEEDS[1]]), SETTINGS, seed=0)
    assert same(alone.ensemble, result.ensemble.select([1]))
    assert alone.history.identical(result.history.isel(member=[1]))


def test_a_diverging_member_stops_alone(trained):
    result, _, _ = trained
    start = ensemble_of()
    poisoned = eqx.tree_at(lambda e: e.networks.w_out, start, start.networks.w_out.at[1, 0, 0].set(jnp.nan))
    outcome = fit(TASK, poisoned, SETTINGS, seed=0)
    assert outcome.status == ("converged", "diverged", "converged")
    assert outcome.reason[1] == "the loss was not finite at update 1; the initial parameters are kept"
    assert same(outcome.ensemble.select([0, 2]), result.ensemble.select([0, 2]))
    assert outcome.history.isel(member=[0, 2]).identical(result.history.isel(member=[0, 2]))
    assert np.isnan(outcome.history["loss"][1]).all()
    assert np.isnan(outcome.score[1])


def test_a_member_that_diverges_later_keeps_its_best_parameters(trained):
    result, states, _ = trained
    broken = eqx.tree_at(
        lambda s: s.members.network.b, states[2], states[2].members.network.b.at[0, 3].set(jnp.nan)
    )
    outcome = fit(TASK, ensemble_of(), SETTINGS, seed=0, resume=broken)
    assert outcome.status == ("diverged", "converged", "converged")
    assert "not finite at update 13; the parameters of update 10 are kept" in outcome.reason[0]
    assert same(outcome.ensemble.select([0]).networks, jax.tree.map(lambda leaf: leaf[:1], states[2].members.best))
    assert same(outcome.ensemble.select([1, 2]), result.ensemble.select([1, 2]))


def test_penalty_weights_of_members_act_on_them_alone(trained):
    result, _, _ = trained
    outcome = fit(TASK, ensemble_of(penalty_rate=[0.0, 3.0, 0.0]), SETTINGS, seed=0)
    assert same(outcome.ensemble.select([0, 2]).networks, result.ensemble.select([0, 2]).networks)
    rates = [
        float(jnp.mean(each.ensemble.member(1).rollout(TASK.condition_trials().inputs).rates ** 2))
        for each in (outcome, result)
    ]
    assert rates[0] < 0.5 * rates[1]


def test_another_seed_gives_other_trials_and_the_same_start(trained):
    outcome = fit(TASK, ensemble_of(), SETTINGS, seed=1)
    assert (outcome.history["loss"].values != trained[0].history["loss"].values).all()


def test_progress_is_reported_up_to_the_end(trained):
    progress = trained[2]
    updates = [each.update for each in progress]
    assert updates == sorted(set(updates))
    last = progress[-1]
    assert (last.update, last.n_updates, last.n_training) == (30, 30, 3)
    assert last.remaining_s == 0
    np.testing.assert_array_equal(last.loss, trained[0].history["loss"][:, -1])
    assert np.isnan(progress[0].score).all()
    assert np.isfinite(last.score).all()


def test_patience_stops_a_member_that_does_not_improve():
    # Validated so often that small steps back are seen.
    restless = SETTINGS.with_changes({"patience": 1, "validate_every": 1})
    outcome = fit(TASK, ensemble_of(), restless, seed=0)
    n_stopped = 0
    for k, reason in enumerate(outcome.reason):
        costs = outcome.history["validation_cost"].values[k]
        at = np.flatnonzero(np.isfinite(costs))
        worse = at[1:][np.diff(costs[at]) >= 0]
        stops = len(worse) > 0
        n_stopped += stops
        assert np.isfinite(outcome.history["loss"][k]).sum() == (worse[0] + 1 if stops else 30)
        sentence = f"; stopped at update {at[-1] + 1} after 1 validations without improvement"
        assert reason.endswith(sentence) == stops
    assert n_stopped > 0


PROGRAM = """
import jax, numpy as np
jax.config.update("jax_num_cpu_devices", 2)
from test_training_fit import *
result = fit(TASK, ensemble_of(), SETTINGS, seed=0)
assert len(jax.devices()) == 2
np.savez(sys.argv[1], *[np.asarray(leaf) for leaf in jax.tree.leaves(result.ensemble)])
"""


@pytest.mark.slow
def test_numbers_do_not_depend_on_the_number_of_devices(trained, tmp_path, monkeypatch):
    # Three members on two devices: one place stays empty. This process may have any number of devices; the member
    # trained alone above covers the case in which members outnumber them.
    here = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", str(here))
    monkeypatch.delenv("JAX_NUM_CPU_DEVICES", raising=False)
    path = tmp_path / "leaves.npz"
    subprocess.run([sys.executable, "-c", PROGRAM, str(path)], check=True, timeout=300)
    with np.load(path) as leaves:
        assert same([leaves[name] for name in leaves.files], jax.tree.leaves(trained[0].ensemble))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seed": 1}, r"seed must be that of the fit to resume \(0\), but got 1"),
        (
            {"settings": SETTINGS.with_changes({"n_updates": 31})},
            r"got \(3, 30\) members and updates\. Expected \(3, 31\)",
        ),
        ({"ensemble": ensemble_of([1])}, r"resume must be a state of the same ensemble"),
    ],
)
def test_resuming_another_fit_is_refused(trained, changes, sentence):
    state = trained[1][0]
    asked = {"ensemble": ensemble_of(), "settings": SETTINGS, "seed": 0, **changes}
    with pytest.raises(SettingsError, match=sentence):
        fit(TASK, asked["ensemble"], asked["settings"], seed=asked["seed"], resume=state)


def test_state_before_the_fit_is_a_template_for_saved_ones(trained):
    template = prepare_state(TASK, ensemble_of(), SETTINGS, seed=0)
    shapes = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(template)]
    assert shapes == [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(trained[1][0])]


def test_task_and_network_must_fit():
    with pytest.raises(
        SettingsError, match=r"dt_ms must be the same for network and task \(5 ms\), but got 10\.0"
    ):
        fit(SignTask(dt_ms=5.0), ensemble_of(), SETTINGS, seed=0)
    other = Ensemble.make(NETWORK, n_inputs=3, n_outputs=1, seeds=[0])
    with pytest.raises(SettingsError, match="have the 2 inputs and 1 outputs of the task, but got 3 and 1"):
        fit(TASK, other, SETTINGS, seed=0)
    other = Ensemble.make(NETWORK, n_inputs=2, n_outputs=4, seeds=[0])
    with pytest.raises(SettingsError, match="network must have the 2 inputs and 1 outputs of the task"):
        fit(TASK, other, SETTINGS, seed=0)


def test_unknown_hyperparameter_is_refused_before_any_work():
    with pytest.raises(SettingsError, match="hyperparameter must be one of penalty_rate"):
        fit(TASK, ensemble_of(penalty_speed=[1.0, 1.0, 1.0]), SETTINGS, seed=0)


def test_the_moments_begin_where_adam_begins_them():
    ensemble = ensemble_of()
    begun = prepare_state(TASK, ensemble, SETTINGS, seed=0).members.optimiser
    parameters = eqx.filter(ensemble.networks, ensemble.networks.trainable())
    expected = jax.vmap(OPTIMISER.init)(parameters)
    assert jax.tree.structure(begun) == jax.tree.structure(expected)
    for ours, theirs in zip(jax.tree.leaves(begun), jax.tree.leaves(expected), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
