"""Who is connected to whom, and with which weights training starts. Weights are ``[post, pre]``."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from dynaprobe.core.errors import SettingsError

Weights = Float[np.ndarray, "post pre"]


def uniform_weights(generator: np.random.Generator, n_post: int, n_pre: int, *, bound: float = 0.1) -> Weights:
    """Weights drawn from U(-`bound`, `bound`), shape ``(post, pre)``."""
    return generator.uniform(-bound, bound, (n_post, n_pre))


def recurrent_mask(generator: np.random.Generator, n_units: int, *, density: float = 1.0) -> Weights:
    """1 where a connection may exist, 0 elsewhere; no unit connects to itself.

    Each of the ``n_units (n_units - 1)`` other connections exists with probability `density`.
    """
    exists = generator.random((n_units, n_units)) < density
    np.fill_diagonal(exists, False)
    return exists.astype(np.float64)


def dale_signs(n_units: int, excitatory_fraction: float) -> Float[np.ndarray, " unit"]:
    """Sign of each presynaptic unit: the first ``round(excitatory_fraction n_units)`` are +1, the rest -1.

    Raises:
        SettingsError: when one of the two populations would be empty.
    """
    n_excitatory = round(excitatory_fraction * n_units)
    if not 0 < n_excitatory < n_units:
        raise SettingsError(
            "dale_excitatory_fraction",
            rule=f"leave at least one excitatory and one inhibitory of {n_units} units",
            received=excitatory_fraction,
            remedy="Choose a fraction such as 0.8, or leave it out for units of mixed sign",
        )
    return np.where(np.arange(n_units) < n_excitatory, 1.0, -1.0)


def recurrent_weights(
    generator: np.random.Generator,
    mask: Weights,
    *,
    spectral_radius: float,
    dale_sign: Float[np.ndarray, " unit"] | None = None,
) -> Weights:
    """Gaussian weights on a mask, scaled so that the largest eigenvalue modulus is `spectral_radius`.

        W = g M o G / rho(M o G),   G_ij ~ N(0, 1)

    With Dale signs s, ``G_ij`` becomes ``s_j |G_ij|``, and the weaker population is strengthened so that
    excitation and inhibition cancel in the mean input (balance; otherwise one large eigenvalue, the mean of W
    times the number of units, would use up all of g).

    Args:
        generator: source of randomness.
        mask: M, 1 where a connection exists.
        spectral_radius: g.
        dale_sign: s, the sign of every presynaptic unit (column).

    Raises:
        SettingsError: when the connections form no loop, so that no scale gives the wanted spectral radius.
    """
    weights = generator.standard_normal(mask.shape) * mask
    if dale_sign is not None:
        weights = np.abs(weights) * dale_sign
        excitation, inhibition = weights[weights > 0].sum(), -weights[weights < 0].sum()
        if excitation > 0 and inhibition > 0:
            weights = np.where(weights < 0, weights * (excitation / inhibition), weights)
    # Threads of LAPACK that wait for one another cost far more than eigenvalues of this size.
    with threadpool_limits(1, user_api="blas"):
        found = np.abs(np.linalg.eigvals(weights)).max()
    # Without a loop W is nilpotent: its eigenvalues are 0 up to round-off and cannot be scaled.
    if spectral_radius > 0 and found < 1e-6:
        raise SettingsError(
            "density",
            rule="leave at least one loop of connections to scale to the spectral radius",
            received=f"{int(mask.sum())} connections among {mask.shape[0]} units",
            remedy="Use more units, a higher density, or spectral_radius = 0",
        )
    scaled: Weights = weights * (spectral_radius / found if spectral_radius > 0 else 0.0)
    return scaled
