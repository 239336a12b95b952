"""Networks written down by hand, whose mechanism and whose answers are known, and trials to try them on."""

from __future__ import annotations

from typing import Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from dynaprobe.core.trials import Trials
from dynaprobe.model.rnn import CTRNN, AbstractNetwork, First
from dynaprobe.tasks.reach import DelayedReach

# 500 ms of delay are 50 steps; everything else at its default.
TASK = DelayedReach(
    baseline_mean_ms=200.0, analysis_delay_ms=500.0, catch_fraction=0.0, delay_range_ms=(0.0, 500.0)
)
ALPHA = 0.2
N_DELAY = 50
# Input that keeps a gate shut, against targets of length 1.
SHUT = 40.0
# ROUND_OFF: single precision over a few hundred steps.
ROUND_OFF = 1e-4


# Compiled: run line by line, JAX would compile every operation for every number of trials.
make_trials = eqx.filter_jit(lambda task: task.condition_trials())


def reach_trials(**changes: object) -> Trials:
    return make_trials(TASK.with_changes(changes))


class LinearNetwork(AbstractNetwork):
    """``x <- x + a (-x + W x + W_in u)``, ``z = W_out x``: everything about it can be computed with matrices."""

    w_in: Float[Array, "unit input"]
    w_rec: Float[Array, "unit unit"]
    w_out: Float[Array, "output unit"]
    dt_ms: float = eqx.field(static=True)
    tau_ms: float = eqx.field(static=True)

    def vector_field(self, x, u):
        return (-x + x @ self.w_rec.T + u @ self.w_in.T) / self.tau_ms

    def step(self, x, u):
        return x + self.dt_ms * self.vector_field(x, u)

    def rate(self, x):
        return x

    def readout(self, r):
        return r @ self.w_out.T

    def initial_state(self):
        return jnp.zeros(self.w_rec.shape[0], self.w_rec.dtype)

    def drive(self, inputs, key: PRNGKeyArray | None, *, first: First = (0, 0)):
        return self.dt_ms / self.tau_ms * (inputs @ self.w_in.T)

    def evolve(self, drive, start, vanishing):
        alpha = self.dt_ms / self.tau_ms

        def step(x, d):
            x = (1 - alpha) * x + alpha * (x @ self.w_rec.T) + d
            return x, x

        _, states = jax.lax.scan(step, start, drive)
        return states, states

    def weights(self):
        return {"in": self.w_in, "rec": self.w_rec, "out": self.w_out}

    def trainable(self) -> Self:
        return jax.tree.map(lambda _: False, self)

    def constrained(self) -> Self:
        return self

    def step_matrix(self) -> np.ndarray:
        w = np.asarray(self.w_rec, dtype=np.float64)
        return (1 - ALPHA) * np.eye(len(w)) + ALPHA * w


def single(values: object) -> Array:
    return jnp.asarray(np.asarray(values, dtype=np.float32))


