"""Preprocessing of rates: the same lines for recorded neurons and model units.

Every function takes rates and returns rates, and writes what it did into their account (see `steps_done`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter1d

from dynaprobe.core.errors import RatesError
from dynaprobe.core.rates import bin_width_ms, check_rates, done, steps_done
from dynaprobe.core.timeline import in_interval


def smooth(rates: xr.DataArray, *, sd_ms: float) -> xr.DataArray:
    """Convolve every unit with a Gaussian of standard deviation `sd_ms` along time.

    The kernel has unit area and reaches four standard deviations; at the ends the edge value is repeated, so
    leave a margin of that width around the window that will be analysed. Segments are smoothed one by one.
    """
    check_rates(rates, finite=False)
    if sd_ms == 0:
        return rates
    _check_positive("sd_ms", sd_ms, "Give the standard deviation of the kernel in ms, or 0 for none")
    sd_bins = sd_ms / bin_width_ms(rates)
    axis = rates.get_axis_num("time")
    smoothed = np.array(rates.values, dtype=np.float64)
    for bins in segment_slices(rates):
        index = tuple(bins if k == axis else slice(None) for k in range(smoothed.ndim))
        smoothed[index] = gaussian_filter1d(smoothed[index], sd_bins, axis=axis, mode="nearest")
    return done(rates.copy(data=smoothed), f"Gaussian kernel, sd {sd_ms:g} ms")


def window(rates: xr.DataArray, *, start_ms: float, stop_ms: float) -> xr.DataArray:
    """The bins whose start lies in ``[start_ms, stop_ms)``.

    Raises:
        RatesError: when the rates do not cover the window.
    """
    check_rates(rates, finite=False)
    dt_ms = bin_width_ms(rates)
    time_ms = rates["time"].values
    chosen = in_interval(time_ms, start_ms, stop_ms, dt_ms)
    begins, ends = time_ms.min(), time_ms.max() + dt_ms
    if not chosen.any() or begins > start_ms + dt_ms / 2 or ends < stop_ms - dt_ms / 2:
        raise RatesError(
            "window",
            rule=f"lie inside the rates, which cover [{begins:g}, {ends:g}) ms",
            received=f"[{start_ms:g}, {stop_ms:g}) ms",
            remedy="Choose a window inside, or align the rates with a wider margin",
        )
    event = rates["time"].attrs.get("event", "its event")
    return done(rates.isel(time=chosen), f"window [{start_ms:g}, {stop_ms:g}) ms around {event}")


def concatenate_segments(parts: Sequence[xr.DataArray]) -> xr.DataArray:
    """Put several alignments of the same units one after another along time.

    The result carries the coordinate ``segment`` (the event of each bin); ``time`` stays relative to that event.

    Raises:
        RatesError: when bin widths, units or conditions differ, or two parts have one event.
    """
    for part in parts:
        check_rates(part, finite=False)
    widths = {round(bin_width_ms(part), 6) for part in parts}
    if len(widths) > 1:
        raise RatesError(
            "parts", rule="share one bin width", received=sorted(widths), remedy="Bin all alignments alike"
        )
    rest = {tuple((str(d), n) for d, n in part.sizes.items() if d != "time") for part in parts}
    if len(rest) > 1:
        raise RatesError(
            "parts",
            rule="share units and conditions",
            received=sorted(rest),
            remedy="Keep the same units and conditions in every alignment",
        )
    for dim in (dim for dim in parts[0].coords if dim in parts[0].dims and dim != "time"):
        if any(dim not in part.coords or not part[dim].equals(parts[0][dim]) for part in parts):
            raise RatesError(
                "parts",
                rule=f"share the labels of {dim} in one order",
                received="labels that differ",
                remedy="Select the same units and conditions in every alignment",
            )
    events = [part["time"].attrs["event"] for part in parts]
    if len(set(events)) < len(events):
        raise RatesError(
            "parts",
            rule="be aligned to different events",
            received=events,
            remedy="Join windows of one event first",
        )
    marked = [
        part.assign_coords(segment=("time", np.full(part.sizes["time"], part["time"].attrs["event"])))
        for part in parts
    ]
    joined = xr.concat(
        marked, dim="time", combine_attrs="override", join="override", coords="minimal", compat="override"
    )
    joined["time"].attrs.update(units="ms", dt_ms=bin_width_ms(parts[0]))
    joined["time"].attrs.pop("event", None)
    # What all parts went through is said once, the rest with the event of the part.
    shared = [step for step in steps_done(parts[0]) if all(step in steps_done(part) for part in parts)]
    own = [
        f"{e}: {step}"
        for e, part in zip(events, parts, strict=True)
        for step in steps_done(part)
        if step not in shared
    ]
    joined = joined.transpose(*parts[0].dims).assign_attrs(preprocessing="\n".join([*shared, *own]))
    return done(joined, f"{len(parts)} alignments joined along time")


def subtract_condition_mean(rates: xr.DataArray) -> xr.DataArray:
    """Remove the mean over conditions at every time and unit; what is left depends on the condition."""
    check_rates(rates)
    if "condition" not in rates.dims:
        raise RatesError(
            "rates",
            rule="have the dim condition",
            received=rates.dims,
            remedy="Average trials within condition first",
        )
    return (rates - rates.mean("condition")).assign_attrs(done(rates, "cross-condition mean removed").attrs)


def soft_normalise(rates: xr.DataArray, *, constant: float | None = None, fraction: float = 0.1) -> xr.DataArray:
    """Divide every unit by its range plus a constant, so that weak units do not shout.

    ``r / (max r - min r + c)`` with maximum and minimum over all conditions and times (Churchland 2012).

    Args:
        rates: any rates with the dims time and unit.
        constant: c in the unit of the rates; 5 spikes/s is customary for recordings.
        fraction: where `constant` is None, c is this fraction of the median range over units, which is
            the same rule for units whose rates have no physical scale.
    """
    check_rates(rates)
    over = [dim for dim in rates.dims if dim not in ("unit", "member")]
    spread = rates.max(over) - rates.min(over)
    c = constant if constant is not None else fraction * float(spread.median())
    if c < 0:
        raise RatesError(
            "constant",
            rule="be 0 or more",
            received=c,
            remedy="Give the softening constant in the unit of the rates",
        )
    scale = spread + c
    # A unit that never changes has no shape to normalise; with c = 0 it would become 0 / 0.
    scale = xr.where(scale > 0, scale, 1.0)
    step = f"soft normalisation, range + {c:g} {rates.attrs['rate_unit']}"
    normalised: xr.DataArray = (rates / scale).transpose(*rates.dims)
    return normalised.assign_attrs(done(rates, step).attrs)


def segment_slices(rates: xr.DataArray) -> list[slice]:
    """The bins of every alignment, in order; all bins where there is one."""
    if "segment" not in rates.coords:
        return [slice(0, rates.sizes["time"])]
    segment = rates["segment"].values
    edges = [0, *(np.flatnonzero(segment[1:] != segment[:-1]) + 1).tolist(), segment.size]
    return [slice(a, b) for a, b in pairwise(edges)]


def _check_positive(name: str, value: float, remedy: str) -> None:
    if not value > 0:
        raise RatesError(name, rule="be positive", received=value, remedy=remedy)
