"""One look for every figure: sizes of a journal column, fonts, axes, time and events.

Figures are plain `matplotlib.figure.Figure` objects; no window, no pyplot, no state between figures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from itertools import pairwise
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from dynaprobe.report.colour import RECORDING, Look, activation_looks, direction_colours

MM_PER_INCH = 25.4
# Widths of one column and of two, as most journals print them.
COLUMN_MM, PAGE_MM = 85.0, 178.0

# DejaVu Sans comes with matplotlib, so figures are the same on every machine. In SVG, glyphs are drawn as paths:
# a page read offline must not depend on the fonts of its reader. In PDF, type 42 keeps text editable.
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 7.0,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.0,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "axes.formatter.limits": (-3, 4),
    "axes.formatter.useoffset": False,
    "figure.facecolor": "white",
    "figure.dpi": 100.0,
    "figure.titlesize": 8.0,
    "savefig.facecolor": "white",
    "legend.fontsize": 6.5,
    "legend.title_fontsize": 6.5,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "grid.linewidth": 0.4,
    "grid.color": "#dddddd",
    "svg.fonttype": "path",
    "svg.hashsalt": "dynaprobe",
    "pdf.fonttype": 42,
    "pdf.compression": 9,
}

# What the events of the glossary are called in a figure.
EVENT_WORDS = {
    "trial_start": "trial start",
    "target_on": "target on",
    "go_cue": "go cue",
    "move_onset": "movement onset",
    "movement_end": "movement end",
    "trial_end": "trial end",
    "target_change": "target change",
    "target_off": "target off",
}
EPOCH_GREYS = ("#ffffff", "#e9eef5", "#fbf1e2", "#f3f3f3", "#eaf4ea", "#f6eaf1")

P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Run a drawing function under `STYLE`, leaving matplotlib's settings as they were."""

    @wraps(draw)
    def with_style(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return with_style


def new_figure(width_mm: float, height_mm: float, *, square: bool = False) -> Figure:
    """An empty figure whose parts lay themselves out without overlap.

    Args:
        width_mm, height_mm: size in print.
        square: whether the axes are squares, which must be laid out without room around them.
    """
    layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.03, hspace=0.03, compress=square)
    return Figure(figsize=(width_mm / MM_PER_INCH, height_mm / MM_PER_INCH), layout=layout)


def event_word(event: str) -> str:
    """The event in plain words."""
    return EVENT_WORDS.get(event, event.replace("_", " "))


def rate_label(attrs: Mapping[str, Any], what: str = "rate") -> str:
    """Axis label of rates with their unit, which soft normalisation has taken away."""
    if "soft normalisation" in str(attrs.get("preprocessing", "")):
        return f"{what} (fraction of range)"
    return f"{what} ({attrs.get('rate_unit', 'a.u.')})"


def directions_deg(data: xr.Dataset | xr.DataArray) -> Float[np.ndarray, " condition"]:
    """Movement direction of every condition, in degrees.

    From the coordinate ``direction_deg``, else from labels such as ``direction_deg=45``, else from the order of
    the conditions, taken as equally spaced from 0.
    """
    n_conditions = data.sizes["condition"]
    if "direction_deg" in data.coords:
        return np.asarray(data["direction_deg"].values, dtype=np.float64)
    if "condition" in data.coords:
        found = [re.search(r"direction_deg=(-?[\d.]+)", str(label)) for label in data["condition"].values]
        if all(found):
            return np.array([float(match.group(1)) for match in found if match])
    return np.arange(n_conditions) * 360.0 / n_conditions


def direction_legend(
    figure: Figure,
    deg: Float[np.ndarray, " condition"],
    extra: Iterable[Line2D] = (),
    *,
    title: str = "direction:",
    labels: Sequence[str] = (),
) -> None:
    """Below the figure the colour of every direction, above it whatever else `extra` explains.

    Colours are called by `labels`, where such are given, in place of degrees.
    """
    colours = direction_colours(deg)
    order = np.argsort(deg, kind="stable")
    words = labels or [f"{one:g}°" for one in deg]
    handles = [Line2D([], [], ls="", label=title)]
    handles += [Line2D([], [], color=colours[k], lw=2.0, label=words[k]) for k in order]
    spacing = {"columnspacing": 1.0, "handletextpad": 0.4, "handlelength": 1.2}
    extra = list(extra)
    if extra:
        # Not below: two legends outside the same edge would lie on one another.
        figure.legend(handles=extra, loc="outside upper center", ncols=4, **spacing)
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), **spacing)


