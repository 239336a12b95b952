"""Figures of claims 2 to 4 and of perturbations: which of them a run has results for, in reading order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dynaprobe.analysis.fixed_point_record import FixedPoints
from dynaprobe.analysis.probes.input_noise import InputNoise
from dynaprobe.analysis.probes.local_dynamics import FlowFields, LinearPrediction, LocalSpectra
from dynaprobe.analysis.probes.new_locations import NewLocations
from dynaprobe.analysis.probes.perturbation import Pulses, Silencing
from dynaprobe.analysis.probes.target_switch import TargetSwitchProbe
from dynaprobe.analysis.result import Result
from dynaprobe.report import captions_mechanism, captions_probes
from dynaprobe.report.figures.against_index import (
    GENERALISATION,
    ROBUSTNESS,
    against_index_figure,
    excess_noise_figure,
    there,
)
from dynaprobe.report.figures.dynamics import fixed_points_figure, spectra_figure
from dynaprobe.report.figures.mechanism import (
    mechanism_cells_figure,
    mechanism_map_figure,
    similarity_by_mechanism_figure,
)
from dynaprobe.report.figures.probes import locations_figure, switch_figure, switch_path_figure
from dynaprobe.report.figures.probes_dynamics import (
    flow_figure,
    moment_modes_figure,
    prediction_figure,
    pulses_figure,
)
from dynaprobe.report.gather_probes import (
    Example,
    ProbeContents,
    column,
    lower_score,
    shortest_delays_ms,
    without_controls,
    words,
)
from dynaprobe.report.pair_page import FigureParts

# What is drawn once for a run, and its heading; said to be missing where the run has no such result.
PROBE_TITLES = {
    "mechanism_map": "By which mechanism networks reach",
    "mechanism_cells": "Mechanism by setting",
    "similarity_by_mechanism": "Similarity by mechanism",
    "flow": "Flow through a trial, side by side",
    "mechanism_fixed_points": "Fixed points along the inputs of a trial",
    "mechanism_spectra": "Modes around these fixed points",
    "moment_modes": "Modes along a trial",
    "prediction": "How far a linear model predicts",
    "noise": "Error under input noise",
    "robustness": "Robustness against mechanism",
    "generalisation": "Generalisation against mechanism",
    "switch": "Switched targets",
    "switch_path": "Path of the state after a switch",
    "locations": "New places",
}
# Perturbations are no claim of the paper.
PERTURBATION = "perturbation"

Drawn = Iterator[tuple[str, FigureParts]]


def probe_figures(probes: ProbeContents, bar: float | None) -> Drawn:
    """Section and parts of every figure that the probes of a run have results for.

    Args:
        probes: of the run.
        bar: from which a network reproduces a level of the recording; None where none is set.
    """
    yield from _maps(probes, bar)
    yield from _side_by_side(probes)
    yield from _noise(probes)
    yield from _generalisation(probes)
    yield from _perturbations(probes)


def _parts(name: str, caption: str, draw: Callable[[], Figure]) -> FigureParts:
    return name, PROBE_TITLES[name], caption, draw


def _maps(probes: ProbeContents, bar: float | None) -> Drawn:
    networks = probes.networks
    if np.isfinite(column(networks, "suffices") + column(networks, "decides")).any():
        yield (
            "2",
            _parts(
                "mechanism_map",
                captions_mechanism.mechanism_map(probes),
                lambda: mechanism_map_figure(networks, probes.confusion),
            ),
        )
    if "cell" in networks.variables and np.isfinite(column(networks, "mechanism_index")).any():
        yield (
            "2",
            _parts(
                "mechanism_cells",
                captions_mechanism.mechanism_cells(probes),
                lambda: mechanism_cells_figure(networks),
            ),
        )
    if np.isfinite(lower_score(networks)).any():
        named = {one.id: one.name for one in probes.nearest}
        yield (
            "2",
            _parts(
                "similarity_by_mechanism",
                captions_mechanism.similarity_by_mechanism(probes, bar),
                lambda: similarity_by_mechanism_figure(networks, named, bar),
            ),
        )


def _results(examples: Sequence[Example], group: str, kind: type[Result]) -> dict[str, Any]:
    """The results of some kind of those networks that have one, by the name in figures."""
    return {
        one.name: kind.from_dataset(one.groups[group])
        for one in examples
        if group in one.groups and one.groups[group].attrs.get("result") == kind.__name__
    }


def _side_by_side(probes: ProbeContents) -> Drawn:
    rows: tuple[tuple[str, str, type[Result], Callable[..., Figure], Callable[[Sequence[Example]], str]], ...] = (
        ("flow", "flow_fields", FlowFields, flow_figure, captions_mechanism.flow),
        (
            "mechanism_fixed_points", "fixed_points", FixedPoints, fixed_points_figure,
            captions_mechanism.fixed_points_along,
        ),
        ("mechanism_spectra", "fixed_points", FixedPoints, spectra_figure, captions_mechanism.point_modes),
        ("moment_modes", "local_spectra", LocalSpectra, moment_modes_figure, captions_mechanism.moment_modes),
        (
            "prediction", "linear_prediction", LinearPrediction, prediction_figure,
            partial(captions_mechanism.prediction, networks=probes.networks),
        ),
    )  # fmt: skip
    for name, group, kind, draw, caption in rows:
        shown = [one for one in probes.nearest if group in one.groups]
        if results := _results(shown, group, kind):
            yield "2", _parts(name, caption(shown), partial(draw, results))


def _overlaid(probes: ProbeContents, group: str, kind: type[Result]) -> dict[str, Any]:
    return {name: kind.from_dataset(data) for name, data in probes.overlaid[group].items()}


def _noise(probes: ProbeContents) -> Drawn:
    own = without_controls(probes.networks, probes.overlaid["input_noise"])
    if results := {name: InputNoise.from_dataset(data) for name, data in own.items()}:
        mechanisms = {name: probes.mechanisms[name] for name in results}
        yield "3", _parts("noise", captions_probes.noise(probes), lambda: excess_noise_figure(results, mechanisms))
    if panels := there(probes.networks, ROBUSTNESS):
        yield (
            "3",
            _parts(
                "robustness",
                captions_probes.robustness(probes, [panel.measure for panel in panels]),
                lambda: against_index_figure(probes.networks, probes.associations, panels),
            ),
        )


def _generalisation(probes: ProbeContents) -> Drawn:
    if panels := there(probes.networks, GENERALISATION):
        yield (
            "4",
            _parts(
                "generalisation",
                captions_probes.generalisation(probes, [panel.measure for panel in panels]),
                lambda: against_index_figure(probes.networks, probes.associations, panels),
            ),
        )
    if switched := _overlaid(probes, "target_switch", TargetSwitchProbe):
        mechanisms = {name: probes.mechanisms[name] for name in switched}
        delays_ms = shortest_delays_ms(probes.networks, switched)
        yield (
            "4",
            _parts(
                "switch", captions_probes.switch(probes), lambda: switch_figure(switched, mechanisms, delays_ms)
            ),
        )
    shown = [one for one in probes.typical if "target_switch" in one.groups]
    if paths := _results(shown, "target_switch", TargetSwitchProbe):
        yield "4", _parts("switch_path", captions_probes.switch_path(shown), lambda: switch_path_figure(paths))
    sweep, radii = (_overlaid(probes, f"locations_{name}", NewLocations) for name in ("sweep", "radii"))
    if sweep and radii:
        placed = {name: probes.mechanisms[name] for name in (*sweep, *radii)}
        yield (
            "4",
            _parts("locations", captions_probes.locations(probes), lambda: locations_figure(sweep, radii, placed)),
        )


def _perturbations(probes: ProbeContents) -> Drawn:
    for one in probes.typical:
        pushed = _results([one], "pulses", Pulses)
        if not pushed:
            continue
        silenced = {
            name: Silencing.from_dataset(data) for name, data in one.groups.items() if name.startswith("silencing")
        }
        yield (
            PERTURBATION,
            (
                f"pulses_{one.mechanism}",
                f"Pulses and silent units: {words(one.mechanism)}",
                captions_probes.pulses(one),
                partial(pulses_figure, pushed[one.name], silenced),
            ),
        )
