"""Captions of the figures of claims 3 and 4 and of perturbations: what was done to the networks, how many, and
what is our choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from dynaprobe.analysis.probes.target_switch import VISIT_WITHIN
from dynaprobe.report.captions import listed
from dynaprobe.report.captions_mechanism import VERDICT, chosen, of_mechanisms, setting_of
from dynaprobe.report.gather_probes import (
    Example,
    ProbeContents,
    column,
    is_control,
    shortest_delays_ms,
    without_controls,
    words,
)

_CLEAN = (
    "Matched for clean performance: the excess error leaves out the error without noise, and rank correlations "
    "hold that error alike"
)


def noise(probes: ProbeContents) -> str:
    """Of the noise curves."""
    found = without_controls(probes.networks, probes.overlaid["input_noise"])
    n_repeats = setting_of(next(iter(found.values())), "n_repeats")
    trials = f", {n_repeats:g} trials of every condition for each strength" if n_repeats else ""
    clean = np.array([float(data["end_point_error"].isel(sd=0).mean()) for data in found.values()])
    return (
        f"{_drawn(probes, found)}. Distance of end point and target under noise at the inputs, less that without "
        f"noise (which is {clean.min():.2f} to {clean.max():.2f} among these networks){trials}; in units of the "
        "target's distance. Rows: which inputs are noisy; columns: when. Thin: one network; thick: mean over a "
        "mechanism. The noise is that of training, drawn anew at every step and scaled by √(2τ/dt); networks were "
        f"trained with little of it at all inputs. {_CLEAN} (next figure). Strengths, channels and epochs are our "
        "choice."
    )


def _drawn(probes: ProbeContents, found: Mapping[str, xr.Dataset]) -> str:
    ids = probes.networks["id"].values.astype(str)
    return of_mechanisms(probes.networks, np.isin(ids, list(found)))


def against_index(probes: ProbeContents, measures: Sequence[str], *, what: str) -> str:
    """Of measures against the mechanism index."""
    networks = probes.networks
    index = column(networks, "mechanism_index")
    known = np.isfinite(index) & np.any([np.isfinite(column(networks, name)) for name in measures], axis=0)
    text = (
        f"{of_mechanisms(networks, known)}; {VERDICT}. {what} Better lies above in every panel: where less is "
        "better, the axis runs downwards."
    )
    if probes.associations is not None:
        text += (
            " ρ: rank correlation of mechanism index and performance within strata, positive where networks with "
            "a higher index do better, with its 95 % interval and a permutation p; networks are compared only "
            "with those of the same activation and penalty, or of the same cell, so that neither is taken for an "
            "effect of the mechanism, and as if alike in their error without noise. p is not corrected for the "
            "number of panels. Strata and what is held alike are our choice."
        )
    if (is_control(networks) & known).any():
        text += (
            " Open: controls, which see the target only from the go cue on; they take no part in ρ. A control far "
            "beyond the others stands at the edge, with its value."
        )
    return text


def robustness(probes: ProbeContents, measures: Sequence[str]) -> str:
    """Of robustness against the index."""
    what = (
        "Excess error: end-point error under noise at all inputs less that without, mean over the strengths of "
        "the last figure."
    )
    return against_index(probes, measures, what=what)


def generalisation(probes: ProbeContents, measures: Sequence[str]) -> str:
    """Of generalisation against the index."""
    what = (
        "Followed: the end point lies at the new target, mean over the times before the go cue, and over the "
        "others. New places: mean over places halfway between trained directions of the absolute direction error "
        "over the angle to the nearest trained direction; 1 is as wrong as a movement to that one."
    )
    return against_index(probes, measures, what=what)


def switch(probes: ProbeContents) -> str:
    """Of switched targets."""
    found = probes.overlaid["target_switch"]
    first = next(iter(found.values()))
    within = setting_of(first, "within")
    delays_ms = [f"{ms:g}" for ms in shortest_delays_ms(probes.networks, found) if ms > 0]
    border = (
        f" Dotted: the shortest delay with which some were trained ({listed(delays_ms)} ms); nearer to the go cue "
        "a switch leaves these less time to prepare than any trial of training."
        if delays_ms
        else ""
    )
    bar = f" (within {within:g} of it, our choice)" if within is not None else ""
    return (
        f"{_drawn(probes, found)}. The target changes from A to B at the time below, in all {first.sizes['pair']} "
        "ordered pairs, without noise. Before the go cue both targets are shown as the network's task does; from "
        "the go cue on the new one is in sight, also for networks whose task hides it. Shown "
        f"are the share of movements that end at B{bar}, error and direction error to B, the share of pairs in "
        f"which the state comes by the preparatory state of B (within {VISIT_WITHIN:g} of the way from A's), and "
        f"how long after the switch state and outputs are nearer to those of a trial of B. {_thin(len(found))} "
        f"Dashed: the go cue.{border}"
    )


def _thin(n: int) -> str:
    return "Thin: one network; thick: mean over a mechanism." if n > 6 else "Bands: 95 % over conditions A and B."


def switch_path(examples: Sequence[Example]) -> str:
    """Of the path of the state after a switch."""
    return (
        "Path of the state when the target switches, mean over pairs: above, its place on the line from the "
        "preparatory state of A (0) to that of B (1); below, its distance to that of B in units of their "
        f"distance. Dots: when the target switches. {chosen(examples, nearest=False)}"
    )


def locations(probes: ProbeContents) -> str:
    """Of new places."""
    found = probes.overlaid["locations_sweep"]
    radii = next(iter(probes.overlaid["locations_radii"].values()))["radius"].values
    band = "Thin: one network; thick: mean over a mechanism." if len(found) > 6 else "Bands: 95 % over directions."
    return (
        f"{_drawn(probes, found)}, without noise. Left: direction error, counter-clockwise, of movements to "
        "targets of any direction at the trained distance. Middle and right: length of the movement over that "
        f"asked for, and absolute direction error, to the trained directions at distances from {radii[0]:g} to "
        f"{radii[-1]:g}; a gain of 1 (dashed) is what is asked for. {_too_short(probes)}{band}"
    )


def _too_short(probes: ProbeContents) -> str:
    """How many movements have no direction error, being too short to have a direction; empty for none."""
    errors = [
        data["direction_error_deg"].values
        for kind in ("locations_sweep", "locations_radii")
        for data in probes.overlaid[kind].values()
    ]
    n_short = sum(int(np.isnan(values).sum()) for values in errors)
    if not n_short:
        return ""
    n_all = sum(values.size for values in errors)
    return f"{n_short} of {n_all} movements are too short for a direction and left out of its errors. "


def pulses(example: Example) -> str:
    """Of pulses and silence."""
    data = example.groups["pulses"]
    times, sizes = (listed([f"{v:g}" for v in data[name].values]) for name in ("pulse_ms", "size"))
    half_life = data["half_life_ms"].values
    known = half_life[np.isfinite(half_life)]
    recovered = f", {np.median(known):.0f} ms by the median" if known.size else ""
    return (
        f"{example.id}, {words(example.mechanism)}. The state is pushed at {times} ms from the go cue along "
        f"principal components, the plane that turns fastest, readouts and random directions, by {sizes} times "
        f"the spread of states over conditions. {known.size} of {half_life.size} pushes had fallen to half by the "
        f"end of the trial{recovered}. Last panel: shift of the end point while units drawn at random are silent, "
        "with 95 % intervals over conditions. Directions, sizes and times are our choice; so is the network: of "
        "its mechanism, that of median index."
    )
