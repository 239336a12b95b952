"""Rates for tests of population analyses."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter1d

from dynaprobe.core.rates import make_rates

DT_MS = 10.0


def as_rates(
    values: np.ndarray, *, event: str = "move_onset", start_ms: float = 0.0, dt_ms: float = DT_MS, **coords: object
) -> xr.DataArray:
    """An array (condition, time, unit) as rates."""
    return make_rates(
        values,
        dims=("condition", "time", "unit"),
        time_ms=start_ms + dt_ms * np.arange(values.shape[1]),
        event=event,
        rate_unit="spikes/s",
        source="test",
        coords=coords,
    )


def smooth_values(
    seed: int, *, n_conditions: int = 6, n_times: int = 20, n_units: int = 12, sd_bins: float = 2.0
) -> np.ndarray:
    """Random smooth activity of units that vary together."""
    source = np.random.default_rng(seed)
    latent = gaussian_filter1d(source.standard_normal((n_conditions, n_times, n_units)), sd_bins, axis=1)
    return latent @ (source.standard_normal((n_units, n_units)) * np.linspace(1.5, 0.2, n_units)[:, None])


def spread_evenly(axes: np.ndarray, *, seed: int = 0, n_conditions: int = 6, n_times: int = 20) -> np.ndarray:
    """Activity with variance 1 along each of these orthonormal rows, and no mean over conditions."""
    scores = np.random.default_rng(seed).standard_normal((n_conditions, n_times, len(axes)))
    scores -= scores.mean(axis=0)
    flat = np.linalg.qr(scores.reshape(-1, len(axes)))[0]
    return np.sqrt(len(flat)) * flat.reshape(scores.shape) @ axes


def rotating(hz: float = 2.0, *, n_units: int = 10, n_conditions: int = 6, n_times: int = 20) -> np.ndarray:
    """One plane that turns at this frequency, every condition from a start of its own."""
    phase = 2 * np.pi * (hz * 1e-3 * DT_MS * np.arange(n_times) + np.arange(n_conditions)[:, None] / n_conditions)
    plane = np.linalg.qr(np.random.default_rng(5).standard_normal((n_units, 2)))[0].T
    return np.stack([np.cos(phase), np.sin(phase)], axis=-1) @ plane
