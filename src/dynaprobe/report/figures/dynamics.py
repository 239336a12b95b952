"""Fixed points of networks: where they lie, and how the dynamics around them grow, decay and turn."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dynaprobe.analysis.fixed_point_record import FixedPoints
from dynaprobe.analysis.subspace import principal_axes
from dynaprobe.report.style import PAGE_MM, equal_limits, name_panel, new_figure, styled

# Points drawn per input in a spectrum, those with the most starts: more would hide one another.
MOST_POINTS = 6
_STABILITY = {
    "stable": ("#0072B2", "o"),
    "marginal": ("#8C6D00", "s"),
    "saddle": ("#D55E00", "^"),
    "unstable": ("#B4261A", "v"),
}
_INPUTS = (
    ("#000000", "o"),
    ("#0072B2", "s"),
    ("#D55E00", "^"),
    ("#8C6D00", "D"),
    ("#7A3E9D", "v"),
    ("#009E73", "P"),
)


def most_visited(data: xr.Dataset, position: int, n: int = MOST_POINTS) -> np.ndarray:
    """Rows of the points at one input that most starts led to, at most `n`; ties in the order of the record."""
    rows = np.flatnonzero(data["input_index"].values == position)
    return rows[np.argsort(-data["n_starts"].values[rows], kind="stable")][:n]


@styled
def spectra_figure(results: Mapping[str, FixedPoints]) -> Figure:
    """Eigenvalues around fixed and slow points: a row per network, a column per input of the trial.

    For a vector field decay rates in 1/s against frequencies in Hz, with the border of stability at 0; for a map
    the multipliers per step, with the unit circle.
    """
    inputs = list(dict.fromkeys(str(name) for r in results.values() for name in r.data["input"].values))
    figure = new_figure(min(22 + 46 * len(inputs), PAGE_MM), 16 + 46 * len(results))
    grid = figure.subplots(len(results), len(inputs), squeeze=False, sharex="row", sharey="row")
    for k, (row, (name, result)) in enumerate(zip(grid, results.items(), strict=True)):
        there = [str(label) for label in result.data["input"].values]
        for axes, label in zip(row, inputs, strict=True):
            if label in there:
                _draw_spectrum(axes, result.data, there.index(label))
            else:
                axes.text(0.5, 0.5, "not in its trials", transform=axes.transAxes, ha="center", va="center")
            axes.margins(0.08, 0.16)
            _label_spectrum(axes, result.data, first=axes is row[0])
            axes.set_title(f"input: {label}" if k == 0 else "", loc="left")
        row[0].annotate(
            name, (0, 0.5), xytext=(-38 - 5 * name.count("\n"), 0), xycoords="axes fraction",
            textcoords="offset points", rotation=90, va="center", ha="center",
            fontweight="normal" if "\n" in name else "bold",
        )  # fmt: skip
    handles = [
        Line2D([], [], ls="", marker=marker, color=colour, ms=4, label=word)
        for word, (colour, marker) in _STABILITY.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, title="point around which the modes are")
    return figure


def _draw_spectrum(axes: Axes, data: xr.Dataset, position: int) -> None:
    is_map = data.attrs.get("kind") == "map"
    to_rate, to_hz = (1.0, 1.0) if is_map else (1000.0, 1000.0 / (2 * np.pi))
    rows = most_visited(data, position)
    # The most visited point last, on top of the others.
    for row in rows[::-1]:
        colour, marker = _STABILITY[str(data["stability"].values[row])]
        axes.plot(
            data["eigenvalue_real"].values[row] * to_rate,
            data["eigenvalue_imag"].values[row] * to_hz,
            ls="", marker=marker, ms=2.6, mew=0, color=colour, alpha=0.9 if row == rows[0] else 0.4,
        )  # fmt: skip
    found = f"{int(data['n_fixed'][position])} fixed, {int(data['n_slow'][position])} slow"
    axes.text(
        0.03,
        0.97,
        found,
        transform=axes.transAxes,
        va="top",
        fontsize=6,
        bbox={"fc": "white", "ec": "none", "pad": 0.8, "alpha": 0.8},
    )
    if is_map:
        angle = np.linspace(0, 2 * np.pi, 200)
        axes.plot(np.cos(angle), np.sin(angle), color="#777777", lw=0.6)
    else:
        axes.axvline(0, color="#777777", lw=0.8)


def _label_spectrum(axes: Axes, data: xr.Dataset, *, first: bool) -> None:
    is_map = data.attrs.get("kind") == "map"
    axes.set_xlabel("real part (per step)" if is_map else "growth rate (1/s)")
    if first:
        axes.set_ylabel("imaginary part (per step)" if is_map else "frequency (Hz)")
    axes.axhline(0, color="#dddddd", lw=0.5, zorder=0)


@styled
def fixed_points_figure(results: Mapping[str, FixedPoints]) -> Figure:
    """Fixed and slow points of every network in the plane of their own PCs 1 and 2, each led to the next input."""
    n = len(results)
    n_columns = min(n, 3)
    n_rows = -(-n // n_columns)
    figure = new_figure(min(64 * n_columns, PAGE_MM), 20 + 62 * n_rows, square=True)
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes in panels[n:]:
        axes.set_visible(False)
    inputs = list(dict.fromkeys(str(name) for r in results.values() for name in r.data["input"].values))
    for axes, (name, result) in zip(panels, results.items(), strict=False):
        _draw_points(axes, result.data, inputs)
        name_panel(axes, name)
    handles = [
        Line2D([], [], ls="", marker=_INPUTS[k % 6][1], color=_INPUTS[k % 6][0], ms=4, label=label)
        for k, label in enumerate(inputs)
    ]
    handles += [
        Line2D([], [], ls="", marker="o", color="#555555", ms=4, label="filled: stable"),
        Line2D([], [], ls="", marker="o", mfc="white", mec="#555555", ms=4, label="open: not stable"),
        Line2D([], [], ls="", marker="x", color="#555555", ms=4, label="slow point"),
        Line2D([], [], color="#bbbbbb", lw=0.7, label="to the next input"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4 if n_columns > 1 else 2)
    return figure


def point_plane(states: Float[np.ndarray, "point unit"]) -> Float[np.ndarray, "point 2"]:
    """Points in the plane of their first two principal axes about their mean; 0 along axes that do not exist."""
    if not len(states):
        return np.zeros((0, 2))
    centred = states - states.mean(axis=0)
    axes, _ = principal_axes(centred)
    plane = np.zeros((len(states), 2))
    plane[:, : min(2, len(axes))] = centred @ axes[:2].T
    return plane


def _draw_points(axes: Axes, data: xr.Dataset, inputs: list[str]) -> None:
    axes.set_xlabel("PC 1 of the points (a.u.)")
    axes.set_ylabel("PC 2 of the points (a.u.)")
    plane = point_plane(data["x"].values)
    if not len(plane):
        axes.text(0.5, 0.5, "no fixed or slow point found", transform=axes.transAxes, ha="center")
        return
    if "successor" in data:
        for row, following in enumerate(data["successor"].values):
            if following >= 0:
                axes.plot(*plane[[row, following]].T, color="#bbbbbb", lw=0.6, zorder=1)
    for row, label in enumerate(map(str, data["input_label"].values)):
        colour, marker = _INPUTS[inputs.index(label) % len(_INPUTS)]
        if str(data["point_kind"].values[row]) == "slow_point":
            axes.plot(*plane[row], marker="x", color=colour, ms=4, zorder=2)
            continue
        face = colour if bool(data["is_stable"].values[row]) else "white"
        axes.plot(*plane[row], marker=marker, mfc=face, mec=colour, mew=0.8, ms=4, zorder=3)
    equal_limits(axes, plane)
