"""Adjusted p-values against SciPy and a plain loop, and what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from dynaprobe.analysis.multiple_tests import benjamini_hochberg, check_fraction, two_sided_p, wilson_interval
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
