"""The cost and every penalty: values by hand, gradients by finite differences, blindness to the padding."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from small_task import SignTask

from dynaprobe.core.errors import SettingsError
from dynaprobe.core.random import generator, key
from dynaprobe.model.response import Response
from dynaprobe.model.rnn import CTRNN
from dynaprobe.model.settings import NetworkSettings
from dynaprobe.training.objective import (
    PENALTIES,
    Part,
    check_hyperparameters,
    cost,
    masked_loss,
    valid_bins,
    whole_batch,
)

ROUND_OFF = 1e-12
STEP = 1e-6
DIFFERENCES = 1e-8  # central differences of terms near 1, relative to the largest entry


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def float64(tree):
    def cast(leaf):
        return leaf.astype(jnp.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(cast, tree)


def network_of(activation):
    settings = NetworkSettings(n_units=5, tau_ms=20, activation=activation)
    made = CTRNN.make(settings, n_inputs=2, n_outputs=1, seed=1)
    rng = generator(1, "test")
    b, x0 = (jnp.asarray(rng.normal(0, 0.3, 5)) for _ in range(2))
    return eqx.tree_at(lambda n: (n.b, n.x0), float64(made), (b, x0))


@pytest.fixture
def network():
    return network_of("tanh")


@pytest.fixture
def trials():
    return float64(SignTask().trials(key(0, "trials"), 4))


def weights(**given):
    return {name: jnp.asarray(given.get(name, 0.0)) for name in PENALTIES}


def test_masked_loss_by_hand():
    outputs, targets = jnp.asarray([1.0, 2.0, 100.0]), jnp.asarray([0.0, 0.0, 0.0])
    mask = jnp.asarray([1.0, 0.5, 0.0])
    assert masked_loss(outputs, targets, mask, n_asked=jnp.sum(mask)) == pytest.approx((1 + 2) / 1.5)


def test_valid_bins_run_from_the_start_to_the_last_bin_asked_for(trials):
    valid = np.asarray(valid_bins(trials.mask))
    np.testing.assert_array_equal(valid.sum(0), [10, 8, 10, 8])
    assert (valid[:8] == 1).all()


def response_of(rates):
    return Response(rates[-1], rates[..., :1], jnp.sum(rates**2, -1), rates)


def term_of(name, network, rates, weight):
    row = PENALTIES[name]
    return row.of_weights(network) if row.of_weights else row.of_activity(response_of(rates), weight)


TERMS = [name for name, row in PENALTIES.items() if row.of_weights or row.of_activity]


@pytest.mark.parametrize("name", TERMS)
def test_gradient_of_each_term_equals_finite_differences(name, network):
    rng = generator(2, "test")
    rates = jnp.asarray(rng.normal(size=(6, 3, 5)))
    weight = jnp.asarray(rng.uniform(0, 1, (6, 3)))
    parameters, fixed = eqx.partition(network, network.trainable())
    flat, unflatten = ravel_pytree((parameters, rates))

    @jax.jit
    def term(flat):
        changed, rates = unflatten(flat)
        return term_of(name, eqx.combine(changed, fixed), rates, weight)

    gradient = jax.jit(jax.grad(term))(flat)
    expected = jax.vmap(lambda d: (term(flat + d) - term(flat - d)) / (2 * STEP))(STEP * jnp.eye(flat.size))
    assert np.abs(gradient).max() > 0
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=DIFFERENCES)


def test_terms_by_hand(network):
    rates = jnp.zeros((3, 2, 5)).at[0, 0].set(2.0).at[2, 1].set(100.0)
    valid = jnp.ones((3, 2)).at[2, 1].set(0.0)
    assert term_of("penalty_rate", network, rates, valid / 5) == pytest.approx(4.0 / 5)
    for matrix, values in (("in", network.w_in), ("rec", network.w_rec), ("out", network.w_out)):
        expected = np.mean(np.asarray(values) ** 2)
        assert term_of(f"penalty_weight_{matrix}", network, rates, valid) == pytest.approx(expected)


@pytest.mark.parametrize("noisy", [False, True])
def test_gradient_of_the_whole_cost_equals_finite_differences(network, trials, noisy):
    stream = key(5, "noise") if noisy else None
    penalties = weights(penalty_rate=0.3, penalty_weight_in=0.1, penalty_weight_rec=0.2, penalty_weight_out=0.4)
    parameters, fixed = eqx.partition(network, network.trainable())
    flat, unflatten = ravel_pytree(parameters)

    @jax.jit
    def total(flat):
        return cost(eqx.combine(unflatten(flat), fixed), penalties, trials, stream).cost

    gradient = jax.jit(jax.grad(total))(flat)
    expected = jax.vmap(lambda d: (total(flat + d) - total(flat - d)) / (2 * STEP))(STEP * jnp.eye(flat.size))
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=DIFFERENCES)


def omega(network, w_varied, trials):
    """The vanishing-gradient term by definition, adjoints by autodiff of what is added to each state."""
    valid = valid_bins(trials.mask)
    inputs = jnp.swapaxes(trials.inputs, 0, 1)
    a = network.alpha

    def states_of(added):
        def step(x, at):
            u, extra = at
            x = network.step(x, u) + extra
            return x, x

        return jax.lax.scan(step, jnp.broadcast_to(network.x0, added.shape[1:]), (inputs, added))[1]

    def loss(added):
        outputs = jnp.swapaxes(network.readout(network.rate(states_of(added))), 0, 1)
        return masked_loss(outputs, trials.targets, trials.mask, n_asked=jnp.sum(trials.mask))

    nothing = jnp.zeros((*inputs.shape[:2], network.b.size))
    adjoints = jax.lax.stop_gradient(jax.grad(loss)(nothing))
    states = jax.lax.stop_gradient(states_of(nothing))
    before = jnp.concatenate([jnp.broadcast_to(network.x0, states.shape[1:])[None], states[:-1]])
    slope = 1 - jnp.tanh(before) ** 2
    handed_on = (1 - a) * adjoints + a * slope * (adjoints @ (network.mask_rec * w_varied))
    lengths = jnp.where(valid > 0, jnp.linalg.norm(adjoints, axis=-1), 1.0)
    ratios = jnp.linalg.norm(handed_on + (valid == 0)[..., None], axis=-1) / lengths
    return jnp.sum(valid * (ratios - 1) ** 2) / jnp.sum(valid)


def test_vanishing_term_is_added_to_the_gradient_of_the_recurrent_weights_alone(network, trials):
    parameters, fixed = eqx.partition(network, network.trainable())

    def gradients(weight):
        def total(parameters, penalties):
            return cost(eqx.combine(parameters, fixed), penalties, trials, None).cost

        return jax.jit(jax.grad(total, (0, 1)))(parameters, weights(penalty_vanishing=weight))

    (with_term, by_weight), (without, _) = gradients(0.7), gradients(0.0)
    value, gradient = jax.jit(jax.value_and_grad(lambda w: omega(network, w, trials)))(network.w_rec)
    np.testing.assert_allclose(by_weight["penalty_vanishing"], value, rtol=1e-10)
    np.testing.assert_allclose(with_term.w_rec - without.w_rec, 0.7 * gradient, rtol=0, atol=ROUND_OFF)
    for name in ("w_in", "w_out", "b", "x0"):
        np.testing.assert_array_equal(getattr(with_term, name), getattr(without, name))


def gradient_of_recurrence(network, trials, **penalties):
    @jax.jit
    def gradient(w_rec, trials):
        def total(w_rec):
            changed = eqx.tree_at(lambda n: n.w_rec, network, w_rec)
            return cost(changed, weights(**penalties), trials, None).cost

        return jax.grad(total)(w_rec)

    return gradient(network.w_rec, trials)


def test_nothing_in_the_padding_counts(network, trials):
    changed = eqx.tree_at(
        lambda t: (t.inputs, t.targets),
        trials,
        (trials.inputs.at[1, 8:].set(5.0), trials.targets.at[1, 8:].set(-7.0)),
    )
    both = [
        gradient_of_recurrence(network, each, penalty_rate=0.5, penalty_vanishing=1.0)
        for each in (changed, trials)
    ]
    np.testing.assert_allclose(*both, rtol=0, atol=ROUND_OFF)


def test_silent_units_give_no_nan(trials):
    network = network_of("relu")
    silent = eqx.tree_at(lambda n: (n.b, n.x0), network, (network.b - 50, network.x0 - 50))
    np.testing.assert_array_equal(gradient_of_recurrence(silent, trials, penalty_vanishing=2.0), 0)


def test_unknown_hyperparameter():
    with pytest.raises(SettingsError, match=r"hyperparameter must be one of penalty_rate, .* got penalty_rates\."):
        check_hyperparameters({"penalty_rates": 1})


EVERYTHING = dict.fromkeys(PENALTIES, 0.3)


def gradients_of(network, trials, **options):
    parameters, fixed = eqx.partition(network, network.trainable())

    @jax.jit
    def gradients(parameters, penalties):
        def total(parameters, penalties):
            return cost(eqx.combine(parameters, fixed), penalties, trials, key(5, "noise"), **options).cost

        return jax.value_and_grad(total, (0, 1))(parameters, penalties)

    return gradients(parameters, weights(**EVERYTHING))


def test_parts_of_a_batch_add_up_to_it(network, trials):
    whole = whole_batch(trials)
    parts = []
    for first, size in ((0, 1), (1, 3)):
        mine = jax.tree.map(lambda leaf, a=first, n=size: leaf[a : a + n], trials)
        part = Part(whole.n_asked, whole.n_valid, jnp.asarray(size / 4), jnp.int32(first))
        parts.append(gradients_of(network, mine, part=part))
    summed = jax.tree.map(jnp.add, *parts)
    for actual, expected in zip(
        jax.tree.leaves(summed), jax.tree.leaves(gradients_of(network, trials)), strict=True
    ):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=ROUND_OFF)


@pytest.mark.parametrize("n_segments", [2, 3, 10])
def test_segments_of_time_change_nothing(network, trials, n_segments):
    assert trials.inputs.shape[1] == 10
    in_segments = gradients_of(network, trials, n_segments=n_segments)
    for actual, expected in zip(
        jax.tree.leaves(in_segments), jax.tree.leaves(gradients_of(network, trials)), strict=True
    ):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=ROUND_OFF)
