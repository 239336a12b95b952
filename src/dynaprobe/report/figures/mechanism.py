"""By which mechanism networks reach: a map of all, the probes on networks of known mechanism, cell by cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from dynaprobe.analysis.probes.causal import INITIAL_CONDITION_ABOVE, INPUT_DRIVEN_BELOW
from dynaprobe.report.cells import cell_label, cells_in_order, texts
from dynaprobe.report.colour import Look, activation_looks
from dynaprobe.report.figures.probes import MECHANISMS, look_of
from dynaprobe.report.gather_probes import column, is_forced, words
from dynaprobe.report.style import COLUMN_MM, PAGE_MM, new_figure, styled

_RING: dict[str, Any] = {"marker": "o", "mfc": "none", "mec": "black", "mew": 0.9, "ms": 8}
_TINTS = ((INITIAL_CONDITION_ABOVE, 1.0, "initial_condition"), (0.0, INPUT_DRIVEN_BELOW, "input_driven"))


def mechanism_handles(mechanisms: Sequence[str], *, markers: bool = True) -> list[Line2D]:
    """A handle for every verdict that occurs, with the number of networks."""
    return [
        Line2D(
            [], [], ls="", marker=look.marker if markers else "o", color=look.colour, ms=4,
            label=f"{words(name)} ({mechanisms.count(name)})",
        )
        for name, look in MECHANISMS.items()
        if name in mechanisms
    ]  # fmt: skip


def _dot(look: Look) -> dict[str, Any]:
    """A marker without an edge; one that is all edge keeps it."""
    return {"marker": look.marker, "color": look.colour, "mew": 0.9 if look.marker == "x" else 0}


def _title(text: str) -> Line2D:
    return Line2D([], [], ls="", label=text)


@styled
def mechanism_map_figure(networks: xr.Dataset, confusion: xr.Dataset | None) -> Figure:
    """Every network by both causal probes with intervals, and what the probes say where the task left no choice.

    Args:
        networks: suffices and decides with bounds, mechanism, activation; NaN where a network was not probed.
        confusion: count (forced, verdict); None where no mechanism was forced.
    """
    figure = new_figure(PAGE_MM if confusion is not None else COLUMN_MM * 1.4, 104)
    if confusion is None:
        left = figure.subplots()
    else:
        left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
        _draw_confusion(right, confusion)
    _draw_thirds(left)
    x, y = column(networks, "decides"), column(networks, "suffices")
    verdicts, activations = texts(networks, "mechanism"), texts(networks, "activation")
    shown = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    looks = activation_looks([activations[k] for k in shown] if activations else [])
    forced = is_forced(networks)
    crowd = shown.size > 20
    for k in shown:
        colour = look_of(verdicts[k]).colour
        spread = [
            np.array([[value - column(networks, f"{name}_low")[k]], [column(networks, f"{name}_high")[k] - value]])
            for name, value in (("decides", x[k]), ("suffices", y[k]))
        ]
        # Bounds of a bootstrap may leave the estimate outside by round-off.
        left.errorbar(
            x[k], y[k], xerr=np.maximum(spread[0], 0), yerr=np.maximum(spread[1], 0), ls="",
            marker=looks[activations[k]].marker if activations else "o", color=colour, ms=4.2,
            mec="black" if forced[k] else colour, mew=0.7 if forced[k] else 0, lw=0.5,
            elinewidth=0.5, alpha=0.75 if crowd else 1.0,
        )  # fmt: skip
    left.set_xlim(-0.06, 1.06)
    left.set_ylim(-0.06, 1.06)
    left.set_aspect("equal", adjustable="box")
    left.set_xlabel("state decides in a swap of states (fraction)")
    left.set_ylabel("movement that remains without target (fraction)")
    found = mechanism_handles([verdicts[k] for k in shown], markers=False)
    figure.legend(handles=[_title("verdict:"), *found], loc="outside lower center", ncols=5)
    others = [
        Line2D([], [], ls="", marker=look.marker, color="#777777", ms=4, label=words(name))
        for name, look in looks.items()
    ]
    if forced[shown].any():
        others.append(
            Line2D([], [], ls="", marker="o", mfc="white", mec="black", mew=0.7, ms=4, label="ringed: forced")
        )
    if others:
        # Not below: two legends outside the same edge would lie on one another.
        figure.legend(handles=others, loc="outside upper center", ncols=len(others))
    return figure


def _draw_thirds(axes: Axes) -> None:
    """Where the mean of both probes lies in its upper and in its lower third."""
    for low, high, mechanism in _TINTS:
        # x + y = 2 index: the border of a third is a line of slope -1.
        x = np.linspace(0, 1, 101)
        axes.fill_between(
            x, np.clip(2 * low - x, 0, 1), np.clip(2 * high - x, 0, 1), color=look_of(mechanism).colour,
            alpha=0.09, lw=0, zorder=0,
        )  # fmt: skip
        edge = low or high
        axes.plot([2 * edge - 1, 1] if edge > 0.5 else [0, 2 * edge], [1, 2 * edge - 1] if edge > 0.5 else
                  [2 * edge, 0], color=look_of(mechanism).colour, lw=0.6, ls=(0, (3, 2)), zorder=0.5)  # fmt: skip
    axes.plot([0, 1], [0, 1], color="#cccccc", lw=0.6, zorder=0.4)


def _draw_confusion(axes: Axes, confusion: xr.Dataset) -> None:
    """Counts in cells, a row for each forced mechanism; the shade is the share of its row."""
    name = "count_learned" if "count_learned" in confusion else "count"
    counts = confusion[name].transpose("forced", "verdict").values.astype(int)
    forced, verdicts = ([str(v) for v in confusion[dim].values] for dim in ("forced", "verdict"))
    totals = counts.sum(axis=1)
    for row, column_ in np.ndindex(counts.shape):
        share = counts[row, column_] / totals[row] if totals[row] else 0.0
        shade = mpl.colormaps["Greys"](0.75 * share)
        axes.add_patch(Rectangle((column_ - 0.5, row - 0.5), 1, 1, fc=shade, ec="#999999", lw=0.5))
        if forced[row] == verdicts[column_]:
            axes.add_patch(Rectangle((column_ - 0.46, row - 0.46), 0.92, 0.92, fc="none", ec="black", lw=1.2))
        axes.text(
            column_, row, str(counts[row, column_]), ha="center", va="center", fontsize=8,
            color="white" if share > 0.6 else "black",
        )  # fmt: skip
    axes.set_xlim(-0.53, len(verdicts) - 0.47)
    axes.set_ylim(len(forced) - 0.47, -0.53)
    axes.set_aspect("equal", adjustable="box", anchor="W")
    axes.set_xticks(range(len(verdicts)), [words(name).replace(" ", "\n", 1) for name in verdicts])
    trained = confusion["n_trained"].values if "n_trained" in confusion else totals
    axes.set_yticks(
        range(len(forced)),
        [f"{words(one)}\n(n = {n} of {of})" for one, n, of in zip(forced, totals, trained, strict=True)],
    )
    axes.tick_params(length=0)
    axes.set_xlabel("verdict of the probes (number of networks)")
    axes.set_ylabel("mechanism forced by the task")
    axes.spines[:].set_visible(False)


@styled
def mechanism_cells_figure(networks: xr.Dataset) -> Figure:
    """Mechanism index of every network, a row per cell; in brackets how many learned of how many were trained."""
    cells = cells_in_order(networks)
    index, verdicts = column(networks, "mechanism_index"), texts(networks, "mechanism")
    low, high = (column(networks, f"mechanism_index_{end}") for end in ("low", "high"))
    learned = np.array([status == "converged" for status in texts(networks, "status")], dtype=bool)
    members = np.array(texts(networks, "cell"))
    figure = new_figure(PAGE_MM, max(26 + 5.2 * len(cells), 44))
    axes = figure.subplots()
    for start, stop, mechanism in _TINTS:
        axes.axvspan(start, stop, color=look_of(mechanism).colour, alpha=0.09, lw=0, zorder=0)
    labels = []
    for row, cell in enumerate(cells):
        here = np.flatnonzero(members == cell)
        labels.append(f"{cell_label(networks, cell)} ({int(learned[here].sum())}/{here.size})")
        known = here[np.isfinite(index[here])]
        if not known.size:
            text = "none learned" if not learned[here].any() else "not probed"
            axes.text(0.5, row, text, ha="center", va="center", fontsize=6.5, color="#666666")
        # Side by side in height, in the order of the seeds, so that equal indices do not hide one another.
        at = row + (np.linspace(-0.3, 0.3, known.size) if known.size > 1 else np.zeros(known.size))
        for y, k in zip(at, known, strict=True):
            look = look_of(verdicts[k])
            if np.isfinite([low[k], high[k]]).all():
                axes.plot([low[k], high[k]], [y, y], color=look.colour, lw=0.7)
            axes.plot(index[k], y, ls="", ms=3.2, **_dot(look))
    axes.set_yticks(range(len(cells)), labels)
    axes.set_ylim(max(len(cells), 1) - 0.5, -0.5)
    axes.set_xlim(-0.04, 1.04)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y")
    axes.set_ylabel("setting\n(learned / trained)")
    axes.set_xlabel("mechanism index (fraction; 0 input, 1 state)")
    known_verdicts = [verdicts[k] for k in np.flatnonzero(np.isfinite(index))]
    if known_verdicts:
        figure.legend(
            handles=[_title("verdict:"), *mechanism_handles(known_verdicts)], loc="outside lower center", ncols=5
        )
    return figure


@styled
def similarity_by_mechanism_figure(networks: xr.Dataset, pair: Mapping[str, str], bar: float | None) -> Figure:
    """Single-unit against population similarity, by mechanism; the networks of `pair` are named.

    Args:
        networks: single_unit, population, mechanism.
        pair: by id, what is written beside a network.
        bar: from which a network reproduces a level; None where none is set.
    """
    x, y = column(networks, "single_unit"), column(networks, "population")
    verdicts, ids = texts(networks, "mechanism"), texts(networks, "id")
    shown = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    figure = new_figure(COLUMN_MM * 1.6, 100)
    axes = figure.subplots()
    for k in shown:
        look = look_of(verdicts[k])
        axes.plot(x[k], y[k], ls="", ms=4.5, alpha=0.75, **_dot(look))
    for level in (0.0, 1.0):
        axes.axhline(level, color="#999999", lw=0.6, ls=(0, (3, 2)), zorder=0)
        axes.axvline(level, color="#999999", lw=0.6, ls=(0, (3, 2)), zorder=0)
    for values, set_limits in ((x[shown], axes.set_xlim), (y[shown], axes.set_ylim)):
        low, high = min(0.0, values.min(initial=0.0)), max(1.0, values.max(initial=1.0))
        set_limits(low - 0.06 * (high - low), high + 0.06 * (high - low))
    if bar is not None:
        axes.fill_between([bar, axes.get_xlim()[1]], bar, axes.get_ylim()[1], color="#f1ecd9", lw=0, zorder=-1)
    _name_points(axes, {ids.index(one): text for one, text in pair.items() if one in ids}, x, y)
    axes.set_xlabel("single-unit similarity (0 surrogates, 1 neurons)")
    axes.set_ylabel("population similarity (0 surrogates, 1 neurons)")
    handles = mechanism_handles([verdicts[k] for k in shown])
    handles.append(
        Line2D([], [], ls="", marker="o", mfc="none", mec="black", mew=0.9, ms=8, label="nearest of a mechanism")
    )
    if bar is not None:
        handles.append(Line2D([], [], ls="", marker="s", color="#f1ecd9", ms=7, label="both levels reproduced"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _name_points(axes: Axes, named: Mapping[int, str], x: np.ndarray, y: np.ndarray) -> None:
    """Ring some points and write their names below one another beside the cloud, each led to its point."""
    rows = [k for k in sorted(named, key=lambda k: -y[k]) if np.isfinite([x[k], y[k]]).all()]
    for place, k in enumerate(rows):
        axes.plot(x[k], y[k], ls="", zorder=4, **_RING)
        axes.annotate(
            named[k], (x[k], y[k]), xytext=(1.03, 0.98 - 0.22 * place), textcoords="axes fraction", va="top",
            fontsize=6.5, zorder=5,
            arrowprops={"arrowstyle": "-", "color": "#555555", "lw": 0.6, "shrinkB": 4, "relpos": (0, 0.5)},
        )  # fmt: skip
