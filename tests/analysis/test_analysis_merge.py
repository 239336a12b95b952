"""Merging of points: the rule itself by brute force, chains, crowds and messages."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.spatial.distance import cdist

from dynaprobe.analysis.merge import merge_points, nearest_distance
from dynaprobe.core.errors import DynaprobeError


def by_the_rule(points, quality, tol_merge):
    """The rule, word for word: from best to worst, join the first representative near enough or become one."""
    representatives, owner = [], np.full(len(points), -1)
    for row in sorted(range(len(points)), key=lambda i: (quality[i], *points[i])):
        near = [k for k, r in enumerate(representatives) if np.linalg.norm(points[r] - points[row]) <= tol_merge]
        if not near:
            representatives.append(row)
        owner[row] = near[0] if near else len(representatives) - 1
    return np.array(representatives, dtype=int), owner


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 4), st.floats(0.05, 2.0))
def test_merging_follows_its_rule(seed, n_points, n_units, tol_merge):
    rng = np.random.default_rng(seed)
    points, quality = rng.standard_normal((n_points, n_units)), rng.integers(0, 3, n_points).astype(float)
    expected = by_the_rule(points, quality, tol_merge)
    for found, wanted in zip(merge_points(points, quality, tol_merge=tol_merge), expected, strict=True):
        assert_array_equal(found, wanted)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60))
def test_representatives_are_apart_and_members_near_in_any_order(seed, n_points):
    rng = np.random.default_rng(seed)
    points, quality, order = rng.uniform(0, 3, (n_points, 2)), rng.random(n_points), rng.permutation(n_points)
    rows, owner = merge_points(points, quality, tol_merge=0.4)
    assert (cdist(points[rows], points[rows]) + np.eye(len(rows))).min() > 0.4
    assert np.linalg.norm(points - points[rows[owner]], axis=1).max() <= 0.4
    again, owner_again = merge_points(points[order], quality[order], tol_merge=0.4)
    assert_array_equal(order[again], rows)
    assert_array_equal(owner_again, owner[order])


def test_a_row_of_close_points_does_not_chain_into_one():
    line = np.linspace(0, 10, 1001)[:, None]
    rows, _ = merge_points(line, np.zeros(1001), tol_merge=0.105)
    # Ties of quality go to the smaller state, so representatives stand at every eleventh point.
    assert_array_equal(rows, np.arange(0, 1001, 11))


def test_a_crowd_on_one_point_is_merged_without_listing_its_pairs():
    # 200 000 equal points have 2e10 pairs; listing them would take hours and hundreds of gigabytes.
    points = np.concatenate([np.zeros((100_000, 3)), np.ones((100_000, 3))])
    begin = time.perf_counter()
    rows, owner = merge_points(points, np.zeros(200_000), tol_merge=1e-5)
    assert time.perf_counter() - begin < 10
    assert len(rows) == 2
    assert_array_equal(np.bincount(owner), [100_000, 100_000])


def test_nothing_merges_to_nothing():
    rows, owner = merge_points(np.zeros((0, 3)), np.zeros(0), tol_merge=1.0)
    assert rows.shape == owner.shape == (0,)


def test_bad_candidates_are_refused():
    with pytest.raises(DynaprobeError, match=r"tol_merge must be positive, but got 0\.0\. Give a distance"):
        merge_points(np.zeros((1, 1)), np.zeros(1), tol_merge=0.0)
    with pytest.raises(DynaprobeError, match="points must be finite, with a finite quality, but got 1 rows of 2"):
        merge_points(np.array([[np.nan], [1.0]]), np.zeros(2), tol_merge=1.0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 150), st.integers(1, 60), st.sampled_from([0.0, 1e-9, 1.0]))
def test_the_nearest_distance_against_all_distances(seed, n_points, n_others, spread):
    # Far from the origin, and points that nearly coincide with one of the others: squares would cancel.
    rng = np.random.default_rng(seed)
    others = 1000 + rng.standard_normal((n_others, 5))
    points = others[rng.integers(0, n_others, n_points)] + spread * rng.standard_normal((n_points, 5))
    assert_array_equal(nearest_distance(points, others), cdist(points, others).min(axis=1))
