"""The activations: from state to rate. A new one is one function, one slope and one row of the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dynaprobe.core.errors import SettingsError

Elementwise = Callable[[Float[Array, "..."]], Float[Array, "..."]]


@dataclass(frozen=True)
class Activation:
    """A rate function r = f(x) that acts on each unit alone.

    Attributes:
        function: f.
        slope_of_rate: f'(x) written as a function of r = f(x). The backward pass then needs the rates only,
            which it has at hand, and never evaluates f again.
        slope_bounds: smallest and largest slope over all x.
        is_non_negative: whether rates are never below zero, as Dale's law and spike rates ask.
    """

    function: Elementwise
    slope_of_rate: Elementwise
    slope_bounds: tuple[float, float]
    is_non_negative: bool

    def slope(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """f'(x); at a kink the slope from the left."""
        return self.slope_of_rate(self.function(x))


def _rectified_tanh(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.tanh(jnp.maximum(x, 0.0))


def _relu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.maximum(x, 0.0)


def _step_of_rate(r: Float[Array, "..."]) -> Float[Array, "..."]:
    return (r > 0).astype(r.dtype)


ACTIVATIONS: dict[str, Activation] = {
    # tanh' = 1 - tanh^2
    "tanh": Activation(jnp.tanh, lambda r: 1 - r * r, (0.0, 1.0), False),
    "relu": Activation(_relu, _step_of_rate, (0.0, 1.0), True),
    # log(1 + e^x)' = e^x / (1 + e^x) = 1 - e^-r
    "softplus": Activation(jax.nn.softplus, lambda r: -jnp.expm1(-r), (0.0, 1.0), True),
    "rectified_tanh": Activation(_rectified_tanh, lambda r: (1 - r * r) * _step_of_rate(r), (0.0, 1.0), True),
    "sigmoid": Activation(jax.nn.sigmoid, lambda r: r * (1 - r), (0.0, 0.25), True),
}


def activation(name: str) -> Activation:
    """The row called `name`.

    Raises:
        SettingsError: when there is none.
    """
    if name not in ACTIVATIONS:
        raise SettingsError(
            "activation",
            rule=f"be one of {', '.join(ACTIVATIONS)}",
            received=name,
            remedy="Choose one, or add a row in model/activations.py",
        )
    return ACTIVATIONS[name]
