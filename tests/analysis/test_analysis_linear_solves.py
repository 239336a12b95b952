"""Small linear systems by the batch: against NumPy, singular ones, any number of threads."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from dynaprobe.analysis.fixed_point_search import linear_solves
from dynaprobe.analysis.fixed_point_search.linear_solves import Solver
from dynaprobe.model.kernel.elimination import marquardt_steps, newton_steps

ROUND_OFF = 1e-9  # relative; condition numbers of 12 x 12 Gaussian matrices reach some thousands, squared in J'J
N = 12


def systems(n_rows, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n_rows, N, N)), rng.standard_normal((n_rows, N))


def test_all_three_solves_against_numpy():
    J, F = systems(9)
    damping = np.linspace(0.01, 2, 9)
    normal = J.transpose(0, 2, 1) @ J
    mean = np.trace(normal, axis1=1, axis2=2) / N
    eye = np.eye(N)
    with Solver() as solver:
        newton, regular = solver.newton(J, F, singular=1e-13)
        marquardt = solver.marquardt(J, F, damping)
        damped = solver.damped(normal, F, damping)
    assert regular.all()
    assert_allclose(newton, -np.linalg.solve(J, F[..., None])[..., 0], rtol=ROUND_OFF)
    expected = np.linalg.solve(
        normal + (damping * mean)[:, None, None] * eye, np.einsum("sij,si->sj", J, F)[..., None]
    )
    assert_allclose(marquardt, -expected[..., 0], rtol=ROUND_OFF)
    expected = np.linalg.solve(normal + damping[:, None, None] * eye, F[..., None])
    assert_allclose(damped, expected[..., 0], rtol=ROUND_OFF)


def test_a_singular_matrix_spoils_its_own_row_alone():
    J, F = systems(4)
    J[1, 3] = J[1, 4]  # two equal rows: pivots end at round-off
    J[2] = np.nan
    J[3] = 0
    with Solver() as solver:
        newton, regular = solver.newton(J, F, singular=1e-13)
        marquardt = solver.marquardt(J, F, np.full(4, 0.1))
        damped = solver.damped(np.zeros((4, N, N)), F, np.array([1.0, 0.0, 2.0, 0.0]))
    assert_array_equal(regular, [True, False, False, False])
    assert_array_equal(np.isfinite(newton).all(axis=1), regular)
    assert_array_equal(np.isfinite(marquardt).all(axis=1), [True, True, False, True])
    assert_array_equal(marquardt[3], 0)  # with J = 0 there is nowhere to go
    assert_array_equal(np.isfinite(damped).all(axis=1), [True, False, True, False])


def test_inputs_stay_as_they_are():
    J, F = systems(3)
    J_before, F_before = J.copy(), F.copy()
    with Solver() as solver:
        solver.newton(J, F, singular=1e-13)
        solver.marquardt(J, F, np.ones(3))
        solver.damped(J + J.transpose(0, 2, 1), F, np.ones(3))
    assert_array_equal(J, J_before)
    assert_array_equal(F, F_before)


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_numbers_do_not_depend_on_the_number_of_threads(monkeypatch, n_threads):
    J, F = systems(7)
    with Solver() as solver:
        expected = solver.newton(J, F, singular=1e-13)[0], solver.marquardt(J, F, np.ones(7))
    monkeypatch.setattr(linear_solves, "n_cores", lambda: n_threads)
    with Solver() as solver:
        assert_array_equal(solver.newton(J, F, singular=1e-13)[0], expected[0])
        assert_array_equal(solver.marquardt(J, F, np.ones(7)), expected[1])


def test_single_precision_is_taken_where_pivots_and_damping_allow_it():
    J, F = systems(6)
    J[1] = J[1] @ np.diag([1e-5] + [1.0] * (N - 1))  # a pivot beyond single precision
    J[2, 3] = J[2, 4]
    damping = np.array([0.1, 0.1, 0.1, 1e-8, 0.1, 0.1])
    with Solver() as plain, Solver((newton_steps, marquardt_steps)) as rough:
        expected, regular = plain.rough_newton(J, F, singular=1e-13)
        newton, same = rough.rough_newton(J, F, singular=1e-13)
        marquardt, exact = rough.rough_marquardt(J, F, damping), plain.marquardt(J, F, damping)
        assert_array_equal(expected, plain.newton(J, F, singular=1e-13)[0])
        assert_array_equal(plain.rough_marquardt(J, F, damping), exact)
    assert_array_equal(same, regular)
    assert_array_equal(newton[[1, 2]], expected[[1, 2]])
    assert_array_equal(marquardt[3], exact[3])
    rows = [0, 3, 4, 5]
    assert_allclose(newton[rows], expected[rows], rtol=1e-2)
    assert not np.array_equal(newton[rows], expected[rows])
    assert_allclose(marquardt, exact, rtol=1e-3, atol=1e-3 * np.abs(exact).max())


def test_chunks_go_to_threads_and_come_back_in_order():
    rows = np.arange(300.0)[:, None]
    with Solver() as solver:
        (twice,) = solver.in_chunks(lambda factor, x: (factor * x,), 2.0, rows)
    assert_array_equal(twice, 2 * rows)
