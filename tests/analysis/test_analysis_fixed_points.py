"""Fixed points: systems whose answer is known or proven, every way to fail, invariances and messages."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from interval_roots import all_fixed_points
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import ortho_group

from dynaprobe.analysis.fixed_points import (
    FixedPoints,
    SearchSettings,
    find_fixed_points,
    fixed_points_along_inputs,
    starts_from_states,
)
from dynaprobe.core.errors import DynaprobeError, SettingsError
from dynaprobe.core.settings import parse
from dynaprobe.model.rnn import CTRNN
from dynaprobe.model.settings import NetworkSettings

SOLVER = 1e-8  # |x - truth| where |F| is at round-off and the Jacobian's condition number is up to about 1e6
ROUND_OFF = 1e-12  # relative; a few operations of order one
NO_INPUT = np.zeros(0)


def uniform(n_starts, n_units, half_width=1.0, seed=0):
    return np.random.default_rng(seed).uniform(-half_width, half_width, (n_starts, n_units))


def find(f, starts, inputs=NO_INPUT, *, kind="vector_field", labels=None, **settings):
    return find_fixed_points(f, starts, inputs, kind=kind, labels=labels, settings=SearchSettings(**settings))


def assert_same_points(found, expected, atol=SOLVER):
    """The same set of rows, each once; returns which found row each expected row is."""
    assert found.shape == expected.shape
    distance = cdist(expected, found)
    rows, partners = linear_sum_assignment(distance)
    assert_allclose(distance[rows, partners], 0, atol=atol)
    return partners


# --- the exact case ------------------------------------------------------------------------------------------


def shifted_rows(n):
    """Row i is minus linspace(-1, 1, n), rolled left by i."""
    return np.stack([np.roll(-np.linspace(-1, 1, n), -i) for i in range(n)])


# Unstable directions of every point, sorted. Four of the nine points at n = 4 have a multiplier of -1.0000245.
UNSTABLE = {2: [0, 0, 1], 3: [1, 1, 2], 4: [0, 0, 1, 1, 2, 2, 2, 2, 3]}


@pytest.mark.parametrize(("n", "kind"), [(2, "map"), (3, "map"), (4, "map"), (4, "vector_field")])
def test_all_fixed_points_of_the_shifted_tanh_map_and_no_other(n, kind):
    W = shifted_rows(n)
    proven = all_fixed_points(W)
    assert len(proven) == len(UNSTABLE[n])
    assert_same_points(-proven, proven)  # the map is odd

    def step(h, u):
        return jnp.tanh(h @ W)

    def field(h, u):
        return jnp.tanh(h @ W) - h

    result = find(step if kind == "map" else field, uniform(256, n), kind=kind)
    data = result.data
    assert result.status == "nothing failed"
    partners = assert_same_points(data["x"].values, proven)
    assert set(data["point_kind"].values) == {"fixed_point"}
    assert data["n_starts"].sum() == 256
    for h, row in zip(proven, partners, strict=True):
        eigenvalues = np.linalg.eigvals((1 - np.tanh(h @ W) ** 2)[:, None] * W.T)
        unstable = np.abs(eigenvalues) > 1 if kind == "map" else eigenvalues.real > 1
        assert data["n_unstable"].values[row] == unstable.sum()
        assert data["n_marginal"].values[row] == 0
    if kind == "map":
        assert_array_equal(data["n_unstable"], UNSTABLE[n])


def test_the_interval_oracle_sees_what_a_grid_of_solvers_sees():
    # The oracle itself: a plain contraction with one known point, and a bistable map.
    assert_allclose(all_fixed_points(np.array([[0.5, 0.1], [-0.2, 0.3]])), [[0, 0]], atol=SOLVER)
    two = all_fixed_points(np.array([[2.0]]))
    assert_allclose(np.sort(two[:, 0]), [-0.95750402, 0, 0.95750402], atol=1e-8)


# --- known answers -------------------------------------------------------------------------------------------


def test_a_linear_system_has_one_point():
    rng = np.random.default_rng(1)
    A, B, u = rng.standard_normal((6, 6)) - 4 * np.eye(6), rng.standard_normal((6, 2)), np.array([0.3, -1.0])
    result = find(lambda x, u: A @ x + B @ u, uniform(20, 6, 5), u)
    data = result.data
    assert_allclose(data["x"].values, [-np.linalg.solve(A, B @ u)], atol=SOLVER)
    assert data["n_starts"].item() == 20
    found = data["eigenvalue_real"].values[0] + 1j * data["eigenvalue_imag"].values[0]
    assert_allclose(np.sort_complex(found), np.sort_complex(np.linalg.eigvals(A)), rtol=1e-10)
    assert (np.diff(data["eigenvalue_real"].values[0]) <= 0).all()
    assert data["residual"].item() < 1e-10
    assert_allclose(data["q"], data["residual"] ** 2 / 2, rtol=ROUND_OFF)
    assert data["is_stable"].item()
    assert data["stability"].item() == "stable"


@pytest.mark.parametrize(
    ("mu", "points", "stability"),
    [(1.0, [-1, 0, 1], ["stable", "unstable", "stable"]), (-1.0, [0], ["stable"]), (0.0, [0], ["marginal"])],
)
def test_the_pitchfork(mu, points, stability):
    data = find(lambda x, u: u * x - x**3, uniform(64, 1, 2), np.array([mu]), tol_merge=1e-4).data
    order = np.argsort(data["x"].values[:, 0])
    # At mu = 0 the zero is threefold: |F| = 1e-10 already at |x| = 5e-4, and only the step can tell.
    assert_allclose(data["x"].values[order, 0], points, atol=SOLVER if mu else 1e-4)
    assert data["stability"].values[order].tolist() == stability
    assert data["is_smooth"].all()


def test_a_limit_cycle_has_an_unstable_focus_inside():
    mu, omega = 0.4, 2.0

    def hopf(z, u):
        x, y = z
        return jnp.stack([mu * x - omega * y - x * (x**2 + y**2), omega * x + mu * y - y * (x**2 + y**2)])

    data = find(hopf, uniform(50, 2)).data
    assert_allclose(data["x"], [[0, 0]], atol=SOLVER)
    assert_allclose(data["eigenvalue_real"], [[mu, mu]], rtol=1e-9)
    assert_allclose(data["eigenvalue_imag"], [[omega, -omega]], rtol=1e-9)
    assert data["stability"].item() == "unstable"
    assert data["n_unstable"].item() == 2


def test_a_line_attractor_gives_marginal_points_near_the_starts():
    along, across = np.array([0.6, 0.8]), np.array([-0.8, 0.6])
    A = -0.5 * np.outer(across, across)
    starts = uniform(40, 2, 3)
    data = find(lambda x, u: A @ x, starts).data
    assert data.sizes["point"] == 40
    assert_allclose(data["x"].values @ across, 0, atol=1e-8)
    assert_array_equal(data["n_marginal"], 1)
    assert set(data["stability"].values) == {"marginal"}
    # The smallest correction leads from each start straight to the line: nothing wanders along it.
    chosen = data["x"].values[data["start_point"].values[0]]
    assert_allclose(chosen @ along, starts @ along, atol=1e-8)
    assert_allclose(data["distance_to_start"], cdist(data["x"], starts).min(axis=1), atol=ROUND_OFF)


def test_a_ring_attractor_keeps_its_points_apart_by_the_merging_distance():
    def ring(z, u):
        return z * (1 - jnp.sum(z**2))

    starts = uniform(200, 2, 1.5)
    data = find(ring, starts, tol_merge=0.2).data.query(point="n_unstable == 0")
    radius = np.linalg.norm(data["x"], axis=1)
    assert_allclose(radius, 1, atol=1e-8)
    assert_array_equal(data["n_marginal"], 1)
    apart = cdist(data["x"], data["x"]) + np.eye(data.sizes["point"])
    assert apart.min() > 0.2
    assert 2 * np.pi / 0.4 - 1 < data.sizes["point"] < 2 * np.pi / 0.2 + 1


def relu_points(W, b):
    """Every fixed point of -x + W max(x, 0) + b, by solving in each of the 2^n linear regions."""
    n = len(b)
    points = []
    for active in product([0.0, 1.0], repeat=n):
        x = np.linalg.solve(np.eye(n) - W * np.array(active), b)
        if ((x > 0) == np.array(active, dtype=bool)).all():
            points.append(x)
    return np.array(points)


def relu_field(x, u):
    """W and b come as the input, so that the function is compiled once for all networks."""
    W, b = u[:25].reshape(5, 5), u[25:]
    return -x + W @ jnp.maximum(x, 0) + b


@pytest.mark.parametrize("seed", range(6))
def test_a_relu_network_against_all_its_linear_regions(seed):
    rng = np.random.default_rng(seed)
    W, b = 1.2 * rng.standard_normal((5, 5)), rng.standard_normal(5)
    expected = relu_points(W, b)
    data = find(relu_field, uniform(200, 5, 6, seed), np.concatenate([W.ravel(), b])).data
    points = data["x"].values[data["point_kind"].values == "fixed_point"]
    assert_same_points(points, expected.reshape(-1, 5))
    assert data["is_smooth"].all()


def test_a_zero_on_the_border_of_two_regions_is_found_and_told():
    data = find(lambda x, u: -x - jnp.maximum(x, 0), uniform(30, 1)).data
    assert_allclose(data["x"], [[0]], atol=SOLVER)
    assert not data["is_smooth"].item()


# --- failing, and slow points --------------------------------------------------------------------------------


def parabola(x, u):
    return x**2 + u


def fading(x, u):
    """Nearly 0 far out, and 0 nowhere."""
    return jnp.exp(-x) + 0 * u


@pytest.mark.parametrize(
    ("f", "drive", "start", "settings", "reason"),
    [
        (parabola, 1.0, 0.7, {}, "local minimum of q above tolerance (tol_slow 1e-06)"),
        (parabola, -1.0, 0.0, {}, "saddle of q"),
        (parabola, 1e-4, 0.3, {}, "slow point only (a local minimum of q between 1e-20 and 1e-06)"),
        (fading, 0.0, 0.0, {}, "left the region (further than 10 from where it began)"),
        (fading, 0.0, 0.0, {"max_distance": 90.0}, "left the region (further than 90 from"),
        (lambda x, u: jnp.log(x) + u, 0.0, -1.0, {}, "at which f or its square is not finite"),
        (lambda x, u: jnp.abs(x) + u, 1.0, 0.5, {}, "stalled where no step lowers q"),
        (lambda x, u: jnp.arctan(x) + u, 0.0, 1.2, {"n_iterations": 1}, "did not converge in 2 x 1 iterations"),
    ],
)
def test_every_way_to_find_no_fixed_point_is_told_in_words(f, drive, start, settings, reason):
    result = find(f, np.array([[start]] * 3), np.array([drive]), **settings)
    assert result.data["n_failed"].item() == 3
    assert result.data["n_fixed"].item() == 0
    assert list(result.failures.values()) == [3]
    assert reason in result.status
    assert result.status.startswith("3 x start")


def test_a_system_without_a_fixed_point_fails_from_everywhere():
    result = find(lambda x, u: jnp.stack([1 + x[0] ** 2, -x[1]]), uniform(100, 2, 3))
    assert result.data.sizes["point"] == 0
    assert sum(result.failures.values()) == 100
    assert_array_equal(result.data["start_point"], -1)


def test_the_ghost_of_two_fixed_points_is_a_slow_point():
    gap = 1e-4
    result = find(lambda x, u: jnp.stack([gap + x[0] ** 2, -3 * x[1]]), uniform(60, 2, 0.5))
    data = result.data
    assert_array_equal(data["point_kind"], ["slow_point"])
    assert_allclose(data["x"], [[0, 0]], atol=1e-6)
    assert_allclose(data["q"], [gap**2 / 2], rtol=1e-6)
    assert data["n_starts"].item() == 60 == data["n_failed"].item()
    # At rest: the gradient J'F of q is nought although F is not.
    assert np.abs(2 * data["x"].values[0, 0] * gap) < 1e-10
    assert result.data["n_slow"].item() == 1


def test_slow_points_stand_after_fixed_points_and_apart_from_them():
    # Zero at -1, ghost at +0.5
    def f(x, u):
        return -(x + 1) * ((x - 0.5) ** 2 + 1e-5)

    data = find(f, uniform(200, 1, 1.5)).data
    assert_array_equal(data["point_kind"], ["fixed_point", "slow_point"])
    assert_allclose(data["x"].values[0], [-1], atol=SOLVER)
    assert_allclose(data["x"].values[1], [0.5], atol=1e-4)
    outcomes = data["start_outcome"].values[0]
    meanings = data["start_outcome"].attrs["flag_meanings"].split()
    assert {meanings[code] for code in outcomes} == {"fixed", "slow"}
    assert_array_equal(data["start_point"].values[0], outcomes)


# --- invariances ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network():
    settings = NetworkSettings(n_units=10, spectral_radius=2.0, activation="tanh")
    return CTRNN.make(settings, n_inputs=3, n_outputs=2, seed=3)


def test_a_single_precision_network_is_searched_in_double(network):
    assert not jax.config.jax_enable_x64
    result = find(network.vector_field, uniform(40, 10, 2), np.array([0.5, -0.2, 1.0]))
    fixed = result.data.query(point="point_kind == 'fixed_point'")
    assert fixed.sizes["point"] >= 1
    assert fixed["residual"].max() < 1e-10
    assert network.w_rec.dtype == jnp.float32
    w_rec, w_in, b = (np.asarray(a, dtype=np.float64) for a in (network.w_rec, network.w_in, network.b))
    x = fixed["x"].values
    by_hand = (-x + np.tanh(x) @ w_rec.T + b + np.array([0.5, -0.2, 1.0]) @ w_in.T) / network.tau_ms
    assert np.abs(by_hand).max() < 1e-10


def test_map_and_vector_field_of_one_network_have_the_same_points(network):
    starts, u = uniform(40, 10, 2), np.array([0.5, -0.2, 1.0])
    field = find(network.vector_field, starts, u).data.query(point="point_kind == 'fixed_point'")
    step = find(network.step, starts, u, kind="map").data.query(point="point_kind == 'fixed_point'")
    partners = assert_same_points(step["x"].values, field["x"].values)
    # l_map = 1 + dt l_field
    values = [d["eigenvalue_real"].values + 1j * d["eigenvalue_imag"].values for d in (field, step)]
    for row, partner in enumerate(partners):
        one = np.sort_complex(1 + network.dt_ms * values[0][row])
        assert_allclose(one, np.sort_complex(values[1][partner]), atol=1e-8)
    assert field.attrs["kind"] == "vector_field"
    assert step.attrs["F"] == "step minus state"


W_5 = 1.8 * np.random.default_rng(5).standard_normal((5, 5))
Q_5 = ortho_group.rvs(5, random_state=6)


def turned_network(z, u):
    """-x + W tanh(x) in the coordinates z = Q x; Q comes as the input."""
    Q = u.reshape(5, 5)
    x = Q.T @ z
    return Q @ (-x + W_5 @ jnp.tanh(x))


def test_an_orthogonal_change_of_basis_changes_nothing_but_the_basis():
    starts = uniform(120, 5, 2)
    plain = find(turned_network, starts, np.eye(5).ravel()).data.query(point="point_kind == 'fixed_point'")
    turned = find(turned_network, starts @ Q_5.T, Q_5.ravel()).data.query(point="point_kind == 'fixed_point'")
    partners = assert_same_points(turned["x"].values @ Q_5, plain["x"].values)
    assert plain.sizes["point"] >= 3
    assert_array_equal(turned["n_unstable"].values[partners], plain["n_unstable"])
    assert_allclose(turned["eigenvalue_real"].values[partners], plain["eigenvalue_real"], atol=1e-8)


def test_the_order_of_starts_is_irrelevant():
    starts = uniform(150, 5, 2)
    order = np.random.default_rng(8).permutation(150)
    one, other = (find(turned_network, s, np.eye(5).ravel()).data for s in (starts, starts[order]))
    assert_allclose(other["x"], one["x"], atol=SOLVER)
    for name in ("n_starts", "n_unstable", "point_kind"):
        assert_array_equal(other[name], one[name])
    assert_array_equal(other["start_point"].values[0], one["start_point"].values[0][order])


def test_a_start_has_the_same_fate_alone_as_among_others():
    starts = uniform(70, 5, 2)
    together = find(turned_network, starts, np.eye(5).ravel()).data
    for row in (0, 33, 69):
        alone = find(turned_network, starts[row : row + 1], np.eye(5).ravel()).data
        there = together["start_point"].values[0, row]
        assert_allclose(alone["x"].values[0], together["x"].values[there], atol=SOLVER)


# --- several inputs ------------------------------------------------------------------------------------------

LABELS = ["left", "both", "right"]
DRIVES = np.array([[-1.0], [0.0], [1.0]])  # x - x^3 + u: both wells only at 0


def wells(x, u):
    return x - x**3 + u


def test_each_input_has_its_own_search_and_label():
    data = find(wells, uniform(80, 1, 2), DRIVES, labels=LABELS).data
    assert_array_equal(data["n_fixed"], [1, 3, 1])
    assert data["input_label"].values.tolist() == ["left", "both", "both", "both", "right"]
    assert_array_equal(data["input_index"], [0, 1, 1, 1, 2])
    assert_allclose(data["input_value"], DRIVES)
    for k in range(3):
        alone = find(wells, uniform(80, 1, 2), DRIVES[k]).data
        part = data.isel(point=data["input_index"].values == k)
        assert_allclose(part["x"], alone["x"], atol=ROUND_OFF)
        assert_array_equal(part["n_starts"], alone["n_starts"])
    for k, chosen in enumerate(data["start_point"].values):
        assert_array_equal(data["input_index"].values[chosen[chosen >= 0]], k)
        assert (chosen >= 0).sum() == 80 - data["n_failed"].values[k]


def test_points_are_followed_from_input_to_input():
    # Stable at u - 1 and u + 1, unstable at u: as u rises, what was stable on the right becomes the threshold.
    def moving(x, u):
        return -(x - u) * ((x - u) ** 2 - 1)

    drives = np.array([[0.0], [1.0], [2.0]])
    data = fixed_points_along_inputs(moving, np.full((9, 1), 1.8), drives, kind="vector_field").data
    # Rows are ordered by n_unstable within each input.
    assert_allclose(data["x"].values[:, 0], [1, 2, 1, 1, 2], atol=SOLVER)
    assert_array_equal(data["input_index"], [0, 1, 1, 2, 2])
    assert_array_equal(data["n_unstable"], [0, 0, 1, 0, 1])
    # The threshold at u = 1 is known from u = 0 alone; the start at 1.8 goes to the well at 2.
    assert_array_equal(data["n_starts"], [9, 9, 0, 0, 9])
    assert_array_equal(data["successor"], [2, 4, 3, -1, -1])


# --- starts --------------------------------------------------------------------------------------------------


def test_starts_are_visited_states_plus_noise():
    states = np.random.default_rng(0).standard_normal((4, 25, 3))
    plain = starts_from_states(states, 100, noise_sd=0.0, seed=2)
    assert_array_equal(np.unique(plain, axis=0), np.unique(states.reshape(-1, 3), axis=0))
    noisy = starts_from_states(np.zeros((1, 400)), 500, noise_sd=0.3, seed=2)
    # 200 000 draws: the standard error of the deviation is 0.3 / sqrt(400 000) = 0.0005
    assert noisy.std() == pytest.approx(0.3, abs=0.0025)
    assert_array_equal(noisy, starts_from_states(np.zeros((1, 400)), 500, noise_sd=0.3, seed=2))
    assert not np.array_equal(noisy, starts_from_states(np.zeros((1, 400)), 500, noise_sd=0.3, seed=3))


@pytest.mark.parametrize(
    ("states", "n_starts", "noise_sd", "message"),
    [
        (np.array([[np.nan, 1.0]]), 3, 0.1, "states must be finite, but got NaN or infinity in 1 of 1 rows"),
        (np.zeros((0, 2)), 3, 0.1, "number of states must be at least 1, but got 0"),
        (np.zeros((2, 2)), 0, 0.1, "n_starts must be at least 1, but got 0"),
        (np.zeros((2, 2)), 3, -0.1, r"noise_sd must be a number from 0 up, but got -0\.1"),
    ],
)
def test_bad_states_are_refused(states, n_starts, noise_sd, message):
    with pytest.raises(DynaprobeError, match=message):
        starts_from_states(states, n_starts, noise_sd=noise_sd, seed=0)


# --- the record and its messages -----------------------------------------------------------------------------


def test_the_record_survives_netcdf(tmp_path):
    result = find(wells, uniform(10, 1, 2), DRIVES, labels=LABELS)
    result.to_dataset().to_netcdf(tmp_path / "points.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "points.nc", engine="h5netcdf") as stored:
        again = FixedPoints.from_dataset(stored.load())
    xr.testing.assert_identical(again.data.drop_attrs(), result.data.drop_attrs())
    assert again.settings["tol_fixed"] == 1e-20
    assert again.data.attrs["kind"] == "vector_field"


def test_an_empty_record_survives_netcdf(tmp_path):
    result = find(parabola, np.array([[0.7]]), np.array([1.0]))
    result.to_dataset().to_netcdf(tmp_path / "none.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "none.nc", engine="h5netcdf") as stored:
        assert FixedPoints.from_dataset(stored.load()).data.sizes["point"] == 0


def ok(x, u):
    return -x


@pytest.mark.parametrize(
    ("f", "starts", "inputs", "changes", "message"),
    [
        (ok, np.zeros(3), NO_INPUT, {}, r"starts must have the axes \(start, unit\), .* got shape \(3,\)\. Make"),
        (ok, np.zeros((0, 3)), NO_INPUT, {}, r"starts must have the axes .* got shape \(0, 3\)"),
        (ok, np.array([[0, np.nan], [1, 2]]), NO_INPUT, {}, "starts must be finite, but got NaN or .* 1 of 2"),
        (
            ok,
            np.full((2, 3), -2e100),
            NO_INPUT,
            {},
            r"starts must be at most 1e\+100 in .* got 2e\+100\.",
        ),
        (ok, np.zeros((2, 3)), np.array([np.inf]), {}, "inputs must be finite"),
        (ok, np.zeros((2, 3)), np.zeros((1, 1, 1)), {}, r"inputs must be one input .* got shape \(1, 1, 1\)"),
        (ok, np.zeros((2, 3)), np.zeros((2, 1)), {"labels": ["a", "a"]}, "labels must be 2 different names"),
        (ok, np.zeros((2, 3)), np.zeros((2, 1)), {"labels": ["a"]}, "labels must be 2 different names, one per"),
        (ok, np.zeros((2, 3)), NO_INPUT, {"kind": "flow"}, "kind must be 'vector_field' .* but got flow. Say"),
        (lambda x, u: x[:2], np.zeros((2, 3)), NO_INPUT, {}, r"f must return .* \(3,\), but got shape \(2,\)"),
        (lambda x, u: (x, x), np.zeros((2, 3)), NO_INPUT, {}, "f must return .* but got tuple"),
        (lambda x, u: x.astype("float32"), np.zeros((2, 3)), NO_INPUT, {}, "f must return float64 .* float32"),
        (lambda x, u: np.eye(2) @ x, np.zeros((2, 3)), NO_INPUT, {}, r"f must accept one state of shape \(3,\)"),
    ],
)
def test_bad_input_is_refused_before_any_work(f, starts, inputs, changes, message):
    with pytest.raises(DynaprobeError, match=message):
        find_fixed_points(f, starts, inputs, **{"kind": "vector_field", **changes})


def test_settings_that_contradict_one_another_are_refused():
    with pytest.raises(SettingsError, match="tol_fixed is at most tol_slow"):
        parse(SearchSettings, {"tol_fixed": 1e-3})
    with pytest.raises(SettingsError, match="tol_step is at most tol_merge"):
        parse(SearchSettings, {"tol_step": 1e-3})
    with pytest.raises(SettingsError, match="n_iterations must be greater than 0, but got 0"):
        parse(SearchSettings, {"n_iterations": 0})
