"""Behaviour of networks under probes: noise at the inputs, switched targets, new places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dynaprobe.analysis.probes.input_noise import InputNoise
from dynaprobe.analysis.probes.new_locations import NewLocations
from dynaprobe.analysis.probes.target_switch import TargetSwitchProbe
from dynaprobe.report.colour import Look, direction_colours
from dynaprobe.report.style import (
    PAGE_MM,
    direction_legend,
    equal_limits,
    mark_event,
    name_panel,
    new_figure,
    styled,
)

# As many networks are told apart by eye; of more, single lines are thin and the mean of a mechanism is thick.
FEW = 6
# Colours of Okabe & Ito (2008) with markers, so that mechanisms are told apart without colour.
MECHANISMS = {
    "initial_condition": Look("#0072B2", "o", "-"),
    "input_driven": Look("#D55E00", "s", (0, (5.0, 1.5))),
    "mixed": Look("#009E73", "^", (0, (1.5, 1.0))),
    "unclear": Look("#666666", "x", (0, (3.0, 1.0, 1.0, 1.0))),
}
# Of the time beyond which a switch leaves less than any trained delay.
BORDER: Any = {"color": "#999999", "lw": 0.8, "ls": (0, (1.0, 1.4)), "zorder": 0.5}


def look_of(mechanism: str) -> Look:
    """How a network of a mechanism is drawn."""
    return MECHANISMS.get(mechanism, MECHANISMS["unclear"])


def mechanism_legend(figure: Figure, mechanisms: Mapping[str, str], extra: Sequence[Line2D] = ()) -> None:
    """Below the figure, the look of every mechanism that occurs and how many networks have it, then `extra`."""
    counts = {name: sum(m == name for m in mechanisms.values()) for name in MECHANISMS}
    handles = [
        Line2D(
            [], [], color=look.colour, marker=look.marker, ls=look.dashes, ms=3.5,
            label=f"{name.replace('_', ' ')} ({counts[name]})",
        )
        for name, look in MECHANISMS.items()
        if counts[name]
    ]  # fmt: skip
    figure.legend(
        handles=[*handles, *extra],
        loc="outside lower center",
        ncols=5 if extra else 4,
        title="mechanism found by causal probes (number of networks)",
    )


@styled
def noise_figure(results: Mapping[str, InputNoise], mechanisms: Mapping[str, str]) -> Figure:
    """End-point error against the strength of input noise: a row per channel, a column per epoch of the noise.

    Args:
        results: by network; all with the same channels and epochs.
        mechanisms: verdict of every network, which decides how it is drawn.
    """
    first = next(iter(results.values())).data
    channels, epochs = ([str(v) for v in first[dim].values] for dim in ("channel", "epoch"))
    figure = new_figure(PAGE_MM, 24 + 38 * len(channels))
    grid = figure.subplots(len(channels), len(epochs), squeeze=False, sharex=True, sharey="row")
    for row, channel in zip(grid, channels, strict=True):
        for axes, epoch in zip(row, epochs, strict=True):
            here = {name: result.data.sel(channel=channel, epoch=epoch) for name, result in results.items()}
            for name, data in here.items():
                _with_band(axes, data, "end_point_error", look_of(mechanisms[name]), crowd=len(results))
            if len(here) > FEW:
                mechanism_means(axes, here, "end_point_error", mechanisms)
            axes.axhline(results[name].settings["within"], color="#999999", lw=0.6, ls=(0, (2, 2)), zorder=0.5)
            if axes in grid[0]:
                axes.set_title(f"noise: {epoch}", loc="left")
            if axes in grid[-1]:
                axes.set_xlabel("input noise, sd before scaling (a.u.)")
        # Only now: limits set earlier would not grow with the panels that share them.
        row[0].set_ylim(bottom=0)
        row[0].set_ylabel(f"{channel}\nend-point error (a.u.)")
    mechanism_legend(figure, mechanisms)
    return figure


def _with_band(axes: Axes, data: xr.Dataset, name: str, look: Look, *, crowd: int, scale: float = 1.0) -> None:
    """A line with its interval; of many networks thin lines alone, as bands would hide one another."""
    x = data[data[name].dims[0]].values
    if crowd > FEW:
        axes.plot(x, scale * data[name].values, color=look.colour, lw=0.5, alpha=0.4)
        return
    axes.plot(x, scale * data[name].values, color=look.colour, marker=look.marker, ls=look.dashes, ms=2.8)
    low, high = (scale * data[name + end].values for end in ("_low", "_high"))
    axes.fill_between(x, low, high, color=look.colour, alpha=0.15, lw=0)


def mechanism_means(
    axes: Axes, found: Mapping[str, xr.Dataset], name: str, mechanisms: Mapping[str, str], *, scale: float = 1.0
) -> None:
    """Thick and with markers, the mean of a variable over the networks of every mechanism, where they share x."""
    for mechanism, look in MECHANISMS.items():
        mine = [data[name] for one, data in found.items() if mechanisms[one] == mechanism]
        if not mine:
            continue
        x = mine[0][mine[0].dims[0]].values
        alike = [data.values for data in mine if np.array_equal(data[data.dims[0]].values, x)]
        mean = scale * np.ma.masked_invalid(alike).mean(axis=0).filled(np.nan)
        every = max(1, x.size // 12)
        axes.plot(x, mean, color=look.colour, marker=look.marker, ls=look.dashes, ms=3.4, lw=1.6, markevery=every)


@styled
def switch_figure(
    results: Mapping[str, TargetSwitchProbe],
    mechanisms: Mapping[str, str],
    shortest_delays_ms: Sequence[float] = (),
) -> Figure:
    """What becomes of a switched target, against the time of the switch: success, error, visits to B's
    preparation, and how soon the state and the outputs go with the new target.

    Args:
        results: by network.
        mechanisms: verdict of every network, which decides how it is drawn.
        shortest_delays_ms: the shortest delays of training that occur; switches closer to the go cue leave less.
    """
    figure = new_figure(PAGE_MM, 116)
    panels = figure.subplots(2, 3, sharex=True).ravel()
    drawn = (
        ("success", "end points at B (% of pairs)", 100.0),
        ("end_point_error", "end-point error to B (a.u.)", 1.0),
        ("direction_error_deg", "direction error to B (degrees)", 1.0),
        ("visited", "visits to B's preparatory\nstate (% of pairs)", 100.0),
        ("state_reaction_ms", "state closer to B's after (ms)", 1.0),
        ("output_reaction_ms", "outputs closer to B's after (ms)", 1.0),
    )
    # A border at the go cue parts nothing, and one before the first switch lies outside.
    first_ms = min(float(result.data["switch_ms"].min()) for result in results.values())
    borders = sorted({delay_ms for delay_ms in shortest_delays_ms if 0 < delay_ms <= -first_ms})
    for axes, (variable, label, scale) in zip(panels, drawn, strict=True):
        for name, result in results.items():
            _with_band(axes, result.data, variable, look_of(mechanisms[name]), crowd=len(results), scale=scale)
        if len(results) > FEW:
            found = {name: result.data for name, result in results.items()}
            mechanism_means(axes, found, variable, mechanisms, scale=scale)
        axes.set_ylabel(label)
        axes.set_ylim(*((-4, 104) if scale > 1 else (0, None)))
        mark_event(axes)
        for delay_ms in borders:
            axes.axvline(-delay_ms, **BORDER)
    for axes in panels[3:]:
        axes.set_xlabel("target switch from go cue (ms)")
    told = [Line2D([], [], **BORDER, label="shortest trained delay left")] if borders else []
    mechanism_legend(figure, mechanisms, told)
    return figure


@styled
def switch_path_figure(results: Mapping[str, TargetSwitchProbe]) -> Figure:
    """Where the state is between the preparatory states of A (0) and B (1), mean over pairs, and its distance to
    B's: a column per network, a line per time of the switch.
    """
    first = next(iter(results.values())).data
    times = first["switch_ms"].values
    colours = mpl.colormaps["cividis"](np.linspace(0, 0.92, times.size))
    figure = new_figure(min(60 + 52 * len(results), PAGE_MM), 124)
    grid = figure.subplots(2, len(results), squeeze=False, sharex=True, sharey="row")
    labels = (
        "progress from A's to B's\npreparatory state (fraction)",
        "distance to B's preparatory\nstate (of A to B)",
    )
    for column, (name, result) in enumerate(results.items()):
        data = result.data
        for axes, variable, label in zip(grid[:, column], ("progress", "distance_to_b"), labels, strict=True):
            for k, at_ms in enumerate(times):
                part = data[variable].isel(switch_ms=k)
                axes.plot(data["time"], part, color=colours[k], lw=0.9)
                at = int(np.argmin(np.abs(data["time"].values - at_ms)))
                axes.plot(data["time"][at], part[at], marker="o", ms=2.5, color=colours[k])
            if data[variable].isnull().all():
                axes.text(0.5, 0.5, "A and B alike\nbefore the go cue", transform=axes.transAxes, ha="center")
            mark_event(axes)
            axes.set_xlim(float(times.min()) - 50, float(data["time"].max()))
            if column == 0:
                axes.set_ylabel(label)
        grid[0, column].axhline(1, color="#999999", lw=0.6, ls=(0, (2, 2)), zorder=0.5)
        name_panel(grid[0, column], name)
        grid[1, column].set_xlabel("time from go cue (ms)")
    handles = [
        Line2D([], [], color=colours[k], marker="o", ms=2.5, label=f"{at_ms:g} ms")
        for k, at_ms in enumerate(times)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, title="switch from go cue")
    return figure


@styled
def locations_figure(
    sweep: Mapping[str, NewLocations], radii: Mapping[str, NewLocations], mechanisms: Mapping[str, str]
) -> Figure:
    """New places: direction error over a sweep of directions, gain over distances, both by network.

    Args:
        sweep: a fine sweep of directions at one distance, by network.
        radii: the trained directions at several distances, by network.
        mechanisms: verdict of every network.
    """
    figure = new_figure(PAGE_MM, 66)
    left, middle, right = figure.subplots(1, 3, width_ratios=(2, 1, 1))
    for name, result in sweep.items():
        data, look = result.data, look_of(mechanisms[name])
        order = np.argsort(data["goal_direction_deg"].values)
        left.plot(
            data["goal_direction_deg"].values[order], data["direction_error_deg"].values[order],
            color=look.colour, ls=look.dashes, alpha=0.9 if len(sweep) <= FEW else 0.4,
            lw=1.0 if len(sweep) <= FEW else 0.5,
        )  # fmt: skip
    if len(sweep) > FEW:
        mechanism_means(left, {name: _by_direction(result) for name, result in sweep.items()}, "error", mechanisms)
    trained = np.unique(
        data["goal_direction_deg"].values[np.isclose(data["from_trained_deg"].values, 0, atol=1e-2)]
    )
    left.plot(trained, np.zeros(trained.size), ls="", marker="|", ms=7, color="#444444", zorder=0.6)
    left.set_xlim(0, 360)
    left.set_xticks(np.arange(0, 361, 90))
    left.set_xlabel("target direction (degrees); strokes: trained")
    left.set_ylabel("direction error (degrees)")
    for name, result in radii.items():
        look = look_of(mechanisms[name])
        _with_band(middle, result.data, "mean_gain", look, crowd=len(radii))
        _with_band(right, result.data, "absolute_direction_error_deg", look, crowd=len(radii))
    if len(radii) > FEW:
        found = {name: result.data for name, result in radii.items()}
        mechanism_means(middle, found, "mean_gain", mechanisms)
        mechanism_means(right, found, "absolute_direction_error_deg", mechanisms)
    middle.axhline(1, color="#999999", lw=0.6, ls=(0, (2, 2)), zorder=0.5)
    middle.set_ylabel("amplitude gain (fraction)")
    right.set_ylabel("|direction error| (degrees)")
    for axes in (middle, right):
        axes.set_xlabel("target distance (a.u.)")
        axes.set_ylim(bottom=0)
    mechanism_legend(figure, mechanisms)
    return figure


def _by_direction(result: NewLocations) -> xr.Dataset:
    data = result.data
    order = np.argsort(data["goal_direction_deg"].values)
    # Goals are sums over bins: equal directions agree to round-off only.
    degrees = np.round(data["goal_direction_deg"].values[order], 3)
    return xr.Dataset({"error": ("deg", data["direction_error_deg"].values[order])}, coords={"deg": degrees})


@styled
def places_figure(results: Mapping[str, NewLocations]) -> Figure:
    """Goals (rings) and where movements ended (dots, joined to their goal), one panel per network."""
    n = len(results)
    n_columns = min(n, 3)
    n_rows = -(-n // n_columns)
    figure = new_figure(min(20 + 56 * n_columns, PAGE_MM), 22 + 56 * n_rows, square=True)
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes in panels[n:]:
        axes.set_visible(False)
    everywhere = [result.data[v].values for result in results.values() for v in ("goal", "end_point")]
    for axes, (name, result) in zip(panels, results.items(), strict=False):
        data = result.data
        colours = direction_colours(data["goal_direction_deg"].values)
        for k in range(data.sizes["condition"]):
            goal, end = data["goal"].values[k], data["end_point"].values[k]
            axes.plot(*np.stack([goal, end]).T, color=colours[k], lw=0.6)
            axes.plot(*goal, marker="o", ms=4, mfc="none", mec=colours[k], mew=0.7, ls="")
            axes.plot(*end, marker="o", ms=2.2, color=colours[k], mew=0, ls="")
        axes.set_title(name, loc="left", fontweight="bold")
        axes.set_xlabel("x (a.u.)")
        axes.set_ylabel("y (a.u.)")
        equal_limits(axes, *everywhere)
    direction_legend(figure, np.unique(np.round(data["goal_direction_deg"].values, 1) % 360))
    return figure
