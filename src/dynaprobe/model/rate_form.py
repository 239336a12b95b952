"""Which functions are the dynamics of a network of rate units, so that compiled kernels know all about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from dynaprobe.core.devices import runs_compiled_kernels
from dynaprobe.model.kernel.elementwise import KINDS
from dynaprobe.model.kernel.rate_field import RateField
from dynaprobe.model.rnn import CTRNN


def rate_field(f: Callable[..., Any], u: Float[np.ndarray, " input"], *, is_map: bool) -> RateField | None:
    """f(x, u), less x where it is a map, as ``s (-x + W g(x) + c)``; None where it is not known to be that.

    Known are `CTRNN.vector_field`, with s = 1 / tau, and as a map `CTRNN.step`, with s = dt / tau, where the
    network's activation is compiled.

    Args:
        f: any function; a bound method of a network.
        u: the input that is held.
        is_map: whether f gives the next state.
    """
    network, method = getattr(f, "__self__", None), getattr(f, "__func__", None)
    # A subclass may have changed any part of the dynamics.
    if type(network) is not CTRNN or method is not (CTRNN.step if is_map else CTRNN.vector_field):
        return None
    if network.activation_name not in KINDS or not runs_compiled_kernels():
        return None
    w_rec, mask, w_in, b = (
        np.asarray(part, dtype=np.float64) for part in (network.w_rec, network.mask_rec, network.w_in, network.b)
    )
    weights = np.ascontiguousarray(mask * w_rec)
    # A number of NumPy's would be another type to the kernels.
    scale = float(network.dt_ms / network.tau_ms if is_map else 1.0 / network.tau_ms)
    drive = np.ascontiguousarray(b + w_in @ u)
    return RateField(weights, weights.T @ weights, drive, scale, KINDS[network.activation_name])
