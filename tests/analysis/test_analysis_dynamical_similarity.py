"""Dynamical similarity: linear systems of known conjugacy, the operator itself, segments, a second package."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.stats import ortho_group
from similarity_samples import latents, population, rates_of, turned

from dynaprobe.analysis.dynamical_similarity import DynamicalSimilarity, dynamical_similarity
from dynaprobe.core.errors import RatesError, SettingsError
from dynaprobe.core.preprocess import concatenate_segments

SOLVER = 1e-4  # an angle near 0 keeps half the digits of its cosine
LINEAR = {"n_pcs": 20, "n_delays": 1, "rank": 4, "condition_mean": "keep"}


def system(frequencies, decays, seed=0):
    """A real matrix with eigenvalues ``exp(-decay +- i frequency)`` in coordinates that are not orthogonal."""
    n = 2 * len(frequencies)
    generator = np.zeros((n, n))
    for k, (f, d) in enumerate(zip(frequencies, decays, strict=True)):
        generator[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = [[-d, -f], [f, -d]]
    mix = np.eye(n) + 0.3 * np.random.default_rng(seed).standard_normal((n, n))
    return mix @ expm(generator) @ np.linalg.inv(mix)


def driven(A, *, seed, n_conditions=8, n_bins=120):
    """Trajectories under A with white input, ``(condition, time, unit)``, after the start is forgotten."""
    random = np.random.default_rng(seed)
    x = np.zeros((n_conditions, A.shape[0]))
    found = []
    for t in range(n_bins + 100):
        x = x @ A.T + random.standard_normal(x.shape)
        if t >= 100:
            found.append(x)
    return np.stack(found, axis=1)


SLOW, FAST = system([0.2, 0.5], [0.05, 0.1]), system([0.9, 1.6], [0.05, 0.1])


def test_the_same_trajectories_through_another_map_are_at_distance_nought():
    x = driven(SLOW, seed=0)
    for seed in range(3):
        weights = np.random.default_rng(seed).standard_normal((4, 9))
        found = dynamical_similarity(rates_of(x), rates_of(x @ weights + 5), **LINEAR).data
        assert float(found["dsa_distance"]) < SOLVER
        assert float(found["euclidean"]) < SOLVER


def test_the_operator_is_the_systems_own_up_to_coordinates():
    long = rates_of(driven(SLOW, seed=0, n_conditions=20, n_bins=600))
    found = dynamical_similarity(long, long, **LINEAR)
    eigenvalues = np.linalg.eigvals(found.data["operator_a"].values)
    wanted = np.linalg.eigvals(SLOW)
    for value in wanted:
        assert np.abs(eigenvalues - value).min() < 0.02  # SAMPLING of 12000 steps
    assert 0.3 < float(found.data["r2_a"]) < 1


def test_conjugate_systems_are_near_whatever_the_noise_and_other_systems_far():
    """New inputs and an orthogonal change of coordinates against another set of frequencies."""
    turn = ortho_group.rvs(4, random_state=1)
    near = [
        float(
            dynamical_similarity(
                rates_of(driven(SLOW, seed=s)), rates_of(driven(turn.T @ SLOW @ turn, seed=50 + s)), **LINEAR
            ).data["dsa_distance"]
        )
        for s in range(5)
    ]
    far = [
        float(
            dynamical_similarity(
                rates_of(driven(SLOW, seed=s)), rates_of(driven(FAST, seed=50 + s)), **LINEAR
            ).data["dsa_distance"]
        )
        for s in range(5)
    ]
    assert max(near) < 0.1
    assert min(far) > 5 * max(near)


def test_two_planes_of_known_frequency_are_at_a_known_angle():
    """Pure rotations by f and g in the plane: the angle between the operators is ``arccos cos(f - g)``."""
    t = np.arange(200)
    sides = []
    for f in (0.3, 0.7):
        phases = np.linspace(0, 2 * np.pi, 8, endpoint=False)[:, None]
        sides.append(rates_of(np.stack([np.cos(f * t + phases), np.sin(f * t + phases)], axis=2)))
    found = dynamical_similarity(*sides, n_pcs=2, n_delays=1, rank=2).data
    assert float(found["dsa_distance"]) == pytest.approx(0.4, abs=1e-3)  # ends of the windows
    assert float(found["r2_a"]) == pytest.approx(1.0, abs=1e-9)


def test_delays_make_up_for_dimensions_that_are_not_seen():
    """One of two coordinates of a rotation, seen through three delays, predicts itself; alone it does not."""
    t = np.arange(100)
    phases = np.linspace(0, 2 * np.pi, 8, endpoint=False)[:, None]
    seen = rates_of(np.cos(0.4 * t + phases)[..., None])
    alone = dynamical_similarity(seen, seen, n_delays=1).data
    delayed = dynamical_similarity(seen, seen, n_delays=3)
    assert float(alone["r2_a"]) == pytest.approx(np.cos(0.4) ** 2, abs=0.02)
    assert float(delayed.data["r2_a"]) == pytest.approx(1.0, abs=1e-9)
    assert delayed.data["operator_a"].shape == (2, 2)
    assert delayed.failures == {"mode fewer than asked for, as a side has no more": 8}
    eigenvalues = np.linalg.eigvals(delayed.data["operator_a"].values)
    np.testing.assert_allclose(np.sort(np.angle(eigenvalues)), [-0.4, 0.4], atol=1e-9)


def test_vectors_never_reach_across_segments():
    """Two halves of a rotation with a jump between them: joined, the jump would spoil the prediction."""
    t = np.arange(60)
    phases = np.linspace(0, 2 * np.pi, 8, endpoint=False)[:, None]
    parts = []
    for event, shift in (("target_on", 0.0), ("go_cue", 2.0)):
        part = rates_of(np.stack([np.cos(0.3 * t + phases + shift), np.sin(0.3 * t + phases + shift)], axis=2))
        part["time"].attrs["event"] = event
        parts.append(part)
    joined = concatenate_segments(parts)
    found = dynamical_similarity(joined, joined, n_delays=3, rank=4).data
    assert float(found["r2_a"]) == pytest.approx(1.0, abs=1e-9)
    mended = joined.drop_vars("segment").assign_coords(time=10.0 * np.arange(120))
    mended["time"].attrs.update(units="ms", event="go_cue", dt_ms=10.0)
    assert float(dynamical_similarity(mended, mended, n_delays=3, rank=4).data["r2_a"]) < 0.9999


def test_rotation_gain_and_shift_of_the_units_change_nothing():
    a, b = population(latents(), 8, seed=1), population(latents(), 6, seed=5)
    before = float(dynamical_similarity(a, b).data["dsa_distance"])
    after = float(dynamical_similarity(turned(a, seed=2, gain=3.0, shift=1.0), b).data["dsa_distance"])
    assert after == pytest.approx(before, abs=1e-6)


def test_a_round_trip_and_the_messages():
    a = population(latents(), 5, seed=1)
    found = dynamical_similarity(a, a)
    assert DynamicalSimilarity.from_dataset(found.to_dataset()).data.equals(found.data)
    with pytest.raises(
        RatesError, match=r"a.time must have a segment of at least 31 bins, .* but got segments of \[24\]"
    ):
        dynamical_similarity(a, a, n_delays=30)
    with pytest.raises(SettingsError, match=r"rank must be at least 1, but got 0"):
        dynamical_similarity(a, a, rank=0)
    with pytest.raises(RatesError, match=r"a must vary over conditions"):
        dynamical_similarity(a.copy(data=np.ones(a.shape)), a)


@pytest.mark.slow
def test_dsa_metric_has_the_same_operator():
    DSA = pytest.importorskip("DSA", reason="dsa-metric is not installed: nothing to compare with")
    x = driven(SLOW, seed=0)
    x = x - x.mean(axis=(0, 1))
    theirs = DSA.DMD(x, n_delays=3, rank=6)
    theirs.fit()
    found = dynamical_similarity(
        rates_of(x), rates_of(x), n_pcs=4, n_delays=3, rank=6, condition_mean="keep"
    ).data["operator_a"]
    mine, other = (np.sort_complex(np.linalg.eigvals(np.asarray(M))) for M in (found.values, theirs.A_v))
    np.testing.assert_allclose(mine, other, atol=2e-3)  # single precision
