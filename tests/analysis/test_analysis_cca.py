"""Cross-validated canonical correlation: second routes, shared latents, chance, invariance, and the bounds."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy.linalg import eigh
from scipy.ndimage import gaussian_filter1d
from sklearn.cross_decomposition import CCA

from dynaprobe.analysis.cca import CcaBounds, canonical_directions, cca_similarity, cca_with_bounds
from dynaprobe.core.errors import RatesError, SettingsError
from dynaprobe.core.rates import make_rates

ROUND_OFF = 1e-9  # singular values of some hundred rows
SQUARED = 1e-6  # second routes that solve with covariances lose half the digits
ITERATIVE = 1e-4  # scikit-learn's power iteration
SAMPLING = 5.0  # standard errors; seeds are fixed


def rates_of(values: np.ndarray, dt_ms: float = 10.0) -> xr.DataArray:
    return make_rates(
        values,
        dims=("condition", "time", "unit"),
        time_ms=dt_ms * np.arange(values.shape[1]),
        event="go_cue",
        rate_unit="a.u.",
        source="test",
    )


def noise(*shape: int, seed: int, sd_bins: float = 0.0) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal(shape)
    return gaussian_filter1d(values, sd_bins, axis=1) if sd_bins else values


def mixed(
    latent: np.ndarray, n_units: int, *, seed: int, noise_sd: float = 0.0, noise_seed: int = 0
) -> xr.DataArray:
    weights = np.random.default_rng(seed).standard_normal((latent.shape[2], n_units))
    return rates_of(
        latent @ weights + noise_sd * noise(*latent.shape[:2], n_units, seed=noise_seed, sd_bins=2.0) + 3
    )


def centred_rows(rates: xr.DataArray) -> np.ndarray:
    values = rates.values - rates.values.mean(axis=0)
    return values.reshape(-1, values.shape[2])


@pytest.fixture
def pair() -> tuple[xr.DataArray, xr.DataArray]:
    latent = noise(5, 30, 4, seed=0, sd_bins=2.0)
    return mixed(latent, 8, seed=1, noise_sd=1.0, noise_seed=2), mixed(
        latent, 9, seed=3, noise_sd=1.0, noise_seed=4
    )


def test_in_sample_equals_the_generalised_eigenvalue_route(pair: Any) -> None:
    a, b = pair
    x, y = centred_rows(a), centred_rows(b)
    zero = np.zeros((8, 9))
    cross = np.block([[np.zeros((8, 8)), x.T @ y], [y.T @ x, np.zeros((9, 9))]])
    power = np.block([[x.T @ x, zero], [zero.T, y.T @ y]])
    eigenvalues = eigh(cross, power, eigvals_only=True)[::-1][:8]
    found = cca_similarity(a, b, n_pcs=None).data["correlation_in_sample"].values
    np.testing.assert_allclose(found, eigenvalues, atol=SQUARED)


def test_in_sample_equals_scikit_learn_on_pc_scores(pair: Any) -> None:
    scores = []
    for rates in pair:
        x = centred_rows(rates)
        scores.append(x @ np.linalg.svd(x, full_matrices=False)[2][:3].T)
    x, y = CCA(3, scale=False, max_iter=5000, tol=1e-12).fit_transform(*scores)
    wanted = [np.corrcoef(x[:, k], y[:, k])[0, 1] for k in range(3)]
    found = cca_similarity(*pair, n_pcs=3).data["correlation_in_sample"].values
    np.testing.assert_allclose(found, wanted, atol=ITERATIVE)


def test_in_sample_equals_cca_zoo_on_all_units(pair: Any) -> None:
    linear = pytest.importorskip("cca_zoo.linear", reason="cca-zoo is not installed")
    x, y = linear.CCA(4).fit_transform([centred_rows(rates) for rates in pair])
    wanted = [np.corrcoef(x[:, k], y[:, k])[0, 1] for k in range(4)]
    found = cca_similarity(*pair, n_pcs=None, n_components=4).data["correlation_in_sample"].values
    np.testing.assert_allclose(found, np.abs(wanted), atol=SQUARED)


@pytest.mark.parametrize("condition_mean", ["subtract", "keep"])
def test_held_out_equals_a_plain_loop_over_conditions(pair: Any, condition_mean: Any) -> None:
    products = np.zeros((3, 3))
    for out in range(5):
        rest = [c for c in range(5) if c != out]
        sides, tests = [], []
        for rates in pair:
            train = rates.values[rest]
            mean = (
                train.mean(axis=0)
                if condition_mean == "subtract"
                else train.reshape(-1, train.shape[2]).mean(axis=0)
            )
            x = (train - mean).reshape(-1, train.shape[2])
            axes = np.linalg.svd(x, full_matrices=False)[2][:3].T
            sides.append(x @ axes)
            tests.append((rates.values[out] - mean) @ axes)
        # Whiten by the inverse root of the covariance, then the SVD of the cross-covariance.
        roots = []
        for x in sides:
            power, vectors = np.linalg.eigh(x.T @ x)
            roots.append((vectors / np.sqrt(power)) @ vectors.T)
        p, _, q = np.linalg.svd(roots[0] @ sides[0].T @ sides[1] @ roots[1])
        u, v = tests[0] @ roots[0] @ p, tests[1] @ roots[1] @ q.T
        products += np.array([(u * v).sum(axis=0), (u * u).sum(axis=0), (v * v).sum(axis=0)])
    wanted = products[0] / np.sqrt(products[1] * products[2])
    result = cca_similarity(*pair, n_pcs=3, condition_mean=condition_mean)
    np.testing.assert_allclose(result.data["correlation"].values, wanted, atol=SQUARED)
    assert float(result.data["score"]) == pytest.approx(wanted.mean(), abs=SQUARED)


def test_mixtures_of_the_same_latents_agree_perfectly() -> None:
    latent = noise(6, 25, 4, seed=0, sd_bins=2.0)
    result = cca_similarity(mixed(latent, 20, seed=1), mixed(latent, 30, seed=2), n_pcs=4)
    np.testing.assert_allclose(result.data["correlation"], 1.0, atol=ROUND_OFF)
    np.testing.assert_allclose(result.data["correlation_in_sample"], 1.0, atol=ROUND_OFF)
    np.testing.assert_allclose([result.data["variance_a"], result.data["variance_b"]], 1.0, atol=ROUND_OFF)


def test_independent_populations_agree_by_chance_when_held_out_only() -> None:
    scores, in_sample = [], []
    for seed in range(30):
        a, b = (rates_of(noise(6, 20, 10, seed=2 * seed + k, sd_bins=2.0)) for k in (0, 1))
        result = cca_similarity(a, b, n_pcs=4)
        scores.append(float(result.data["score"]))
        in_sample.append(float(result.data["correlation_in_sample"].mean()))
    assert abs(np.mean(scores)) < SAMPLING * np.std(scores) / np.sqrt(30)
    assert np.mean(in_sample) > 0.2  # what cross-validation is for


def test_any_invertible_map_of_the_units_changes_nothing(pair: Any) -> None:
    a, b = pair
    turned = rates_of(a.values @ np.random.default_rng(7).standard_normal((8, 8)) - 5)
    for n_folds in (None, 2):
        before = cca_similarity(a, b, n_pcs=None, n_folds=n_folds).data
        after = cca_similarity(turned, b, n_pcs=None, n_folds=n_folds).data
        for name in ("correlation", "correlation_in_sample"):
            np.testing.assert_allclose(after[name], before[name], atol=SQUARED)


def test_swapping_the_sides_changes_nothing(pair: Any) -> None:
    forth, back = cca_similarity(*pair, n_pcs=4).data, cca_similarity(*pair[::-1], n_pcs=4).data
    np.testing.assert_allclose(forth["correlation"], back["correlation"], atol=ROUND_OFF)


def test_a_shared_time_course_counts_only_when_the_mean_is_kept() -> None:
    course = 20 * np.sin(np.linspace(0, 6, 25))[None, :, None]
    a, b = (rates_of(course + noise(6, 25, 10, seed=k, sd_bins=2.0)) for k in (0, 1))
    kept = cca_similarity(a, b, n_pcs=3, n_components=1, condition_mean="keep")
    subtracted = cca_similarity(a, b, n_pcs=3, n_components=1)
    assert float(kept.data["score"]) > 0.95
    assert abs(float(subtracted.data["score"])) < 0.5


def test_directions_descend_and_have_a_fixed_sign() -> None:
    u, v = (np.linalg.qr(noise(60, 5, 1, seed=k)[..., 0])[0] for k in (0, 1))
    p, rho, q = canonical_directions(u, v)
    assert (np.diff(rho) <= 0).all()
    np.testing.assert_allclose(p.T @ (u.T @ v) @ q, np.diag(rho), atol=ROUND_OFF)
    assert (p[np.abs(p).argmax(axis=0), np.arange(5)] > 0).all()


def test_missing_dimensions_count_as_no_agreement() -> None:
    latent = noise(5, 20, 2, seed=0, sd_bins=2.0)
    result = cca_similarity(mixed(latent, 6, seed=1), mixed(latent, 7, seed=2), n_pcs=3)
    np.testing.assert_allclose(result.data["correlation"], [1, 1, 0], atol=ROUND_OFF)
    assert result.status.startswith("1 x component of a without variance")
    silent = cca_similarity(rates_of(np.ones((5, 20, 6))), mixed(latent, 7, seed=2), n_pcs=2)
    np.testing.assert_array_equal(silent.data["correlation"], [0, 0])


def recording(latent: np.ndarray, noise_sd: float, n_splits: int = 2) -> tuple[xr.DataArray, list[Any]]:
    """A noisy recording of latents as whole and halves; each half has twice the noise variance."""
    splits = []
    whole = mixed(latent, 20, seed=50)
    for split in range(n_splits):
        pair = [
            mixed(latent, 20, seed=50, noise_sd=noise_sd, noise_seed=100 + 2 * split + half) for half in (0, 1)
        ]
        splits.append(tuple(pair))
        whole = whole.copy(data=(pair[0].values + pair[1].values) / 2)
    return whole, splits


def test_a_model_with_the_same_latents_and_noise_reaches_the_ceiling() -> None:
    latent = noise(6, 30, 4, seed=0, sd_bins=3.0)
    whole, halves = recording(latent, 1.0)
    twin = mixed(latent, 20, seed=51, noise_sd=1.0, noise_seed=9)
    result = cca_with_bounds(twin, whole, halves_b=halves, seed=0, n_floor=30, n_pcs=4)
    assert float(result.data["p_value"]) == 1 / 31
    # One pair of noisy populations against another of the same make: they differ by their noise alone.
    assert float(result.data["normalised"]) == pytest.approx(1.0, abs=0.1)
    clean = cca_with_bounds(mixed(latent, 20, seed=51), whole, halves_b=halves, seed=0, n_floor=30, n_pcs=4)
    assert float(clean.data["normalised"]) > 1.0
    assert float(clean.data["normalised_noiseless"]) == pytest.approx(1.0, abs=0.05)


def test_a_model_that_is_a_surrogate_has_uniform_p_values() -> None:
    latent = noise(5, 16, 3, seed=0, sd_bins=2.0)
    whole, halves = recording(latent, 1.0, n_splits=1)
    p_values = []
    for seed in range(30):
        other = rates_of(noise(5, 16, 12, seed=200 + seed, sd_bins=2.0))
        result = cca_with_bounds(other, whole, halves_b=halves, seed=seed, n_floor=19, n_pcs=3)
        p_values.append(float(result.data["p_value"]))
    # Uniform on 1/20 .. 1 has mean 0.525 and sd 0.288.
    assert abs(np.mean(p_values) - 0.525) < 3 * 0.288 / np.sqrt(30)


def test_bounds_carry_what_they_are_made_of(pair: Any) -> None:
    latent = noise(5, 30, 4, seed=0, sd_bins=2.0)
    whole, halves = recording(latent, 1.0)
    result = cca_with_bounds(pair[0], whole, halves_b=halves, seed=3, n_floor=7, n_pcs=4, n_components=3)
    data = result.data
    assert dict(data.sizes) == {"component": 3, "draw": 7, "split": 2}
    score, floor, ceiling = float(data["score_halves"]), float(data["floor"].mean()), float(data["ceiling"].mean())
    assert float(data["normalised"]) == pytest.approx((score - floor) / (ceiling - floor))
    each = [cca_similarity(pair[0], half, n_pcs=4, n_components=3).data["score"] for p in halves for half in p]
    assert score == pytest.approx(np.mean(each))
    own = cca_similarity(*halves[1], n_pcs=4, n_components=3).data["correlation"]
    np.testing.assert_allclose(data["ceiling_correlation"][1], own, atol=ROUND_OFF)
    again = cca_with_bounds(pair[0], whole, halves_b=halves, seed=3, n_floor=7, n_pcs=4, n_components=3)
    xr.testing.assert_identical(again.data, data)
    assert CcaBounds.from_dataset(result.to_dataset()).settings["seed"] == 3


def test_a_ceiling_below_the_floor_is_said() -> None:
    a = rates_of(noise(5, 16, 8, seed=0, sd_bins=2.0))
    halves = (rates_of(a.values), rates_of(-noise(5, 16, 8, seed=1, sd_bins=2.0)))
    results = [
        cca_with_bounds(a, a, halves_b=[halves], seed=seed, n_floor=2, n_pcs=2, n_components=1)
        for seed in range(8)
    ]
    undefined = [r for r in results if float(r.data["ceiling"][0]) <= float(r.data["floor"].mean())]
    for result in undefined:
        assert np.isnan(result.data["normalised"])
        assert "the score has no scale" in result.status
    assert undefined, "no seed put the ceiling below the floor"


def test_bad_input_is_named(pair: Any) -> None:
    a, b = pair
    with pytest.raises(RatesError, match=r"b must have as many values along condition as a \(5\), but got 4"):
        cca_similarity(a, b.isel(condition=slice(4)))
    late = b.assign_coords(time=b["time"].copy(data=b["time"].values + 100))
    late["time"].attrs = b["time"].attrs
    with pytest.raises(RatesError, match=r"b.time must lie within half a bin .* got a difference of 100 ms"):
        cca_similarity(a, late)
    with pytest.raises(SettingsError, match="n_pcs must lie between 1 and 8, the number of units"):
        cca_similarity(a, b, n_pcs=9)
    with pytest.raises(SettingsError, match="n_components must lie between 1 and 4"):
        cca_similarity(a, b, n_pcs=4, n_components=5)
    with pytest.raises(SettingsError, match="number of conditions must be at least 3, but got 2"):
        cca_similarity(a.isel(condition=slice(2)), b.isel(condition=slice(2)))
    with pytest.raises(SettingsError, match="n_folds must lie between 2 and 5"):
        cca_similarity(a, b, n_folds=6)
    with pytest.raises(SettingsError, match="condition_mean must be one of"):
        cca_similarity(a, b, condition_mean="remove")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=r"len\(halves_b\) must be at least 1"):
        cca_with_bounds(a, b, halves_b=[], seed=0)
