"""Tangling: loops over all pairs, circles and crossings, error rate of the null, invariances and messages."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from population_samples import as_rates, smooth_values
from scipy.stats import binom, ortho_group

from dynaprobe.analysis import trajectory_pairs
from dynaprobe.analysis.surrogates import fit_tme
from dynaprobe.analysis.tangling import TanglingResult, tangling
from dynaprobe.core.errors import RatesError, SettingsError
from dynaprobe.core.preprocess import concatenate_segments

ROUND_OFF = 1e-8  # relative; sums of some hundred products of order one
DT_S = 0.01


def by_loops(values, eps_fraction, parts):
    """Q of every pair, one at a time, in all dimensions."""
    x = values - values.mean(axis=(0, 1))
    eps = eps_fraction * (x**2).sum(axis=-1).mean()
    moments = [(c, t) for c in range(len(x)) for part in parts for t in range(part.start + 1, part.stop)]
    Q = np.full(x.shape[:2], np.nan)
    for c, t in moments:
        ratios = []
        for d, s in moments:
            apart = (x[c, t] - x[c, t - 1] - x[d, s] + x[d, s - 1]) / DT_S
            ratios.append((apart**2).sum() / (((x[c, t] - x[d, s]) ** 2).sum() + eps))
        Q[c, t] = max(ratios)
    return Q


def circle(n=24, *, radius=2.0):
    angle = 2 * np.pi * np.arange(n) / n
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)[None]


@pytest.mark.parametrize("entries", [1, 50, 2**22])
def test_by_loops_whatever_the_blocks(entries, monkeypatch):
    monkeypatch.setattr(trajectory_pairs, "MOST_ENTRIES", entries)
    values = smooth_values(0, n_conditions=3, n_times=9, n_units=5)
    data = tangling(as_rates(values), eps_fraction=0.3).data
    assert_allclose(data["tangling"], by_loops(values, 0.3, [slice(0, 9)]), rtol=ROUND_OFF)
    assert_allclose(data["mean_tangling"], np.nanmean(data["tangling"]))
    assert_allclose(data["high_tangling"], np.nanquantile(data["tangling"], 0.9))
    assert int(data["n_dims"]) == 5
    assert float(data["pcs_fraction"]) == pytest.approx(1.0)


def test_no_derivative_crosses_from_one_alignment_to_the_next():
    first, second = (smooth_values(s, n_conditions=3, n_times=6, n_units=4) for s in (1, 2))
    joined = concatenate_segments([as_rates(first, event="target_on"), as_rates(second)])
    data = tangling(joined).data
    expected = by_loops(np.concatenate([first, second], axis=1), 0.1, [slice(0, 6), slice(6, 12)])
    assert_allclose(data["tangling"], expected, rtol=ROUND_OFF)
    assert np.isnan(data["tangling"][:, [0, 6]]).all()


def test_a_circle_is_as_tangled_as_its_speed():
    # |dx - dx'| = s |x - x'| with s = 2 sin(w dt / 2) / dt; opposite points give 4 R^2 s^2 / (4 R^2 + eps).
    # There are two laps, so that every bin has an opposite one with a derivative.
    data = tangling(as_rates(np.concatenate([circle(), circle()], axis=1))).data
    s = 2 * np.sin(np.pi / 24) / DT_S
    assert_allclose(data["tangling"][:, 1:], 4 * s**2 / 4.1, rtol=ROUND_OFF)


def test_a_crossing_is_tangled():
    # Both strokes of an eight, (sin, sin of twice), go through the origin; their velocities differ by (2 w, 0).
    angle = 2 * np.pi * np.arange(400) / 400
    eight = np.stack([np.sin(angle), np.sin(2 * angle)], axis=-1)[None]
    Q = tangling(as_rates(eight)).data
    speed = 2 * np.pi / 400 / DT_S
    at_origin = float(Q["tangling"][0, 200])
    assert at_origin == pytest.approx((2 * speed) ** 2 / 0.1, rel=0.02)  # backward differences of 1/400 of a turn
    assert at_origin == pytest.approx(float(Q["tangling"].max()), rel=0.02)
    assert at_origin > 5 * float(tangling(as_rates(circle(400))).data["tangling"].max())


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-6, 1e6), offset=st.floats(-100, 100))
def test_scale_offset_rotation_and_order_do_not_matter(seed, scale, offset):
    values = smooth_values(seed, n_units=5, n_times=10)
    turn = ortho_group.rvs(5, random_state=seed)
    plain = tangling(as_rates(values), n_pcs=3).data["tangling"]
    other = tangling(as_rates(scale * (values[::-1] @ turn + offset)), n_pcs=3).data["tangling"]
    assert_allclose(other[::-1], plain, rtol=1e-5)


def test_twice_as_fast_is_four_times_as_tangled():
    values = smooth_values(3)
    slow, fast = (tangling(as_rates(values, dt_ms=dt)).data["tangling"] for dt in (10.0, 5.0))
    assert_allclose(fast, 4 * slow, rtol=ROUND_OFF)


def test_error_rate_of_the_null():
    n_sets, level = 60, 0.1
    truth = fit_tme(as_rates(smooth_values(4, n_units=8, n_times=15)))
    found = [tangling(as_rates(truth.draw_values(k, seed=3)), n_surrogates=9, seed=k).data for k in range(n_sets)]
    low, high = binom.ppf([5e-5, 1 - 5e-5], n_sets, level)  # fails once in 10,000
    for name in ("p_mean", "p_high"):
        assert low <= sum(float(data[name]) <= level for data in found) <= high


def test_one_flow_for_all_conditions_is_less_tangled_than_surrogates():
    # A spiral out from a ring of starts: wherever the state is, it decides where it goes.
    phase = 2 * np.pi * (np.arange(20) / 40 + np.arange(6)[:, None] / 6)
    growth = np.exp(0.05 * np.arange(20))
    values = np.stack([growth * np.cos(phase), growth * np.sin(phase)], axis=-1)
    data = tangling(as_rates(values), n_surrogates=39).data
    assert float(data["p_mean"]) == pytest.approx(1 / 40)
    again = tangling(as_rates(values), n_surrogates=39).data
    assert data.identical(again)
    below = int((data["null_mean"] <= data["mean_tangling"]).sum())
    assert float(data["p_mean"]) == (1 + below) / 40


def test_record_survives_a_round_trip():
    result = tangling(as_rates(smooth_values(5)), n_surrogates=2)
    again = TanglingResult.from_dataset(result.to_dataset())
    assert again.data.identical(result.data)
    assert again.settings["family"] == "TNC"


@pytest.mark.parametrize(
    ("values", "options", "sentence"),
    [
        (smooth_values(0), {"eps_fraction": 0.0}, "eps_fraction must be positive, but got 0.0. Without it two"),
        (smooth_values(0), {"eps_fraction": np.nan}, "eps_fraction must be positive"),
        (smooth_values(0), {"quantile": 1.0}, r"quantile must lie in \(0, 1\)"),
        (smooth_values(0), {"n_pcs": 0}, "n_pcs must be at least 1"),
        (np.ones((3, 5, 4)), {}, "rates must vary over conditions or times"),
        (smooth_values(0)[:, :1], {}, "rates.time must have at least two bins in a segment, but got 1"),
        (np.full((3, 5, 4), np.nan), {}, "rates must be finite everywhere"),
    ],
)
def test_messages(values, options, sentence):
    with pytest.raises(RatesError, match=sentence):
        tangling(as_rates(values), **options)


def test_settings_are_checked():
    with pytest.raises(SettingsError, match="families must be different names"):
        tangling(as_rates(smooth_values(0)), family="none")
    with pytest.raises(SettingsError, match="n_surrogates must be at least 0, but got -1"):
        tangling(as_rates(smooth_values(0)), n_surrogates=-1)


def test_one_unit_and_one_condition_will_do():
    data = tangling(as_rates(smooth_values(6, n_conditions=1, n_units=1)), n_surrogates=2, family="T").data
    assert int(data["n_dims"]) == 1
    assert np.isfinite(data["tangling"][:, 1:]).all()
