"""Shape distances: exact answers, brute force over rotations, SciPy, metric axioms, chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes, sqrtm
from scipy.spatial import procrustes
from similarity_samples import latents, noise, population, rates_of, turned

from dynaprobe.analysis.cca import cca_similarity
from dynaprobe.analysis.shape_distance import ShapeDistance, best_rotation, shape_distance
from dynaprobe.core.errors import RatesError, SettingsError

ROUND_OFF = 1e-7  # an angle near 0 keeps half the digits of its cosine


def rows(rates, condition_mean="subtract"):
    values = rates.values - (rates.values.mean(axis=0) if condition_mean == "subtract" else 0)
    flat = values.reshape(-1, values.shape[-1])
    return flat - flat.mean(axis=0)


def test_equals_scipy_in_both_of_its_forms():
    a, b = population(latents(), 7, seed=1), population(latents(), 7, seed=5)
    x, y = rows(a), rows(b)
    found = shape_distance(a, b).data
    _, _, disparity = procrustes(x, y)  # sum of squares after the best gain: 1 - cosine^2
    assert float(found["cosine"]) == pytest.approx(np.sqrt(1 - disparity), abs=1e-12)
    rotation, scale = orthogonal_procrustes(y, x)
    assert float(found["cosine"]) == pytest.approx(scale / np.linalg.norm(x) / np.linalg.norm(y), abs=1e-12)
    np.testing.assert_allclose(found["rotation"].values.T, rotation, atol=1e-9)
    x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
    assert float(found["procrustes_distance"]) == pytest.approx(np.linalg.norm(x - y @ rotation), abs=1e-12)
    assert float(found["angular_distance"]) == pytest.approx(np.arccos((x * (y @ rotation)).sum()), abs=1e-12)


def test_equals_brute_force_over_rotations_and_reflections_of_the_plane():
    a, b = population(latents(), 2, seed=1), population(latents(), 2, seed=5)
    x, y = (r / np.linalg.norm(r) for r in (rows(a), rows(b)))
    best = -1.0
    for angle in np.linspace(0, 2 * np.pi, 20001):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        best = max(best, (x * (y @ turn)).sum(), (x * (y @ turn @ np.diag([1, -1]))).sum())
    assert float(shape_distance(a, b).data["cosine"]) == pytest.approx(best, abs=1e-7)  # steps of the grid


def test_held_out_equals_a_plain_loop():
    a, b = population(latents(), 5, seed=1), population(latents(), 8, seed=5)
    product, powers = 0.0, [0.0, 0.0]
    for out in range(6):
        rest = [c for c in range(6) if c != out]
        parts = []
        for rates in (a, b):
            mean = rates.values[rest].mean(axis=0)
            size = np.linalg.norm(rates.values[rest] - mean)
            train = (rates.values[rest] - mean).reshape(-1, rates.shape[-1])
            parts.append((train / size, (rates.values[out] - mean) / size))
        padded = [np.pad(part, ((0, 0), (0, 8 - part.shape[1]))) for side in parts for part in side]
        rotation, _ = orthogonal_procrustes(padded[2], padded[0])
        product += (padded[1] * (padded[3] @ rotation)).sum()
        powers = [p + (part**2).sum() for p, part in zip(powers, (padded[1], padded[3]), strict=True)]
    found = shape_distance(a, b).data
    assert float(found["cosine_held_out"]) == pytest.approx(product / np.sqrt(np.prod(powers)), abs=1e-10)
    assert float(found["angular_distance_held_out"]) == pytest.approx(np.arccos(found["cosine_held_out"]))


def test_a_known_angle_is_found():
    """Orthogonal pairs of courses: rotating a fraction of one onto a third dimension gives the angle."""
    grid = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    courses = np.stack([np.outer([1, -1, 1, -1], f(grid)) for f in (np.sin, np.cos)])
    x = np.stack([courses[0], 0 * courses[0]], axis=-1)
    for angle in (0.0, 0.3, 1.2, np.pi / 2):
        # Along one unit alone no rotation of units can undo another course in time.
        y = np.stack([np.cos(angle) * courses[0] + np.sin(angle) * courses[1], 0 * courses[0]], axis=-1)
        found = shape_distance(rates_of(x), rates_of(y)).data
        assert float(found["angular_distance"]) == pytest.approx(angle, abs=ROUND_OFF)
        assert float(found["procrustes_distance"]) == pytest.approx(2 * np.sin(angle / 2), abs=ROUND_OFF)


def test_rotation_gain_and_shift_do_not_count_but_a_stretch_does():
    a = population(latents(), 6, seed=1)
    still = shape_distance(a, turned(a, seed=2, gain=3.0, shift=5.0)).data
    assert float(still["angular_distance"]) == pytest.approx(0.0, abs=ROUND_OFF)
    assert float(still["angular_distance_held_out"]) == pytest.approx(0.0, abs=ROUND_OFF)
    stretched = a * np.array([5.0, 1, 1, 1, 1, 1])
    assert float(shape_distance(a, stretched.assign_attrs(a.attrs)).data["angular_distance"]) > 0.1


def test_whitening_makes_it_blind_to_any_invertible_map_and_equal_to_cca():
    a, b = population(latents(), 5, seed=1), population(latents(), 5, seed=5)
    mapped = a.copy(data=a.values @ np.random.default_rng(0).standard_normal((5, 5)))
    before, after = (shape_distance(side, b, alpha=0.0).data for side in (a, mapped))
    assert float(after["cosine"]) == pytest.approx(float(before["cosine"]), abs=1e-8)
    assert float(after["cosine_held_out"]) == pytest.approx(float(before["cosine_held_out"]), abs=1e-8)
    wanted = float(cca_similarity(a, b, n_pcs=None).data["correlation_in_sample"].mean())
    assert float(before["cosine"]) == pytest.approx(wanted, abs=1e-8)


def test_partial_whitening_is_the_formula_and_does_not_see_the_gain():
    a, b = population(latents(), 5, seed=1), population(latents(), 5, seed=5)
    shapes = []
    for rates in (a, b):
        x = rows(rates)
        cov = x.T @ x
        mixed = x @ (0.3 * np.eye(5) + 0.7 * np.linalg.inv(sqrtm(cov / (np.trace(cov) / 5))))
        shapes.append(mixed / np.linalg.norm(mixed))
    wanted = np.linalg.norm(shapes[0].T @ shapes[1], ord="nuc")
    assert float(shape_distance(a, b, alpha=0.3).data["cosine"]) == pytest.approx(wanted, abs=1e-10)
    again = shape_distance((a * 40).assign_attrs(a.attrs), b, alpha=0.3).data["cosine"]
    assert float(again) == pytest.approx(wanted, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(seeds=st.lists(st.integers(0, 10**6), min_size=3, max_size=3), alpha=st.sampled_from([0.0, 0.4, 1.0]))
def test_the_triangle_inequality_holds(seeds, alpha):
    """Populations of 3, 5 and 4 units, some close, some far."""
    shared = noise(4, 8, 4, seed=7)
    a, b, c = (
        rates_of(shared @ np.random.default_rng(s).standard_normal((4, n)) + (s % 3) * noise(4, 8, n, seed=s))
        for s, n in zip(seeds, (3, 5, 4), strict=True)
    )
    found = [shape_distance(x, y, alpha=alpha).data for x, y in ((a, b), (b, c), (a, c))]
    for name in ("angular_distance", "procrustes_distance"):
        ab, bc, ac = (float(data[name]) for data in found)
        assert ac <= ab + bc + ROUND_OFF
        assert ab <= ac + bc + ROUND_OFF
        assert bc <= ab + ac + ROUND_OFF


def test_unrelated_populations_are_at_right_angles_when_held_out_only():
    held_out, in_sample = [], []
    for seed in range(30):
        found = shape_distance(*(rates_of(noise(6, 20, 10, seed=2 * seed + k)) for k in (0, 1))).data
        held_out.append(float(found["cosine_held_out"]))
        in_sample.append(float(found["cosine"]))
    assert abs(np.mean(held_out)) < 5 * np.std(held_out) / np.sqrt(30)  # SAMPLING, seed fixed
    assert np.mean(in_sample) > 0.3  # what the held-out variant is for


def test_a_time_course_shared_by_all_conditions_counts_only_when_kept():
    course = 20 * np.sin(np.linspace(0, 6, 25))[None, :, None]
    a, b = (rates_of(course + noise(6, 25, 8, seed=k)) for k in (0, 1))
    assert float(shape_distance(a, b, condition_mean="keep").data["angular_distance_held_out"]) < 0.2
    assert float(shape_distance(a, b).data["angular_distance_held_out"]) > 1.2


def test_directions_that_nothing_reaches_are_left_out_of_the_rotation():
    rotation, total = best_rotation(np.diag([2.0, 0.0]))
    np.testing.assert_array_equal(rotation, np.diag([1.0, 0.0]))
    assert total == 2.0
    assert best_rotation(np.zeros((2, 3)))[1] == 0.0


def test_a_round_trip_and_the_messages():
    a = population(latents(), 5, seed=1)
    found = shape_distance(a, a)
    assert ShapeDistance.from_dataset(found.to_dataset()).data.equals(found.data)
    with pytest.raises(SettingsError, match=r"alpha must lie between 0 and 1, but got 2"):
        shape_distance(a, a, alpha=2)
    flat = a.copy(data=np.broadcast_to(np.linspace(0, 9, 24)[None, :, None], a.shape))
    with pytest.raises(RatesError, match=r"b must vary over conditions, but got the same in all"):
        shape_distance(a, flat)
    with pytest.raises(SettingsError, match=r"number of conditions must be at least 3, but got 2"):
        shape_distance(a.isel(condition=slice(2)), a.isel(condition=slice(2)))
