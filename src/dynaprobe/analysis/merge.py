"""When two points found by a search count as one, and how far a point is from the nearest of many."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from dynaprobe.core.errors import DynaprobeError

EPS = float(np.finfo(np.float64).eps)
BLOCK = 64  # points whose distances to all others are held at once


def merge_points(
    points: Float[np.ndarray, "candidate unit"], quality: Float[np.ndarray, " candidate"], *, tol_merge: float
) -> tuple[Int[np.ndarray, " point"], Int[np.ndarray, " candidate"]]:
    """Keep one representative of every cluster of candidates.

    The rule: going through the candidates from the best to the worst, one that lies within `tol_merge`
    (Euclidean) of an earlier representative belongs to it, any other becomes a representative. Hence
    representatives are further than `tol_merge` apart and no member is further than `tol_merge` from its own.
    Clusters never chain, so a line attractor stays a row of points and does not shrink to one.

    Args:
        points: the candidates, in state units.
        quality: lower is better (the residual q); ties fall to the lexicographically smaller state, so the
            order in which candidates arrive is irrelevant.
        tol_merge: the distance, in state units.

    Returns:
        Row of every representative, best first, and for every candidate the position of its representative
        in that list.

    Raises:
        DynaprobeError: a candidate that is not finite, or a `tol_merge` that is not positive.
    """
    if not tol_merge > 0:
        raise DynaprobeError(
            "tol_merge", rule="be positive", received=tol_merge, remedy="Give a distance in state units"
        )
    if not (np.isfinite(points).all() and np.isfinite(quality).all()):
        raise DynaprobeError(
            "points",
            rule="be finite, with a finite quality",
            received=f"{int((~np.isfinite(points).all(axis=1)).sum())} rows of {len(points)} that are not",
            remedy="Leave failed candidates out before merging",
        )
    owner = np.full(len(points), -1)
    representatives: list[int] = []
    if len(points):
        # One ball query per representative: balls of representatives overlap little, so the work grows with
        # the number of candidates and not, as listing all close pairs would, with its square.
        tree = cKDTree(points)
        for row in np.lexsort((*points.T[::-1], quality)):
            if owner[row] >= 0:
                continue
            ball = np.asarray(tree.query_ball_point(points[row], tol_merge), dtype=int)
            owner[ball[owner[ball] < 0]] = len(representatives)
            representatives.append(int(row))
    return np.asarray(representatives, dtype=int), owner


def nearest_distance(
    points: Float[np.ndarray, "point unit"], others: Float[np.ndarray, "other unit"]
) -> Float[np.ndarray, " point"]:
    """Distance of every point to the nearest of `others`, of which there is at least one.

    Distances come from one large product, ``|a - b|^2 = |a|^2 + |b|^2 - 2 a'b``, and are computed anew, without
    its cancellation, for all that may be nearest within its round-off.
    """
    centre = others.mean(axis=0)
    a, b = points - centre, others - centre
    squares_a, squares_b = (a**2).sum(axis=1), (b**2).sum(axis=1)
    slack = 8.0 * EPS * points.shape[1] * (squares_a + squares_b.max())
    nearest = np.empty(len(points))
    for begin in range(0, len(points), BLOCK):
        rows = slice(begin, begin + BLOCK)
        squares = squares_b - 2.0 * a[rows] @ b.T
        limit = squares.min(axis=1) + slack[rows]
        for row, candidates in enumerate(squares <= limit[:, None], start=begin):
            nearest[row] = np.linalg.norm(others[candidates] - points[row], axis=1).min()
    return nearest


def nearest_point(
    points: Float[np.ndarray, "point unit"], x: Float[np.ndarray, "row unit"]
) -> tuple[Int[np.ndarray, " row"], Float[np.ndarray, " row"]]:
    """For each row of x the nearest of at least one point, and its distance; not finite where the row is not.

    One large product decides: two points that are as near but for round-off may change places.
    """
    with np.errstate(all="ignore"):  # a search may have run off to infinity
        squares = (points**2).sum(axis=1) - 2.0 * x @ points.T
        nearest = squares.argmin(axis=1)
        return nearest, np.linalg.norm(x - points[nearest], axis=1)
