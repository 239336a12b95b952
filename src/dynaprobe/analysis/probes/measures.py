"""What a probe measures of a movement, and how far its numbers hang on the conditions they were taken from."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from dynaprobe.analysis.probes.scene import Scene
from dynaprobe.core.random import generator

# End points closer to the start than this fraction of the way to the goal have no direction worth the name.
DIRECTIONLESS_FRACTION = 0.05
N_BOOTSTRAP = 1000
LEVEL = 0.95


def is_too_short(
    points: Float[np.ndarray, "*batch axis"], goals: Float[np.ndarray, "*batch axis"]
) -> Bool[np.ndarray, "*batch"]:
    """Whether end points lie closer to the origin than `DIRECTIONLESS_FRACTION` of their goals."""
    short: np.ndarray = np.linalg.norm(points, axis=-1) < DIRECTIONLESS_FRACTION * np.linalg.norm(goals, axis=-1)
    return short


def direction_error_deg(
    points: Float[np.ndarray, "*batch axis"], goals: Float[np.ndarray, "*batch axis"]
) -> Float[np.ndarray, "*batch"]:
    """Angle from goal to end point in (-180, 180], in two dimensions; NaN for movements that are too short."""
    if points.shape[-1] != 2:
        return np.full(points.shape[:-1], np.nan)
    turned = np.arctan2(
        goals[..., 0] * points[..., 1] - goals[..., 1] * points[..., 0], (goals * points).sum(axis=-1)
    )
    angle: np.ndarray = np.where(is_too_short(points, goals), np.nan, np.rad2deg(turned))
    return angle


def r2_by_group(
    scene: Scene, outputs: Float[np.ndarray, "condition time output"]
) -> dict[str, Float[np.ndarray, ""]]:
    """R2 of every group of output channels over all bins that count, each channel with its own mean."""
    squared, total = squared_errors(scene, outputs), total_squares(scene)
    return {name: np.asarray(1 - squared[name].sum() / total[name].sum()) for name in scene.groups}


def squared_errors(
    scene: Scene, outputs: Float[np.ndarray, "condition time output"]
) -> dict[str, Float[np.ndarray, " condition"]]:
    """Squared errors of every condition, summed over bins and the channels of a group."""
    residual = scene.mask * (outputs - scene.targets) ** 2
    return {name: residual[..., numbers].sum(axis=(1, 2)) for name, numbers in scene.groups.items()}


def total_squares(scene: Scene) -> dict[str, Float[np.ndarray, " condition"]]:
    """Squares of the targets about their mean over all trials, summed as in `squared_errors`."""
    mean = (scene.mask * scene.targets).sum(axis=(0, 1)) / scene.mask.sum(axis=(0, 1))
    total = scene.mask * (scene.targets - mean) ** 2
    return {name: total[..., numbers].sum(axis=(1, 2)) for name, numbers in scene.groups.items()}


def draw_counts(
    n: int, *, seed: int, name: str, n_bootstrap: int = N_BOOTSTRAP
) -> Float[np.ndarray, "draw condition"]:
    """How often each of n things is met in each bootstrap draw of n with replacement."""
    rng = generator(seed, "probes", "bootstrap", name)
    return rng.multinomial(n, np.full(n, 1 / n), size=n_bootstrap).astype(np.float64)


def weighted_mean(
    values: Float[np.ndarray, "*batch sample"], counts: Float[np.ndarray, "draw sample"]
) -> Float[np.ndarray, "*batch draw"]:
    """Mean over samples in every draw; NaN are left out, and a draw without any value is NaN."""
    there = np.isfinite(values)
    total = np.where(there, values, 0.0) @ counts.T
    with np.errstate(invalid="ignore"):
        mean: np.ndarray = total / (there.astype(np.float64) @ counts.T)
    return mean


def percentile_interval(
    draws: Float[np.ndarray, "*batch draw"], *, level: float = LEVEL
) -> tuple[Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch"]]:
    """Bounds that hold the middle `level` of the bootstrap draws; NaN where no draw has a value."""
    low, high = np.full(draws.shape[:-1], np.nan), np.full(draws.shape[:-1], np.nan)
    known = np.isfinite(draws)
    for at in np.ndindex(draws.shape[:-1]):
        values = draws[at][known[at]]
        if values.size:
            low[at], high[at] = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return low, high


def with_interval(
    name: str,
    value: np.ndarray | float,
    draws: Float[np.ndarray, "*batch draw"],
    dims: tuple[str, ...],
    **attrs: str,
) -> dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, str]]]:
    """``NAME``, ``NAME_low`` and ``NAME_high``: a variable and its interval, as xarray takes them."""
    low, high = percentile_interval(draws)
    return {
        name + suffix: (dims, np.asarray(values, dtype=np.float64), attrs)
        for suffix, values in (("", value), ("_low", low), ("_high", high))
    }
