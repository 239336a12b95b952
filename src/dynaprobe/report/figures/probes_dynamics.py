"""Dynamics of networks under probes: recovery from pulses, silence, local modes, linear prediction, flow."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dynaprobe.analysis.probes.local_dynamics import FlowFields, LinearPrediction, LocalSpectra
from dynaprobe.analysis.probes.perturbation import Pulses, Silencing
from dynaprobe.report.colour import direction_colours
from dynaprobe.report.style import (
    PAGE_MM,
    direction_legend,
    directions_deg,
    mark_event,
    name_panel,
    new_figure,
    styled,
)

# Kinds of directions: those of one kind share a colour and differ in dashes.
_KINDS = (("pc", "#0072B2"), ("jpc", "#D55E00"), ("readout", "#009E73"), ("random", "#666666"))
_OTHER = "#7A3E9D"
_DASHES = ("-", (0, (4, 1.2)), (0, (1.2, 1)), "-.")
_SILENCING = {
    "silencing": ("whole trial", "#000000", "o"),
    "silencing_preparatory": ("preparation", "#0072B2", "s"),
    "silencing_movement": ("movement", "#D55E00", "^"),
}


def _look(name: str, names: list[str]) -> tuple[str, object]:
    colour = next((c for kind, c in _KINDS if name.startswith(kind)), _OTHER)
    alike = [other for other in names if other.startswith(name.rstrip("0123456789xyvp"))]
    return colour, _DASHES[alike.index(name) % len(_DASHES)]


@styled
def pulses_figure(result: Pulses, silenced: Mapping[str, Silencing]) -> Figure:
    """Recovery from pulses of the middle size along every direction, a panel per time of the pulse; then the
    shift of the end point against the size of the pulse, and against the number of silent units.
    """
    data = result.data
    names = [str(name) for name in data["direction"].values]
    times, sizes = data["pulse_ms"].values, data["size"].values
    middle = sizes.size // 2
    figure = new_figure(PAGE_MM, 122)
    top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.05, 1))[:, 0]
    courses = top.subplots(1, times.size, squeeze=False, sharey=True)[0]
    for axes, at_ms in zip(courses, times, strict=True):
        for name in names:
            colour, dashes = _look(name, names)
            part = data["distance"].sel(direction=name, pulse_ms=at_ms).isel(size=middle)
            axes.plot(data["time"], part, color=colour, ls=dashes, lw=0.9)
        mark_event(axes)
        axes.axvline(at_ms, color="#B4261A", lw=0.6)
        axes.set_xlim(at_ms - 100, float(data["time"].max()))
        axes.set_xlabel("time from go cue (ms)")
        axes.set_title(f"pulse at {at_ms:g} ms, size {sizes[middle]:g}", loc="left")
    # Only now: limits set earlier would not grow with the panels that share them.
    courses[0].set_ylim(bottom=0)
    courses[0].set_ylabel("distance from the trial\nwithout pulse (spreads)")
    panels = bottom.subplots(1, times.size + 1, squeeze=False)[0]
    highest = 1.05 * float(data["end_point_shift"].max())
    for axes, at_ms in zip(panels, times, strict=False):
        for name in names:
            colour, dashes = _look(name, names)
            axes.plot(sizes, data["end_point_shift"].sel(direction=name, pulse_ms=at_ms), color=colour, ls=dashes)
        axes.set_xlabel("pulse (spreads)")
        axes.set_ylim(0, highest or 1.0)
        axes.set_title(f"pulse at {at_ms:g} ms", loc="left")
    panels[0].set_ylabel("shift of end\npoint (a.u.)")
    _draw_silencing(panels[-1], silenced)
    handles = []
    for name in names:
        colour, dashes = _look(name, names)
        handles.append(Line2D([], [], color=colour, ls=dashes, label=name.replace("_", " ")))
    figure.legend(handles=handles, loc="outside lower center", ncols=7)
    return figure


def _draw_silencing(axes: Axes, silenced: Mapping[str, Silencing]) -> None:
    for name, result in silenced.items():
        label, colour, marker = _SILENCING.get(name, (name, _OTHER, "D"))
        shift = result.data["end_point_shift"]
        spread = np.abs([shift - result.data["end_point_shift_low"], result.data["end_point_shift_high"] - shift])
        axes.errorbar(
            result.data["n_silenced"], shift, yerr=spread, color=colour, marker=marker, ms=3, lw=0.9, label=label
        )
    axes.set_xlabel("silent units (number of)")
    # Room for the legend above the lines.
    axes.set_ylim(0, 1.7 * axes.get_ylim()[1])
    axes.legend(title="silent during", loc="upper left")


@styled
def local_dynamics_figure(spectra: LocalSpectra, prediction: LinearPrediction) -> Figure:
    """Modes around the states of a trial, a panel per moment, and how far a linear model of it predicts."""
    data, predicted = spectra.data, prediction.data
    moments = data["moment_ms"].values
    figure = new_figure(PAGE_MM, 112)
    top, bottom = figure.subfigures(2, 1, squeeze=False)[:, 0]
    colours = direction_colours(directions_deg(data))
    panels = top.subplots(1, moments.size, squeeze=False, sharex=True, sharey=True)[0]
    for k, (axes, at_ms) in enumerate(zip(panels, moments, strict=True)):
        for condition in range(data.sizes["condition"]):
            axes.plot(
                1000 * data["eigenvalue_real"].values[k, condition], data["mode_hz"].values[k, condition],
                ls="", marker="o", ms=1.8, mew=0, color=colours[condition], alpha=0.7,
            )  # fmt: skip
        axes.axvline(0, color="#777777", lw=0.8)
        axes.set_title(f"state at {at_ms:g} ms", loc="left")
        axes.set_xlabel("growth rate (1/s)")
    panels[0].set_ylabel("frequency (Hz)")
    direction_legend(top, directions_deg(data))
    starts = predicted["start_ms"].values
    tints = mpl.colormaps["cividis"](np.linspace(0, 0.85, starts.size))
    left, right = bottom.subplots(1, 2, sharex=True, sharey=True)
    for k, at_ms in enumerate(starts):
        left.plot(predicted["lead_ms"], predicted["error"].values[k], color=tints[k], label=f"from {at_ms:g} ms")
        right.plot(predicted["lead_ms"], predicted["error_of_standing_still"].values[k], color=tints[k])
    for axes, title in ((left, "linear model of the moment"), (right, "standing still")):
        axes.axhline(prediction.settings["tolerance"], color="#999999", lw=0.6, ls=(0, (2, 2)), zorder=0.5)
        axes.set_ylim(0, 2)
        axes.set_xlabel("lead (ms)")
        axes.set_title(title, loc="left")
    left.set_ylabel("error (spreads over conditions)")
    left.legend(loc="upper left")
    return figure


@styled
def flow_figure(results: Mapping[str, FlowFields]) -> Figure:
    """Flow in the plane of PC 1 and 2 through the state of a moment: a row per network, a column per moment.

    Arrows have one length, their grey tells the speed in the plane; thin lines are the trajectories of all
    conditions, the ring is the state of the moment and the thick line what its condition does next.
    """
    n_moments = max(result.data.sizes["moment_ms"] for result in results.values())
    figure = new_figure(PAGE_MM, 18 + 46 * len(results))
    grid = figure.subplots(len(results), n_moments, squeeze=False, sharex="row", sharey="row")
    for row, (name, result) in zip(grid, results.items(), strict=True):
        data = result.data
        colours = direction_colours(directions_deg(data))
        for k, axes in enumerate(row[: data.sizes["moment_ms"]]):
            _draw_flow(axes, result, k, colours)
            axes.set_title(f"{data['moment_ms'].values[k]:g} ms from go cue", loc="left")
            axes.set_xlabel(f"PC 1 ({100 * float(data['explained'][0]):.0f} % of variance, a.u.)")
        row[0].set_ylabel(f"{name}\nPC 2 ({100 * float(data['explained'][1]):.0f} % of variance, a.u.)")
    direction_legend(figure, directions_deg(data))
    return figure


def _draw_flow(axes: Axes, result: FlowFields, k: int, colours: np.ndarray) -> None:
    data = result.data
    grid, flow = data["grid"].values, data["flow"].values[k]
    speed = np.linalg.norm(flow, axis=-1)
    unit = np.divide(flow, speed[..., None], out=np.zeros_like(flow), where=speed[..., None] > 0)
    step = float(np.abs(grid[0, 1, 0] - grid[0, 0, 0])), float(np.abs(grid[1, 0, 1] - grid[0, 0, 1]))
    axes.quiver(
        grid[..., 0], grid[..., 1], 0.8 * step[0] * unit[..., 0], 0.8 * step[1] * unit[..., 1], speed,
        cmap="Greys", norm=mpl.colors.Normalize(-0.4 * speed.max(), speed.max() or 1.0),
        angles="xy", scale_units="xy", scale=1, width=0.005, headwidth=4, zorder=1,
    )  # fmt: skip
    trajectory, time_ms = data["trajectory"].values, data["time"].values
    for path, colour in zip(trajectory, colours, strict=True):
        axes.plot(*path.T, color=colour, lw=0.5, alpha=0.8)
    at_ms, condition = float(data["moment_ms"][k]), int(result.settings["condition"])
    following = (time_ms >= at_ms - 1e-6) & (time_ms < at_ms + 150)
    axes.plot(*trajectory[condition, following].T, color=colours[condition], lw=2.0)
    axes.plot(*data["state"].values[k], marker="o", ms=5, mfc="white", mec=colours[condition], mew=1.2, zorder=3)


@styled
def moment_modes_figure(results: Mapping[str, LocalSpectra]) -> Figure:
    """Modes around the states of a trial side by side: a row per network, a column per moment."""
    n_moments = max(result.data.sizes["moment_ms"] for result in results.values())
    figure = new_figure(PAGE_MM, 20 + 40 * len(results))
    grid = figure.subplots(len(results), n_moments, squeeze=False, sharex=True, sharey="row")
    for row, (name, result) in zip(grid, results.items(), strict=True):
        data = result.data
        colours = direction_colours(directions_deg(data))
        for k, axes in enumerate(row[: data.sizes["moment_ms"]]):
            for condition in range(data.sizes["condition"]):
                axes.plot(
                    1000 * data["eigenvalue_real"].values[k, condition], data["mode_hz"].values[k, condition],
                    ls="", marker="o", ms=1.8, mew=0, color=colours[condition], alpha=0.7,
                )  # fmt: skip
            axes.axvline(0, color="#777777", lw=0.8)
            axes.set_title(f"{data['moment_ms'].values[k]:g} ms from go cue", loc="left")
            if axes in grid[-1]:
                axes.set_xlabel("growth rate (1/s)")
        for axes in row[data.sizes["moment_ms"] :]:
            axes.set_visible(False)
        row[0].set_ylabel(f"{name}\nfrequency (Hz)")
    direction_legend(figure, directions_deg(data))
    return figure


@styled
def prediction_figure(results: Mapping[str, LinearPrediction]) -> Figure:
    """How far a linear model of a moment predicts (solid), beside standing still (dotted): a panel per network."""
    starts = next(iter(results.values())).data["start_ms"].values
    tints = mpl.colormaps["cividis"](np.linspace(0, 0.85, starts.size))
    figure = new_figure(min(24 + 48 * len(results), PAGE_MM), 72)
    panels = figure.subplots(1, len(results), squeeze=False, sharex=True, sharey=True)[0]
    for axes, (name, result) in zip(panels, results.items(), strict=True):
        data = result.data
        for k in range(min(starts.size, data.sizes["start_ms"])):
            axes.plot(data["lead_ms"], data["error"].values[k], color=tints[k])
            axes.plot(
                data["lead_ms"], data["error_of_standing_still"].values[k], color=tints[k], lw=0.7,
                ls=(0, (1.2, 1)),
            )  # fmt: skip
        axes.axhline(result.settings["tolerance"], color="#999999", lw=0.6, ls=(0, (4, 2)), zorder=0.5)
        name_panel(axes, name)
        axes.set_xlabel("lead (ms)")
        axes.set_ylim(0, 2)
    panels[0].set_ylabel("error (spreads over conditions)")
    handles = [Line2D([], [], color=tints[k], label=f"from {at_ms:g} ms") for k, at_ms in enumerate(starts)]
    handles += [
        Line2D([], [], color="#555555", label="linear model"),
        Line2D([], [], color="#555555", lw=0.7, ls=(0, (1.2, 1)), label="standing still"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=6 if len(results) > 1 else 3)
    return figure
