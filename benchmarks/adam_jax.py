"""Contender: the usual search for fixed points, Adam on q in float32, all starts in one compiled JAX loop."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.worker import Work

# What users of FixedPointFinder (Golub & Sussillo 2018) have by default, or nearly so.
ALPHA, LEARNING_RATE, FACTOR, PATIENCE, N_UPDATES, TOL_Q = 0.2, 1e-2, 0.95, 5, 5000, 1e-12


def build(*, file: str, points_file: str) -> Work:
    """A search from all starts in `file`; leaves the last states and their q in `points_file`."""
    with np.load(file) as kept:
        w_rec, starts = jnp.asarray(kept["w_rec"]), jnp.asarray(kept["starts"], dtype=jnp.float32)
        drive = jnp.asarray(kept["w_in"] @ kept["input"] + kept["b"], dtype=jnp.float32)
    adam = optax.scale_by_adam()

    def q_of(x: jax.Array) -> jax.Array:
        step = ALPHA * (jnp.tanh(x) @ w_rec.T + drive - x)
        return 0.5 * jnp.sum(step**2, axis=1)

    def cost(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        q = q_of(x)
        # The sum and not the mean, so that Adam's epsilon stays small beside the gradients.
        return q.sum(), q

    @jax.jit
    def descend(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        def going_on(carry: Any) -> jax.Array:
            unfinished: jax.Array = (carry[0] < N_UPDATES) & (carry[1].max() >= TOL_Q)
            return unfinished

        def update(carry: Any) -> Any:
            n, _, x, state, rate, best, waited = carry
            (total, q), gradient = jax.value_and_grad(cost, has_aux=True)(x)
            norm = jnp.linalg.norm(gradient, axis=1, keepdims=True)
            direction, state = adam.update(gradient / jnp.maximum(norm, 1.0), state)
            better = total < best * (1 - 1e-4)
            waited = jnp.where(better, 0, waited + 1)
            rate = jnp.where(waited > PATIENCE, FACTOR * rate, rate)
            waited = jnp.where(waited > PATIENCE, 0, waited)
            return n + 1, q, x - rate * direction, state, rate, jnp.where(better, total, best), waited

        rate, best = jnp.float32(LEARNING_RATE), jnp.float32(jnp.inf)
        begin = (jnp.int32(0), q_of(x), x, adam.init(x), rate, best, jnp.int32(0))
        last = jax.lax.while_loop(going_on, update, begin)
        return last[2], q_of(last[2])

    def work(n_searches: int) -> None:
        for _ in range(n_searches):
            x, q = jax.block_until_ready(descend(starts))
        np.savez(points_file, x=x, q=q)

    return work
