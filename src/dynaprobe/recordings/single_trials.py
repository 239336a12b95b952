"""Single trials as labelled rates: one array per group of units that share their trials."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dynaprobe.core.errors import DataError
from dynaprobe.core.rates import make_rates
from dynaprobe.recordings.binning import Binned, Block, rates_account


def trial_rates(rates: Binned, event: str) -> list[xr.DataArray]:
    """Rates of every trial around one event, as analyses of single trials take them.

    Units of different sessions have different trials, so a pseudo-population is a list of arrays, in the order of
    the PSTHs' units where no session comes in several parts.

    Args:
        rates: binned spikes.
        event: event of one of its segments.

    Returns:
        For every block an array in spikes/s, dims ``(trial, time, unit)``; coordinates along trial: ``condition``
        (number) and the task variables; along unit: ``unit``, ``session`` and ``subject``.

    Raises:
        DataError: when no segment is aligned to `event`.
    """
    first = 0
    for segment in rates.segments:
        time_ms = segment.time_ms(rates.settings.dt_ms)
        if segment.event == event:
            bins = slice(first, first + time_ms.size)
            return [_labelled(rates, block, bins, time_ms, event) for block in rates.blocks]
        first += time_ms.size
    raise DataError(
        "event",
        rule=f"be one of the binned segments, {', '.join(segment.event for segment in rates.segments)}",
        received=event,
        remedy="Bin the spikes around this event too",
        where=rates.recording.source,
    )


def _labelled(rates: Binned, block: Block, bins: slice, time_ms: np.ndarray, event: str) -> xr.DataArray:
    sessions = rates.recording.sessions
    session = sessions[block.session]
    first_unit = sum(other.n_units for other in sessions[: block.session])
    ids = session.units.index.to_numpy()[block.units - first_unit]
    coords: dict[str, Any] = {
        "condition": ("trial", block.condition),
        "unit": ("unit", np.asarray([f"{session.identifier}/{unit}" for unit in ids])),
        "session": ("unit", np.full(ids.size, session.identifier)),
        "subject": ("unit", np.full(ids.size, session.subject)),
    }
    frame = rates.conditions.frame().iloc[block.condition]
    for name in frame.columns:
        values = frame[name].to_numpy()
        coords[name] = ("trial", values.astype(str) if values.dtype.kind not in "iuf" else values)
    labelled = make_rates(
        block.rates[:, bins],
        dims=("trial", "time", "unit"),
        time_ms=time_ms,
        event=event,
        rate_unit="spikes/s",
        source=rates.recording.source,
        coords=coords,
    )
    return rates_account(labelled, rates.settings)
