"""Surrogate rates: random data that share simple features with the real ones and nothing else.

A population finding that surrogates show as well follows from those simple features (Elsayed & Cunningham 2017,
Nature Neuroscience 20:1310).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynaprobe.analysis.matrix import PSTH_DIMS, check_at_least, check_choice, one_thread, psth_values
from dynaprobe.core.errors import RatesError
from dynaprobe.core.random import generator
from dynaprobe.core.rates import done

# Axis of the tensor (condition, time, unit) for each letter of the paper.
AXIS = {"T": 1, "N": 2, "C": 0}
KEEPS = tuple("".join(letters) for size in (3, 2, 1) for letters in combinations("TNC", size))
# Marginal eigenvalues below this fraction of the largest carry no variance; eigh resolves about 1e-16 of it.
DEGENERATE = 1e-12


@dataclass(frozen=True)
class TensorMaximumEntropy:
    """The Gaussian of largest entropy with given means and marginal covariances.

    ``X = mean + sum over (i, j, k) of sqrt(variance[i, j, k]) z[i, j, k] q_C[:, i] q_T[:, j] q_N[:, k]`` with z
    standard normal and ``variance[i, j, k] = 1 / (l_C[i] + l_T[j] + l_N[k])``.

    Attributes:
        mean: additive mean over the axes kept, shape ``(condition, time, unit)``.
        variance: variance of every element in the eigenbases; the basis of a free axis is the identity.
        bases: orthonormal columns q_C, q_T, q_N; directions without variance are left out.
        keep: letters of the constraints that were used.
        max_relative_error: largest relative misfit of a kept marginal eigenvalue.
        n_dropped: directions without variance, by letter.
        template: the rates that were fitted; gives draws their coordinates and attributes.
    """

    mean: Float[np.ndarray, "condition time unit"]
    variance: Float[np.ndarray, "i j k"]
    bases: tuple[np.ndarray, np.ndarray, np.ndarray]
    keep: str
    max_relative_error: float
    n_dropped: dict[str, int]
    template: xr.DataArray

    def draw_values(self, index: int, *, seed: int) -> Float[np.ndarray, "condition time unit"]:
        """Draw number `index` under `seed` as a plain array; it does not depend on how many others are drawn."""
        noise = generator(seed, "surrogates", "tme", index).standard_normal(self.variance.shape)
        values: np.ndarray = self.mean + _rotate(np.sqrt(self.variance) * noise, self.bases)
        return values

    @one_thread
    def draw(self, n: int, *, seed: int) -> xr.DataArray:
        """Draws 0 to n - 1 as rates with the leading dim ``draw``."""
        check_at_least("n", n, 1)
        values = np.stack([self.draw_values(index, seed=seed) for index in range(n)])
        return _as_draws(values, self.template, f"tensor maximum entropy surrogate keeping {self.keep}")

    def marginal_covariances(self) -> dict[str, Float[np.ndarray, "size size"]]:
        """Expected covariance along each kept axis, summed over the two others."""
        covariances = {}
        for letter in self.keep:
            axis = AXIS[letter]
            spread = self.variance.sum(axis=tuple(k for k in range(3) if k != axis))
            covariances[letter] = (self.bases[axis] * spread) @ self.bases[axis].T
        return covariances


@one_thread
def fit_tme(rates: xr.DataArray, *, keep: str = "TNC", tolerance: float = 1e-9) -> TensorMaximumEntropy:
    """Fit the tensor maximum entropy distribution.

    With R the rates minus their additive mean over the kept axes, the constraints are the marginal covariances
    ``S_T[t, t'] = sum over n, c of R[c, t, n] R[c, t', n]`` and likewise S_N and S_C. In their eigenbases the
    multipliers l solve ``sum over the other axes of 1 / (l_T + l_N + l_C) = eigenvalue``, the stationary point of
    the convex dual ``sum l s - sum log(l_T + l_N + l_C)``, found by Newton's method.

    Args:
        rates: dims ``(condition, time, unit)``.
        keep: which of time (T), units (N) and conditions (C) keep mean and covariance, e.g. "TNC", "TN", "T".
        tolerance: largest relative misfit of a marginal eigenvalue that is accepted.

    Raises:
        RatesError: when the dual cannot be solved to `tolerance`.
        SettingsError: when `keep` is not made of the letters T, N, C.

    Source: Elsayed & Cunningham 2017, Nature Neuroscience 20:1310.
    """
    check_choice("keep", keep, KEEPS)
    values = psth_values(rates)
    mean = additive_mean(values, keep)
    residual = values - mean
    axes = {AXIS[letter] for letter in keep}
    # Round-off of the subtraction must not be fitted as if it were variance.
    if np.abs(residual).max() <= DEGENERATE * np.abs(values).max():
        residual = np.zeros_like(residual)
    total = float((residual**2).sum())
    spectra, bases = [], []
    for axis in range(3):
        spectrum, basis = _eigenbasis(residual, axis, kept=axis in axes)
        spectra.append(spectrum)
        bases.append(basis)
    shape = tuple(basis.shape[1] for basis in bases)
    shares, error = _solve(spectra, shape) if total > 0 else (np.zeros(shape), 0.0)
    if not error <= tolerance:
        raise RatesError(
            "rates",
            rule=f"let the marginal covariances be matched to {tolerance:g}",
            received=f"a largest relative misfit of {error:.2g}",
            remedy="Use fewer bins or units, or accept a larger tolerance",
        )
    dropped = {letter: int(values.shape[AXIS[letter]] - shape[AXIS[letter]]) for letter in keep}
    return TensorMaximumEntropy(
        mean=mean,
        variance=total * shares,
        bases=(bases[0], bases[1], bases[2]),
        keep=keep,
        max_relative_error=error,
        n_dropped=dropped,
        template=rates,
    )


@one_thread
def tme_surrogates(rates: xr.DataArray, n: int, *, seed: int, keep: str = "TNC") -> xr.DataArray:
    """n tensor maximum entropy surrogates, dims ``(draw, condition, time, unit)``; see `fit_tme`.

    They are Gaussian, so they may fall below zero where rates cannot.
    """
    return fit_tme(rates, keep=keep).draw(n, seed=seed)


def shuffle_surrogates(rates: xr.DataArray, n: int, *, seed: int) -> xr.DataArray:
    """n surrogates in which every unit's conditions are permuted independently.

    Each unit keeps all its responses; what is lost is which unit prefers which condition, and with it the
    covariance across units.

    Args:
        rates: dims ``(condition, time, unit)``.
        n: number of draws.
        seed: names the stream; draw k does not depend on n.

    Returns:
        Rates with dims ``(draw, condition, time, unit)``.
    """
    check_at_least("n", n, 1)
    values = psth_values(rates)
    draws = np.empty((n, *values.shape))
    for index in range(n):
        source = generator(seed, "surrogates", "shuffle", index)
        order = source.permuted(np.tile(np.arange(values.shape[0])[:, None], values.shape[2]), axis=0)
        draws[index] = np.take_along_axis(values, order[:, None, :], axis=0)
    return _as_draws(draws, rates, "conditions permuted within each unit")


def additive_mean(
    values: Float[np.ndarray, "condition time unit"], keep: str
) -> Float[np.ndarray, "condition time unit"]:
    """Grand mean plus the deviations of the marginal means over each kept axis."""
    grand = values.mean()
    mean = np.full_like(values, grand)
    for letter in keep:
        others = tuple(k for k in range(3) if k != AXIS[letter])
        mean += values.mean(axis=others, keepdims=True) - grand
    return mean


def p_value_above(score: float, floor: Float[np.ndarray, " draw"]) -> float:
    """Chance of a surrogate score at least as large: ``(k + 1) / (n + 1)``, never 0."""
    return float((np.sum(floor >= score) + 1) / (floor.size + 1))


def normalised_score(score: float, *, floor: float, ceiling: float) -> tuple[float, dict[str, int]]:
    """``(score - floor) / (ceiling - floor)`` and what failed: NaN where the ceiling is not above the floor."""
    if not ceiling > floor:
        reason = f"ceiling {ceiling:.3g} not above floor {floor:.3g}: the score has no scale and is left undefined"
        return float("nan"), {reason: 1}
    return float((score - floor) / (ceiling - floor)), {}


def _eigenbasis(residual: np.ndarray, axis: int, *, kept: bool) -> tuple[np.ndarray | None, np.ndarray]:
    """Shares of variance and directions of one marginal covariance; None and the identity for a free axis."""
    size = residual.shape[axis]
    if not kept:
        return None, np.eye(size)
    flat = np.moveaxis(residual, axis, 0).reshape(size, -1)
    eigenvalues, vectors = np.linalg.eigh(flat @ flat.T)
    held = eigenvalues > DEGENERATE * eigenvalues[-1]
    # What is dropped is given back in proportion, so that all marginals keep the same total.
    return eigenvalues[held] / eigenvalues[held].sum() if held.any() else eigenvalues[held], vectors[:, held]


def _rotate(values: np.ndarray, bases: tuple[np.ndarray, ...]) -> np.ndarray:
    """Coordinates in the three eigenbases back to (condition, time, unit)."""
    along_unit = values @ bases[2].T
    along_time = bases[1] @ along_unit
    rotated: np.ndarray = np.tensordot(bases[0], along_time, axes=1)
    return rotated


def _as_draws(values: np.ndarray, template: xr.DataArray, step: str) -> xr.DataArray:
    draws = xr.DataArray(
        values, dims=("draw", *PSTH_DIMS), coords=template.coords, name="rates", attrs=template.attrs
    )
    return done(draws, step)


def _solve(spectra: list[np.ndarray | None], shape: tuple[int, ...]) -> tuple[np.ndarray, float]:
    """Variances ``1 / (sum of multipliers)`` with given marginals, and the largest relative misfit.

    Args:
        spectra: marginal eigenvalues of each axis, adding to 1; None where the axis is free.
        shape: number of directions along each axis.
    """
    kept = [axis for axis, spectrum in enumerate(spectra) if spectrum is not None]
    # Along a free axis all elements are alike: solve for one of them with its share of the marginals.
    n_alike = int(np.prod([size for axis, size in enumerate(shape) if axis not in kept]))
    targets = [spectrum / n_alike for spectrum in spectra if spectrum is not None]
    variance = 1.0 / _outer_sum(minimise_dual(targets))
    error = float(np.abs(_relative_gradient(variance, targets)).max())
    full = [size if axis in kept else 1 for axis, size in enumerate(shape)]
    return np.broadcast_to(variance.reshape(full), shape).copy(), error


def minimise_dual(targets: list[np.ndarray], *, n_steps: int = 500) -> list[np.ndarray]:
    """Multipliers l that minimise the dual ``sum l s - sum log(outer sum of l)``.

    The dual is self-concordant, so damped Newton steps of at least ``1 / (1 + decrement)`` stay inside the
    domain and converge from anywhere, and full steps do so quadratically once the decrement is below 1/4 (Boyd &
    Vandenberghe 2004, section 9.6). In the variables ``y = l s`` the Hessian is well scaled although the
    eigenvalues s span many decades.

    Args:
        targets: marginals s of each axis, positive, with one common sum.
        n_steps: Newton steps at most.
    """
    n_elements = float(np.prod([s.size for s in targets]))
    # Exact when there is one constraint, a fair share each otherwise.
    multipliers = [n_elements / (s.size * len(targets) * s) for s in targets]
    scale = np.concatenate(targets)
    splits = np.cumsum([s.size for s in targets])[:-1]
    best, best_error = multipliers, float("inf")
    for _ in range(n_steps):
        variance = 1.0 / _outer_sum(multipliers)
        gradient = _relative_gradient(variance, targets)
        error = float(np.abs(gradient).max())
        if error < best_error:
            best, best_error = multipliers, error
        step = np.linalg.solve(_filled_hessian(variance, targets), -gradient)
        decrement = max(float(-gradient @ step), 0.0) ** 0.5
        # Below this the misfit only moves by round-off.
        if error < 1e-13 or (decrement < 1e-9 and error >= best_error):
            break
        parts = np.split(step / scale, splits)
        multipliers = _balance(_move(multipliers, parts, targets, decrement))
    return best


def _move(
    multipliers: list[np.ndarray], parts: list[np.ndarray], targets: list[np.ndarray], decrement: float
) -> list[np.ndarray]:
    """Walk along the Newton step: the longest halved step that descends, at least ``1 / (1 + decrement)``."""

    def at(length: float) -> list[np.ndarray]:
        return [old + length * part for old, part in zip(multipliers, parts, strict=True)]

    # A full step is safe this close to the minimum, where the dual itself no longer resolves the descent.
    if decrement < 0.25:
        return at(1.0)
    before = _dual(multipliers, targets)
    safe, length = 1.0 / (1.0 + decrement), 1.0
    while length > safe:
        if _dual(at(length), targets) < before - 0.1 * length * decrement**2:
            return at(length)
        length /= 2
    return at(safe)


def _dual(multipliers: list[np.ndarray], targets: list[np.ndarray]) -> float:
    """The dual, infinite outside its domain."""
    sums = _outer_sum(multipliers)
    if sums.min() <= 0:
        return float("inf")
    return float(sum(part @ s for part, s in zip(multipliers, targets, strict=True)) - np.log(sums).sum())


def _outer_sum(multipliers: list[np.ndarray]) -> np.ndarray:
    total: np.ndarray = np.zeros(())
    for part in multipliers:
        total = total[..., None] + part
    return total


def _sum_to(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Sum over all axes but those named."""
    summed: np.ndarray = values.sum(axis=tuple(k for k in range(values.ndim) if k not in axes))
    return summed


