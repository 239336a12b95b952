"""Rank correlation within strata: against SciPy, under the null, and where strata would mislead."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from dynaprobe.study.association import association

# Permutations of quick tests: p is then known to 0.03, which the bars below allow for.
FEW = 199


def test_one_stratum_is_spearman():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 15))
    y = np.round(y, 1)  # with ties
    found = association(x, y, ["a"] * 15, n_permutations=FEW)
    expected = stats.spearmanr(x, y)
    assert_allclose(found.rho, expected.statistic, atol=1e-12)
    assert (found.n, found.n_strata) == (15, 1)
    assert found.low < found.rho < found.high


def test_p_is_that_of_all_permutations():
    """Five networks have 120 orders: p is a share of them, known by counting."""
    x, y = np.arange(5.0), np.array([1.0, 0.0, 2.0, 4.0, 3.0])
    exact = stats.permutation_test(
        (x,), lambda a: stats.spearmanr(a, y).statistic, permutation_type="pairings", n_resamples=np.inf
    )
    found = association(x, y, ["a"] * 5, n_permutations=20_000)
    # SAMPLING: three standard errors of a share of 20,000 draws.
    assert_allclose(found.p, exact.pvalue, atol=3 * np.sqrt(0.25 / 20_000))


def test_a_difference_between_strata_is_no_association():
    """Both rise from stratum to stratum and fall within each: what a whole stratum shares says nothing."""
    inside = np.arange(5.0)
    x = np.concatenate([inside, 100 + inside, 200 + inside])
    y = np.concatenate([-inside, 100 - inside, 200 - inside])
    strata = np.repeat(["a", "b", "c"], 5)
    assert stats.spearmanr(x, y).statistic > 0.7
    assert_allclose(association(x, y, strata, n_permutations=FEW).rho, -1)


def test_partial_correlation_is_that_of_the_formula():
    rng = np.random.default_rng(1)
    g, x, y = rng.normal(size=(3, 30))
    x, y = x + g, y + g
    r = {
        name: stats.spearmanr(*pair).statistic for name, pair in {"xy": (x, y), "xg": (x, g), "yg": (y, g)}.items()
    }
    expected = (r["xy"] - r["xg"] * r["yg"]) / np.sqrt((1 - r["xg"] ** 2) * (1 - r["yg"] ** 2))
    assert_allclose(association(x, y, ["a"] * 30, given=g, n_permutations=FEW).rho, expected, atol=1e-12)


def test_only_the_order_within_strata_counts():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 24))
    strata = np.repeat(["a", "b", "c"], 8)
    plain = association(x, y, strata, n_permutations=FEW)
    shift = np.repeat([0.0, -7.0, 3.0], 8)
    again = association(np.exp(x) + shift, y**3 - shift, strata, n_permutations=FEW)
    assert plain == again
    order = rng.permutation(24)
    shuffled = association(x[order], y[order], strata[order], n_permutations=FEW)
    assert_allclose(shuffled[:3], plain[:3], atol=1e-12)
    assert_allclose(association(x, -y, strata, n_permutations=FEW).rho, -plain.rho, atol=1e-12)


def test_the_null_and_the_interval_keep_their_word():
    rng = np.random.default_rng(3)
    strata = np.repeat(list("abcdef"), 5)
    n_runs, significant, covered = 400, 0, 0
    for k in range(n_runs):
        x, y = rng.normal(size=(2, 30)) + 3 * np.repeat(rng.normal(size=6), 5)
        found = association(x, y, strata, n_permutations=FEW, seed=k)
        significant += found.p <= 0.05
        covered += found.low <= 0 <= found.high
    # SAMPLING: three standard errors of a share of 0.05 in 400 runs are 0.033.
    assert abs(significant / n_runs - 0.05) < 0.033
    assert covered / n_runs > 0.95 - 0.033


def test_networks_without_a_value_or_a_neighbour_are_left_out():
    x = [1.0, 2.0, 3.0, np.nan, 9.0]
    y = [1.0, 2.0, 3.0, 4.0, -9.0]
    found = association(x, y, ["a", "a", "a", "a", "b"], n_permutations=FEW)
    assert (found.rho, found.n, found.n_strata) == (1.0, 3, 1)
    assert np.isinf(found.low)  # three networks leave no degree of freedom
    assert "[" not in str(found)


@pytest.mark.parametrize("y", [[1.0, 1.0, 1.0], [np.nan] * 3])
def test_nothing_to_correlate(y):
    found = association([1.0, 2.0, 3.0], y, ["a"] * 3, n_permutations=FEW)
    assert np.isnan(found.rho)
    assert found.p == 1
    assert str(found) == "nothing to correlate"


def test_the_sentence():
    rng = np.random.default_rng(4)
    x = rng.normal(size=20)
    text = str(association(x, x + 0.1 * rng.normal(size=20), ["a"] * 10 + ["b"] * 10, n_permutations=FEW))
    assert text.startswith("+0.9")
    assert text.endswith("p 0.005, 20 networks in 2 strata")
