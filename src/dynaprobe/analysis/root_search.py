"""Batched search for the zeros, and the slow minima, of a vector field or of a step minus the state.

Newton's method where it works, Levenberg-Marquardt where the Jacobian is singular or the full step does not
help, and last a damped Newton method on q = 1/2 |F|^2 with its exact Hessian for what has no zero to go to.
Searches that are done leave the batch, so that one slow start does not keep the others computing. A few starts
go first; what they have found draws in whoever comes near, see `dynaprobe.analysis.basins`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Self

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from pydantic import PositiveFloat, PositiveInt, model_validator

from dynaprobe.analysis.basins import Basins, Known
from dynaprobe.analysis.linear_solves import Solver
from dynaprobe.analysis.programs import Prepared
from dynaprobe.analysis.root_steps import (
    LAMBDA_START,
    Limits,
    Outcome,
    Problem,
    Residual,
    Tools,
    minimum_iteration,
    root_iteration,
    stationarity,
)
from dynaprobe.core.settings import Settings

Iteration = Callable[..., tuple[np.ndarray, ...]]
UNSETTLED = (Outcome.NOT_CONVERGED, Outcome.STALLED, Outcome.STATIONARY)
FIRST_GROUP, GROWTH = 32, 4  # starts that go first, and how many times more go in each group after


class SearchSettings(Settings):
    """What counts as found, and how long to look.

    Attributes:
        tol_fixed: a fixed point has ``q = 1/2 |F|^2`` at most this (and a next step below `tol_merge`).
        tol_slow: a slow point is a local minimum of q between `tol_fixed` and this. The gradient J'F of q counts
            as zero where Newton's step for q, ``|H^-1 J'F|`` with H its Hessian, is at most `tol_merge`.
        tol_merge: two points closer than this are one, in state units.
        tol_step: a search goes on until its steps are shorter than this, in state units.
        tol_marginal: an eigenvalue this close to the border of stability counts as on it; see `FixedPoints`.
        n_iterations: at most so many for the zero, and again as many for the minimum of q.
        max_distance: how far from its own start a search may go; None: ten times (1 + the longest start).
    """

    tol_fixed: PositiveFloat = 1e-20
    tol_slow: PositiveFloat = 1e-6
    tol_merge: PositiveFloat = 1e-5
    tol_step: PositiveFloat = 1e-9
    tol_marginal: PositiveFloat = 1e-6
    n_iterations: PositiveInt = 100
    max_distance: PositiveFloat | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.tol_fixed > self.tol_slow:
            raise ValueError("tol_fixed is at most tol_slow")
        if self.tol_step > self.tol_merge:
            raise ValueError("tol_step is at most tol_merge")
        return self


class Search(NamedTuple):
    """State of a batch of searches, every field with the leading axis ``start``."""

    x: Any
    q: Any
    u: Any
    origin: Any
    damping: Any
    outcome: Any
    n_iterations: Any


class Found(NamedTuple):
    """Where the searches ended.

    Attributes:
        x: last state, ``(start, unit)``.
        q: half the squared residual there, ``(start,)``.
        outcome: `Outcome` of each search, ``(start,)``.
        n_iterations: iterations spent, ``(start,)``.
    """

    x: Float[np.ndarray, "start unit"]
    q: Float[np.ndarray, " start"]
    outcome: Int[np.ndarray, " start"]
    n_iterations: Int[np.ndarray, " start"]


def search(
    residual: Residual,
    starts: np.ndarray,
    u: np.ndarray,
    *,
    solver: Solver,
    settings: SearchSettings,
    max_distance: float,
) -> Found:
    """Search from every start; to be called where 64-bit floats are enabled.

    Args:
        residual: F.
        starts: ``(start, unit)``, float64.
        u: the input, ``(input,)``, float64.
        solver: entered as a context.
        settings: tolerances and the number of iterations of each of the two stages.
        max_distance: how far from its own start a search may go, in state units.
    """
    values = (settings.tol_fixed, settings.tol_merge, settings.tol_step, max_distance)
    tools = Tools(Prepared(Problem(residual, Limits(*map(jnp.asarray, values)))), solver)
    basins = Basins(tools, u, tol_merge=settings.tol_merge)
    n_starts = len(starts)
    whole = Search(
        x=starts.copy(),
        q=np.full(n_starts, np.inf),
        u=np.broadcast_to(u, (n_starts, len(u))),
        origin=starts,
        damping=np.full(n_starts, LAMBDA_START),
        outcome=np.full(n_starts, int(Outcome.RUNNING)),
        n_iterations=np.zeros(n_starts, dtype=int),
    )
    groups = _groups(n_starts)
    for rows in groups:
        part = Search(*(np.array(field[rows]) for field in whole))
        _search_group(tools, basins, part, settings, max_distance)
        for name in ("x", "q", "outcome", "n_iterations"):
            getattr(whole, name)[rows] = getattr(part, name)
        if rows is not groups[-1]:
            basins.learn(part.x, part.q, part.outcome)
    return Found(whole.x, whole.q, whole.outcome, whole.n_iterations)


def _groups(n_starts: int) -> list[np.ndarray]:
    """Rows of the starts that go together: first a few, from all over, then ever more."""
    left = np.arange(n_starts)
    groups = []
    size = FIRST_GROUP
    while len(left) > 2 * size:
        chosen = np.linspace(0, len(left), size, endpoint=False).astype(int)
        groups.append(left[chosen])
        left = np.delete(left, chosen)
        size *= GROWTH
    return [*groups, left]


def _search_group(
    tools: Tools, basins: Basins, state: Search, settings: SearchSettings, max_distance: float
) -> None:
    """Bring, in place, all searches of a group to their end."""

    draw = partial(_draw, basins, max_distance)
    _run(root_iteration, tools, state, n_iterations=settings.n_iterations, before=draw)
    # What Newton left without a zero may still sit in a slow place: look for the minimum of q nearby.
    retry = np.isin(state.outcome, UNSETTLED)
    if not retry.any():
        return
    again = Search(*(np.array(part[retry]) for part in state))
    again.outcome[:] = Outcome.RUNNING
    again.damping[:] = LAMBDA_START
    _run(minimum_iteration, tools, again, n_iterations=settings.n_iterations, before=draw)
    # The way down q may have passed into the reach of a zero after all.
    at_zero = (again.outcome == Outcome.STATIONARY) & (again.q <= settings.tol_fixed)
    again.outcome[at_zero] = Outcome.RUNNING
    _run(root_iteration, tools, again, n_iterations=settings.n_iterations)
    _settle(tools, again, settings)
    for name in ("x", "q", "damping", "outcome", "n_iterations"):
        getattr(state, name)[retry] = getattr(again, name)


def _draw(basins: Basins, max_distance: float, state: Search, active: np.ndarray) -> None:
    """End, in place, what known points draw in: zeros any search, minima those that Newton's step has failed."""

    def end(known: Known | None, rows: np.ndarray, owner: np.ndarray) -> None:
        if known is None:
            return
        rows, owner = rows[owner >= 0], owner[owner >= 0]
        for name in ("x", "q", "outcome"):
            getattr(state, name)[rows] = getattr(known, name)[owner]

    end(
        basins.zeros,
        active,
        basins.drawn_to_zeros(state.x[active], state.origin[active], max_distance=max_distance),
    )
    # The damping moves as soon as a step of Levenberg and Marquardt was needed.
    failed = active[(state.damping[active] != LAMBDA_START) & (state.outcome[active] == Outcome.RUNNING)]
    drawn = basins.drawn_to_minima(state.x[failed], state.origin[failed], max_distance=max_distance)
    end(basins.minima, failed, drawn)


