"""What populations do together: principal components, rotations, and subspaces of preparation and movement."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dynaprobe.analysis.alignment import DIRECTIONS, AlignmentResult
from dynaprobe.analysis.condition_independent import ConditionIndependentResult
from dynaprobe.analysis.jpca import JpcaResult
from dynaprobe.analysis.pca import PcaResult
from dynaprobe.report.colour import Look, direction_colours
from dynaprobe.report.style import (
    PAGE_MM,
    condition_legend,
    directions_deg,
    equal_limits,
    event_word,
    fraction_axis,
    name_panel,
    new_figure,
    rate_label,
    segments_of,
    styled,
)

# Starts of the segments of a trajectory, in order of time.
_START_MARKERS = ("o", "s", "^", "D")


@styled
def pca_figure(results: Mapping[str, PcaResult], looks: Mapping[str, Look]) -> Figure:
    """Trajectories in PC 1-2 and PC 1-3 of every side, and the cumulative variance of all.

    Args:
        results: by name of the side, the recording first.
        looks: how each side is drawn.
    """
    n_rows = len(results)
    figure = new_figure(PAGE_MM, 18 + 52 * n_rows)
    grid = figure.subplots(n_rows, 3, squeeze=False)
    for axes, (name, result) in zip(grid[:, :2], results.items(), strict=True):
        scores = result.data["scores"]
        for place, (i, j) in zip(axes, ((0, 1), (0, 2)), strict=True):
            if j >= scores.sizes["pc"]:
                place.set_visible(False)
                continue
            _draw_trajectories(place, scores, (i, j))
            label = rate_label(result.data.attrs, "PC").partition(" ")[2]
            place.set_xlabel(f"PC {i + 1} {label}")
            place.set_ylabel(f"PC {j + 1} {label}")
        name_panel(axes[0], name)
    _draw_cumulative(grid[0, 2], results, looks)
    for axes in grid[1:, 2]:
        axes.set_axis_off()
    handles, labels = grid[0, 2].get_legend_handles_labels()
    place, where = (grid[1, 2], "upper left") if n_rows > 1 else (grid[0, 2], "lower right")
    place.legend(handles, labels, loc=where, title="PCs that reach the dashed line")
    first = next(iter(results.values())).data
    starts = [
        Line2D(
            [],
            [],
            ls="",
            marker=marker,
            color="#333333",
            ms=3.2,
            label=f"start of the window around {event_word(event)}",
        )
        for marker, (event, _) in zip(_START_MARKERS, segments_of(first["scores"]), strict=False)
    ]
    condition_legend(figure, first, starts)
    return figure


def _draw_trajectories(axes: Axes, scores: xr.DataArray, pair: tuple[int, int]) -> None:
    colours = direction_colours(directions_deg(scores))
    for marker, (_, bins) in zip(_START_MARKERS, segments_of(scores), strict=False):
        part = scores.isel(time=bins).values
        for path, colour in zip(part, colours, strict=True):
            axes.plot(path[:, pair[0]], path[:, pair[1]], color=colour, lw=0.9)
            axes.plot(
                path[0, pair[0]], path[0, pair[1]], marker=marker, color=colour, ms=3.2, mec="white", mew=0.3
            )
    equal_limits(axes, scores.values[..., list(pair)])


def _draw_cumulative(axes: Axes, results: Mapping[str, PcaResult], looks: Mapping[str, Look]) -> None:
    most = 20
    for name, result in results.items():
        cumulative = result.data["cumulative"].values[:most]
        look = looks[name]
        axes.plot(
            np.arange(1, cumulative.size + 1),
            cumulative,
            color=look.colour,
            marker=look.marker,
            ls=look.dashes,
            ms=5.0 if look.marker == "*" else 3.0,
            label=f"{name}: {int(result.data['n_for_threshold'])} PCs",
        )
    threshold = float(next(iter(results.values())).settings.get("threshold", 0.9))
    axes.axhline(threshold, color="#777777", lw=0.6, ls=(0, (3, 2)))
    fraction_axis(axes)
    axes.set_xlabel("number of PCs")
    axes.set_ylabel("cumulative fraction of variance")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))


@styled
def jpca_figure(results: Mapping[str, JpcaResult]) -> Figure:
    """The fastest jPCA plane of every side, a dot where each condition starts; numbers of the fit in the title."""
    n = len(results)
    n_columns = min(n, 3)
    n_rows = -(-n // n_columns)
    figure = new_figure(PAGE_MM if n_columns == 3 else 62 * n_columns + 10, 16 + 70 * n_rows, square=True)
    grid = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes in grid[n:]:
        axes.set_visible(False)
    for axes, (name, result) in zip(grid, results.items(), strict=False):
        data = result.data
        plane = data["projections"].isel(plane=0)
        for path, colour in zip(plane.values, direction_colours(directions_deg(plane)), strict=True):
            axes.plot(path[:, 0], path[:, 1], color=colour, lw=1.0)
            axes.plot(*path[0], marker="o", color=colour, ms=4.0, mec="white", mew=0.3)
            _arrow_head(axes, path, colour)
        equal_limits(axes, plane.values)
        axes.axhline(0, color="#cccccc", lw=0.5, zorder=0)
        axes.axvline(0, color="#cccccc", lw=0.5, zorder=0)
        axes.set_xlabel("jPC 1 (fraction of range)")
        axes.set_ylabel("jPC 2 (fraction of range)")
        axes.set_title(f"{name}\n{jpca_numbers(result)}", loc="left", fontsize=6.5)
    condition_legend(figure, next(iter(results.values())).data)
    return figure


def jpca_numbers(result: JpcaResult) -> str:
    """Frequency and variance of the first plane, and how well rotations explain the changes."""
    data = result.data
    return (
        f"{float(data['frequency_hz'][0]):.2f} Hz, {float(data['fraction_of_all'][0]):.0%} of the variance\n"
        f"R² rotation {float(data['r2_skew']):.2f}, any linear map {float(data['r2_m']):.2f}"
    )


def _arrow_head(axes: Axes, path: np.ndarray, colour: np.ndarray) -> None:
    if len(path) < 3 or np.allclose(path[-1], path[-3]):
        return
    axes.annotate(
        "",
        xy=path[-1],
        xytext=path[-3],
        arrowprops={
            "arrowstyle": "-|>",
            "color": colour,
            "lw": 0.8,
            "mutation_scale": 6,
            "shrinkA": 0,
            "shrinkB": 0,
        },
    )


@styled
def alignment_figure(results: Mapping[str, AlignmentResult]) -> Figure:
    """Alignment index of every side against what random subspaces of the same activity give, both ways."""
    figure = new_figure(PAGE_MM, 22 + 11 * len(results))
    panels = figure.subplots(1, 2, sharey=True)
    titles = ("movement variance in preparatory PCs", "preparatory variance in movement PCs")
    for axes, direction, title in zip(panels, DIRECTIONS, titles, strict=True):
        for row, result in enumerate(results.values()):
            data = result.data.sel(direction=direction)
            _draw_chance(axes, row, data["chance"].values)
            axes.plot(float(data["alignment_index"]), row, marker="D", color="#B4261A", ms=5, mec="white", mew=0.4)
            if "p_value" in data:
                axes.text(1.02, row, f"p = {float(data['p_value']):.3f}", va="center", fontsize=6.5)
        axes.set_xlim(0, 1)
        axes.set_ylim(len(results) - 0.4, -0.6)
        axes.set_xlabel("alignment index (0 orthogonal, 1 equal)")
        axes.set_title(title, loc="left")
    panels[0].set_yticks(range(len(results)), list(results))
    panels[1].tick_params(labelleft=False)
    handles = [
        Line2D([], [], ls="", marker="D", color="#B4261A", ms=5, label="measured"),
        Line2D(
            [],
            [],
            color="#8a8a8a",
            lw=5,
            alpha=0.6,
            label="chance: distribution of random subspaces, bar = its mean",
        ),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _draw_chance(axes: Axes, row: int, chance: np.ndarray) -> None:
    """The distribution of chance as a histogram standing on its row."""
    if not chance.size:
        return
    counts, edges = np.histogram(chance, bins=np.linspace(0, 1, 61))
    height = 0.42 * counts / max(counts.max(), 1)
    axes.fill_between(edges[:-1], row + height, row - height, step="post", color="#8a8a8a", alpha=0.6, lw=0)
    axes.plot([chance.mean()] * 2, [row - 0.42, row + 0.42], color="#333333", lw=0.8)


@styled
def condition_independent_figure(
    results: Mapping[str, ConditionIndependentResult], looks: Mapping[str, Look]
) -> Figure:
    """Share of the variance that all conditions have in common: all units together, and over single units."""
    figure = new_figure(PAGE_MM, 58)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.3))
    for row, (name, result) in enumerate(results.items()):
        data, look = result.data, looks[name]
        left.plot(
            float(data["fraction"]), row, marker=look.marker, color=look.colour, ms=7 if look.marker == "*" else 5
        )
        if "unbiased_fraction" in data:
            left.plot(
                float(data["unbiased_fraction"]), row, marker=look.marker, mfc="white", mec=look.colour, ms=5
            )
        left.plot(float(data["chance"]), row, marker="|", color="#777777", ms=9)
        shares = np.sort(data["unit_fraction"].values[np.isfinite(data["unit_fraction"].values)])
        right.step(
            shares, np.arange(1, shares.size + 1) / shares.size, color=look.colour, ls=look.dashes, label=name
        )
    left.set_yticks(range(len(results)), list(results))
    left.set_ylim(len(results) - 0.5, -0.5)
    left.set_xlim(0, 1)
    left.set_xlabel("condition-independent fraction of variance")
    right.set_xlim(0, 1)
    right.set_xlabel("condition-independent fraction of variance of a unit")
    right.set_ylabel("cumulative fraction of units")
    right.legend(loc="lower right")
    handles = [
        Line2D([], [], ls="", marker="o", color="#333333", ms=5, label="measured"),
        Line2D([], [], ls="", marker="o", mfc="white", mec="#333333", ms=5, label="estimation noise removed"),
        Line2D([], [], ls="", marker="|", color="#777777", ms=9, label="1 / number of conditions"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure
