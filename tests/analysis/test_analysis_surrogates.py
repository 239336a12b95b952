"""Tensor maximum entropy: marginals matched, the closed case, a generic optimiser, and what draws look like."""

import time

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import minimize

from dynaprobe.analysis.surrogates import (
    KEEPS,
    additive_mean,
    fit_tme,
    minimise_dual,
    normalised_score,
    p_value_above,
    shuffle_surrogates,
    tme_surrogates,
)
from dynaprobe.core.errors import RatesError, SettingsError
from dynaprobe.core.rates import check_rates, make_rates

SOLVER = 1e-9  # the misfit that fit_tme accepts
ROUND_OFF = 1e-10  # products of some thousand doubles
SAMPLING = 5.0  # standard errors; the seeds are fixed, so a failure is a bug and not bad luck
AXES = {"C": 0, "T": 1, "N": 2}


def rates_of(values: np.ndarray) -> xr.DataArray:
    return make_rates(
        values,
        dims=("condition", "time", "unit"),
        time_ms=10.0 * np.arange(values.shape[1]),
        event="go_cue",
        rate_unit="a.u.",
        source="test",
    )


def example(n_conditions: int = 5, n_times: int = 12, n_units: int = 7, seed: int = 0) -> xr.DataArray:
    source = np.random.default_rng(seed)
    values = source.standard_normal((n_conditions, n_times, n_units)) * source.uniform(0.5, 3, n_units)
    return rates_of(gaussian_filter1d(values, 1.0, axis=1) + source.uniform(1, 5, n_units))


def marginal(values: np.ndarray, letter: str) -> np.ndarray:
    flat = np.moveaxis(values, AXES[letter], 0).reshape(values.shape[AXES[letter]], -1)
    return flat @ flat.T


@pytest.mark.parametrize("keep", KEEPS)
def test_expected_marginal_covariances_are_those_of_the_data(keep: str) -> None:
    rates = example()
    fit = fit_tme(rates, keep=keep)
    residual = rates.values - additive_mean(rates.values, keep)
    assert set(fit.marginal_covariances()) == set(keep)
    for letter, covariance in fit.marginal_covariances().items():
        wanted = marginal(residual, letter)
        np.testing.assert_allclose(covariance, wanted, atol=2 * SOLVER * np.trace(wanted))


def test_the_full_covariance_gives_the_same_marginals_by_brute_force() -> None:
    fit = fit_tme(example(3, 4, 5))
    # Every column of the map from noise to data, written out; its square is the covariance of all elements.
    columns = np.einsum("ai,bj,dk,ijk->abdijk", *fit.bases, np.sqrt(fit.variance)).reshape(60, -1)
    full = (columns @ columns.T).reshape(3, 4, 5, 3, 4, 5)
    for letter, pattern in {"C": "atnbtn->ab", "T": "cancbn->ab", "N": "ctactb->ab"}.items():
        np.testing.assert_allclose(
            np.einsum(pattern, full), fit.marginal_covariances()[letter], atol=ROUND_OFF * full.max() * 60
        )


@pytest.mark.parametrize("letter", ["T", "N", "C"])
def test_one_constraint_shares_each_eigenvalue_evenly(letter: str) -> None:
    rates = example()
    fit = fit_tme(rates, keep=letter)
    residual = rates.values - additive_mean(rates.values, letter)
    eigenvalues = np.linalg.eigvalsh(marginal(residual, letter))
    n_others = rates.size / rates.shape[AXES[letter]]
    shares = np.moveaxis(fit.variance, AXES[letter], 0).reshape(eigenvalues.size, -1)
    np.testing.assert_allclose(shares, np.tile(eigenvalues[:, None] / n_others, shares.shape[1]), rtol=SOLVER)


def test_a_generic_optimiser_finds_the_same_entropy() -> None:
    source = np.random.default_rng(3)
    spread = source.gamma(0.3, size=(3, 4, 2))
    targets = [spread.sum(axis=tuple(k for k in range(3) if k != axis)) for axis in range(3)]

    def dual(logs: np.ndarray) -> float:
        parts = np.split(np.exp(logs), [3, 7])
        total = parts[0][:, None, None] + parts[1][:, None] + parts[2]
        return sum(p @ s for p, s in zip(parts, targets, strict=True)) - np.log(total).sum()

    generic = minimize(
        dual,
        np.zeros(9),
        method="Nelder-Mead",
        options={"maxiter": 40000, "maxfev": 40000, "xatol": 1e-10, "fatol": 1e-14, "adaptive": True},
    )
    found = minimise_dual(targets)
    # The simplex search stalls a little above the minimum; it must neither beat Newton nor stay far from it.
    assert dual(np.log(np.concatenate(found))) <= generic.fun + 1e-9
    assert dual(np.log(np.concatenate(found))) == pytest.approx(generic.fun, abs=1e-3)


