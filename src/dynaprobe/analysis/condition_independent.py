"""How much of the activity is the same in every condition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynaprobe.analysis.result import Result
from dynaprobe.analysis.subspace import coords_along
from dynaprobe.core.errors import RatesError
from dynaprobe.core.random import generator
from dynaprobe.core.rates import check_rates


@dataclass(frozen=True)
class ConditionIndependentResult(Result):
    """Share of the variance that the cross-condition mean carries.

    Variables of `data`:
        fraction: the share over all units together.
        unit_fraction ``(unit,)``: the share in each unit; NaN where a unit does not vary.
        chance: ``1 / n_conditions``, what independent noise alone would give.
        unbiased_fraction, unbiased_unit_fraction ``(unit,)``: the same without the part of the estimation noise;
            present where a standard error was given. Not clipped: noise can carry it out of [0, 1]. NaN
            where no variance is left.
        null_fraction ``(draw,)``, p_value: shares with the time courses of the conditions shifted against each
            other, and ``(1 + #{null >= fraction}) / (1 + n_null)``; present where ``n_null > 0``.
    """


def condition_independent_fraction(
    rates: xr.DataArray,
    standard_error: xr.DataArray | None = None,
    *,
    kernel_sd_ms: float = 0.0,
    n_null: int = 0,
    seed: int = 0,
) -> ConditionIndependentResult:
    """Share of variance carried by the mean over conditions.

    ``x = r - mean_{c, t} r`` per unit; ``fraction = sum_{t, u} (mean_c x)^2 / (sum_{c, t, u} x^2 / K)`` with K
    conditions. Hand in rates from which no cross-condition mean was removed; soft-normalise them first when
    strong units should not rule.

    Bias: noise that is independent between conditions adds ``mean_c se^2 / K`` to every squared mean and ``se^2``
    to every squared rate, so the share is pulled towards 1/K. With `standard_error` both sums, and what the
    removal of the unit's mean takes from each, are corrected to be unbiased. The variance of that mean depends
    on how alike the noise of neighbouring bins is: ``exp(-(t - t')^2 / (4 s^2))`` for spikes smoothed with a
    Gaussian of sd s.

    Args:
        rates: dims ``(condition, time, unit)``, at least two conditions.
        standard_error: of the same dims and unit; the standard error of every rate over trials.
        kernel_sd_ms: s in ms; 0 when bins are independent.
        n_null: draws of a null in which every condition is shifted in time by its own amount (circularly,
            the same for all units), which keeps tuning and time scale but breaks what conditions share in time.
        seed: of the shifts.

    Raises:
        RatesError: rates or standard error outside the schema or of different shape, one condition only,
            rates that do not vary, negative settings.

    Source: Kaufman et al. (2016), eNeuro 3(4); the corrections follow from the equations above.
    """
    check_rates(rates, dims=("condition", "time", "unit"))
    _check_request(rates, kernel_sd_ms, n_null)
    x = rates.values.astype(np.float64)
    shared, total = _variances(x)
    moves = total > (1e-12 * np.abs(x).max()) ** 2
    if not moves.any():
        raise RatesError(
            "rates",
            rule="vary over conditions or times",
            received="the same value everywhere in every unit",
            remedy="Check the window and the preprocessing",
        )
    found: dict[str, Any] = {
        "fraction": float(shared.sum() / total.sum()),
        "unit_fraction": (("unit",), _ratio(shared, total, moves)),
        "chance": 1.0 / rates.sizes["condition"],
    }
    failures = {"unit that does not vary": int((~moves).sum())}
    if standard_error is not None:
        noise = _noise_variances(_checked_error(standard_error, rates), rates, kernel_sd_ms)
        clean_shared, clean_total = shared - noise[0], total - noise[1]
        left = clean_total > 0
        found["unbiased_fraction"] = float(_ratio(clean_shared.sum(), clean_total.sum(), clean_total.sum() > 0))
        found["unbiased_unit_fraction"] = (("unit",), _ratio(clean_shared, clean_total, left))
        failures["unit with no more variance than its noise"] = int((moves & ~left).sum())
    if n_null:
        null = _null_fractions(x, n_null, seed)
        found["null_fraction"] = (("draw",), null)
        found["p_value"] = (1 + int((null >= found["fraction"]).sum())) / (1 + n_null)
    data = xr.Dataset(found, coords=coords_along(rates, "unit"), attrs=dict(rates.attrs))
    settings: Mapping[str, Any] = {"kernel_sd_ms": kernel_sd_ms, "n_null": n_null, "seed": seed}
    return ConditionIndependentResult(data, settings, {reason: n for reason, n in failures.items() if n})


def _variances(
    x: Float[np.ndarray, "condition time unit"],
) -> tuple[Float[np.ndarray, " unit"], Float[np.ndarray, " unit"]]:
    """Variance of the cross-condition mean and of everything, per unit, both about the unit's mean."""
    centred = x - x.mean(axis=(0, 1))
    return (centred.mean(axis=0) ** 2).mean(axis=0), (centred**2).mean(axis=(0, 1))


def _noise_variances(se: np.ndarray, rates: xr.DataArray, kernel_sd_ms: float) -> tuple[np.ndarray, np.ndarray]:
    """What noise adds to both results of `_variances` in expectation."""
    n_conditions, n_times, _ = se.shape
    time_ms = np.asarray(rates["time"].values)
    alike = np.eye(n_times)
    if kernel_sd_ms > 0:
        alike = np.exp(-((time_ms[:, None] - time_ms) ** 2) / (4 * kernel_sd_ms**2))
        if "segment" in rates.coords:
            # Alignments may share spikes, but at lags that vary from trial to trial: taken as independent.
            segment = np.asarray(rates["segment"].values)
            alike = alike * (segment[:, None] == segment)
    of_grand_mean = np.einsum("ctu,ts,csu->u", se, alike, se, optimize=True) / (n_conditions * n_times) ** 2
    of_rates = (se**2).mean(axis=(0, 1))
    return of_rates / n_conditions - of_grand_mean, of_rates - of_grand_mean


def _null_fractions(x: np.ndarray, n_null: int, seed: int) -> np.ndarray:
    random = generator(seed, "analysis", "condition_independent", "null")
    n_conditions, n_times, _ = x.shape
    fractions = np.empty(n_null)
    for draw in range(n_null):
        shifts = random.integers(n_times, size=(n_conditions, 1))
        index = (np.arange(n_times) + shifts) % n_times
        shared, total = _variances(np.take_along_axis(x, index[:, :, None], axis=1))
        fractions[draw] = shared.sum() / total.sum()
    return fractions


def _ratio(above: np.ndarray, below: np.ndarray, where: np.ndarray) -> np.ndarray:
    share: np.ndarray = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=where)
    return share


def _checked_error(standard_error: xr.DataArray, rates: xr.DataArray) -> Float[np.ndarray, "condition time unit"]:
    check_rates(standard_error, dims=("condition", "time", "unit"), name="standard_error")
    if standard_error.shape != rates.shape or (standard_error.values < 0).any():
        raise RatesError(
            "standard_error",
            rule=f"be of the shape of the rates, {rates.shape}, and nowhere negative",
            received=f"shape {standard_error.shape}, smallest value {float(standard_error.min()):g}",
            remedy="Give the standard error over trials of exactly these rates, in the same unit",
        )
    error: Float[np.ndarray, "condition time unit"] = standard_error.values.astype(np.float64)
    return error


def _check_request(rates: xr.DataArray, kernel_sd_ms: float, n_null: int) -> None:
    if rates.sizes["condition"] < 2:
        raise RatesError(
            "rates.condition",
            rule="have at least 2 entries",
            received=rates.sizes["condition"],
            remedy="With one condition everything is condition-independent; give the others",
        )
    for name, value in (("kernel_sd_ms", kernel_sd_ms), ("n_null", n_null)):
        if value < 0:
            raise RatesError(name, rule="be 0 or more", received=value, remedy="Use 0 for none")
