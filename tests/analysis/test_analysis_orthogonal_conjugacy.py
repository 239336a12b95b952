"""The best orthogonal conjugation: closed forms, grids, hidden rotations, and a second package."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group

from dynaprobe.analysis.orthogonal_conjugacy import best_conjugation

SOLVER = 1e-10  # of a maximum, relative


def random_pair(n, seed):
    return np.random.default_rng(seed).standard_normal((2, n, n))


@settings(max_examples=30, deadline=None)
@given(n=st.integers(2, 12), seed=st.integers(0, 10**6))
def test_a_hidden_rotation_or_reflection_is_found(n, seed):
    A = random_pair(n, seed)[0]
    hidden = ortho_group.rvs(n, random_state=seed)
    Q, value = best_conjugation(A, hidden.T @ A @ hidden)
    assert value == pytest.approx((A**2).sum(), rel=SOLVER)
    np.testing.assert_allclose(Q @ hidden.T @ A @ hidden @ Q.T, A, atol=1e-5 * np.linalg.norm(A))
    np.testing.assert_allclose(Q @ Q.T, np.eye(n), atol=1e-9)


@pytest.mark.parametrize("n", [2, 5, 9])
def test_symmetric_matrices_pair_their_eigenvalues_in_order(n):
    A, B = (M + M.T for M in random_pair(n, 1))
    wanted = np.linalg.eigvalsh(A) @ np.linalg.eigvalsh(B)  # von Neumann's trace inequality
    assert best_conjugation(A, B)[1] == pytest.approx(wanted, rel=SOLVER)


@pytest.mark.parametrize("n", [3, 4, 7])
def test_skew_matrices_pair_their_frequencies_in_order(n):
    A, B = (M - M.T for M in random_pair(n, 2))
    wanted = np.sort(np.abs(np.linalg.eigvals(A).imag)) @ np.sort(np.abs(np.linalg.eigvals(B).imag))
    assert best_conjugation(A, B)[1] == pytest.approx(wanted, rel=SOLVER)


def test_in_the_plane_it_equals_a_grid_of_rotations_and_reflections():
    angles = np.linspace(0, 2 * np.pi, 4001)
    cos, sin = np.cos(angles), np.sin(angles)
    turns = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
    every = np.concatenate([turns, turns @ np.diag([1.0, -1.0])])
    for seed in range(10):
        A, B = random_pair(2, seed)
        best = (A * (every @ B @ every.swapaxes(1, 2))).sum(axis=(1, 2)).max()
        assert best_conjugation(A, B)[1] == pytest.approx(best, rel=1e-5)  # steps of the grid


def test_no_random_rotation_does_better_and_the_value_belongs_to_the_rotation():
    A, B = random_pair(4, 3)
    Q, value = best_conjugation(A, B)
    assert value == pytest.approx((A * (Q @ B @ Q.T)).sum(), rel=1e-12)
    others = ortho_group.rvs(4, size=20000, random_state=0)
    assert (A * (others @ B @ others.swapaxes(1, 2))).sum(axis=(1, 2)).max() <= value


def test_swapping_transposes_and_seeds_agree_on_small_matrices():
    A, B = random_pair(5, 4)
    Q, value = best_conjugation(A, B)
    back, same = best_conjugation(B, A)
    assert same == pytest.approx(value, rel=SOLVER)
    np.testing.assert_allclose(back, Q.T, atol=1e-6)
    assert best_conjugation(A, B, seed=8)[1] == pytest.approx(value, rel=SOLVER)


def test_multiples_of_the_identity_and_single_numbers():
    A = random_pair(4, 5)[0]
    assert best_conjugation(3 * np.eye(4), A)[1] == pytest.approx(3 * np.trace(A))
    assert best_conjugation(np.array([[2.0]]), np.array([[-3.0]]))[1] == -6.0
    assert best_conjugation(np.zeros((3, 3)), np.eye(3))[1] == 0.0


@pytest.mark.slow
def test_dsa_metric_finds_nothing_better():
    # It asks for a library under the GPL, so that it is no extra of this package; install it by hand to compare.
    DSA = pytest.importorskip("DSA", reason="dsa-metric is not installed: nothing to compare with")
    torch = pytest.importorskip("torch", reason="dsa-metric needs PyTorch")
    for seed in range(2):
        A, B = random_pair(5, 10 + seed)
        torch.manual_seed(seed)
        theirs = DSA.SimilarityTransformDist(iters=600, lr=0.01, score_method="angular")
        found = float(theirs.fit_score(torch.tensor(A).float(), torch.tensor(B).float()))
        value = best_conjugation(A, B)[1]
        ours = float(np.arccos(value / np.linalg.norm(A) / np.linalg.norm(B)))
        assert ours <= found + 1e-4  # single precision
        assert ours == pytest.approx(found, abs=0.2)  # theirs starts twice and may end at a lesser maximum
