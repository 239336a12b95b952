"""jPCA: exact rotations, two further routes to the skew fit, noise, shuffles, invariances and messages."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.linalg import block_diag, expm, solve_sylvester
from scipy.optimize import minimize
from scipy.stats import binom, ortho_group
from sklearn.decomposition import PCA

from dynaprobe.analysis.jpca import JpcaResult, fit_free, fit_skew, jpca
from dynaprobe.core.errors import RatesError
from dynaprobe.core.preprocess import concatenate_segments
from dynaprobe.core.rates import make_rates

ROUND_OFF = 1e-9  # a chain of decompositions of matrices of order one
SOLVER = 1e-5  # where a numerical optimiser stops
SAMPLING = 0.1  # relative; means over 40 data sets of some 200 samples
UNIFORM = {"constant": 1e9}  # so large that every unit is divided by the same number, to one part in 1e9
DT_MS = 10.0
J = np.array([[0.0, -1.0], [1.0, 0.0]])


def as_rates(values, *, start_ms=-50.0, dt_ms=DT_MS, event="move_onset"):
    time_ms = start_ms + dt_ms * np.arange(values.shape[1])
    dims = ("condition", "time", "unit")
    return make_rates(values, dims=dims, time_ms=time_ms, event=event, rate_unit="a.u.", source="test")


def rolled_out(step, n_times=20):
    """States ``(condition, time, dim)`` that start at plus and minus every axis and follow ``x <- step x``."""
    states = [np.concatenate([np.eye(len(step)), -np.eye(len(step))])]
    for _ in range(n_times - 1):
        states.append(states[-1] @ step.T)
    return np.stack(states, axis=1)


def rotations(hz, n_units=12, seed=0):
    """Exact rotations at these frequencies in orthogonal planes of `n_units` units, and angle per bin."""
    angles = 2 * np.pi * np.array(hz) * DT_MS * 1e-3
    states = rolled_out(expm(block_diag(*(a * J for a in angles))))
    basis = ortho_group.rvs(n_units, random_state=seed)[: 2 * len(hz)]
    return states @ basis, angles, basis


def wandering(seed, n_conditions=8, n_times=40, n_units=10):
    """Smooth random rates without any structure of their own."""
    random = np.random.default_rng(seed)
    return np.cumsum(random.standard_normal((n_conditions, n_times, n_units)), axis=1) * random.uniform(
        1, 5, n_units
    )


def test_exact_rotations_come_back():
    values, angles, basis = rotations([2.5, 1.5, 0.5])
    data = jpca(as_rates(values), **UNIFORM).data
    # The skew part of a rotation by a, minus 1, is sin a; the symmetric rest is 1 - cos a.
    assert_allclose(data["frequency_hz"], np.sin(angles) / (2 * np.pi * DT_MS * 1e-3), rtol=1e-7)
    lost = ((1 - np.cos(angles)) ** 2).sum() / (2 - 2 * np.cos(angles)).sum()
    assert float(data["r2_skew"]) == pytest.approx(1 - lost, abs=1e-7)
    assert float(data["r2_m"]) == pytest.approx(1.0, abs=1e-7)
    assert float(data["ratio"]) == pytest.approx(1 - lost, abs=1e-7)
    for p in range(3):  # each plane is the plane it was built in
        cosines = np.linalg.svd(data["jpcs_unit"].values[p] @ basis[2 * p : 2 * p + 2].T, compute_uv=False)
        assert_allclose(cosines, 1.0, atol=1e-7)
    assert_allclose(data["fraction_of_pcs"], 1 / 3, atol=1e-7)
    assert_allclose(data["fraction_of_all"], 1 / 3, atol=1e-7)
    assert float(data["pcs_fraction"]) == pytest.approx(1.0, abs=ROUND_OFF)


def test_variance_outside_the_pcs_counts():
    # Two fast planes and a slow one of a third of their amplitude, of which only four PCs are kept.
    values, _, basis = rotations([2.5, 1.5, 0.5])
    scale = basis.T @ np.diag([1, 1, 1, 1, 1 / 3, 1 / 3]) @ basis
    data = jpca(as_rates(values @ scale), n_pcs=4, **UNIFORM).data
    assert_allclose(data["fraction_of_pcs"], 1 / 2, atol=1e-6)
    assert_allclose(data["fraction_of_all"], 1 / (2 + 1 / 9), atol=1e-6)
    assert float(data["pcs_fraction"]) == pytest.approx(2 / (2 + 1 / 9), abs=1e-6)


def test_pure_decay_has_no_rotation():
    basis = ortho_group.rvs(9, random_state=1)[:6]
    states = rolled_out(np.diag([0.95, 0.9, 0.85, 0.8, 0.75, 0.7])) @ basis
    data = jpca(as_rates(states), **UNIFORM).data
    assert float(data["r2_skew"]) == pytest.approx(0.0, abs=1e-6)
    assert float(data["r2_m"]) == pytest.approx(1.0, abs=1e-6)
    assert_allclose(data["frequency_hz"], 0.0, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), half=st.integers(1, 4))
def test_skew_fit_by_three_routes(seed, half):
    random = np.random.default_rng(seed)
    k = 2 * half
    before = random.standard_normal((50, k)) @ random.standard_normal((k, k))
    change = before @ random.standard_normal((k, k)).T + random.standard_normal((50, k))
    m = fit_skew(before, change)
    assert_allclose(m, -m.T, atol=0)
    # The gradient vanishes where S M + M S = C - C^T.
    S, C = before.T @ before, change.T @ before
    sylvester = solve_sylvester(S, S, C - C.T)
    assert_allclose(m, sylvester, atol=1e-6 * (1 + np.abs(sylvester).max()))
    # In the eigenbasis of S the same equation is solved entry by entry.
    s, V = np.linalg.eigh(S)
    by_entry = V @ ((V.T @ (C - C.T) @ V) / (s[:, None] + s)) @ V.T
    assert_allclose(m, by_entry, atol=1e-6 * (1 + np.abs(by_entry).max()))


@pytest.mark.parametrize("seed", range(3))
def test_no_skew_matrix_does_better(seed):
    random = np.random.default_rng(seed)
    before, change = random.standard_normal((2, 60, 6))
    upper = np.triu_indices(6, 1)

    def skew(h):
        m = np.zeros((6, 6))
        m[upper] = h
        return m - m.T

    best = minimize(lambda h: ((change - before @ skew(h).T) ** 2).sum(), np.zeros(15), method="BFGS")
    assert_allclose(fit_skew(before, change), skew(best.x), atol=SOLVER)


def test_free_fit_solves_the_normal_equations():
    before, change = np.random.default_rng(0).standard_normal((2, 60, 6))
    expected = (np.linalg.inv(before.T @ before) @ before.T @ change).T
    assert_allclose(fit_free(before, change), expected, atol=ROUND_OFF)


def slow_jpca(values, window, k=6, constant=2.0):
    """The whole protocol with plain loops and other libraries."""
    normalised = np.empty_like(values)
    for u in range(values.shape[2]):
        normalised[:, :, u] = values[:, :, u] / (values[:, :, u].max() - values[:, :, u].min() + constant)
    for t in range(values.shape[1]):
        normalised[:, t] -= normalised[:, t].mean(axis=0)
    activity = normalised[:, window]
    scores = PCA(n_components=k).fit_transform(activity.reshape(-1, values.shape[2]))
    X = scores.reshape(*activity.shape[:2], k)
    before, change = [], []
    for x in X:
        for t in range(len(x) - 1):
            before.append(x[t])
            change.append(x[t + 1] - x[t])
    before, change = np.array(before), np.array(change)
    S, C = before.T @ before, change.T @ before
    total = (change**2).sum()
    m_skew = solve_sylvester(S, S, C - C.T)
    m = (np.linalg.pinv(before) @ change).T
    r2 = [1 - ((change - before @ f.T) ** 2).sum() / total for f in (m_skew, m)]
    return r2, np.sort(np.abs(np.linalg.eigvals(m_skew)))[::-2]


@pytest.mark.parametrize("seed", range(3))
def test_whole_protocol_by_a_slow_route(seed):
    values = wandering(seed)
    data = jpca(as_rates(values, start_ms=-200.0), constant=2.0).data
    (r2_skew, r2_m), speeds = slow_jpca(values, slice(15, 35))
    assert float(data["r2_skew"]) == pytest.approx(r2_skew, abs=ROUND_OFF)
    assert float(data["r2_m"]) == pytest.approx(r2_m, abs=ROUND_OFF)
    assert_allclose(data["frequency_hz"], speeds / (2 * np.pi * DT_MS * 1e-3), atol=1e-7)
    assert_allclose(data["time"], np.arange(-50.0, 150.0, 10.0))


@pytest.mark.parametrize("seed", range(5))
def test_planes_are_turned_by_the_convention(seed):
    data = jpca(as_rates(wandering(seed))).data
    axes = data["jpcs_unit"].values.reshape(6, -1)
    assert_allclose(axes @ axes.T, np.eye(6), atol=ROUND_OFF)
    assert (np.diff(data["frequency_hz"]) <= 0).all()
    assert_allclose(data["m_skew"], -data["m_skew"].values.T, atol=0)
    for p in range(3):
        first, second = data["jpcs_pc"].values[p]
        # Counter-clockwise: the field M x at the first axis points along the second.
        turn = second @ data["m_skew"].values @ first
        assert turn == pytest.approx(2 * np.pi * float(data["frequency_hz"][p]) * DT_MS * 1e-3, abs=ROUND_OFF)
        xy = data["projections"].values[:, :, p]
        cov = np.cov(xy[:, 0].T)
        assert cov[0, 0] >= cov[1, 1]
        assert abs(cov[0, 1]) < ROUND_OFF * cov[0, 0]
        assert xy[..., 1].max() >= -xy[..., 1].min()
    # Planes together hold exactly what the PCs hold.
    assert float(data["fraction_of_pcs"].sum()) == pytest.approx(1.0, abs=ROUND_OFF)
    assert_allclose(data["fraction_of_all"], data["fraction_of_pcs"] * data["pcs_fraction"], atol=ROUND_OFF)


def test_white_noise_gives_the_chance_value():
    # For white noise in k dims and n steps, E|dX|^2 = 2 n k, and each of the k (k - 1) / 2 free parameters
    # explains 1 in expectation: R2_skew = (k - 1) / (4 n). The free fit finds M = -1, which explains a half.
    k, n_conditions, n_times = 6, 10, 21
    n = n_conditions * (n_times - 1)
    random = np.random.default_rng(0)
    found = []
    for _ in range(40):
        values = random.standard_normal((n_conditions, n_times, k))
        data = jpca(as_rates(values), stop_ms=160.0, **UNIFORM).data
        found.append([float(data["r2_skew"]), float(data["r2_m"])])
    r2_skew, r2_m = np.mean(found, axis=0)
    assert r2_skew == pytest.approx((k - 1) / (4 * n), rel=2 * SAMPLING)
    assert r2_m == pytest.approx(0.5, rel=SAMPLING)


def test_shuffled_time_is_a_null_with_the_stated_error_rate():
    random = np.random.default_rng(1)

    def r2(X):
        before, change = X[:, :-1].reshape(-1, 4), np.diff(X, axis=1).reshape(-1, 4)
        return 1 - ((change - before @ fit_skew(before, change).T) ** 2).sum() / (change**2).sum()

    n_sets, level = 200, 0.05
    rejected = 0
    for _ in range(n_sets):
        X = random.standard_normal((5, 12, 4))
        null = [r2(X[:, random.permutation(12)]) for _ in range(19)]
        rejected += (1 + sum(value >= r2(X) for value in null)) / 20 <= level
    # Time points of white noise are exchangeable, so the count is binomial; the bounds fail once in 10,000.
    low, high = binom.ppf([5e-5, 1 - 5e-5], n_sets, level)
    assert low <= rejected <= high
    X = rotations([2.0, 1.0])[0] @ np.eye(12)[:, :4]
    assert r2(X) > max(r2(X[:, random.permutation(20)]) for _ in range(19))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 100))
def test_order_and_scale_of_units_do_not_matter(seed, scale):
    values = wandering(seed)
    order = np.random.default_rng(seed).permutation(values.shape[2])
    plain, mixed = jpca(as_rates(values)).data, jpca(as_rates(scale * values[..., order])).data
    for name in ("r2_skew", "r2_m", "frequency_hz", "fraction_of_pcs", "fraction_of_all"):
        assert_allclose(mixed[name], plain[name], atol=1e-6)
    assert_allclose(np.abs(mixed["jpcs_unit"][0]), np.abs(plain["jpcs_unit"][0][:, order]), atol=1e-4)


def test_rotation_of_units_and_order_of_conditions_do_not_matter():
    values = wandering(3)
    plain = jpca(as_rates(values), **UNIFORM).data
    turned = jpca(as_rates(values[::-1] @ ortho_group.rvs(10, random_state=3)), **UNIFORM).data
    for name in ("r2_skew", "r2_m", "frequency_hz", "fraction_of_pcs"):
        assert_allclose(turned[name], plain[name], atol=1e-5)
    # Signs follow the states, not the units, so that even the pictures agree.
    assert_allclose(
        turned["projections"][::-1], plain["projections"], atol=1e-5 * float(plain["projections"].max())
    )


def test_finer_bins_mean_higher_frequency():
    values = wandering(4)
    coarse = jpca(as_rates(values, dt_ms=10.0)).data
    fine = jpca(as_rates(values, start_ms=-25.0, dt_ms=5.0), start_ms=-25.0, stop_ms=75.0).data
    assert_allclose(fine["frequency_hz"], 2 * coarse["frequency_hz"], rtol=1e-9)


def test_single_precision_is_analysed_in_double():
    # A large common offset: in single precision the mean over conditions would be off by its round-off.
    values = (wandering(8) + 1e4).astype(np.float32)
    single, double = (jpca(as_rates(v)).data for v in (values, values.astype(np.float64)))
    assert_allclose(single["projections"], double["projections"], atol=0)


def test_one_segment_is_analysed_and_all_are_normalised_over():
    late, early = as_rates(wandering(5)), as_rates(5 * wandering(6), event="target_on")
    joined = concatenate_segments([early, late])
    before = joined.copy(deep=True)
    both = jpca(joined, constant=1.0).data
    alone = jpca(late, constant=1.0).data
    assert joined.identical(before)
    assert "event" not in joined["time"].attrs
    assert both["time"].attrs["event"] == "move_onset"
    assert float(both["r2_skew"]) != float(alone["r2_skew"])
    uniform = [jpca(rates, **UNIFORM).data["r2_skew"] for rates in (joined, late)]
    assert_allclose(*uniform, atol=1e-7)
    assert_allclose(
        jpca(joined, event="target_on", **UNIFORM).data["r2_skew"],
        jpca(as_rates(5 * wandering(6)), **UNIFORM).data["r2_skew"],
        atol=1e-7,
    )


def test_record_survives_a_round_trip():
    result = jpca(as_rates(wandering(7)), n_pcs=4)
    again = JpcaResult.from_dataset(result.to_dataset())
    assert again.data.identical(result.data)
    assert again.settings["n_pcs"] == 4
    assert result.data["projections"].dims == ("condition", "time", "plane", "axis")
    assert result.data["projections"].shape == (8, 20, 2, 2)


@pytest.mark.parametrize(
    ("values", "options", "sentence"),
    [
        (wandering(0), {"n_pcs": 5}, "n_pcs must be even and at least 2, but got 5. Every plane takes two"),
        (
            wandering(0)[:1],
            {},
            r"rates.condition must have at least 2 entries, .* but got 1. Give the rates of every",
        ),
        (wandering(0, n_units=4), {}, "n_pcs must be at most 4, the number of dimensions"),
        (
            wandering(0),
            {"stop_ms": -30.0},
            r"window must hold at least three bins, but got 2 bins in \[-50, -30\) ms",
        ),
        (wandering(0), {"stop_ms": 900.0}, "window must lie inside the rates"),
        (
            wandering(0),
            {"event": "go_cue"},
            r"event must be one the rates are aligned to \(move_onset\), but got go_cue",
        ),
        (np.repeat(wandering(0)[:, :1], 20, axis=1), {}, "rates must change within the window"),
        (np.zeros((8, 20, 10)), {}, "n_pcs must be at most 0"),
    ],
)
def test_messages(values, options, sentence):
    with pytest.raises(RatesError, match=sentence):
        jpca(as_rates(values), **options)
