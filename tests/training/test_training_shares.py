"""A batch in shares: how it is divided, what fits the memory, and the same numbers on any number of devices."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_task import SignTask

from dynaprobe.core.random import key
from dynaprobe.training.across_devices import _places
from dynaprobe.training.objective import valid_bins
from dynaprobe.training.shares import N_TRAJECTORIES, added_up, n_segments, n_shares, over_shares


@pytest.mark.parametrize(
    ("n_trials", "expected"), [(1, 1), (4, 1), (7, 1), (8, 2), (12, 3), (16, 4), (20, 4), (64, 4), (65, 1)]
)
def test_shares_are_alike_few_and_not_too_small(n_trials, expected):
    assert n_shares(n_trials) == expected


@pytest.mark.parametrize(("n_members", "n_rows"), [(1, 1), (2, 2), (3, 2), (4, 2), (5, 2), (8, 2), (2, 4), (5, 4)])
def test_no_device_waits_while_another_has_two_members_more(n_members, n_rows):
    places = np.reshape(_places(n_members, n_rows), (n_rows, -1))
    assert places[places >= 0].tolist() == list(range(n_members))
    assert np.ptp((places >= 0).sum(axis=1)) <= 1
    assert places.shape[1] == max(2, -(-n_members // n_rows))


def test_segments_keep_the_trajectory_within_the_budget():
    facts = {"n_trials": 64, "n_units": 1000, "n_devices": 2}
    assert n_segments(1000, memory_gb=1e9, **facts) == 1
    cut = n_segments(1000, memory_gb=0.1, **facts)
    longest = -(-1000 // cut)
    assert 4 * N_TRAJECTORIES * 16 * 1000 * longest * 2 <= 0.1e9 < 4 * N_TRAJECTORIES * 16 * 1000 * 1000 * 2
    assert n_segments(10, memory_gb=1e-9, **facts) == 10


def test_every_trial_is_in_one_share():
    trials = SignTask().trials(key(0, "trials"), 12)

    def numbers(mine, part):
        return jnp.sum(mine.inputs), jnp.sum(valid_bins(mine.mask)), part.fraction, part.first_trial

    inputs, valid, fraction, first = jax.jit(lambda t: over_shares(numbers, t, n_columns=1))(trials)
    np.testing.assert_array_equal(first, [0, 4, 8])
    np.testing.assert_allclose(added_up(inputs), jnp.sum(trials.inputs), rtol=1e-6)  # float32 sums
    assert float(added_up(valid)) == float(jnp.sum(valid_bins(trials.mask)))
    assert float(added_up(fraction)) == pytest.approx(1, abs=1e-6)


CODE = """
import json, sys
sys.path.insert(0, {folder!r})
import numpy as np
from small_task import SignTask
from dynaprobe.core.devices import prepare_devices
prepare_devices(int(sys.argv[1]))
from dynaprobe.model.ensemble import Ensemble
from dynaprobe.model.settings import NetworkSettings
from dynaprobe.training.fit import fit
from dynaprobe.training.settings import FitSettings
said = []
networks = (
    NetworkSettings(n_units=9, tau_ms=20),
    NetworkSettings(n_units=8, tau_ms=20, density=0.7, dale_excitatory_fraction=0.5),
)
for seeds in ([3], [3, 4], [3, 4, 5]):
    for network, batch_size in zip(networks, (16, 8), strict=True):
        made = Ensemble.make(network, n_inputs=2, n_outputs=1, seeds=seeds)
        settings = FitSettings(
            n_updates=8, batch_size=batch_size, validate_every=3, n_validation_trials=16, learning_rate=0.05
        )
        done = fit(SignTask(), made, settings, seed=0)
        weights = [np.asarray(w) for w in done.ensemble.networks.weights().values()]
        for member, seed in enumerate(seeds):
            numbers = [w[member].tobytes().hex() for w in weights]
            numbers += [done.history[name].values[member].tobytes().hex() for name in sorted(done.history)]
            said.append([seed, network.n_units, numbers])
print(json.dumps(said))
"""


@pytest.mark.slow
def test_numbers_do_not_depend_on_devices_or_neighbours():
    """One to four devices, one to three members: nine layouts of members and shares, one result, bit for bit."""
    code = CODE.format(folder=os.path.dirname(__file__))
    runs = [
        subprocess.Popen([sys.executable, "-c", code, str(n)], stdout=subprocess.PIPE, text=True)
        for n in (1, 2, 4)
    ]
    try:
        # Two dozen compilations each: on a busy machine they take minutes.
        said = [json.loads(run.communicate(timeout=900)[0]) for run in runs]
    finally:
        for run in runs:
            run.kill()
            run.wait()
    results = {(seed, n_units, tuple(numbers)) for each in said for seed, n_units, numbers in each}
    assert len(results) == 3 * 2
