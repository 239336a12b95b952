"""The compiled path against the plain one: numbers, gradients, noise, and what it refuses."""

from __future__ import annotations

import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynaprobe.core.errors import SettingsError
from dynaprobe.core.random import generator, key
from dynaprobe.model.activations import ACTIVATIONS
from dynaprobe.model.noise import normal_noise
from dynaprobe.model.response import is_compiled
from dynaprobe.model.rnn import CTRNN, AbstractNetwork
from dynaprobe.model.settings import NetworkSettings

# float32 against float64, relative to the largest entry: some hundred roundings of 6e-8 each.
SINGLE = 3e-5
N_INPUTS, N_OUTPUTS = 3, 2

compiled = pytest.mark.skipif(
    not is_compiled("tanh", jnp.float32), reason="no compiled kernels for this machine's devices"
)


def network_of(activation="tanh", n_units=11, seed=1, **settings):
    made = CTRNN.make(
        NetworkSettings(n_units=n_units, tau_ms=50, activation=activation, **settings),
        n_inputs=N_INPUTS,
        n_outputs=N_OUTPUTS,
        seed=seed,
    )
    rng = generator(seed, "test")
    b, x0 = (single(rng.normal(0, 0.3, n_units)) for _ in range(2))
    return eqx.tree_at(lambda n: (n.b, n.x0, n.w_out), made, (b, x0, single(np.asarray(made.w_out) * 5)))


def single(values):
    """An array of JAX in single precision; by NumPy, as JAX would compile a program for every shape."""
    return jax.device_put(np.asarray(values, dtype=np.float32))


def problem(network, n_times, n_trials, seed=2):
    rng = generator(seed, "test", "problem")
    n_units = network.b.size

    def normal(*shape):
        return rng.normal(size=shape)

    return {
        "inputs": single(normal(n_times, n_trials, N_INPUTS)),
        "start": single(0.5 * normal(n_trials, n_units)),
        "vanishing": single(np.abs(normal(n_times, n_trials)) / (n_times * n_trials)),
        "goals": (
            single(normal(n_trials, n_units)),
            single(normal(n_times, n_trials, N_OUTPUTS)),
            single(normal(n_times, n_trials)),
            single(normal(n_times, n_trials, n_units)),
        ),
    }


def double(tree):
    return jax.tree.map(
        lambda leaf: (
            jax.device_put(np.asarray(leaf, dtype=np.float64))
            if jnp.issubdtype(leaf.dtype, jnp.floating)
            else leaf
        ),
        tree,
    )


def numbers_and_gradients(path, network, given, stream, *, with_rates, first=(0, 0)):
    """What a path says, and the gradient of a cost that looks at all of it (at the rates only if asked)."""
    parameters, fixed = eqx.partition(network, network.trainable())

    @jax.jit
    def both(parameters, start, vanishing):
        def cost(parameters, start, vanishing):
            respond = path.respond
            response = respond(
                eqx.combine(parameters, fixed), given["inputs"], start, stream, vanishing, first=first
            )
            looked_at = list(zip(response, given["goals"], strict=True))[: 4 if with_rates else 3]
            return sum(jnp.sum(goal * value) for value, goal in looked_at), response

        return jax.value_and_grad(cost, (0, 1, 2), has_aux=True)(parameters, start, vanishing)

    (_, response), gradients = both(parameters, given["start"], given["vanishing"])
    return response, gradients


def close(actual, expected, tolerance=SINGLE):
    for one, other in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        scale = max(1e-3, np.abs(np.asarray(other)).max())
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * scale)


def reference(network, given, stream, **options):
    with jax.enable_x64(True):
        return numbers_and_gradients(AbstractNetwork, double(network), double(given), stream, **options)


@compiled
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("with_rates", [False, True])
def test_numbers_and_gradients_are_those_of_the_plain_path_in_float64(activation, with_rates):
    network = network_of(activation)
    given = problem(network, 23, 6)
    expected = reference(network, given, None, with_rates=with_rates)
    close(numbers_and_gradients(CTRNN, network, given, None, with_rates=with_rates), expected)


# Around the widths of vectors and tiles, and around the number of rows that are kept at a time.
@compiled
@pytest.mark.parametrize(
    ("n_units", "n_times", "n_trials"),
    [
        (1, 1, 1),
        (2, 3, 5),
        (13, 2, 130),
        (15, 5, 8),
        (16, 4, 3),
        (17, 9, 31),
        (45, 40, 7),
        (64, 3, 2),
        (100, 12, 16),
    ],
)
def test_any_size(n_units, n_times, n_trials):
    density = 1.0
    network = network_of(n_units=n_units, density=density) if n_units > 1 else one_unit()
    given = problem(network, n_times, n_trials)
    expected = reference(network, given, None, with_rates=True)
    close(numbers_and_gradients(CTRNN, network, given, None, with_rates=True), expected)


def one_unit():
    """A network of one unit has no connection: the diagonal is zero."""
    network = network_of(n_units=2)
    cut = jax.tree.map(lambda leaf: leaf, network)
    return eqx.tree_at(
        lambda n: (n.w_in, n.w_rec, n.w_out, n.b, n.x0, n.mask_rec, n.dale_sign),
        cut,
        (
            network.w_in[:1],
            network.w_rec[:1, :1],
            network.w_out[:, :1],
            network.b[:1],
            network.x0[:1],
            network.mask_rec[:1, :1],
            network.dale_sign[:1],
        ),
    )


