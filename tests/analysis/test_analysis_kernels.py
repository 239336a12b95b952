"""CKA and RSA: kernels and distances written out, other packages, chance, and what neither may see."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr, rankdata
from similarity_samples import latents, noise, population, rates_of, turned

from dynaprobe.analysis.cka import KernelAlignment, cka_similarity
from dynaprobe.analysis.rsa import RepresentationalSimilarity, rsa_similarity
from dynaprobe.core.errors import RatesError, SettingsError

ROUND_OFF = 1e-10


@pytest.fixture(scope="module")
def pair():
    return population(latents(), 7, seed=1), population(latents(), 9, seed=5)


def kernel(rates, condition_mean="subtract"):
    values = rates.values - (rates.values.mean(axis=0) if condition_mean == "subtract" else 0)
    x = values.reshape(-1, values.shape[2])
    return x @ x.T


def test_unbiased_cka_equals_the_sum_over_distinct_rows(pair):
    """Kept mean: H is the sum over four distinct rows of K_ij (L_ij + L_kl - 2 L_ik), up to a factor."""
    small = [rates.isel(condition=slice(3), time=slice(3)) for rates in pair]
    K, L = (kernel(rates, "keep") for rates in small)
    distinct = [(i, j, q, r) for i, j, q, r in product(range(9), repeat=4) if len({i, j, q, r}) == 4]

    def u_statistic(k, other):
        return sum(k[i, j] * (other[i, j] + other[q, r] - 2 * other[i, q]) for i, j, q, r in distinct)

    wanted = u_statistic(K, L) / np.sqrt(u_statistic(K, K) * u_statistic(L, L))
    assert float(cka_similarity(*small, condition_mean="keep").data["cka"]) == pytest.approx(wanted, abs=ROUND_OFF)


def test_unbiased_cka_equals_the_sum_over_distinct_times(pair):
    K, L = (kernel(rates) for rates in pair)
    time = np.tile(np.arange(pair[0].sizes["time"]), pair[0].sizes["condition"])
    apart = time[:, None] != time[None, :]
    wanted = (K * L)[apart].sum() / np.sqrt((K * K)[apart].sum() * (L * L)[apart].sum())
    assert float(cka_similarity(*pair).data["cka"]) == pytest.approx(wanted, abs=ROUND_OFF)


def test_biased_cka_equals_centred_kernels(pair):
    n = pair[0].sizes["condition"] * pair[0].sizes["time"]
    H = np.eye(n) - 1 / n
    K, L = (H @ kernel(rates) @ H for rates in pair)
    wanted = (K * L).sum() / np.sqrt((K * K).sum() * (L * L).sum())
    assert float(cka_similarity(*pair).data["cka_biased"]) == pytest.approx(wanted, abs=ROUND_OFF)


@pytest.mark.parametrize("condition_mean", ["subtract", "keep"])
def test_many_units_bias_the_plain_ratio_only(condition_mean):
    """Independent rows of 100 units: the kernels share their diagonal, and nothing else."""
    products, plain = [], []
    for seed in range(20):
        sides = [rates_of(noise(5, 12, 100, seed=2 * seed + k, sd_bins=0.0)) for k in (0, 1)]
        found = cka_similarity(*sides, condition_mean=condition_mean).data
        products.append(float(found["cka"]))
        plain.append(float(found["cka_biased"]))
    assert np.mean(plain) > 0.5
    assert abs(np.mean(products)) < 5 * np.std(products) / np.sqrt(20)  # SAMPLING, seeds fixed


def test_cka_knows_half_of_a_geometry():
    """Two of four equal, independent dimensions shared: the kernels' correlation is 1/2."""
    z = noise(10, 300, 6, seed=3, sd_bins=0.0)
    found = cka_similarity(rates_of(z[..., :4]), rates_of(z[..., 2:])).data
    assert float(found["cka"]) == pytest.approx(0.5, abs=0.03)  # SAMPLING


def test_rsa_equals_scipy(pair):
    found = rsa_similarity(*pair)
    distances = [np.stack([pdist(rates.values[:, t]) for t in range(rates.sizes["time"])]) for rates in pair]
    for name, wanted in zip(("distance_a", "distance_b"), distances, strict=True):
        np.testing.assert_allclose(found.data[name], wanted, atol=ROUND_OFF)
    x, y = ((d - d.mean(axis=1, keepdims=True)).ravel() for d in distances)
    assert float(found.data["rsa"]) == pytest.approx(pearsonr(x, y).statistic, abs=ROUND_OFF)
    for t in (0, 11):
        wanted_here = pearsonr(distances[0][t], distances[1][t]).statistic
        assert float(found.data["rsa_time"][t]) == pytest.approx(wanted_here, abs=ROUND_OFF)
    x, y = ((r - r.mean(axis=1, keepdims=True)).ravel() for r in (rankdata(d).reshape(d.shape) for d in distances))
    ranked = rsa_similarity(*pair, ranks=True).data["rsa"]
    assert float(ranked) == pytest.approx(pearsonr(x, y).statistic, abs=ROUND_OFF)


def test_a_growth_that_all_pairs_share_is_no_likeness():
    growth = np.linspace(0.2, 3.0, 20)[None, :, None]
    scores = []
    for seed in range(20):
        a, b = (rates_of(growth * noise(6, 20, 30, seed=2 * seed + k)) for k in (0, 1))
        plain = [np.stack([pdist(r.values[:, t]) for t in range(20)]).ravel() for r in (a, b)]
        assert pearsonr(*plain).statistic > 0.8
        scores.append(float(rsa_similarity(a, b).data["rsa"]))
    assert abs(np.mean(scores)) < 5 * np.std(scores) / np.sqrt(20)  # SAMPLING, seeds fixed


def test_rotation_gain_and_shift_are_not_seen_and_a_stretch_is(pair):
    a, b = pair
    moved = turned(a, seed=3, gain=4.0, shift=-2.0)
    stretched = (a * np.array([6.0, 1, 1, 1, 1, 1, 1])).assign_attrs(a.attrs)
    for function, name in ((cka_similarity, "cka"), (rsa_similarity, "rsa")):
        before = float(function(a, b).data[name])
        assert float(function(moved, b).data[name]) == pytest.approx(before, abs=1e-9)
        assert float(function(a, stretched).data[name]) < 0.99
        assert float(function(a, a).data[name]) == pytest.approx(1.0, abs=ROUND_OFF)


def test_pairs_all_equally_far_apart_have_no_pattern():
    corners = np.eye(3)[:, None, :] * np.ones((1, 4, 1))
    found = rsa_similarity(rates_of(corners), rates_of(noise(3, 4, 3, seed=1)))
    assert np.isnan(found.data["rsa"])
    assert found.failures == {"time at which a side has no differences between pairs": 4}


def test_round_trips_and_messages(pair):
    a, b = pair
    for function, kind in ((cka_similarity, KernelAlignment), (rsa_similarity, RepresentationalSimilarity)):
        found = function(a, b)
        assert kind.from_dataset(found.to_dataset()).data.equals(found.data)
        with pytest.raises(RatesError, match=r"a must vary over conditions, but got the same in all"):
            function(a.copy(data=np.full(a.shape, 1.1)), b)
        with pytest.raises(SettingsError, match=r"number of conditions must be at least 3"):
            function(a.isel(condition=slice(2)), b.isel(condition=slice(2)))
