"""Batched search for the zeros, and the slow minima, of a vector field or of a step minus the state.

Newton's method where it works, Levenberg-Marquardt where the Jacobian is singular or the full step does not
help, and last a damped Newton method on q = 1/2 |F|^2 with its exact Hessian for what has no zero to go to.
Searches that are done leave the batch, so that one slow start does not keep the others computing. A few starts
go first; what they have found draws in whoever comes near, see `dynaprobe.analysis.fixed_point_search.basins`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Self

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from pydantic import PositiveFloat, PositiveInt, model_validator

from dynaprobe.analysis.fixed_point_search.basins import Basins
from dynaprobe.analysis.fixed_point_search.linear_solves import Solver
from dynaprobe.analysis.fixed_point_search.rate_steps import RateSteps
from dynaprobe.analysis.fixed_point_search.root_steps import Limits, Outcome, Problem, Residual, stationarity
from dynaprobe.analysis.fixed_point_search.search_steps import Known, Moved, Steps
from dynaprobe.analysis.fixed_point_search.traced_programs import Prepared
from dynaprobe.analysis.fixed_point_search.traced_steps import TracedSteps
from dynaprobe.core.settings import Settings
from dynaprobe.model.kernel import rate_search
from dynaprobe.model.kernel.step_rules import LAMBDA_START
from dynaprobe.model.rate_form import rate_field

UNSETTLED = (Outcome.NOT_CONVERGED, Outcome.STALLED, Outcome.STATIONARY)
LOOK = 2  # steps from one look at what known points draw in to the next; a look costs a tenth of a step
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
    steps = _steps_for(residual, u, solver, settings, max_distance)
    basins = Basins(steps, tol_merge=settings.tol_merge)
    n_starts = len(starts)
    whole = Search(
        x=starts.copy(),
        q=np.full(n_starts, np.inf),
        origin=starts,
        damping=np.full(n_starts, LAMBDA_START),
        outcome=np.full(n_starts, int(Outcome.RUNNING)),
        n_iterations=np.zeros(n_starts, dtype=int),
    )
    groups = _groups(n_starts)
    for rows in groups:
        part = Search(*(np.array(field[rows]) for field in whole))
        _search_group(steps, solver, basins, part, settings)
        for name in ("x", "q", "outcome", "n_iterations"):
            getattr(whole, name)[rows] = getattr(part, name)
        if rows is not groups[-1]:
            basins.learn(part.x, part.q, part.outcome)
    return Found(whole.x, whole.q, whole.outcome, whole.n_iterations)


def _steps_for(
    residual: Residual, u: np.ndarray, solver: Solver, settings: SearchSettings, max_distance: float
) -> Steps:
    values = (settings.tol_fixed, settings.tol_merge, settings.tol_step, max_distance)
    field = rate_field(residual.f, u, is_map=residual.is_map)
    if field is not None:
        return RateSteps(field, rate_search.Limits(*values), solver)
    return TracedSteps(Prepared(Problem(residual, Limits(*map(jnp.asarray, values)))), u, solver)


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


def _search_group(steps: Steps, solver: Solver, basins: Basins, state: Search, settings: SearchSettings) -> None:
    """Bring, in place, all searches of a group to their end."""

    draw = partial(_draw, basins)
    _run(steps.towards_zero, state, n_iterations=settings.n_iterations, before=draw)
    # What Newton left without a zero may still sit in a slow place: look for the minimum of q nearby.
    retry = np.isin(state.outcome, UNSETTLED)
    if not retry.any():
        return
    again = Search(*(np.array(part[retry]) for part in state))
    again.outcome[:] = Outcome.RUNNING
    again.damping[:] = LAMBDA_START
    _run(steps.down, again, n_iterations=settings.n_iterations, before=draw)
    # The way down q may have passed into the reach of a zero after all.
    at_zero = (again.outcome == Outcome.STATIONARY) & (again.q <= settings.tol_fixed)
    again.outcome[at_zero] = Outcome.RUNNING
    _run(steps.towards_zero, again, n_iterations=settings.n_iterations)
    _settle(steps, solver, again, settings)
    for name in ("x", "q", "damping", "outcome", "n_iterations"):
        getattr(state, name)[retry] = getattr(again, name)


def _draw(basins: Basins, state: Search, active: np.ndarray) -> None:
    """End, in place, what known points draw in: zeros any search, minima those that Newton's step has failed."""

    def end(known: Known | None, rows: np.ndarray, owner: np.ndarray) -> None:
        if known is None:
            return
        rows, owner = rows[owner >= 0], owner[owner >= 0]
        for name in ("x", "q", "outcome"):
            getattr(state, name)[rows] = getattr(known, name)[owner]

    end(basins.zeros, active, basins.drawn_to_zeros(state.x[active], state.origin[active]))
    # The damping moves as soon as a step of Levenberg and Marquardt was needed.
    failed = active[(state.damping[active] != LAMBDA_START) & (state.outcome[active] == Outcome.RUNNING)]
    end(basins.minima, failed, basins.drawn_to_minima(state.x[failed], state.origin[failed]))


def _run(
    step: Callable[..., Moved],
    state: Search,
    *,
    n_iterations: int,
    before: Callable[[Search, np.ndarray], None] | None = None,
) -> None:
    """Advance, in place, every search until it ends or its iterations are spent.

    Args:
        step: from states, starts and damping to where they are next.
        state: of all searches.
        n_iterations: at most so many steps.
        before: called before every `LOOK`-th step with the state and the rows that are running; may end some.
    """
    for n_done in range(n_iterations):
        if before is not None and n_done % LOOK == 0:
            before(state, np.flatnonzero(state.outcome == Outcome.RUNNING))
        active = np.flatnonzero(state.outcome == Outcome.RUNNING)
        if not active.size:
            return
        new = step(*(part[active] for part in (state.x, state.origin, state.damping)))
        for whole, part in zip((state.x, state.q, state.damping, state.outcome), new, strict=True):
            whole[active] = part
        state.n_iterations[active] += 1
    state.outcome[state.outcome == Outcome.RUNNING] = Outcome.NOT_CONVERGED


def _settle(steps: Steps, solver: Solver, state: Search, settings: SearchSettings) -> None:
    """Say, in place, what the searches for a minimum of q have come to."""
    rows = np.flatnonzero(np.isin(state.outcome, UNSETTLED))
    if not rows.size:
        return
    distance, curvature = solver.in_chunks(stationarity, solver, *steps.hessians(state.x[rows]))
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
