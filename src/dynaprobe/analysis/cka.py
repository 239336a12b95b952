"""Centred kernel alignment: do the same pairs of conditions and times lie close together in both populations?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynaprobe.analysis.matrix import ConditionMean, centred_values, check_at_least, check_matched, one_thread
from dynaprobe.analysis.result import Result


@dataclass(frozen=True)
class KernelAlignment(Result):
    """Linear CKA of two populations.

    Variables of `data`:
        cka: without the bias of few samples; 1 for equal geometries, about 0 for unrelated ones (it may fall a
            little below).
        cka_biased: the plain ratio, 0 to 1, which grows with the number of units.
    """


@dataclass(frozen=True)
class PreparedKernel:
    """One population as the factor of its kernel.

    Attributes:
        rows: centred rows of size 1.
        tied: inner products of rows that are not independent: of the conditions at each time where the mean over
            conditions was removed, otherwise of each row with itself.
    """

    rows: Float[np.ndarray, "row unit"]
    tied: Float[np.ndarray, "group i i"]


@one_thread
def cka_similarity(
    a: xr.DataArray, b: xr.DataArray, *, condition_mean: ConditionMean = "subtract"
) -> KernelAlignment:
    """Linear centred kernel alignment of two populations with matched conditions and times.

    ``CKA = H(K, L) / sqrt(H(K, K) H(L, L))`` with K = X X' and L = Y Y' the inner products of the centred rows
    (condition x time). Biased, ``H(K, L) = tr(K L)``. Unbiased, for "keep" with ~ setting the diagonal to 0 and n
    rows, ``H = tr(K~ L~) + 1'K~1 1'L~1 / ((n - 1)(n - 2)) - 2 / (n - 2) 1'K~ L~1``. For "subtract" the rows of one
    time are tied to each other by the mean removed, so ``H = tr(K~ L~)`` where ~ sets all inner products within a
    time to 0; those between times need no further correction. Either is unbiased for rows drawn independently;
    neighbouring times are not, and the likeness this gives by chance is left to the floor.

    Args:
        a, b: rates with dims ``(condition, time, unit)``; units need not match.
        condition_mean: "subtract" removes the mean over conditions at each time and unit; "keep" removes only the
            mean over rows.

    Raises:
        RatesError: when conditions or times do not match, or a side is constant.
        SettingsError: when there are fewer than 3 conditions or 2 bins.

    Source: Kornblith et al. 2019, ICML 97:3519; Song et al. 2012, J. Mach. Learn. Res. 13:1393 for H.
    """
    check_matched(a, b, names=("a", "b"))
    x, y = (prepare_cka(side, condition_mean=condition_mean, name=n) for n, side in (("a", a), ("b", b)))
    biased = _square(x, y) / np.sqrt(_square(x, x) * _square(y, y))
    data = xr.Dataset({"cka": compare_cka(x, y), "cka_biased": biased})
    return KernelAlignment(data, {"condition_mean": condition_mean})


def prepare_cka(
    rates: xr.DataArray, *, condition_mean: ConditionMean = "subtract", name: str = "rates"
) -> PreparedKernel:
    """One side of `compare_cka`, checked."""
    values = centred_values(rates, condition_mean, name=name)
    check_at_least("number of conditions", values.shape[0], 3)
    check_at_least("number of bins", values.shape[1], 2)
    values = values / np.linalg.norm(values)
    rows = values.reshape(-1, values.shape[2])
    groups = values.swapaxes(0, 1) if condition_mean == "subtract" else rows[:, None, :]
    return PreparedKernel(rows, groups @ groups.swapaxes(-1, -2))


def compare_cka(x: PreparedKernel, y: PreparedKernel) -> float:
    """Unbiased CKA of two sides from `prepare_cka`; NaN where a side has no variance beyond its bias."""
    power = _unbiased(x, x) * _unbiased(y, y)
    return float(_unbiased(x, y) / np.sqrt(power)) if power > 0 else float("nan")


def _square(x: PreparedKernel, y: PreparedKernel) -> float:
    """``tr(K L)``, by way of the units: ``|X'Y|^2``."""
    return float(((x.rows.T @ y.rows) ** 2).sum())


def _unbiased(x: PreparedKernel, y: PreparedKernel) -> float:
    apart = _square(x, y) - float((x.tied * y.tied).sum())
    if x.tied.shape[-1] > 1:
        return apart
    # Rows add to 0, so that K~ 1 is minus the diagonal of K.
    n, own_x, own_y = x.rows.shape[0], x.tied.ravel(), y.tied.ravel()
    ends = float(own_x.sum() * own_y.sum()) / ((n - 1) * (n - 2))
    return float(apart + ends - 2 / (n - 2) * float(own_x @ own_y))
