"""Samples with a known truth: units that mix latent time courses, heard in halves of noisy trials."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dynaprobe.core.rates import make_rates
from dynaprobe.study.sample import PairSettings, Plan, Sample

N_CONDITIONS, N_TIMES = 6, 24
QUICK = PairSettings(n_splits=2, n_halvings=4, n_floor=6, n_regroupings=19, n_simulations=400)


def latents(seed: int, n: int = 6) -> np.ndarray:
    """Smooth latent time courses, ``(condition, time, latent)``."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(size=(N_CONDITIONS, N_TIMES + 16, n))
    kernel = np.exp(-(np.arange(-8, 9) ** 2) / 18)
    smooth = np.apply_along_axis(lambda x: np.convolve(x, kernel, "valid"), 1, raw)
    return smooth / smooth.std()


def rates_of(values: np.ndarray, labels: list[str]) -> xr.DataArray:
    return make_rates(
        values,
        dims=("condition", "time", "unit"),
        time_ms=10.0 * np.arange(values.shape[1]),
        event="move_onset",
        rate_unit="spikes/s",
        source="made up",
        coords={"unit": labels, "direction_deg": ("condition", 60.0 * np.arange(values.shape[0]))},
    )


def sample(
    name: str,
    *,
    world: int = 0,
    units: int = 0,
    n_units: int = 24,
    noise: float = 0.3,
    candidate: str | None = None,
    signal: np.ndarray | None = None,
) -> Sample:
    """Units drawn from a world of latents, in halves of trials with independent noise.

    Args:
        name: of the sample; also names its noise.
        world: seed of the latents: samples of one world are samples of one population.
        units: seed of the mixing weights: the same seed, the very same units.
        n_units: how many.
        noise: standard deviation of the noise of one half, in those of the signal.
        candidate: the candidate it belongs to; None takes its own name.
        signal: noise-free rates in place of mixed latents.
    """
    if signal is None:
        weights = np.random.default_rng([1, units]).normal(size=(6, n_units))
        signal = latents(world) @ weights / np.sqrt(6)
    labels = [f"w{world}u{units}/{k}" for k in range(signal.shape[2])]
    rng = np.random.default_rng([2, units, *name.encode()])
    halves = []
    for _ in range(QUICK.n_splits):
        pair = [rates_of(signal + noise * rng.normal(size=signal.shape), labels) for _ in range(2)]
        halves.append((pair[0], pair[1]))
    return Sample(candidate or name, name, rates_of(signal, labels), halves)


def from_trials(
    name: str,
    *,
    units: int,
    n_units: int = 24,
    n_trials: int = 16,
    noise: float = 1.2,
    mixed: float = 0.0,
    n_halvings: int = 5,
) -> Sample:
    """Units of a world heard in trials, which are halved again and again as a recording's are.

    Args:
        name: of the sample; also names its noise.
        units: seed of the mixing weights.
        n_units: how many.
        n_trials: of every condition.
        noise: standard deviation of the noise of one trial, in those of the signal.
        mixed: share of the variance of the latents that comes from a second world.
        n_halvings: random halvings of the trials.
    """
    rng = np.random.default_rng([3, units, *name.encode()])
    world = np.sqrt(1 - mixed) * latents(0) + np.sqrt(mixed) * latents(1)
    signal = world @ rng.normal(size=(6, n_units)) / np.sqrt(6)
    trials = signal + noise * rng.normal(size=(n_trials, *signal.shape))
    labels = [f"{name}{units}/{k}" for k in range(n_units)]
    halves = []
    for _ in range(n_halvings):
        order = rng.permutation(n_trials)
        first, second = (trials[part].mean(axis=0) for part in np.array_split(order, 2))
        halves.append((rates_of(first, labels), rates_of(second, labels)))
    return Sample(name, name, rates_of(trials.mean(axis=0), labels), halves)


def plan(n_units: int = 24, seed: int = 0, **changes) -> Plan:
    return Plan(n_units, QUICK.with_changes(changes) if changes else QUICK, seed)
