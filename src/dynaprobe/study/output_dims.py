"""Whether a network prepares in the dimensions that its readout does not see."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dynaprobe.analysis.null_potent import NullPotentResult, null_potent
from dynaprobe.core.errors import DataError
from dynaprobe.core.rates import bin_width_ms, make_rates
from dynaprobe.model.rnn import CTRNN
from dynaprobe.study.comparison import ComparisonSettings, Window
from dynaprobe.study.render import run_trials
from dynaprobe.tasks.base import AbstractTask


def null_potent_of_network(
    network: CTRNN, task: AbstractTask, settings: ComparisonSettings, *, seed: int
) -> NullPotentResult:
    """Output-null and output-potent tuning of a network's noise-free rates, with its own readout.

    Args:
        network: the network; its output is ``w_out r``.
        task: its task, one trial of every condition.
        settings: resolved settings; the preparatory window counts from target onset, the other from movement
            onset.
        seed: of random readouts.

    Raises:
        DataError: a network that does not move in some condition, or a trial that does not cover the windows.
        RatesError: rates that `null_potent` refuses, as of a network that prepares nothing.
    """
    _, rates, _, events_ms = run_trials(network, task, n_repeats=1, seed=seed, noise=False)
    assert settings.preparatory_window_ms is not None
    prep = _around(rates, events_ms["target_on"], "target_on", settings.preparatory_window_ms)
    move = _around(rates, events_ms["move_onset"], "move_onset", settings.peri_movement_window_ms)
    readout = np.asarray(network.weights()["out"], dtype=np.float64)
    return null_potent(prep, move, readout=readout, n_null=settings.n_chance, seed=seed)


def _around(rates: xr.DataArray, event_ms: np.ndarray, event: str, span_ms: Window) -> xr.DataArray:
    """The window around an event that comes at another time in every trial, one trial per condition."""
    dt_ms = bin_width_ms(rates)
    n_bins = round((span_ms[1] - span_ms[0]) / dt_ms)
    known = np.isfinite(event_ms).all()
    first = np.round((np.where(np.isfinite(event_ms), event_ms, 0.0) + span_ms[0]) / dt_ms).astype(np.int64)
    if not known or first.min() < 0 or first.max() + n_bins > rates.sizes["time"]:
        raise DataError(
            "network",
            rule=f"have [{span_ms[0]:g}, {span_ms[1]:g}) ms around {event} inside the trial in every condition",
            received="trials without it"
            if not known
            else f"events from {event_ms.min():g} to {event_ms.max():g} ms",
            remedy="Compare only networks that have learned the task, or narrow the window",
        )
    bins = first[:, None] + np.arange(n_bins)
    values = np.take_along_axis(np.asarray(rates.values, dtype=np.float64), bins[:, :, None], axis=1)
    return make_rates(
        values,
        dims=("condition", "time", "unit"),
        time_ms=span_ms[0] + dt_ms * np.arange(n_bins),
        event=event,
        rate_unit="a.u.",
        source="network",
    )
