"""The steps of a search, and what known points draw in, for any F that JAX can trace."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from dynaprobe.analysis.batches import MANY, in_chunks
from dynaprobe.analysis.fixed_point_search.linear_solves import Solver
from dynaprobe.analysis.fixed_point_search.root_steps import (
    Problem,
    Tools,
    evaluate,
    evaluate_q,
    minimum_iteration,
    root_iteration,
)
from dynaprobe.analysis.fixed_point_search.search_steps import CLOSER, Known, Moved, States
from dynaprobe.analysis.fixed_point_search.traced_programs import Prepared, compiled
from dynaprobe.analysis.merge import nearest_point


@compiled
def _values(problem: Problem, x: Any, u: Any) -> tuple[Any]:
    return (jax.vmap(problem.residual)(x, u),)


@compiled
def _gradients(problem: Problem, x: Any, u: Any) -> tuple[Any]:
    return (jax.vmap(problem.residual.gradient)(x, u),)


def _jacobians(problem: Prepared, x: np.ndarray, u: np.ndarray) -> tuple[np.ndarray]:
    return (np.asarray(evaluate(problem, x, u)[1]),)


def _hessians(problem: Prepared, x: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, gradient, hessian = evaluate_q(problem, x, u)
    return gradient, hessian


class TracedSteps:
    """Of any F that JAX can trace."""

    def __init__(self, problem: Prepared, u: Float[np.ndarray, " input"], solver: Solver) -> None:
        """F of `problem` at `u`; `solver` is entered as a context."""
        self._problem, self._u, self._solver = problem, u, solver
        self._tools = Tools(problem, solver)

    def towards_zero(self, x: States, origin: States, damping: np.ndarray) -> Moved:
        """As `root_iteration`."""
        return Moved(*self._solver.in_chunks(root_iteration, self._tools, x, self._drives(x), origin, damping))

    def down(self, x: States, origin: States, damping: np.ndarray) -> Moved:
        """As `minimum_iteration`."""
        return Moved(*self._solver.in_chunks(minimum_iteration, self._tools, x, self._drives(x), origin, damping))

    def drawn(self, known: Known, x: States, origin: States, *, are_minima: bool) -> np.ndarray:
        """Which known point draws each search in: all searches together, step by step."""
        limits = self._problem.tree.limits
        tol_merge, max_distance = float(limits.tol_merge), float(limits.max_distance)
        steps_from = _gradients if are_minima else _values
        owner = np.full(len(x), -1)
        nearest, distance = nearest_point(known.x, x)
        within = np.isfinite(distance) & (np.linalg.norm(known.x[nearest] - origin, axis=1) <= max_distance)
        near = within & (distance <= tol_merge)
        owner[near] = nearest[near]
        rows = np.flatnonzero(within & ~near)
        y = x.copy()
        while rows.size:
            (v,) = in_chunks(steps_from, self._problem, y[rows], self._drives(rows), chunk=MANY)
            y[rows] -= _products(known.inverse, nearest[rows], v)
            after = np.linalg.norm(y[rows] - known.x[nearest[rows]], axis=1)
            closer = after <= CLOSER * distance[rows]  # False where not finite
            rows, after = rows[closer], after[closer]
            distance[rows] = after
            there = after <= tol_merge
            owner[rows[there]] = nearest[rows[there]]
            rows = rows[~there]
        return owner

    def jacobians(self, x: States) -> np.ndarray:
        """J."""
        return self._solver.in_chunks(_jacobians, self._problem, x, self._drives(x))[0]

    def hessians(self, x: States) -> tuple[States, np.ndarray]:
        """J'F and the Hessian of q."""
        gradient, hessian = self._solver.in_chunks(_hessians, self._problem, x, self._drives(x))
        return gradient, hessian

    def _drives(self, rows: np.ndarray) -> np.ndarray:
        return np.broadcast_to(self._u, (len(rows), len(self._u)))


def _products(matrices: np.ndarray, which: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """``matrices[which[k]] @ vectors[k]`` for every k, all vectors of one matrix in one product."""
    order = np.argsort(which, kind="stable")
    products = np.empty_like(vectors)
    for rows in np.split(order, np.flatnonzero(np.diff(which[order])) + 1):
        products[rows] = vectors[rows] @ matrices[which[rows[0]]].T
    return products
