"""jPCA: the rotation that best explains how condition-dependent activity changes from bin to bin."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynaprobe.analysis.result import Result
from dynaprobe.analysis.subspace import coords_along, numerical_rank, principal_axes, samples
from dynaprobe.core.errors import RatesError
from dynaprobe.core.preprocess import soft_normalise, subtract_condition_mean, window
from dynaprobe.core.rates import bin_width_ms, check_rates


@dataclass(frozen=True)
class JpcaResult(Result):
    """Rotational dynamics of rates in a window.

    Variables of `data`, with k = n_pcs and plane p = 1 the fastest:
        r2_skew, r2_m: ``1 - |dX - X M^T|^2 / |dX|^2`` of the skew-symmetric and of the free fit, uncentred total.
        ratio: ``r2_skew / r2_m``.
        frequency_hz ``(plane,)``: ``|eigenvalue| / (2 pi dt)``.
        fraction_of_pcs, fraction_of_all ``(plane,)``: variance in each plane over that of the k PCs, and over
            that of everything in the window (after normalising and removing the cross-condition mean).
        pcs_fraction: variance of the k PCs over that of everything in the window.
        components ``(pc, unit)``: the k principal axes.
        jpcs_pc ``(plane, axis, pc)``, jpcs_unit ``(plane, axis, unit)``: orthonormal jPCs in the two bases.
        projections ``(condition, time, plane, axis)``: the states in each plane.
        m, m_skew ``(pc, pc_from)``: the fits, ``dx = M x`` per bin.
    """


def jpca(
    rates: xr.DataArray,
    *,
    start_ms: float = -50.0,
    stop_ms: float = 150.0,
    event: str = "move_onset",
    n_pcs: int = 6,
    constant: float | None = None,
    fraction: float = 0.1,
) -> JpcaResult:
    """jPCA in closed form.

    1. Soft-normalise every unit by its range over all conditions and times given, plus a constant.
    2. Subtract the mean over conditions at each time and unit.
    3. Keep the window ``[start_ms, stop_ms)`` around `event` and its first `n_pcs` principal components X.
    4. Regress ``dX = X[t+1] - X[t]``, within condition, on ``X[t]``: ``M = argmin |dX - X M^T|^2`` over all
       matrices and over skew-symmetric ones (`fit_skew`).
    5. Every pair of eigenvalues ``+-i w`` of M_skew spans a plane; planes are ordered by ``|w|``. Within a plane
       the first axis is the direction in which the states at the window's first bin spread most, the second
       lies so that the rotation runs counter-clockwise (from the first axis to the second), and both signs are
       such that the largest excursion along the second axis is positive.

    Args:
        rates: dims ``(condition, time, unit)``. Give all the times that should set the ranges of step 1.
        start_ms, stop_ms: the window in ms.
        event: the event at 0 ms; of rates with several segments, the segment that is analysed.
        n_pcs: k, even.
        constant, fraction: the softening constant, as in `dynaprobe.core.preprocess.soft_normalise`:
            5 spikes/s is customary for recordings; None takes `fraction` of the median range.

    Raises:
        RatesError: rates outside the schema, another event, a window not covered or shorter than three bins,
            fewer than two conditions, an odd `n_pcs`, or more PCs than the data have dimensions.

    Source: Churchland et al. (2012), Nature 487:51.
    """
    activity = windowed_activity(
        rates, n_pcs=n_pcs, span_ms=(start_ms, stop_ms), event=event, constant=constant, fraction=fraction
    )
    axes, variance = principal_axes(samples(activity))
    _check_rank(variance, n_pcs, activity)
    X = activity.values @ axes[:n_pcs].T
    before, change = steps_of(X)
    if not change.any():
        raise RatesError(
            "rates",
            rule="change within the window",
            received="the same state in every bin of each condition",
            remedy="Choose a window in which the activity moves",
        )
    m, m_skew = fit_free(before, change), fit_skew(before, change)
    planes, speeds = _oriented_planes(m_skew, X)
    data = _account(X, planes, float(variance.sum()))
    r2_skew, r2_m = fit_r2(before, change, m_skew), fit_r2(before, change, m)
    data = data.assign(
        r2_skew=r2_skew,
        r2_m=r2_m,
        ratio=r2_skew / r2_m,
        frequency_hz=("plane", speeds / (2 * np.pi * bin_width_ms(rates) * 1e-3), {"units": "Hz"}),
        components=(("pc", "unit"), axes[:n_pcs]),
        jpcs_pc=(("plane", "axis", "pc"), planes),
        jpcs_unit=(("plane", "axis", "unit"), planes @ axes[:n_pcs]),
        m=(("pc", "pc_from"), m, {"units": "1/bin"}),
        m_skew=(("pc", "pc_from"), m_skew, {"units": "1/bin"}),
    )
    numbers = np.arange(1, n_pcs + 1)
    data = data.assign_coords(
        {
            **coords_along(activity, "condition", "time", "unit"),
            "pc": numbers,
            "pc_from": numbers,
            "plane": numbers[: n_pcs // 2],
            "axis": [1, 2],
        }
    ).assign_attrs(activity.attrs)
    settings = {"start_ms": start_ms, "stop_ms": stop_ms, "event": event, "n_pcs": n_pcs}
    return JpcaResult(data, {**settings, "constant": constant, "fraction": fraction})


def windowed_activity(
    rates: xr.DataArray,
    *,
    n_pcs: int,
    span_ms: tuple[float, float],
    event: str,
    constant: float | None,
    fraction: float,
) -> xr.DataArray:
    """Steps 1 to 3 of `jpca` up to the principal components: what the rotations are sought in."""
    check_rates(rates, dims=("condition", "time", "unit"))
    _check_request(rates, n_pcs)
    start_ms, stop_ms = span_ms
    normalised = soft_normalise(rates.astype(np.float64), constant=constant, fraction=fraction)
    activity = window(_around(subtract_condition_mean(normalised), event), start_ms=start_ms, stop_ms=stop_ms)
    _check_window(activity, start_ms, stop_ms)
    return activity


def steps_of(
    X: Float[np.ndarray, "condition time k"],
) -> tuple[Float[np.ndarray, "sample k"], Float[np.ndarray, "sample k"]]:
    """States, and how each changes to the next bin of its condition."""
    k = X.shape[-1]
    return X[:, :-1].reshape(-1, k), np.diff(X, axis=1).reshape(-1, k)


def fit_free(
    before: Float[np.ndarray, "sample k"], change: Float[np.ndarray, "sample k"]
) -> Float[np.ndarray, "k k"]:
    """The matrix M that minimises ``|change - before M^T|^2``."""
    m: Float[np.ndarray, "k k"] = np.linalg.lstsq(before, change, rcond=None)[0].T
    return m


def fit_skew(
    before: Float[np.ndarray, "sample k"], change: Float[np.ndarray, "sample k"]
) -> Float[np.ndarray, "k k"]:
    """The skew-symmetric matrix M that minimises ``|change - before M^T|^2``.

    With ``M = sum_{i<j} h_ij K_ij``, where ``K_ij`` has +1 at (i, j) and -1 at (j, i), ``S = before^T before``
    and ``C = change^T before``, the gradient vanishes where ``sum_q tr(K_p S K_q^T) h_q = tr(K_p^T C)`` for
    every pair p: a linear system of size k (k - 1) / 2.
    """
    k = before.shape[1]
    row, col = np.array(list(combinations(range(k), 2))).T
    basis = np.zeros((row.size, k, k))
    basis[np.arange(row.size), row, col] = 1.0
    basis[np.arange(row.size), col, row] = -1.0
    C = change.T @ before
    gram = np.einsum("pij,jl,qil->pq", basis, before.T @ before, basis, optimize=True)
    weights = np.linalg.solve(gram, C[row, col] - C[col, row])
    skew: Float[np.ndarray, "k k"] = np.einsum("p,pij->ij", weights, basis)
    return skew


def fit_r2(
    before: Float[np.ndarray, "sample k"], change: Float[np.ndarray, "sample k"], m: Float[np.ndarray, "k k"]
) -> float:
    """``1 - |change - before M^T|^2 / |change|^2``, with an uncentred total."""
    return 1.0 - float(((change - before @ m.T) ** 2).sum() / (change**2).sum())


def _oriented_planes(m_skew: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Axes ``(plane, axis, pc)`` and angular speed per bin of each plane, the fastest first."""
    # i M is Hermitian, which eigh solves stably: M v = -i w v has real part a and imaginary part b with
    # M a = w b, so that for w > 0 the state turns from a towards b. As v is orthogonal to its conjugate (whose
    # eigenvalue is -w), a and b are orthogonal and of length 1 / sqrt(2).
    speeds, vectors = np.linalg.eigh(1j * m_skew)
    fastest = np.argsort(-speeds, kind="stable")[: X.shape[2] // 2]
    axes = np.stack([_orient(np.sqrt(2) * np.stack([vectors[:, p].real, vectors[:, p].imag]), X) for p in fastest])
    return axes, speeds[fastest]


def _orient(pair: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Turn a counter-clockwise pair of axes within its plane to the convention of `jpca`."""
    start = X[:, 0] @ pair.T
    spread = start - start.mean(axis=0)
    angle = 0.5 * np.arctan2(2 * spread[:, 0] @ spread[:, 1], (spread[:, 0] ** 2 - spread[:, 1] ** 2).sum())
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    pair = turn @ pair
    excursion = X @ pair[1]
    return -pair if -excursion.min() > excursion.max() else pair


def _account(X: np.ndarray, planes: np.ndarray, total: float) -> xr.Dataset:
    """States in the planes and the variance each plane holds."""
    projections = np.einsum("ctk,pak->ctpa", X, planes)
    held = (projections**2).mean(axis=(0, 1)).sum(axis=-1)
    of_pcs = float((X**2).mean(axis=(0, 1)).sum())
    return xr.Dataset(
        {
            "projections": (("condition", "time", "plane", "axis"), projections),
            "fraction_of_pcs": (("plane",), held / of_pcs),
            "fraction_of_all": (("plane",), held / total),
            "pcs_fraction": of_pcs / total,
        }
    )


def _around(rates: xr.DataArray, event: str) -> xr.DataArray:
    """The part of the rates that is aligned to `event`."""
    if "segment" in rates.coords:
        known = sorted(set(rates["segment"].values.tolist()))
        chosen = rates.isel(time=rates["segment"].values == event)
        time = chosen["time"].assign_attrs(rates["time"].attrs).assign_attrs(event=event)
        chosen = chosen.assign_coords(time=time)
    else:
        known = [rates["time"].attrs["event"]]
        chosen = rates
    if event not in known:
        raise RatesError(
            "event",
            rule=f"be one the rates are aligned to ({', '.join(known)})",
            received=event,
            remedy="Name one of these, or align the rates to this event",
        )
    return chosen


def _check_request(rates: xr.DataArray, n_pcs: int) -> None:
    if n_pcs < 2 or n_pcs % 2:
        raise RatesError(
            "n_pcs",
            rule="be even and at least 2",
            received=n_pcs,
            remedy="Every plane takes two PCs; 6 is customary",
        )
    if rates.sizes["condition"] < 2:
        raise RatesError(
            "rates.condition",
            rule="have at least 2 entries, since the mean over conditions is removed",
            received=rates.sizes["condition"],
            remedy="Give the rates of every condition, not their mean",
        )


def _check_window(activity: xr.DataArray, start_ms: float, stop_ms: float) -> None:
    if activity.sizes["time"] < 3:
        raise RatesError(
            "window",
            rule="hold at least three bins",
            received=f"{activity.sizes['time']} bins in [{start_ms:g}, {stop_ms:g}) ms",
            remedy="Widen it or use finer bins",
        )


def _check_rank(variance: np.ndarray, n_pcs: int, activity: xr.DataArray) -> None:
    rank = numerical_rank(variance)
    if rank < n_pcs:
        raise RatesError(
            "n_pcs",
            rule=f"be at most {rank}, the number of dimensions the activity has in the window",
            received=f"{n_pcs} for {dict(activity.sizes)}",
            remedy="Ask for fewer PCs (an even number), or give more units or conditions; after removing their"
            " mean, K conditions have at most K - 1 dimensions at a time",
        )
