"""Probes of all networks of a run: what is stored, what is kept on resuming, and the table of numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from dynaprobe.model.rnn import CTRNN
from dynaprobe.model.settings import NetworkSettings
from dynaprobe.study import probe_battery
from dynaprobe.study.networks import TrainedNetwork
from dynaprobe.study.probe_battery import probe_all, read_probes
from dynaprobe.study.probe_numbers import numbers_of
from dynaprobe.study.probing import ProbeSettings
from dynaprobe.study.progress import Silent
from dynaprobe.study.store import RunStore
from dynaprobe.study.study import Run
from dynaprobe.tasks.reach import DelayedReach

SMALL = ProbeSettings(noise_sd=(0.0, 0.5), n_noise_trials=2, switch_ms=(-100.0, 50.0))
CHANGES = {"directions_deg": (0.0, 120.0, 240.0)}


def network(name: str, *, status: str = "converged", scale: float = 1.0) -> TrainedNetwork:
    task = DelayedReach(n_targets=4, dt_ms=20.0)
    made = CTRNN.make(NetworkSettings(n_units=8, dt_ms=20.0, activation="relu"), n_inputs=3, n_outputs=4, seed=0)
    values = {field: getattr(made, field) for field in CTRNN.__dataclass_fields__}
    scaled = CTRNN(**values | {"w_rec": made.w_rec * scale})
    history = xr.Dataset({"loss": ("update", [1.0])})
    return TrainedNetwork(name, scaled, "delayed_reach", task, status, "", {"seed": 0}, {"score": 0.9}, history)


@pytest.fixture
def run(tmp_path) -> Run:
    return Run(RunStore(tmp_path), None, SimpleNamespace(), 0, Silent(), 0)


def stored(run: Run, networks: list[TrainedNetwork]) -> list[TrainedNetwork]:
    for one in networks:
        run.store.save(f"networks/{one.id}", one.to_groups())
    return networks


def test_those_that_learned_are_probed_and_the_others_have_a_reason(run):
    networks = stored(run, [network("a"), network("b", status="below_threshold"), network("c", scale=1e30)])
    found = probe_all(run, networks, SMALL, changes=CHANGES, which=("mechanism", "switch"))
    assert found["id"].values.tolist() == ["a", "b", "c"]
    assert found["reason"].values.tolist()[:2] == ["", "did not learn the task"]
    assert "finite" in str(found["reason"].values[2])
    assert found["mechanism"].values.tolist()[1:] == ["none", "none"]
    assert np.isfinite(found["switch_success_early"].values).tolist() == [True, False, False]
    groups = run.store.load("probes/a")
    # Probed on the directions it is compared on.
    assert groups["input_removal"].sizes["condition"] == 3
    assert str(groups["mechanism"].attrs["mechanism"]) == found["mechanism"].values[0]
    assert "probes" in run.timing_s
    assert set(read_probes(run.store, "a").results) >= {"mechanism", "target_switch"}
    assert read_probes(run.store, "c") == ({}, found["reason"].values[2])


def test_halfway_places_lie_half_a_gap_from_training(run):
    """Of uneven directions too, in what is stored; every network is told by the delays of its own training."""
    networks = stored(run, [network("a")])
    uneven = {"directions_deg": (0.0, 40.0, 120.0)}
    found = probe_all(run, networks, SMALL, changes=uneven, which=("locations",))
    between = run.store.load("probes/a")["locations_between"]
    np.testing.assert_allclose(between["from_trained_deg"], [20, 40, 120], atol=1e-3)
    assert found["n_too_short_between"].values.tolist() == [int(between["direction_error_deg"].isnull().sum())]
    assert found["shortest_delay_ms"].values.tolist() == [0.0]


def test_a_network_of_another_task_has_a_reason_and_stops_nobody(run, monkeypatch):
    networks = stored(run, [network("a"), network("b")])
    read = probe_battery.load_network

    def of_other_task(file):
        return replace(read(file), task=SimpleNamespace()) if file.stem == "a" else read(file)

    monkeypatch.setattr(probe_battery, "load_network", of_other_task)
    found = probe_all(run, networks, SMALL, changes=CHANGES, which=("mechanism",))
    first, second = found["reason"].values.tolist()
    assert "task must be a delayed reach, whose targets can be moved and hidden, but got SimpleNamespace" in first
    assert second == ""
    assert found["mechanism"].values.tolist()[0] == "none" != found["mechanism"].values.tolist()[1]


def test_what_is_there_is_not_probed_again(run):
    networks = stored(run, [network("a"), network("b")])
    first = probe_all(run, networks, SMALL, changes=CHANGES, which=("mechanism",))
    file = Path(run.store.path("probes", "a.nc"))
    before = file.stat().st_mtime_ns
    run.store.path("probes", "b.nc").unlink()
    again = probe_all(run, networks, SMALL, changes=CHANGES, which=("mechanism",))
    assert file.stat().st_mtime_ns == before
    xr.testing.assert_identical(first, again)


def test_a_probe_that_was_revised_is_run_again_and_no_other(run, monkeypatch):
    networks = stored(run, [network("a")])
    both = ("mechanism", "switch")
    monkeypatch.setattr(probe_battery, "REVISIONS", {})
    first = probe_all(run, networks, SMALL, changes=CHANGES, which=both)
    monkeypatch.setattr(probe_battery, "REVISIONS", {"switch": 2})
    asked: list[list[str]] = []
    once = probe_battery.probe_network

    def watched(*args, which, **rest):
        asked.append(which)
        return once(*args, which=which, **rest)

    monkeypatch.setattr(probe_battery, "probe_network", watched)
    for _ in range(2):
        xr.testing.assert_identical(probe_all(run, networks, SMALL, changes=CHANGES, which=both), first)
    assert asked == [["switch"]]


def test_the_numbers_of_a_network():
    """Sums done by hand."""
    epochs, sd = ["preparatory", "movement", "throughout"], [0.0, 0.5, 1.0]
    error = np.array([[0.1, 0.1, 0.1], [0.2, 0.3, 0.4], [0.4, 0.5, 0.8]])
    noise = xr.Dataset(
        {
            "end_point_error": (("sd", "channel", "epoch"), np.stack([error * 9, error], axis=1)),
            "tolerated_sd": (("channel", "epoch"), np.array([[9.0, 9, 9], [np.inf, 0.5, 0.2]])),
        },
        coords={"sd": sd, "channel": ["target", "all"], "epoch": epochs},
    )
    times = {"switch_ms": [-100.0, -50.0, 0.0, 100.0]}
    switch = xr.Dataset(
        {
            "success": ("switch_ms", [1.0, 0.5, 0.25, 0.0]),
            "visited": ("switch_ms", [0.5, 0.0, 1.0, 1.0]),
            "output_reaction_ms": ("switch_ms", [200.0, 220.0, 0.0, 0.0]),
        },
        coords=times,
    )
    for horizon, expected in ((250.0, 250.0), (np.inf, 400.0), (np.nan, np.nan)):
        prediction = xr.Dataset(
            {"horizon_ms": ("start_ms", [10.0, horizon])},
            coords={"start_ms": [-200.0, 0.0], "lead_ms": [200.0, 400.0]},
        )
        # A model that never fails is known to hold for the longest lead.
        np.testing.assert_equal(numbers_of({"linear_prediction": prediction}), {"horizon_go_ms": expected})
    found = numbers_of({"input_noise": noise, "target_switch": switch})
    assert found["clean_error"] == pytest.approx(0.1)
    assert found["excess_error_preparatory"] == pytest.approx(0.2)
    assert found["excess_error_throughout"] == pytest.approx(0.5)
    assert found["tolerated_sd_movement"] == 0.5
    assert np.isinf(found["tolerated_sd_preparatory"])
    assert (found["switch_success_early"], found["switch_success_late"]) == (0.75, 0.125)
    assert (found["visited_early"], found["reaction_early_ms"]) == (0.25, 210.0)
    assert numbers_of({}) == {}


def test_early_switches_are_parted_at_the_shortest_delay_of_training():
    switch = xr.Dataset(
        {
            "success": ("switch_ms", [1.0, 0.5, 0.25, 0.125, 0.0]),
            "visited": ("switch_ms", np.zeros(5)),
            "output_reaction_ms": ("switch_ms", np.zeros(5)),
        },
        coords={"switch_ms": [-300.0, -150.0, -140.0, -50.0, 0.0]},
    )

    def parted(shortest_delay_ms: float) -> list[float]:
        found = numbers_of({"target_switch": switch}, shortest_delay_ms=shortest_delay_ms)
        return [found[f"switch_success_{part}"] for part in ("early", "early_trained", "early_short", "late")]

    # A switch that leaves just the shortest delay is one that training knows.
    np.testing.assert_array_equal(parted(150.0), [0.46875, 0.75, 0.1875, 0.0])
    np.testing.assert_array_equal(parted(0.0), [0.46875, 0.46875, np.nan, 0.0])
    np.testing.assert_array_equal(parted(500.0), [0.46875, np.nan, 0.46875, 0.0])
    np.testing.assert_array_equal(parted(np.nan), [0.46875, np.nan, np.nan, 0.0])


def test_errors_at_new_places_are_measured_by_the_gap_each_lies_in():
    """Uneven directions 0, 40 and 120: halves of their gaps are 20, 40 and 120 degrees."""
    between = xr.Dataset(
        {
            "direction_error_deg": ("condition", [-10.0, 30.0, np.nan]),
            "from_trained_deg": ("condition", [20.0, 40.0, 120.0]),
            "error": ("condition", [0.1, 0.2, 0.9]),
        }
    )
    radii = xr.Dataset({"mean_gain": ("radius", [0.5, 1.5])})
    found = numbers_of({"locations_between": between, "locations_radii": radii})
    assert found["direction_error_between_deg"] == 20
    assert found["direction_error_between_fraction"] == (10 / 20 + 30 / 40) / 2
    assert found["n_too_short_between"] == 1
    even = between.assign(from_trained_deg=("condition", np.full(3, 30.0)))
    found = numbers_of({"locations_between": even, "locations_radii": radii})
    assert found["direction_error_between_fraction"] == pytest.approx(found["direction_error_between_deg"] / 30)
