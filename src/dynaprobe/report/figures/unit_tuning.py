"""Single units and time: which are selective in which epoch, whether tuning lasts, and when responses begin."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dynaprobe.analysis.direction_tuning import DirectionTuning
from dynaprobe.analysis.latency import CRITERIA, ResponseLatency
from dynaprobe.analysis.tuning_correlation import TuningCorrelation
from dynaprobe.report.colour import Look
from dynaprobe.report.style import (
    PAGE_MM,
    event_word,
    fraction_axis,
    mark_event,
    new_figure,
    side_legend,
    styled,
)

NULL_GREY = "#b5b5b5"


def draw_ecdf(axes: Axes, values: np.ndarray, look: Look, *, of: int | None = None) -> None:
    """Cumulative fraction of the known values, or of `of` units of which some have none."""
    known = np.sort(values[np.isfinite(values)])
    total = known.size if of is None else of
    if not known.size or not total:
        return
    fraction = np.arange(1, known.size + 1) / total
    axes.step(
        np.concatenate([known[:1], known]),
        np.concatenate([[0.0], fraction]),
        where="post",
        color=look.colour,
        ls=look.dashes,
    )


def draw_interval(axes: Axes, at: float, span: tuple[float, float, float], look: Look) -> None:
    """A dot with its interval on one row: middle, low, high."""
    middle, low, high = span
    axes.plot([low, high], [at, at], color=look.colour, lw=1.1)
    axes.plot(
        middle,
        at,
        marker=look.marker,
        color=look.colour,
        ms=6.5 if look.marker == "*" else 4.5,
        mec="white",
        mew=0.3,
    )


def offsets(n_sides: int) -> np.ndarray:
    """Where the sides stand around a row."""
    return np.linspace(-0.27, 0.27, n_sides) if n_sides > 1 else np.zeros(1)


@styled
def direction_tuning_figure(results: Mapping[str, DirectionTuning], looks: Mapping[str, Look]) -> Figure:
    """Fraction of selective units per epoch, and how well a cosine fits those that are."""
    first = next(iter(results.values())).data
    epochs = [str(name) for name in first["epoch"].values]
    tuned = epochs[-2:]
    figure = new_figure(PAGE_MM, 66)
    left, *right = figure.subplots(1, 1 + len(tuned), width_ratios=(1.3, *[1] * len(tuned)))
    for offset, (name, result) in zip(offsets(len(results)), results.items(), strict=True):
        for row, epoch in enumerate(epochs):
            data = result.data.sel(epoch=epoch)
            span = tuple(float(data[key]) for key in ("fraction", "fraction_low", "fraction_high"))
            draw_interval(left, row + offset, span, looks[name])  # type: ignore[arg-type]
        for axes, epoch in zip(right, tuned, strict=True):
            data = result.data.sel(epoch=epoch)
            fit = data["r_squared_corrected"].values[data["is_selective"].values]
            draw_ecdf(axes, np.clip(fit, -0.2, 1.2), looks[name])
    left.set_yticks(range(len(epochs)), epochs)
    left.set_ylim(len(epochs) - 0.5, -0.5)
    left.set_xlim(-0.02, 1)
    left.set_xlabel("fraction of units selective for direction")
    for axes, epoch in zip(right, tuned, strict=True):
        axes.set_xlim(-0.2, 1.2)
        fraction_axis(axes)
        axes.axvline(1, color="#cccccc", lw=0.5, zorder=0)
        axes.set_title(epoch, loc="left")
        axes.set_xlabel("cosine fit, noise removed (R²)")
        axes.set_ylabel("cumulative fraction of selective units")
    figure.legend(handles=side_legend(looks, results), loc="outside lower center", ncols=4)
    return figure


@styled
def tuning_correlation_figure(results: Mapping[str, TuningCorrelation], looks: Mapping[str, Look]) -> Figure:
    """Tuning across epochs: of every unit, and of all units together against other units' movement."""
    figure = new_figure(PAGE_MM, 66)
    left, right = figure.subplots(1, 2)
    for row, (name, result) in enumerate(results.items()):
        data = result.data
        draw_ecdf(left, np.clip(data["corrected"].values, -1.25, 1.25), looks[name])
        null = data["null"].values[np.isfinite(data["null"].values)]
        if null.size:
            low, high = np.quantile(null, [0.025, 0.975])
            right.plot([low, high], [row + 0.22] * 2, color=NULL_GREY, lw=4, solid_capstyle="butt")
        span = tuple(float(data[key]) for key in ("population", "population_low", "population_high"))
        draw_interval(right, row, span, looks[name])  # type: ignore[arg-type]
    left.set_xlim(-1.3, 1.3)
    fraction_axis(left)
    left.set_xlabel("tuning correlation of a unit, noise removed (r)")
    left.set_ylabel("cumulative fraction of units")
    right.set_yticks([])
    right.set_ylim(len(results) - 0.4, -0.6)
    right.set_xlim(-1.05, 1.25)
    right.set_xlabel("tuning correlation of all units together (r)")
    for axes in (left, right):
        for at in (-1, 0, 1):
            axes.axvline(at, color="#cccccc", lw=0.5, zorder=0)
    grey = Line2D([], [], color=NULL_GREY, lw=4, label="movement of another unit")
    figure.legend(handles=[*side_legend(looks, results), grey], loc="outside lower center", ncols=4)
    return figure


@styled
def latency_figure(results: Mapping[str, ResponseLatency], looks: Mapping[str, Look]) -> Figure:
    """Cumulative fraction of units that have begun to respond, and that have begun to tell conditions apart."""
    figure = new_figure(PAGE_MM, 66)
    panels = figure.subplots(1, len(CRITERIA), sharey=True)
    settings = next(iter(results.values())).settings
    for axes, criterion in zip(panels, CRITERIA, strict=True):
        for name, result in results.items():
            data = result.data.sel(criterion=criterion)
            detected = data["q_value"].values <= result.settings["false_discovery"]
            n_tested = int(np.isfinite(data["q_value"].values).sum())
            draw_ecdf(axes, np.where(detected, data["latency_ms"].values, np.nan), looks[name], of=n_tested)
        axes.set_xlim(*settings["search_ms"])
        fraction_axis(axes)
        if settings["search_ms"][0] < 0:
            mark_event(axes)
        axes.set_title(criterion, loc="left")
        axes.set_xlabel(f"latency from {event_word(settings['event'])} (ms)")
        axes.set_ylabel("cumulative fraction of units")
        axes.tick_params(labelleft=True)
    figure.legend(handles=side_legend(looks, results), loc="outside lower center", ncols=4)
    return figure
