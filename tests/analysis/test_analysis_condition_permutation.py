"""Covariance-matched permutations: units keep their responses, covariances stay, a common order is lost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from population_samples import as_rates, rotating, smooth_values

from dynaprobe.analysis.condition_permutation import CovarianceMatched, covariance_matched_permutations
from dynaprobe.analysis.jpca import jpca
from dynaprobe.analysis.jpca_surrogates import jpca_surrogates
from dynaprobe.core.errors import RatesError, SettingsError
from dynaprobe.core.rates import check_rates

ROUND_OFF = 1e-9


def similarity_by_hand(values, draw):
    n = values.shape[-1]
    first, second = ((v - v.mean(axis=0)).reshape(-1, n) for v in (values, draw))
    C, D = first.T @ first, second.T @ second
    off = ~np.eye(n, dtype=bool)
    return 1 - ((C - D)[off] ** 2).sum() / (C[off] ** 2).sum()


def test_every_unit_keeps_its_responses():
    values = smooth_values(0) + 5
    data = covariance_matched_permutations(as_rates(values), 3, seed=2).data
    for k in range(3):
        order = data["order"].values[k]
        for unit in range(12):
            assert sorted(order[:, unit]) == list(range(6))
            assert_allclose(data["rates"].values[k, :, :, unit], values[order[:, unit], :, unit], atol=ROUND_OFF)
        assert_allclose(data["rates"].values[k].mean(axis=0), values.mean(axis=0), atol=ROUND_OFF)


def test_similarity_by_hand():
    values = smooth_values(1)
    data = covariance_matched_permutations(as_rates(values), 4, similarity=0.8).data
    for k in range(4):
        found = similarity_by_hand(values, data["rates"].values[k])
        assert float(data["similarity"][k]) == pytest.approx(found, abs=1e-8)
        columns = [tuple(column) for column in data["order"].values[k].T]
        pairs = [columns[i] == columns[j] for i in range(12) for j in range(12) if i != j]
        assert float(data["same_order"][k]) == pytest.approx(np.mean(pairs))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-4, 1e4))
def test_the_search_gains_and_scale_does_not_matter(seed, scale):
    values = smooth_values(seed, n_units=8)
    plain, scaled = (
        covariance_matched_permutations(as_rates(v), 2, seed=seed).data for v in (values, scale * values)
    )
    assert (plain["similarity"] >= plain["start_similarity"]).all()
    assert_array_equal(scaled["order"], plain["order"])


def test_large_populations_reach_the_similarity_without_one_order_for_all():
    # Sixty units that mix four latents: many orders do.
    latents = smooth_values(2, n_units=4)
    values = latents @ np.random.default_rng(0).standard_normal((4, 60))
    found = covariance_matched_permutations(as_rates(values), 5)
    assert found.failures == {}
    assert (found.data["similarity"] >= 0.9).all()
    assert (found.data["start_similarity"] < 0.2).all()
    assert (found.data["same_order"] < 0.3).all()


def test_what_cannot_be_kept_is_said():
    # Two units and two conditions: one swap of either restores the sign, and there are only these.
    values = np.array([[[1.0, 1.0], [2.0, -1.0]], [[-1.0, 0.5], [0.0, 2.0]]])
    found = covariance_matched_permutations(as_rates(values), 6)
    assert (found.data["similarity"] >= 0.9).all()
    assert (found.data["same_order"] == 1).all()
    short = covariance_matched_permutations(as_rates(smooth_values(3)), 5, similarity=0.99999, n_sweeps=1)
    assert sum(short.failures.values()) > 0
    assert "draw whose covariances could not be kept to 0.99999" in short.failures


def test_one_rotation_for_all_conditions_depends_on_their_order():
    # Three planes turn alike in every condition; each condition starts them elsewhere, each unit mixes them.
    source = np.random.default_rng(1)
    starts = source.standard_normal((6, 1, 2, 3))
    angle = 2 * np.pi * 2e-2 * np.arange(20)[None, :, None]
    x, y = starts[:, :, 0], starts[:, :, 1]
    planes = np.concatenate(
        [x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)], axis=-1
    )
    rates = as_rates(planes @ np.linalg.qr(source.standard_normal((40, 6)))[0].T)
    fit = jpca(rates, start_ms=0, stop_ms=200, n_pcs=6, constant=1e9)
    found = jpca_surrogates(rates, fit, families=["covariance"], n_surrogates=19).data
    assert float(fit.data["r2_skew"]) > 0.95
    assert float(found["p_r2_skew"][0]) == pytest.approx(1 / 20)


def test_tuning_without_dynamics_needs_no_common_order():
    # Units whose tuning curves scale one time course: there is nothing to rotate, with or without permutation.
    source = np.random.default_rng(2)
    course = np.sin(np.linspace(0, np.pi, 20))
    values = source.standard_normal((6, 1, 30)) * course[None, :, None] + 0.2 * smooth_values(5, n_units=30)
    rates = as_rates(values)
    fit = jpca(rates, start_ms=0, stop_ms=200, n_pcs=4, constant=1e9)
    found = jpca_surrogates(rates, fit, families=["covariance"], n_surrogates=19).data
    assert float(found["p_r2_skew"][0]) > 0.05


def test_draws_depend_on_seed_and_index_and_survive_a_round_trip():
    rates = as_rates(rotating())
    few, many = (
        covariance_matched_permutations(rates, 2, seed=1),
        covariance_matched_permutations(rates, 4, seed=1),
    )
    assert_array_equal(few.data["order"], many.data["order"][:2])
    other = covariance_matched_permutations(rates, 2, seed=2)
    assert not np.array_equal(few.data["order"], other.data["order"])
    again = CovarianceMatched.from_dataset(few.to_dataset())
    assert again.data.identical(few.data)
    draw = check_rates(few.data["rates"].isel(draw=0), dims=("condition", "time", "unit"))
    assert "conditions permuted within each unit" in draw.attrs["preprocessing"]


@pytest.mark.parametrize(
    ("values", "options", "sentence"),
    [
        (smooth_values(0)[:1], {}, "rates.condition must have at least 2 entries"),
        (smooth_values(0)[..., :1], {}, "rates.unit must have at least 2 entries"),
        (np.ones((3, 4, 5)), {}, "rates must depend on the condition, in a way that units share"),
        (smooth_values(0), {"similarity": 1.0}, "similarity must be below 1, but got 1.0"),
        (smooth_values(0), {"similarity": np.nan}, "similarity must be below 1"),
    ],
)
def test_messages(values, options, sentence):
    with pytest.raises(RatesError, match=sentence):
        covariance_matched_permutations(as_rates(values), 1, **options)


def test_counts_are_checked():
    with pytest.raises(SettingsError, match="n must be at least 1, but got 0"):
        covariance_matched_permutations(as_rates(smooth_values(0)), 0)
