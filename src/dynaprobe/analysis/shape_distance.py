"""Distance between the shapes that two populations trace out, after the best rotation of one onto the other.

Both shapes are first centred and brought to size 1, so that neither mean nor gain counts, and any rotation of
either population leaves the distance as it is. Both distances are metrics: three populations obey the triangle
inequality, so a matrix of them can be embedded and clustered (Williams et al. 2021, NeurIPS 34:4738).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynaprobe.analysis.matrix import (
    MOST_FOLDS,
    ConditionMean,
    centred_values,
    check_at_least,
    check_matched,
    condition_folds,
    one_thread,
    psth_values,
)
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.subspace import RANK_TOLERANCE
from dynaprobe.core.errors import SettingsError


@dataclass(frozen=True)
class ShapeDistance(Result):
    """Distances of two shapes.

    Variables of `data`:
        cosine: of the two shapes after the best rotation, 0 to 1.
        procrustes_distance: ``sqrt(2 - 2 cosine)``, 0 to 1.41.
        angular_distance: ``arccos(cosine)`` in radians, 0 to half pi.
        rotation (unit_a, unit_b): the map Q of the second shape onto the first, ``Y Q'`` near ``X``; a partial
            isometry where numbers of units differ.
        cosine_held_out: the same of conditions that had no part in finding the rotation, -1 to 1.
        angular_distance_held_out: its arc cosine, 0 to pi; half pi for shapes that have nothing in common.
    """


@dataclass(frozen=True)
class PreparedShape:
    """One population as a shape.

    Attributes:
        values: rates in double precision.
        alpha: 1 for no whitening, 0 for full.
        condition_mean: whether the mean over conditions is removed.
    """

    values: Float[np.ndarray, "condition time unit"]
    alpha: float
    condition_mean: str

    @property
    def n_folds(self) -> int:
        """One condition is left out at a time, or every tenth."""
        return min(int(self.values.shape[0]), MOST_FOLDS)

    @cached_property
    def rows(self) -> Float[np.ndarray, "row unit"]:
        """The shape of all conditions, centred, of size 1; all 0 for a population that does not vary."""
        size = self._partly_white(self.values)[0]
        length = float(np.linalg.norm(size))
        return size.reshape(-1, size.shape[-1]) / (length or 1.0)

    @cached_property
    def folds(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """For every fold: rows of the conditions kept, of size 1, and of those left out on the same scale."""
        found = []
        for left_out in condition_folds(self.values.shape[0], self.n_folds):
            train, mean, mix = self._partly_white(np.delete(self.values, left_out, axis=0))
            test = (self.values[left_out] - mean) @ mix
            size = float(np.linalg.norm(train)) or 1.0
            found.append((train.reshape(-1, train.shape[-1]) / size, test.reshape(-1, test.shape[-1]) / size))
        return found

    def _partly_white(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Centred and partly whitened values, the mean removed, and the matrix ``(unit, unit)`` applied."""
        mean = values.mean(axis=0) if self.condition_mean == "subtract" else values.mean(axis=(0, 1))
        centred = values - mean
        # Centring a constant leaves round-off of the size of the constant, which is no shape.
        if np.abs(centred).max() <= RANK_TOLERANCE * np.abs(values).max():
            centred = np.zeros_like(centred)
        n_units = values.shape[-1]
        if self.alpha == 1:
            return centred, mean, np.eye(n_units)
        rows = centred.reshape(-1, n_units)
        power, axes = np.linalg.eigh(rows.T @ rows)
        held = power > RANK_TOLERANCE * max(float(power[-1]), 0.0)
        if not held.any():
            return centred, mean, np.eye(n_units)
        # In units of the mean variance, so that the mixture does not depend on the gain of the population.
        white = axes[:, held] * np.sqrt(power[held].mean() / power[held]) @ axes[:, held].T
        mix = self.alpha * np.eye(n_units) + (1 - self.alpha) * white
        return centred @ mix, mean, mix


@one_thread
def shape_distance(
    a: xr.DataArray, b: xr.DataArray, *, alpha: float = 1.0, condition_mean: ConditionMean = "subtract"
) -> ShapeDistance:
    """Procrustes and angular distance of two populations with matched conditions and times.

    ``X Z / |X Z|`` is the shape of one side, with X ``(row, unit)`` its centred rows (condition x time),
    ``Z = alpha I + (1 - alpha) (X'X / s)^(-1/2)`` and s the mean eigenvalue of X'X that is not zero; likewise Y.
    Over orthogonal Q, with zeros for the units that the smaller side lacks,
    ``cosine = max_Q tr((X Z)' (Y Z) Q)`` is the sum of singular values of the product of the two shapes. alpha = 1
    is the Procrustes distance; alpha = 0 whitens fully, and cosine is then the mean canonical correlation where
    both sides have the same number of dimensions.

    Held out: for each condition in turn (every tenth, where there are more than ten), mean, whitening, size and Q
    come from the others; ``sum <x, y Q'> / sqrt(sum |x|^2 sum |y|^2)`` over the conditions left out.

    Args:
        a, b: rates with dims ``(condition, time, unit)``; units need not match.
        alpha: between 0 (fully whitened) and 1 (not).
        condition_mean: "subtract" removes the mean over conditions at each time and unit, so that a time course
            shared by all conditions does not count as likeness; "keep" removes only the mean over rows.

    Raises:
        RatesError: when conditions or times do not match, or a side is constant.
        SettingsError: when there are fewer than 3 conditions, or `alpha` is outside 0 to 1.

    Source: Williams, Kunz, Kornblith & Linderman 2021, NeurIPS 34:4738.
    """
    check_matched(a, b, names=("a", "b"))
    if not 0 <= alpha <= 1:
        raise SettingsError(
            "alpha", rule="lie between 0 and 1", received=alpha, remedy="Give 1 for Procrustes, 0 to whiten fully"
        )
    first, second = (
        prepare_shape(side, alpha=alpha, condition_mean=condition_mean, name=name)
        for name, side in (("a", a), ("b", b))
    )
    rotation, cosine = best_rotation(first.rows.T @ second.rows)
    cosine, held_out = min(cosine, 1.0), _held_out_cosine(first, second)
    data = xr.Dataset(
        {
            "cosine": cosine,
            "procrustes_distance": np.sqrt(2 - 2 * cosine),
            "angular_distance": ((), np.arccos(cosine), {"units": "rad"}),
            "rotation": (("unit_a", "unit_b"), rotation),
            "cosine_held_out": held_out,
            "angular_distance_held_out": ((), np.arccos(held_out), {"units": "rad"}),
        }
    )
    return ShapeDistance(data, {"alpha": alpha, "condition_mean": condition_mean})


def prepare_shape(
    rates: xr.DataArray,
    *,
    alpha: float = 1.0,
    condition_mean: ConditionMean = "subtract",
    name: str = "rates",
) -> PreparedShape:
    """One side of a `shape_distance`, checked."""
    values = psth_values(rates, name)
    check_at_least("number of conditions", values.shape[0], 3)
    centred_values(rates, condition_mean, name=name)
    return PreparedShape(values, alpha, condition_mean)


def compare_procrustes(a: PreparedShape, b: PreparedShape) -> float:
    """The Procrustes distance of two prepared sides."""
    return float(np.sqrt(2 - 2 * _cosine(a, b)))


def compare_angular(a: PreparedShape, b: PreparedShape) -> float:
    """The angular distance of two prepared sides."""
    return float(np.arccos(_cosine(a, b)))


def compare_angular_held_out(a: PreparedShape, b: PreparedShape) -> float:
    """The held-out angular distance of two prepared sides."""
    return float(np.arccos(_held_out_cosine(a, b)))


def best_rotation(product: Float[np.ndarray, "i j"]) -> tuple[Float[np.ndarray, "i j"], float]:
    """The Q that maximises ``tr(product' Q)`` and this maximum, the sum of singular values.

    Directions that the product does not reach are left out of Q: any choice there would be arbitrary.
    """
    left, singular, right = np.linalg.svd(product, full_matrices=False)
    n = int((singular > RANK_TOLERANCE * singular[0]).sum()) if singular[0] > 0 else 0
    return left[:, :n] @ right[:n], float(singular.sum())


def _cosine(a: PreparedShape, b: PreparedShape) -> float:
    return min(float(np.linalg.svd(a.rows.T @ b.rows, compute_uv=False).sum()), 1.0)


def _held_out_cosine(a: PreparedShape, b: PreparedShape) -> float:
    product = power_a = power_b = 0.0
    for (train_a, test_a), (train_b, test_b) in zip(a.folds, b.folds, strict=True):
        rotation, _ = best_rotation(train_a.T @ train_b)
        product += float(((test_a.T @ test_b) * rotation).sum())
        power_a += float((test_a**2).sum())
        power_b += float((test_b**2).sum())
    power = np.sqrt(power_a * power_b)
    # Where nothing is left to compare, shapes have nothing in common.
    return float(np.clip(product / power, -1, 1)) if power > 0 else 0.0
