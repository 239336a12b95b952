"""Angles between the subspaces that two populations move in: of units, of time courses, of condition profiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.linalg import subspace_angles

from dynaprobe.analysis.matrix import (
    ConditionMean,
    centred_values,
    check_choice,
    check_matched,
    one_thread,
)
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.subspace import fix_signs, numerical_rank
from dynaprobe.core.errors import RatesError, SettingsError

Mode = Literal["unit", "time", "condition"]
AXIS = {"condition": 0, "time": 1, "unit": 2}


@dataclass(frozen=True)
class PrincipalAngles(Result):
    """Principal angles of two subspaces of one space.

    Variables of `data`:
        angles_deg (angle): smallest first, 0 to 90.
        overlap: mean squared cosine, 1 for equal subspaces, 0 for orthogonal ones.
        overlap_chance: its mean for subspaces placed at random in the space: d over the dimensions of the space.
        captured_a, captured_b: fraction of the variance of each side that its subspace holds.
        axes_a, axes_b (axis, position): orthonormal axes of the subspaces along units, bins or conditions.
    """


@one_thread
def principal_angles(
    a: xr.DataArray,
    b: xr.DataArray,
    *,
    mode: Mode,
    n_dims: int = 4,
    condition_mean: ConditionMean = "subtract",
) -> PrincipalAngles:
    """Principal angles between the leading subspaces of two populations along one axis of the data.

    With the rates unfolded into a matrix whose columns run along `mode` and U ``(d, size)`` its leading right
    singular vectors, ``cos(theta_k)`` are the singular values of ``U_a U_b'``. What is compared depends on `mode`:

    - "unit": in which mixtures of units the activity lies. Both sides are the same units, for example in two
      epochs or sessions; conditions and times need not match. `dynaprobe.analysis.alignment` gives this case a
      chance level that knows the covariance of the units.
    - "time": along which time courses, and "condition": along which profiles over conditions. Units may differ;
      conditions and times match. Surrogates that keep the covariance over time (or conditions) keep these
      subspaces with it, so a floor for them leaves it out: ``keep="NC"`` for time, ``keep="TN"`` for conditions.

    Args:
        a, b: rates with dims ``(condition, time, unit)``.
        mode: the axis.
        n_dims: d, dimensions of each subspace.
        condition_mean: "subtract" removes the mean over conditions at each time and unit; "keep" removes only the
            mean over conditions and times.

    Raises:
        RatesError: when the sides do not match as the mode asks, or a side is constant.
        SettingsError: when a side has fewer than `n_dims` dimensions.

    Source: Björck & Golub 1973, Math. Comput. 27:579; modes of a tensor as in Seely et al. 2016, PLoS Comput.
        Biol. 12:e1005164.
    """
    check_choice("mode", mode, tuple(AXIS))
    if mode == "unit":
        _check_same_units(a, b)
    else:
        check_matched(a, b, names=("a", "b"))
    first, second = (
        leading_axes(side, mode, n_dims, condition_mean=condition_mean, name=name)
        for name, side in (("a", a), ("b", b))
    )
    size = a.sizes[mode]
    # The mean that was removed takes one dimension from the profiles over conditions.
    n_free = size - 1 if mode == "condition" and condition_mean == "subtract" else size
    angles = np.degrees(subspace_angles(first[0].T, second[0].T))[::-1]
    data = xr.Dataset(
        {
            "angles_deg": ("angle", angles, {"units": "degree"}),
            "overlap": compare_axes(first[0], second[0]),
            "overlap_chance": n_dims / n_free,
            "captured_a": first[1],
            "captured_b": second[1],
            "axes_a": (("axis", "position"), first[0]),
            "axes_b": (("axis", "position"), second[0]),
        }
    )
    return PrincipalAngles(data, {"mode": mode, "n_dims": n_dims, "condition_mean": condition_mean})


def leading_axes(
    rates: xr.DataArray,
    mode: Mode,
    n_dims: int | None,
    *,
    condition_mean: ConditionMean = "subtract",
    name: str = "rates",
) -> tuple[Float[np.ndarray, "axis position"], float]:
    """Leading axes along a mode and the fraction of variance they hold; None takes 4 or as many as there are."""
    values = centred_values(rates, condition_mean, name=name)
    flat = np.moveaxis(values, AXIS[mode], -1).reshape(-1, values.shape[AXIS[mode]])
    _, singular, axes = np.linalg.svd(flat, full_matrices=False)
    rank = numerical_rank(singular**2)
    n = min(4, rank) if n_dims is None else n_dims
    if not 1 <= n <= rank:
        raise SettingsError(
            "n_dims",
            rule=f"lie between 1 and {rank}, the dimensions of {name} along {mode}",
            received=n,
            remedy="Ask for fewer",
        )
    return fix_signs(axes[:n]), float((singular[:n] ** 2).sum() / (singular**2).sum())


def prepare_time_axes(rates: xr.DataArray) -> Float[np.ndarray, "axis position"]:
    """The four leading time courses, or as many as there are."""
    return leading_axes(rates, "time", None)[0]


def prepare_condition_axes(rates: xr.DataArray) -> Float[np.ndarray, "axis position"]:
    """The four leading profiles over conditions, or as many as there are."""
    return leading_axes(rates, "condition", None)[0]


def compare_axes(a: Float[np.ndarray, "i position"], b: Float[np.ndarray, "j position"]) -> float:
    """Mean squared cosine over the dimensions of the smaller subspace."""
    return float(((a @ b.T) ** 2).sum() / min(a.shape[0], b.shape[0]))


def _check_same_units(a: xr.DataArray, b: xr.DataArray) -> None:
    same = a.sizes.get("unit") == b.sizes.get("unit")
    if same and "unit" in a.coords and "unit" in b.coords:
        same = bool((a["unit"].values == b["unit"].values).all())
    if not same:
        raise RatesError(
            "b",
            rule="hold the units of a in the same order for mode unit",
            received=f"{b.sizes.get('unit')} units against {a.sizes.get('unit')}",
            remedy="Take both from the same units, or compare along time or condition",
        )
