"""Known points: whom they draw in, whom they must not, and that hardly a start fares otherwise for it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from dynaprobe.analysis.fixed_point_search import basins, linear_solves, root_search
from dynaprobe.analysis.fixed_point_search.basins import Basins
from dynaprobe.analysis.fixed_point_search.linear_solves import Solver
from dynaprobe.analysis.fixed_point_search.root_steps import Limits, Outcome, Problem, Residual
from dynaprobe.analysis.fixed_point_search.traced_programs import Prepared
from dynaprobe.analysis.fixed_point_search.traced_steps import TracedSteps
from dynaprobe.analysis.fixed_points import find_fixed_points
from dynaprobe.model.rnn import CTRNN
from dynaprobe.model.settings import NetworkSettings

TOL = 1e-5
NO_INPUT = np.zeros(0)
FAR = 100.0


def wells(x, u):
    """Zeros at every corner of {-1, 0, 1}^n."""
    return x - x**3


def ghost(x, u):
    """No zero, and q is least at 0."""
    return jnp.stack([1e-4 + x[0] ** 2, -3 * x[1]])


def line(x, u):
    """Every state with x_1 = 0 is a zero."""
    return jnp.stack([0.0 * x[0], -x[1]])


@pytest.fixture
def know():
    """Basins of f that have learned where searches ended."""
    with jax.enable_x64(True), Solver() as solver:

        def make(f, x, outcome, far=FAR):
            limits = Limits(*map(jnp.asarray, (1e-20, TOL, 1e-9, far)))
            steps = TracedSteps(Prepared(Problem(Residual(f, False), limits)), NO_INPUT, solver)
            known = Basins(steps, tol_merge=TOL)
            known.learn(x, np.zeros(len(x)), np.full(len(x), int(outcome)))
            return known

        yield make


def newton(x, n=60):
    """Newton's method for `wells`, coordinate by coordinate."""
    for _ in range(n):
        x = x - (x - x**3) / (1 - 3 * x**2)
    return x


def test_whoever_is_drawn_in_goes_there_by_newton_but_for_a_few_far_out(know):
    corners = np.array([[a, b] for a in (-1.0, 0.0, 1.0) for b in (-1.0, 0.0, 1.0)])
    known = know(wells, corners, Outcome.FIXED)
    x = np.random.default_rng(0).uniform(-2, 2, (2000, 2))
    owner = known.drawn_to_zeros(x, x)
    drawn = owner >= 0
    assert 0.1 < drawn.mean() < 0.9
    ends = known.zeros.x[owner]
    same = np.linalg.norm(ends - newton(x), axis=1) < 1e-9
    distance = np.linalg.norm(ends - x, axis=1)
    assert same[drawn].mean() > 0.8
    # Where the Jacobian has changed by less than half on the way there can be no other end.
    assert same[drawn & (distance < 0.15)].all()


def test_who_is_far_from_every_known_point_is_left_alone(know):
    known = know(wells, np.array([[0.0, 0.0]]), Outcome.FIXED)
    x = np.array([[0.1, 0.1], [1.0, 1.0], [0.9, 0.0], [np.inf, 0.0], [TOL / 2, 0.0]])
    before = x.copy()
    assert_array_equal(known.drawn_to_zeros(x, x), [0, -1, -1, -1, 0])
    assert_array_equal(x, before)
    # Its start must not be further away than a search may go.
    bounded = know(wells, np.array([[0.0, 0.0]]), Outcome.FIXED, far=4.0)
    assert_array_equal(bounded.drawn_to_zeros(x[:1], x[:1] + 5.0), [-1])
    assert_array_equal(bounded.drawn_to_zeros(x[:1], x[:1] + 2.0), [0])


def test_minima_of_q_draw_in_by_its_gradient(know):
    known = know(ghost, np.zeros((1, 2)), Outcome.SLOW)
    assert known.zeros is None
    x = np.array([[1e-3, 0.2], [0.5, 0.0]])
    owner = known.drawn_to_minima(x, x)
    assert owner[0] == 0
    assert known.minima.outcome[0] == Outcome.SLOW