def condition_legend(figure: Figure, data: xr.Dataset | xr.DataArray, extra: Iterable[Line2D] = ()) -> None:
    """As `direction_legend`; conditions whose labels name no direction are numbered in their order."""
    deg = directions_deg(data)
    is_named = "direction_deg" in data.coords or "condition" not in data.coords
    if is_named or any("direction_deg=" in str(label) for label in data["condition"].values):
        direction_legend(figure, deg, extra)
    else:
        numbers = [str(k + 1) for k in range(deg.size)]
        direction_legend(figure, deg, extra, title="condition:", labels=numbers)


def fraction_axis(axes: Axes) -> None:
    """Cumulative fractions from 0 to 1, at fixed ticks.

    Ticks that follow the height of the axes may get wider labels after the layout has made room for narrower ones.
    """
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])


def side_legend(looks: Mapping[str, Look], names: Iterable[str]) -> list[Line2D]:
    """Handles that explain how each side is drawn."""
    return [
        Line2D(
            [], [], color=looks[name].colour, marker=looks[name].marker, ls=looks[name].dashes, ms=4.5, label=name
        )
        for name in names
    ]


def looks_of(sides: Mapping[str, str | None]) -> dict[str, Look]:
    """How to draw every side, from its activation; None is the recording. Alike activations differ in dashes."""
    by_activation = activation_looks([name for name in sides.values() if name is not None])
    looks: dict[str, Look] = {}
    for side, activation in sides.items():
        look = RECORDING if activation is None else by_activation[activation]
        n_alike = sum(other == activation for other in list(sides.values())[: len(looks)])
        looks[side] = replace(look, dashes=(0, (1.0, 0.6 * n_alike))) if n_alike else look
    return looks


def name_panel(axes: Axes, name: str) -> None:
    """Write whose panel it is above it: in bold, or small where the name takes several lines."""
    small = "\n" in name
    axes.set_title(name, loc="left", fontsize=6.5 if small else None, fontweight="normal" if small else "bold")


def mark_event(axes: Axes, at_ms: float = 0.0) -> None:
    """A thin vertical line at an event."""
    axes.axvline(at_ms, color="#777777", lw=0.6, ls=(0, (3, 2)), zorder=0.5)


def segments_of(data: xr.Dataset | xr.DataArray) -> list[tuple[str, slice]]:
    """The alignments that follow one another along time: their event and their bins."""
    if "segment" not in data.coords:
        event = str(data["time"].attrs.get("event", "the event at 0"))
        return [(event, slice(0, data.sizes["time"]))]
    segment = np.asarray(data["segment"].values)
    edges = [0, *(np.flatnonzero(segment[1:] != segment[:-1]) + 1).tolist(), segment.size]
    return [(str(segment[a]), slice(a, b)) for a, b in pairwise(edges)]


TIME_LABEL = "time from event (ms)"


def broken_time_axes(
    axes: Sequence[Axes], data: xr.Dataset | xr.DataArray, *, labelled: bool, named: bool
) -> None:
    """Turn neighbouring axes into one time axis with breaks: one segment each, a line at its event.

    Args:
        axes: as many as `segments_of` the data gives; their widths should be in proportion to the bins.
        data: whose time and segments are drawn.
        labelled: whether the axes carry tick labels, as in the bottom row; label them with `TIME_LABEL`.
        named: whether the events are named above their lines, as in the top row.
    """
    time_ms = np.asarray(data["time"].values, dtype=np.float64)
    for k, (place, (event, bins)) in enumerate(zip(axes, segments_of(data), strict=True)):
        first, last = time_ms[bins][0], time_ms[bins][-1]
        place.set_xlim(first, last)
        if first <= 0 <= last:
            mark_event(place)
        place.xaxis.set_major_locator(mpl.ticker.MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
        place.tick_params(labelbottom=labelled)
        if named and first <= 0 <= last:
            place.text(
                0,
                1.0,
                event_word(event),
                transform=place.get_xaxis_transform(),
                ha="center",
                va="bottom",
                fontsize=6,
            )
        if k:
            place.spines["left"].set_visible(False)
            place.tick_params(left=False, labelleft=False)


def equal_limits(axes: Axes, *values: np.ndarray, margin: float = 0.08) -> None:
    """Square limits about the data with one scale on both axes."""
    points = np.concatenate([np.asarray(v, dtype=np.float64).reshape(-1, 2) for v in values])
    middle = (points.max(axis=0) + points.min(axis=0)) / 2
    reach = float(np.ptp(points, axis=0).max()) / 2 * (1 + 2 * margin) or 1.0
    axes.set_xlim(middle[0] - reach, middle[0] + reach)
    axes.set_ylim(middle[1] - reach, middle[1] + reach)
    axes.set_aspect("equal", adjustable="box")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(mpl.ticker.MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
