"""Trajectory divergence: do population states that are alike now ever lie far apart a little later?"""

from __future__ import annotations

from collections.abc import Sequence
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

Pairs = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class DivergenceResult(Result):
    """Divergence of population trajectories.

    Variables of `data`:
        divergence ``(horizon, condition, time)``: D, without unit; NaN where the horizon leaves the segment.
            ``horizon`` is a coordinate in ms.
        largest_divergence ``(condition, time)``: the largest over horizons.
        mean_divergence ``(horizon,)``: mean over conditions and times.
        alpha: the constant, in the square of the unit of the rates.
        n_dims, pcs_fraction: number of principal components and their share of the variance.
        null_mean ``(horizon, draw)``: `mean_divergence` of surrogates; with ``n_surrogates > 0``.
        p_mean ``(horizon,)``: less divergent than surrogates, ``(1 + #{null <= measured}) / (1 + n_surrogates)``.
    """


@one_thread
def divergence(
    rates: xr.DataArray,
    *,
    horizons_ms: Sequence[float] = (50.0, 100.0, 200.0),
    n_pcs: int = 8,
    alpha_fraction: float = 0.01,
    family: str = "TNC",
    n_surrogates: int = 0,
    seed: int = 0,
) -> DivergenceResult:
    """Trajectory divergence at given horizons h.

    ``D_h(t) = max over t' of |x_{t+h} - x_{t'+h}|^2 / (|x_t - x_t'|^2 + alpha)`` over all conditions and times t'
    whose future ``t' + h`` lies in the same segment, with x the leading principal components and
    ``alpha = alpha_fraction * mean over t of |x_t|^2`` about the mean state. Low divergence means that
    moments with different futures are already apart, as they must be where activity keeps track of what comes.
    Horizons and the fraction are our choice; the paper also takes the maximum over horizons, which is kept too.

    Args:
        rates: dims ``(condition, time, unit)``; see `dynaprobe.analysis.tangling.tangling`.
        horizons_ms: h, each rounded to whole bins.
        n_pcs: components; all where the rates have fewer dimensions.
        alpha_fraction: alpha as a fraction of the variance of x.
        family: what surrogates keep, of `dynaprobe.analysis.surrogate_families.FAMILIES`.
        n_surrogates: draws; 0 for none.
        seed: of the draws.

    Raises:
        RatesError: rates outside the schema or constant, a horizon that is no bin or longer than every segment,
            settings out of range.
        SettingsError: an unknown family.

    Source: Russo et al. (2020), Neuron 107:745.
    """
    check_fraction("alpha_fraction", alpha_fraction)
    check_families([family])
    check_at_least("n_surrogates", n_surrogates, 0)
    if not len(horizons_ms):
        raise RatesError(
            "horizons_ms", rule="name at least one horizon", received="none", remedy="Give times in ms"
        )
    X, variance = leading_states(psth_values(rates), n_pcs)
    pairs = [_bins_with_future(rates, horizon) for horizon in horizons_ms]
    D = np.full((len(pairs), *X.shape[:2]), np.nan)
    for k, found in enumerate(_divergences(X, pairs, alpha_fraction)):
        D[k][:, pairs[k][0]] = found
    mean = np.nanmean(D, axis=(1, 2))
    data: dict[str, Any] = {
        "divergence": (("horizon", "condition", "time"), D),
        # The last bins have no future at any horizon.
        "largest_divergence": (("condition", "time"), np.fmax.reduce(D, axis=0)),
        "mean_divergence": (("horizon",), mean),
        "alpha": alpha_fraction * float((X**2).sum(axis=-1).mean()),
        "n_dims": X.shape[-1],
        "pcs_fraction": float(variance[: X.shape[-1]].sum() / variance.sum()),
    }
    if n_surrogates:
        draws = family_draws(rates, family, n_surrogates, seed=seed)
        null = np.empty((len(pairs), n_surrogates))
        for k, values in enumerate(draws.values):
            scores = leading_scores(values, n_pcs)
            null[:, k] = [found.mean() for found in _divergences(scores, pairs, alpha_fraction)]
        data["null_mean"] = (("horizon", "draw"), null)
        below = (null <= mean[:, None]).sum(axis=1)
        data["p_mean"] = (("horizon",), (1 + below) / (1 + n_surrogates))
    coords = {
        **coords_along(rates, "condition", "time"),
        "horizon": ("horizon", list(horizons_ms), {"units": "ms"}),
    }
    settings = {"horizons_ms": list(horizons_ms), "n_pcs": n_pcs, "alpha_fraction": alpha_fraction}
    settings |= {"family": family, "n_surrogates": n_surrogates, "seed": seed}
    return DivergenceResult(xr.Dataset(data, coords=coords, attrs=dict(rates.attrs)), settings)


def _divergences(
    X: Float[np.ndarray, "condition time k"], pairs: Sequence[Pairs], alpha_fraction: float
) -> list[Float[np.ndarray, "condition now"]]:
    k = X.shape[-1]
    alpha = alpha_fraction * float((X**2).sum(axis=-1).mean())
    return [
        largest_ratio(X[:, later].reshape(-1, k), X[:, now].reshape(-1, k), alpha).reshape(-1, now.size)
        for now, later in pairs
    ]


def _bins_with_future(rates: xr.DataArray, horizon_ms: float) -> Pairs:
    """The bins whose future at this horizon lies in their segment, and that future."""
    dt_ms = bin_width_ms(rates)
    shift = round(horizon_ms / dt_ms) if np.isfinite(horizon_ms) else 0
    now = np.concatenate(
        [np.arange(part.start, max(part.start, part.stop - shift)) for part in segment_slices(rates)]
    )
    if shift < 1 or not now.size:
        raise RatesError(
            "horizons_ms",
            rule=f"be at least a bin of {dt_ms:g} ms and shorter than the longest segment",
            received=horizon_ms,
            remedy="Choose horizons inside the window",
        )
    return now, now + shift
