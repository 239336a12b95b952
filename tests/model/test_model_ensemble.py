"""Ensembles: members are what they would be alone."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from dynaprobe.core.errors import SettingsError
from dynaprobe.core.random import key
from dynaprobe.model.ensemble import Ensemble, concatenate, simulate
from dynaprobe.model.rnn import CTRNN
from dynaprobe.model.settings import NetworkSettings

SETTINGS = NetworkSettings(n_units=7)
CHANNELS = {"n_inputs": 3, "n_outputs": 2}


def make(seeds, **hyperparameters):
    return Ensemble.make(SETTINGS, **CHANNELS, seeds=seeds, hyperparameters=hyperparameters)


def same(a, b):
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return jax.tree.structure(a) == jax.tree.structure(b) and all(np.array_equal(x, y) for x, y in leaves)


def test_members_are_the_networks_of_their_seeds():
    ensemble = make([4, 9, 4])
    assert ensemble.n_members == 3
    assert same(ensemble.member(1), CTRNN.make(SETTINGS, **CHANNELS, seed=9))
    assert same(ensemble.member(0), ensemble.member(-1))


def test_noise_per_member_changes_the_network_and_the_rest_goes_to_training():
    ensemble = make([0, 1], noise_state=[0.0, 0.2], penalty_rate=[0.1, 1.0])
    np.testing.assert_allclose(ensemble.networks.noise_state, [0.0, 0.2], rtol=1e-6)
    assert list(ensemble.hyperparameters) == ["penalty_rate"]


def test_select_and_concatenate_undo_each_other():
    ensemble = make([1, 2, 3], penalty_rate=[0.1, 0.2, 0.3])
    joined = concatenate([ensemble.select([2]), ensemble.select(np.array([True, True, False]))])
    assert same(joined.select([1, 2, 0]), ensemble)


def test_simulated_members_do_not_depend_on_their_neighbours():
    ensemble = make([1, 2, 3])
    inputs = np.ones((4, 30, 3), dtype=np.float32)
    for stream in (None, key(0, "noise")):
        together = simulate(ensemble, inputs, stream)
        assert together.outputs.shape == (3, 4, 30, 2)
        alone = simulate(ensemble.select([2]), inputs, stream)
        np.testing.assert_array_equal(together.states[2], alone.states[0])
    assert not np.allclose(together.states[0] - together.states[1], 0)


def test_equal_seeds_draw_equal_noise_and_other_seeds_other_noise():
    ensemble = make([5, 5, 6])
    states = simulate(ensemble, np.zeros((2, 5, 3), np.float32), key(0, "noise")).states
    np.testing.assert_array_equal(states[0], states[1])
    assert (states[0] != states[2]).all()


@pytest.mark.parametrize("seeds", [[], [-1], [2**32]])
def test_bad_seeds(seeds):
    with pytest.raises(SettingsError, match="seeds must name at least one seed, each from 0 to"):
        make(seeds)


def test_bad_hyperparameters():
    with pytest.raises(
        SettingsError, match=r"penalty_rate must hold one finite, non-negative value per member \(2\)"
    ):
        make([0, 1], penalty_rate=[0.1])


def test_no_such_member():
    with pytest.raises(SettingsError, match=r"member must be below the number of members \(2\), but got 2"):
        make([0, 1]).member(2)


def test_different_architectures_do_not_join():
    other = Ensemble.make(NetworkSettings(n_units=8), **CHANNELS, seeds=[0])
    with pytest.raises(SettingsError, match="ensembles must share architecture"):
        concatenate([make([0]), other])
