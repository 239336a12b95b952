"""Numbers by which a search for zeros takes its steps, the compiled one and the one for any function alike."""

from __future__ import annotations

# Weight of the damping relative to the size of the matrix: where it starts, its bounds, how it changes.
LAMBDA_START, LAMBDA_MIN, LAMBDA_MAX = 1e-3, 1e-12, 1e12
SHRINK, GROW = 0.2, 5.0
SINGULAR = 1e-13  # ratio of the pivots of a Jacobian whose rank is not full but for round-off
NO_PROGRESS = 1e-2  # relative fall of q below which a Levenberg-Marquardt step leads to no zero
PARTS = (1.0, 0.5, 0.25, 0.125)  # of a Newton step, tried before Levenberg-Marquardt is
TINY = 1e-300  # keeps a matrix of noughts from being singular
# Least over largest pivot from which a step in single precision is right to some per cent or much better.
LEAST_PIVOT = 1e-3
