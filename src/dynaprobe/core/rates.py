"""The one type in which recorded neurons and model units meet.

Rates are an `xarray.DataArray` with dims named from ``member, condition, trial, time, unit``, in that order.
``time`` is the start of each bin in ms relative to a named event. Several alignments may follow one another
along ``time``; the coordinate ``segment`` then says which event each bin belongs to.

Attributes of the array: ``rate_unit`` (``spikes/s`` or ``a.u.``), ``source`` (recording or network id) and
``preprocessing``, one line per step done so far. Attributes of the time coordinate: ``units`` (``ms``),
``event`` and ``dt_ms``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from dynaprobe.core.errors import RatesError

DIMS = ("member", "condition", "trial", "time", "unit")
RATE_UNITS = ("spikes/s", "a.u.")


def make_rates(
    values: Any,
    *,
    dims: Sequence[str],
    time_ms: Any,
    event: str,
    rate_unit: str,
    source: str,
    coords: Mapping[str, Any] | None = None,
) -> xr.DataArray:
    """Rates from a plain array.

    Args:
        values: the rates, one axis per name in `dims`.
        dims: names from ``member, condition, trial, time, unit``, in that order.
        time_ms: start of every bin relative to `event`, equally spaced.
        event: the event at time 0.
        rate_unit: ``"spikes/s"`` or ``"a.u."``.
        source: the recording or network these rates come from.
        coords: further coordinates, as xarray takes them.

    Raises:
        RatesError: when the result breaks a rule of the schema.
    """
    time_ms = np.asarray(time_ms, dtype=np.float64)
    dt_ms = float(time_ms[1] - time_ms[0]) if time_ms.size > 1 else float("nan")
    time = xr.Variable("time", time_ms, {"units": "ms", "event": event, "dt_ms": dt_ms})
    rates = xr.DataArray(
        np.asarray(values),
        dims=tuple(dims),
        coords={**(coords or {}), "time": time},
        name="rates",
        attrs={"rate_unit": rate_unit, "source": source, "preprocessing": ""},
    )
    return check_rates(rates)


def check_rates(
    rates: xr.DataArray, *, dims: Sequence[str] | None = None, finite: bool = True, name: str = "rates"
) -> xr.DataArray:
    """Check an array against the schema and hand it back.

    Args:
        rates: the array to check.
        dims: the exact dims an analysis needs; None accepts any dims of the schema in its order.
        finite: whether NaN and infinity are refused.
        name: what to call the array in a message.

    Raises:
        RatesError: name, rule, value received, remedy.
    """
    if not isinstance(rates, xr.DataArray):
        raise RatesError(
            name,
            rule="be an xarray.DataArray",
            received=type(rates).__name__,
            remedy="Build it with dynaprobe.core.rates.make_rates",
        )
    found = tuple(str(dim) for dim in rates.dims)
    wanted = tuple(dims) if dims is not None else tuple(dim for dim in DIMS if dim in found)
    if found != wanted:
        raise RatesError(
            name,
            rule=f"have the dims {wanted}" if dims is not None else f"have dims from {DIMS} in that order",
            received=found,
            remedy="Rename or average the other dims and use .transpose to order them",
        )
    if any(size == 0 for size in rates.shape):
        raise RatesError(
            name,
            rule="hold at least one value along every dim",
            received=dict(rates.sizes),
            remedy="Check the selection that came before: a window or condition may be empty",
        )
    if "time" in found:
        _check_time(rates, name)
    if rates.attrs.get("rate_unit") not in RATE_UNITS:
        raise RatesError(
            f"{name}.attrs['rate_unit']",
            rule=f"be one of {RATE_UNITS}",
            received=rates.attrs.get("rate_unit"),
            remedy="Say which unit the values have",
        )
    if finite:
        bad = int(rates.size - np.isfinite(rates.values).sum())
        if bad:
            raise RatesError(
                name,
                rule="be finite everywhere",
                received=f"{bad} of {rates.size} values that are NaN or infinite",
                remedy="Drop the units, trials or conditions that hold them",
            )
    return rates


def _check_time(rates: xr.DataArray, name: str) -> None:
    if "time" not in rates.coords or rates["time"].attrs.get("units") != "ms":
        received = rates["time"].attrs.get("units") if "time" in rates.coords else "no coordinate"
        raise RatesError(
            f"{name}.time",
            rule="have a coordinate in ms (attrs['units'] == 'ms')",
            received=received,
            remedy="Convert to milliseconds relative to an event and say so in the attributes",
        )
    if "event" not in rates["time"].attrs and "segment" not in rates.coords:
        raise RatesError(
            f"{name}.time",
            rule="name the event at 0 ms in attrs['event']",
            received=dict(rates["time"].attrs),
            remedy="Set it, e.g. 'go_cue'",
        )
    time_ms = rates["time"].values
    segment = rates["segment"].values if "segment" in rates.coords else np.zeros(time_ms.size)
    steps = np.diff(time_ms)[segment[1:] == segment[:-1]]
    # Single precision holds a time of an hour to a quarter of a millisecond.
    if steps.size and (steps.min() <= 0 or np.ptp(steps) > 1e-3 * abs(steps[0])):
        raise RatesError(
            f"{name}.time",
            rule="increase in equal steps within a segment",
            received=f"steps from {steps.min():g} to {steps.max():g} ms",
            remedy="Resample to a regular grid",
        )


def done(rates: xr.DataArray, step: str) -> xr.DataArray:
    """The same rates with one more line in their account of preprocessing."""
    before = rates.attrs.get("preprocessing", "")
    return rates.assign_attrs(preprocessing=f"{before}\n{step}" if before else step)


def steps_done(rates: xr.DataArray) -> tuple[str, ...]:
    """The preprocessing steps an array has been through, oldest first."""
    text = rates.attrs.get("preprocessing", "")
    return tuple(text.split("\n")) if text else ()


def bin_width_ms(rates: xr.DataArray) -> float:
    """Bin width in ms."""
    return float(rates["time"].attrs["dt_ms"])
