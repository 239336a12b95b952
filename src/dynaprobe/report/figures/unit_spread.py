"""Single units as distributions: sparseness, features, their distances from the recording, and best matches."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dynaprobe.analysis.feature_distance import FeatureDistance
from dynaprobe.analysis.match_distribution import MatchDistribution
from dynaprobe.analysis.motifs import LabelDistance
from dynaprobe.analysis.sparseness import Sparseness
from dynaprobe.analysis.unit_features import UnitFeatures
from dynaprobe.report.colour import Look
from dynaprobe.report.figures.unit_tuning import NULL_GREY, draw_ecdf, draw_interval
from dynaprobe.report.style import (
    PAGE_MM,
    fraction_axis,
    new_figure,
    side_legend,
    styled,
)

FEATURE_LABELS = {
    "peak_rate": "peak rate ({unit})",
    "modulation": "highest minus lowest rate ({unit})",
    "mean_level": "mean rate (fraction of range)",
    "sparseness": "lifetime sparseness (0 to 1)",
    "peak_time_ms": "time of the movement peak (ms)",
    "preparatory_depth": "preparatory depth (fraction of range)",
    "movement_depth": "movement depth (fraction of range)",
    "tuning_correlation": "tuning across epochs (r)",
    "shared_fraction": "shared by conditions (fraction)",
}


@styled
def sparseness_figure(results: Mapping[str, Sparseness], looks: Mapping[str, Look]) -> Figure:
    """Lifetime sparseness over units, population sparseness over conditions and times."""
    figure = new_figure(PAGE_MM * 0.8, 64)
    left, right = figure.subplots(1, 2)
    for name, result in results.items():
        draw_ecdf(left, result.data["lifetime"].values, looks[name])
        draw_ecdf(right, result.data["population"].values.ravel(), looks[name])
    for axes, what, over in (
        (left, "lifetime", "units"),
        (right, "population", "bins"),
    ):
        axes.set_xlim(0, 1)
        fraction_axis(axes)
        axes.set_xlabel(f"{what} sparseness (0 to 1)")
        axes.set_ylabel(f"cumulative fraction of {over}")
    figure.legend(handles=side_legend(looks, results), loc="outside lower center", ncols=4)
    return figure


@styled
def features_figure(results: Mapping[str, UnitFeatures], looks: Mapping[str, Look]) -> Figure:
    """The distribution of every feature of single units."""
    first = next(iter(results.values())).data
    names = [str(name) for name in first["feature"].values]
    n_columns = 3
    figure = new_figure(PAGE_MM, 14 + 50 * (-(-len(names) // n_columns)))
    grid = figure.subplots(-(-len(names) // n_columns), n_columns, squeeze=False, sharey=True)
    for axes, feature in zip(grid.ravel(), names, strict=False):
        for name, result in results.items():
            draw_ecdf(axes, result.data["value"].sel(feature=feature).values, looks[name])
        axes.set_xlabel(
            FEATURE_LABELS.get(feature, f"{feature} (a.u.)").format(unit=first.attrs.get("rate_unit", "a.u."))
        )
        fraction_axis(axes)
        axes.tick_params(labelleft=True)
    for axes in grid.ravel()[len(names) :]:
        axes.set_visible(False)
    for row in grid:
        row[0].set_ylabel("cumulative fraction of units")
    figure.legend(handles=side_legend(looks, results), loc="outside lower center", ncols=4)
    return figure


@styled
def feature_distance_figure(results: Mapping[str, FeatureDistance], looks: Mapping[str, Look]) -> Figure:
    """Distance from the recording, feature by feature and together, against what chance and surrogates give."""
    first = next(iter(results.values())).data
    names = [str(name) for name in first["feature"].values]
    figure = new_figure(PAGE_MM, 30 + 6 * len(names))
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    step = 0.6 / max(len(results), 1)
    for k, (name, result) in enumerate(results.items()):
        data = result.data
        for row in range(len(names)):
            at = row - 0.3 + step * (k + 0.5)
            left.plot([0, float(data["wasserstein_null_high"][row])], [at] * 2, color=NULL_GREY, lw=3, zorder=1)
            distance = float(data["wasserstein"][row])
            draw_interval(left, at, (distance, distance, distance), looks[name])
        _draw_energy(right, data, k, looks[name])
    left.set_yticks(range(len(names)), [name.replace("_ms", "").replace("_", " ") for name in names])
    left.set_ylim(len(names) - 0.5, -0.5)
    left.set_xlim(left=0)
    left.set_xlabel("Wasserstein distance from the recording (sd)")
    right.axvline(0, color="#cccccc", lw=0.5, zorder=0)
    right.set_yticks([])
    right.set_ylim(len(results) - 0.4, -0.6)
    right.set_xlabel("energy distance of all shape features (sd)")
    handles = [
        *side_legend(looks, results),
        Line2D([], [], color=NULL_GREY, lw=3, label="units dealt anew: up to 95 %"),
        Line2D([], [], color="#000000", lw=1.2, label="halves of the recording"),
        Line2D([], [], color="#8a8a8a", lw=1.2, ls=":", label="surrogates"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _draw_energy(axes: Axes, data: object, row: int, look: Look) -> None:
    """One network: its distance, and where dealt units, halves of the recording and surrogates lie."""
    spans = (("energy_null", 0.0, NULL_GREY, "-", 3.0), ("energy_halves", 0.16, "#000000", "-", 1.2))
    for name, below, colour, dashes, width in (*spans, ("energy_floor", 0.3, "#8a8a8a", ":", 1.2)):
        values = data[name].values  # type: ignore[index]
        if values.size:
            low, high = np.quantile(values, [0.025, 0.975])
            axes.plot([low, high], [row + below] * 2, color=colour, ls=dashes, lw=width, zorder=1)
    energy = float(data["energy"])  # type: ignore[index]
    draw_interval(axes, row, (energy, energy, energy), look)


@styled
def match_distribution_figure(results: Mapping[str, MatchDistribution], looks: Mapping[str, Look]) -> Figure:
    """Cumulative distribution of best matches in both directions, with the band of surrogates."""
    figure = new_figure(PAGE_MM * 0.85, 14 + 58 * len(results))
    grid = figure.subplots(len(results), 2, squeeze=False, sharex=True, sharey=True)
    words = {
        "recorded_unit": "recorded units, best network unit",
        "model_unit": "network units, best recorded unit",
    }
    for row, (name, result) in zip(grid, results.items(), strict=True):
        for axes, judged in zip(row, words, strict=True):
            data = result.data.sel(judged=judged)
            level = data["level"].values
            axes.fill_betweenx(level, data["floor_low"], data["floor_high"], color=NULL_GREY, alpha=0.6, lw=0)
            axes.plot(data["ceiling"], level, color="#000000", lw=0.9)
            axes.plot(data["quantile"], level, color=looks[name].colour, lw=1.3)
            found = f"{float(data['fraction']):.0%} above chance, p = {float(data['p_value']):.3f}"
            axes.set_title(f"{name}\n{words[judged]}\n{found}", loc="left", fontsize=6.5)
            axes.set_xlabel("correlation of held-out PSTHs (r)")
            axes.set_ylabel("cumulative fraction of units")
            axes.set_ylim(0, 1.0)
            axes.tick_params(labelbottom=True, labelleft=True)
    handles = [
        Line2D([], [], color="#0072B2", lw=1.3, label="best matches (coloured)"),
        Patch(color=NULL_GREY, label="surrogates, middle 95 %"),
        Line2D([], [], color="#000000", lw=0.9, label="a unit's own halves"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


@styled
def label_distance_figure(results: Mapping[str, LabelDistance], looks: Mapping[str, Look]) -> Figure:
    """Distance of the spreads over classes, with the band of units dealt anew."""
    figure = new_figure(PAGE_MM * 0.7, 26 + 9 * len(results))
    axes = figure.subplots()
    for row, (name, result) in enumerate(results.items()):
        data = result.data
        low, high = np.quantile(data["null"].values, [0.025, 0.975])
        axes.plot([low, high], [row] * 2, color=NULL_GREY, lw=5, solid_capstyle="butt", zorder=1)
        distance = float(data["distance"])
        draw_interval(axes, row, (distance, distance, distance), looks[name])
        axes.text(1.0, row, f"p = {float(data['p_value']):.3f}", ha="right", va="center", fontsize=6.5)
    axes.set_xlim(0, 1)
    axes.set_yticks([])
    axes.set_ylim(len(results) - 0.4, -0.6)
    axes.set_xlabel("total variation distance from the recording (fraction of units)")
    grey = Line2D([], [], color=NULL_GREY, lw=5, label="units dealt anew, middle 95 %")
    figure.legend(handles=[*side_legend(looks, results), grey], loc="outside lower center", ncols=2)
    return figure
