"""Cost of an update against units, trials, steps, networks and devices, one at a time around one point."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack

from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from benchmarks.measure import Outcome, Row, alternate, n_cores, spread
from benchmarks.products import LIBRARIES, limit_s, update_flop
from benchmarks.worker import Worker

BASE = {"n_units": 100, "batch_size": 64, "n_steps": 150, "n_members": 8}
AXES: dict[str, tuple[int, ...]] = {
    "n_units": (50, 100, 150, 256, 384, 512),
    "batch_size": (8, 16, 32, 64, 128),
    "n_steps": (75, 150, 300, 600),
    "n_members": (1, 2, 4, 8, 16),
}
QUICK_BASE = {"n_units": 20, "batch_size": 4, "n_steps": 30, "n_members": 2}
QUICK_AXES: dict[str, tuple[int, ...]] = {"n_units": (20, 40), "n_members": (1, 2)}
LABELS = {
    "n_units": "units N",
    "batch_size": "trials per update",
    "n_steps": "steps of 10 ms",
    "n_members": "networks",
    "n_devices": "devices (cores)",
}
# Blue and vermilion of Okabe and Ito, which readers with any colour vision tell apart; so do marker and dash.
MEASURED, LIMIT = "#0072B2", "#D55E00"


def device_counts(n: int) -> tuple[int, ...]:
    """1, 2, 4, ... and the number of cores itself."""
    return tuple(sorted({2**k for k in range(n.bit_length()) if 2**k <= n} | {n}))


def along(axis: str, values: Sequence[int], base: dict[str, int], *, n_rounds: int, call_s: float) -> list[Row]:
    """Rows of one axis; its points take turns, with the large product between them."""
    points = {f"{axis} {value}": {**base, axis: value} for value in values}
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(Worker("benchmarks.engine", call_s=call_s, **point))
            for name, point in points.items()
        }
        for library in LIBRARIES:
            workers[library] = stack.enter_context(Worker("benchmarks.products", call_s=call_s, library=library))
        calls_s = alternate([worker.contender(name) for name, worker in workers.items()], n_rounds)
    n_calls = {name: worker.n_calls for name, worker in workers.items()}
    products_s = {library: calls_s[library] for library in LIBRARIES}
    rows: list[Row] = []
    for name, point in points.items():
        time = spread(calls_s[name], 1e3 / (n_calls[name] * point["n_members"]))
        flop = update_flop(**{key: point[key] for key in ("n_units", "batch_size", "n_steps")})
        rows.append(
            {
                "axis": axis,
                **point,
                "n_devices": point.get("n_devices", n_cores()),
                "ms_per_network_update_median": time.median,
                "ms_min": time.low,
                "ms_max": time.high,
                "ms_arithmetic_limit": spread(limit_s(flop, products_s, n_calls), 1e3).median,
            }
        )
    return rows


def figure_of(rows: Sequence[Row]) -> Figure:
    """One small panel per axis, both scales logarithmic: work in proportion is a straight line of slope 1."""
    axes = list(dict.fromkeys(str(row["axis"]) for row in rows))
    figure = Figure(figsize=(2.1 * len(axes) + 0.6, 2.4), layout="constrained")
    FigureCanvasSVG(figure)
    panels = figure.subplots(1, len(axes), sharey=True, squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        _panel(panel, axis, [row for row in rows if row["axis"] == axis])
    panels[0].set_ylabel("time (ms per\nnetwork and update)")
    panels[0].legend(frameon=False, fontsize=7)
    return figure


def _panel(panel: Axes, axis: str, rows: Sequence[Row]) -> None:
    values = [float(row[axis]) for row in rows]
    low, middle, high, limit = (
        [float(row[name]) for row in rows]
        for name in ("ms_min", "ms_per_network_update_median", "ms_max", "ms_arithmetic_limit")
    )
    panel.fill_between(values, low, high, color=MEASURED, alpha=0.25, linewidth=0)
    panel.plot(values, middle, "o-", color=MEASURED, markersize=3.5, linewidth=1.2, label="dynaprobe")
    # The limit uses all cores: one device cannot come near it.
    panel.plot(values, limit, "--", color=LIMIT, linewidth=1.2, label="arithmetic limit")
    panel.set(xscale="log", yscale="log", xlabel=LABELS[axis])
    panel.set_xticks(values, [f"{value:g}" for value in values])
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.minorticks_off()
    panel.tick_params(labelsize=7)
    panel.spines[["top", "right"]].set_visible(False)


def measure(*, quick: bool) -> Outcome:
    """Go along every axis.

    Args:
        quick: two axes with small networks, to see that everything works.
    """
    n_rounds, call_s, base, axes = (2, 0.02, QUICK_BASE, QUICK_AXES) if quick else (7, 0.3, BASE, AXES)
    rows: list[Row] = []
    for axis, values in {**axes, "n_devices": device_counts(n_cores())}.items():
        print(f"  {LABELS[axis]}", file=sys.stderr, flush=True)
        rows += along(axis, values, base, n_rounds=n_rounds, call_s=call_s)
    summary = (
        "![Time per network and update against units, trials, steps, networks and devices]"
        "(benchmarks/results/scaling.svg)\n\n"
        "Each quantity changes alone around 100 units, 64 trials, 150 steps, 8 networks, all cores; the band runs "
        "from the smallest to the largest time."
    )
    return Outcome(rows, summary, figure_of(rows))
