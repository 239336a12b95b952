"""Small populations with known likeness, for the tests of the measures."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter1d
from scipy.stats import ortho_group

from dynaprobe.core.rates import make_rates

N_CONDITIONS, N_BINS = 6, 24


def rates_of(values: np.ndarray, *, dt_ms: float = 10.0, directions: bool = True) -> xr.DataArray:
    n = values.shape[0]
    coords = {"direction_deg": ("condition", 360.0 * np.arange(n) / n)} if directions else {}
    return make_rates(
        values,
        dims=("condition", "time", "unit"),
        time_ms=dt_ms * np.arange(values.shape[1]),
        event="go_cue",
        rate_unit="a.u.",
        source="test",
        coords=coords,
    )


def noise(*shape: int, seed: int, sd_bins: float = 2.0) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal(shape)
    return gaussian_filter1d(values, sd_bins, axis=1, mode="wrap") if sd_bins else values


def latents(seed: int = 0, n: int = 4, n_conditions: int = N_CONDITIONS, n_bins: int = N_BINS) -> np.ndarray:
    return 3 * noise(n_conditions, n_bins, n, seed=1000 + seed)


def population(latent: np.ndarray, n_units: int, *, seed: int, noise_sd: float = 0.3) -> xr.DataArray:
    """Units that mix the latents at random, with noise of their own and a mean."""
    weights = np.random.default_rng(seed).standard_normal((latent.shape[2], n_units)) / np.sqrt(latent.shape[2])
    return rates_of(latent @ weights + noise_sd * noise(*latent.shape[:2], n_units, seed=seed + 1) + 3)


def halves(
    latent: np.ndarray, n_units: int, *, seed: int, n_splits: int = 3, noise_sd: float = 0.5, first: int = 1
) -> list[tuple[xr.DataArray, xr.DataArray]]:
    """Pairs of noisy measurements of the same units; `first` chooses the noise."""
    weights = np.random.default_rng(seed).standard_normal((latent.shape[2], n_units)) / np.sqrt(latent.shape[2])
    clean = latent @ weights + 3
    return [
        tuple(
            rates_of(clean + noise_sd * noise(*clean.shape, seed=seed + 10 * k + h + first, sd_bins=1.0))
            for h in (0, 1)
        )
        for k in range(n_splits)
    ]  # type: ignore[misc]


def turned(rates: xr.DataArray, *, seed: int, gain: float = 1.0, shift: float = 0.0) -> xr.DataArray:
    """The same population in a rotated frame."""
    rotation = ortho_group.rvs(rates.sizes["unit"], random_state=seed)
    return rates.copy(data=gain * rates.values @ rotation + shift)
