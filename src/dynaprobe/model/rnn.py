"""What every network offers, and the continuous-time network of the first study."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from dynaprobe.core.errors import SettingsError
from dynaprobe.core.random import generator
from dynaprobe.model import connectivity
from dynaprobe.model.activations import activation
from dynaprobe.model.noise import noise_words, normal_noise
from dynaprobe.model.recurrence import UnitDynamics, evolve
from dynaprobe.model.response import Parameters, Response, Stimulus, is_compiled, respond_compiled
from dynaprobe.model.settings import NetworkSettings

# Number of the first time and of the first trial of a part.
First = tuple[int | Array, int | Array]


class Rollout(eqx.Module):
    """What a network did: value after each step, so that bin t has seen input t.

    Attributes:
        states: x.
        rates: r = f(x).
        outputs: z, the readout.
    """

    states: Float[Array, "trial time unit"]
    rates: Float[Array, "trial time unit"]
    outputs: Float[Array, "trial time output"]


class AbstractNetwork(eqx.Module):
    """What any architecture must offer. It knows arrays and not tasks.

    `drive` and `evolve` split a simulation for training: everything that enters a step from outside, and what the
    recurrence makes of it. Both are time-major (time, trial, ...), because scans run over the leading axis.
    """

    dt_ms: eqx.AbstractVar[float]

    @abstractmethod
    def vector_field(self, x: Float[Array, "*batch unit"], u: Float[Array, "*batch input"]) -> Float[Array, "..."]:
        """dx/dt in 1/ms at constant input u, without noise."""

    @abstractmethod
    def step(self, x: Float[Array, "*batch unit"], u: Float[Array, "*batch input"]) -> Float[Array, "..."]:
        """The one-step map: the state after `dt_ms`, without noise."""

    @abstractmethod
    def rate(self, x: Float[Array, "*batch unit"]) -> Float[Array, "*batch unit"]:
        """Rates of a state."""

    @abstractmethod
    def readout(self, r: Float[Array, "*batch unit"]) -> Float[Array, "*batch output"]:
        """Outputs of rates."""

    @abstractmethod
    def initial_state(self) -> Float[Array, " unit"]:
        """State before the first step of a trial."""

    @abstractmethod
    def drive(
        self, inputs: Float[Array, "time trial input"], key: PRNGKeyArray | None, *, first: First = (0, 0)
    ) -> Float[Array, "time trial unit"]:
        """What enters each step besides the recurrence: inputs and bias, and noise unless `key` is None."""

    @abstractmethod
    def evolve(
        self,
        drive: Float[Array, "time trial unit"],
        start: Float[Array, "trial unit"],
        vanishing: Float[Array, "time trial"],
    ) -> tuple[Float[Array, "time trial unit"], Float[Array, "time trial unit"]]:
        """States and rates after each step; `vanishing` as in `dynaprobe.model.recurrence.evolve`."""

    @abstractmethod
    def weights(self) -> dict[str, Float[Array, "post pre"]]:
        """The weight matrices that penalties may act on, by name: ``in``, ``rec``, ``out``."""

    @abstractmethod
    def trainable(self) -> Self:
        """A network of booleans: which leaves training may change."""

    @abstractmethod
    def constrained(self) -> Self:
        """The nearest network that keeps the constraints (signs); training calls it after each update."""

    def respond(
        self,
        inputs: Float[Array, "time trial input"],
        start: Float[Array, "trial unit"],
        key: PRNGKeyArray | None,
        vanishing: Float[Array, "time trial"],
        *,
        first: First = (0, 0),
    ) -> Response:
        """What training asks for: a part of some trials, with the vanishing-gradient term in its gradient.

        An architecture may override this with something faster that gives the same numbers to round-off.

        Args:
            inputs: what the network sees.
            start: state before the first step.
            key: key of the noise; None runs without noise.
            vanishing: as in `dynaprobe.model.recurrence.evolve`.
            first: number of the first time and of the first trial; the noise of a part is that of the whole.
        """
        states, rates = self.evolve(self.drive(inputs, key, first=first), start, vanishing)
        return Response(states[-1], self.readout(rates), jnp.sum(rates**2, axis=-1), rates)

    def rollout(
        self,
        inputs: Float[Array, "trial time input"],
        key: PRNGKeyArray | None = None,
        *,
        start: Float[Array, "trial unit"] | None = None,
    ) -> Rollout:
        """Run trials.

        Args:
            inputs: what the network sees.
            key: key of the noise; None runs without noise.
            start: state before the first step; None takes the network's own.
        """
        drive = self.drive(jnp.swapaxes(inputs, 0, 1), key)
        if start is None:
            start = jnp.broadcast_to(self.initial_state(), drive.shape[1:])
        states, rates = self.evolve(drive, start, jnp.zeros(drive.shape[:2], drive.dtype))
        outputs = self.readout(rates)
        return Rollout(*(jnp.swapaxes(values, 0, 1) for values in (states, rates, outputs)))


@eqx.filter_jit
def run_network(
    network: AbstractNetwork, inputs: Float[Array, "trial time input"], key: PRNGKeyArray | None = None
) -> Rollout:
    """`AbstractNetwork.rollout` as one program, compiled once for all networks of one architecture.

    A loop that is run outside a program is compiled again at every call.
    """
    return network.rollout(inputs, key)


class CTRNN(AbstractNetwork):
    """Leaky rate units in continuous time, by Euler's method (Kao 2019, doi:10.1152/jn.00467.2018).

        x <- x + a (-x + W_rec r + b + W_in (u + sqrt(2/a) s_in xi')) + sqrt(2a) s_rec xi,   a = dt / tau
        r = f(x),   z = W_out r

    xi and xi' are standard normal, fresh at every step. Weights are ``[post, pre]``.

    Attributes:
        w_in, w_rec, w_out: W_in, W_rec, W_out. Where `mask_rec` is 0, `w_rec` is and stays 0.
        b: bias of every unit.
        x0: state before the first step; trained like the weights.
        noise_state: s_rec.
        noise_input: s_in of every channel.
        mask_rec: 1 where a recurrent connection exists; never on the diagonal.
        dale_sign: sign of every presynaptic unit; 0 where a unit may have both signs.
        activation_name: f, a row of `dynaprobe.model.activations.ACTIVATIONS`.
        tau_ms, dt_ms: time constant and step.
    """

    w_in: Float[Array, "unit input"]
    w_rec: Float[Array, "unit unit"]
    w_out: Float[Array, "output unit"]
    b: Float[Array, " unit"]
    x0: Float[Array, " unit"]
    noise_state: Float[Array, ""]
    noise_input: Float[Array, " input"]
    mask_rec: Float[Array, "unit unit"]
    dale_sign: Float[Array, " unit"]
    activation_name: str = eqx.field(static=True)
    tau_ms: float = eqx.field(static=True)
    dt_ms: float = eqx.field(static=True)

    @classmethod
    def make(cls, settings: NetworkSettings, *, n_inputs: int, n_outputs: int, seed: int) -> CTRNN:
        """An untrained network: W_in, W_out ~ U(-0.1, 0.1), W_rec Gaussian of the spectral radius set, b = x0 = 0.

        Raises:
            SettingsError: when the noise has another number of channels than the input.
        """
        n_units = settings.n_units
        mask = connectivity.recurrent_mask(
            generator(seed, "network", "mask_rec"), n_units, density=settings.density
        )
        fraction = settings.dale_excitatory_fraction
        sign = None if fraction is None else connectivity.dale_signs(n_units, fraction)
        w_rec = connectivity.recurrent_weights(
            generator(seed, "network", "w_rec"), mask, spectral_radius=settings.spectral_radius, dale_sign=sign
        )

        drawn = {
            "w_in": connectivity.uniform_weights(generator(seed, "network", "w_in"), n_units, n_inputs),
            "w_rec": w_rec,
            "w_out": connectivity.uniform_weights(generator(seed, "network", "w_out"), n_outputs, n_units),
            "b": np.zeros(n_units),
            "x0": np.zeros(n_units),
            "noise_state": settings.noise_state,
            "noise_input": _per_channel(settings.noise_input, n_inputs),
            "mask_rec": mask,
            "dale_sign": np.zeros(n_units) if sign is None else sign,
        }
        return cls(
            # Put there as they are: jnp.asarray would compile a program for every shape.
            **jax.device_put({name: np.asarray(values, dtype=np.float32) for name, values in drawn.items()}),
            activation_name=settings.activation,
            tau_ms=settings.tau_ms,
            dt_ms=settings.dt_ms,
        )

    @property
    def alpha(self) -> float:
        """a = dt / tau."""
        return self.dt_ms / self.tau_ms

    def vector_field(self, x: Float[Array, "*batch unit"], u: Float[Array, "*batch input"]) -> Float[Array, "..."]:
        """dx/dt = (-x + W_rec f(x) + b + W_in u) / tau, in 1/ms."""
        return (-x + self.rate(x) @ self._w_rec.T + self.b + u @ self.w_in.T) / self.tau_ms

    def step(self, x: Float[Array, "*batch unit"], u: Float[Array, "*batch input"]) -> Float[Array, "..."]:
        """x + dt dx/dt."""
        return x + self.dt_ms * self.vector_field(x, u)

    def rate(self, x: Float[Array, "*batch unit"]) -> Float[Array, "*batch unit"]:
        """r = f(x)."""
        return activation(self.activation_name).function(x)

    def readout(self, r: Float[Array, "*batch unit"]) -> Float[Array, "*batch output"]:
        """z = W_out r."""
        return r @ self.w_out.T

    def initial_state(self) -> Float[Array, " unit"]:
        """x0."""
        return self.x0

    def drive(
        self, inputs: Float[Array, "time trial input"], key: PRNGKeyArray | None, *, first: First = (0, 0)
    ) -> Float[Array, "time trial unit"]:
        """a (b + W_in u), plus noise unless `key` is None."""
        if key is None:
            return self.alpha * (inputs @ self.w_in.T + self.b)
        key_input, key_state = jax.random.split(key)
        noisy = self._noisy(inputs, key_input, first)
        shape = (*inputs.shape[:2], self.b.shape[0])
        state_noise = self._noise_sd * normal_noise(key_state, shape, inputs.dtype, first=first)
        return self.alpha * (noisy @ self.w_in.T + self.b) + state_noise

    def respond(
        self,
        inputs: Float[Array, "time trial input"],
        start: Float[Array, "trial unit"],
        key: PRNGKeyArray | None,
        vanishing: Float[Array, "time trial"],
        *,
        first: First = (0, 0),
    ) -> Response:
        """As `AbstractNetwork.respond`; where there is a compiled kernel by that, with inputs as constants."""
        if not is_compiled(self.activation_name, start.dtype):
            return super().respond(inputs, start, key, vanishing, first=first)
        words, sd = jnp.zeros(2, jnp.uint32), jnp.zeros((), start.dtype)
        if key is not None:
            key_input, key_state = jax.random.split(key)
            inputs, words, sd = self._noisy(inputs, key_input, first), noise_words(key_state), self._noise_sd
        stimulus = Stimulus(
            jax.lax.stop_gradient(inputs),
            jax.lax.stop_gradient(jnp.stack([jnp.asarray(self.alpha, start.dtype), sd])),
            jnp.concatenate([words, jnp.stack([jnp.asarray(number, jnp.uint32) for number in first])]),
        )
        parameters = Parameters(self._w_rec, self.w_in, self.b, self.w_out)
        return respond_compiled(self.activation_name, parameters, start, vanishing, stimulus)

    def evolve(
        self,
        drive: Float[Array, "time trial unit"],
        start: Float[Array, "trial unit"],
        vanishing: Float[Array, "time trial"],
    ) -> tuple[Float[Array, "time trial unit"], Float[Array, "time trial unit"]]:
        """States and rates after each step."""
        dynamics = UnitDynamics(activation(self.activation_name), self.alpha)
        return evolve(dynamics, self._w_rec, start, drive, vanishing)

    def weights(self) -> dict[str, Float[Array, "post pre"]]:
        """The three weight matrices."""
        return {"in": self.w_in, "rec": self.w_rec, "out": self.w_out}

    def trainable(self) -> Self:
        """Weights, bias and initial state are trained; noise, mask and signs are not."""
        nothing = jax.tree.map(lambda _: False, self)
        chosen: Self = eqx.tree_at(
            lambda n: (n.w_in, n.w_rec, n.w_out, n.b, n.x0), nothing, replace=(True, True, True, True, True)
        )
        return chosen

    def constrained(self) -> Self:
        """Weights whose sign breaks Dale's law are set to 0."""
        wrong = self.w_rec * self.dale_sign < 0
        kept: Self = eqx.tree_at(lambda n: n.w_rec, self, jnp.where(wrong, 0.0, self.w_rec))
        return kept

    def _noisy(
        self, inputs: Float[Array, "time trial input"], key: PRNGKeyArray, first: First
    ) -> Float[Array, "time trial input"]:
        """u + sqrt(2/a) s_in xi'."""
        xi = normal_noise(key, inputs.shape, inputs.dtype, first=first)
        return inputs + math.sqrt(2 / self.alpha) * self.noise_input * xi

    @property
    def _noise_sd(self) -> Float[Array, ""]:
        return math.sqrt(2 * self.alpha) * self.noise_state

    @property
    def _w_rec(self) -> Float[Array, "unit unit"]:
        # The product keeps masked weights from ever receiving a gradient.
        return self.mask_rec * self.w_rec


def _per_channel(noise: float | tuple[float, ...], n_inputs: int) -> Float[np.ndarray, " input"]:
    values = np.asarray(noise, dtype=np.float32)
    if values.ndim == 0:
        return np.full(n_inputs, values)
    if values.shape != (n_inputs,):
        raise SettingsError(
            "noise_input",
            rule=f"be one number or one per input channel ({n_inputs})",
            received=noise,
            remedy="Give a single number to treat all channels alike",
        )
    return values
