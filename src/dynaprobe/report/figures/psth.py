"""PSTHs of recorded and model units side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from dynaprobe.report.colour import direction_colours
from dynaprobe.report.style import (
    PAGE_MM,
    TIME_LABEL,
    broken_time_axes,
    condition_legend,
    directions_deg,
    new_figure,
    rate_label,
    segments_of,
    styled,
)


def spread_units(psth: xr.Dataset, n: int) -> list[int]:
    """Units chosen without looking at their shapes: evenly spaced in rank of modulation, strongest first.

    Modulation is the range over time of a unit's rate, averaged over conditions.
    """
    depth = psth["mean"].max("time") - psth["mean"].min("time")
    order = np.argsort(-depth.mean("condition").values, kind="stable")
    # The weaker half is mostly noise in a recording; the ranks are taken from the stronger one.
    pool = order[: max(n, order.size // 2)]
    return [int(pool[k]) for k in np.unique(np.linspace(0, pool.size - 1, min(n, pool.size)).astype(int))]


@styled
def psth_figure(sides: Mapping[str, xr.Dataset], units: Mapping[str, Sequence[tuple[int, str]]]) -> Figure:
    """Mean rate and its standard error over trials, one row per chosen unit, one column per side.

    Args:
        sides: by name, the recording first: ``mean`` and ``sem`` with dims (condition, time, unit).
        units: for every side, position and title of the units to draw; -1 leaves the row empty but for its title.
    """
    n_rows = max(len(chosen) for chosen in units.values())
    figure = new_figure(PAGE_MM, 20 + 20 * n_rows)
    columns = figure.subfigures(1, len(sides), squeeze=False)[0]
    for column, (name, psth) in zip(columns, sides.items(), strict=True):
        column.suptitle(name, fontweight="bold")
        _draw_side(column, psth, units[name], n_rows)
    condition_legend(figure, next(iter(sides.values())))
    return figure


def _draw_side(column: SubFigure, psth: xr.Dataset, units: Sequence[tuple[int, str]], n_rows: int) -> None:
    segments = segments_of(psth)
    widths = [bins.stop - bins.start for _, bins in segments]
    grid = column.subplots(n_rows, len(segments), squeeze=False, width_ratios=widths, sharey="row")
    colours = direction_colours(directions_deg(psth))
    column.supxlabel(TIME_LABEL, fontsize=7)
    # The time axis is labelled below the last row that holds a unit.
    last = max((row for row, (unit, _) in enumerate(units) if unit >= 0), default=0)
    for row, axes in enumerate(grid):
        if row >= len(units):
            for place in axes:
                place.set_visible(False)
            continue
        unit, title = units[row]
        if unit < 0:
            for place in axes:
                place.set_axis_off()
            axes[0].text(0.02, 0.5, title, transform=axes[0].transAxes, fontsize=6, color="#555555")
            continue
        for place, (_, bins) in zip(axes, segments, strict=True):
            _draw_unit(place, psth.isel(unit=unit, time=bins), colours)
        broken_time_axes(axes, psth, labelled=row == last, named=row == 0)
        axes[0].set_ylabel(
            rate_label(psth["mean"].attrs or psth.attrs).replace("rate (spikes/s)", "rate\n(spikes/s)")
        )
        # Room for the title above the curves.
        low, high = axes[0].get_ylim()
        axes[0].set_ylim(low, high + 0.15 * (high - low))
        axes[0].text(0.99, 1.0, title, transform=axes[0].transAxes, ha="right", va="top", fontsize=6)
        axes[0].yaxis.set_major_locator(MaxNLocator(nbins=3, steps=[1, 2, 5, 10]))


def _draw_unit(axes: Axes, unit: xr.Dataset, colours: np.ndarray) -> None:
    time_ms = unit["time"].values
    for k, colour in enumerate(colours):
        mean = unit["mean"].isel(condition=k).values
        if "sem" in unit:
            error = unit["sem"].isel(condition=k).values
            axes.fill_between(time_ms, mean - error, mean + error, color=colour, alpha=0.18, lw=0)
        axes.plot(time_ms, mean, color=colour, lw=0.8)
