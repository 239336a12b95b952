"""A recording made from rates: inhomogeneous Poisson spikes, with an optional refractory time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from dynaprobe.core.errors import DataError, RatesError
from dynaprobe.core.random import generator
from dynaprobe.core.rates import bin_width_ms, check_rates, done
from dynaprobe.recordings.session import ReadingAccount, Session


def simulate_session(
    rates: xr.DataArray,
    *,
    events_ms: Mapping[str, Any],
    conditions: pd.DataFrame,
    seed: int,
    refractory_ms: float = 0.0,
    identifier: str = "simulated",
    subject: str = "simulated",
    gap_ms: float = 1000.0,
) -> Session:
    """Draw spikes for every trial and unit, and lay the trials one after another on a session clock.

    Without refractory time the count of a bin is Poisson with mean r dt, and spikes are uniform within the bin.
    With it the process is one with dead time tau = `refractory_ms`: spikes of a Poisson process of rate
    h = r / (1 - r tau) that fall within tau of the last kept spike are dropped. The mean rate stays r where r
    changes little within tau; intervals are at least tau; the Fano factor falls to about (1 - r tau)^2.

    Args:
        rates: spikes/s, dims ``(trial, time, unit)``.
        events_ms: time of every event on the clock of ``rates.time``, shape ``(trial,)``, NaN where there is none.
        conditions: task variables, one row per trial.
        seed: same seed and identifier, same spikes.
        refractory_ms: tau; r tau must stay below 1.
        identifier, subject: names; sessions of different identifiers have independent spikes under one seed.
        gap_ms: unobserved time between trials.

    Raises:
        RatesError: rates of another shape or unit, negative, or too high for the refractory time.
        DataError: events or conditions that do not match the trials.
    """
    values = _checked(rates, refractory_ms)
    n_trials, n_time, n_units = values.shape
    _check_trials(n_trials, events_ms, conditions, gap_ms)
    dt_s, tau_s = bin_width_ms(rates) * 1e-3, refractory_ms * 1e-3
    start_s = np.arange(n_trials) * (n_time * dt_s + gap_ms * 1e-3)
    stop_s = start_s + n_time * dt_s
    draw = generator(seed, "recordings", "spikes", identifier)
    counts = draw.poisson(values / (1 - values * tau_s) * dt_s)
    begin_s = start_s[:, None] + np.arange(n_time) * dt_s
    spikes = []
    for unit in range(n_units):
        times_s = np.repeat(begin_s.ravel(), counts[:, :, unit].ravel())
        times_s = np.sort(times_s + draw.random(times_s.size) * dt_s)
        if tau_s > 0:
            # A stationary process is refractory at the start of a trial with probability r tau.
            busy_s = np.where(
                draw.random(n_trials) < values[:, 0, unit] * tau_s, draw.random(n_trials) * tau_s, 0.0
            )
            times_s = _with_dead_time(times_s, start_s, busy_s, tau_s)
        spikes.append(times_s)
    trials = pd.DataFrame({"start": start_s, "stop": stop_s}).rename_axis("trial")
    for event, times_ms in events_ms.items():
        trials[event] = start_s + (np.asarray(times_ms, dtype=np.float64) - float(rates["time"][0])) * 1e-3
    for name in conditions.columns:
        trials[str(name)] = conditions[name].to_numpy()
    return Session(
        identifier=identifier,
        subject=subject,
        units=pd.DataFrame(index=pd.RangeIndex(n_units, name="unit")),
        spike_times_s=tuple(spikes),
        trials=trials,
        events=tuple(events_ms),
        conditions=tuple(str(name) for name in conditions.columns),
        obs_intervals_s=(np.column_stack([start_s, stop_s]),) * n_units,
        account=ReadingAccount(rules=(f"simulated with a refractory time of {refractory_ms:g} ms",)),
    )


# A unit that is modulated by less than this fraction of the median range is not blown up to a full range.
LEAST_RANGE = 0.1


def scale_rates(
    rates: xr.DataArray, *, low_hz: Any, high_hz: Any, reference: xr.DataArray | None = None
) -> xr.DataArray:
    """Map every unit's rates affinely onto its own range in spikes/s, which keeps the shape of its PSTH.

        r' = max(0, low + (high - low) (r - least) / max(range, 0.1 median range))

    least and range are the minimum and ``max - min`` of the unit in `reference`; the median runs over the units
    that vary. A unit that never varies there stays near `low_hz`.

    Args:
        rates: a network's rates, any unit, with or without trials.
        low_hz, high_hz: ends of the range, one number or one per unit, ``0 <= low <= high``.
        reference: rates of the same units whose range counts, for example noise-free ones in the windows that will
            be analysed; None takes `rates` themselves. Where `rates` leave that range, so does the result.

    Raises:
        RatesError: rates that break the schema.
        DataError: ranges that are negative, reversed or not finite, or of another length.
    """
    check_rates(rates)
    reference = rates if reference is None else check_rates(reference, name="reference")
    shape = (rates.sizes["unit"],)
    low, high = np.asarray(low_hz, dtype=np.float64), np.asarray(high_hz, dtype=np.float64)
    if not all(end.shape in ((), shape) for end in (low, high)):
        raise DataError(
            "low_hz and high_hz", rule=f"be one number, or one for each of {shape[0]} units",
            received=f"shapes {low.shape} and {high.shape}", remedy="Draw the ranges for this number of units",
        )  # fmt: skip
    if not (np.isfinite(high).all() and (low >= 0).all() and (low <= high).all()):
        raise DataError(
            "low_hz and high_hz", rule="satisfy 0 <= low <= high in spikes/s",
            received=f"low from {low.min():g} to {low.max():g}, high from {high.min():g} to {high.max():g}",
            remedy="Exchange the ends, or raise the lower one to 0",
        )  # fmt: skip
    over = [dim for dim in reference.dims if dim != "unit"]
    least = reference.min(over).values
    spread = reference.max(over).values - least
    typical = float(np.median(spread[spread > 0])) if (spread > 0).any() else 1.0
    gain = (high - low) / np.maximum(spread, LEAST_RANGE * typical)
    values = np.maximum(0.0, low + gain * (np.asarray(rates.values, dtype=np.float64) - least))
    step = "each unit mapped affinely onto its range in spikes/s"
    return rates.copy(data=values).assign_attrs({**done(rates, step).attrs, "rate_unit": "spikes/s"})


def draw_rate_range(
    n_units: int,
    *,
    seed: int,
    low_hz: tuple[float, float] = (0.0, 10.0),
    high_hz: tuple[float, float] = (15.0, 60.0),
) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest rate of every unit, uniform in the stated ranges.

    The default ranges are our choice of what motor cortex shows.

    Returns:
        Two arrays of shape ``(unit,)`` for `scale_rates`.
    """
    draw = generator(seed, "recordings", "rate_range")
    return draw.uniform(*low_hz, size=n_units), draw.uniform(*high_hz, size=n_units)


