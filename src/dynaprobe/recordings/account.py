"""What was read from a file and how, in lines for a person to check before anything is computed."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dynaprobe.core.rates import bin_width_ms, steps_done
from dynaprobe.recordings.session import Recording

MOST_NAMES = 12


def account_of(what: Recording | xr.DataArray) -> list[str]:
    """The account of whatever was read, see below."""
    return recording_account(what) if isinstance(what, Recording) else psth_account(what)


def recording_account(recording: Recording) -> list[str]:
    """A recording with trials: the summary, then events, conditions, series, and every decision of the reader."""
    lines = [recording.summary]
    n_trials = sum(session.n_trials for session in recording.sessions)
    found = {
        event: sum(int(session.trials[event].notna().sum()) for session in recording.sessions)
        for event in recording.event_names
    }
    lines.append("Events: " + ", ".join(f"{event} in {n} of {n_trials} trials" for event, n in found.items()))
    labels = recording.conditions.labels
    more = f" and {len(labels) - MOST_NAMES} more" if len(labels) > MOST_NAMES else ""
    lines.append(f"Conditions: {'; '.join(labels[:MOST_NAMES])}{more}")
    series = {
        f"{name} ({', '.join(held.channels[:MOST_NAMES])} in {held.unit})"
        for session in recording.sessions
        for name, held in session.series.items()
    }
    lines.append(f"Series: {', '.join(sorted(series)) or 'none'}")
    widths = {session.resolution_ms for session in recording.sessions} - {None}
    if widths:
        lines.append(f"Spikes: counted in bins of {', '.join(f'{width:g}' for width in widths)} ms; no finer bins")
    lines += [f"Put right: {n} {what}" for what, n in recording.mended.items()]
    return lines + [f"- {rule}" for rule in recording.rules]


def psth_account(rates: xr.DataArray) -> list[str]:
    """Condition averages: their size, what happens when, and what cannot be computed of them."""
    time_ms = rates["time"].values
    size = ", ".join(f"{rates.sizes[dim]} {dim}s" for dim in ("condition", "unit"))
    lines = [
        f"{rates.attrs['source']}: condition averages, {size}, {time_ms[0]:g} to {time_ms[-1]:g} ms around "
        f"{_event(rates)} in bins of {bin_width_ms(rates):g} ms, in {rates.attrs['rate_unit']}, "
        f"from {float(np.min(rates)):.4g} to {float(np.max(rates)):.4g}.",
        "There are no trials: split halves, standard errors and numbers of trials are not available.",
        f"Conditions: {'; '.join(map(str, rates['condition'].values[:MOST_NAMES]))}"
        if "condition" in rates.coords
        else "Conditions: without labels",
    ]
    return lines + [f"- {step}" for step in steps_done(rates)]


def _event(rates: xr.DataArray) -> str:
    return str(rates["time"].attrs.get("event") or " and ".join(dict.fromkeys(rates["segment"].values)))
