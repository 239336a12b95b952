"""Condition-independent share: exact mixtures, brute force, bias of noise, null, invariances and messages."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.ndimage import gaussian_filter1d
from scipy.stats import binom, ortho_group

from dynaprobe.analysis.condition_independent import ConditionIndependentResult, condition_independent_fraction
from dynaprobe.core.errors import RatesError
from dynaprobe.core.preprocess import concatenate_segments, subtract_condition_mean
from dynaprobe.core.rates import make_rates

ROUND_OFF = 1e-10  # sums of a few thousand doubles
SAMPLING = 0.01  # absolute; four standard errors of the means taken here stay below it

K, T = 6, 40


def as_rates(values, event="go_cue", **coords):
    time_ms = 10.0 * np.arange(values.shape[1])
    dims = ("condition", "time", "unit")
    return make_rates(
        values, dims=dims, time_ms=time_ms, event=event, rate_unit="spikes/s", source="test", coords=coords
    )


def mixture(shared=3.0, tuned=2.0, n_units=5):
    """A shared course (variance shared^2) plus cosine tuning (variance tuned^2), and the true share."""
    course = np.sin(2 * np.pi * np.arange(T) / T) * np.sqrt(2) * shared
    tuning = np.cos(2 * np.pi * np.arange(K)[:, None] / K + np.arange(n_units)) * np.sqrt(2) * tuned
    values = 20 + course[None, :, None] + tuning[:, None, :]
    return values, shared**2 / (shared**2 + tuned**2)


def fraction(values, **options):
    return float(condition_independent_fraction(as_rates(values), **options).data["fraction"])


@pytest.mark.parametrize(("shared", "tuned"), [(3.0, 2.0), (1.0, 0.0), (0.0, 1.0)])
def test_exact_mixture(shared, tuned):
    values, share = mixture(shared, tuned)
    data = condition_independent_fraction(as_rates(values)).data
    assert float(data["fraction"]) == pytest.approx(share, abs=ROUND_OFF)
    assert_allclose(data["unit_fraction"], share, atol=ROUND_OFF)
    assert float(data["chance"]) == pytest.approx(1 / K)


def test_nothing_is_left_after_the_mean_is_removed():
    rates = subtract_condition_mean(as_rates(mixture()[0]))
    assert float(condition_independent_fraction(rates).data["fraction"]) == pytest.approx(0.0, abs=ROUND_OFF)


def test_share_by_brute_force():
    x = np.random.default_rng(0).gamma(2.0, size=(K, T, 3)) * [1, 4, 9]
    above, below = np.zeros(3), np.zeros(3)
    for u in range(3):
        centred = x[:, :, u] - x[:, :, u].mean()
        for t in range(T):
            above[u] += K * np.mean(centred[:, t]) ** 2
            below[u] += sum(centred[c, t] ** 2 for c in range(K))
    data = condition_independent_fraction(as_rates(x)).data
    assert_allclose(data["unit_fraction"], above / below, atol=ROUND_OFF)
    # The share of the population weighs units by their variance.
    assert float(data["fraction"]) == pytest.approx(above.sum() / below.sum(), abs=ROUND_OFF)


def noisy_sets(sd, *, kernel_bins=0.0, n_sets=150):
    """The mixture seen through noise, with the standard error of every value."""
    values, share = mixture()
    random = np.random.default_rng(1)
    gain = np.linspace(0.5, 1.5, K)[:, None, None] * sd  # noise that differs between conditions
    for _ in range(n_sets):
        noise = random.standard_normal((K, T + 100, values.shape[2]))
        if kernel_bins:
            noise = gaussian_filter1d(noise, kernel_bins, axis=1) * np.sqrt(2 * np.sqrt(np.pi) * kernel_bins)
        yield as_rates(values + gain * noise[:, 50:-50]), as_rates(np.broadcast_to(gain, values.shape)), share


@pytest.mark.parametrize("kernel_bins", [0.0, 3.0])
def test_the_bias_of_noise_is_removed(kernel_bins):
    plain, unbiased, share = [], [], 0.0
    for rates, error, share in noisy_sets(4.0, kernel_bins=kernel_bins):  # noqa: B007
        data = condition_independent_fraction(rates, standard_error=error, kernel_sd_ms=10 * kernel_bins).data
        plain.append(float(data["fraction"]))
        unbiased.append(float(data["unbiased_fraction"]))
    assert np.mean(unbiased) == pytest.approx(share, abs=SAMPLING)
    # Uncorrected, the share lies between the truth and 1 / K.
    assert 1 / K < np.mean(plain) < share - 10 * SAMPLING


def test_both_sums_are_corrected_exactly_in_expectation():
    # The mean over sets of the corrected variances is compared with the noise-free ones, unit by unit.
    above, below = [], []
    for rates, error, _ in noisy_sets(3.0, n_sets=400):
        data = condition_independent_fraction(rates, standard_error=error).data
        x = rates.values - rates.values.mean(axis=(0, 1))
        se2 = error.values**2
        grand = se2.sum(axis=(0, 1)) / (K * T) ** 2
        above.append((x.mean(axis=0) ** 2).mean(axis=0) - se2.mean(axis=(0, 1)) / K + grand)
        below.append((x**2).mean(axis=(0, 1)) - se2.mean(axis=(0, 1)) + grand)
        assert_allclose(data["unbiased_unit_fraction"], above[-1] / below[-1], atol=ROUND_OFF)
    assert_allclose(np.mean(above, axis=0), 9.0, atol=0.1)
    assert_allclose(np.mean(below, axis=0), 13.0, atol=0.2)


def test_segments_do_not_share_noise():
    values, _ = mixture()
    one = as_rates(values)
    error = as_rates(np.full(values.shape, 2.0))
    joined = concatenate_segments([one, as_rates(values, event="move_onset")])
    error_2 = concatenate_segments([error, as_rates(error.values, event="move_onset")])
    found = condition_independent_fraction(joined, standard_error=error_2, kernel_sd_ms=30.0).data
    # Twice the bins and independent halves: the grand mean has half the noise variance of one segment.
    time_ms = one["time"].values
    alike = np.exp(-((time_ms[:, None] - time_ms) ** 2) / (4 * 30.0**2))
    grand = 4.0 * alike.sum() / (K * T**2) / 2
    expected = (9.0 - 4.0 / K + grand) / (13.0 - 4.0 + grand)
    assert float(found["unbiased_fraction"]) == pytest.approx(expected, abs=ROUND_OFF)


def test_noise_alone_gives_one_over_k():
    random = np.random.default_rng(3)
    found = [fraction(random.standard_normal((K, T, 10))) for _ in range(50)]
    assert np.mean(found) == pytest.approx(1 / K, abs=SAMPLING)


def test_error_rate_of_the_null():
    random = np.random.default_rng(4)
    n_sets, level = 200, 0.05
    p = [
        float(
            condition_independent_fraction(as_rates(random.standard_normal((4, 20, 5))), n_null=19, seed=k).data[
                "p_value"
            ]
        )
        for k in range(n_sets)
    ]
    # White noise is exchangeable under shifts; the bounds of the count fail once in 10,000.
    low, high = binom.ppf([5e-5, 1 - 5e-5], n_sets, level)
    assert low <= sum(value <= level for value in p) <= high


def test_a_shared_course_is_told_from_the_null():
    values, share = mixture()
    result = condition_independent_fraction(as_rates(values), n_null=199, seed=1)
    assert float(result.data["p_value"]) == pytest.approx(1 / 200)
    assert float(result.data["null_fraction"].max()) < share
    again = condition_independent_fraction(as_rates(values), n_null=199, seed=1)
    assert again.data.identical(result.data)
    assert ConditionIndependentResult.from_dataset(result.to_dataset()).data.identical(result.data)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 100), offset=st.floats(-100, 100))
def test_rotation_order_scale_and_offset(seed, scale, offset):
    random = np.random.default_rng(seed)
    values = random.standard_normal((K, T, 4)) + random.standard_normal((T, 4))
    plain = fraction(values)
    assert 0 <= plain <= 1
    assert fraction(values @ ortho_group.rvs(4, random_state=seed)) == pytest.approx(plain, abs=1e-9)
    assert fraction(values[random.permutation(K)][:, random.permutation(T)]) == pytest.approx(plain, abs=1e-9)
    assert fraction(scale * values + offset) == pytest.approx(plain, abs=1e-6)


def test_units_that_do_not_vary_are_counted():
    values, share = mixture(n_units=3)
    values[:, :, 1] = 4.0
    result = condition_independent_fraction(as_rates(values, unit=list("abc")))
    assert result.failures == {"unit that does not vary": 1}
    assert result.status == "1 x unit that does not vary"
    assert_allclose(result.data["unit_fraction"].sel(unit=["a", "c"]), share, atol=ROUND_OFF)
    assert np.isnan(result.data["unit_fraction"].sel(unit="b"))
    assert float(result.data["fraction"]) == pytest.approx(share, abs=ROUND_OFF)


def test_units_below_their_noise_are_counted():
    rates = as_rates(mixture(n_units=3)[0])
    error = as_rates(np.broadcast_to([0.1, 50.0, 0.1], rates.shape))
    result = condition_independent_fraction(rates, standard_error=error)
    assert result.failures == {"unit with no more variance than its noise": 1}
    assert np.isnan(result.data["unbiased_unit_fraction"][1])


GOOD = as_rates(mixture()[0])


@pytest.mark.parametrize(
    ("rates", "options", "sentence"),
    [
        (GOOD[:1], {}, "rates.condition must have at least 2 entries, but got 1. With one condition everything"),
        (GOOD, {"kernel_sd_ms": -1.0}, "kernel_sd_ms must be 0 or more, but got -1.0. Use 0"),
        (GOOD, {"n_null": -1}, "n_null must be 0 or more"),
        (GOOD, {"standard_error": GOOD[:, :5]}, r"standard_error must be of the shape of the rates, \(6, 40, 5\)"),
        (GOOD, {"standard_error": GOOD.copy(data=-GOOD.values)}, "nowhere negative, but got .* smallest value -"),
        (as_rates(np.full((3, 4, 2), 0.3)), {}, "rates must vary over conditions or times"),
        (GOOD.rename(condition="trial"), {}, "rates must have the dims"),
    ],
)
def test_messages(rates, options, sentence):
    with pytest.raises(RatesError, match=sentence):
        condition_independent_fraction(rates, **options)
