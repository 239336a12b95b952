"""A matrix of distances as a map: classical scaling, and an order in which neighbours stand side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform

from dynaprobe.analysis.matrix import check_at_least
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.subspace import fix_signs
from dynaprobe.core.errors import RatesError

# Eigenvalues within this fraction of the largest are round-off of the double centring.
EIGENVALUE_TOLERANCE = 1e-10
# Distances computed both ways agree to round-off.
SYMMETRY_TOLERANCE = 1e-8


@dataclass(frozen=True)
class Embedding(Result):
    """Points on a map whose distances follow a matrix of distances.

    Variables of `data`:
        distance (item, other): the matrix.
        position (item, axis): coordinates, centred; axes in order of the variance they hold, each turned so that
            its entry of largest magnitude is positive.
        eigenvalue (component): of the doubly centred matrix, largest first; no map holds negative ones.
        explained: ``sum of the leading eigenvalues / sum of the magnitudes of all``; 1 where the map is exact.
        stress: Kruskal's stress 1, ``sqrt(sum (d - d')^2 / sum d^2)`` with d' the distances on the map.
        order (item): positions of the items in the clustered order.
    """


def classical_scaling(distances: xr.DataArray, *, n_axes: int = 2) -> Embedding:
    """Classical multidimensional scaling and a clustered order of a matrix of distances.

    With D the distances and ``J = 1 - 11'/n``, ``B = -J D^2 J / 2 = V diag(l) V'``; positions are
    ``V sqrt(l)`` of the largest eigenvalues. Distances that belong to points in a space of `n_axes` dimensions
    come back exactly; negative eigenvalues say that no space holds them.

    The order is that of the leaves of average-linkage clustering, turned about its branches so that neighbours are
    as near as can be (Bar-Joseph 2001), and read from the end whose label comes first.

    Args:
        distances: dims ``(item, other)`` with the same labels along both, symmetric, zero on the diagonal.
        n_axes: axes of the map; a map of n items has at most n - 1.

    Raises:
        RatesError: a matrix that is not square, not symmetric, negative, or has a diagonal other than zero.

    Source: Torgerson 1952, Psychometrika 17:401; stress after Kruskal 1964, Psychometrika 29:1.
    """
    check_at_least("n_axes", n_axes, 1)
    values = _checked(distances)
    labels = [str(label) for label in distances["item"].values]
    # The same numbers whatever order the items are given in: ties are broken by label.
    by_label = np.argsort(labels, kind="stable")
    sorted_values = values[np.ix_(by_label, by_label)]
    position, eigenvalues = _positions(sorted_values, n_axes)
    back = np.argsort(by_label)
    apart = np.linalg.norm(position[:, None] - position[None, :], axis=-1)
    total = float((sorted_values**2).sum())
    magnitude = float(np.abs(eigenvalues).sum())
    held = float(np.clip(eigenvalues[:n_axes], 0, None).sum())
    data = xr.Dataset(
        {
            "distance": (("item", "other"), values),
            "position": (("item", "axis"), position[back]),
            "eigenvalue": ("component", eigenvalues),
            "explained": ((), held / magnitude if magnitude > 0 else 1.0),
            "stress": ((), float(np.sqrt(((sorted_values - apart) ** 2).sum() / total)) if total > 0 else 0.0),
            "order": ("rank", by_label[_clustered(sorted_values)]),
        },
        coords={"item": labels, "other": labels, "axis": np.arange(1, n_axes + 1)},
    )
    negative = int((eigenvalues < -EIGENVALUE_TOLERANCE * max(magnitude, 1e-300)).sum())
    failures = {"direction along which the distances belong to no map (negative eigenvalue)": negative}
    return Embedding(data, {"n_axes": n_axes}, failures if negative else {})


def _positions(
    distances: Float[np.ndarray, "item item"], n_axes: int
) -> tuple[Float[np.ndarray, "item axis"], Float[np.ndarray, " component"]]:
    """Coordinates along the leading axes, and all eigenvalues, largest first."""
    n = distances.shape[0]
    centring = np.eye(n) - 1 / n
    eigenvalues, vectors = np.linalg.eigh(-0.5 * centring @ distances**2 @ centring)
    eigenvalues, vectors = eigenvalues[::-1], vectors[:, ::-1]
    position = np.zeros((n, n_axes))
    n_held = min(n, n_axes)
    scale = np.sqrt(np.clip(eigenvalues[:n_held], 0, None))
    scale[eigenvalues[:n_held] <= EIGENVALUE_TOLERANCE * np.abs(eigenvalues).max(initial=0.0)] = 0.0
    position[:, :n_held] = fix_signs(vectors[:, :n_held].T).T * scale
    return position, eigenvalues


def _clustered(distances: Float[np.ndarray, "item item"]) -> np.ndarray:
    """Positions in the order of the leaves, read from the end that comes first."""
    n = distances.shape[0]
    if n < 3:
        return np.arange(n)
    condensed = squareform(distances, checks=False)
    order = leaves_list(optimal_leaf_ordering(linkage(condensed, method="average"), condensed))
    return np.asarray(order if order[0] < order[-1] else order[::-1])


def _checked(distances: xr.DataArray) -> Float[np.ndarray, "item item"]:
    """The matrix in double precision, exactly symmetric."""
    values = np.asarray(distances.values, dtype=np.float64)
    wrong = _what_is_wrong(distances, values)
    if wrong is not None:
        rule, received = wrong
        raise RatesError(
            "distances",
            rule=rule,
            received=received,
            remedy="Average both directions of a measure, and leave out pairs without a score",
        )
    return (values + values.T) / 2


def _what_is_wrong(distances: xr.DataArray, values: np.ndarray) -> tuple[str, object] | None:
    if tuple(distances.dims) != ("item", "other") or values.shape[0] != values.shape[1]:
        return "have the dims (item, other), as many of one as of the other", dict(distances.sizes)
    if not np.isfinite(values).all():
        return "be finite", f"{int((~np.isfinite(values)).sum())} values that are not"
    size = np.abs(values).max(initial=0.0)
    if values.min(initial=0.0) < 0 or np.abs(np.diag(values)).max(initial=0.0) > SYMMETRY_TOLERANCE * size:
        return "be 0 on the diagonal and nowhere negative", f"a smallest value of {values.min():g}"
    if np.abs(values - values.T).max(initial=0.0) > SYMMETRY_TOLERANCE * size:
        return "be symmetric", f"a difference of {np.abs(values - values.T).max():g} between the two directions"
    return None
