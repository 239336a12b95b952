"""The arithmetic limit: what the matrix products of an update cost at the rate of one large product."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.worker import Work

SIZE = 1024
LIBRARIES = {"numpy": "numpy", "jax": "jax.numpy"}


def update_flop(*, n_units: int, batch_size: int, n_steps: int) -> int:
    """Operations of the products N x N of one update, multiplications and additions counted apart.

    A step has three products of a matrix N x N or batch x N with one of batch x N: the recurrent input, its
    vector-Jacobian product, the gradient of the weights; each takes 2 batch N^2 operations.
    """
    return 3 * 2 * batch_size * n_units**2 * n_steps


def large_product_flop() -> int:
    """Operations of one product of two matrices 1024 x 1024."""
    return 2 * SIZE**3


def limit_s(flop: int, calls_s: Mapping[str, Sequence[float]], n_calls: Mapping[str, int]) -> list[float]:
    """Seconds that `flop` take at the rate of the large product, round by round.

    Args:
        flop: operations of the work.
        calls_s: by library, seconds of every timed call; the library with the smaller median per product counts,
            because either may be built without the fastest kernels of a processor.
        n_calls: by library, products per timed call.
    """
    per_product_s = {name: np.asarray(times) / n_calls[name] for name, times in calls_s.items()}
    fastest = min(per_product_s.values(), key=lambda times: float(np.median(times)))
    return [float(flop / large_product_flop() * time_s) for time_s in fastest]


def build(*, library: str, size: int = SIZE) -> Work:
    """Float32 products of two square matrices with all cores."""
    xp = importlib.import_module(LIBRARIES[library])
    a = xp.asarray(np.linspace(-1.0, 1.0, size * size, dtype=np.float32).reshape(size, size))

    def work(n_products: int) -> None:
        for _ in range(n_products):
            np.asarray(a @ a)  # waits for the result, which costs JAX on a CPU no copy

    return work
