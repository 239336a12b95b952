"""Canonical correlation over trials: a plain loop, exact answers, chance, and what the floor is for."""

from __future__ import annotations

import numpy as np
import pytest
from similarity_samples import halves, latents, noise, rates_of, turned
from sklearn.cross_decomposition import CCA

from dynaprobe.analysis.cca_over_trials import CcaOverTrials, cca_over_trials
from dynaprobe.core.errors import RatesError, SettingsError

ITERATIVE = 1e-4  # scikit-learn's power iteration


def pairs(seed_latent=0, seed=1, n_units=16, noise_sd=0.5, n_splits=3):
    return halves(latents(seed_latent), n_units, seed=seed, noise_sd=noise_sd, n_splits=n_splits)


def centred(rates):
    return (rates.values - rates.values.mean(axis=0)).reshape(-1, rates.shape[2])


def test_equals_scikit_learn_where_all_units_are_taken():
    """8 units of a, 16 of b: the eight of a are all of it; those of b are read off the record's own choice."""
    a, b = pairs(n_units=4, n_splits=1), pairs(seed=5, n_units=8, n_splits=1)
    from dynaprobe.core.random import generator  # noqa: PLC0415

    units = np.sort(generator(3, "cca_over_trials", "units", "b", 0).permutation(8)[:4])
    wanted, in_sample = [], []
    for find, judge in ((0, 1), (1, 0)):
        model = CCA(2, scale=False, max_iter=5000, tol=1e-13)
        x, y = (centred(side) for side in (a[0][find], b[0][find].isel(unit=units)))
        tops = [v[:3].T for v in (np.linalg.svd(x)[2], np.linalg.svd(y)[2])]
        model.fit(x @ tops[0], y @ tops[1])
        for target, (one, two) in (
            (wanted, (a[0][judge], b[0][judge].isel(unit=units))),
            (in_sample, (a[0][find], b[0][find].isel(unit=units))),
        ):
            u, v = model.transform(centred(one) @ tops[0], centred(two) @ tops[1])
            target.append([np.corrcoef(u[:, k], v[:, k])[0, 1] for k in range(2)])
    found = cca_over_trials(a, b, seed=3, n_pcs=3, n_components=2, n_floor=1).data
    np.testing.assert_allclose(found["correlation"], np.mean(wanted, axis=0), atol=ITERATIVE)
    np.testing.assert_allclose(found["correlation_in_sample"], np.mean(in_sample, axis=0), atol=ITERATIVE)


def test_shared_latents_without_noise_agree_perfectly_and_halves_of_the_units_too():
    found = cca_over_trials(
        pairs(noise_sd=1e-9), pairs(seed=5, noise_sd=1e-9), seed=0, n_pcs=4, n_components=4, n_floor=20
    )
    np.testing.assert_allclose(found.data["correlation"], 1.0, atol=1e-8)
    np.testing.assert_allclose(found.data["ceiling"], 1.0, atol=1e-8)
    assert float(found.data["normalised"]) == pytest.approx(1.0, abs=1e-6)
    assert float(found.data["p_value"]) == pytest.approx(1 / 21)


def test_noise_lowers_what_is_judged_below_what_was_found():
    found = cca_over_trials(pairs(noise_sd=2.0), pairs(seed=5, noise_sd=2.0), seed=0, n_floor=5).data
    assert float(found["correlation_in_sample"].mean()) > float(found["score"]) + 0.05


def test_pure_noise_judges_to_nought():
    scores = []
    for seed in range(20):
        a, b = ([tuple(rates_of(noise(6, 24, 14, seed=100 * seed + 10 * s + h)) for h in (0, 1))] for s in (0, 1))
        scores.append(float(cca_over_trials(a, b, seed=seed, n_floor=1).data["score"]))
    assert abs(np.mean(scores)) < 5 * np.std(scores) / np.sqrt(20)  # SAMPLING, seeds fixed


def test_unrelated_signals_survive_new_trials_and_only_the_floor_knows():
    """Reliable but unrelated sides: correlations are far above 0, and no higher than those of surrogates."""
    p_values, leading = [], []
    for seed in range(12):
        found = cca_over_trials(
            pairs(seed_latent=50 + seed, seed=seed, n_splits=1),
            pairs(seed_latent=90 + seed, seed=200 + seed, n_splits=1),
            seed=seed,
            n_floor=19,
        ).data
        leading.append(float(found["correlation"][0]))
        p_values.append(float(found["p_value"]))
    assert np.mean(leading) > 0.3
    # Binomial(12, 0.1): 5 or more have a chance of 0.4 %.
    assert np.sum(np.asarray(p_values) <= 0.1) <= 4
    assert 0.2 < np.mean(p_values) < 0.8


def test_rotations_of_the_units_change_nothing_where_all_are_taken():
    a, b = pairs(n_units=8), pairs(seed=5, n_units=16)
    moved = [tuple(turned(half, seed=1, gain=2.0, shift=3.0) for half in pair) for pair in a]
    before, after = (cca_over_trials(side, b, seed=0, n_floor=2).data for side in (a, moved))
    np.testing.assert_allclose(after["correlation"], before["correlation"], atol=1e-9)


def test_a_round_trip_and_the_messages():
    a, b = pairs(), pairs(seed=5)
    found = cca_over_trials(a, b, seed=0, n_floor=2)
    assert CcaOverTrials.from_dataset(found.to_dataset()).data.equals(found.data)
    assert found.data.sizes["component"] == 5
    with pytest.raises(SettingsError, match=r"n_pcs must be at most 8, the fewer of .*, but got 9"):
        cca_over_trials(a, b, seed=0, n_pcs=9)
    with pytest.raises(SettingsError, match=r"n_components must be at most n_pcs, 3, but got 4"):
        cca_over_trials(a, b, seed=0, n_pcs=3, n_components=4)
    with pytest.raises(SettingsError, match=r"len\(halves_b\) must be at least 1"):
        cca_over_trials(a, [], seed=0)
    with pytest.raises(RatesError, match=r"halves_b must hold the same units in both halves, but got 16 and 15"):
        cca_over_trials(a, [(b[0][0], b[0][1].isel(unit=slice(15)))], seed=0)
