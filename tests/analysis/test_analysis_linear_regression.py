"""Regression both ways: scikit-learn's ridge in nested loops, exact maps, chance, invariance."""

from __future__ import annotations

import numpy as np
import pytest
from similarity_samples import latents, noise, population, rates_of, turned
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from dynaprobe.analysis.linear_regression import PENALTIES, LinearRegression, linear_regression
from dynaprobe.core.errors import RatesError, SettingsError

ROUND_OFF = 1e-8  # squared errors as differences of squares


def centred(values, train, test, condition_mean):
    mean = values[train].mean(axis=0) if condition_mean == "subtract" else values[train].mean(axis=(0, 1))
    return (values[train] - mean).reshape(-1, values.shape[2]), (values[test] - mean).reshape(-1, values.shape[2])


def by_hand(a, b, folds, condition_mean):
    """Nested cross-validation with scikit-learn, folds and penalties one by one."""
    truth, predicted, chosen = [], [], []

    def fit(train, test, penalty):
        x, x_test = centred(a, train, test, condition_mean)
        y, y_test = centred(b, train, test, condition_mean)
        strength = penalty * np.linalg.eigvalsh(x.T @ x).mean()
        return y_test, Ridge(alpha=strength, fit_intercept=False, solver="cholesky").fit(x, y).predict(x_test)

    for out in folds:
        rest = [fold for fold in folds if fold is not out]
        errors = np.zeros(len(PENALTIES))
        for inner in rest:
            train = np.concatenate([fold for fold in rest if fold is not inner])
            for k, penalty in enumerate(PENALTIES):
                y, guess = fit(train, inner, penalty)
                errors[k] += ((y - guess) ** 2).sum()
        chosen.append(PENALTIES[int(np.argmin(errors))])
        y, guess = fit(np.concatenate(rest), out, chosen[-1])
        truth.append(y)
        predicted.append(guess)
    return np.concatenate(truth), np.concatenate(predicted), chosen


@pytest.mark.parametrize("condition_mean", ["subtract", "keep"])
@pytest.mark.parametrize("n_folds", [None, 4])
def test_equals_scikit_learn_in_nested_loops(condition_mean, n_folds):
    latent = latents(n=2)
    a, b = population(latent, 5, seed=1, noise_sd=1.0), population(latent, 4, seed=5, noise_sd=1.0)
    folds = [np.arange(k, 6, n_folds or 6) for k in range(n_folds or 6)]
    found = linear_regression(a, b, condition_mean=condition_mean, n_folds=n_folds)
    for direction, (x, y), units in (("b_from_a", (a, b), "r2_unit_b"), ("a_from_b", (b, a), "r2_unit_a")):
        truth, guess, chosen = by_hand(x.values, y.values, folds, condition_mean)
        np.testing.assert_allclose(found.data["penalty"].sel(direction=direction), chosen)
        wanted = 1 - ((truth - guess) ** 2).sum() / (truth**2).sum()
        assert float(found.data["r2"].sel(direction=direction)) == pytest.approx(wanted, abs=ROUND_OFF)
        per_unit = 1 - ((truth - guess) ** 2).sum(axis=0) / (truth**2).sum(axis=0)
        np.testing.assert_allclose(found.data[units], per_unit, atol=ROUND_OFF)


def test_a_known_map_is_found_in_the_direction_it_runs():
    """b holds two of the four dimensions of a: b from a is exact, a from b gives the share of the two."""
    z = noise(8, 200, 4, seed=1, sd_bins=0.0)
    z[..., 2:] *= 2.0
    a, b = rates_of(z), rates_of(z[..., :2] @ np.array([[1.0, 2.0], [0.5, -1.0]]))
    r2 = linear_regression(a, b).data["r2"]
    assert float(r2.sel(direction="b_from_a")) == pytest.approx(1.0, abs=1e-6)  # the least penalty
    share = (z[..., :2] ** 2).sum() / (z**2).sum()
    assert float(r2.sel(direction="a_from_b")) == pytest.approx(share, abs=0.02)  # SAMPLING


def test_scikit_learn_agrees_on_the_average_of_the_scores():
    a, b = population(latents(), 6, seed=1), population(latents(), 6, seed=5)
    truth, guess, _ = by_hand(a.values, b.values, [np.array([k]) for k in range(6)], "subtract")
    # Rows of a left-out condition need not have mean 0, which r2_score would remove: compare with both signs.
    both = r2_score(
        np.concatenate([truth, -truth]), np.concatenate([guess, -guess]), multioutput="variance_weighted"
    )
    assert float(linear_regression(a, b).data["r2"][0]) == pytest.approx(both, abs=ROUND_OFF)


def test_unrelated_populations_predict_nothing_and_the_penalty_says_so():
    found = [linear_regression(*(rates_of(noise(6, 20, 8, seed=2 * s + k)) for k in (0, 1))) for s in range(20)]
    scores = np.array([record.data["r2"].values for record in found])
    assert -0.1 < scores.mean() < 0.02
    assert np.median([record.data["penalty"].values for record in found]) >= 10


def test_rotations_of_predictors_and_gains_change_nothing():
    a, b = population(latents(), 6, seed=1), population(latents(), 5, seed=5)
    before = linear_regression(a, b).data
    after = linear_regression(turned(a, seed=2, gain=7.0, shift=3.0), (b * 0.01).assign_attrs(b.attrs)).data
    np.testing.assert_allclose(after["r2"], before["r2"], atol=ROUND_OFF)
    np.testing.assert_allclose(after["r2_unit_b"], before["r2_unit_b"], atol=ROUND_OFF)


def test_a_shared_time_course_counts_only_when_the_mean_is_kept():
    course = 20 * np.sin(np.linspace(0, 6, 25))[None, :, None]
    a, b = (rates_of(course + noise(6, 25, 8, seed=k)) for k in (0, 1))
    assert float(linear_regression(a, b, condition_mean="keep").data["r2"][0]) > 0.9
    assert float(linear_regression(a, b).data["r2"][0]) < 0.1


def test_still_units_three_conditions_a_round_trip_and_the_messages():
    a, b = population(latents(), 5, seed=1), population(latents(), 4, seed=5)
    b[..., 1] = 7.1
    found = linear_regression(a, b)
    assert np.isnan(found.data["r2_unit_b"][1])
    assert np.isfinite(found.data["r2"]).all()
    assert found.failures == {"unit of b that does not vary, without R2": 1}
    assert LinearRegression.from_dataset(found.to_dataset()).data.equals(found.data)
    three = linear_regression(a.isel(condition=slice(3)), b.isel(condition=slice(3))).data
    assert (three["penalty"] == 1.0).all()
    with pytest.raises(SettingsError, match=r"number of conditions must be at least 3, but got 2"):
        linear_regression(a.isel(condition=slice(2)), b.isel(condition=slice(2)))
    with pytest.raises(RatesError, match=r"b must have as many values along time"):
        linear_regression(a, b.isel(time=slice(9)))
    with pytest.raises(SettingsError, match=r"condition_mean must be one of"):
        linear_regression(a, b, condition_mean="remove")
