"""Contender: the usual search for fixed points, Adam on q in float32, all starts in one compiled JAX loop.

The stronger of the two contenders: no time is lost in Python, the cost is the sum over starts and not the mean,
beside whose gradients Adam's epsilon is not small, and the learning rate is the one of 1, 0.1 and 0.01 from which
most starts of several networks arrived. The rest follows FixedPointFinder (Golub & Sussillo 2018,
doi:10.21105/joss.01003).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.worker import Work

# One step of the network; when a search is over, by q and by its change; and how the learning rate falls.
ALPHA, N_UPDATES, TOL_Q, TOL_DQ = 0.2, 5000, 1e-12, 1e-20
LEARNING_RATE, FACTOR, PATIENCE, THRESHOLD = 0.1, 0.95, 5, 1e-4


def build(*, file: str, points_file: str, times_longer: int = 1) -> Work:
    """A search from all starts in `file`; leaves the last states and their q in `points_file`.

    Args:
        file: weights, starts and input.
        points_file: where to leave what was found.
        times_longer: so many times as many updates, and as many without progress before the learning rate falls;
            more updates alone change nothing, for the rate has fallen to nothing by then.
    """
    n_updates, patience = times_longer * N_UPDATES, times_longer * PATIENCE
    with np.load(file) as kept:
        w_rec, starts = jnp.asarray(kept["w_rec"]), jnp.asarray(kept["starts"], dtype=jnp.float32)
        drive = jnp.asarray(kept["w_in"] @ kept["input"] + kept["b"], dtype=jnp.float32)
    adam = optax.scale_by_adam()

    def cost(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        step = ALPHA * (jnp.tanh(x) @ w_rec.T + drive - x)
        q = 0.5 * jnp.sum(step**2, axis=1)
        return q.sum(), q

    @jax.jit
    def descend(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        def going_on(carry: Any) -> jax.Array:
            unfinished: jax.Array = (carry[0] < n_updates) & ~carry[1]
            return unfinished

        def update(carry: Any) -> Any:
            n, _, before, x, state, rate, best, waited = carry
            (total, q), gradient = jax.value_and_grad(cost, has_aux=True)(x)
            norm = jnp.linalg.norm(gradient, axis=1, keepdims=True)
            direction, state = adam.update(gradient / jnp.maximum(norm, 1.0), state)
            x = x - rate * direction
            better = total < best * (1 - THRESHOLD)
            waited = jnp.where(better, 0, waited + 1)
            rate = jnp.where(waited > patience, FACTOR * rate, rate)
            waited = jnp.where(waited > patience, 0, waited)
            done = ((jnp.abs(q - before) < TOL_DQ * rate) | (q < TOL_Q)).all()
            return n + 1, done, q, x, state, rate, jnp.where(better, total, best), waited

        rate, best = jnp.float32(LEARNING_RATE), jnp.float32(jnp.inf)
        before = jnp.full(len(x), jnp.nan, x.dtype)
        begin = (jnp.int32(0), jnp.bool_(False), before, x, adam.init(x), rate, best, jnp.int32(0))
        last = jax.lax.while_loop(going_on, update, begin)
        return last[3], last[2]

    def work(n_searches: int) -> None:
        for _ in range(n_searches):
            x, q = jax.block_until_ready(descend(starts))
        np.savez(points_file, x=x, q=q)

    return work
