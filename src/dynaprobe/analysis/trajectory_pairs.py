"""Pairs of moments of population trajectories: which two are alike and yet lead apart?"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh

from dynaprobe.analysis.subspace import check_varies, numerical_rank, principal_axes
from dynaprobe.core.errors import RatesError

# Entries of the matrices of pairs held at a time: 32 MB each.
MOST_ENTRIES = 2**22
# Share of the largest variance below which products of rates have lost the digits of an axis.
LEAST_SHARE = 1e-8


def largest_ratio(
    apart: Float[np.ndarray, "sample a"], states: Float[np.ndarray, "sample k"], constant: float
) -> Float[np.ndarray, " sample"]:
    """``max over j of |a_i - a_j|^2 / (|x_i - x_j|^2 + constant)`` for every sample i, block by block.

    Args:
        apart: a, what tells two samples apart.
        states: x, what may make them alike.
        constant: positive, so that two samples of one state have a ratio.
    """
    n = states.shape[0]
    size = max(1, MOST_ENTRIES // n)
    # Offsets cancel in the differences; without them the products below lose no digits.
    apart, states = apart - apart.mean(axis=0), states - states.mean(axis=0)
    largest = np.empty(n)
    for first in range(0, n, size):
        rows = slice(first, first + size)
        ratio = squared_distances(apart[rows], apart)
        ratio /= squared_distances(states[rows], states) + constant
        largest[rows] = ratio.max(axis=1)
    return largest


def squared_distances(
    a: Float[np.ndarray, "row k"], b: Float[np.ndarray, "column k"]
) -> Float[np.ndarray, "row column"]:
    """``|a_i - b_j|^2`` of every pair, by ``|a|^2 + |b|^2 - 2 a b``; never negative."""
    square = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    distances: Float[np.ndarray, "row column"] = np.maximum(square, 0.0)
    return distances


def leading_states(
    values: Float[np.ndarray, "condition time unit"], n_pcs: int
) -> tuple[Float[np.ndarray, "condition time k"], Float[np.ndarray, " axis"]]:
    """Scores of the leading principal components, and the variances of all.

    The mean over conditions and times is removed. Where the rates have fewer dimensions than `n_pcs`, all of them
    are kept.

    Raises:
        RatesError: constant rates, or no component asked for.
    """
    if n_pcs < 1:
        raise RatesError("n_pcs", rule="be at least 1", received=n_pcs, remedy="8 are customary")
    X = values.reshape(-1, values.shape[-1])
    X = X - X.mean(axis=0)
    axes, variance = principal_axes(X)
    check_varies(variance)
    kept = min(n_pcs, numerical_rank(variance))
    return (X @ axes[:kept].T).reshape(*values.shape[:2], kept), variance


def leading_scores(
    values: Float[np.ndarray, "condition time unit"], n_pcs: int
) -> Float[np.ndarray, "condition time k"]:
    """The scores of `leading_states` alone, signs of axes aside, in a fraction of its time.

    The leading axes come from the matrix of products, whose digits suffice where all of them hold more than
    `LEAST_SHARE` of the variance of the first; where they do not, the rates are decomposed themselves.
    """
    X = values.reshape(-1, values.shape[-1])
    X = X - X.mean(axis=0)
    n = X.shape[1]
    if n_pcs < n <= X.shape[0]:
        variance, axes = eigh(X.T @ X, subset_by_index=(n - n_pcs, n - 1))
        if variance[0] > LEAST_SHARE * variance[-1]:
            scores: Float[np.ndarray, "condition time k"] = (X @ axes).reshape(*values.shape[:2], n_pcs)
            return scores
    return leading_states(values, n_pcs)[0]


def check_fraction(name: str, value: float) -> None:
    """Refuse a constant that is not positive."""
    if not value > 0:
        raise RatesError(
            name,
            rule="be positive",
            received=value,
            remedy="Without it two moments of the same state would have no ratio; 0.1 or 0.01 are customary",
        )
