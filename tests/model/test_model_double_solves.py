"""Solving in float64 by compiled elimination: against NumPy, and what has no solution."""

import numpy as np
import pytest
from numba import njit
from numpy.testing import assert_allclose, assert_array_equal

from dynaprobe.model.kernel.double_solves import solve_any, solve_positive

ROUND_OFF = 1e-9  # relative; condition numbers of these matrices reach some thousands


@njit
def by_cholesky(A, x):
    return solve_positive(A, x.size, x)


@njit
def by_gauss(A, x):
    return solve_any(A, x.size, x)


def beside(A, b, pad=0):
    """A and its right-hand side in one table, with room behind."""
    return np.concatenate([A, b[:, None], np.full((len(b), pad), np.nan)], axis=1)


# Around the panels of four rows and the groups of four behind them.
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 9, 13, 32, 33, 101])
def test_both_against_numpy(n):
    rng = np.random.default_rng(n)
    J, b, x = rng.standard_normal((n, n)), rng.standard_normal(n), np.full(n, np.nan)
    H = J.T @ J + 0.1 * np.eye(n)
    assert by_cholesky(beside(np.triu(H) + np.tril(np.full((n, n), 7.0), -1), b, pad=n % 3), x)
    assert_allclose(x, np.linalg.solve(H, b), rtol=ROUND_OFF, atol=1e-10)
    assert by_gauss(beside(J, b, pad=n % 3), x) > 0
    assert_allclose(x, np.linalg.solve(J, b), rtol=ROUND_OFF, atol=1e-10)


def test_what_is_not_positive_definite_is_told_and_leaves_the_solution_alone():
    for H in (np.diag([1.0, 1, 1, 1, -1e-9, 1]), np.zeros((6, 6)), np.full((6, 6), np.nan), np.ones((6, 6))):
        x = np.full(6, 3.0)
        assert not by_cholesky(beside(H, np.ones(6)), x)
        assert_array_equal(x, 3.0)


def test_the_pivots_tell_how_near_a_matrix_is_to_a_singular_one():
    x = np.zeros(3)
    assert by_gauss(beside(np.diag([2.0, 1.0, 4.0]), np.ones(3)), x) == 0.25
    assert_allclose(x, [0.5, 1.0, 0.25])
    # A nought on the diagonal needs a swap.
    assert by_gauss(beside(np.array([[0.0, 2, 0], [1, 0, 0], [0, 0, 1]]), np.array([2.0, 3, 4])), x) == 0.5
    assert_allclose(x, [3, 1, 4])
    for J in (np.zeros((3, 3)), np.full((3, 3), np.nan), np.diag([1.0, np.inf, 1.0])):
        assert by_gauss(beside(J, np.ones(3)), x) == 0
    assert by_gauss(beside(np.array([[1.0, 2, 3], [2, 4, 6], [1, 0, 1]]), np.ones(3)), x) < 1e-15
