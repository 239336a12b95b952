"""How training went: loss and score of every network, those that did not learn included."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dynaprobe.report.colour import Look, activation_looks
from dynaprobe.report.style import PAGE_MM, new_figure, styled

# Colour of what went wrong, besides dashes and a cross.
FAILED = "#B4261A"


def curve(history: xr.Dataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Updates and values of one quantity of a training history; values that were not measured are left out."""
    values = history[name]
    for dim in [d for d in values.dims if d == "member"]:
        values = values.isel({dim: 0})
    dim = str(values.dims[-1])
    at = history[dim].values if dim in history.coords else np.arange(1, values.sizes[dim] + 1)
    y = values.values.astype(np.float64)
    kept = np.isfinite(y)
    return np.asarray(at, dtype=np.float64)[kept], y[kept]


@styled
def training_figure(
    histories: Mapping[str, xr.Dataset], networks: xr.Dataset, *, threshold: float | None
) -> Figure:
    """Loss and validation score against updates, one column per activation.

    Args:
        histories: by id of the network: loss, validation_score.
        networks: dim network: id, activation, status.
        threshold: score from which a network counts as trained; None draws no line.
    """
    ids = [str(name) for name in networks["id"].values]
    activations = sorted({str(name) for name in networks["activation"].values})
    looks = activation_looks(activations)
    figure = new_figure(min(24 + 60 * len(activations), PAGE_MM), 92)
    grid = figure.subplots(2, len(activations), squeeze=False, sharex=True, sharey="row")
    n_failed = 0
    for k, name in enumerate(ids):
        if name not in histories:
            continue
        activation = str(networks["activation"].values[k])
        learned = str(networks["status"].values[k]) == "converged"
        n_failed += not learned
        for axes, what in zip(grid[:, activations.index(activation)], ("loss", "validation_score"), strict=True):
            _draw_curve(axes, *curve(histories[name], what), look=looks[activation], learned=learned)
    for column, activation in enumerate(activations):
        _finish_column(grid[:, column], threshold)
        grid[0, column].set_title(activation.replace("_", " "), loc="left", fontweight="bold")
    grid[0, 0].set_ylabel("training loss (a.u.)")
    grid[1, 0].set_ylabel("validation score (R²)")
    _add_legend(figure, threshold, n_failed)
    return figure


def _draw_curve(axes: Axes, at: np.ndarray, values: np.ndarray, *, look: Look, learned: bool) -> None:
    if not at.size:
        return
    if learned:
        axes.plot(at, values, color=look.colour, lw=0.8, alpha=0.7)
        return
    axes.plot(at, values, color=FAILED, lw=0.8, ls=(0, (3, 1.5)))
    axes.plot(at[-1], values[-1], marker="x", color=FAILED, ms=5, mew=1.2, clip_on=False)


def _finish_column(column: np.ndarray, threshold: float | None) -> None:
    column[0].set_yscale("log")
    column[1].set_xlabel("training (updates)")
    # A network before training has a score far below 0, which would flatten what matters.
    low = min((line.get_ydata().min() for line in column[1].get_lines() if len(line.get_ydata())), default=0.0)
    column[1].set_ylim(max(low - 0.05, -0.5), 1.03)
    if threshold is not None:
        column[1].axhline(threshold, color="#333333", lw=0.6, ls=(0, (1, 1)))


def _add_legend(figure: Figure, threshold: float | None, n_failed: int) -> None:
    handles = [Line2D([], [], color="#555555", lw=1.0, label="learned")]
    if n_failed:
        handles.append(
            Line2D(
                [],
                [],
                color=FAILED,
                ls=(0, (3, 1.5)),
                marker="x",
                ms=5,
                mew=1.2,
                label=f"did not learn ({n_failed})",
            )
        )
    if threshold is not None:
        handles.append(Line2D([], [], color="#333333", lw=0.6, ls=(0, (1, 1)), label=f"threshold, {threshold:g}"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
