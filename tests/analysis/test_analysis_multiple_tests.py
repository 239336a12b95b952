"""Adjusted p-values against SciPy and a plain loop, and what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from dynaprobe.analysis.multiple_tests import (
    benjamini_hochberg,
    check_fraction,
    holm,
    max_t,
    two_sided_p,
    wilson_interval,
)
from dynaprobe.core.errors import RatesError, SettingsError


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_adjusted_p_values_are_those_of_scipy(p_values: list[float]) -> None:
    p = np.array(p_values)
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p), rtol=1e-12)


def test_no_test_is_no_member_of_the_family() -> None:
    p = np.array([[0.01, np.nan], [0.04, 0.03]])
    adjusted = benjamini_hochberg(p)
    np.testing.assert_allclose(adjusted, [[0.03, np.nan], [0.04, 0.04]])
    assert np.isnan(benjamini_hochberg(np.array([np.nan]))).all()
    with pytest.raises(RatesError, match=r"p_values must lie in \[0, 1\], but got \[0.5, 2.0\]"):
        benjamini_hochberg(np.array([0.5, 2.0]))


def test_false_discoveries_stay_below_the_rate() -> None:
    """Half of the tests are true nulls: their share of all discoveries is at most q times one half on average."""
    source = np.random.default_rng(0)
    shares = []
    for _ in range(400):
        p = np.concatenate([source.uniform(size=50), source.uniform(size=50) ** 6])
        found = benjamini_hochberg(p) <= 0.1
        shares.append(found[:50].sum() / max(found.sum(), 1))
    # SAMPLING: 400 shares with a spread of about 0.04.
    assert np.mean(shares) == pytest.approx(0.05, abs=0.008)


def test_wilson_intervals_cover_and_are_empty_without_units() -> None:
    assert wilson_interval(0, 10, 0.95)[1] == 0.0
    np.testing.assert_allclose(wilson_interval(5, 10, 0.95), (0.5, 0.2366, 0.7634), atol=1e-4)  # Wilson's table
    assert np.isnan(wilson_interval(0, 0, 0.95)).all()


def test_two_sided_p_doubles_the_smaller_side() -> None:
    null = np.arange(99.0)
    assert two_sided_p(200.0, null) == pytest.approx(2 / 100)
    assert two_sided_p(-1.0, null) == pytest.approx(2 / 100)
    assert two_sided_p(49.0, null) == 1.0


def test_a_fraction_is_checked() -> None:
    with pytest.raises(SettingsError, match="alpha must lie between 0 and 1, but got 5"):
        check_fraction("alpha", 5)


def test_holm_is_that_of_the_book() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(holm(np.array([0.5, np.nan, 0.9])), [1.0, np.nan, 1.0])
    assert holm(np.array([])).size == 0


def slow_max_t(statistics: np.ndarray) -> np.ndarray:
    """The definition, one grouping and one test after another."""
    n, m = statistics.shape
    z = (statistics - statistics.mean(axis=0)) / statistics.std(axis=0)
    order = sorted(range(m), key=lambda k: -z[0, k])
    adjusted, largest = np.empty(m), 0.0
    for i, k in enumerate(order):
        share = np.mean([max(z[g, j] for j in order[i:]) >= z[0, k] - 1e-9 for g in range(n)])
        largest = max(largest, float(share))
        adjusted[k] = largest
    return adjusted


@given(st.integers(0, 2**32 - 1), st.integers(3, 30), st.integers(1, 5), st.floats(1e-6, 1e6))
def test_max_t_is_its_definition_whatever_the_units(seed: int, n: int, m: int, scale: float) -> None:
    statistics = np.random.default_rng(seed).normal(size=(n, m))
    expected = slow_max_t(statistics)
    np.testing.assert_allclose(max_t(statistics), expected)
    np.testing.assert_allclose(max_t(scale * statistics + 3.0), expected)


def test_tests_that_agree_cost_nothing() -> None:
    one = np.random.default_rng(1).normal(size=(200, 1))
    one[0] = 9.0
    np.testing.assert_allclose(max_t(one), 1 / 200)
    np.testing.assert_allclose(max_t(np.repeat(one, 8, axis=1)), 1 / 200)


def test_groupings_equal_up_to_round_off_are_equal() -> None:
    np.testing.assert_allclose(max_t(np.array([[0.3], [0.1 + 0.2], [0.1], [0.0]])), 2 / 4)
    np.testing.assert_allclose(max_t(np.array([[0.3], [0.1 + 0.2], [0.3], [0.1 + 0.2]])), 1.0)


def test_what_was_not_seen_is_no_test_and_draws_without_a_number_make_no_finding() -> None:
    statistics = np.array([[5.0, np.nan], [np.nan, 1.0], [1.0, 2.0], [0.0, 3.0]])
    np.testing.assert_allclose(max_t(statistics), [2 / 4, np.nan])
    assert np.isnan(max_t(np.full((3, 2), np.nan))).all()


def test_the_chance_of_any_finding_among_equals_is_the_level() -> None:
    """Eight tests, some alike, some not, some skewed: 2000 nulls find something as often as they should."""
    source = np.random.default_rng(2)
    any_found = []
    for _ in range(2000):
        shared = source.normal(size=(100, 1))
        statistics = shared * np.linspace(0, 2, 8) + source.normal(size=(100, 8))
        statistics[:, :2] = np.exp(statistics[:, :2])
        any_found.append(np.nanmin(max_t(statistics)) <= 0.05)
    # SAMPLING: three standard errors of 2000 findings at .05.
    assert np.mean(any_found) == pytest.approx(0.05, abs=0.015)
