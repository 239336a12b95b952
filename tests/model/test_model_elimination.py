"""Elimination in single precision: against NumPy, at every edge of vectors and panels, and singular matrices."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from dynaprobe.model.kernel.elimination import marquardt_steps, newton_steps

EPS = 1.2e-7  # of float32


def solved(J, F, damping=None):
    steps, pivots = np.full(F.shape, np.nan), np.full(len(F), np.nan)
    if damping is None:
        newton_steps(J, F, steps, pivots)
    else:
        marquardt_steps(J, F, damping, steps, pivots)
    return steps, pivots


def systems(n, n_rows=20, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n_rows, n, n)), rng.standard_normal((n_rows, n))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 15, 16, 17, 31, 32, 33, 47, 48, 64, 100])
def test_newton_steps_against_numpy(n):
    J, F = systems(n)
    steps, pivots = solved(J, F)
    expected = -np.linalg.solve(J, F[..., None])[..., 0]
    error = np.linalg.norm(steps - expected, axis=1) / np.linalg.norm(expected, axis=1)
    # Round-off of elimination with pivots: condition number times a small multiple of n.
    assert (error <= EPS * (n + 4) * np.linalg.cond(J)).all()
    assert ((pivots > 0) & (pivots <= 1)).all()


@pytest.mark.parametrize("n", [1, 3, 4, 5, 16, 17, 33, 100])
def test_marquardt_steps_against_numpy(n):
    J, F = systems(n, seed=1)
    damping = np.geomspace(1e-3, 10, len(F))
    steps, _ = solved(J, F, damping)
    normal = J.transpose(0, 2, 1) @ J
    matrix = normal + (damping * np.trace(normal, axis1=1, axis2=2) / n)[:, None, None] * np.eye(n)
    expected = -np.linalg.solve(matrix, np.einsum("sij,si->sj", J, F)[..., None])[..., 0]
    # The step is J'y; the round-off is that of y.
    y = np.linalg.solve(matrix.transpose(0, 2, 1), F[..., None])[..., 0]
    size = np.linalg.norm(J, ord=2, axis=(1, 2)) * np.linalg.norm(y, axis=1)
    error = np.linalg.norm(steps - expected, axis=1)
    assert (error <= EPS * (n + 4) * np.linalg.cond(matrix) * size).all()


def test_a_marquardt_step_has_no_part_along_which_the_matrix_is_flat():
    rng = np.random.default_rng(2)
    flat = rng.standard_normal(9)
    flat /= np.linalg.norm(flat)
    J = rng.standard_normal((20, 9, 9))
    J -= (J @ flat)[..., None] * flat
    steps, pivots = solved(J, rng.standard_normal((20, 9)), np.full(20, 1e-4))
    assert (pivots > 0).all()
    assert_allclose(steps @ flat / np.linalg.norm(steps, axis=1), 0, atol=1e-11)  # round-off of float64


@pytest.mark.parametrize(("of_J", "of_F"), [(1e-80, 1.0), (1e60, 1e-70), (1.0, 1e-30)])
def test_any_unit_will_do(of_J, of_F):
    J, F = systems(9)
    steps, pivots = solved(J, F)
    scaled, same = solved(of_J * J, of_F * F)
    assert_allclose(scaled / (of_F / of_J), steps, rtol=1e-3)
    assert_allclose(same, pivots, rtol=1e-3)


def test_what_has_no_solution_is_told_by_its_pivots_and_spoils_no_other_row():
    J, F = systems(12, n_rows=6)
    good, _ = solved(J, F)
    J[1] = 0
    J[2, 3] = J[2, 4]
    J[3, 0, 0] = np.nan
    J[4, 5, 5] = np.inf
    steps, pivots = solved(J, F)
    assert_array_equal(pivots[[1, 3, 4]], 0)
    assert pivots[2] < 1e-6
    assert_array_equal(steps[[0, 5]], good[[0, 5]])
    damped, pivots = solved(J, F, np.full(6, 0.1))
    assert_array_equal(pivots[[1, 3, 4]], 0)
    assert np.isfinite(damped[[0, 2, 5]]).all()


def test_a_column_that_needs_a_swap_at_every_step():
    n = 21
    J = np.roll(np.eye(n), 1, axis=0)[None] * np.arange(1.0, n + 1)
    F = np.ones((1, n))
    steps, pivots = solved(J, F)
    assert_allclose(steps[0], -np.linalg.solve(J[0], F[0]), rtol=1e-6)
    assert_allclose(pivots, 1 / n, rtol=1e-6)
