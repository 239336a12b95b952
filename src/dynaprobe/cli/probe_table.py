"""What the probes found, one row per network, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from rich.table import Table

from dynaprobe.analysis.probes.target_switch import shares_followed
from dynaprobe.analysis.result import Result
from dynaprobe.study.networks import TrainedNetwork
from dynaprobe.study.probe_numbers import trained_delay_ms


def probe_table(networks: Sequence[TrainedNetwork], results: Mapping[str, Mapping[str, Result]]) -> Table:
    """Mechanism, and a number or two of every other probe that was run."""
    rows = [(network, _row(results[network.id], trained_delay_ms(network))) for network in networks]
    columns = list(dict.fromkeys(name for _, row in rows for name in row))
    table = Table(title="Probes", title_justify="left")
    for heading in ("id", "score", *columns):
        table.add_column(heading, overflow="fold")
    for network, row in rows:
        score = network.scores.get("score", float("nan"))
        table.add_row(network.id, f"{score:.2f}", *(row.get(name, "-") for name in columns))
    return table


def _row(results: Mapping[str, Result], delay_ms: float) -> dict[str, str]:
    row: dict[str, str] = {}
    if "mechanism" in results:
        verdict = results["mechanism"].data
        row["mechanism"] = str(verdict.attrs["mechanism"]).replace("_", " ")
        row["index (1: state)"] = _with_bounds(verdict, "mechanism_index")
        row["left without target"] = _with_bounds(verdict, "suffices")
        row["state wins"] = _with_bounds(verdict, "decides")
    if "input_noise" in results:
        tolerated = results["input_noise"].data["tolerated_sd"].sel(channel="target")
        row["noise borne before go, after go"] = ", ".join(
            _tolerated(float(tolerated.sel(epoch=epoch))) for epoch in ("preparatory", "movement")
        )
    if "target_switch" in results:
        followed = shares_followed(results["target_switch"].data, delay_ms)
        row["switches followed before go, after go"] = f"{_percent(followed.early)}, {_percent(followed.late)}"
        if np.isfinite(followed.early_short):
            row["before go: a trained delay left, less"] = (
                f"{_percent(followed.early_trained)}, {_percent(followed.early_short)}"
            )
    if "locations_sweep" in results:
        sweep, radii = results["locations_sweep"].data, results["locations_radii"].data
        row["direction error, any direction"] = f"{float(sweep['absolute_direction_error_deg'].mean()):.1f}°"
        row[f"gain at {float(radii['radius'][0]):g}"] = f"{float(radii['mean_gain'][0]):.2f}"
    if "pulses" in results:
        half_life = results["pulses"].data["half_life_ms"].values
        known = half_life[np.isfinite(half_life)]
        row["half-life of pulses"] = f"{np.median(known):.0f} ms" if known.size else "-"
    if "linear_prediction" in results:
        horizon = results["linear_prediction"].data["horizon_ms"]
        row["linear for"] = ", ".join("all" if np.isinf(ms) else f"{ms:.0f}" for ms in horizon.values) + " ms"
    return row


def _with_bounds(data: xr.Dataset, name: str) -> str:
    value, low, high = (float(data[name + end]) for end in ("", "_low", "_high"))
    return f"{value:.2f} [{low:.2f}, {high:.2f}]" if np.isfinite(value) else "-"


def _tolerated(sd: float) -> str:
    if np.isinf(sd):
        return "all"
    return f"{sd:.2f}" if np.isfinite(sd) else "none"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f} %" if np.isfinite(fraction) else "-"
