"""What goes with the mechanism of a network: robustness and generalisation against its mechanism index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dynaprobe.analysis.probes.input_noise import InputNoise
from dynaprobe.report.figures.mechanism import mechanism_handles
from dynaprobe.report.figures.probes import look_of, mechanism_legend, mechanism_means
from dynaprobe.report.gather_probes import column, is_control
from dynaprobe.report.style import PAGE_MM, new_figure, styled


class Panel(NamedTuple):
    """One measure against the index.

    Attributes:
        measure: column of the table of networks.
        label: of the axis, with the unit.
        less_is_better: whether the axis runs downwards, so that better lies above in every panel.
        scale: factor of the numbers drawn.
    """

    measure: str
    label: str
    less_is_better: bool = False
    scale: float = 1.0


ROBUSTNESS = (
    Panel("excess_error_preparatory", "excess error, noise in preparation (a.u.)", less_is_better=True),
    Panel("excess_error_movement", "excess error, noise in movement (a.u.)", less_is_better=True),
    Panel("excess_error_throughout", "excess error, noise throughout (a.u.)", less_is_better=True),
)
GENERALISATION = (
    Panel("switch_success_early", "switches before go followed (% of pairs)", scale=100.0),
    Panel("switch_success_late", "switches from go on followed (% of pairs)", scale=100.0),
    Panel(
        "direction_error_between_fraction",
        "direction error at new places\n(fraction of the angle to the nearest trained)",
        less_is_better=True,
    ),
)


def rho_lines(associations: xr.Dataset | None, measure: str) -> list[str]:
    """The rank correlations of a measure, a line for each kind of strata; empty where there are none."""
    if associations is None or "y" not in associations.variables:
        return []
    rows = np.flatnonzero(associations["y"].values.astype(str) == measure)
    lines = []
    for k in rows:
        rho, low, high, p = (float(associations[name].values[k]) for name in ("rho", "low", "high", "p"))
        strata = str(associations["strata"].values[k])
        if not np.isfinite(rho):
            lines.append(f"within {strata}: none")
            continue
        interval = f" [{low:+.2f}, {high:+.2f}]" if np.isfinite([low, high]).all() else ""
        n = int(associations["n"].values[k])
        lines.append(f"within {strata}:\nρ {rho:+.2f}{interval}\n{p_text(p)}, n {n}")
    return lines


def p_text(p: float) -> str:
    """``p 0.031``; what rounds to nothing is said to be less."""
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}"


def there(networks: xr.Dataset, panels: Sequence[Panel]) -> list[Panel]:
    """The panels that some network has numbers for."""
    index = column(networks, "mechanism_index")
    return [panel for panel in panels if np.isfinite(index + column(networks, panel.measure)).any()]


@styled
def against_index_figure(networks: xr.Dataset, associations: xr.Dataset | None, panels: Sequence[Panel]) -> Figure:
    """Measures against the mechanism index, one panel each, better upwards; rank correlations in the titles."""
    figure = new_figure(PAGE_MM, 96)
    index = column(networks, "mechanism_index")
    verdicts = [str(value) for value in networks["mechanism"].values]
    controls = is_control(networks)
    drawn: set[int] = set()
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        values = panel.scale * column(networks, panel.measure)
        shown = np.flatnonzero(np.isfinite(index) & np.isfinite(values))
        drawn |= set(shown.tolist())
        beyond = _beyond(values, shown, controls) if panel.less_is_better else {}
        for far, edge in beyond.items():
            axes.annotate(
                f"{values[far]:.2g}", (index[far], edge), (4, 0), textcoords="offset points", va="center", size=5.5
            )
            values[far] = edge
        for k in shown:
            look = look_of(verdicts[k])
            face = "white" if controls[k] and look.marker != "x" else look.colour
            axes.plot(
                index[k], values[k], ls="", marker=look.marker, mfc=face, mec=look.colour, mew=0.8, ms=3.8,
                alpha=0.8,
            )  # fmt: skip
        axes.set_xlim(-0.05, 1.05)
        axes.set_xlabel("mechanism index\n(fraction; 0 input, 1 state)")
        axes.set_ylabel(panel.label)
        axes.set_title("\n".join(rho_lines(associations, panel.measure)), loc="left", fontsize=6.5)
        _limits(axes, panel)
    handles = mechanism_handles([verdicts[k] for k in sorted(drawn)])
    if any(controls[k] for k in drawn):
        handles.append(
            Line2D([], [], ls="", marker="o", mfc="white", mec="#555555", mew=0.8, ms=4, label="open: control")
        )
    figure.legend(handles=handles, loc="outside lower center", ncols=5)
    return figure


def _beyond(values: np.ndarray, shown: np.ndarray, controls: np.ndarray) -> dict[int, float]:
    """Controls so far off that all others would lie in a line, with the edge at which they are drawn."""
    own = [k for k in shown if not controls[k]]
    if not own:
        return {}
    most = float(values[own].max())
    return {int(k): 1.15 * most for k in shown if controls[k] and values[k] > 1.5 * most > 0}


def _limits(axes: Axes, panel: Panel) -> None:
    if panel.scale > 1:
        axes.set_ylim(-4, 104)
    elif panel.less_is_better:
        # Better lies above; an excess may be a little less than 0.
        low, high = axes.get_ylim()
        axes.set_ylim(high, min(low, 0.0))


@styled
def excess_noise_figure(results: Mapping[str, InputNoise], mechanisms: Mapping[str, str]) -> Figure:
    """End-point error under input noise less that without, for all networks: thin each, thick the mean of a
    mechanism; a row per channel, a column per epoch of the noise.

    Args:
        results: by network; all with the same channels and epochs.
        mechanisms: verdict of every network.
    """
    first = next(iter(results.values())).data
    channels, epochs = ([str(v) for v in first[dim].values] for dim in ("channel", "epoch"))
    figure = new_figure(PAGE_MM, 26 + 36 * len(channels))
    grid = figure.subplots(len(channels), len(epochs), squeeze=False, sharex=True, sharey="row")
    for row, channel in zip(grid, channels, strict=True):
        for axes, epoch in zip(row, epochs, strict=True):
            found = {name: _excess(result, channel, epoch) for name, result in results.items()}
            for name, data in found.items():
                axes.plot(data["sd"], data["excess"], color=look_of(mechanisms[name]).colour, lw=0.5, alpha=0.4)
            mechanism_means(axes, found, "excess", mechanisms)
            if axes in grid[0]:
                axes.set_title(f"noise: {epoch}", loc="left")
            if axes in grid[-1]:
                axes.set_xlabel("input noise, sd before scaling (a.u.)")
            axes.axhline(0, color="#999999", lw=0.5, zorder=0)
        row[0].set_ylabel(f"{channel}\nexcess error (a.u.)")
    mechanism_legend(figure, mechanisms)
    return figure


def _excess(result: InputNoise, channel: str, epoch: str) -> xr.Dataset:
    error = result.data["end_point_error"].sel(channel=channel, epoch=epoch)
    return xr.Dataset({"excess": error - float(error.isel(sd=0))})