def match_rate_range(rates: xr.DataArray, n_units: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest rate of every unit such that their quantiles follow those of recorded units.

    The recorded units' (lowest, highest) pairs are ordered by the highest rate and read off at the quantiles
    (k + 1/2) / n of that order, so a pair stays a pair; who gets which is random.

    Args:
        rates: PSTHs of a recording in spikes/s.
        n_units: how many ranges are wanted.
        seed: seed of the assignment.

    Returns:
        Two arrays of shape ``(n_units,)`` for `scale_rates`.

    Raises:
        RatesError: rates that break the schema or are not in spikes/s.
    """
    check_rates(rates)
    _check_unit(rates)
    over = [dim for dim in rates.dims if dim != "unit"]
    low, high = rates.min(over).values, rates.max(over).values
    order = np.argsort(high, kind="stable")
    known = (np.arange(order.size) + 0.5) / order.size
    wanted = generator(seed, "recordings", "rate_match").permutation((np.arange(n_units) + 0.5) / n_units)
    return np.interp(wanted, known, low[order]), np.interp(wanted, known, high[order])


def _checked(rates: xr.DataArray, refractory_ms: float) -> np.ndarray:
    check_rates(rates, dims=("trial", "time", "unit"))
    _check_unit(rates)
    values = np.asarray(rates.values, dtype=np.float64)
    if (values < 0).any():
        raise RatesError(
            "rates", rule="be 0 or more", received=float(values.min()), remedy="Scale them with scale_rates"
        )
    if refractory_ms < 0 or values.max() * refractory_ms * 1e-3 >= 1:
        raise RatesError(
            "refractory_ms",
            rule="be 0 or more and shorter than the mean interval at the highest rate",
            received=f"{refractory_ms:g} ms at {values.max():g} spikes/s",
            remedy="Lower the rates or the refractory time",
        )
    return values


def _check_unit(rates: xr.DataArray) -> None:
    if rates.attrs["rate_unit"] != "spikes/s":
        raise RatesError(
            "rates", rule="be in spikes/s", received=rates.attrs["rate_unit"], remedy="Scale them with scale_rates"
        )


def _check_trials(n_trials: int, events_ms: Mapping[str, Any], conditions: pd.DataFrame, gap_ms: float) -> None:
    lengths = {name: len(np.atleast_1d(times)) for name, times in events_ms.items()} | {
        "conditions": len(conditions)
    }
    wrong = {name: n for name, n in lengths.items() if n != n_trials}
    if wrong or not events_ms:
        raise DataError(
            "events_ms and conditions",
            rule=f"have one entry for each of {n_trials} trials, and name an event",
            received=wrong or "no event",
            remedy="Take both from the trials the rates were simulated for",
        )
    if gap_ms < 0:
        raise DataError("gap_ms", rule="be 0 or more", received=gap_ms, remedy="Trials must not overlap")


def _with_dead_time(times_s: np.ndarray, start_s: np.ndarray, busy_s: np.ndarray, tau_s: float) -> np.ndarray:
    """Drop spikes within `tau_s` of the last kept one, and those in the first `busy_s` of each trial."""
    trial = np.searchsorted(start_s, times_s, side="right") - 1
    times_s = times_s[times_s >= start_s[trial] + busy_s[trial]]
    while True:
        close = np.diff(times_s, prepend=-np.inf) < tau_s
        # The spike before a run of close ones is kept for certain, hence the first of the run is dropped
        # for certain; who goes among the others is known only once it is gone.
        first = close & ~np.concatenate([[False], close[:-1]])
        if not first.any():
            return times_s
        times_s = times_s[~first]
