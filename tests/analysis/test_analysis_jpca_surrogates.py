"""Rotations against surrogates: jPCA of each draw, exact rotations, error rates, invariances and messages."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from population_samples import as_rates, rotating, smooth_values
from scipy.stats import binom

from dynaprobe.analysis.jpca import jpca, windowed_activity
from dynaprobe.analysis.jpca_surrogates import MEASURES, JpcaSurrogates, jpca_surrogates, rotation_fit
from dynaprobe.analysis.surrogate_families import FAMILIES, family_draws
from dynaprobe.analysis.surrogates import fit_tme
from dynaprobe.core.errors import SettingsError

ROUND_OFF = 1e-7  # eigenvectors of products of rates of order one
UNIFORM = {"constant": 1e9}  # every unit is divided by the same number
WINDOW = {"start_ms": 0.0, "stop_ms": 200.0}


@pytest.mark.parametrize("n_units", [8, 200])  # fewer and more units than samples
def test_the_short_cut_gives_what_jpca_gives(n_units):
    rates = as_rates(smooth_values(0, n_units=n_units))
    fit = jpca(rates, n_pcs=4, **WINDOW, **UNIFORM)
    found = rotation_fit(rates.values, 4)
    assert_allclose(found, [float(fit.data[name]) for name in MEASURES], atol=ROUND_OFF)


@pytest.mark.parametrize("family", ["T", "TNC", "shuffle", "covariance"])
def test_every_null_value_is_jpca_of_a_surrogate(family):
    rates = as_rates(smooth_values(1) + 5)
    fit = jpca(rates, n_pcs=4, constant=2.0, **WINDOW)
    found = jpca_surrogates(rates, fit, families=[family], n_surrogates=3, seed=4).data
    activity = windowed_activity(
        rates, n_pcs=4, span_ms=(0.0, 200.0), event="move_onset", constant=2.0, fraction=0.1
    )
    for k, draw in enumerate(family_draws(activity, family, 3, seed=4).values):
        again = jpca(as_rates(draw), n_pcs=4, **WINDOW, **UNIFORM).data
        for name in MEASURES:
            assert float(found[f"null_{name}"][0, k]) == pytest.approx(float(again[name]), abs=1e-5)
    for name in MEASURES:
        above = int((found[f"null_{name}"] >= found[name]).sum())
        assert float(found[f"p_{name}"][0]) == pytest.approx((1 + above) / 4)


def test_one_rotation_in_all_conditions_beats_every_family():
    values = rotating() + 0.05 * smooth_values(2, n_units=10)
    rates = as_rates(values)
    found = jpca_surrogates(
        rates, jpca(rates, n_pcs=2, **WINDOW, **UNIFORM), families=["T", "TN", "TNC"], n_surrogates=39
    )
    assert_allclose(found.data["p_r2_skew"], 1 / 40)
    assert (found.data["null_r2_skew"].mean("draw") < 0.5 * found.data["r2_skew"]).all()
    assert list(found.data["family"].values) == ["T", "TN", "TNC"]


def test_error_rate_on_surrogates_themselves():
    n_sets, level = 60, 0.1
    truth = fit_tme(as_rates(smooth_values(3, n_units=8, n_times=15)))
    rejected = 0
    for k in range(n_sets):
        rates = as_rates(truth.draw_values(k, seed=9))
        fit = jpca(rates, n_pcs=4, start_ms=0.0, stop_ms=150.0, **UNIFORM)
        found = jpca_surrogates(rates, fit, families=["TNC"], n_surrogates=9, seed=k)
        rejected += float(found.data["p_r2_skew"][0]) <= level
    low, high = binom.ppf([5e-5, 1 - 5e-5], n_sets, level)  # fails once in 10,000
    assert low <= rejected <= high


def test_scale_order_of_units_and_seed():
    values = smooth_values(4) + 3

    def run(values, constant, seed=0):
        rates = as_rates(values)
        return jpca_surrogates(
            rates, jpca(rates, constant=constant, n_pcs=4, **WINDOW), families=["T"], n_surrogates=9, seed=seed
        ).data

    plain, scaled, again = run(values, 1.0), run(7 * values, 7.0), run(values, 1.0)
    for name in MEASURES:
        assert_allclose(scaled[f"null_{name}"], plain[f"null_{name}"], atol=1e-5)
    assert plain.identical(again)
    assert not np.allclose(run(values, 1.0, seed=1)["null_ratio"], plain["null_ratio"])
    mixed = run(values[..., np.random.default_rng(0).permutation(12)], 1.0)
    # The draws themselves differ; what they are drawn from does not.
    assert_allclose(mixed["r2_skew"], plain["r2_skew"], atol=1e-7)


def test_record_survives_a_round_trip():
    rates = as_rates(smooth_values(5))
    result = jpca_surrogates(rates, jpca(rates, n_pcs=4, **WINDOW), families=["TN"], n_surrogates=2)
    again = JpcaSurrogates.from_dataset(result.to_dataset())
    assert again.data.identical(result.data)
    assert again.settings["families"] == {"TN": FAMILIES["TN"]}


@pytest.mark.parametrize("families", [["T", "NT"], [], ["T", "T"]])
def test_families_are_checked(families):
    rates = as_rates(smooth_values(6))
    with pytest.raises(
        SettingsError, match="families must be different names from TNC, TN, TC, NC, T, N, C, shuffle"
    ):
        jpca_surrogates(rates, jpca(rates, n_pcs=4, **WINDOW), families=families)


def test_no_draws_are_refused():
    rates = as_rates(smooth_values(6))
    with pytest.raises(SettingsError, match="n_surrogates must be at least 1, but got 0"):
        jpca_surrogates(rates, jpca(rates, n_pcs=4, **WINDOW), n_surrogates=0)
