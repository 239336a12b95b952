"""The steps of a search in a network of rate units, by compiled kernels, a few searches to a thread at a time."""

from __future__ import annotations

import numpy as np

from dynaprobe.analysis.fixed_point_search.linear_solves import Solver
from dynaprobe.analysis.fixed_point_search.root_steps import Outcome
from dynaprobe.analysis.fixed_point_search.search_steps import CLOSER, Known, Moved, States
from dynaprobe.model.kernel import rate_search
from dynaprobe.model.kernel.programs import Program
from dynaprobe.model.kernel.rate_field import RateField

PIECE = 8  # searches that a thread takes at a time
# What a compiled step says of its end, by number.
ENDINGS = np.array(
    [Outcome.RUNNING, Outcome.FIXED, Outcome.LEFT_REGION, Outcome.NOT_FINITE, Outcome.STALLED, Outcome.STATIONARY]
)
_ROOT, _MINIMUM = Program(rate_search.root_steps), Program(rate_search.minimum_steps)
_DRAWN, _MATRICES = Program(rate_search.drawn), Program(rate_search.matrices)


def _searches(x: States, origin: States, damping: np.ndarray | None = None) -> rate_search.Searches:
    """Copies, each in one piece, for the kernels write into them."""
    n_rows = len(x)
    damping = np.empty(n_rows) if damping is None else np.array(damping)
    return rate_search.Searches(
        np.array(x, order="C"), np.ascontiguousarray(origin), damping, np.empty(n_rows), np.empty(n_rows, np.int64)
    )


class RateSteps:
    """Of a network of rate units: the same steps by compiled kernels, some searches to each thread at a time."""

    def __init__(self, field: RateField, limits: rate_search.Limits, solver: Solver) -> None:
        """F as `field`; `solver` is entered as a context."""
        self._field, self._limits, self._solver = field, limits, solver
        self._transposed = np.ascontiguousarray(field.weights.T)

    def towards_zero(self, x: States, origin: States, damping: np.ndarray) -> Moved:
        """As `root_iteration`."""
        return self._step(_ROOT, x, origin, damping)

    def down(self, x: States, origin: States, damping: np.ndarray) -> Moved:
        """As `minimum_iteration`."""
        return self._step(_MINIMUM, x, origin, damping)

    def drawn(self, known: Known, x: States, origin: States, *, are_minima: bool) -> np.ndarray:
        """Which known point draws each search in: one search after another."""
        searches, points = _searches(x, origin), rate_search.Points(known.x, known.inverse, are_minima, CLOSER)
        owner = np.empty(len(x), dtype=np.int64)

        def run(rows: slice) -> None:
            part = rate_search.Searches(*(field[rows] for field in searches))
            _DRAWN(self._field, self._limits, points, part, owner[rows])

        self._solver.for_pieces(run, len(x), 8 * PIECE)
        return owner

    def jacobians(self, x: States) -> np.ndarray:
        """J."""
        return self._matrices(x, of_q=False)[1]

    def hessians(self, x: States) -> tuple[States, np.ndarray]:
        """J'F and the Hessian of q."""
        return self._matrices(x, of_q=True)

    def _step(self, program: Program, x: States, origin: States, damping: np.ndarray) -> Moved:
        searches = _searches(x, origin, damping)

        def run(rows: slice) -> None:
            part = rate_search.Searches(*(field[rows] for field in searches))
            program(self._field, self._transposed, self._limits, part)

        self._solver.for_pieces(run, len(x), PIECE)
        return Moved(searches.x, searches.q, searches.damping, ENDINGS[searches.ending])

    def _matrices(self, x: States, *, of_q: bool) -> tuple[States, np.ndarray]:
        n_rows, n = x.shape
        x, gradient = np.ascontiguousarray(x), np.empty(x.shape)
        out, q = np.empty((n_rows, n, n)), np.empty(n_rows)

        def run(rows: slice) -> None:
            parts = (x[rows], out[rows], of_q, q[rows], gradient[rows])
            _MATRICES(self._field, self._transposed, *parts)

        self._solver.for_pieces(run, n_rows, PIECE)
        return gradient, out
