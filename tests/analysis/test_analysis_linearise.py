"""Linearisation: closed form, finite differences, known modes, conversions, non-normality and messages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import expm
from scipy.stats import ortho_group

from dynaprobe.analysis.linearise import (
    Linearisation,
    field_from_step,
    henrici,
    in_double,
    input_jacobian,
    jacobian,
    linearise,
    mode_times,
    sorted_eigenvalues,
    step_from_field,
)
from dynaprobe.core.errors import DynaprobeError
from dynaprobe.model.rnn import CTRNN
from dynaprobe.model.settings import NetworkSettings

ROUND_OFF = 1e-12  # relative to the entries, all of order one or below
DIFFERENCES = 1e-7  # central differences with h = 1e-4: h^2 for the curvature, 1e-16 / h for cancellation
SLOPES = {
    "tanh": lambda x: 1 - np.tanh(x) ** 2,
    "relu": lambda x: (x > 0).astype(float),
    "softplus": lambda x: 1 / (1 + np.exp(-x)),
}


def make(activation="tanh", n_units=12):
    chosen = NetworkSettings(n_units=n_units, spectral_radius=1.5, activation=activation)
    return CTRNN.make(chosen, n_inputs=3, n_outputs=2, seed=1)


def double(array):
    return np.asarray(array, dtype=np.float64)


STATES = np.random.default_rng(0).standard_normal((5, 12))
INPUTS = np.random.default_rng(1).standard_normal((5, 3))


@pytest.mark.parametrize("activation", SLOPES)
def test_the_jacobian_of_the_network_is_the_closed_form(activation):
    network = make(activation)
    slope = SLOPES[activation](STATES)
    expected = (double(network.w_rec) * slope[:, None, :] - np.eye(12)) / network.tau_ms
    assert_allclose(jacobian(network.vector_field, STATES, INPUTS), expected, atol=ROUND_OFF)
    of_input = np.broadcast_to(double(network.w_in) / network.tau_ms, (5, 12, 3))
    assert_allclose(input_jacobian(network.vector_field, STATES, INPUTS), of_input, atol=ROUND_OFF)


def test_the_step_jacobian_is_that_of_the_field_converted():
    network = make()
    of_field = jacobian(network.vector_field, STATES, INPUTS)
    of_step = jacobian(network.step, STATES, INPUTS)
    assert_allclose(step_from_field(of_field, network.dt_ms), of_step, atol=ROUND_OFF)
    assert_allclose(field_from_step(of_step, network.dt_ms), of_field, atol=ROUND_OFF)


def curved(x, u):
    return jnp.stack([x[0] * x[1] + jnp.sin(u[0]), jnp.exp(-x[2]) * u[1], x[0] ** 2 - x[1] * u[0]])


def test_jacobians_against_finite_differences():
    x, u, h = np.array([0.3, -0.7, 1.1]), np.array([0.4, -0.2]), 1e-4

    def differences(f, at):
        columns = [(f(at + h * e) - f(at - h * e)) / (2 * h) for e in np.eye(len(at))]
        return np.stack(columns, axis=1)

    with jax.enable_x64(True):
        of_state = differences(lambda at: np.asarray(curved(jnp.asarray(at), jnp.asarray(u))), x)
        of_input = differences(lambda at: np.asarray(curved(jnp.asarray(x), jnp.asarray(at))), u)
    assert_allclose(jacobian(curved, x[None], u)[0], of_state, atol=DIFFERENCES)
    assert_allclose(input_jacobian(curved, x[None], u)[0], of_input, atol=DIFFERENCES)


@pytest.mark.parametrize("n_points", [0, 1, 8, 9, 64, 65, 130])
def test_any_number_of_points_gives_the_jacobian_of_each(n_points):
    states = np.random.default_rng(2).standard_normal((n_points, 3))
    J = jacobian(curved, states, np.array([0.4, -0.2]))
    assert J.shape == (n_points, 3, 3)
    assert_allclose(J[:, 0, 0], states[:, 1], atol=ROUND_OFF)
    assert_allclose(J[:, 2, 0], 2 * states[:, 0], atol=ROUND_OFF)


def test_a_network_is_widened_without_being_changed():
    network = make()
    with jax.enable_x64(True):
        wide = in_double(network)
        assert wide.w_rec.dtype == jnp.float64
        bound = in_double(network.vector_field)
        assert bound(jnp.asarray(STATES[0]), jnp.asarray(INPUTS[0])).dtype == jnp.float64
    assert network.w_rec.dtype == jnp.float32
    assert wide.activation_name == network.activation_name
    assert_array_equal(double(wide.w_rec), double(network.w_rec))
    assert in_double(np.tanh) is np.tanh


# --- eigenvalues and modes ---------------------------------------------------------------------------------------


def spiral(decay_ms, hz):
    """A plane that decays in `decay_ms` and turns `hz` times a second, in 1/ms."""
    omega = 2 * np.pi * hz / 1000
    return np.array([[-1 / decay_ms, -omega], [omega, -1 / decay_ms]])


def test_a_spiral_has_its_time_constant_and_frequency_in_both_views():
    A = spiral(80.0, 1.5)
    tau_ms, hz = mode_times(sorted_eigenvalues(A, "vector_field"), "vector_field")
    assert_allclose(tau_ms, [80, 80])
    assert_allclose(hz, [1.5, -1.5])
    # The exact map over 10 ms is the same flow; Euler's is not, which is why the two formulas differ.
    exact = sorted_eigenvalues(expm(10 * A), "map")
    tau_ms, hz = mode_times(exact, "map", dt_ms=10.0)
    assert_allclose(tau_ms, [80, 80])
    assert_allclose(hz, [1.5, -1.5])


def test_modes_that_grow_stand_still_or_vanish_at_once():
    tau_ms, hz = mode_times(np.array([0.01, 0.0, -0.02], dtype=complex), "vector_field")
    assert_allclose(tau_ms, [-100, np.inf, 50])
    assert_allclose(hz, 0)
    tau_ms, hz = mode_times(np.array([1.0, 0.0, -0.5], dtype=complex), "map", dt_ms=10.0)
    assert_allclose(tau_ms, [np.inf, 0, 10 / np.log(2)])
    # A multiplier below 0 flips sign at every step: half a turn in 10 ms.
    assert_allclose(hz, [0, 0, 50])


def test_eigenvalues_come_slowest_first_and_pairs_with_their_upper_member_first():
    blocks = np.zeros((5, 5))
    blocks[:2, :2], blocks[2:4, 2:4], blocks[4, 4] = spiral(50, 3), spiral(200, 1), -0.5
    field = sorted_eigenvalues(blocks, "vector_field")
    assert_allclose(field.real, [-1 / 200, -1 / 200, -1 / 50, -1 / 50, -0.5])
    assert (field.imag[[0, 2]] > 0).all()
    # By modulus the fast decay comes first.
    assert_allclose(np.abs(sorted_eigenvalues(blocks, "map"))[0], 0.5)
    assert (np.diff(np.abs(sorted_eigenvalues(blocks, "map"))) <= 0).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8))
def test_eigenvalues_keep_trace_and_determinant(seed, n):
    J = np.random.default_rng(seed).standard_normal((3, n, n))
    for kind in ("vector_field", "map"):
        values = sorted_eigenvalues(J, kind)
        assert_allclose(values.sum(axis=1), np.trace(J, axis1=1, axis2=2), atol=1e-10)
        assert_allclose(values.prod(axis=1), np.linalg.det(J), atol=1e-8)


def test_henrici_of_matrices_whose_departure_is_known():
    assert henrici(np.array([[0.0, 1.0], [0.0, 0.0]])) == 1
    assert henrici(np.zeros((3, 3))) == 0
    # [[a, c], [0, b]]: sqrt(c^2 / (a^2 + b^2 + c^2))
    assert henrici(np.array([[1.0, 2.0], [0.0, -2.0]])) == pytest.approx(np.sqrt(4 / 9))
    assert henrici(spiral(80, 1.5)) == pytest.approx(0, abs=1e-15)
    symmetric = np.random.default_rng(3).standard_normal((6, 6))
    assert henrici(symmetric + symmetric.T) == pytest.approx(0, abs=1e-14)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 8))
def test_henrici_is_its_formula_and_knows_no_basis(seed, n):
    J = np.random.default_rng(seed).standard_normal((n, n))
    by_formula = np.sqrt(1 - (np.abs(np.linalg.eigvals(J)) ** 2).sum() / (J**2).sum())
    # The formula subtracts nearly equal numbers, so it is good to the root of round-off.
    assert henrici(J) == pytest.approx(by_formula, abs=1e-6)
    Q = ortho_group.rvs(n, random_state=seed)
    assert henrici(Q @ J @ Q.T) == pytest.approx(henrici(J), abs=1e-12)
    assert 0 <= henrici(J) < 1


# --- the record --------------------------------------------------------------------------------------------------


def test_the_record_holds_what_the_functions_say(tmp_path):
    network = make()
    result = linearise(network.vector_field, STATES, INPUTS, kind="vector_field")
    data = result.data
    J = jacobian(network.vector_field, STATES, INPUTS)
    assert_array_equal(data["jacobian"], J)
    values = data["eigenvalue_real"].values + 1j * data["eigenvalue_imag"].values
    assert_array_equal(values, sorted_eigenvalues(J, "vector_field"))
    assert_array_equal(data["mode_tau_ms"], mode_times(values, "vector_field")[0])
    assert_array_equal(data["spectral_abscissa"], values.real.max(axis=1))
    assert_array_equal(data["spectral_radius"], np.abs(values).max(axis=1))
    assert_array_equal(data["henrici"], [henrici(matrix) for matrix in J])
    assert data["jacobian"].attrs["units"] == "1/ms"
    result.to_dataset().to_netcdf(tmp_path / "linear.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "linear.nc", engine="h5netcdf") as stored:
        again = Linearisation.from_dataset(stored.load())
    xr.testing.assert_identical(again.data.drop_attrs(), data.drop_attrs())


def test_a_map_has_times_only_when_its_step_is_known():
    network = make()
    without = linearise(network.step, STATES, INPUTS, kind="map").data
    assert without["mode_tau_ms"].isnull().all()
    assert without["jacobian"].attrs["units"] == "per step"
    known = linearise(network.step, STATES, INPUTS, kind="map", dt_ms=network.dt_ms).data
    # Euler's map decays like the field to first order in dt / tau_mode.
    field = linearise(network.vector_field, STATES, INPUTS, kind="vector_field").data
    slowest_map, slowest_field = known["mode_tau_ms"].values[:, 0], field["mode_tau_ms"].values[:, 0]
    assert_allclose(slowest_map, slowest_field, rtol=0.2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: jacobian(curved, np.zeros(3), np.zeros(2)), r"states must have the axes .* got shape \(3,\)"),
        (lambda: jacobian(curved, np.zeros((4, 3)), np.zeros((3, 2))), r"inputs must be .* each of the 4 states"),
        (lambda: jacobian(lambda x, u: x + u, np.zeros((4, 3)), np.zeros(2)), r"f must accept one state of shape"),
        (lambda: jacobian(lambda x, u: x[0], np.zeros((4, 3)), np.zeros(1)), r"f must return .* got shape \(\)"),
        (lambda: linearise(curved, np.zeros((1, 3)), np.zeros(2), kind="ode"), "kind must be 'vector_field'"),
        (lambda: mode_times(np.zeros(2, dtype=complex), "map"), "dt_ms must be given for a map, but got None"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(DynaprobeError, match=message):
        call()
