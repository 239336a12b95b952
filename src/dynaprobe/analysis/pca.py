"""Principal components of condition-averaged rates, with a full account of variance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from dynaprobe.analysis.result import Result
from dynaprobe.analysis.subspace import check_varies, coords_along, n_for_fraction, principal_axes, samples
from dynaprobe.core.errors import RatesError
from dynaprobe.core.rates import check_rates


@dataclass(frozen=True)
class PcaResult(Result):
    """Principal components of rates.

    Variables of `data`:
        components ``(pc, unit)``: orthonormal axes; the loading of largest magnitude is positive.
        scores ``(condition, time, pc)``: the centred rates along the axes.
        mean ``(unit,)``: what was subtracted.
        variance ``(pc,)``: mean square of each score over conditions and times.
        fraction, cumulative ``(pc,)``: share of the variance of all units, and its running sum.
        total_variance: sum of the variances of all units.
        n_for_threshold: number of components that reach the setting ``threshold`` of the total.
        participation_ratio: ``(sum v)^2 / sum v^2`` over the variances v of all components, kept or not.
    """


def pca(rates: xr.DataArray, n_components: int | None = None, *, threshold: float = 0.9) -> PcaResult:
    """Principal component analysis over conditions and times.

    ``X[(c, t), u] = r[c, t, u] - mean_{c, t} r[., ., u]`` (one mean per unit, over conditions and times together;
    the cross-condition mean stays in unless the caller removed it) and ``X = U S V^T``. The components are the
    rows of ``V^T``, the scores ``X V``, the variances ``S^2 / (n_conditions n_times)``.

    Args:
        rates: dims ``(condition, time, unit)``, any rate unit.
        n_components: how many components to keep; None keeps ``min(n_conditions n_times - 1, n_units)``.
        threshold: the fraction of variance that ``n_for_threshold`` counts components for.

    Raises:
        RatesError: rates outside the schema, constant rates, too many components, threshold outside (0, 1].

    Source: Jolliffe (2002), Principal Component Analysis; participation ratio: Gao et al. (2017).
    """
    check_rates(rates, dims=("condition", "time", "unit"))
    X = samples(rates)
    most = min(X.shape[0] - 1, X.shape[1])
    kept = most if n_components is None else n_components
    if not 1 <= kept <= most:
        raise RatesError(
            "n_components",
            rule=f"lie between 1 and {most}, which is min(conditions x times - 1, units)",
            received=kept,
            remedy="Ask for fewer components or give more conditions, times or units",
        )
    mean = X.mean(axis=0)
    X = X - mean
    axes, variance = principal_axes(X)
    # Centring may leave rounding dust in a unit that never moves; it is judged against the size of the rates.
    check_varies(np.where(variance > (1e-12 * np.abs(mean).max()) ** 2, variance, 0.0))
    total = float(variance.sum())
    data = xr.Dataset(
        {
            "components": (("pc", "unit"), axes[:kept]),
            "scores": (("condition", "time", "pc"), (X @ axes[:kept].T).reshape(*rates.shape[:2], kept)),
            "mean": (("unit",), mean),
            "variance": (("pc",), variance[:kept]),
            "fraction": (("pc",), variance[:kept] / total),
            "cumulative": (("pc",), np.cumsum(variance[:kept]) / total),
            "total_variance": total,
            "n_for_threshold": n_for_fraction(variance, threshold),
            "participation_ratio": total**2 / float((variance**2).sum()),
        },
        coords={**coords_along(rates, "condition", "time", "unit"), "pc": np.arange(1, kept + 1)},
        attrs=dict(rates.attrs),
    )
    for name in ("scores", "mean"):
        data[name].attrs["units"] = rates.attrs["rate_unit"]
    for name in ("variance", "total_variance"):
        data[name].attrs["units"] = f"({rates.attrs['rate_unit']})^2"
    return PcaResult(data, {"n_components": n_components, "threshold": threshold})


def project(result: PcaResult, rates: xr.DataArray) -> xr.DataArray:
    """Scores of other rates on axes that were found before: ``(r - mean) V``.

    Args:
        result: what `pca` returned.
        rates: any dims of the schema that end in ``unit``; the same units, in the same order, as in `result`.

    Returns:
        The dims of `rates` with ``pc`` in place of ``unit``, in the unit of the rates.

    Raises:
        RatesError: rates outside the schema, without units, or with other units than the result.
    """
    check_rates(rates)
    wanted = result.data.sizes["unit"]
    if rates.dims[-1] != "unit" or rates.sizes["unit"] != wanted:
        raise RatesError(
            "rates.unit",
            rule=f"be the {wanted} units of the result",
            received=dict(rates.sizes),
            remedy="Select the units that the components were found on",
        )
    if "unit" in rates.coords and "unit" in result.data.coords:
        differ = rates["unit"].values != result.data["unit"].values
        if differ.any():
            raise RatesError(
                "rates.unit",
                rule="name the units of the result in the same order",
                received=f"{int(differ.sum())} of {wanted} names that differ",
                remedy="Reorder with .sel(unit=result.data['unit'])",
            )
    centred = np.asarray(rates.values, dtype=np.float64) - result.data["mean"].values
    scores = centred @ result.data["components"].values.T
    kept = [str(dim) for dim in rates.dims[:-1]]
    coords = {**coords_along(rates, *kept), "pc": result.data["pc"]}
    return xr.DataArray(scores, dims=(*kept, "pc"), coords=coords, name="scores", attrs=dict(rates.attrs))
