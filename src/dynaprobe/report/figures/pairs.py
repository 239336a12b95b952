"""Every pair of candidates: scores between floor and ceiling, matrices of distances, and maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dynaprobe.analysis.embedding import Embedding
from dynaprobe.report.colour import Look
from dynaprobe.report.style import COLUMN_MM, PAGE_MM, equal_limits, new_figure, styled

# How each kind of candidate is drawn.
KINDS = {
    "reference": Look("#000000", "*"),
    "recording": Look("#0072B2", "o"),
    "averages": Look("#56B4E9", "D"),
    "networks": Look("#D55E00", "s"),
}
FLOOR, CEILING = "#8a8a8a", "#000000"
# Mean width of a letter of a tick label.
LETTER_MM = 1.2
# Names longer than this are cut in figures; the tables have them whole.
LONGEST = 26


def short(name: str) -> str:
    """A name as far as a figure has room for it."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def _columns(n_panels: int, longest: int, inner_mm: float) -> int:
    """How many panels stand side by side, so that beside their longest label each keeps room for what it shows."""
    return max(1, min(3, n_panels, int(PAGE_MM // (inner_mm + LETTER_MM * longest))))


def kinds_of(candidates: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    """The kind of every candidate, the reference being one of its own."""
    return {name: "reference" if one["is_reference"] else str(one["kind"]) for name, one in candidates.items()}


@styled
def pair_scores_figure(scores: Mapping[str, xr.Dataset], reference: str | None) -> Figure:
    """A panel per measure and a row per pair: the score with its interval, between floor and ceiling.

    Args:
        scores: results of scoring, by measure.
        reference: where there is one, its pairs stand above the others.
    """
    longest = max(
        len(short(str(a)) + short(str(b))) + 3
        for data in scores.values()
        for a, b in zip(data["first"].values, data["second"].values, strict=True)
    )
    n_columns = _columns(len(scores), longest, 28)
    n_rows = -(-len(scores) // n_columns)
    most = max(data.sizes["row"] for data in scores.values())
    figure = new_figure(PAGE_MM, n_rows * (22 + 5.2 * most) + 8)
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes, (name, data) in zip(panels, scores.items(), strict=False):
        _draw_scores(axes, data, reference)
        axes.set_title(name.replace("_", " "), loc="left")
        arrow = "more" if data.attrs["kind"] == "similarity" else "less"
        axes.set_xlabel(f"{data.attrs['kind']} ({arrow} is more alike)")
    for axes in panels[len(scores) :]:
        axes.set_visible(False)
    handles = [
        Line2D([], [], color="#333333", marker="o", ms=4, lw=1.2, label="score, interval"),
        Line2D([], [], color=FLOOR, marker="|", ls="", ms=7, mew=1.4, label="floor: surrogates"),
        Line2D([], [], color=CEILING, marker="|", ls="", ms=7, mew=1.4, label="ceiling: other trials"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _draw_scores(axes: Axes, data: xr.Dataset, reference: str | None) -> None:
    first, second = (data[name].values.astype(str) for name in ("first", "second"))
    known = np.isfinite(data["score"].values)
    beside = (first == reference) | (second == reference)
    order = [k for k in np.argsort(~beside, kind="stable") if known[k]]
    for row, k in enumerate(order):
        score, low, high, floor, ceiling = (
            float(data[name].values[k]) for name in ("score", "low", "high", "floor", "ceiling")
        )
        colour = "#D55E00" if beside[k] else "#0072B2"
        axes.plot([floor, ceiling], [row, row], color="#dddddd", lw=3, solid_capstyle="butt", zorder=0)
        axes.plot(floor, row, marker="|", color=FLOOR, ms=7, mew=1.4)
        axes.plot(ceiling, row, marker="|", color=CEILING, ms=7, mew=1.4)
        if np.isfinite([low, high]).all():
            axes.plot([low, high], [row, row], color=colour, lw=1.2)
        axes.plot(score, row, marker="o", color=colour, ms=4)
    join = " | " if data.attrs["is_symmetric"] else " → "
    marks = np.where(data["is_rest"].values > 0, " *", "")
    axes.set_yticks(range(len(order)), [f"{short(first[k])}{join}{short(second[k])}{marks[k]}" for k in order])
    axes.set_ylim(len(order) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


@styled
def matrix_figure(maps: Mapping[str, Embedding]) -> Figure:
    """Distances of all pairs, measure by measure, candidates in the clustered order of the measure."""
    n_items = max(one.data.sizes["item"] for one in maps.values())
    longest = max(len(short(str(name))) for one in maps.values() for name in one.data["item"].values)
    n_columns = _columns(len(maps), longest, 38 if n_items <= 8 else 55)
    n_rows = -(-len(maps) // n_columns)
    side = PAGE_MM / n_columns if n_columns > 1 else COLUMN_MM * 1.2
    figure = new_figure(side * n_columns, side * 0.95 * n_rows)
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes, (name, one) in zip(panels, maps.items(), strict=False):
        _draw_matrix(figure, axes, one)
        axes.set_title(name.replace("_", " "), loc="left", fontsize=7)
    for axes in panels[len(maps) :]:
        axes.set_visible(False)
    return figure


def _draw_matrix(figure: Figure, axes: Axes, one: Embedding) -> None:
    order = one.data["order"].values
    values = one.data["distance"].values[np.ix_(order, order)]
    names = [short(str(name)) for name in one.data["item"].values[order]]
    image = axes.imshow(np.where(np.eye(len(names)) > 0, np.nan, values), cmap="cividis", vmin=0.0)
    bar = figure.colorbar(image, ax=axes, shrink=0.6)
    bar.set_label(f"distance,\n{one.settings['distance']}".replace(", mean", ",\nmean"), fontsize=6)
    bar.ax.tick_params(labelsize=6)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    if len(names) > 8:
        return
    # Light on dark and dark on light, so that numbers can be read on every field.
    middle = np.nanmax(values) / 2
    for i, j in np.argwhere(~np.eye(len(names), dtype=bool)):
        colour = "white" if values[i, j] < middle else "black"
        axes.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", fontsize=6, color=colour)


@styled
def map_figure(maps: Mapping[str, Embedding], kinds: Mapping[str, str]) -> Figure:
    """Candidates on a plane whose distances follow the matrix, measure by measure.

    Args:
        maps: by measure.
        kinds: kind of every candidate, see `kinds_of`.
    """
    n_columns = min(len(maps), 3)
    n_rows = -(-len(maps) // n_columns)
    side = PAGE_MM / 3 if len(maps) > 1 else COLUMN_MM * 1.2
    figure = new_figure(side * n_columns, side * 1.05 * n_rows + 6)
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes, (name, one) in zip(panels, maps.items(), strict=False):
        _draw_map(axes, one, kinds)
        axes.set_title(
            f"{name.replace('_', ' ')}\nstress {float(one.data['stress']):.2f}, "
            f"held {float(one.data['explained']):.0%}",
            loc="left",
        )
    for axes in panels[len(maps) :]:
        axes.set_visible(False)
    drawn = {kinds.get(str(name)) for one in maps.values() for name in one.data["item"].values}
    used = [kind for kind in KINDS if kind in drawn]
    handles = [
        Line2D([], [], ls="", marker=KINDS[kind].marker, color=KINDS[kind].colour, ms=5, label=kind)
        for kind in used
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _draw_map(axes: Axes, one: Embedding, kinds: Mapping[str, str]) -> None:
    position = one.data["position"].values
    names = [str(name) for name in one.data["item"].values]
    for name, (x, y), (right, up) in zip(names, position, _label_sides(position), strict=True):
        look = KINDS[kinds.get(name, "networks")]
        axes.plot(x, y, ls="", marker=look.marker, color=look.colour, ms=5.5, mew=0)
        axes.annotate(
            short(name),
            (x, y),
            xytext=(4 * right, 4 * up),
            textcoords="offset points",
            ha="left" if right > 0 else "right",
            va="bottom" if up > 0 else "top",
            fontsize=6,
        )
    equal_limits(axes, position, margin=0.35)
    axes.set_xlabel("axis 1 (distance)")
    axes.set_ylabel("axis 2 (distance)")


def _label_sides(position: np.ndarray) -> Iterator[tuple[int, int]]:
    """Where the name of each point goes: towards the middle, so that it stays inside, away from its neighbour."""
    for k, (x, y) in enumerate(position):
        apart = np.linalg.norm(position - position[k], axis=1)
        apart[k] = np.inf
        nearest = position[int(apart.argmin())] if len(position) > 1 else position[k]
        yield (1 if x <= 0 else -1), (1 if y >= nearest[1] else -1)
