"""How many dimensions populations have, and whether the task or the population limits them."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dynaprobe.analysis.condition_curve import ConditionCurve
from dynaprobe.analysis.dimensionality import DimensionalityResult
from dynaprobe.report.colour import Look
from dynaprobe.report.style import PAGE_MM, new_figure, styled


@styled
def dimensionality_figure(results: Mapping[str, DimensionalityResult], looks: Mapping[str, Look]) -> Figure:
    """Participation ratio of every side with its intervals over units and over trials, and without noise."""
    figure = new_figure(PAGE_MM, 28 + 12 * len(results))
    axes = figure.subplots()
    for row, (name, result) in enumerate(results.items()):
        data, look = result.data, looks[name]
        size = 7 if look.marker == "*" else 5
        axes.plot(
            data["interval_units"].values,
            [row - 0.12] * 2,
            color=look.colour,
            lw=3,
            alpha=0.4,
            solid_capstyle="butt",
        )
        if "interval_trials" in data:
            axes.plot(data["interval_trials"].values, [row - 0.12] * 2, color="#222222", lw=0.9)
        axes.plot(float(data["participation_ratio"]), row - 0.12, marker=look.marker, color=look.colour, ms=size)
        if "signal_participation_ratio" in data:
            axes.plot(
                data["interval_signal_units"].values, [row + 0.18] * 2, color=look.colour, lw=3, alpha=0.4,
                solid_capstyle="butt",
            )  # fmt: skip
            axes.plot(
                float(data["signal_participation_ratio"]), row + 0.18, marker=look.marker, mfc="white",
                mec=look.colour, ms=size,
            )  # fmt: skip
    axes.set_yticks(range(len(results)), [f"{n} ({int(r.data['n_units'])} units)" for n, r in results.items()])
    axes.set_ylim(len(results) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set_xlabel("participation ratio (number of dimensions)")
    handles = [
        Line2D([], [], ls="", marker="o", color="#333333", ms=5, label="measured"),
        Line2D([], [], ls="", marker="o", mfc="white", mec="#333333", ms=5, label="estimation noise removed"),
        Line2D([], [], color="#aaaaaa", lw=3, label="interval over units"),
        Line2D([], [], color="#222222", lw=0.8, label="interval over trials"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


@styled
def condition_curve_figure(results: Mapping[str, ConditionCurve], looks: Mapping[str, Look]) -> Figure:
    """Participation ratio against the number of conditions, beside the ceiling of task and smoothness."""
    n = len(results)
    n_columns = min(n, 3)
    n_rows = -(-n // n_columns)
    figure = new_figure(PAGE_MM if n_columns > 1 else 100, 18 + 52 * n_rows)
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True)
    for place in grid.ravel()[n:]:
        place.set_visible(False)
    for axes, (name, result) in zip(grid.ravel(), results.items(), strict=False):
        data, colour = result.data, looks[name].colour
        k = data["n_conditions"].values
        low, high = data["interval_units"].values.T
        axes.fill_between(k, low, high, color=colour, alpha=0.2, lw=0)
        axes.plot(k, data["participation_ratio"].values, color=colour, marker="o")
        axes.plot(k, data["complexity"].values, color="#444444", ls=(0, (4, 2)))
        if "signal_participation_ratio" in data:
            axes.plot(k, data["signal_participation_ratio"].values, color=colour, marker="o", mfc="white", lw=0.8)
            axes.plot(k, data["signal_complexity"].values, color="#444444", ls=(0, (1, 1.5)))
        axes.set_title(name, loc="left")
        axes.set_xlabel("number of conditions")
        axes.set_ylabel("participation ratio (number of dimensions)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        axes.tick_params(labelleft=True)
    # Only now: the panels share one axis, whose top is that of all.
    grid[0, 0].set_ylim(bottom=0)
    handles = [
        Line2D([], [], color="#333333", marker="o", label="measured"),
        Line2D([], [], color="#444444", ls=(0, (4, 2)), label="ceiling of conditions and smoothness"),
        Line2D([], [], color="#333333", marker="o", mfc="white", lw=0.8, label="noise removed"),
        Line2D([], [], color="#444444", ls=(0, (1, 1.5)), label="its ceiling"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure
