"""Linear algebra that several analyses share, on plain float64 arrays."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Literal, ParamSpec, TypeVar

import numpy as np
import xarray as xr
from jaxtyping import Float
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from dynaprobe.analysis.subspace import RANK_TOLERANCE
from dynaprobe.core.errors import RatesError, SettingsError
from dynaprobe.core.rates import check_rates

P = ParamSpec("P")
T = TypeVar("T")
ConditionMean = Literal["subtract", "keep"]
PSTH_DIMS = ("condition", "time", "unit")
# Measures leave out one condition at a time up to this number, and every tenth beyond it.
MOST_FOLDS = 10


def one_thread(function: Callable[P, T]) -> Callable[P, T]:
    """Run a function of many small matrix products on one thread of the numerical libraries.

    Threads that wait for one another cost far more than products of this size: on a busy machine of two cores,
    the surrogates of `cca_with_bounds` took seventy times as long with two threads as with one.
    """

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> T:
        with threadpool_limits(limits=1):
            return function(*args, **kwargs)

    return limited


def psth_values(rates: xr.DataArray, name: str = "rates") -> Float[np.ndarray, "condition time unit"]:
    """The values of condition-averaged rates in double precision, after the check of the schema."""
    check_rates(rates, dims=PSTH_DIMS, name=name)
    return np.asarray(rates.values, dtype=np.float64)


def centred_values(
    rates: xr.DataArray, condition_mean: ConditionMean, *, name: str = "rates"
) -> Float[np.ndarray, "condition time unit"]:
    """The values about a mean: over conditions at each time ("subtract"), or over conditions and times ("keep").

    Raises:
        RatesError: when nothing is left, which round-off may hide.
    """
    check_choice("condition_mean", condition_mean, ("subtract", "keep"))
    values = psth_values(rates, name)
    centred: Float[np.ndarray, "condition time unit"] = values - values.mean(
        axis=0 if condition_mean == "subtract" else (0, 1)
    )
    if np.abs(centred).max() <= RANK_TOLERANCE * np.abs(values).max():
        raise RatesError(
            name,
            rule="vary over conditions" if condition_mean == "subtract" else "vary over conditions or times",
            received="the same in all",
            remedy="Check the window and the preprocessing: nothing is left to compare",
        )
    return centred


def check_matched(a: xr.DataArray, b: xr.DataArray, *, names: tuple[str, str]) -> None:
    """Check that two arrays hold the same conditions and times, so that their rows can be compared.

    Raises:
        RatesError: when the numbers of conditions or bins, the bin times or the segments differ.
    """
    for dim in ("condition", "time"):
        if a.sizes[dim] != b.sizes[dim]:
            raise RatesError(
                names[1],
                rule=f"have as many values along {dim} as {names[0]} ({a.sizes[dim]})",
                received=b.sizes[dim],
                remedy="Select the same conditions and cut the same windows with the same bins on both sides",
            )
    # Bin starts of two sources agree to round-off of their clocks, not to the bit.
    apart_ms = float(np.abs(a["time"].values - b["time"].values).max())
    if apart_ms > 0.5 * abs(float(a["time"].attrs.get("dt_ms", np.inf))):
        raise RatesError(
            f"{names[1]}.time",
            rule=f"lie within half a bin of the times of {names[0]}",
            received=f"a difference of {apart_ms:g} ms",
            remedy="Align both to the same event and cut the same window",
        )


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Check that a setting is one of a few words."""
    if value not in choices:
        raise SettingsError(name, rule=f"be one of {choices}", received=value, remedy="Choose one of these")


def check_at_least(name: str, value: int, least: int) -> None:
    """Check that a count is large enough."""
    if value < least:
        raise SettingsError(name, rule=f"be at least {least}", received=value, remedy="Give a larger number")


def condition_folds(n_conditions: int, n_folds: int | None) -> list[np.ndarray]:
    """Conditions left out in each fold: every n_folds-th, so that neighbours in a circle are spread over folds.

    None leaves out one condition at a time.

    Raises:
        SettingsError: when fewer than 2 conditions would be left for training.
    """
    # Two conditions must be left for training: with one, nothing remains after its mean is removed.
    check_at_least("number of conditions", n_conditions, 3)
    n = n_conditions if n_folds is None else n_folds
    if not 2 <= n <= n_conditions or n_conditions - -(-n_conditions // n) < 2:
        raise SettingsError(
            "n_folds",
            rule=f"lie between 2 and {n_conditions}, the number of conditions, and leave 2 for training",
            received=n,
            remedy="Leave it out to leave out one condition at a time",
        )
    return [np.arange(k, n_conditions, n) for k in range(n)]


def zscore_rows(
    values: Float[np.ndarray, "*draw condition time unit"],
) -> Float[np.ndarray, "*draw row unit"]:
    """Rows (condition x time) of every unit with mean 0 and Euclidean length 1; 0 for a unit that never changes.

    The product of two such matrices is the matrix of Pearson correlations.
    """
    rows = values.reshape(*values.shape[:-3], -1, values.shape[-1])
    centred = rows - rows.mean(axis=-2, keepdims=True)
    length = np.linalg.norm(centred, axis=-2, keepdims=True)
    # Centring a constant leaves round-off of the size of the constant, which is no signal.
    scale = np.linalg.norm(rows, axis=-2, keepdims=True)
    still = length <= RANK_TOLERANCE * scale
    unit_length: Float[np.ndarray, "*draw row unit"] = np.where(still, 0.0, centred) / np.where(still, 1.0, length)
    return unit_length
