"""What training asks of a network, and the compiled path to it; the plain path is in `dynaprobe.model.rnn`."""

from __future__ import annotations

from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, DTypeLike, Float, UInt32

from dynaprobe.core.devices import runs_compiled_kernels


class Response(NamedTuple):
    """What a network did with some inputs, time-major.

    Attributes:
        last: state after the last step.
        outputs: z.
        power: ``sum_unit r^2``, which the rate penalty needs, for a fraction of the memory of the rates.
        rates: r.
    """

    last: Float[Array, "trial unit"]
    outputs: Float[Array, "time trial output"]
    power: Float[Array, "time trial"]
    rates: Float[Array, "time trial unit"]


class Parameters(NamedTuple):
    """The weights that the compiled path differentiates by; shapes as in `dynaprobe.model.rnn.CTRNN`."""

    rec: Float[Array, "unit unit"]
    into: Float[Array, "unit input"]
    bias: Float[Array, " unit"]
    out: Float[Array, "output unit"]


class Stimulus(NamedTuple):
    """What the compiled path takes as given.

    Attributes:
        inputs: u, with its noise.
        scales: a and the sd of the noise of a step.
        words: two words of the key of the noise, number of the first time, number of the first trial.
    """

    inputs: Float[Array, "time trial input"]
    scales: Float[Array, "2"]
    words: UInt32[Array, "4"]


@cache
def _is_offered(activation_name: str) -> bool:
    try:
        # Numba is slow to import and missing on some machines; the plain path never asks for it.
        from dynaprobe.model.kernel import binding  # noqa: PLC0415
    except ImportError:
        return False
    return binding.is_offered(activation_name)


def is_compiled(activation_name: str, dtype: DTypeLike) -> bool:
    """Whether networks of this activation and float type run on the compiled path here."""
    return bool(dtype == jnp.float32) and runs_compiled_kernels() and _is_offered(activation_name)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def respond_compiled(
    activation_name: str,
    parameters: Parameters,
    start: Float[Array, "trial unit"],
    vanishing: Float[Array, "time trial"],
    stimulus: Stimulus,
) -> Response:
    """Simulate some trials, and with gradients add the vanishing-gradient term, as `recurrence.evolve` does.

        x_t = (1 - a) x_{t-1} + a (W_rec f(x_{t-1}) + W_in u_t + b) + sd xi_t,   z_t = W_out f(x_t)

    The gradient reaches the parameters, the start and v; the stimulus counts as constant.

    Args:
        activation_name: f.
        parameters: W_rec, W_in, b and W_out.
        start: state before the first step.
        vanishing: v, the weight of every transition in the vanishing-gradient term.
        stimulus: u, a, sd and the stream of xi.
    """
    del vanishing
    return Response(*_simulated(activation_name, parameters, start, stimulus))


def _operands(activation_name: str, parameters: Parameters, start: Array, stimulus: Stimulus) -> tuple[Array, ...]:
    from dynaprobe.model.kernel.elementwise import KINDS  # noqa: PLC0415

    words = jnp.append(stimulus.words, np.uint32(KINDS[activation_name]))
    return (*parameters, start, stimulus.inputs, stimulus.scales, words)


def _targets() -> tuple[str, str]:
    from dynaprobe.model.kernel.binding import register  # noqa: PLC0415

    return register()


def _float(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def _simulated(
    activation_name: str, parameters: Parameters, start: Array, stimulus: Stimulus
) -> tuple[Array, ...]:
    n_times, n_trials, _ = stimulus.inputs.shape
    n_outputs, n_units = parameters.out.shape
    results = (
        _float(n_trials, n_units),
        _float(n_times, n_trials, n_outputs),
        _float(n_times, n_trials),
        _float(n_times, n_trials, n_units),
    )
    call = jax.ffi.ffi_call(_targets()[0], results, vmap_method="sequential")
    simulated: tuple[Array, ...] = tuple(call(*_operands(activation_name, parameters, start, stimulus)))
    return simulated


def _forward(
    activation_name: str, parameters: Any, start: Any, vanishing: Any, stimulus: Any
) -> tuple[Response, tuple[Any, ...]]:
    # Each leaf comes with a note whether it is differentiated by, which the kernel does not look at.
    parameters, start, vanishing, stimulus = jax.tree.map(
        lambda leaf: leaf.value,
        (parameters, start, vanishing, stimulus),
        is_leaf=lambda leaf: hasattr(leaf, "perturbed"),
    )
    response = Response(*_simulated(activation_name, parameters, start, stimulus))
    return response, (parameters, start, vanishing, stimulus, response.rates)


def _backward(
    activation_name: str, kept: tuple[Any, ...], cotangents: Response
) -> tuple[Parameters, Array, Array, Stimulus]:
    parameters, start, vanishing, stimulus, rates = kept

    def dense(cotangent: Any) -> Array:
        if isinstance(cotangent, SymbolicZero):
            return jnp.zeros(cotangent.shape, cotangent.dtype)
        given: Array = cotangent
        return given

    # Most costs look at outputs and power alone; an empty array then saves a pass over the rates.
    g_rates = cotangents.rates
    g_rates = jnp.zeros((0, 0, 0), jnp.float32) if isinstance(g_rates, SymbolicZero) else g_rates
    g = (dense(cotangents.last), dense(cotangents.outputs), dense(cotangents.power), g_rates, vanishing)
    shapes = tuple(_float(*leaf.shape) for leaf in (*parameters, start, vanishing))
    call = jax.ffi.ffi_call(_targets()[1], shapes, vmap_method="sequential")
    *of_weights, of_start, of_vanishing = call(*_operands(activation_name, parameters, start, stimulus), rates, *g)
    constant = Stimulus(
        jnp.zeros_like(stimulus.inputs),
        jnp.zeros_like(stimulus.scales),
        np.zeros(stimulus.words.shape, jax.dtypes.float0),  # type: ignore[arg-type]
    )
    return Parameters(*of_weights), of_start, of_vanishing, constant


respond_compiled.defvjp(_forward, _backward, symbolic_zeros=True)
