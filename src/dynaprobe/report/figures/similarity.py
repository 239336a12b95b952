"""How alike networks and recording are: by single units, by the population, and one against the other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dynaprobe.analysis.cca import CcaBounds
from dynaprobe.analysis.unit_match import UnitMatch
from dynaprobe.report.cells import cell_label
from dynaprobe.report.colour import Look, activation_looks
from dynaprobe.report.style import (
    COLUMN_MM,
    PAGE_MM,
    fraction_axis,
    new_figure,
    styled,
)

# Marker sizes in points from the smallest penalty to the largest.
_SIZES_PT = (3.5, 8.0)
MEASURES = {
    "single_unit": "single-unit similarity (0 surrogates, 1 neurons)",
    "population": "population similarity (0 surrogates, 1 neurons)",
    "gap": "single-unit minus population (difference)",
}


def penalty_sizes(penalties: np.ndarray) -> dict[float, float]:
    """Marker size in points for every penalty, by rank: penalties span decades and may be 0."""
    distinct = np.unique(penalties[np.isfinite(penalties)])
    return dict(zip(distinct.tolist(), np.linspace(*_SIZES_PT, max(distinct.size, 2)).tolist(), strict=False))


def _size_of(networks: xr.Dataset, k: int, sizes: Mapping[float, float]) -> float:
    """Marker size of one network; in the middle where it was trained outside a grid of penalties."""
    return sizes.get(float(networks["penalty_rate"].values[k]), sum(_SIZES_PT) / 2)


def _limits(values: np.ndarray) -> tuple[float, float]:
    """Limits that show floor and ceiling and whatever lies beyond."""
    values = values[np.isfinite(values)]
    low, high = min(0.0, values.min(initial=0.0)), max(1.0, values.max(initial=1.0))
    margin = 0.06 * (high - low)
    return low - margin, high + margin


@styled
def similarity_figure(networks: xr.Dataset, settings: xr.Dataset) -> Figure:
    """Single-unit against population similarity: every network, and the mean of every setting with its interval.

    Args:
        networks: dim network: single_unit, population, activation, penalty_rate, cell; NaN where not learned.
        settings: dim cell: single_unit_mean, _low, _high and the same of population.
    """
    figure = new_figure(COLUMN_MM * 1.55, 92)
    axes = figure.subplots()
    looks = activation_looks(map(str, networks["activation"].values))
    sizes = penalty_sizes(networks["penalty_rate"].values.astype(float))
    x, y = networks["single_unit"].values.astype(float), networks["population"].values.astype(float)
    for k in np.flatnonzero(np.isfinite(x) & np.isfinite(y)):
        look = looks[str(networks["activation"].values[k])]
        size = _size_of(networks, int(k), sizes)
        axes.plot(x[k], y[k], ls="", marker=look.marker, color=look.colour, alpha=0.4, ms=size, mew=0)
    _draw_means(axes, networks, settings, looks, sizes)
    _draw_floor_and_ceiling(axes)
    axes.set_xlim(*_limits(x))
    axes.set_ylim(*_limits(y))
    axes.set_xlabel(MEASURES["single_unit"])
    axes.set_ylabel(MEASURES["population"])
    figure.legend(handles=_legend(looks, sizes), loc="outside right upper")
    return figure


def _draw_floor_and_ceiling(axes: Axes) -> None:
    for level in (0.0, 1.0):
        axes.axhline(level, color="#999999", lw=0.6, ls=(0, (3, 2)), zorder=0)
        axes.axvline(level, color="#999999", lw=0.6, ls=(0, (3, 2)), zorder=0)
    axes.axline((0, 0), slope=1, color="#bbbbbb", lw=0.6, zorder=0)


def _draw_means(
    axes: Axes, networks: xr.Dataset, settings: xr.Dataset, looks: Mapping[str, Look], sizes: Mapping[float, float]
) -> None:
    """Mean and interval of every setting; an interval without ends (one network) is not drawn."""
    for k, name in enumerate(settings["cell"].values):
        first = np.flatnonzero(networks["cell"].values == name)
        centre = [float(settings[f"{side}_mean"][k]) for side in ("single_unit", "population")]
        if not first.size or not np.isfinite(centre).all():
            continue
        look = looks[str(networks["activation"].values[first[0]])]
        x, y = centre
        (left, right), (below, above) = (_ends(settings, side, k) for side in ("single_unit", "population"))
        axes.plot([left, right], [y, y], color=look.colour, lw=0.8, zorder=3)
        axes.plot([x, x], [below, above], color=look.colour, lw=0.8, zorder=3)
        size = _size_of(networks, int(first[0]), sizes)
        axes.plot(x, y, marker=look.marker, color=look.colour, ms=size, mec="black", mew=0.7, zorder=4)


def _ends(settings: xr.Dataset, side: str, k: int) -> tuple[float, float]:
    """Ends of an interval; both at the mean where a single network has none."""
    mean = float(settings[f"{side}_mean"][k])
    low, high = (float(settings[f"{side}_{end}"][k]) for end in ("low", "high"))
    return (low, high) if np.isfinite([low, high]).all() else (mean, mean)


def _legend(looks: Mapping[str, Look], sizes: Mapping[float, float]) -> list[Line2D]:
    def title(text: str) -> Line2D:
        return Line2D([], [], ls="", label=text)

    handles = [title("activation")]
    handles += [
        Line2D([], [], ls="", marker=look.marker, color=look.colour, ms=5, label=name.replace("_", " "))
        for name, look in looks.items()
    ]
    handles += [title("rate penalty")] if sizes else []
    handles += [
        Line2D([], [], ls="", marker="o", color="#666666", mew=0, ms=size, label=f"{penalty:g}")
        for penalty, size in sizes.items()
    ]
    handles += [
        title("faint: one network"),
        title("outlined: mean, interval"),
        Line2D([], [], color="#999999", lw=0.6, ls=(0, (3, 2)), label="surrogates, neurons"),
        Line2D([], [], color="#bbbbbb", lw=0.6, label="both alike"),
    ]
    return handles


@styled
def settings_figure(networks: xr.Dataset, settings: xr.Dataset) -> Figure:
    """A row per setting: both similarities and their difference, mean with interval and every network."""
    names = [str(name) for name in settings["cell"].values]
    figure = new_figure(PAGE_MM, max(24 + 5.5 * len(names), 42))
    panels = figure.subplots(1, 3, sharey=True)
    looks = activation_looks(map(str, networks["activation"].values))
    values = {name: networks[name].values.astype(float) for name in ("single_unit", "population")}
    values["gap"] = values["single_unit"] - values["population"]
    for axes, (measure, label) in zip(panels, MEASURES.items(), strict=True):
        for row, name in enumerate(names):
            members = networks["cell"].values == name
            look = looks[str(networks["activation"].values[members][0])] if members.any() else Look("#666666", "o")
            _draw_row(axes, row, values[measure][members], settings.isel(cell=row), (measure, look))
        marks = (0.0,) if measure == "gap" else (0.0, 1.0)
        for level in marks:
            axes.axvline(level, color="#999999", lw=0.6, ls=(0, (3, 2)), zorder=0)
        axes.set_xlabel(label.replace(" (", "\n("))
        axes.grid(axis="y")
        axes.tick_params(axis="y", length=0)
        low, high = _limits(values[measure])
        axes.set_xlim((min(low, -1.0), max(high, 1.0)) if measure == "gap" else (low, high))
    counts = [
        f"{cell_label(networks, name)} ({int(settings['n_learned'][k])}/{int(settings['n_networks'][k])})"
        for k, name in enumerate(names)
    ]
    panels[0].set_yticks(range(len(names)), counts)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    panels[0].set_ylabel("setting\n(learned / trained)")
    return figure


def _draw_row(axes: Axes, row: int, values: np.ndarray, setting: xr.Dataset, how: tuple[str, Look]) -> None:
    measure, look = how
    values = values[np.isfinite(values)]
    if not values.size:
        axes.text(
            0.5,
            row,
            "none learned",
            ha="center",
            va="center",
            fontsize=6.5,
            color="#666666",
            transform=axes.get_yaxis_transform(),
        )
        return
    mean, low, high = (float(setting[f"{measure}_{part}"]) for part in ("mean", "low", "high"))
    axes.plot(
        values,
        np.full(values.size, row + 0.22),
        ls="",
        marker=look.marker,
        color=look.colour,
        alpha=0.45,
        ms=3,
        mew=0,
    )
    if np.isfinite([low, high]).all():
        axes.plot([low, high], [row - 0.1] * 2, color=look.colour, lw=1.2)
    axes.plot(mean, row - 0.1, marker=look.marker, color=look.colour, ms=5, mec="black", mew=0.6)


@styled
def unit_match_figure(results: Mapping[str, UnitMatch], looks: Mapping[str, Look]) -> Figure:
    """Distribution over recorded units of the correlation with the best model unit, between floor and ceiling."""
    figure, panels = _row_of_panels(len(results))
    for axes, (name, result) in zip(panels, results.items(), strict=False):
        data, look = result.data, looks[name]
        _draw_ecdf(axes, data["floor"].values.ravel(), "#8a8a8a", "floor: surrogates")
        _draw_ecdf(axes, data["correlation"].values, look.colour, "network")
        _draw_ecdf(axes, data["ceiling"].values, "#000000", "ceiling: split halves")
        axes.set_title(
            f"{name}\nmedian r {float(data['median']):.2f}, p = {float(data['p_value']):.3f}", loc="left"
        )
        axes.set_xlabel("correlation of held-out PSTHs (r)")
        axes.set_ylabel("cumulative fraction of units")
        fraction_axis(axes)
    handles, labels = panels[0].get_legend_handles_labels()
    handles[1] = Line2D([], [], color="#555555", label=labels[1])
    figure.legend(handles, labels, loc="outside lower center", ncols=3 if len(results) > 1 else 1)
    return figure


def _row_of_panels(n: int) -> tuple[Figure, np.ndarray]:
    n_columns = min(n, 3)
    n_rows = -(-n // n_columns)
    figure = new_figure(min(60 * n_columns, PAGE_MM), 66 * n_rows)
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes in panels:
        axes.tick_params(labelbottom=True, labelleft=True)
    for axes in panels[n:]:
        axes.set_visible(False)
    return figure, panels


def _draw_ecdf(axes: Axes, values: np.ndarray, colour: str, label: str) -> None:
    values = np.sort(values[np.isfinite(values)])
    # A thousand steps are finer than the line is wide; surrogates times units are many more.
    shown = np.quantile(values, np.linspace(0, 1, 1001)) if values.size > 1001 else values
    axes.step(shown, np.arange(1, shown.size + 1) / max(shown.size, 1), where="post", color=colour, label=label)


@styled
def cca_figure(results: Mapping[str, CcaBounds], looks: Mapping[str, Look]) -> Figure:
    """Held-out canonical correlations of every network with the recording, between floor and ceiling."""
    figure, panels = _row_of_panels(len(results))
    for axes, (name, result) in zip(panels, results.items(), strict=False):
        data, look = result.data, looks[name]
        component = data["component"].values
        _draw_band(axes, component, data["floor_correlation"].values, "#8a8a8a", "floor: surrogates")
        _draw_band(axes, component, data["ceiling_correlation"].values, "#000000", "ceiling: split halves")
        axes.plot(
            component, data["correlation_halves"], color=look.colour, marker=look.marker, label="network, held out"
        )
        in_sample = data["correlation_in_sample"]
        axes.plot(component, in_sample, color=look.colour, ls=":", lw=0.8, label="network, in sample")
        axes.set_title(
            f"{name}\nmean r {float(data['score_halves']):.2f}, p = {float(data['p_value']):.3f}", loc="left"
        )
        axes.set_xlabel("canonical component (number)")
        axes.set_ylabel("canonical correlation (r)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.axhline(0, color="#cccccc", lw=0.5, zorder=0)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _draw_band(axes: Axes, component: np.ndarray, draws: np.ndarray, colour: str, label: str) -> None:
    """Mean and the middle 95 % of draws."""
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    axes.fill_between(component, low, high, color=colour, alpha=0.18, lw=0)
    axes.plot(component, draws.mean(axis=0), color=colour, lw=0.9, label=label)