def _relative_gradient(variance: np.ndarray, targets: list[np.ndarray]) -> np.ndarray:
    """Gradient of the dual in ``y = l s``: one minus what each marginal is of its target."""
    return np.concatenate([1 - _sum_to(variance, (k,)) / s for k, s in enumerate(targets)])


def _filled_hessian(variance: np.ndarray, targets: list[np.ndarray]) -> np.ndarray:
    """Hessian of the dual in ``y = l s``, made invertible.

    Adding a constant to the multipliers of one axis and taking it from another changes nothing. The gradient has
    no part along these directions, so filling them leaves the Newton step as it is.
    """
    square = variance**2
    n = len(targets)
    blocks = [[np.zeros((s.size, t.size)) for t in targets] for s in targets]
    for a in range(n):
        blocks[a][a] = np.diag(_sum_to(square, (a,)) / targets[a] ** 2)
        for b in range(a + 1, n):
            blocks[a][b] = _sum_to(square, (a, b)) / np.outer(targets[a], targets[b])
            blocks[b][a] = blocks[a][b].T
    hessian = np.block(blocks)
    size = np.trace(hessian) / hessian.shape[0]
    for a in range(n - 1):
        parts = [np.zeros_like(s) for s in targets]
        parts[a], parts[a + 1] = targets[a], -targets[a + 1]
        flat = np.concatenate(parts)
        hessian += size * np.outer(flat, flat) / (flat @ flat)
    return hessian


def _balance(multipliers: list[np.ndarray]) -> list[np.ndarray]:
    """Shift the multipliers of each axis so that all axes share their minimum, which changes no sum.

    All of them are then positive, and their sums lose no digits by cancellation.
    """
    least = [float(part.min()) for part in multipliers]
    shared = sum(least) / len(least)
    return [part - low + shared for part, low in zip(multipliers, least, strict=True)]
