"""Shapes of PSTHs: the gallery found on the recording, and how often each side shows each shape or class."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dynaprobe.analysis.motifs import MotifGallery
from dynaprobe.analysis.unit_classes import CLASSES, PsthClasses
from dynaprobe.report.colour import Look, direction_colours
from dynaprobe.report.style import (
    PAGE_MM,
    TIME_LABEL,
    broken_time_axes,
    direction_legend,
    directions_deg,
    fraction_axis,
    new_figure,
    segments_of,
    side_legend,
    styled,
)


@styled
def gallery_figure(galleries: Mapping[str, MotifGallery], looks: Mapping[str, Look]) -> Figure:
    """Prototypes of the first gallery, and beside each the fraction of units of every side that belong to it.

    Args:
        galleries: by name of the side; motifs were found on the first, the others were sorted into it.
        looks: how each side is drawn.
    """
    first = next(iter(galleries.values())).data
    prototype = first["prototype"]
    n_motifs = prototype.sizes["motif"]
    figure = new_figure(PAGE_MM * 0.85, 22 + 17 * n_motifs)
    segments = segments_of(prototype)
    widths = [0.8 * (bins.stop - bins.start) / prototype.sizes["time"] for _, bins in segments]
    grid = figure.subplots(n_motifs, len(segments) + 1, squeeze=False, width_ratios=[*widths, 0.55], sharey="row")
    turned = bool(next(iter(galleries.values())).settings.get("turn_to_preferred", True))
    deg = directions_deg(prototype)
    deg = deg - deg[0] if turned else deg
    for row, axes in enumerate(grid):
        for place, (_, bins) in zip(axes[:-1], segments, strict=True):
            for path, colour in zip(prototype.values[row][:, bins], direction_colours(deg), strict=True):
                place.plot(prototype["time"].values[bins], path, color=colour, lw=0.9)
        last = row == n_motifs - 1
        broken_time_axes(axes[:-1], prototype, labelled=last, named=row == 0)
        if last:
            axes[0].set_xlabel(TIME_LABEL)
            axes[0].xaxis.label.set_horizontalalignment("left")
        axes[0].set_yticks([])
        axes[0].set_ylabel(f"motif {row + 1}\nrate (a.u.)")
        # The fractions share no scale with the shapes.
        place = axes[-1]
        place.remove()
        place = figure.add_subplot(grid[row, 0].get_gridspec()[row, -1])
        _draw_fractions(place, galleries, looks, row)
        place.set_xlabel("fraction of units" if last else "")
        place.tick_params(labelbottom=last)
    direction_legend(
        figure, deg, side_legend(looks, galleries), title="direction from preferred:" if turned else ""
    )
    return figure


def _draw_fractions(
    axes: Axes, results: Mapping[str, MotifGallery | PsthClasses], looks: Mapping[str, Look], motif: int
) -> None:
    """One motif: a dot with its interval per side, one below the other."""
    for k, (name, result) in enumerate(results.items()):
        _draw_dot(axes, result.data.isel(motif=motif), k, looks[name])
    highest = max(float(result.data["fraction_high"].max()) for result in results.values())
    axes.set_xlim(0, min(1.0, 1.1 * highest))
    axes.set_ylim(len(results) - 0.4, -0.6)
    axes.set_yticks([])


def _draw_dot(axes: Axes, data: xr.Dataset, at: float, look: Look) -> None:
    axes.plot([float(data["fraction_low"]), float(data["fraction_high"])], [at, at], color=look.colour, lw=1.1)
    size = 6.5 if look.marker == "*" else 4.5
    axes.plot(float(data["fraction"]), at, marker=look.marker, color=look.colour, ms=size, mec="white", mew=0.3)


@styled
def classes_figure(results: Mapping[str, PsthClasses], looks: Mapping[str, Look]) -> Figure:
    """Fraction of units in every class and with every feature, and the correlation of both epochs' tuning."""
    motifs = [str(name) for name in next(iter(results.values())).data["motif"].values]
    figure = new_figure(PAGE_MM, 70)
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    offsets = np.linspace(-0.27, 0.27, len(results)) if len(results) > 1 else np.zeros(1)
    for offset, (name, result) in zip(offsets, results.items(), strict=True):
        for row in range(len(motifs)):
            _draw_dot(left, result.data.isel(motif=row), row + offset, looks[name])
        values = result.data["tuning_correlation"].values
        values = np.sort(values[np.isfinite(values)])
        fraction = np.arange(1, values.size + 1) / max(values.size, 1)
        right.step(values, fraction, where="post", color=looks[name].colour, ls=looks[name].dashes)
    left.set_yticks(range(len(motifs)), [name.replace("_", " ") for name in motifs])
    left.set_ylim(len(motifs) - 0.5, -0.5)
    left.axhline(len(CLASSES) - 0.5, color="#999999", lw=0.6)
    left.set_xlim(0, 1)
    left.set_xlabel("fraction of units")
    right.set_xlim(-1, 1)
    right.set_xticks([-1, -0.5, 0, 0.5, 1])
    fraction_axis(right)
    right.axvline(0, color="#cccccc", lw=0.5, zorder=0)
    right.set_xlabel("preparatory-movement tuning correlation (r)")
    right.set_ylabel("cumulative fraction of units")
    figure.legend(handles=side_legend(looks, results), loc="outside lower center", ncols=4)
    return figure
