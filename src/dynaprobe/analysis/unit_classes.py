"""In which epoch single units are tuned to direction, and how that tuning moves.

Preparatory-only, movement-only, both, multiphasic, and a preferred direction that changes between epochs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from scipy.stats import binomtest

from dynaprobe.analysis.matrix import psth_values, zscore_rows
from dynaprobe.analysis.result import Result
from dynaprobe.core.errors import RatesError

CLASSES = ("inactive", "untuned", "preparatory_only", "movement_only", "both")
# Three numbers are fitted; a fourth direction is needed to see whether they fit.
LEAST_DIRECTIONS = 4
FEATURES = ("multiphasic", "preferred_direction_changes")


@dataclass(frozen=True)
class ClassThresholds:
    """Where a unit begins to count as active, tuned, multiphasic or turning.

    Attributes:
        active: smallest range, as a fraction of the median range over units.
        tuned: smallest tuning depth in an epoch, as a fraction of the unit's range over both epochs.
        phase: size at which a swing of the tuning counts as a phase, as a fraction of the largest swing.
        n_phases: phases of alternating sign that make a unit multiphasic.
        turn_deg: change of preferred direction that counts as one.
        confidence: of the intervals of fractions.
    """

    active: float = 0.1
    tuned: float = 0.15
    phase: float = 0.3
    n_phases: int = 2
    turn_deg: float = 90.0
    confidence: float = 0.95


@dataclass(frozen=True)
class PsthClasses(Result):
    """The class of every unit, and its tuning in both epochs.

    Variables of `data`:
        unit_class (unit): one of `CLASSES`.
        has_feature (feature, unit): whether a tuned unit is also multiphasic in the movement epoch (of
            those tuned in it), or changes its preferred direction (of those tuned in both).
        fraction, fraction_low, fraction_high (motif): of all units, with Wilson intervals; motif runs over
            `CLASSES`, which add to 1, and `FEATURES`, which overlap them.
        range (unit): largest minus smallest rate over both epochs.
        depth (epoch, unit): root of the mean over time of the squared amplitude of the cosine fit, in rate units.
        preferred_direction_deg (epoch, unit): of the mean rate in the epoch, 0 to 360; NaN without tuning.
        r_squared (epoch, unit): of the cosine fit to the mean rates; NaN where they do not vary.
        n_phases (unit): swings of alternating sign of the tuning in the movement epoch.
        turn_deg (unit): angle between the two preferred directions, 0 to 180; NaN unless tuned in both.
        tuning_correlation (unit): of mean preparatory with mean movement rates over conditions; NaN where one of
            them does not vary.
        median_tuning_correlation: over units that are tuned in both epochs.
    """


def psth_classes(
    preparatory: xr.DataArray,
    movement: xr.DataArray,
    *,
    direction_deg: Any = None,
    thresholds: ClassThresholds = ClassThresholds(),
) -> PsthClasses:
    """Sort units by the epochs in which they are tuned to direction.

    Tuning at each time is ``r(theta) = m + x cos theta + y sin theta`` by least squares. The depth of an epoch,
    ``sqrt(mean over time of x^2 + y^2)``, does not cancel when the tuning reverses within it. Phases are counted
    on the course of (x, y) along its principal axis.

    Args:
        preparatory: rates in the preparatory window, dims ``(condition, time, unit)``.
        movement: rates of the same conditions and units in the movement window.
        direction_deg: direction of each condition; None takes the coordinate ``direction_deg``.
        thresholds: where a class begins; relative to the unit's range, so that spikes/s and a.u. are alike.

    Raises:
        RatesError: when conditions or units differ, or there are fewer than 4 directions (3 numbers are fitted).
    """
    before, during = psth_values(preparatory, "preparatory"), psth_values(movement, "movement")
    if before.shape[::2] != during.shape[::2]:
        raise RatesError(
            "movement",
            rule=f"hold the conditions and units of the preparatory rates, {before.shape[::2]}",
            received=during.shape[::2],
            remedy="Cut both windows from the same rates",
        )
    design = direction_design(preparatory, direction_deg, least=LEAST_DIRECTIONS)
    both = np.concatenate([before, during], axis=1)
    spread = np.ptp(both, axis=(0, 1))
    epochs = [_tuning(values, design) for values in (before, during)]
    depth = np.stack([epoch["depth"] for epoch in epochs])
    means = before.mean(axis=1), during.mean(axis=1)
    tables = {
        "depth": depth,
        "preferred_direction_deg": np.stack([epoch["preferred_direction_deg"] for epoch in epochs]),
        "r_squared": np.stack([epoch["r_squared"] for epoch in epochs]),
    }
    active = spread > thresholds.active * np.median(spread)
    tuned = active & (depth > thresholds.tuned * spread)
    n_phases = count_phases(epochs[1]["course"], thresholds.phase)
    turn = np.abs((np.diff(tables["preferred_direction_deg"], axis=0)[0] + 180) % 360 - 180)
    turn = np.where(tuned.all(axis=0), turn, np.nan)
    features = np.stack([tuned[1] & (n_phases >= thresholds.n_phases), turn > thresholds.turn_deg])
    index = np.where(active, 1 + tuned[0] + 2 * tuned[1], 0)
    members = [index == k for k in range(len(CLASSES))] + list(features)
    correlation = correlation_over_conditions(*means)
    shared = correlation[tuned.all(axis=0) & np.isfinite(correlation)]
    data = xr.Dataset(
        {
            "unit_class": ("unit", np.array(CLASSES)[index]),
            "has_feature": (("feature", "unit"), features),
            "range": ("unit", spread),
            **{name: (("epoch", "unit"), table) for name, table in tables.items()},
            "n_phases": ("unit", n_phases),
            "turn_deg": ("unit", turn),
            "tuning_correlation": ("unit", correlation),
            "median_tuning_correlation": ((), float(np.median(shared)) if shared.size else float("nan")),
            **fractions([int(m.sum()) for m in members], spread.size, thresholds.confidence),
        },
        coords={
            "motif": list(CLASSES + FEATURES),
            "feature": list(FEATURES),
            "epoch": ["preparatory", "movement"],
            **unit_coords(preparatory),
        },
    )
    silent = int((spread == 0).sum())
    failures = {"unit that never changes, without tuning": silent} if silent else {}
    return PsthClasses(data, asdict(thresholds), failures)


def count_phases(course: Float[np.ndarray, "time unit"], threshold: float) -> Int[np.ndarray, " unit"]:
    """Runs of alternating sign in a course, counting only times beyond `threshold` of its largest size."""
    sign = np.where(np.abs(course) > threshold * np.abs(course).max(axis=0), np.sign(course), 0)
    counts = [1 + int((np.diff(s[s != 0]) != 0).sum()) if s.any() else 0 for s in sign.T]
    return np.array(counts)


def direction_design(rates: xr.DataArray, direction_deg: Any, *, least: int) -> Float[np.ndarray, "condition 3"]:
    """Columns 1, cos and sin of the direction of each condition."""
    if direction_deg is None and "direction_deg" not in rates.coords:
        raise RatesError(
            "direction_deg",
            rule="be given or be a coordinate of the conditions",
            received=f"the coordinates {sorted(map(str, rates.coords))}",
            remedy="Pass the direction of each condition in degrees",
        )
    degrees = np.asarray(rates["direction_deg"].values if direction_deg is None else direction_deg, dtype=float)
    if degrees.shape != (rates.sizes["condition"],) or np.unique(degrees % 360).size < least:
        raise RatesError(
            "direction_deg",
            rule=f"give each of {rates.sizes['condition']} conditions a direction, {least} of them different",
            received=degrees.tolist(),
            remedy="Average over other task variables first, or choose conditions that differ in direction",
        )
    angle = np.deg2rad(degrees)
    return np.stack([np.ones_like(angle), np.cos(angle), np.sin(angle)], axis=1)


def _tuning(
    values: Float[np.ndarray, "condition time unit"], design: Float[np.ndarray, "condition 3"]
) -> dict[str, np.ndarray]:
    """Cosine tuning of every unit in one epoch, and its course along its principal axis."""
    fit = np.linalg.pinv(design)
    xy = np.tensordot(fit[1:], values, axes=1)  # (2, time, unit)
    mean = values.mean(axis=1)
    x, y = xy.mean(axis=1)
    residual = mean - design @ (fit @ mean)
    total = ((mean - mean.mean(axis=0)) ** 2).sum(axis=0)
    # Round-off about a constant rate is not tuning.
    varies = total > 1e-20 * np.maximum((mean**2).sum(axis=0), np.finfo(float).tiny)
    r_squared = 1 - (residual**2).sum(axis=0) / np.where(varies, total, 1.0)
    axis = np.linalg.svd(np.moveaxis(xy, 2, 0), full_matrices=False)[0][:, :, 0]
    return {
        "depth": np.sqrt((xy**2).sum(axis=0).mean(axis=0)),
        "preferred_direction_deg": np.where(varies, np.rad2deg(np.arctan2(y, x)) % 360, np.nan),
        "r_squared": np.where(varies, r_squared, np.nan),
        "course": np.einsum("ktu,uk->tu", xy, axis),
    }


def correlation_over_conditions(
    before: Float[np.ndarray, "condition unit"], during: Float[np.ndarray, "condition unit"]
) -> Float[np.ndarray, " unit"]:
    """Correlation over conditions of every unit's rates in two epochs; NaN where one does not vary."""
    first, second = (zscore_rows(values[:, None, :]) for values in (before, during))
    defined = first.any(axis=0) & second.any(axis=0)
    correlation: np.ndarray = np.where(defined, (first * second).sum(axis=0), np.nan)
    return correlation


def fractions(counts: list[int], n: int, confidence: float) -> dict[str, tuple[str, np.ndarray]]:
    """Variables with the fractions `counts` / `n` and their Wilson intervals (1927, JASA 22:209)."""
    intervals = [
        binomtest(count, n).proportion_ci(confidence, method="wilson") if n else (float("nan"), float("nan"))
        for count in counts
    ]
    low, high = np.array([tuple(interval) for interval in intervals]).T
    return {
        "fraction": ("motif", np.array(counts) / max(n, 1)),
        "fraction_low": ("motif", low),
        "fraction_high": ("motif", high),
    }


def unit_coords(rates: xr.DataArray) -> dict[str, Any]:
    """The names of units, where they have any."""
    return {"unit": rates["unit"]} if "unit" in rates.coords else {}
