"""Named random streams: every draw comes from one seed and the names of what it is for.

A stream is addressed as ``key(seed, "training", "trials")``; adding a stream never shifts another one,
which a running counter would do.
"""

from __future__ import annotations

import hashlib

import jax
import numpy as np
from jaxtyping import Array, Key, PRNGKeyArray, UInt32


def _digest(names: tuple[str | int, ...]) -> bytes:
    # The separator keeps ("a", "b") apart from ("ab",); the type letter keeps "1" apart from 1.
    text = "\x1f".join(f"{'i' if isinstance(name, int) else 's'}{name}" for name in names)
    return hashlib.sha256(text.encode()).digest()


def key(seed: int, *names: str | int) -> PRNGKeyArray:
    """The JAX key of the stream called `names` under `seed`.

    Args:
        seed: the one seed of a run or of a member; any non-negative integer below 2**32.
        *names: what the stream is for, from general to special, e.g. ``"training", "noise"``.
    """
    # Two 32-bit words: 64 bits of the name keep streams apart.
    stream: PRNGKeyArray = _stream(
        np.uint32(seed), np.frombuffer(_digest(names)[:8], dtype="<u4").astype(np.uint32)
    )
    return stream


@jax.jit
def _stream(seed: UInt32[Array, ""], words: UInt32[Array, "2"]) -> PRNGKeyArray:
    # One program instead of one per operation, each of which would be looked up and loaded at every start.
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), words[0]), words[1])


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """The NumPy generator of the stream called `names` under `seed`; see `key`."""
    words = np.frombuffer(_digest(names)[:16], dtype="<u4").tolist()
    return np.random.default_rng(np.random.SeedSequence([seed, *words]))


@jax.jit
def member_keys(base: PRNGKeyArray, seeds: UInt32[Array, " member"]) -> Key[Array, " member"]:
    """One key per member from the members' own seeds, so that a member's numbers do not depend on its neighbours.

    Args:
        base: key of the stream, shape ``()``.
        seeds: seed of each member, shape ``(member,)``, unsigned 32-bit.
    """
    return jax.vmap(lambda seed: jax.random.fold_in(base, seed))(seeds)
