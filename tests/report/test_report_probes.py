"""Figures of probes: drawn from a real, if untrained, network, with labels and units, nothing cut."""

from __future__ import annotations

import re

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from dynaprobe.analysis.probes.local_dynamics import flow_fields, linear_prediction, spectra_along_trial
from dynaprobe.model.rnn import CTRNN
from dynaprobe.model.settings import NetworkSettings
from dynaprobe.report.export import settle, svg_text
from dynaprobe.report.figures import probes, probes_dynamics
from dynaprobe.study.networks import TrainedNetwork
from dynaprobe.study.probing import ProbeSettings, probe_network
from dynaprobe.tasks.reach import DelayedReach

SMALL = ProbeSettings(
    noise_sd=(0.0, 0.5, 1.0), n_noise_trials=2, switch_ms=(-100.0, 50.0), pulse_ms=(0.0, 100.0),
    pulse_sizes=(1.0, 2.0), moments_ms=(-100.0, 100.0), n_fixed_point_starts=4,
)  # fmt: skip
MECHANISMS = {"one": "initial_condition", "two": "mixed"}


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    task = DelayedReach(n_targets=4, dt_ms=20.0)
    network = CTRNN.make(NetworkSettings(n_units=8, dt_ms=20.0), n_inputs=3, n_outputs=4, seed=0)
    one = TrainedNetwork("one", network, "delayed_reach", task, "untrained", "", {}, {}, xr.Dataset())
    found = probe_network(one, SMALL, which=("noise", "switch", "locations", "perturb"))
    trials, moments_ms = task.condition_trials(), SMALL.moments_ms
    spectra = spectra_along_trial(network, trials, moments_ms=moments_ms)
    prediction = linear_prediction(network, trials, starts_ms=moments_ms)
    flow = flow_fields(network, trials, moments_ms=moments_ms)

    def both(kind):
        return dict.fromkeys(MECHANISMS, found[kind])

    silenced = {kind: result for kind, result in found.items() if kind.startswith("silencing")}
    drawn = {
        "noise": probes.noise_figure(both("input_noise"), MECHANISMS),
        "switch": probes.switch_figure(both("target_switch"), MECHANISMS),
        "switch_path": probes.switch_path_figure(both("target_switch")),
        "locations": probes.locations_figure(both("locations_sweep"), both("locations_radii"), MECHANISMS),
        "places": probes.places_figure(both("locations_radii")),
        "flow": probes_dynamics.flow_figure(dict.fromkeys(MECHANISMS, flow)),
        "local": probes_dynamics.local_dynamics_figure(spectra, prediction),
        "perturb": probes_dynamics.pulses_figure(found["pulses"], silenced),
    }
    for figure in drawn.values():
        settle(figure)
    return drawn


NAMES = ("noise", "switch", "switch_path", "locations", "places", "flow", "local", "perturb")


@pytest.mark.parametrize("name", NAMES)
def test_labelled_axes_say_their_unit(figures, name):
    labels = [
        label for axes in figures[name].axes for label in (axes.get_xlabel(), axes.get_ylabel()) if label.strip()
    ]
    assert labels
    for label in labels:
        assert re.search(r"\(.+\)|number of", label.replace("\n", " ")), label


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_shows_something_and_is_the_same_twice(figures, name):
    first = svg_text(figures[name], prefix=name)
    assert first == svg_text(figures[name], prefix=name)
    assert any(axes.lines or axes.collections for axes in figures[name].axes)


def test_mechanisms_differ_without_colour():
    looks = list(probes.MECHANISMS.values())
    assert len({look.marker for look in looks}) == len({str(look.dashes) for look in looks}) == len(looks)


def test_noise_curves_are_the_numbers(figures):
    axes = figures["noise"].axes[0]
    assert np.isclose(axes.lines[0].get_xdata(), [0.0, 0.5, 1.0]).all()
    assert axes.get_xlim()[0] <= 0
