"""Do rotations go beyond what simpler features of the rates give? jPCA on surrogates that keep those features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.linalg import eigh

from dynaprobe.analysis.jpca import JpcaResult, fit_free, fit_r2, fit_skew, steps_of, windowed_activity
from dynaprobe.analysis.matrix import check_at_least, one_thread
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.surrogate_families import FAMILIES, check_families, family_draws
from dynaprobe.analysis.surrogates import p_value_above

MEASURES = ("r2_skew", "r2_m", "ratio")


@dataclass(frozen=True)
class JpcaSurrogates(Result):
    """jPCA of the rates beside jPCA of surrogates.

    Variables of `data`; the dim ``family`` names what surrogates keep (see
        `dynaprobe.analysis.surrogate_families`): r2_skew, r2_m, ratio: of the rates, as in `JpcaResult`.
        null_r2_skew, null_r2_m, null_ratio ``(family, draw)``: of every surrogate.
        p_r2_skew, p_r2_m, p_ratio ``(family,)``: ``(1 + #{null >= measured}) / (1 + n_surrogates)``.
    """


@one_thread
def jpca_surrogates(
    rates: xr.DataArray,
    fit: JpcaResult,
    *,
    families: Sequence[str] = ("T", "TN", "TNC"),
    n_surrogates: int = 100,
    seed: int = 0,
) -> JpcaSurrogates:
    """Compare the fit of rotations with that on surrogates of the activity in the window.

    Surrogates are drawn of the tensor that jPCA works on: rates soft-normalised, without their mean over
    conditions, in the window. Every draw then goes the same way as the rates: its mean over conditions is removed,
    it is reduced to its own `n_pcs` principal components, and its changes are regressed on its states.

    Args:
        rates: what `jpca` was given, dims ``(condition, time, unit)``.
        fit: what it returned; its settings are used again.
        families: what surrogates keep, names from `dynaprobe.analysis.surrogate_families.FAMILIES`.
        n_surrogates: draws per family.
        seed: of the surrogates.

    Raises:
        RatesError: rates that `jpca` refuses.
        SettingsError: an unknown family, or no draws.

    Source: Elsayed & Cunningham (2017), Nature Neuroscience 20:1310.
    """
    check_families(families)
    check_at_least("n_surrogates", n_surrogates, 1)
    s = fit.settings
    activity = windowed_activity(
        rates,
        n_pcs=s["n_pcs"],
        span_ms=(s["start_ms"], s["stop_ms"]),
        event=s["event"],
        constant=s["constant"],
        fraction=s["fraction"],
    )
    null = np.empty((len(MEASURES), len(families), n_surrogates))
    failures: dict[str, int] = {}
    for k, family in enumerate(families):
        draws = family_draws(activity, family, n_surrogates, seed=seed)
        null[:, k] = np.transpose([rotation_fit(values, s["n_pcs"]) for values in draws.values])
        failures |= draws.failures
    found = {name: float(fit.data[name]) for name in MEASURES}
    data = xr.Dataset(found, coords={"family": list(families)}, attrs=dict(fit.data.attrs))
    for name, values in zip(MEASURES, null, strict=True):
        data[f"null_{name}"] = (("family", "draw"), values)
        data[f"p_{name}"] = ("family", [p_value_above(found[name], row) for row in values])
    kept = {name: FAMILIES[name] for name in families}
    settings = {**s, "families": kept, "n_surrogates": n_surrogates, "seed": seed}
    return JpcaSurrogates(data, settings, failures)


def rotation_fit(activity: Float[np.ndarray, "condition time unit"], n_pcs: int) -> tuple[float, float, float]:
    """R2 of the skew-symmetric and of the free fit, and their ratio, for rates of which nothing was removed."""
    centred = activity - activity.mean(axis=0)
    rows = centred.reshape(-1, centred.shape[-1])
    # The scores of the leading components by the smaller of the two matrices of products.
    gram = rows @ rows.T if rows.shape[0] <= rows.shape[1] else rows.T @ rows
    n = gram.shape[0]
    values, vectors = eigh(gram, subset_by_index=(n - n_pcs, n - 1))
    top = vectors[:, ::-1]
    scores = top * np.sqrt(np.maximum(values[::-1], 0)) if n == rows.shape[0] else rows @ top
    before, change = steps_of(scores.reshape(*activity.shape[:2], n_pcs))
    r2_skew = fit_r2(before, change, fit_skew(before, change))
    r2_m = fit_r2(before, change, fit_free(before, change))
    return r2_skew, r2_m, r2_skew / r2_m
