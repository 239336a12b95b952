"""What a search asks of F at one input: steps and matrices, for many states at once."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Float, Int

States = Float[np.ndarray, "row unit"]
CLOSER = 0.25  # a step that leaves more than this part of the distance to a known point tells nothing


class Moved(NamedTuple):
    """States, q, damping and `Outcome` after a step, one row per search."""

    x: np.ndarray
    q: np.ndarray
    damping: np.ndarray
    outcome: np.ndarray


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


class Steps(Protocol):
    """F at one input, and the steps of a search for its zeros; every row by itself."""

    def towards_zero(self, x: States, origin: States, damping: np.ndarray) -> Moved:
        """As `dynaprobe.analysis.fixed_point_search.root_steps.root_iteration`."""

    def down(self, x: States, origin: States, damping: np.ndarray) -> Moved:
        """As `dynaprobe.analysis.fixed_point_search.root_steps.minimum_iteration`."""

    def drawn(self, known: Known, x: States, origin: States, *, are_minima: bool) -> Int[np.ndarray, " row"]:
        """For each search the known point that draws it in, -1 for none; by the rule of `Basins`."""

    def jacobians(self, x: States) -> Float[np.ndarray, "row unit unit"]:
        """J."""

    def hessians(self, x: States) -> tuple[States, Float[np.ndarray, "row unit unit"]]:
        """J'F, and the Hessian of q."""
