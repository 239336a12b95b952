"""Subspaces of two epochs: the solver against closed forms, planted subspaces, held-out shares, error rate."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from population_samples import as_rates, smooth_values, spread_evenly
from scipy.linalg import subspace_angles
from scipy.stats import binom, ortho_group

from dynaprobe.analysis.epoch_subspaces import EpochSubspaces, epoch_subspaces
from dynaprobe.analysis.stiefel import maximise_blocks, polar
from dynaprobe.analysis.surrogates import fit_tme
from dynaprobe.core.errors import RatesError

SOLVER = 1e-7  # values at a projected gradient of 1e-8
ROUND_OFF = 1e-9


def psd(seed, n=9):
    half = np.random.default_rng(seed).standard_normal((n, n)) * np.linspace(2, 0.2, n)
    return half @ half.T


def start(seed, n=9, d=4):
    return polar(np.random.default_rng(seed).standard_normal((n, d)))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_one_form_for_both_blocks_is_an_eigenvalue_problem(seed):
    A = psd(seed)
    found = maximise_blocks([A, A], (2, 2), start(seed))
    assert found.value == pytest.approx(np.linalg.eigvalsh(A)[-4:].sum(), rel=SOLVER)
    assert_allclose(found.axes.T @ found.axes, np.eye(4), atol=ROUND_OFF)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_blocks_that_fill_the_space_are_an_eigenvalue_problem(seed):
    # tr(Q1' A Q1) + tr(Q2' B Q2) = tr B + tr(Q1' (A - B) Q1) when Q2 is all that Q1 leaves.
    A, B = psd(seed, 5), psd(seed + 1, 5)
    found = maximise_blocks([A, B], (2, 3), start(seed, 5, 5))
    best = np.trace(B) + np.linalg.eigvalsh(A - B)[-2:].sum()
    assert found.value == pytest.approx(best, rel=SOLVER)


@pytest.mark.parametrize("seed", range(5))
def test_every_start_leads_where_alternating_closed_forms_lead(seed):
    # Second route: with one block held, the other is an eigenvalue problem outside it; within their span both are.
    A, B = psd(seed), psd(seed + 100)
    Q = start(seed)
    for _ in range(3000):
        for k, C in ((0, A), (1, B)):
            other = Q[:, 2:] if k == 0 else Q[:, :2]
            outside = np.eye(9) - other @ other.T
            best = np.linalg.eigh(outside @ C @ outside)[1][:, -2:]
            Q = np.hstack([best, other]) if k == 0 else np.hstack([other, best])
        turn = np.linalg.eigh(Q.T @ (A - B) @ Q)[1]
        Q = Q @ turn[:, ::-1]
    value = np.trace(Q[:, :2].T @ A @ Q[:, :2]) + np.trace(Q[:, 2:].T @ B @ Q[:, 2:])
    for again in range(3):
        found = maximise_blocks([A, B], (2, 2), start(10 * seed + again))
        assert found.residual <= 1e-8
        assert found.value == pytest.approx(value, rel=1e-6)


def test_polar_is_the_nearest_even_when_it_is_hard():
    matrix = np.random.default_rng(0).standard_normal((6, 3))
    assert_allclose(polar(matrix), np.linalg.svd(matrix)[0][:, :3] @ np.linalg.svd(matrix)[2], atol=ROUND_OFF)
    flat = matrix * [1, 1e-9, 1]
    assert_allclose(polar(flat).T @ polar(flat), np.eye(3), atol=1e-6)


def test_orthogonal_planes_lose_nothing():
    e = ortho_group.rvs(10, random_state=0)
    data = epoch_subspaces(as_rates(spread_evenly(e[:2])), as_rates(spread_evenly(e[2:5], seed=1))).data
    assert data["n_dims"].values.tolist() == [2, 3, 2]
    assert_allclose(data["orthogonal"], [[1, 0, 0], [0, 1, 0]], atol=ROUND_OFF)
    assert_allclose(data["exclusive"], [[1, 0, 0], [0, 1, 0]], atol=ROUND_OFF)
    assert float(data["index"]) == pytest.approx(1.0)
    assert float(data["penalty"]) == 0.0
    assert subspace_angles(data["orthogonal_axes"].values[:2].T, e[:2].T).max() < 1e-6


@pytest.mark.parametrize("degrees", [0.0, 30.0, 60.0, 90.0])
def test_two_lines_at_an_angle_share_their_loss(degrees):
    # max over a of cos^2(a) + sin^2(angle - a) is 1 + sin(angle).
    angle = np.radians(degrees)
    e = np.eye(6)
    other = (np.cos(angle) * e[0] + np.sin(angle) * e[1])[None]
    data = epoch_subspaces(as_rates(spread_evenly(e[:1])), as_rates(spread_evenly(other, seed=1)), leak=0.9).data
    assert float(data["index"]) == pytest.approx((1 + np.sin(angle)) / 2, abs=SOLVER)


def test_exclusive_and_shared_subspaces_are_found_as_planted():
    e = ortho_group.rvs(12, random_state=1)
    weights = np.sqrt([4.0, 3.0, 2.0, 1.5])
    prep = spread_evenly(np.eye(4)) * weights @ e[[0, 1, 4, 5]]
    move = spread_evenly(np.eye(4), seed=1) * weights @ e[[2, 3, 4, 5]]
    found = epoch_subspaces(as_rates(prep), as_rates(move), threshold=0.6, max_dims=2, leak=1e-6)
    assert found.failures == {}
    axes, space = found.data["exclusive_axes"].values, found.data["axis_space"].values
    for name, planted in (("prep", e[:2]), ("move", e[2:4]), ("shared", e[4:6])):
        # SOLVER: a leak of 1e-6 leaves an angle of about its root.
        assert subspace_angles(axes[space == name].T, planted.T).max() < 5e-3
    own = 7 / 10.5
    assert_allclose(found.data["exclusive"], [[own, 0, 1 - own], [0, own, 1 - own]], atol=2e-3)
    # The rest of each epoch's variance lies nowhere: the three subspaces hold all of it.
    assert_allclose(found.data["exclusive"].sum("space"), 1.0, atol=2e-3)


def test_no_subspace_leaks_more_than_allowed_and_less_leak_costs_more():
    prep, move = (as_rates(smooth_values(seed)) for seed in (0, 1))
    own, penalty = [], []
    for leak in (0.2, 0.05, 0.01):
        found = epoch_subspaces(prep, move, max_dims=2, leak=leak)
        shares = found.data["exclusive"].values
        assert max(shares[0, 1], shares[1, 0]) <= leak
        own.append(shares[0, 0] + shares[1, 1])
        penalty.append(float(found.data["penalty"]))
        axes = found.data["exclusive_axes"].values
        assert_allclose(axes @ axes.T, np.eye(len(axes)), atol=1e-8)
    assert own[0] >= own[1] >= own[2]
    assert penalty[0] <= penalty[1] <= penalty[2]


def test_a_leak_that_cannot_be_kept_is_said():
    values = spread_evenly(np.eye(3))
    found = epoch_subspaces(as_rates(values), as_rates(values), max_dims=1, leak=0.01)
    assert found.failures == {"leak that no penalty kept small enough": 1}


def test_shares_and_index_by_hand():
    prep, move = (smooth_values(seed) + 3 for seed in (2, 3))
    data = epoch_subspaces(as_rates(prep), as_rates(move), threshold=0.7, max_dims=3).data
    axes, space = data["orthogonal_axes"].values, data["pair_space"].values
    index = []
    for row, (name, values) in enumerate((("prep", prep), ("move", move))):
        X = (values - values.mean(axis=0)).reshape(-1, 12)
        for column, other in enumerate(("prep", "move")):
            share = ((X @ axes[space == other].T) ** 2).sum() / (X**2).sum()
            assert float(data["orthogonal"][row, column]) == pytest.approx(share)
        own = axes[space == name]
        index.append(((X @ own.T) ** 2).sum() / np.linalg.eigvalsh(X.T @ X)[-len(own) :].sum())
    assert float(data["index"]) == pytest.approx(np.mean(index))
    assert float(data["residual"]) <= 1e-8


def test_held_out_shares_without_noise_are_those_of_the_whole():
    prep, move = (as_rates(smooth_values(seed)) for seed in (4, 5))
    data = epoch_subspaces(prep, move, [((prep, move), (prep, move))], max_dims=2).data
    for name in ("orthogonal", "exclusive"):
        assert data[f"{name}_held_out"].shape == (2, 2, 3)
        assert_allclose(data[f"{name}_held_out"][0], data[name], atol=1e-4)


def test_held_out_shares_are_free_of_noise():
    e = ortho_group.rvs(30, random_state=2)
    signal = [4 * spread_evenly(e[2 * k : 2 * k + 2], seed=k) for k in range(2)]
    source = np.random.default_rng(0)

    def noisy(values):
        return as_rates(values + 0.7 * source.standard_normal(values.shape))

    halves = [(tuple(map(noisy, signal)), tuple(map(noisy, signal))) for _ in range(5)]
    data = epoch_subspaces(*halves[0][0], halves, max_dims=2, threshold=0.5).data
    # Half the variance is noise in thirty dimensions, which the share of all variance counts as lost.
    assert float(data["orthogonal"][0, 0]) < 0.8
    assert float(data["orthogonal_held_out"][:, 0, 0].mean()) == pytest.approx(1.0, abs=0.05)
    assert float(data["orthogonal_held_out"][:, 0, 1].mean()) == pytest.approx(0.0, abs=0.02)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-4, 1e4))
def test_rotation_scale_and_exchange(seed, scale):
    prep, move = smooth_values(seed, n_units=7), smooth_values(seed + 1, n_units=7)
    turn = ortho_group.rvs(7, random_state=seed)
    options = {"max_dims": 2, "leak": 0.9}
    plain = epoch_subspaces(as_rates(prep), as_rates(move), **options).data
    turned = epoch_subspaces(as_rates(scale * prep @ turn), as_rates(move @ turn), **options).data
    back = epoch_subspaces(as_rates(move), as_rates(prep), **options).data
    assert float(turned["index"]) == pytest.approx(float(plain["index"]), abs=1e-6)
    assert float(back["index"]) == pytest.approx(float(plain["index"]), abs=1e-6)
    assert_allclose(turned["orthogonal"], plain["orthogonal"], atol=1e-4)
    assert_allclose(back["orthogonal"].values[::-1, [1, 0, 2]], plain["orthogonal"], atol=1e-4)


@pytest.mark.slow
def test_error_rate_of_the_null():
    # Surrogates themselves: one covariance of units in both epochs.
    n_sets, level = 60, 0.1
    truth = fit_tme(as_rates(smooth_values(6, n_units=8, n_times=16)))
    rejected = 0
    for k in range(n_sets):
        values = truth.draw_values(k, seed=8)
        parts = as_rates(values[:, :8]), as_rates(values[:, 8:])
        found = epoch_subspaces(*parts, max_dims=2, leak=0.9, n_surrogates=9, seed=k)
        rejected += float(found.data["p_value"]) <= level
    low, high = binom.ppf([5e-5, 1 - 5e-5], n_sets, level)  # fails once in 10,000
    assert low <= rejected <= high


def test_separate_epochs_beat_surrogates_and_the_same_seed_gives_the_same():
    e = np.eye(10)
    prep, move = as_rates(spread_evenly(e[:3])), as_rates(spread_evenly(e[3:6], seed=1))
    first, again = (epoch_subspaces(prep, move, n_surrogates=19, seed=3) for _ in range(2))
    assert float(first.data["p_value"]) == pytest.approx(1 / 20)
    assert first.data.identical(again.data)
    other = EpochSubspaces.from_dataset(first.to_dataset())
    assert other.data.identical(first.data)


GOOD = as_rates(smooth_values(0))


@pytest.mark.parametrize(
    ("prep", "move", "options", "sentence"),
    [
        (
            GOOD,
            as_rates(smooth_values(0, n_units=9)),
            {},
            "the same units in the same order, but got 12 and 9 units",
        ),
        (GOOD, as_rates(smooth_values(0)[:4]), {}, "the same conditions in the same order, but got 6 and 4"),
        (GOOD, GOOD, {"leak": 0.0}, r"be at least 1 and lie in \(0, 1\), but got \(4, 0.0\)"),
        (GOOD, GOOD, {"max_dims": 0}, r"but got \(0, 0.01\)"),
        (GOOD, GOOD, {"threshold": 0.0}, r"threshold must lie in \(0, 1\]"),
        (as_rates(np.ones((6, 5, 12))), GOOD, {}, "prep must vary over conditions or times"),
        (GOOD, as_rates(smooth_values(0)[:1].repeat(6, axis=0)), {}, "move must vary over conditions"),
        (
            as_rates(smooth_values(0, n_units=3)),
            as_rates(smooth_values(1, n_units=3)),
            {"threshold": 1.0},
            "leave room for both subspaces among 3 units",
        ),
    ],
)
def test_messages(prep, move, options, sentence):
    with pytest.raises(RatesError, match=sentence):
        epoch_subspaces(prep, move, **options)


def test_halves_of_another_shape_are_said():
    small = as_rates(smooth_values(0)[:4])
    with pytest.raises(RatesError, match="halves must have the conditions, times and units of prep"):
        epoch_subspaces(GOOD, GOOD, [((small, small), (small, small))])