def test_points_of_a_line_attractor_draw_nobody_in(know):
    known = know(line, np.array([[0.0, 0.0], [1.0, 0.0]]), Outcome.FIXED)
    assert known.zeros is None
    x = np.array([[0.4, 0.3]])
    assert_array_equal(known.drawn_to_zeros(x, x), [-1])


def test_only_so_many_points_are_kept_and_none_twice(know, monkeypatch):
    monkeypatch.setattr(basins, "MOST_POINTS", 2)
    ends = np.array([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [-1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    known = know(wells, ends, Outcome.FIXED)
    assert_array_equal(known.zeros.x, [[-1, 0], [0, 0]])
    assert_array_equal(known.zeros.n_starts, [3, 2])
    known.learn(ends, np.zeros(6), np.zeros(6, dtype=int))
    assert len(known.zeros.x) == 2


W = 1.8 * np.random.default_rng(5).standard_normal((5, 5))


def network(x, u):
    return -x + W @ jnp.tanh(x)


def test_known_points_change_no_point_and_hardly_a_fate(monkeypatch):
    starts = np.random.default_rng(1).uniform(-2, 2, (400, 5))
    drawn = find_fixed_points(network, starts, NO_INPUT, kind="vector_field")
    monkeypatch.setattr(root_search, "FIRST_GROUP", 400)
    alone = find_fixed_points(network, starts, NO_INPUT, kind="vector_field")
    assert alone.data.sizes["point"] >= 3
    assert_allclose(drawn.data["x"], alone.data["x"], atol=1e-8)
    # A few, from where Newton's step leads past the nearest point, are kept by it.
    assert (drawn.data["start_point"].values == alone.data["start_point"].values).mean() > 0.95
    assert drawn.failures == alone.failures


@pytest.mark.parametrize("n_starts", [1, 31, 64, 65, 100, 1024, 1500])
def test_groups_hold_every_start_once_and_grow(n_starts):
    groups = root_search._groups(n_starts)
    assert_array_equal(np.sort(np.concatenate(groups)), np.arange(n_starts))
    sizes = [len(group) for group in groups[:-1]]
    assert sizes == [32 * 4**k for k in range(len(sizes))]


def test_a_second_network_of_the_same_shape_compiles_nothing():
    compilations = []

    def listen(name, duration, **_):
        if name.endswith("backend_compile_duration"):
            compilations.append(name)

    one = CTRNN.make(NetworkSettings(n_units=7), n_inputs=2, n_outputs=1, seed=0)
    # Hardly another one, so that both searches take the same kinds of steps.
    networks = [one, eqx.tree_at(lambda network: network.w_rec, one, 1.0001 * one.w_rec)]
    starts = np.random.default_rng(0).standard_normal((70, 7))
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        find_fixed_points(networks[0].vector_field, starts, np.zeros(2), kind="vector_field")
        assert compilations
        compilations.clear()
        find_fixed_points(networks[1].vector_field, starts, np.zeros(2), kind="vector_field")
        assert not compilations
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_numbers_do_not_depend_on_the_number_of_threads(monkeypatch, n_threads):
    starts = np.random.default_rng(2).uniform(-2, 2, (200, 5))
    expected = find_fixed_points(network, starts, NO_INPUT, kind="vector_field")
    monkeypatch.setattr(linear_solves, "n_cores", lambda: n_threads)
    found = find_fixed_points(network, starts, NO_INPUT, kind="vector_field")
    for name in ("x", "q", "start_point", "start_outcome"):
        assert_array_equal(found.data[name], expected.data[name])


def test_the_plain_path_finds_the_same_points(monkeypatch):
    starts = np.random.default_rng(2).uniform(-2, 2, (200, 5))
    compiled = find_fixed_points(network, starts, NO_INPUT, kind="vector_field").data
    monkeypatch.setenv("DYNAPROBE_ENGINE", "plain")
    plain = find_fixed_points(network, starts, NO_INPUT, kind="vector_field").data
    assert_allclose(plain["x"], compiled["x"], atol=1e-8)
    # Steps to a part in a thousand: a start between two basins may fall to the other side.
    assert (plain["start_point"].values == compiled["start_point"].values).mean() > 0.97
