"""Measured values beside the distributions that chance or surrogates give, one row each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dynaprobe.analysis.jpca_surrogates import JpcaSurrogates
from dynaprobe.report.style import PAGE_MM, new_figure, styled

MEASURED, NULL = "#B4261A", "#8a8a8a"


@dataclass(frozen=True)
class NullRow:
    """One measured value.

    Attributes:
        label: of the row.
        measured: the value.
        null: the same by chance; may be empty.
        p_value: None where no test was made.
    """

    label: str
    measured: float
    null: np.ndarray
    p_value: float | None = None


def draw_rows(axes: Axes, rows: Sequence[NullRow], *, from_zero: bool = True) -> None:
    """Draw each null distribution as a histogram standing on its row, its mean as a bar, and what was measured.

    Args:
        axes: empty axes.
        rows: from top to bottom.
        from_zero: whether the axis begins at 0.
    """
    values = [np.append(row.null[np.isfinite(row.null)], row.measured) for row in rows]
    known = np.concatenate(values)
    known = known[np.isfinite(known)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    low = min(0.0, low) if from_zero else low
    reach = (high - low) or 1.0
    edges = np.linspace(low, high + 1e-9 * reach, 61)
    for place, row in enumerate(rows):
        null = row.null[np.isfinite(row.null)]
        if null.size:
            counts, _ = np.histogram(null, bins=edges)
            height = 0.4 * counts / max(counts.max(), 1)
            axes.fill_between(
                edges, np.append(place + height, place), np.append(place - height, place), step="post", color=NULL,
                alpha=0.6, lw=0,
            )  # fmt: skip
            axes.plot([null.mean()] * 2, [place - 0.4, place + 0.4], color="#333333", lw=0.8)
        if np.isfinite(row.measured):
            axes.plot(row.measured, place, marker="D", color=MEASURED, ms=4.5, mec="white", mew=0.4)
        elif row.measured > 0:
            # Beyond every scale, as where preparation is wholly null: an arrow at the edge.
            axes.plot(high + 0.03 * reach, place, marker=">", color=MEASURED, ms=5, mec="white", mew=0.4)
        if row.p_value is not None:
            axes.text(
                1.0, place, f"{row.p_value:.3f}", transform=axes.get_yaxis_transform(), va="center", fontsize=6
            )
    axes.text(1.0, -0.75, "p", transform=axes.get_yaxis_transform(), va="center", fontsize=6, style="italic")
    axes.set_xlim(low - 0.03 * reach, high + 0.05 * reach)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [row.label for row in rows])


def null_handles(chance: str = "surrogates, bar = their mean") -> list[Line2D]:
    """What diamonds and grey histograms are."""
    return [
        Line2D([], [], ls="", marker="D", color=MEASURED, ms=4.5, label="measured"),
        Line2D([], [], color=NULL, lw=5, alpha=0.6, label=chance),
    ]


@styled
def jpca_surrogates_figure(results: Mapping[str, JpcaSurrogates]) -> Figure:
    """R2 of rotations, of any linear map, and their ratio, of every side beside every family of surrogates."""
    families = next(iter(results.values())).data["family"].values.astype(str)
    figure = new_figure(PAGE_MM, 24 + 6.5 * len(results) * len(families))
    panels = figure.subplots(1, 3, sharey=True)
    titles = {"r2_skew": "rotation", "r2_m": "any linear map", "ratio": "rotation over any map"}
    for axes, (name, title) in zip(panels, titles.items(), strict=True):
        rows = [
            NullRow(
                f"{side}: {family}",
                float(result.data[name]),
                result.data[f"null_{name}"].sel(family=family).values,
                float(result.data[f"p_{name}"].sel(family=family)),
            )
            for side, result in results.items()
            for family in result.data["family"].values.astype(str)
        ]
        draw_rows(axes, rows)
        axes.set_title(title, loc="left")
        axes.set_xlabel("ratio of R² (fraction)" if name == "ratio" else "R² (fraction of changes)")
    for axes in panels[1:]:
        axes.tick_params(labelleft=False)
    figure.legend(handles=null_handles(), loc="outside lower center", ncols=2)
    return figure