def _run(
    iteration: Iteration,
    tools: Tools,
    state: Search,
    *,
    n_iterations: int,
    before: Callable[[Search, np.ndarray], None] | None = None,
) -> None:
    """Advance, in place, every search until it ends or its iterations are spent.

    Args:
        iteration: one step of a chunk.
        tools: for the iteration.
        state: of all searches.
        n_iterations: at most so many steps.
        before: called before each step with the state and the rows that are running; may end some.
    """
    for _ in range(n_iterations):
        if before is not None:
            before(state, np.flatnonzero(state.outcome == Outcome.RUNNING))
        active = np.flatnonzero(state.outcome == Outcome.RUNNING)
        if not active.size:
            return
        parts = [part[active] for part in (state.x, state.u, state.origin, state.damping)]
        new = tools.solver.in_chunks(iteration, tools, *parts)
        for whole, part in zip((state.x, state.q, state.damping, state.outcome), new, strict=True):
            whole[active] = part
        state.n_iterations[active] += 1
    state.outcome[state.outcome == Outcome.RUNNING] = Outcome.NOT_CONVERGED


def _settle(tools: Tools, state: Search, settings: SearchSettings) -> None:
    """Say, in place, what the searches for a minimum of q have come to."""
    rows = np.flatnonzero(np.isin(state.outcome, UNSETTLED))
    if not rows.size:
        return
    distance, curvature = tools.solver.in_chunks(stationarity, tools, state.x[rows], state.u[rows])
    q = state.q[rows]
    # Where q passes for zero but no zero is near (exp(-x) far out), nothing is claimed.
    at_rest = (distance <= settings.tol_merge) & (q > settings.tol_fixed)
    # Round-off of the Hessian's eigenvalues, relative to the largest.
    is_minimum = curvature[:, 0] >= -1e-8 * np.abs(curvature).max(axis=1)
    is_slow = np.where(q <= settings.tol_slow, int(Outcome.SLOW), int(Outcome.FAST_MINIMUM))
    kind = np.where(is_minimum, is_slow, int(Outcome.SADDLE_OF_Q))
    spent = state.outcome[rows] == Outcome.NOT_CONVERGED
    otherwise = np.where(spent, int(Outcome.NOT_CONVERGED), int(Outcome.STALLED))
    state.outcome[rows] = np.where(at_rest, kind, otherwise)
