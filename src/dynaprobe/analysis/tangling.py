"""Tangling: do similar population states ever lead in different directions?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynaprobe.analysis.matrix import check_at_least, one_thread, psth_values
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.subspace import coords_along
from dynaprobe.analysis.surrogate_families import check_families, family_draws
from dynaprobe.analysis.trajectory_pairs import check_fraction, largest_ratio, leading_scores, leading_states
from dynaprobe.core.errors import RatesError
from dynaprobe.core.preprocess import segment_slices
from dynaprobe.core.rates import bin_width_ms


@dataclass(frozen=True)
class TanglingResult(Result):
    """Tangling of population trajectories.

    Variables of `data`:
        tangling ``(condition, time)``: Q in 1/s^2; NaN at the first bin of every segment, which has no derivative.
        mean_tangling, high_tangling: mean of Q, and its quantile at the setting ``quantile``.
        eps: the constant, in the square of the unit of the rates.
        n_dims, pcs_fraction: number of principal components and their share of the variance.
        null_mean, null_high ``(draw,)``: the same of surrogates; with ``n_surrogates > 0``.
        p_mean, p_high: less tangled than surrogates, ``(1 + #{null <= measured}) / (1 + n_surrogates)``.
    """


@one_thread
def tangling(
    rates: xr.DataArray,
    *,
    n_pcs: int = 8,
    eps_fraction: float = 0.1,
    quantile: float = 0.9,
    family: str = "TNC",
    n_surrogates: int = 0,
    seed: int = 0,
) -> TanglingResult:
    """Trajectory tangling.

    ``Q(t) = max over t' of |dx_t - dx_t'|^2 / (|x_t - x_t'|^2 + eps)`` over all conditions and times t', with x
    the leading principal components, ``dx_t = (x_t - x_{t-1}) / dt`` within condition and segment, and
    ``eps = eps_fraction * mean over t of |x_t|^2`` about the mean state. Low tangling means that the state alone
    could decide where activity goes next, as it must where dynamics without changing inputs drive it; activity
    that inputs drive may be tangled.

    The null draws surrogates of the rates, which keep how smooth they are and how units vary together, and
    analyses each of them in the same way. Noise of the estimate makes Q larger.

    Args:
        rates: dims ``(condition, time, unit)``; normalise units first when strong ones should not rule. The mean
            over conditions stays in unless the caller removed it.
        n_pcs: components; all where the rates have fewer dimensions.
        eps_fraction: eps as a fraction of the variance of x.
        quantile: which quantile of Q sums up the high end.
        family: what surrogates keep, of `dynaprobe.analysis.surrogate_families.FAMILIES`.
        n_surrogates: draws; 0 for none.
        seed: of the draws.

    Raises:
        RatesError: rates outside the schema or constant, segments of a single bin, settings out of range.
        SettingsError: an unknown family.

    Source: Russo et al. (2018), Neuron 97:953.
    """
    check_fraction("eps_fraction", eps_fraction)
    check_families([family])
    check_at_least("n_surrogates", n_surrogates, 0)
    _check_quantile(quantile)
    X, variance = leading_states(psth_values(rates), n_pcs)
    parts = segment_slices(rates)
    moving = _moving_bins(rates, parts)
    dt_s = bin_width_ms(rates) * 1e-3
    eps = eps_fraction * float((X**2).sum(axis=-1).mean())
    Q = np.full(X.shape[:2], np.nan)
    Q[:, moving] = _tangling(X, moving, dt_s, eps_fraction)
    data: dict[str, Any] = {
        "tangling": (("condition", "time"), Q, {"units": "1/s^2"}),
        "mean_tangling": ((), float(np.nanmean(Q)), {"units": "1/s^2"}),
        "high_tangling": ((), float(np.nanquantile(Q, quantile)), {"units": "1/s^2"}),
        "eps": eps,
        "n_dims": X.shape[-1],
        "pcs_fraction": float(variance[: X.shape[-1]].sum() / variance.sum()),
    }
    if n_surrogates:
        draws = family_draws(rates, family, n_surrogates, seed=seed)
        null = np.empty((2, n_surrogates))
        for k, values in enumerate(draws.values):
            scores = leading_scores(values, n_pcs)
            found = _tangling(scores, moving, dt_s, eps_fraction)
            null[:, k] = found.mean(), np.quantile(found, quantile)
        for name, row in zip(("mean", "high"), null, strict=True):
            measured = data[f"{name}_tangling"][1]
            data[f"null_{name}"] = (("draw",), row, {"units": "1/s^2"})
            data[f"p_{name}"] = (1 + int((row <= measured).sum())) / (1 + n_surrogates)
    settings: dict[str, Any] = {"n_pcs": n_pcs, "eps_fraction": eps_fraction, "quantile": quantile}
    settings |= {"family": family, "n_surrogates": n_surrogates, "seed": seed}
    dataset = xr.Dataset(data, coords=coords_along(rates, "condition", "time"), attrs=dict(rates.attrs))
    return TanglingResult(dataset, settings)


def _tangling(
    X: Float[np.ndarray, "condition time k"], moving: np.ndarray, dt_s: float, eps_fraction: float
) -> Float[np.ndarray, "condition moving"]:
    velocity = (X[:, moving] - X[:, moving - 1]) / dt_s
    k = X.shape[-1]
    eps = eps_fraction * float((X**2).sum(axis=-1).mean())
    Q = largest_ratio(velocity.reshape(-1, k), X[:, moving].reshape(-1, k), eps)
    return Q.reshape(velocity.shape[:2])


def _moving_bins(rates: xr.DataArray, parts: list[slice]) -> np.ndarray:
    """The bins that have one before them in their segment."""
    moving = np.concatenate([np.arange(part.start + 1, part.stop) for part in parts])
    if not moving.size:
        raise RatesError(
            "rates.time",
            rule="have at least two bins in a segment",
            received=rates.sizes["time"],
            remedy="Choose a longer window: a derivative needs two bins",
        )
    return moving


def _check_quantile(quantile: float) -> None:
    if not 0 < quantile < 1:
        raise RatesError("quantile", rule="lie in (0, 1)", received=quantile, remedy="0.9 is customary")
