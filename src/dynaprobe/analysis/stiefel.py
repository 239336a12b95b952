"""Orthonormal axes in blocks, each block with the most of its own quadratic form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

# Length of the projected gradient, over that of the gradient, at which axes count as optimal.
TOLERANCE = 1e-8
# A step is taken when it gains on the worst of so many last values; see Zhang & Hager (2004).
MEMORY = 0.85


@dataclass(frozen=True)
class BlockOptimum:
    """What `maximise_blocks` found.

    Attributes:
        axes: orthonormal columns, block after block.
        value: the sum of the traces.
        residual: length of the projected gradient over that of the gradient, 0 at an optimum.
        n_steps: steps taken.
    """

    axes: Float[np.ndarray, "unit axis"]
    value: float
    residual: float
    n_steps: int


def maximise_blocks(
    forms: Sequence[Float[np.ndarray, "unit unit"]],
    sizes: Sequence[int],
    start: Float[np.ndarray, "unit axis"],
    *,
    n_steps: int = 2000,
    tolerance: float = TOLERANCE,
) -> BlockOptimum:
    """Maximise ``sum_b tr(Q_b^T A_b Q_b)`` over ``Q = [Q_1, Q_2, ...]`` with ``Q^T Q = I``.

    Steps along the projected gradient ``G - Q sym(Q^T G)``, ``G = [2 A_b Q_b]``, of the length of Barzilai &
    Borwein, shortened until the value gains on an average of the last ones, and back to orthonormal axes by the
    polar factor. The optimum reached may be local: start from several places.

    Args:
        forms: A_b, symmetric.
        sizes: columns of each block.
        start: orthonormal columns.
        n_steps: steps at most.
        tolerance: relative length of the projected gradient at which to stop.

    Source: Wen & Yin (2013), Mathematical Programming 142:397, with the polar factor in place of Cayley's.
    """
    stops = np.cumsum(sizes)
    blocks = [(A, slice(stop - size, stop)) for A, size, stop in zip(forms, sizes, stops, strict=True)]

    def gradient(Q: np.ndarray) -> tuple[float, np.ndarray]:
        moved = np.empty_like(Q)
        for A, columns in blocks:
            moved[:, columns] = A @ Q[:, columns]
        return float((Q * moved).sum()), 2 * moved

    Q = start
    value, G = gradient(Q)
    along = _projected(Q, G)
    length, average, weight = 1.0 / max(float(np.linalg.norm(G, 2)), 1e-300), value, 1.0
    residual = _residual(along, G)
    best = (value, Q, residual)
    for step in range(n_steps):
        slope = float((along**2).sum())
        if residual <= tolerance:
            return BlockOptimum(Q, value, residual, step)
        # Too long a step is halved; round-off of the value must not stop an ascent that is all but done.
        slack = 1e-14 * max(1.0, abs(value))
        for _ in range(40):
            trial = polar(Q + length * along)
            reached, turned = gradient(trial)
            if reached >= average + 1e-4 * length * slope - slack:
                break
            length /= 2
        following = _projected(trial, turned)
        moved, bent = trial - Q, along - following
        Q, value, G, along = trial, reached, turned, following
        average, weight = (MEMORY * weight * average + value) / (MEMORY * weight + 1), MEMORY * weight + 1
        residual = _residual(along, G)
        if residual < best[2]:
            best = (value, Q, residual)
        curved = abs(float((moved * bent).sum()))
        # The two lengths of Barzilai & Borwein in turn: the long one for speed, the short one against swinging.
        shape = float((moved**2).sum()) if step % 2 else curved
        over = curved if step % 2 else float((bent**2).sum())
        length = float(np.clip(shape / over, 1e-12, 1e12)) if over > 0 else length
    return BlockOptimum(best[1], best[0], best[2], n_steps)


def polar(matrix: Float[np.ndarray, "unit axis"]) -> Float[np.ndarray, "unit axis"]:
    """The nearest matrix with orthonormal columns, ``M (M^T M)^(-1/2)``."""
    squared, turn = np.linalg.eigh(matrix.T @ matrix)
    # Of few columns this is several times as fast as a singular value decomposition, which ill-conditioned ones
    # need.
    if squared[0] > 1e-6 * squared[-1]:
        quick: Float[np.ndarray, "unit axis"] = matrix @ ((turn / np.sqrt(squared)) @ turn.T)
        return quick
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    nearest: Float[np.ndarray, "unit axis"] = left @ right
    return nearest


def _projected(Q: np.ndarray, G: np.ndarray) -> np.ndarray:
    inner = Q.T @ G
    projected: np.ndarray = G - Q @ (inner + inner.T) / 2
    return projected


def _residual(along: np.ndarray, G: np.ndarray) -> float:
    size = float(np.linalg.norm(G))
    return float(np.linalg.norm(along)) / size if size > 0 else 0.0
