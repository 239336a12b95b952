"""Zeros of F and minima of q = 1/2 |F|^2 that are known already, and which searches they draw in.

Most of a search is spent on finding again what another start has found. Near a known point p the steps need no
matrix of their own: with the inverse of the matrix at p, which is worked out once, all searches around p advance
in one product. Newton's method and these steps converge to p alike, for both lose the square of the distance.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from dynaprobe.analysis.fixed_point_search.root_steps import Outcome
from dynaprobe.analysis.fixed_point_search.search_steps import Known, States, Steps
from dynaprobe.analysis.merge import merge_points, nearest_point

# Of the inverses; they bound the memory, and the work for each start however many points there are.
MOST_POINTS, MOST_BYTES = 256, 2**27
ILL_CONDITIONED = 1e-10  # inverses are used where 1 / (|A| |A^-1|) is more


class Basins:
    """What is known about one F at one input.

    The rule: a search at x belongs to the known point p nearest to it if x - A^-1 v(x), and each step of this kind
    after it, leaves at most `CLOSER` of the distance to p, until that is at most `tol_merge`. At a zero v is F and
    A its Jacobian at p, at a minimum of q v is J'F and A the Hessian of q. The steps then converge to p; a search
    by Newton's own steps does so too, but for a few that would have overshot. One that is not drawn in goes on
    from where it was. Points where A is singular, as on a line attractor, draw nothing in.
    """

    def __init__(self, steps: Steps, *, tol_merge: float) -> None:
        """Nothing is known yet."""
        self._steps, self._tol_merge = steps, tol_merge
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
        self.zeros = self._added(self.zeros, self._steps.jacobians, x[zero], q[zero], outcome[zero])
        self.minima = self._added(
            self.minima, lambda z: self._steps.hessians(z)[1], x[minimum], q[minimum], outcome[minimum]
        )

    def drawn_to_zeros(self, x: States, origin: States) -> Int[np.ndarray, " row"]:
        """For each search the zero whose basin it is in, -1 for none or one too far from its `origin`."""
        return self._drawn(self.zeros, x, origin, are_minima=False)

    def drawn_to_minima(self, x: States, origin: States) -> Int[np.ndarray, " row"]:
        """As `drawn_to_zeros`, for the minima of q."""
        return self._drawn(self.minima, x, origin, are_minima=True)

    def _drawn(self, known: Known | None, x: States, origin: States, *, are_minima: bool) -> np.ndarray:
        if known is None or not len(x):
            return np.full(len(x), -1)
        return self._steps.drawn(known, x, origin, are_minima=are_minima)

    def _added(
        self,
        known: Known | None,
        matrices: Callable[[np.ndarray], np.ndarray],
        x: np.ndarray,
        q: np.ndarray,
        outcome: np.ndarray,
    ) -> Known | None:
        best, owner = merge_points(x, q, tol_merge=self._tol_merge)
        n_starts = np.bincount(owner, minlength=len(best))
        new = np.full(len(best), True)
        if known is not None:
            new = nearest_point(known.x, x[best])[1] > self._tol_merge
        room = MOST_POINTS if not x.size else min(MOST_POINTS, MOST_BYTES // (8 * x.shape[1] ** 2))
        room -= 0 if known is None else len(known.x)
        # Those that most searches led to come first; a stable sort keeps the rest in the order of q.
        chosen = np.flatnonzero(new)
        chosen = chosen[np.argsort(-n_starts[chosen], kind="stable")][: max(0, room)]
        if not chosen.size:
            return known
        rows = best[chosen]
        inverse, regular = _inverses(matrices(x[rows]))
        part = Known(*(field[regular] for field in (x[rows], q[rows], outcome[rows], n_starts[chosen], inverse)))
        if known is None:
            return part if regular.any() else None
        return Known(*(np.concatenate(pair) for pair in zip(known, part, strict=True)))


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