def linear(n_units: int = 12, *, seed: int = 0, radius: float = 0.8, n_outputs: int = 4) -> LinearNetwork:
    """A random stable linear network."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((n_units, n_units))
    w_rec = radius * w / np.abs(np.linalg.eigvals(w)).max()
    w_in, w_out = rng.standard_normal((n_units, 3)), rng.standard_normal((n_outputs, n_units)) / n_units
    return linear_network(w_in, w_rec, w_out)


def linear_network(w_in: np.ndarray, w_rec: np.ndarray, w_out: np.ndarray) -> LinearNetwork:
    return LinearNetwork(
        w_in=single(w_in), w_rec=single(w_rec), w_out=single(w_out), dt_ms=10.0, tau_ms=10.0 / ALPHA
    )


def follower(*, angle_deg: float = 0.0, gain: float = 1.0) -> LinearNetwork:
    """Two variables that follow the target with a time constant of 50 ms, turned and scaled into positions.

    n steps after a change from u to v they are at ``v + (1 - a)^n (u - v)``.
    """
    c, s = gain * np.cos(np.deg2rad(angle_deg)), gain * np.sin(np.deg2rad(angle_deg))
    w_out = np.zeros((4, 2))
    w_out[2:] = [[c, -s], [s, c]]
    return linear_network(np.eye(2, 3), np.zeros((2, 2)), w_out)


def turned(network: LinearNetwork, Q: np.ndarray) -> LinearNetwork:
    """The same network in another orthonormal basis of its state."""
    w_in, w_rec, w_out = (np.asarray(w, dtype=np.float64) for w in (network.w_in, network.w_rec, network.w_out))
    return linear_network(Q @ w_in, Q @ w_rec @ Q.T, w_out @ Q.T)


def permuted(network: CTRNN, order: np.ndarray) -> CTRNN:
    """The same CTRNN with its units in another order."""
    changes = {
        "w_in": network.w_in[order],
        "w_rec": network.w_rec[order][:, order],
        "w_out": network.w_out[:, order],
        "b": network.b[order],
        "x0": network.x0[order],
        "mask_rec": network.mask_rec[order][:, order],
        "dale_sign": network.dale_sign[order],
    }
    names = tuple(changes)
    return eqx.tree_at(lambda n: tuple(getattr(n, name) for name in names), network, tuple(changes.values()))


def by_hand(from_state: float) -> CTRNN:
    """A rectified network that reaches from its state, from its input, or from both in known parts.

    Eight gates take up the target, ``relu(+-u)``: four until the go cue, shut off by the absence of hold, and four
    after it, shut off by hold. The first are integrated over the delay of 500 ms by two variables that keep what
    they have, the second are followed by two that leak. Every variable is the difference of two units of mirrored
    state. Positions are `from_state` of the first plus the rest of the second; velocities are 0.

    Then the end point for the state of i and the input of j is ``from_state G_i + (1 - from_state) G_j`` exactly.
    """
    n_units = 16
    w_in, w_rec, b, w_out = (
        np.zeros((n_units, 3)),
        np.zeros((n_units, n_units)),
        np.zeros(n_units),
        np.zeros((4, n_units)),
    )
    for gate in range(8):
        axis, sign = gate // 2 % 2, 1 if gate % 2 == 0 else -1
        w_in[gate, axis] = sign
        if gate < 4:
            w_in[gate, 2], b[gate] = SHUT, -SHUT
        else:
            w_in[gate, 2] = -SHUT
    # What a gate lets through over the delay: its rate climbs as 1 - (1 - a)^k, and acts one step later.
    passed = ALPHA * sum(1 - (1 - ALPHA) ** k for k in range(N_DELAY + 1))
    for axis in range(2):
        for late in range(2):
            plus = 8 + 4 * late + 2 * axis
            for sign, unit in ((1, plus), (-1, plus + 1)):
                gate = 4 * late + 2 * axis
                weight = sign * (1.0 if late else 1 / passed)
                w_rec[unit, gate], w_rec[unit, gate + 1] = weight, -weight
                if not late:  # -x + (r+ - r-) = 0: it keeps what it has
                    w_rec[unit, plus], w_rec[unit, plus + 1] = sign, -sign
                w_out[2 + axis, unit] = sign * (1 - from_state if late else from_state)
    return CTRNN(
        w_in=single(w_in), w_rec=single(w_rec), w_out=single(w_out), b=single(b),
        # Gates start shut: the first hold finds nothing to see.
        x0=single(np.zeros(n_units)), noise_state=single(0.0), noise_input=single(np.zeros(3)),
        mask_rec=single(np.ones((n_units, n_units))), dale_sign=single(np.zeros(n_units)),
        activation_name="relu", tau_ms=50.0, dt_ms=10.0,
    )  # fmt: skip


def silent() -> CTRNN:
    """A network that never moves."""
    network = by_hand(0.5)
    return eqx.tree_at(lambda n: n.w_out, network, jnp.zeros_like(network.w_out))
