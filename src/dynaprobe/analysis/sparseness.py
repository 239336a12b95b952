"""How few conditions and times drive a unit, and how few units a condition and time drives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynaprobe.analysis.matrix import psth_values
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.unit_classes import unit_coords
from dynaprobe.core.errors import RatesError


@dataclass(frozen=True)
class Sparseness(Result):
    """Sparseness from 0 (all alike) to 1 (one alone).

    Variables of `data`:
        lifetime (unit): over conditions and times; NaN for a silent unit.
        population (condition, time): over units; NaN where all are silent.
        lifetime_median, population_mean.
    """


def sparseness(rates: xr.DataArray, standard_error: xr.DataArray | None = None) -> Sparseness:
    """Lifetime and population sparseness.

    Over n responses r_i, with the activity fraction of Rolls & Tovee (1995) in the form of Vinje & Gallant (2000):

        a = (sum r_i / n)^2 / (sum r_i^2 / n),    S = (1 - a) / (1 - 1 / n)

    Noise of the estimates adds its variance to the mean of the squares; where standard errors e_i are given,
    ``sum (r_i^2 - e_i^2)`` stands in the denominator. The numerator's noise is smaller by about n and stays.

    Args:
        rates: not negative, dims ``(condition, time, unit)``.
        standard_error: of the rates, same dims.

    Raises:
        RatesError: when a rate is negative, or the standard errors have another shape.

    Sources: Treves & Rolls 1991, Network 2:371; Rolls & Tovee 1995, J Neurophysiol 73:713; Vinje & Gallant 2000,
    Science 287:1273.
    """
    values = psth_values(rates)
    if values.min() < 0:
        raise RatesError(
            "rates",
            rule="be 0 or more, for a share of the activity to mean anything",
            received=f"a smallest rate of {values.min():g}",
            remedy="Use rates from which no mean is removed; activations of either sign have no such sparseness",
        )
    error = np.zeros_like(values)
    if standard_error is not None:
        error = psth_values(standard_error, "standard_error")
        if error.shape != values.shape:
            raise RatesError(
                "standard_error",
                rule=f"have the shape of the rates, {values.shape}",
                received=error.shape,
                remedy="Take it from the same PSTHs",
            )
    by_unit = values.reshape(-1, values.shape[2]), error.reshape(-1, values.shape[2])
    lifetime = _sparseness(*by_unit)
    population = _sparseness(*(part.T for part in by_unit)).reshape(values.shape[:2])
    data = xr.Dataset(
        {
            "lifetime": ("unit", lifetime),
            "population": (("condition", "time"), population),
            "lifetime_median": ((), _over(np.median, lifetime)),
            "population_mean": ((), _over(np.mean, population)),
        },
        coords=unit_coords(rates),
    )
    silent = int(np.isnan(lifetime).sum())
    failures = {"silent unit, without sparseness": silent} if silent else {}
    return Sparseness(data, {"noise_removed": standard_error is not None}, failures)


def _sparseness(
    responses: Float[np.ndarray, "response thing"], error: Float[np.ndarray, "response thing"]
) -> Float[np.ndarray, " thing"]:
    """S over the first axis; NaN without activity beyond noise, 0 for a single response."""
    n = responses.shape[0]
    if n == 1:
        return np.zeros(responses.shape[1])
    size = responses.max(axis=0)
    # Squares of tiny rates would vanish, those of huge ones overflow.
    unit = np.where(size > 0, size, 1.0)
    scaled = responses / unit
    power = (scaled**2 - (error / unit) ** 2).mean(axis=0)
    heard = (size > 0) & (power > 0)
    fraction = scaled.mean(axis=0) ** 2 / np.where(heard, power, 1.0)
    # Removing noise can leave less power than the mean alone has: no sparseness at all.
    return np.where(heard, np.maximum(1 - fraction, 0.0) / (1 - 1 / n), np.nan)


def _over(summary: object, values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(summary(known)) if known.size else float("nan")  # type: ignore[operator]
