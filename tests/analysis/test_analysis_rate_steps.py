"""Networks of rate units: the compiled search against the one for any function, and against what is known."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from dynaprobe.analysis.fixed_point_search import linear_solves
from dynaprobe.analysis.fixed_point_search.linear_solves import Solver
from dynaprobe.analysis.fixed_point_search.rate_steps import RateSteps
from dynaprobe.analysis.fixed_point_search.root_steps import Limits, Outcome, Problem, Residual
from dynaprobe.analysis.fixed_point_search.search_steps import Known
from dynaprobe.analysis.fixed_point_search.traced_programs import Prepared
from dynaprobe.analysis.fixed_point_search.traced_steps import TracedSteps
from dynaprobe.analysis.fixed_points import find_fixed_points
from dynaprobe.analysis.linearise import in_double
from dynaprobe.model.kernel import rate_search
from dynaprobe.model.kernel.elementwise import KINDS
from dynaprobe.model.rate_form import rate_field
from dynaprobe.model.rnn import CTRNN
from dynaprobe.model.settings import NetworkSettings

N = 11
ROUND_OFF = 1e-10  # relative; sums of some ten terms, a factor for each solve
INPUT = np.array([0.7, -0.2])
LIMITS = (1e-20, 1e-5, 1e-9, 50.0)


def network(activation="tanh", *, gain=1.8, n=N, seed=3):
    made = CTRNN.make(NetworkSettings(n_units=n, activation=activation), n_inputs=2, n_outputs=1, seed=seed)
    rng = np.random.default_rng(seed)
    weights = gain / np.sqrt(n) * rng.standard_normal((n, n))
    return eqx.tree_at(
        lambda net: (net.w_rec, net.b), made, (jnp.asarray(weights, jnp.float32), jnp.full(n, 0.1, jnp.float32))
    )


@pytest.fixture
def both():
    """The two kinds of steps for one network, by LAPACK where not compiled."""
    with jax.enable_x64(True), Solver() as solver:

        def make(net, *, is_map=False, limits=LIMITS):
            f = in_double(net.step if is_map else net.vector_field)
            traced = Prepared(Problem(Residual(f, is_map), Limits(*map(jnp.asarray, limits))))
            field = rate_field(f, INPUT, is_map=is_map)
            rates = RateSteps(field, rate_search.Limits(*limits), solver)
            return rates, TracedSteps(traced, INPUT, solver)

        yield make


def states(n_rows, sd=1.0, n=N, seed=0):
    return sd * np.random.default_rng(seed).standard_normal((n_rows, n))


@pytest.mark.parametrize("is_map", [False, True])
@pytest.mark.parametrize("activation", KINDS)
def test_matrices_are_those_of_automatic_differentiation(both, activation, is_map):
    rates, traced = both(network(activation), is_map=is_map)
    x = states(9)
    x[0] = 0.0  # at the kink of rectified units, where the slope is a half
    x[1, ::2] = 0.0
    assert_allclose(rates.jacobians(x), traced.jacobians(x), rtol=ROUND_OFF, atol=1e-12)
    for compiled, expected in zip(rates.hessians(x), traced.hessians(x), strict=True):
        assert_allclose(compiled, expected, rtol=ROUND_OFF, atol=1e-12)


def problems(activation, n_rows=40):
    """Networks, states and dampings of all sizes: zero, near and far, on kinks, weak and strong weights."""
    rng = np.random.default_rng(len(activation))
    for gain in (0.1, 1.8, 4.0, 30.0):
        x = states(n_rows, seed=int(gain)) * np.geomspace(0.01, 30, n_rows)[:, None]
        x[0] = 0.0
        x[1, ::2] = 0.0
        yield (
            network(activation, gain=gain),
            x,
            x + 0.1 * rng.standard_normal(x.shape),
            np.geomspace(1e-9, 1e3, n_rows),
        )


@pytest.mark.parametrize("activation", KINDS)
def test_steps_down_q_are_those_of_the_reference(both, activation):
    taken = []
    for net, x, origin, damping in problems(activation):
        rates, traced = both(net)
        compiled, expected = rates.down(x, origin, damping), traced.down(x, origin, damping)
        assert_array_equal(compiled.outcome, expected.outcome)
        assert_allclose(compiled.damping, expected.damping)
        scale = np.abs(expected.x).max()
        assert_allclose(compiled.x, expected.x, rtol=1e-6, atol=1e-6 * scale)
        assert_allclose(compiled.q, expected.q, rtol=1e-6, atol=1e-25)
        taken += list(compiled.damping < damping)
    assert {False, True} == set(taken)


@pytest.mark.parametrize("activation", KINDS)
def test_steps_towards_a_zero_are_those_of_the_reference(both, activation):
    kinds = []
    for net, x, origin, damping in problems(activation):
        rates, traced = both(net)
        compiled, expected = rates.towards_zero(x, origin, damping), traced.towards_zero(x, origin, damping)
        assert_array_equal(compiled.outcome, expected.outcome)
        # Newton's step is of single precision, and which part of it is useful may hang on that.
        same = np.isclose(compiled.q, expected.q, rtol=1e-2, atol=1e-12)
        assert same.mean() > 0.9
        assert_array_equal(compiled.damping[same], expected.damping[same])
        damped = same & (compiled.damping != damping)
        scale = 1.0 + np.abs(expected.x).max(axis=1, keepdims=True)
        assert_allclose((compiled.x / scale)[damped], (expected.x / scale)[damped], atol=1e-6)
        assert_allclose((compiled.x / scale)[same], (expected.x / scale)[same], atol=1e-2)
        kinds += list(damped[same])
    assert {False, True} == set(kinds)


DOWN = {Outcome.RUNNING, Outcome.NOT_FINITE, Outcome.LEFT_REGION, Outcome.STALLED, Outcome.STATIONARY}
ENDS = {
    "towards_zero": {*DOWN, Outcome.FIXED},
    "down": DOWN,
}


@pytest.mark.parametrize("name", ENDS)
def test_every_end_of_a_step_is_told_as_by_the_reference(both, name):
    x = states(8, sd=0.3)
    x[0] = 0.0  # a zero: no bias, no input
    x[1] = np.nan
    x[2] = 1e200  # q overflows
    x[5] *= 0.03  # so near to the zero that q is convex
    damping = np.array([1e-3, 1e-3, 1e-3, 9e12, 1e-3, 1e-3, 9e-13, 9e12])
    still = eqx.tree_at(lambda net: (net.b, net.w_in), network(gain=2.5), (jnp.zeros(N), jnp.zeros((N, 2))))
    met = set()
    for limits in (LIMITS, (1e9, *LIMITS[1:]), (*LIMITS[:3], 1e-3), (1e9, 1e9, 1e9, 1e-3), (0.0, 0.0, 0.0, 50.0)):
        rates, traced = both(still, limits=limits)
        compiled, expected = (getattr(steps, name)(x, x, damping) for steps in (rates, traced))
        assert_array_equal(compiled.outcome, expected.outcome, err_msg=f"{limits}")
        goes_on = compiled.outcome == Outcome.RUNNING
        assert_array_equal(compiled.damping[goes_on], expected.damping[goes_on], err_msg=f"{limits}")
        met |= set(compiled.outcome.tolist())
    assert met == ENDS[name]


def test_inputs_stay_as_they_are_and_the_plain_path_can_be_had(both, monkeypatch):
    net = network()
    rates, _ = both(net)
    x, damping = states(5), np.full(5, 1e-3)
    before = x.copy(), damping.copy()
    rates.towards_zero(x, x, damping)
    rates.down(x, x, damping)
    assert_array_equal(x, before[0])
    assert_array_equal(damping, before[1])
    monkeypatch.setenv("DYNAPROBE_ENGINE", "plain")
    assert rate_field(net.vector_field, INPUT, is_map=False) is None


@pytest.mark.parametrize("are_minima", [False, True])
def test_known_points_draw_in_whom_the_reference_lets_them(both, are_minima):
    rates, traced = both(network(gain=1.2))
    rng = np.random.default_rng(1)
    points = states(3, sd=0.1)
    matrices = traced.hessians(points)[1] if are_minima else traced.jacobians(points)
    known = Known(points, np.zeros(3), np.zeros(3, int), np.ones(3, int), np.linalg.inv(matrices))
    # Points that are none, so that some are drawn in by chance only; and one true zero.
    zero = (
        find_fixed_points(network(gain=1.2).vector_field, points, INPUT, kind="vector_field").data["x"].values[0]
    )
    matrix = (traced.hessians(zero[None])[1] if are_minima else traced.jacobians(zero[None]))[0]
    known = Known(
        *(
            np.concatenate([field, [last]])
            for field, last in zip(known, (zero, 0.0, 0, 1, np.linalg.inv(matrix)), strict=True)
        )
    )
    x = zero + np.geomspace(1e-7, 3, 50)[:, None] * rng.standard_normal((50, N)) / np.sqrt(N)
    x[7] = np.nan
    origin = x + np.where(np.arange(50) == 3, 100.0, 0.0)[:, None]
    origin[7] = 0.0
    compiled = rates.drawn(known, x, origin, are_minima=are_minima)
    assert_array_equal(compiled, traced.drawn(known, x, origin, are_minima=are_minima))
    assert {-1, 3} <= set(compiled)
    assert compiled[7] == compiled[3] == -1


@pytest.mark.parametrize("activation", KINDS)
def test_the_plain_path_finds_the_same_points(monkeypatch, activation):
    net, starts = network(activation, gain=2.5), states(150, sd=2.0)
    compiled = find_fixed_points(net.vector_field, starts, INPUT, kind="vector_field").data
    monkeypatch.setenv("DYNAPROBE_ENGINE", "plain")
    plain = find_fixed_points(net.vector_field, starts, INPUT, kind="vector_field").data
    assert_allclose(plain["x"], compiled["x"], atol=1e-7)
    assert_array_equal(plain["point_kind"], compiled["point_kind"])
    # Newton's steps are of single precision: a start between two basins may fall to the other side.
    assert (plain["start_point"].values == compiled["start_point"].values).mean() > 0.9


def test_a_map_has_the_points_of_its_vector_field():
    net, starts = network(gain=2.5), states(150, sd=2.0)
    of_field = find_fixed_points(net.vector_field, starts, INPUT, kind="vector_field").data
    of_map = find_fixed_points(net.step, starts, INPUT, kind="map").data
    fixed = of_field["point_kind"].values == "fixed_point"
    assert fixed.sum() >= 3
    same = of_map["point_kind"].values == "fixed_point"
    order = np.lexsort(of_field["x"].values[fixed].T), np.lexsort(of_map["x"].values[same].T)
    assert_allclose(of_map["x"].values[same][order[1]], of_field["x"].values[fixed][order[0]], atol=1e-7)


def test_a_line_attractor_is_met_where_the_start_projects_onto_it():
    # Every unit takes an eighth of each of the eight others: where all rates are positive every state on the
    # diagonal is a zero, and an eighth is exact in single precision.
    flat = jnp.full((9, 9), 0.125, jnp.float32)
    net = network("relu", n=9)
    net = eqx.tree_at(lambda n: (n.w_rec, n.b, n.w_in), net, (flat, jnp.zeros(9), jnp.zeros((9, 2))))
    starts = np.linspace(1, 5, 30)[:, None] + states(30, sd=0.3, n=9)
    found = find_fixed_points(net.vector_field, starts, INPUT, kind="vector_field").data
    assert found.sizes["point"] == 30
    met = found["x"].values[found["start_point"].values[0]]
    # No step has a part along the line, but for the round-off of a solve with damping down to 1e-12.
    assert_allclose(met, starts.mean(axis=1, keepdims=True) + np.zeros(9), atol=1e-5)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_numbers_do_not_depend_on_the_number_of_threads(monkeypatch, n_threads):
    net, starts = network(gain=2.5), states(150, sd=2.0)
    expected = find_fixed_points(net.vector_field, starts, INPUT, kind="vector_field")
    monkeypatch.setattr(linear_solves, "n_cores", lambda: n_threads)
    found = find_fixed_points(net.vector_field, starts, INPUT, kind="vector_field")
    for name in ("x", "q", "start_point", "start_outcome"):
        assert_array_equal(found.data[name], expected.data[name])


class Bent(CTRNN):
    """Another network."""

    def rate(self, x):
        return jnp.sin(x)


def test_only_what_is_known_for_certain_is_taken_for_rate_units():
    net = network()
    assert rate_field(net.vector_field, INPUT, is_map=False) is not None
    assert rate_field(net.step, INPUT, is_map=True) is not None
    assert rate_field(net.step, INPUT, is_map=False) is None
    assert rate_field(net.vector_field, INPUT, is_map=True) is None
    assert rate_field(jnp.tanh, INPUT, is_map=False) is None
    bent = Bent.make(NetworkSettings(n_units=4), n_inputs=2, n_outputs=1, seed=0)
    assert rate_field(bent.vector_field, INPUT, is_map=False) is None
