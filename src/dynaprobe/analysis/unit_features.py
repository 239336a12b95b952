"""Every unit as a handful of numbers, so that two populations can be compared as clouds of units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from dynaprobe.analysis.matrix import psth_values
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.sparseness import sparseness
from dynaprobe.analysis.unit_classes import (
    LEAST_DIRECTIONS,
    correlation_over_conditions,
    direction_design,
    unit_coords,
)
from dynaprobe.core.errors import RatesError

# In the unit of the rates, in ms, or pure numbers.
FEATURES = (
    "peak_rate",
    "modulation",
    "mean_level",
    "sparseness",
    "peak_time_ms",
    "preparatory_depth",
    "movement_depth",
    "tuning_correlation",
    "shared_fraction",
)
# A network rendered as a recording takes the range of its rates from the recorded PSTHs: of no use to compare.
GIVEN_BY_RENDERING = ("peak_rate", "modulation")
SHAPE_FEATURES = tuple(name for name in FEATURES if name not in GIVEN_BY_RENDERING)


@dataclass(frozen=True)
class UnitFeatures(Result):
    """What single units are like.

    Variables of `data`:
        value (feature, unit): NaN where a feature is not defined; see `unit_features`.
        median (feature): over units.
        n_undefined (feature): units without the feature.
    """


def unit_features(rates: xr.DataArray, preparatory: xr.DataArray, movement: xr.DataArray) -> UnitFeatures:
    """Features of every unit from its PSTHs.

    With r the PSTH of a unit over conditions and times, p_c and m_c its mean rates in the preparatory and the
    movement window, A(.) the amplitude of the cosine fit over directions:

        peak_rate           max r
        modulation          max r - min r
        mean_level          (mean r - min r) / modulation
        sparseness          lifetime sparseness (`dynaprobe.analysis.sparseness`)
        peak_time_ms        time of the largest rate in the movement window
        preparatory_depth   A(p) / modulation,    movement_depth  A(m) / modulation
        tuning_correlation  correlation of p and m over conditions
        shared_fraction     variance over time of the mean over conditions / variance of r

    Noise of the PSTHs enters all of them: compare sides with like numbers of trials.

    Args:
        rates: not negative, dims ``(condition, time, unit)``; segments joined along time count as one time axis.
        preparatory, movement: windows cut from the same rates.

    Raises:
        RatesError: when a rate is negative, directions are missing, or the windows hold other units.
    """
    whole, before, during = (
        psth_values(rates),
        psth_values(preparatory, "preparatory"),
        psth_values(movement, "movement"),
    )
    if not whole.shape[::2] == before.shape[::2] == during.shape[::2]:
        raise RatesError(
            "windows",
            rule=f"hold the conditions and units of the rates, {whole.shape[::2]}",
            received=f"{before.shape[::2]} and {during.shape[::2]}",
            remedy="Cut both windows from the same rates",
        )
    design = direction_design(preparatory, None, least=LEAST_DIRECTIONS)
    low, high = whole.min(axis=(0, 1)), whole.max(axis=(0, 1))
    spread = high - low
    varies = spread > 1e-12 * np.maximum(high, np.finfo(float).tiny)
    scale = np.where(varies, spread, 1.0)
    p, m = before.mean(axis=1), during.mean(axis=1)
    depth = {
        name: np.where(varies, np.hypot(*(np.linalg.pinv(design)[1:] @ mean)) / scale, np.nan)
        for name, mean in (("preparatory_depth", p), ("movement_depth", m))
    }
    shared = whole.mean(axis=0).var(axis=0) / np.where(varies, whole.var(axis=(0, 1)), 1.0)
    peak_ms = movement["time"].values[during.max(axis=0).argmax(axis=0)]
    columns = {
        "peak_rate": high,
        "modulation": spread,
        "mean_level": np.where(varies, (whole.mean(axis=(0, 1)) - low) / scale, np.nan),
        "sparseness": sparseness(rates).data["lifetime"].values,
        "peak_time_ms": np.where(np.ptp(during, axis=(0, 1)) > 0, peak_ms, np.nan),
        **depth,
        "tuning_correlation": correlation_over_conditions(p, m),
        "shared_fraction": np.where(varies, shared, np.nan),
    }
    value = np.stack([columns[name] for name in FEATURES])
    unknown = np.isnan(value)
    median = [
        np.median(row[~gone]) if not gone.all() else np.nan for row, gone in zip(value, unknown, strict=True)
    ]
    data = xr.Dataset(
        {
            "value": (("feature", "unit"), value),
            "median": ("feature", np.array(median)),
            "n_undefined": ("feature", unknown.sum(axis=1)),
        },
        coords={"feature": list(FEATURES), **unit_coords(rates)},
        attrs={"rate_unit": rates.attrs["rate_unit"]},
    )
    incomplete = int(unknown.any(axis=0).sum())
    return UnitFeatures(
        data, {}, {"unit without some feature, as it hardly varies": incomplete} if incomplete else {}
    )
