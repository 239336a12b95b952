"""Divergence: loops over all pairs, lines and forks, error rate of the null, invariances and messages."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from population_samples import as_rates, smooth_values
from scipy.stats import binom, ortho_group

from dynaprobe.analysis.divergence import DivergenceResult, divergence
from dynaprobe.analysis.surrogates import fit_tme
from dynaprobe.core.errors import RatesError
from dynaprobe.core.preprocess import concatenate_segments

ROUND_OFF = 1e-8  # relative; sums of some hundred products of order one


def by_loops(values, shift, alpha_fraction, parts):
    x = values - values.mean(axis=(0, 1))
    alpha = alpha_fraction * (x**2).sum(axis=-1).mean()
    moments = [(c, t) for c in range(len(x)) for part in parts for t in range(part.start, part.stop - shift)]
    D = np.full(x.shape[:2], np.nan)
    for c, t in moments:
        D[c, t] = max(
            ((x[c, t + shift] - x[d, s + shift]) ** 2).sum() / (((x[c, t] - x[d, s]) ** 2).sum() + alpha)
            for d, s in moments
        )
    return D


def test_by_loops_with_two_alignments():
    first, second = (smooth_values(s, n_conditions=3, n_times=n, n_units=4) for s, n in ((1, 8), (2, 6)))
    joined = concatenate_segments([as_rates(first, event="target_on"), as_rates(second)])
    data = divergence(joined, horizons_ms=(20.0, 50.0), alpha_fraction=0.05).data
    values, parts = np.concatenate([first, second], axis=1), [slice(0, 8), slice(8, 14)]
    expected = np.stack([by_loops(values, shift, 0.05, parts) for shift in (2, 5)])
    assert_allclose(data["divergence"], expected, rtol=ROUND_OFF)
    assert_allclose(data["largest_divergence"], np.fmax(*expected), rtol=ROUND_OFF)
    assert_allclose(data["mean_divergence"], np.nanmean(expected, axis=(1, 2)), rtol=ROUND_OFF)
    assert data["horizon"].values.tolist() == [20.0, 50.0]
    assert np.isnan(data["largest_divergence"][:, [6, 7]]).all()


def test_a_line_never_diverges():
    # At constant speed the future is as far apart as the present: the largest distance d counts.
    line = np.arange(11.0)[None, :, None] * np.array([3.0, 4.0])
    data = divergence(as_rates(line), horizons_ms=(20.0,)).data
    x = 5 * (np.arange(11) - 5)
    alpha = 0.01 * (x**2).mean()
    farthest = np.maximum(x[:9] - x[0], x[8] - x[:9])
    assert_allclose(data["divergence"][0, 0, :9], farthest**2 / (farthest**2 + alpha), rtol=ROUND_OFF)


def test_a_fork_diverges_by_its_gap():
    # Two conditions run together and part at bin 6; three bins before, nothing tells them apart but alpha.
    values = np.zeros((2, 10, 2))
    values[:, :, 0] = np.arange(10)
    values[0, 6:, 1], values[1, 6:, 1] = 4.0, -4.0
    data = divergence(as_rates(values), horizons_ms=(30.0,)).data
    assert_allclose(data["divergence"][0, :, 3], 64 / float(data["alpha"]), rtol=ROUND_OFF)
    together = divergence(as_rates(values[:1]), horizons_ms=(30.0,)).data
    assert float(together["divergence"].max()) < 0.1 * float(data["divergence"].max())


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-6, 1e6), offset=st.floats(-100, 100))
def test_scale_offset_rotation_and_order_do_not_matter(seed, scale, offset):
    values = smooth_values(seed, n_units=5, n_times=10)
    turn = ortho_group.rvs(5, random_state=seed)
    plain = divergence(as_rates(values), horizons_ms=(30.0,), n_pcs=3).data["divergence"]
    other = divergence(as_rates(scale * (values[::-1] @ turn + offset)), horizons_ms=(30.0,), n_pcs=3).data
    assert_allclose(other["divergence"][:, ::-1], plain, rtol=1e-5)


def test_error_rate_of_the_null():
    n_sets, level = 60, 0.1
    truth = fit_tme(as_rates(smooth_values(4, n_units=8, n_times=15)))
    rejected = sum(
        float(
            divergence(as_rates(truth.draw_values(k, seed=3)), horizons_ms=(50.0,), n_surrogates=9, seed=k).data[
                "p_mean"
            ][0]
        )
        <= level
        for k in range(n_sets)
    )
    low, high = binom.ppf([5e-5, 1 - 5e-5], n_sets, level)  # fails once in 10,000
    assert low <= rejected <= high


def test_record_survives_a_round_trip():
    result = divergence(as_rates(smooth_values(5)), horizons_ms=(50.0, 100.0), n_surrogates=2)
    again = DivergenceResult.from_dataset(result.to_dataset())
    assert again.data.identical(result.data)
    assert result.data["null_mean"].dims == ("horizon", "draw")
    assert result.data.identical(
        divergence(as_rates(smooth_values(5)), horizons_ms=(50.0, 100.0), n_surrogates=2).data
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"horizons_ms": (1.0,)},
            "horizons_ms must be at least a bin of 10 ms and shorter than the longest segment",
        ),
        ({"horizons_ms": (200.0,)}, "but got 200.0. Choose horizons inside the window"),
        ({"horizons_ms": (np.nan,)}, "horizons_ms must be at least a bin"),
        ({"horizons_ms": ()}, "horizons_ms must name at least one horizon"),
        ({"alpha_fraction": -1.0}, "alpha_fraction must be positive"),
    ],
)
def test_messages(options, sentence):
    with pytest.raises(RatesError, match=sentence):
        divergence(as_rates(smooth_values(0)), **options)