def test_maximum_entropy_beats_every_other_spread_with_the_same_marginals() -> None:
    fit = fit_tme(example())
    source = np.random.default_rng(0)
    entropy = np.log(fit.variance).sum()
    for _ in range(20):
        change = source.standard_normal(fit.variance.shape)
        for axes in ((1, 2), (0, 2), (0, 1)):  # marginals of the change are zero
            change -= change.mean(axis=axes, keepdims=True)
        for axes in ((1, 2), (0, 2), (0, 1)):
            assert np.abs(change.sum(axis=axes)).max() < ROUND_OFF * change.size
        step = 0.1 * (fit.variance / np.abs(change)).min()
        assert np.log(fit.variance + step * change).sum() < entropy


@given(st.integers(2, 6), st.integers(2, 8), st.integers(1, 6), st.integers(0, 1000), st.floats(1e-4, 1e4))
@settings(max_examples=25, deadline=None)
def test_any_tensor_is_fitted_and_scale_only_scales(
    n_conditions: int, n_times: int, n_units: int, seed: int, scale: float
) -> None:
    rates = example(n_conditions, n_times, n_units, seed)
    fit, scaled = fit_tme(rates), fit_tme(rates_of(rates.values * scale))
    assert fit.max_relative_error <= SOLVER
    if fit.variance.shape == scaled.variance.shape:
        np.testing.assert_allclose(scaled.variance, fit.variance * scale**2, rtol=1e-4)
    np.testing.assert_allclose(
        scaled.variance.sum(), ((rates.values - additive_mean(rates.values, "TNC")) ** 2).sum() * scale**2
    )


@pytest.mark.parametrize("keep", ["T", "TN", "TNC"])
def test_the_paper_sized_tensor_is_solved_and_drawn_in_seconds(keep: str) -> None:
    source = np.random.default_rng(1)
    smooth = gaussian_filter1d(source.standard_normal((10, 61, 50)), 4.0, axis=1)
    begin = time.process_time()
    fit = fit_tme(rates_of(smooth), keep=keep)
    draws = fit.draw(100, seed=0)
    # Half a second or less where nothing else runs.
    assert time.process_time() - begin < 5.0
    assert fit.max_relative_error <= SOLVER
    assert draws.shape == (100, 10, 61, 50)


def test_sample_covariances_come_to_the_constraints_as_fast_as_samples_do() -> None:
    """The error of a mean over n draws has the standard error of one draw over sqrt(n), at every n."""
    rates = example(4, 6, 5)
    draws = tme_surrogates(rates, 4000, seed=1).values
    residual = rates.values - additive_mean(rates.values, "TNC")
    for letter in "TNC":
        wanted = marginal(residual, letter)
        samples = np.array([marginal(d - additive_mean(rates.values, "TNC"), letter) for d in draws])
        spread = np.linalg.norm(samples.std(axis=0))
        for n in (250, 1000, 4000):
            error = np.linalg.norm(samples[:n].mean(axis=0) - wanted) * np.sqrt(n) / spread
            # SAMPLING: the square of this has mean 1, and at worst the tail of one normal variable: three in 1000.
            assert error < 3.0


def test_directions_without_variance_stay_without() -> None:
    rates = example()
    centred = rates_of(rates.values - rates.values.mean(axis=0))
    fit = fit_tme(centred)
    assert fit.n_dropped == {"T": 0, "N": 0, "C": 1}
    draw = fit.draw_values(0, seed=0)
    assert np.abs(draw.mean(axis=0) - fit.mean.mean(axis=0)).max() < ROUND_OFF * np.abs(draw).max() * 10
    # Loadings that add to 0 leave the additive mean at 0, so that one direction of units is left.
    low_rank = rates_of(centred.values[:, :, :1] * np.array([1.0, -1.5, 0.5]))
    assert fit_tme(low_rank).n_dropped["N"] == 2


def test_rates_without_variance_give_their_mean() -> None:
    values = np.zeros((3, 4, 2)) + np.array([1.1, 2.3])
    draw = fit_tme(rates_of(values)).draw_values(0, seed=0)
    np.testing.assert_allclose(draw, values, rtol=ROUND_OFF)


