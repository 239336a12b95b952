"""All probes of a network together, and on networks whose task leaves them one mechanism."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from dynaprobe.core.errors import SettingsError
from dynaprobe.model.rnn import CTRNN
from dynaprobe.model.settings import NetworkSettings
from dynaprobe.study.jobs import JobSettings, train
from dynaprobe.study.networks import TrainedNetwork
from dynaprobe.study.probing import ProbeSettings, probe_network
from dynaprobe.study.store import RunStore
from dynaprobe.study.sweep import grid
from dynaprobe.tasks.reach import DelayedReach
from dynaprobe.training.settings import FitSettings

SMALL = ProbeSettings(
    noise_sd=(0.0, 0.5), n_noise_trials=2, switch_ms=(-100.0, 50.0), pulse_ms=(0.0,), pulse_sizes=(1.0,),
    moments_ms=(0.0,), n_fixed_point_starts=4, silenced_fractions=(0.25, 0.5),
)  # fmt: skip
MECHANISM = {"input_removal", "state_swap", "state_swap_visible", "mechanism"}
WANTED = {
    *MECHANISM, "input_noise", "target_switch", "locations_between", "locations_sweep",
    "locations_radii", "pulses", "silencing", "silencing_preparatory", "silencing_movement", "fixed_points",
    "local_spectra", "linear_prediction", "flow_fields",
}  # fmt: skip


def untrained(**changes: object) -> TrainedNetwork:
    task = DelayedReach(n_targets=4, dt_ms=20.0, **changes)
    network = CTRNN.make(NetworkSettings(n_units=8, dt_ms=20.0), n_inputs=3, n_outputs=4, seed=0)
    return TrainedNetwork("one", network, "delayed_reach", task, "untrained", "", {}, {"score": 0.0}, xr.Dataset())


@pytest.mark.slow
def test_every_probe_has_its_results_and_they_can_be_stored(tmp_path):
    results = probe_network(untrained(), SMALL)
    assert set(results) == WANTED
    RunStore(tmp_path).save("probes", {name: result.to_dataset() for name, result in results.items()})
    stored = RunStore(tmp_path).load("probes")
    for name, result in results.items():
        again = type(result).from_dataset(stored[name])
        assert again.settings == json.loads(json.dumps(dict(result.settings)))
        assert set(again.data.data_vars) == set(result.data.data_vars)


def test_the_probes_named_are_the_probes_run():
    assert set(probe_network(untrained(), SMALL, which=("mechanism",))) == MECHANISM
    with pytest.raises(SettingsError, match=r"probe must be one of mechanism, noise, .* but got nosie"):
        probe_network(untrained(), SMALL, which=("nosie",))


def test_the_same_units_are_silent_in_every_epoch_the_few_among_the_many():
    results = probe_network(untrained(), SMALL, which=("perturb",))
    assert results["silencing"].data["n_silenced"].values.tolist() == [2, 4]
    # All of the trial is silenced at least as long as a part of it: the early part alone leaves the same states.
    whole, early = (results[name].data["distance"] for name in ("silencing", "silencing_preparatory"))
    before = whole["time"].values < 0
    late_start = whole["time"].values < -500
    assert not np.allclose(whole.values[:, before], 0)
    np.testing.assert_allclose(early.values[:, late_start], 0, atol=1e-5)  # round-off of other compiled pieces


def test_a_switched_target_is_seen_where_the_task_hides_it():
    """Until_go: at 50 ms after go the input of B would be nothing; the probe shows it, and end points move."""
    hidden = untrained(target_visible="until_go", no_delay_fraction=0.0)
    late = probe_network(hidden, SMALL, which=("switch",))["target_switch"].data["end_point"].sel(switch_ms=50.0)
    by_target = late.groupby("to_condition").mean()
    assert float(np.abs(by_target - by_target.mean("to_condition")).max()) > 1e-6


@pytest.mark.slow
def test_networks_of_forced_mechanism_are_found_out(tmp_path):
    """Trained for half a minute: not good, but every one reaches by the only way there is."""
    base = JobSettings(
        task=DelayedReach(no_delay_fraction=0.0),
        network=NetworkSettings(n_units=50),
        fit=FitSettings(n_updates=400, batch_size=32, learning_rate=3e-3),
    )
    jobs = grid(base, {"task.target_visible": ["until_go", "from_go"]}, seeds=[0])
    networks = train(jobs, RunStore(tmp_path))
    found = [probe_network(network, SMALL, which=("mechanism",))["mechanism"] for network in networks]
    assert [str(one.data.attrs["mechanism"]) for one in found] == ["initial_condition", "input_driven"]
    assert all(np.isfinite(one.data["mechanism_index"]) for one in found)
