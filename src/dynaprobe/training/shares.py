"""A batch in shares: parts of its trials whose costs and gradients add up to those of the batch.

How a batch is divided depends on its size alone, and the sums run over the shares in their order. So the numbers
of a network are the same whether one device does all shares or several devices do some each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Int

from dynaprobe.core.trials import Trials
from dynaprobe.training.objective import Part, whole_batch

MOST_SHARES, SMALLEST_SHARE = 4, 4
# Arrays of the size of the rates that a gradient holds at once, on the plain path.
N_TRAJECTORIES = 8


def n_shares(n_trials: int) -> int:
    """Number of shares of a batch: at most four, all alike, of four trials or more."""
    return max(
        n for n in range(1, MOST_SHARES + 1) if n == 1 or (n_trials % n == 0 and n_trials // n >= SMALLEST_SHARE)
    )


def n_segments(n_times: int, n_trials: int, n_units: int, *, memory_gb: float, n_devices: int) -> int:
    """Segments of time for a gradient to stay within a budget: 1 when all of it fits.

    A segment of s steps of a share of b trials takes 4 bytes x `N_TRAJECTORIES` x s x b x `n_units` per device.

    Args:
        n_times: steps of a trial.
        n_trials: size of the batch.
        n_units: size of the network.
        memory_gb: budget of all devices together, in 10^9 bytes.
        n_devices: devices that train at the same time.
    """
    share = n_trials // n_shares(n_trials)
    bytes_per_step = 4 * N_TRAJECTORIES * share * n_units
    n_steps = max(1, int(memory_gb * 1e9 / n_devices / bytes_per_step))
    return -(-n_times // n_steps)


def over_shares(one: Callable[[Trials, Part], Any], trials: Trials, *, n_columns: int) -> Any:
    """Apply `one` to every share of a batch.

    Args:
        one: from the trials of a share, and what it must know of the batch, to any tree of arrays.
        trials: the batch.
        n_columns: how many devices divide the shares among them, along the mesh axis share.

    Returns:
        The trees, stacked along a leading axis in the order of the shares, the same on all of these devices.
    """
    number, whole = n_shares(trials.n_trials), whole_batch(trials)
    size, here = trials.n_trials // number, number // n_columns

    def of(share: Int[Array, ""]) -> Any:
        first = share * size
        mine = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, first, size), trials)
        return one(mine, Part(whole.n_asked, whole.n_valid, whole.fraction / number, first))

    if n_columns == 1:
        return jax.lax.map(of, jnp.arange(number))
    mine = jax.lax.map(of, jax.lax.axis_index("share") * here + jnp.arange(here))
    # All in one array: devices that exchange wait for one another, once and not once for every leaf.
    _, restored = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], mine))
    flat = jax.vmap(lambda tree: ravel_pytree(tree)[0])(mine)
    return jax.vmap(restored)(jax.lax.all_gather(flat, "share", tiled=True))


def added_up(stacked: Any) -> Any:
    """The sum over shares, one after another."""
    return jax.tree.map(lambda leaf: sum(leaf[share] for share in range(1, leaf.shape[0])) + leaf[0], stacked)