@compiled
@pytest.mark.parametrize("settings", [{"density": 0.4}, {"dale_excitatory_fraction": 0.8, "activation": "relu"}])
def test_masks_and_signs(settings):
    network = network_of(n_units=20, **settings)
    given = problem(network, 15, 5)
    actual = numbers_and_gradients(CTRNN, network, given, None, with_rates=False)
    close(actual, reference(network, given, None, with_rates=False))
    assert (np.asarray(actual[1][0].w_rec)[np.asarray(network.mask_rec) == 0] == 0).all()


@compiled
@pytest.mark.parametrize("n_units", [2, 10, 30, 33])
def test_noise_is_that_of_the_plain_path(n_units):
    network = network_of(n_units=n_units, noise_state=0.3, noise_input=0.2)
    given = problem(network, 30, 4)
    plain = numbers_and_gradients(AbstractNetwork, network, given, key(1, "noise"), with_rates=False)
    actual = numbers_and_gradients(CTRNN, network, given, key(1, "noise"), with_rates=False)
    close(actual, plain)
    other = numbers_and_gradients(CTRNN, network, given, key(2, "noise"), with_rates=False)
    assert np.abs(np.asarray(other[0].rates) - np.asarray(actual[0].rates)).max() > 0.1


@compiled
def test_noise_of_a_part_is_that_of_the_whole():
    network = network_of(noise_state=0.3, noise_input=0.2)
    given = problem(network, 12, 5)
    stream, off = key(1, "noise"), jnp.zeros((12, 5))
    respond = jax.jit(lambda inputs, start, off, first: network.respond(inputs, start, stream, off, first=first))
    beginning = (jnp.int32(0), jnp.int32(0))
    whole = respond(given["inputs"], given["start"], off, beginning)
    early = respond(given["inputs"][:7], given["start"], off[:7], beginning)
    late = respond(given["inputs"][7:, 2:], early.last[2:], off[7:, 2:], (jnp.int32(7), jnp.int32(2)))
    np.testing.assert_array_equal(early.rates, whole.rates[:7])
    np.testing.assert_array_equal(late.rates, whole.rates[7:, 2:])
    np.testing.assert_array_equal(late.outputs, whole.outputs[7:, 2:])


@compiled
def test_states_without_weights_show_the_noise_itself():
    """x - (1 - a) x_before - a b is sd xi, for units that ReLU leaves alone and a bias holds up."""
    n_units, n_times, n_trials = 50, 200, 20
    network = network_of("relu", n_units=n_units, noise_state=1.0)
    silent = eqx.tree_at(lambda n: (n.w_in, n.w_rec), network, replace_fn=jnp.zeros_like)
    high = 50.0
    silent = eqx.tree_at(lambda n: n.b, silent, jnp.full(n_units, high))
    start = jnp.full((n_trials, n_units), high)
    inputs = jnp.zeros((n_times, n_trials, N_INPUTS))
    stream = key(3, "noise")
    off = jnp.zeros((n_times, n_trials))
    rates = jax.jit(lambda inputs: silent.respond(inputs, start, stream, off).rates)(inputs)
    before = jnp.concatenate([start[None], rates[:-1]])
    alpha = silent.alpha
    xi = np.asarray((rates - (1 - alpha) * before - alpha * high) / np.sqrt(2 * alpha))
    expected = np.asarray(normal_noise(jax.random.split(stream)[1], (n_times, n_trials, n_units)))
    # Some roundings of a state of 50, each 2e-6, divided by sqrt(2a) = 0.6.
    np.testing.assert_allclose(xi, expected, rtol=0, atol=2e-5)


@compiled
def test_a_state_that_is_not_a_number_stays_so():
    for activation in ACTIVATIONS:
        network = network_of(activation)
        given = problem(network, 4, 2)
        start = given["start"].at[0, 3].set(jnp.nan)
        rates = network.respond(given["inputs"], start, None, given["vanishing"]).rates
        assert np.isnan(rates[:, 0]).all()
        assert np.isfinite(rates[:, 1]).all()


@compiled
def test_extreme_states_give_the_limits():
    big = jnp.asarray([[-1e4, -50.0, 0.0, 50.0, 1e4]])
    unseen, nothing = jnp.zeros((1, 1, N_INPUTS)), jnp.zeros((1, 1))
    for activation, row in ACTIVATIONS.items():
        network = network_of(activation, n_units=5)
        off = eqx.tree_at(lambda n: (n.w_in, n.w_rec, n.b), network, replace_fn=jnp.zeros_like)
        respond = jax.jit(lambda start, off=off: off.respond(unseen, start, None, nothing).rates)
        rates = respond(big)[0]
        np.testing.assert_allclose(rates, row.function((1 - off.alpha) * big), rtol=3e-7, atol=1e-7)


@compiled
def test_inputs_are_constants_on_the_compiled_path():
    network = network_of()
    given = problem(network, 5, 2)

    def total(inputs):
        return jnp.sum(network.respond(inputs, given["start"], None, given["vanishing"]).outputs)

    np.testing.assert_array_equal(jax.grad(total)(given["inputs"]), 0)


def test_the_plain_path_is_taken_where_the_user_says_so():
    code = (
        "import os; os.environ['DYNAPROBE_ENGINE'] = {!r}\n"
        "import jax.numpy as jnp\n"
        "from dynaprobe.model.response import is_compiled\n"
        "print(is_compiled('tanh', jnp.float32))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code.format("plain")], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "False"


def test_an_unknown_engine_is_refused(monkeypatch):
    monkeypatch.setenv("DYNAPROBE_ENGINE", "fast")
    with pytest.raises(SettingsError, match="DYNAPROBE_ENGINE must be auto or plain, but got fast"):
        is_compiled("tanh", jnp.float32)


def test_other_floats_and_unknown_activations_take_the_plain_path():
    assert not is_compiled("tanh", jnp.float64)
    assert not is_compiled("sine", jnp.float32)
