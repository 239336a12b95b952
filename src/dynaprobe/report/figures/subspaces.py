"""Subspaces of preparation and movement: found together, and those that drive the output or do not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dynaprobe.analysis.epoch_subspaces import EpochSubspaces
from dynaprobe.analysis.null_potent import NullPotentResult
from dynaprobe.report.figures.nulls import NullRow, draw_rows, null_handles
from dynaprobe.report.style import PAGE_MM, new_figure, styled

# Blue, orange and green of Okabe & Ito, and grey for what lies in no subspace.
SPACE_COLOURS = {"prep": "#0072B2", "move": "#E69F00", "shared": "#009E73"}
SPACE_WORDS = {"prep": "preparatory", "move": "movement", "shared": "shared"}
REST = "#dddddd"


@styled
def epoch_subspaces_figure(results: Mapping[str, EpochSubspaces]) -> Figure:
    """Shares of both epochs in the orthogonal pair and in exclusive and shared subspaces, and the index's null."""
    figure = new_figure(PAGE_MM, 30 + 13 * len(results))
    panels = figure.subplots(1, 3)
    labels = [f"{name}: {epoch}" for name in results for epoch in ("preparation", "movement")]
    for axes, kind, title in zip(
        panels, ("orthogonal", "exclusive"), ("orthogonal pair", "exclusive and shared"), strict=False
    ):
        for row, result in enumerate(results.values()):
            for k, epoch in enumerate(("prep", "move")):
                shares = result.data[kind].sel(epoch=epoch)
                held_out = result.data.get(f"{kind}_held_out")
                _draw_shares(axes, 2 * row + k, shares, None if held_out is None else held_out.sel(epoch=epoch))
        axes.set_title(title, loc="left")
        axes.set_xlim(0, 1)
        axes.set_ylim(2 * len(results) - 0.4, -0.6)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_xlabel("fraction of the epoch's variance")
    panels[1].tick_params(labelleft=False)
    rows = [
        NullRow(
            name,
            float(result.data["index"]),
            result.data["null_index"].values if "null_index" in result.data else np.array([]),
            float(result.data["p_value"]) if "p_value" in result.data else None,
        )
        for name, result in results.items()
    ]
    draw_rows(panels[2], rows, from_zero=False)
    panels[2].tick_params(labelleft=False)
    panels[2].set_title("orthogonal pair: own over best", loc="left")
    panels[2].set_xlabel("fraction of the best axes' variance")
    handles = [Patch(color=SPACE_COLOURS[name], label=f"{SPACE_WORDS[name]} subspace") for name in SPACE_COLOURS]
    handles += [Patch(color=REST, label="in none")]
    marks = [
        Line2D([], [], color="#111111", lw=1.4, label="held out, end of each part"),
        *null_handles(),
    ]
    figure.legend(handles=[*handles, *marks], loc="outside lower center", ncols=4)
    return figure


def _draw_shares(axes: Axes, row: int, shares: object, held_out: object) -> None:
    left, ends = 0.0, 0.0
    axes.barh(row, 1.0, height=0.62, color=REST, lw=0)
    for name, colour in SPACE_COLOURS.items():
        share = float(shares.sel(space=name))  # type: ignore[attr-defined]
        axes.barh(row, share, left=left, height=0.62, color=colour, lw=0)
        left += share
        if held_out is not None:
            ends += float(held_out.sel(space=name).mean("split"))  # type: ignore[attr-defined]
            axes.plot([min(ends, 1.0)] * 2, [row - 0.31, row + 0.31], color="#111111", lw=1.4)


@styled
def null_potent_figure(results: Mapping[str, NullPotentResult]) -> Figure:
    """Share of tuning in the output-potent dimensions by epoch, and the ratio beside random readouts."""
    figure = new_figure(PAGE_MM, 30 + 13 * len(results))
    left, right = figure.subplots(1, 2)
    colours = {"prep": SPACE_COLOURS["prep"], "move": SPACE_COLOURS["move"]}
    for row, result in enumerate(results.values()):
        for k, (epoch, colour) in enumerate(colours.items()):
            share = float(result.data["potent_fraction"].sel(epoch=epoch))
            left.barh(row - 0.18 + 0.36 * k, share, height=0.32, color=colour, lw=0)
    left.set_yticks(range(len(results)), list(results))
    left.set_ylim(len(results) - 0.4, -0.6)
    left.set_xlim(0, 1)
    left.set_xlabel("output-potent fraction of tuning")
    rows = []
    for name, result in results.items():
        null = result.data["null_ratio"].values if "null_ratio" in result.data else np.array([])
        p = float(result.data["p_value"]) if "p_value" in result.data else None
        with np.errstate(divide="ignore"):
            rows.append(NullRow(name, float(np.log10(result.data["ratio"])), np.log10(null), p))
    draw_rows(right, rows)
    right.tick_params(labelleft=False)
    right.set_xlabel("ratio of null to potent tuning (log10)")
    handles = [
        Patch(color=colours["prep"], label="preparation"),
        Patch(color=colours["move"], label="movement"),
        *null_handles("random readouts, bar = their mean"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure
