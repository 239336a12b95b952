"""What the subspace analyses share: samples, principal axes, their signs, and how many of them are needed."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynaprobe.core.errors import RatesError

# Loadings this close to the largest one count as ties, so that round-off cannot choose between them.
TIE_TOLERANCE = 1e-9
# Axes with less than this fraction of the largest singular value are round-off, not data.
RANK_TOLERANCE = 1e-10


def samples(rates: xr.DataArray) -> Float[np.ndarray, "sample unit"]:
    """The rates in float64 as one row per condition and time, condition varying slowest."""
    values = np.asarray(rates.values, dtype=np.float64)
    return values.reshape(-1, values.shape[-1])


def fix_signs(axes: Float[np.ndarray, "*axes unit"]) -> Float[np.ndarray, "*axes unit"]:
    """Flip each axis so that its loading of largest magnitude is positive; of equal ones the first decides."""
    size = np.abs(axes)
    largest = size >= size.max(axis=-1, keepdims=True) * (1 - TIE_TOLERANCE)
    first = np.argmax(largest, axis=-1)[..., None]
    sign = np.where(np.take_along_axis(axes, first, axis=-1) < 0, -1.0, 1.0)
    return axes * sign


def principal_axes(
    centred: Float[np.ndarray, "sample unit"],
) -> tuple[Float[np.ndarray, "axis unit"], Float[np.ndarray, " axis"]]:
    """Principal axes of samples whose mean is already removed, and the variance along each, largest first.

    ``X = U S V^T``: the axes are the rows of ``V^T`` (orthonormal, signs as in `fix_signs`), the variances
    ``S^2 / n_samples``.
    """
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    return fix_signs(axes), singular**2 / centred.shape[0]


def numerical_rank(variances: Float[np.ndarray, " axis"]) -> int:
    """How many of the variances, given largest first, are more than round-off."""
    return int((variances > variances[0] * RANK_TOLERANCE**2).sum()) if variances[0] > 0 else 0


def n_for_fraction(variances: Float[np.ndarray, " axis"], threshold: float) -> int:
    """The smallest number of leading variances whose sum reaches `threshold` of the total.

    Raises:
        RatesError: when `threshold` is outside (0, 1].
    """
    if not 0 < threshold <= 1:
        raise RatesError(
            "threshold", rule="lie in (0, 1]", received=threshold, remedy="Give a fraction of variance, e.g. 0.9"
        )
    cumulative: Float[np.ndarray, " axis"] = np.cumsum(variances) / np.sum(variances)
    # Round-off may leave the last sum a hair below 1 (or below any round threshold).
    return int(np.argmax(cumulative >= threshold - TIE_TOLERANCE)) + 1


def coords_along(rates: xr.DataArray, *dims: str) -> dict[Hashable, xr.DataArray]:
    """The coordinates of `rates` that run along some of `dims` and along nothing else."""
    return {name: c for name, c in rates.coords.items() if c.dims and set(c.dims) <= set(dims)}


def check_varies(variances: Float[np.ndarray, " axis"], name: str = "rates") -> None:
    """Refuse data that are constant.

    Raises:
        RatesError: when no unit varies.
    """
    if numerical_rank(variances) == 0:
        raise RatesError(
            name,
            rule="vary over conditions or times",
            received="the same value everywhere in every unit",
            remedy="Check the window and the preprocessing: nothing is left to analyse",
        )
