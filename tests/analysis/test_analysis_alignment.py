"""Alignment index: planes at known angles, brute force, the chance distribution, invariances and messages."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.stats import binom, ortho_group

from dynaprobe.analysis.alignment import AlignmentResult, alignment
from dynaprobe.core.errors import RatesError
from dynaprobe.core.rates import make_rates

ROUND_OFF = 1e-9  # decompositions of matrices of order one
ANGLE_ROUND_OFF = 1e-5  # degrees
SAMPLING = 0.02  # means over 2000 draws whose sd is about 0.2


def as_rates(values, event="go_cue", **coords):
    time_ms = 10.0 * np.arange(values.shape[1])
    dims = ("condition", "time", "unit")
    return make_rates(
        values, dims=dims, time_ms=time_ms, event=event, rate_unit="spikes/s", source="test", coords=coords
    )


def spread(axes, *, seed=0, n_conditions=6, n_times=20, sd=1.0):
    """Rates with the same variance along each of these orthonormal axes, and no cross-condition mean."""
    random = np.random.default_rng(seed)
    scores = random.standard_normal((n_conditions, n_times, len(axes)))
    scores -= scores.mean(axis=0)
    flat = np.linalg.qr(scores.reshape(-1, len(axes)))[0]  # keeps the span of columns, so the zero means as well
    return as_rates(sd * np.sqrt(len(flat)) * flat.reshape(scores.shape) @ axes)


def noisy(seed, n_units=10):
    random = np.random.default_rng(seed)
    return as_rates(random.standard_normal((6, 15, n_units)) @ random.standard_normal((n_units, n_units)) + 5.0)


@pytest.mark.parametrize("degrees", [0.0, 20.0, 45.0, 70.0, 90.0])
def test_two_planes_at_an_angle(degrees):
    e = ortho_group.rvs(8, random_state=0)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    prep, move = spread(e[:2]), spread(np.stack([c * e[0] + s * e[2], c * e[1] + s * e[3]]), seed=1)
    data = alignment(prep, move, n_chance=0).data
    assert int(data["n_dims"]) == 2
    assert_allclose(data["alignment_index"], c**2, atol=ROUND_OFF)
    assert_allclose(data["principal_angles_deg"], degrees, atol=ANGLE_ROUND_OFF)
    assert_allclose(data["captured"], 1.0, atol=ROUND_OFF)
    assert "p_value" not in data


def test_angles_come_smallest_first():
    e = np.eye(6)
    move = spread(np.stack([e[0], np.cos(0.5) * e[1] + np.sin(0.5) * e[2]]))
    angles = alignment(spread(e[:2], seed=1), move, n_chance=0).data["principal_angles_deg"]
    assert_allclose(angles, [0.0, np.degrees(0.5)], atol=ANGLE_ROUND_OFF)


def test_identical_epochs_are_aligned_more_than_chance():
    rates = noisy(0)
    data = alignment(rates, rates, n_chance=200).data
    assert_allclose(data["alignment_index"], 1.0, atol=ROUND_OFF)
    assert_allclose(data["p_value"], 1.0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("max_dims", [1, 3])
def test_index_by_brute_force(seed, max_dims):
    prep, move = noisy(seed), noisy(seed + 100)
    data = alignment(prep, move, threshold=1.0, max_dims=max_dims, n_chance=0).data
    covs, tops = [], []
    for rates in (prep, move):
        cov = np.zeros((10, 10))
        for t in range(15):
            mean = rates.values[:, t].mean(axis=0)
            for c in range(6):
                cov += np.outer(rates.values[c, t] - mean, rates.values[c, t] - mean) / 90
        covs.append(cov)
        tops.append(np.linalg.eigh(cov)[1][:, ::-1][:, :max_dims])
    for k, (D, C) in enumerate([(tops[0], covs[1]), (tops[1], covs[0])]):
        expected = np.trace(D.T @ C @ D) / np.linalg.eigvalsh(C)[::-1][:max_dims].sum()
        assert float(data["alignment_index"][k]) == pytest.approx(expected, abs=ROUND_OFF)
    # The eigenvalues of one projector between the other are squared cosines of the principal angles.
    squared = np.linalg.eigvalsh(tops[0].T @ tops[1] @ tops[1].T @ tops[0])[::-1]
    assert_allclose(np.cos(np.radians(data["principal_angles_deg"])) ** 2, squared, atol=1e-7)


@pytest.mark.parametrize(
    ("threshold", "cap", "d"), [(0.5, 4, 1), (0.8, 4, 2), (0.85, 4, 3), (1.0, 4, 4), (1.0, 2, 2)]
)
def test_dimensions_are_counted_and_capped(threshold, cap, d):
    weighted = spread(np.eye(8)[:5]).values * np.sqrt([50, 30, 10, 6, 4, 0, 0, 0])
    data = alignment(as_rates(weighted), noisy(1, 8), threshold=threshold, max_dims=cap, n_chance=0).data
    assert int(data["n_dims"]) == d
    assert float(data["captured"][0]) == pytest.approx([0.5, 0.8, 0.9, 0.96][d - 1])
    assert_allclose(np.abs(data["subspace"][0]), np.eye(8)[:d], atol=1e-7)


def test_chance_of_two_orthogonal_planes_is_one_half():
    # Both epochs together are isotropic in 4 dims, so that a random plane is uniform and holds half of either.
    data = alignment(spread(np.eye(8)[:2]), spread(np.eye(8)[2:4], seed=1), n_chance=2000).data
    assert_allclose(data["alignment_index"], 0.0, atol=ROUND_OFF)
    assert_allclose(data["chance_mean"], 0.5, atol=SAMPLING)
    uniform = [
        (np.linalg.qr(g)[0][:2] ** 2).sum() / 2 for g in np.random.default_rng(0).standard_normal((2000, 4, 2))
    ]
    assert_allclose(data["chance_sd"], np.std(uniform), atol=SAMPLING)
    assert_allclose(data["p_value"], 1 / 2001)


@pytest.mark.parametrize("ratio", [1.0, 9.0, 100.0])
def test_chance_follows_the_shape_of_the_covariance(ratio):
    # Variances w and 1 on two shared axes: a random axis of the data lies along (sqrt(w) g, h), and the mean of
    # w t^2 / (1 + w t^2) over the Cauchy ratio t = g / h is sqrt(w) / (1 + sqrt(w)).
    weights = np.sqrt([ratio, 1.0])
    prep, move = (as_rates(spread(np.eye(2), seed=s).values * weights) for s in (0, 1))
    data = alignment(prep, move, threshold=0.5, n_chance=2000).data
    along_first = np.sqrt(ratio) / (1 + np.sqrt(ratio))
    assert_allclose(data["chance_mean"], along_first + (1 - along_first) / ratio, atol=SAMPLING)


def test_error_rate_of_the_test():
    # Preparatory axes drawn by the law of chance itself: so faint that both epochs together have the
    # covariance of the movement. The share of p <= 0.1 is then 0.1.
    random = np.random.default_rng(2)
    n_sets, level = 150, 0.1
    weights = np.sqrt(np.array([8.0, 4, 2, 1, 1, 0.5]))
    move = as_rates(spread(np.eye(6), seed=3).values * weights)
    rejected = 0
    for k in range(n_sets):
        axes = np.linalg.qr(weights[:, None] * random.standard_normal((6, 2)))[0].T
        data = alignment(spread(axes, seed=k, sd=1e-5), move, n_chance=99, seed=k).data
        rejected += float(data["p_value"][0]) <= level
    low, high = binom.ppf([5e-5, 1 - 5e-5], n_sets, level)  # fails once in 10,000
    assert low <= rejected <= high


def test_the_shared_course_is_removed_unless_kept():
    shared = 20 * np.sin(np.arange(20.0))[:, None] * np.eye(8)[7]
    prep, move = (as_rates(spread(np.eye(8)[k : k + 2], seed=k).values + shared) for k in (0, 2))
    assert_allclose(alignment(prep, move, n_chance=0).data["alignment_index"], 0.0, atol=ROUND_OFF)
    kept = alignment(prep, move, subtract_mean=False, n_chance=0).data
    assert_allclose(kept["alignment_index"], 1.0, atol=ROUND_OFF)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 100))
def test_rotation_scale_and_exchange(seed, scale):
    prep, move = noisy(seed), noisy(seed + 1)
    options = {"threshold": 1.0, "n_chance": 0}
    plain = alignment(prep, move, **options).data
    turn = ortho_group.rvs(10, random_state=seed)
    turned = alignment(as_rates(scale * prep.values @ turn), as_rates(scale * move.values @ turn), **options).data
    back = alignment(move, prep, **options).data
    assert_allclose(turned["alignment_index"], plain["alignment_index"], atol=1e-6)
    assert_allclose(turned["principal_angles_deg"], plain["principal_angles_deg"], atol=1e-3)
    assert_allclose(back["alignment_index"][::-1], plain["alignment_index"], atol=1e-6)
    assert ((plain["alignment_index"] >= 0) & (plain["alignment_index"] <= 1 + ROUND_OFF)).all()


def test_same_seed_same_chance():
    first, again, other = (alignment(noisy(0), noisy(1), n_chance=50, seed=s) for s in (0, 0, 1))
    assert first.data.identical(again.data)
    assert not np.allclose(first.data["chance"], other.data["chance"])
    p = (1 + (first.data["chance"] <= first.data["alignment_index"]).sum("draw")) / 51
    assert_allclose(first.data["p_value"], p)


def test_record_survives_a_round_trip():
    result = alignment(noisy(0), noisy(1), n_chance=20)
    again = AlignmentResult.from_dataset(result.to_dataset())
    assert again.data.identical(result.data)
    assert again.settings["max_dims"] == 4
    assert list(result.data["direction"].values) == ["prep_to_move", "move_to_prep"]
    assert result.data["subspace"].dims == ("epoch", "pc", "unit")


@pytest.mark.parametrize(
    ("prep", "move", "options", "sentence"),
    [
        (noisy(0), noisy(0, 9), {}, "prep and move must have the same units in the same order, but got 10 and 9"),
        (noisy(0), noisy(0), {"max_dims": 0}, r"be at least 1 and at least 0, but got \(0, 1000\). Use 4"),
        (noisy(0), noisy(0), {"n_chance": -1}, r"but got \(4, -1\)"),
        (noisy(0), noisy(0), {"threshold": 2.0}, r"threshold must lie in \(0, 1\]"),
        (as_rates(np.ones((6, 5, 10))), noisy(0), {}, "prep must vary over conditions or times"),
        (noisy(0), as_rates(np.ones((6, 5, 10))), {}, "move must vary over conditions or times"),
        (noisy(0), spread(np.eye(10)[:2]), {}, "no more than the dimensions of the peri-movement activity"),
        (noisy(0).rename(condition="trial"), noisy(0), {}, "prep must have the dims"),
    ],
)
def test_messages(prep, move, options, sentence):
    with pytest.raises(RatesError, match=sentence):
        alignment(prep, move, **options)


def test_units_must_come_in_the_same_order():
    values = noisy(0, 3).values
    with pytest.raises(RatesError, match="the same units in the same order"):
        alignment(as_rates(values, unit=list("abc")), as_rates(values, unit=list("acb")))
