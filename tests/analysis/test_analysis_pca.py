"""PCA: known axes, a second route, noise, invariances, signs and messages."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.stats import ortho_group
from sklearn.decomposition import PCA

from dynaprobe.analysis.pca import PcaResult, pca, project
from dynaprobe.analysis.subspace import fix_signs, n_for_fraction, numerical_rank
from dynaprobe.core.errors import RatesError
from dynaprobe.core.rates import make_rates

ROUND_OFF = 1e-10  # sums of a few thousand doubles of order one
SAMPLING = 0.05  # relative; 6000 samples leave about 1 / sqrt(6000) in a variance


def as_rates(values, dims=("condition", "time", "unit"), **coords):
    time_ms = 10.0 * np.arange(np.shape(values)[dims.index("time")])
    return make_rates(
        values, dims=dims, time_ms=time_ms, event="go_cue", rate_unit="spikes/s", source="test", coords=coords
    )


def noise(seed, shape=(4, 15, 6)):
    random = np.random.default_rng(seed)
    return random.standard_normal(shape) @ random.standard_normal((shape[-1], shape[-1])) + 3.0


def known(variances, axes, n_conditions=4, n_times=10):
    """Rates whose principal axes and variances are exactly these."""
    scores = np.random.default_rng(0).standard_normal((n_conditions * n_times, len(variances)))
    scores = np.linalg.qr(scores - scores.mean(axis=0))[0] * np.sqrt(n_conditions * n_times * np.array(variances))
    return as_rates((scores @ axes + 7.0).reshape(n_conditions, n_times, -1))


def test_known_axes_and_variances_come_back():
    axes = fix_signs(ortho_group.rvs(5, random_state=1)[:3])
    data = pca(known([5.0, 3.0, 2.0], axes), n_components=3, threshold=0.75).data
    assert_allclose(data["components"], axes, atol=ROUND_OFF)
    assert_allclose(data["variance"], [5.0, 3.0, 2.0], atol=ROUND_OFF)
    assert_allclose(data["fraction"], [0.5, 0.3, 0.2], atol=ROUND_OFF)
    assert_allclose(data["cumulative"], [0.5, 0.8, 1.0], atol=ROUND_OFF)
    assert_allclose(data["mean"], 7.0, atol=ROUND_OFF)
    assert float(data["total_variance"]) == pytest.approx(10.0, abs=ROUND_OFF)
    assert float(data["participation_ratio"]) == pytest.approx(100 / 38, abs=ROUND_OFF)
    assert int(data["n_for_threshold"]) == 2


@pytest.mark.parametrize(("threshold", "count"), [(0.5, 1), (0.5001, 2), (0.8, 2), (0.81, 3), (1.0, 3)])
def test_threshold_counts_components(threshold, count):
    assert n_for_fraction(np.array([5.0, 3.0, 2.0]), threshold) == count


def test_counts_all_components_even_when_few_are_kept():
    rates = as_rates(noise(2))
    assert int(pca(rates, 1).data["n_for_threshold"]) == int(pca(rates).data["n_for_threshold"]) > 1
    assert pca(rates, 1).data["scores"].shape == (4, 15, 1)
    for name in ("fraction", "cumulative", "participation_ratio"):
        assert_allclose(pca(rates, 2).data[name], pca(rates).data.isel(pc=slice(2))[name], rtol=ROUND_OFF)


@pytest.mark.parametrize("shape", [(4, 15, 6), (2, 4, 30)])
def test_agrees_with_scikit_learn(shape):
    values = noise(3, shape)
    flat = values.reshape(-1, shape[-1])
    data = pca(as_rates(values)).data
    k = data.sizes["pc"]
    assert k == min(flat.shape[0] - 1, flat.shape[1])
    other = PCA(n_components=k).fit(flat)
    assert_allclose(data["components"], fix_signs(other.components_), atol=ROUND_OFF)
    assert_allclose(data["variance"], other.explained_variance_ * (len(flat) - 1) / len(flat), rtol=ROUND_OFF)
    assert_allclose(data["fraction"], other.explained_variance_ratio_, rtol=ROUND_OFF)
    scores = (flat - flat.mean(axis=0)) @ fix_signs(other.components_).T
    assert_allclose(data["scores"], scores.reshape(*shape[:2], k), atol=ROUND_OFF)


def test_the_cross_condition_mean_stays_in():
    course = np.sin(np.arange(20.0))
    shared = np.broadcast_to(course[:, None] * np.array([3.0, 4.0]), (5, 20, 2))
    data = pca(as_rates(shared)).data
    assert_allclose(data["components"][0], [0.6, 0.8], atol=ROUND_OFF)
    assert float(data["variance"][0]) == pytest.approx(25 * course.var(), abs=ROUND_OFF)


def test_white_noise_spreads_evenly():
    n, u = 6000, 30
    data = pca(as_rates(np.random.default_rng(4).standard_normal((10, 600, u)))).data
    # Of white noise, sum v = u and sum v^2 = u + u^2 / n in expectation; Marchenko and Pastur give the edges.
    assert float(data["participation_ratio"]) == pytest.approx(u / (1 + u / n), rel=SAMPLING)
    edges = (1 + np.sqrt(u / n)) ** 2, (1 - np.sqrt(u / n)) ** 2
    assert_allclose([data["variance"][0], data["variance"][-1]], edges, rtol=SAMPLING)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 100))
def test_rotation_order_and_scale_of_units(seed, scale):
    values = noise(seed)
    random = np.random.default_rng(seed)
    plain = pca(as_rates(values)).data
    turned = pca(as_rates(values @ ortho_group.rvs(6, random_state=seed))).data
    assert_allclose(turned["variance"], plain["variance"], rtol=1e-7)
    order = random.permutation(6)
    mixed = pca(as_rates(scale * values[..., order])).data
    assert_allclose(mixed["variance"], scale**2 * plain["variance"], rtol=1e-7)
    assert_allclose(mixed["participation_ratio"], plain["participation_ratio"], rtol=1e-7)
    assert_allclose(np.abs(mixed["components"]), np.abs(plain["components"][:, order]), atol=1e-6)


def test_signs_follow_the_largest_loading():
    assert_allclose(fix_signs(np.array([[0.6, -0.8], [-0.8, 0.6]])), [[-0.6, 0.8], [0.8, -0.6]])
    tie = np.sqrt(0.5)
    # The second entry is larger by round-off only, so the first decides.
    assert_allclose(fix_signs(np.array([-tie, tie * (1 + 1e-15)])), [tie, -tie])
    stack = fix_signs(np.random.default_rng(5).standard_normal((3, 4, 5)))
    assert (np.take_along_axis(stack, np.abs(stack).argmax(-1)[..., None], -1) > 0).all()
    values = noise(6)
    assert_allclose(pca(as_rates(values)).data["components"], pca(as_rates(-values)).data["components"], atol=1e-9)


def test_rank_ignores_round_off():
    assert numerical_rank(np.array([4.0, 1.0, 1e-25])) == 2
    assert numerical_rank(np.zeros(3)) == 0


def test_projecting_the_same_rates_gives_the_scores():
    rates = as_rates(noise(7), unit=list("abcdef"))
    result = pca(rates, 3)
    scores = project(result, rates)
    assert_allclose(scores, result.data["scores"], atol=ROUND_OFF)
    assert scores.dims == ("condition", "time", "pc")
    trials = as_rates(noise(8, (5, 7, 6)), dims=("trial", "time", "unit"))
    by_hand = (trials.values - result.data["mean"].values) @ result.data["components"].values.T
    assert_allclose(project(result, trials), by_hand, atol=ROUND_OFF)
    assert project(result, trials)["time"].attrs["units"] == "ms"


def test_record_survives_a_round_trip():
    rates = as_rates(noise(9), unit=list("abcdef"))
    result = pca(rates, 2)
    again = PcaResult.from_dataset(result.to_dataset())
    assert again.settings == {"n_components": 2, "threshold": 0.9}
    assert again.status == "nothing failed"
    assert again.data.identical(result.data)
    assert list(again.data["unit"].values) == list("abcdef")
    assert again.data["variance"].attrs["units"] == "(spikes/s)^2"


@pytest.mark.parametrize("count", [0, 7])
def test_says_how_many_components_there_are(count):
    with pytest.raises(RatesError, match=r"n_components must lie between 1 and 6, .* but got \d\. Ask for fewer"):
        pca(as_rates(noise(1)), count)


@pytest.mark.parametrize("value", [0.0, 0.3, 1e6])
def test_says_that_nothing_varies(value):
    with pytest.raises(RatesError, match="rates must vary over conditions or times, but got the same value"):
        pca(as_rates(np.full((3, 7, 5), value)))


@pytest.mark.parametrize("threshold", [0.0, 1.5])
def test_says_what_a_threshold_is(threshold):
    with pytest.raises(RatesError, match=r"threshold must lie in \(0, 1\], but got"):
        pca(as_rates(noise(1)), threshold=threshold)


def test_says_that_units_differ():
    result = pca(as_rates(noise(1), unit=list("abcdef")))
    with pytest.raises(RatesError, match=r"rates.unit must be the 6 units of the result"):
        project(result, as_rates(noise(1)[..., :4]))
    with pytest.raises(RatesError, match=r"in the same order, but got 2 of 6 names that differ. Reorder"):
        project(result, as_rates(noise(1), unit=list("abcdfe")))
    with pytest.raises(RatesError, match=r"have the dims \('condition', 'time', 'unit'\)"):
        pca(as_rates(noise(1), dims=("trial", "time", "unit")))
