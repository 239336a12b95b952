"""Zeros of F and minima of q = 1/2 |F|^2 that are known already, and which searches they draw in.

Most of a search is spent on finding again what another start has found. Near a known point p the steps need no
matrix of their own: with the inverse of the matrix at p, which is worked out once, all searches around p advance
in one product. Newton's method and these steps converge to p alike, for both lose the square of the distance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from dynaprobe.analysis.batches import MANY, in_chunks
from dynaprobe.analysis.merge import merge_points
from dynaprobe.analysis.programs import Prepared, compiled
from dynaprobe.analysis.root_steps import Outcome, Problem, Tools, evaluate, evaluate_q

CLOSER = 0.25  # a step that leaves more than this part of the distance to the known point tells nothing
# Of the inverses; they bound the memory, and the work for each start however many points there are.
MOST_POINTS, MOST_BYTES = 256, 2**27
ILL_CONDITIONED = 1e-10  # inverses are used where 1 / (|A| |A^-1|) is more


class Known(NamedTuple):
    """Points of one kind, every field with the leading axis ``point``.

    Attributes:
        x: states.
        q: half the squared residual.
        outcome: `Outcome` of a search that ends there.
        n_starts: searches that had ended there when the point was learned.
        inverse: of the Jacobian of F at a zero, of the Hessian of q at a minimum.
    """

    x: np.ndarray
    q: np.ndarray
    outcome: np.ndarray
    n_starts: np.ndarray
    inverse: np.ndarray


@compiled
def _values(problem: Problem, x: Any, u: Any) -> tuple[Any]:
    return (jax.vmap(problem.residual)(x, u),)


@compiled
def _gradients(problem: Problem, x: Any, u: Any) -> tuple[Any]:
    return (jax.vmap(problem.residual.gradient)(x, u),)


def _jacobians(problem: Prepared, x: np.ndarray, u: np.ndarray) -> tuple[np.ndarray]:
    return (np.asarray(evaluate(problem, x, u)[1]),)


def _hessians(problem: Prepared, x: np.ndarray, u: np.ndarray) -> tuple[np.ndarray]:
    return (evaluate_q(problem, x, u)[2],)


class Basins:
    """What is known about one F at one input.

    The rule: a search at x belongs to the known point p nearest to it if x - A^-1 v(x), and each step of this kind
    after it, leaves at most `CLOSER` of the distance to p, until that is at most `tol_merge`. At a zero v is F and
    A its Jacobian at p, at a minimum of q v is J'F and A the Hessian of q. The steps then converge to p; a search
    by Newton's own steps does so too, but for a few that would have overshot. One that is not drawn in goes on
    from where it was. Points where A is singular, as on a line attractor, draw nothing in.
    """

    def __init__(self, tools: Tools, u: Float[np.ndarray, " input"], *, tol_merge: float) -> None:
        """Nothing is known yet."""
        self._problem, self._solver, self._u, self._tol_merge = *tools, u, tol_merge
        self.zeros: Known | None = None
        self.minima: Known | None = None

    def learn(
        self,
        x: Float[np.ndarray, "start unit"],
        q: Float[np.ndarray, " start"],
        outcome: Int[np.ndarray, " start"],
    ) -> None:
        """Add where searches have ended, as far as it is new and regular."""
        zero, minimum = outcome == Outcome.FIXED, np.isin(outcome, (Outcome.SLOW, Outcome.FAST_MINIMUM))
        self.zeros = self._added(self.zeros, _jacobians, x[zero], q[zero], outcome[zero])
        self.minima = self._added(self.minima, _hessians, x[minimum], q[minimum], outcome[minimum])

    def drawn_to_zeros(
        self, x: Float[np.ndarray, "start unit"], origin: Float[np.ndarray, "start unit"], *, max_distance: float
    ) -> Int[np.ndarray, " start"]:
        """For each search the zero whose basin it is in, -1 for none; within `max_distance` of `origin`."""
        return self._drawn(self.zeros, _values, x, origin, max_distance)

    def drawn_to_minima(
        self, x: Float[np.ndarray, "start unit"], origin: Float[np.ndarray, "start unit"], *, max_distance: float
    ) -> Int[np.ndarray, " start"]:
        """As `drawn_to_zeros`, for the minima of q."""
        return self._drawn(self.minima, _gradients, x, origin, max_distance)

    def _added(
        self, known: Known | None, matrices: Callable[..., Any], x: np.ndarray, q: np.ndarray, outcome: np.ndarray
    ) -> Known | None:
        best, owner = merge_points(x, q, tol_merge=self._tol_merge)
        n_starts = np.bincount(owner, minlength=len(best))
        new = np.full(len(best), True)
        if known is not None:
            new = _nearest(known.x, x[best])[1] > self._tol_merge
        room = MOST_POINTS if not x.size else min(MOST_POINTS, MOST_BYTES // (8 * x.shape[1] ** 2))
        room -= 0 if known is None else len(known.x)
        # Those that most searches led to come first; a stable sort keeps the rest in the order of q.
        chosen = np.flatnonzero(new)
        chosen = chosen[np.argsort(-n_starts[chosen], kind="stable")][: max(0, room)]
        if not chosen.size:
            return known
        rows = best[chosen]
        (A,) = self._solver.in_chunks(matrices, self._problem, x[rows], self._drives(len(rows)))
        inverse, regular = _inverses(A)
        part = Known(*(field[regular] for field in (x[rows], q[rows], outcome[rows], n_starts[chosen], inverse)))
        if known is None:
            return part if regular.any() else None
        return Known(*(np.concatenate(pair) for pair in zip(known, part, strict=True)))

    def _drawn(
        self,
        known: Known | None,
        steps_from: Callable[..., Any],
        x: np.ndarray,
        origin: np.ndarray,
        max_distance: float,
    ) -> np.ndarray:
        owner = np.full(len(x), -1)
        if known is None or not len(x):
            return owner
        nearest, distance = _nearest(known.x, x)
        within = np.isfinite(distance) & (np.linalg.norm(known.x[nearest] - origin, axis=1) <= max_distance)
        near = within & (distance <= self._tol_merge)
        owner[near] = nearest[near]
        rows = np.flatnonzero(within & ~near)
        y = x.copy()
        while rows.size:
            (v,) = in_chunks(steps_from, self._problem, y[rows], self._drives(len(rows)), chunk=MANY)
            y[rows] -= _products(known.inverse, nearest[rows], v)
            after = np.linalg.norm(y[rows] - known.x[nearest[rows]], axis=1)
            closer = after <= CLOSER * distance[rows]  # False where not finite
            rows, after = rows[closer], after[closer]
            distance[rows] = after
            there = after <= self._tol_merge
            owner[rows[there]] = nearest[rows[there]]
            rows = rows[~there]
        return owner

    def _drives(self, n_rows: int) -> np.ndarray:
        return np.broadcast_to(self._u, (n_rows, len(self._u)))


def _nearest(points: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row of x the nearest point, and its distance."""
    with np.errstate(all="ignore"):  # a search may have run off to infinity
        squares = (points**2).sum(axis=1) - 2.0 * x @ points.T
        nearest = squares.argmin(axis=1)
        return nearest, np.linalg.norm(x - points[nearest], axis=1)


def _inverses(A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse of every matrix, and whether it is good enough to be used."""
    inverses, regular = np.zeros_like(A), np.zeros(len(A), dtype=bool)
    for row, matrix in enumerate(A):
        try:
            inverses[row] = np.linalg.inv(matrix)
        except np.linalg.LinAlgError:
            continue
        condition = np.linalg.norm(matrix, 1) * np.linalg.norm(inverses[row], 1)
        regular[row] = condition * ILL_CONDITIONED < 1
    return inverses, regular


def _products(matrices: np.ndarray, which: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """``matrices[which[k]] @ vectors[k]`` for every k, all vectors of one matrix in one product."""
    order = np.argsort(which, kind="stable")
    products = np.empty_like(vectors)
    for rows in np.split(order, np.flatnonzero(np.diff(which[order])) + 1):
        products[rows] = vectors[rows] @ matrices[which[rows[0]]].T
    return products
