"""Made-up single trials with a tuning that is built in."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dynaprobe.core.rates import make_rates

DEGREES = np.arange(8) * 45.0


def block_of(values: np.ndarray, condition: np.ndarray, *, name: str = "a", first_ms: float = 0.0) -> xr.DataArray:
    """Trials of one session, 10 ms bins."""
    return make_rates(
        values,
        dims=("trial", "time", "unit"),
        time_ms=first_ms + 10.0 * np.arange(values.shape[1]),
        event="target_on",
        rate_unit="spikes/s",
        source="test",
        coords={
            "condition": ("trial", condition),
            "direction_deg": ("trial", DEGREES[condition]),
            "unit": [f"{name}/{k}" for k in range(values.shape[2])],
        },
    )


def cosine_block(
    preferred_deg: np.ndarray,
    *,
    depth: float,
    noise: float = 1.0,
    n_repeats: int = 10,
    n_time: int = 3,
    seed: int = 0,
    name: str = "a",
) -> xr.DataArray:
    """Trials of units tuned to `preferred_deg`: 20 + depth cos(theta - preferred) + noise."""
    source = np.random.default_rng(seed)
    condition = source.permutation(np.repeat(np.arange(8), n_repeats))
    tuning = 20 + depth * np.cos(np.deg2rad(DEGREES[condition][:, None] - np.asarray(preferred_deg)))
    shape = (condition.size, n_time, len(preferred_deg))
    return block_of(tuning[:, None] + noise * source.standard_normal(shape), condition, name=name)