def test_draws_have_the_marginals_on_average() -> None:
    rates = example(4, 6, 5)
    draws = tme_surrogates(rates, 2000, seed=0).values
    mean = additive_mean(rates.values, "TNC")
    spread = draws.std(axis=0) / np.sqrt(2000)
    assert (np.abs(draws.mean(axis=0) - mean) < SAMPLING * spread).all()
    for letter in "TNC":
        samples = np.array([marginal(draw - mean, letter) for draw in draws])
        error = samples.std(axis=0) / np.sqrt(2000)
        assert (np.abs(samples.mean(axis=0) - marginal(rates.values - mean, letter)) < SAMPLING * error).all()


def test_a_tensor_beyond_its_marginals_loses_what_is_beyond() -> None:
    # Two units in quadrature rotate one way in every condition; surrogates keep all marginals and turn both ways.
    angle = np.linspace(0, 4 * np.pi, 40)[None, :] + np.arange(6)[:, None]
    values = np.stack([np.cos(angle), np.sin(angle)], axis=2)

    def turning(x: np.ndarray) -> float:
        x = x - x.mean(axis=(0, 1))
        # Of the power that there is: a circle turns most, an ellipse less, a line not at all.
        return float((x[:, :-1, 0] * x[:, 1:, 1] - x[:, 1:, 0] * x[:, :-1, 1]).sum() / (x**2).sum())

    draws = tme_surrogates(rates_of(values), 200, seed=0).values
    turns = np.array([turning(draw) for draw in draws])
    assert turning(values) > turns.max()
    assert abs(turns.mean()) < SAMPLING * turns.std() / np.sqrt(200)


def test_a_draw_depends_on_seed_and_index_alone() -> None:
    rates = example()
    few, many = tme_surrogates(rates, 2, seed=4), tme_surrogates(rates, 5, seed=4)
    np.testing.assert_array_equal(few.values, many.values[:2])
    assert not np.array_equal(tme_surrogates(rates, 2, seed=5).values, few.values)
    assert not np.array_equal(few.values[0], few.values[1])
    check_rates(few.isel(draw=0), dims=("condition", "time", "unit"))
    assert "tensor maximum entropy" in few.attrs["preprocessing"]


def test_shuffles_permute_conditions_within_each_unit() -> None:
    rates = example(5, 6, 40)
    draws = shuffle_surrogates(rates, 3, seed=0)
    orders = set()
    for unit in range(40):
        rows = rates.values[:, :, unit]
        order = [int(np.abs(rows - row).sum(axis=1).argmin()) for row in draws.values[0, :, :, unit]]
        assert sorted(order) == list(range(5))
        np.testing.assert_array_equal(draws.values[0, :, :, unit], rows[order])
        orders.add(tuple(order))
    assert len(orders) > 20  # of 120 possible ones, 40 units must not share a few
    np.testing.assert_array_equal(shuffle_surrogates(rates, 1, seed=0).values[0], draws.values[0])


def test_p_values_count_ties_and_are_never_zero() -> None:
    floor = np.array([0.1, 0.2, 0.3])
    assert p_value_above(1.0, floor) == 1 / 4
    assert p_value_above(0.2, floor) == 3 / 4
    assert p_value_above(0.0, floor) == 1.0


def test_normalised_scores_run_from_floor_to_ceiling() -> None:
    assert normalised_score(0.2, floor=0.2, ceiling=0.7) == (0.0, {})
    assert normalised_score(0.7, floor=0.2, ceiling=0.7) == (1.0, {})
    value, failures = normalised_score(0.5, floor=0.6, ceiling=0.6)
    assert np.isnan(value)
    assert list(failures) == ["ceiling 0.6 not above floor 0.6: the score has no scale and is left undefined"]


def test_bad_input_is_named() -> None:
    with pytest.raises(SettingsError, match=r"keep must be one of .* but got NT"):
        fit_tme(example(), keep="NT")
    with pytest.raises(RatesError, match=r"rates must have the dims .*condition.*time.*unit"):
        fit_tme(example().isel(condition=0))
    with pytest.raises(SettingsError, match="n must be at least 1, but got 0"):
        tme_surrogates(example(), 0, seed=0)
    with pytest.raises(RatesError, match="must let the marginal covariances be matched to 1e-30"):
        fit_tme(example(), tolerance=1e-30)
