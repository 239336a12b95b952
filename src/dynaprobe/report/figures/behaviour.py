"""What networks do: their reaches against those asked for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dynaprobe.report.colour import direction_colours
from dynaprobe.report.style import (
    PAGE_MM,
    direction_legend,
    directions_deg,
    equal_limits,
    event_word,
    mark_event,
    name_panel,
    new_figure,
    styled,
)


@styled
def behaviour_figure(examples: Mapping[str, xr.Dataset]) -> Figure:
    """One noise-free trial of every condition: position paths, and speed against time with what was asked for.

    Args:
        examples: by name of the network: outputs and targets with the channels vx, vy, px, py.
    """
    figure = new_figure(min(60 * max(len(examples), 2), PAGE_MM), 105)
    grid = figure.subplots(2, len(examples), squeeze=False, height_ratios=(1.35, 1))
    for (top, bottom), (name, example) in zip(grid.T, examples.items(), strict=True):
        colours = direction_colours(directions_deg(example))
        _draw_paths(top, example, colours)
        _draw_speeds(bottom, example, colours)
        name_panel(top, name)
    explained = [
        Line2D([], [], color="#555555", lw=1, label="network"),
        Line2D([], [], color="#555555", lw=0.8, ls=(0, (2, 1.5)), label="asked for"),
        Line2D([], [], ls="", marker="o", mfc="none", mec="#555555", ms=6, label="target"),
    ]
    direction_legend(figure, directions_deg(next(iter(examples.values()))), explained)
    return figure


def _draw_paths(axes: Axes, example: xr.Dataset, colours: np.ndarray) -> None:
    paths = example["outputs"].sel(output=["px", "py"]).values
    goals = example["targets"].sel(output=["px", "py"]).values
    # The target is where the position asked for is furthest from the start; padding after the trial is 0.
    furthest = np.hypot(goals[..., 0], goals[..., 1]).argmax(axis=1)
    ends = goals[np.arange(len(goals)), furthest]
    stop = _last_bin(example)
    for path, end, colour in zip(paths, ends, colours, strict=True):
        axes.plot(path[:stop, 0], path[:stop, 1], color=colour)
        axes.plot(*end, marker="o", mfc="none", mec=colour, ms=7, mew=0.8)
    equal_limits(axes, paths[:, :stop], ends)
    axes.set_xlabel("x position (radius)")
    axes.set_ylabel("y position (radius)")


def _draw_speeds(axes: Axes, example: xr.Dataset, colours: np.ndarray) -> None:
    go_ms = float(np.nanmedian(example["go_cue_ms"].values)) if "go_cue_ms" in example else 0.0
    stop = _last_bin(example)
    time_ms = example["time"].values[:stop] - go_ms
    speeds = {
        kind: np.hypot(*(example[kind].sel(output=channel).values for channel in ("vx", "vy")))[:, :stop]
        for kind in ("outputs", "targets")
    }
    for speed, colour in zip(speeds["outputs"], colours, strict=True):
        axes.plot(time_ms, speed, color=colour, lw=0.9)
    axes.plot(time_ms, speeds["targets"][0], color="#555555", lw=0.8, ls=(0, (2, 1.5)))
    mark_event(axes)
    axes.set_xlim(time_ms[0], time_ms[-1])
    axes.set_xlabel(f"time from {event_word('go_cue')} (ms)")
    axes.set_ylabel("speed (1 = peak asked)")


def _last_bin(example: xr.Dataset) -> int:
    """Bins that belong to the trial in every condition."""
    if "trial_end_ms" not in example:
        return int(example.sizes["time"])
    end_ms = float(np.nanmin(example["trial_end_ms"].values))
    return int((example["time"].values < end_ms).sum()) or int(example.sizes["time"])
