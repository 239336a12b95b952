"""Contender: the usual JAX program for one network, a scan differentiated by JAX, on JAX's default device."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import optax

from benchmarks.worker import Work

ALPHA, NOISE_STATE, N_INPUTS, N_OUTPUTS = 0.2, 0.05, 3, 4

Weights = dict[str, jax.Array]
OPTIMISER = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))


def outputs_of(weights: Weights, inputs: jax.Array, key: jax.Array) -> jax.Array:
    """Outputs (time, trial, output) of the network of `benchmarks.pytorch_loop`."""
    start = jnp.broadcast_to(weights["start"], (inputs.shape[1], weights["start"].size))
    # All noise in one call: drawn step by step, with a key each, an update takes up to 1.3 times as long.
    noise = (2 * ALPHA) ** 0.5 * NOISE_STATE * jax.random.normal(key, (inputs.shape[0], *start.shape))

    def step(x: jax.Array, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        u, noise = now
        drive = jnp.tanh(x) @ weights["rec"].T + u @ weights["in"].T + weights["bias"]
        x = x + ALPHA * (drive - x) + noise
        return x, jnp.tanh(x) @ weights["out"].T

    _, outputs = jax.lax.scan(step, start, (inputs, noise))
    return outputs


@partial(jax.jit, donate_argnums=(0, 1))
def update(
    weights: Weights, moments: optax.OptState, trials: tuple[jax.Array, jax.Array], key: jax.Array
) -> tuple[Weights, optax.OptState]:
    """One update of Adam on the mean squared error."""

    def loss(weights: Weights) -> jax.Array:
        return jnp.mean((outputs_of(weights, trials[0], key) - trials[1]) ** 2)

    steps, moments = OPTIMISER.update(jax.grad(loss)(weights), moments)
    return optax.apply_updates(weights, steps), moments


def build(*, n_units: int, batch_size: int, n_steps: int) -> Work:
    """Updates of one network on fixed trials of white noise: no cost of making trials is counted."""
    keys = jax.random.split(jax.random.key(0), 6)
    weights = {
        "rec": jax.random.normal(keys[0], (n_units, n_units)) * 1.1 / n_units**0.5,
        "in": 0.2 * jax.random.uniform(keys[1], (n_units, N_INPUTS)) - 0.1,
        "out": 0.2 * jax.random.uniform(keys[2], (N_OUTPUTS, n_units)) - 0.1,
        "bias": jnp.zeros(n_units),
        "start": jnp.zeros(n_units),
    }
    inputs = jax.random.normal(keys[3], (n_steps, batch_size, N_INPUTS))
    targets = jax.random.normal(keys[4], (n_steps, batch_size, N_OUTPUTS))
    state = (weights, OPTIMISER.init(weights))

    def work(n_updates: int) -> None:
        nonlocal state
        for number in range(n_updates):
            state = update(*state, (inputs, targets), jax.random.fold_in(keys[5], number))
        jax.block_until_ready(state)

    return work
