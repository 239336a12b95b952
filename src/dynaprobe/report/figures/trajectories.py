"""Whether states that are alike lead apart: tangling and divergence along time, beside surrogates."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dynaprobe.analysis.divergence import DivergenceResult
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.tangling import TanglingResult
from dynaprobe.report.colour import direction_colours
from dynaprobe.report.figures.nulls import NullRow, draw_rows, null_handles
from dynaprobe.report.style import (
    PAGE_MM,
    condition_legend,
    directions_deg,
    event_word,
    mark_event,
    name_panel,
    new_figure,
    styled,
)


@styled
def tangling_figure(results: Mapping[str, TanglingResult]) -> Figure:
    """Tangling of every condition along time, and its mean beside that of surrogates."""

    def rows(data: xr.Dataset) -> list[NullRow]:
        return [NullRow("mean", float(data["mean_tangling"]), *_null(data, "null_mean", "p_mean"))]

    return _figure(results, "tangling", "Q (1/s²)", rows)


@styled
def divergence_figure(results: Mapping[str, DivergenceResult]) -> Figure:
    """Divergence of every condition along time, and its mean at each horizon beside that of surrogates."""

    def rows(data: xr.Dataset) -> list[NullRow]:
        parts = [data.isel(horizon=k) for k in range(data.sizes["horizon"])]
        return [
            NullRow(
                f"{float(part['horizon']):g} ms",
                float(part["mean_divergence"]),
                *_null(part, "null_mean", "p_mean"),
            )
            for part in parts
        ]

    return _figure(results, "largest_divergence", "D (ratio)", rows)


def _null(data: xr.Dataset, null: str, p: str) -> tuple[np.ndarray, float | None]:
    return (data[null].values, float(data[p])) if null in data else (np.array([]), None)


def _figure(
    results: Mapping[str, Result], name: str, label: str, rows: Callable[[xr.Dataset], list[NullRow]]
) -> Figure:
    n = len(results)
    figure = new_figure(PAGE_MM, 22 + 40 * n)
    grid = figure.subplots(n, 2, squeeze=False, width_ratios=(1.5, 1))
    for (left, right), (side, result) in zip(grid, results.items(), strict=True):
        _draw_courses(left, result.data[name], label)
        name_panel(left, side)
        draw_rows(right, rows(result.data))
        right.set_xlabel(f"mean {label}")
    condition_legend(figure, next(iter(results.values())).data, null_handles())
    return figure


def _draw_courses(axes: Axes, courses: xr.DataArray, label: str) -> None:
    time_ms = courses["time"].values
    for values, colour in zip(courses.values, direction_colours(directions_deg(courses)), strict=True):
        axes.plot(time_ms, values, color=colour, lw=0.8)
    axes.set_xlabel(f"time from {event_word(str(courses['time'].attrs.get('event', 'event')))} (ms)")
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0)
    mark_event(axes)
