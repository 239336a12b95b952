"""Do two populations follow the same dynamics, whatever the shapes they trace out?

Each population is described by the linear operator that carries its recent past one bin forward, and two operators
are compared after the best orthogonal change of coordinates (Ostrow et al. 2023, NeurIPS 36).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynaprobe.analysis.matrix import (
    ConditionMean,
    centred_values,
    check_at_least,
    check_matched,
    one_thread,
)
from dynaprobe.analysis.orthogonal_conjugacy import best_conjugation
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.subspace import RANK_TOLERANCE, fix_signs, principal_axes
from dynaprobe.core.errors import RatesError


@dataclass(frozen=True)
class DynamicalSimilarity(Result):
    """Distance of the dynamics of two populations.

    Variables of `data`:
        dsa_distance: angle between the operators in radians, 0 to pi.
        euclidean: ``min |A - Q B Q'|`` over orthogonal Q.
        operator_a, operator_b (mode_next, mode): A and B, of the leading delay coordinates of variance 1.
        rotation (mode_a, mode_b): Q.
        r2_a, r2_b: variance of the next bin that each operator predicts in its own coordinates, in sample.
        variance_a, variance_b: fraction of the variance of the delay-embedded PCs in these coordinates.
    """


@dataclass(frozen=True)
class PreparedDynamics:
    """One population in delay coordinates of variance 1.

    Attributes:
        now, following: pairs of neighbouring bins, ``(pair, mode)``, modes in the order of their variance.
        variance: fraction of variance held by each mode.
    """

    now: Float[np.ndarray, "pair mode"]
    following: Float[np.ndarray, "pair mode"]
    variance: Float[np.ndarray, " mode"]

    @property
    def rank(self) -> int:
        """Number of modes."""
        return int(self.variance.size)

    def operator(self, rank: int) -> Float[np.ndarray, "mode_next mode"]:
        """The least-squares operator of the leading modes."""
        now = self.now[:, :rank]
        solution = np.linalg.lstsq(now, self.following[:, :rank], rcond=None)[0]
        return np.asarray(solution.T)


@one_thread
def dynamical_similarity(
    a: xr.DataArray,
    b: xr.DataArray,
    *,
    n_pcs: int = 6,
    n_delays: int = 5,
    rank: int = 10,
    condition_mean: ConditionMean = "subtract",
    seed: int = 0,
) -> DynamicalSimilarity:
    """Dynamical similarity analysis (DSA) of two populations.

    The PC scores of `n_delays` neighbouring bins are stacked into one vector h(t) for every condition; vectors
    never reach across the end of a segment. With ``H = U S V'`` over all of them, z(t) are the rows of U of the
    leading `rank` modes, scaled to variance 1, and A is the least-squares solution of ``z(t + 1) = A z(t)``. B is
    that of the other side, and ``cos(dsa_distance) = max_Q tr(A' Q B Q') / (|A| |B|)`` over orthogonal Q.

    Populations that are invertible linear maps of one another have the same coordinates z up to a rotation and so
    distance 0, if the PCs kept hold all of both. The distance is a metric up to how well the maximum over Q is
    found, see `dynaprobe.analysis.orthogonal_conjugacy`. Slow dynamics have operators near the identity, so small
    angles are the rule and only the floor tells which are small.

    Args:
        a, b: rates with dims ``(condition, time, unit)`` and one bin width; units need not match.
        n_pcs: PCs of each side, or as many as there are units.
        n_delays: bins in a vector, 1 for none but the present.
        rank: modes kept, or as many as both sides have.
        condition_mean: "subtract" removes the mean over conditions at each time and unit, as for jPCA; "keep"
            removes only the mean over conditions and times.
        seed: names the stream of the random starts of the search for Q.

    Raises:
        RatesError: when conditions or times do not match, a side is constant, or segments are too short.
        SettingsError: when a number is below 1, or there are fewer than 3 conditions.

    Source: Ostrow, Eisen, Kozachkov & Fiete 2023, NeurIPS 36; delay coordinates as in Brunton et al. 2017, Nature
        Communications 8:19.
    """
    check_matched(a, b, names=("a", "b"))
    options = {"n_pcs": n_pcs, "n_delays": n_delays, "rank": rank}
    x, y = (
        prepare_dynamics(side, **options, condition_mean=condition_mean, name=name)
        for name, side in (("a", a), ("b", b))
    )
    n = min(x.rank, y.rank)
    A, B = x.operator(n), y.operator(n)
    Q, product = best_conjugation(A, B, seed=seed)
    data = xr.Dataset(
        {
            "dsa_distance": ((), _angle(A, B, product), {"units": "rad"}),
            "euclidean": ((), np.sqrt(max(float((A**2).sum() + (B**2).sum()) - 2 * product, 0.0))),
            "operator_a": (("mode_next", "mode"), A),
            "operator_b": (("mode_next", "mode"), B),
            "rotation": (("mode_a", "mode_b"), Q),
            **{f"r2_{name}": ((), _r2(side, n)) for name, side in (("a", x), ("b", y))},
            **{f"variance_{name}": ((), float(side.variance[:n].sum())) for name, side in (("a", x), ("b", y))},
        }
    )
    lacking = rank - n
    failures = {"mode fewer than asked for, as a side has no more": lacking} if lacking else {}
    return DynamicalSimilarity(data, {**options, "condition_mean": condition_mean, "seed": seed}, failures)


def prepare_dynamics(
    rates: xr.DataArray,
    *,
    n_pcs: int = 6,
    n_delays: int = 5,
    rank: int = 10,
    condition_mean: ConditionMean = "subtract",
    name: str = "rates",
) -> PreparedDynamics:
    """One side of a `dynamical_similarity`, checked."""
    for what, value in (("n_pcs", n_pcs), ("n_delays", n_delays), ("rank", rank)):
        check_at_least(what, value, 1)
    values = centred_values(rates, condition_mean, name=name)
    check_at_least("number of conditions", values.shape[0], 3)
    axes, _ = principal_axes(values.reshape(-1, values.shape[2]))
    scores = values @ axes[:n_pcs].T
    windows = []
    for start, stop in _segments(rates):
        length = stop - start - n_delays + 1
        if length > 1:
            parts = [scores[:, start + k : start + k + length] for k in range(n_delays)]
            windows.append(np.concatenate(parts, axis=2))
    if not windows:
        raise RatesError(
            f"{name}.time",
            rule=f"have a segment of at least {n_delays + 1} bins, one more than n_delays",
            received=f"segments of {[stop - start for start, stop in _segments(rates)]} bins",
            remedy="Widen the windows or lower n_delays",
        )
    return _whitened(windows, rank)


def compare_dynamics(a: PreparedDynamics, b: PreparedDynamics) -> float:
    """The angle between the operators of two prepared sides, in radians."""
    n = min(a.rank, b.rank)
    A, B = a.operator(n), b.operator(n)
    return _angle(A, B, best_conjugation(A, B)[1])


def _whitened(windows: list[np.ndarray], rank: int) -> PreparedDynamics:
    """Pairs of neighbouring windows ``(condition, window, value)`` within segments, in the modes of all."""
    rows = np.concatenate([part.reshape(-1, part.shape[2]) for part in windows])
    left, singular, _ = np.linalg.svd(rows, full_matrices=False)
    n = min(int((singular > RANK_TOLERANCE * singular[0]).sum()), rank)
    # Signs by time course, so that a rotation of the units leaves the coordinates as they are.
    modes = fix_signs(left[:, :n].T).T * np.sqrt(left.shape[0])
    now, following, first = [], [], 0
    for part in windows:
        n_rows = part.shape[0] * part.shape[1]
        here = modes[first : first + n_rows].reshape(*part.shape[:2], n)
        now.append(here[:, :-1].reshape(-1, n))
        following.append(here[:, 1:].reshape(-1, n))
        first += n_rows
    variance = singular[:n] ** 2 / float((singular**2).sum())
    return PreparedDynamics(np.concatenate(now), np.concatenate(following), variance)


def _segments(rates: xr.DataArray) -> list[tuple[int, int]]:
    """First bin and the bin after the last of every segment."""
    n_bins = rates.sizes["time"]
    if "segment" not in rates.coords:
        return [(0, n_bins)]
    segment = rates["segment"].values
    edges = [0, *(np.flatnonzero(segment[1:] != segment[:-1]) + 1).tolist(), n_bins]
    return list(pairwise(edges))


def _angle(A: np.ndarray, B: np.ndarray, product: float) -> float:
    length = float(np.linalg.norm(A) * np.linalg.norm(B))
    # Operators of 0 predict the mean only: two of them are alike, one is at a right angle to all others.
    if length == 0:
        return 0.0 if not A.any() and not B.any() else float(np.pi / 2)
    return float(np.arccos(np.clip(product / length, -1.0, 1.0)))


def _r2(side: PreparedDynamics, rank: int) -> float:
    now, following = side.now[:, :rank], side.following[:, :rank]
    error = following - now @ side.operator(rank).T
    return 1 - float((error**2).sum() / (following**2).sum())
