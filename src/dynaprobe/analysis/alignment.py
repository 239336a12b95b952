"""Do two epochs use the same dimensions? Alignment index, principal angles, and what chance would give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.linalg import subspace_angles

from dynaprobe.analysis.result import Result
from dynaprobe.analysis.subspace import (
    check_varies,
    coords_along,
    n_for_fraction,
    numerical_rank,
    principal_axes,
    samples,
)
from dynaprobe.core.errors import RatesError
from dynaprobe.core.preprocess import subtract_condition_mean
from dynaprobe.core.random import generator
from dynaprobe.core.rates import check_rates

DIRECTIONS = ("prep_to_move", "move_to_prep")


@dataclass(frozen=True)
class AlignmentResult(Result):
    """Alignment of the preparatory and the peri-movement subspace.

    Variables of `data`; the dim ``direction`` holds ``prep_to_move`` (peri-movement variance captured by the
    preparatory PCs) and ``move_to_prep``:
        alignment_index ``(direction,)``: 0 for orthogonal, 1 for equal subspaces.
        chance ``(direction, draw)``: the index of random subspaces of the activity's own covariance.
        chance_mean, chance_sd ``(direction,)``: their mean and standard deviation.
        p_value ``(direction,)``: less aligned than chance, ``(1 + #{chance <= index}) / (1 + n_chance)``.
        principal_angles_deg ``(angle,)``: between the two subspaces, smallest first.
        n_dims: d.
        captured ``(epoch,)``: share of each epoch's variance in its own top d PCs.
        subspace ``(epoch, pc, unit)``: these PCs.
    """


def alignment(
    prep: xr.DataArray,
    move: xr.DataArray,
    *,
    threshold: float = 0.8,
    max_dims: int = 4,
    subtract_mean: bool = True,
    n_chance: int = 1000,
    seed: int = 0,
) -> AlignmentResult:
    """Alignment index of two epochs, both ways.

    ``A = tr(D^T C D) / sum_{i <= d} s_i(C)``: D ``(unit, d)`` holds the top d PCs of one epoch, C is the
    covariance of the other over conditions and times, ``s_i(C)`` its eigenvalues in falling order. d is the
    smallest number of PCs with `threshold` of the preparatory variance, at most `max_dims`.

    Chance (Monte Carlo of Elsayed 2016): D is replaced by the orthonormalised columns of ``U S^(1/2) G``, where
    ``U S U^T`` is the covariance of both epochs together (each about its own mean, every bin with equal weight)
    and G ``(unit, d)`` is standard normal. The test is of dimensions, not of noise: with few trials the
    estimated subspaces differ even where the true ones agree, which a split-half ceiling shows.

    Args:
        prep, move: rates of the preparatory and the peri-movement window, dims ``(condition, time, unit)`` with
            the same units. Soft-normalise before cutting the windows, so that both share one scale per unit.
        threshold: fraction of preparatory variance.
        max_dims: cap of d; 4 to 6 for 6 to 8 targets, since K conditions have at most K - 1 tuned dimensions
            at a time.
        subtract_mean: remove the cross-condition mean at every time first.
        n_chance: random subspaces; 0 for none (no p-value then).
        seed: of the random subspaces.

    Raises:
        RatesError: rates outside the schema, different units, an epoch that does not vary,
            settings out of range.

    Source: Elsayed et al. (2016), Nature Communications 7:13239.
    """
    _check_request(prep, move, max_dims, n_chance)
    X = [_centred(rates, subtract_mean) for rates in (prep, move)]
    axes, variances = zip(*(principal_axes(x) for x in X), strict=True)
    for name, variance in zip(("prep", "move"), variances, strict=True):
        check_varies(variance, name)
    d = min(n_for_fraction(variances[0], threshold), max_dims)
    if numerical_rank(variances[1]) < d:
        raise RatesError(
            "max_dims",
            rule="be no more than the dimensions of the peri-movement activity",
            received=f"{d} dimensions against {numerical_rank(variances[1])}",
            remedy="Lower max_dims or widen the peri-movement window",
        )
    D = np.stack([a[:d] for a in axes])
    targets = [(X[1], variances[1]), (X[0], variances[0])]
    index = np.concatenate([_captured(D[i : i + 1], *targets[i]) for i in range(2)])
    random = _random_subspaces(np.concatenate(X), d, n_chance, seed)
    chance = np.array([_captured(random, *target) for target in targets])
    data = xr.Dataset(
        {
            "alignment_index": (("direction",), index),
            "chance": (("direction", "draw"), chance),
            "principal_angles_deg": (
                ("angle",),
                np.degrees(subspace_angles(D[0].T, D[1].T))[::-1],
                {"units": "degree"},
            ),
            "n_dims": d,
            "captured": (("epoch",), [v[:d].sum() / v.sum() for v in variances]),
            "subspace": (("epoch", "pc", "unit"), D),
        },
        coords={**coords_along(prep, "unit"), "direction": list(DIRECTIONS), "epoch": ["prep", "move"]},
        attrs=dict(prep.attrs),
    )
    if n_chance:
        below = (chance <= index[:, None]).sum(axis=1)
        data["chance_mean"] = ("direction", chance.mean(axis=1))
        data["chance_sd"] = ("direction", chance.std(axis=1))
        data["p_value"] = ("direction", (1 + below) / (1 + n_chance))
    settings = {"threshold": threshold, "max_dims": max_dims, "subtract_mean": subtract_mean}
    return AlignmentResult(data, {**settings, "n_chance": n_chance, "seed": seed})


def _centred(rates: xr.DataArray, subtract_mean: bool) -> Float[np.ndarray, "sample unit"]:
    X = samples(subtract_condition_mean(rates.astype(np.float64)) if subtract_mean else rates)
    centred: Float[np.ndarray, "sample unit"] = X - X.mean(axis=0)
    return centred


def _captured(
    axes: Float[np.ndarray, "draw d unit"],
    X: Float[np.ndarray, "sample unit"],
    variance: Float[np.ndarray, " axis"],
) -> Float[np.ndarray, " draw"]:
    """Variance of X along orthonormal axes over the most that so many axes could hold."""
    cov = X.T @ X / X.shape[0]
    held: Float[np.ndarray, " draw"] = ((axes @ cov) * axes).sum(axis=(-2, -1)) / variance[: axes.shape[-2]].sum()
    return held


def _random_subspaces(
    X: Float[np.ndarray, "sample unit"], d: int, n_chance: int, seed: int
) -> Float[np.ndarray, "draw d unit"]:
    """Orthonormal bases of the columns of ``U S^(1/2) G``, one per draw."""
    axes, variance = principal_axes(X)
    random = generator(seed, "analysis", "alignment", "chance")
    # G in the basis U keeps only the dimensions the data have; a rotation of G changes nothing in law.
    G = random.standard_normal((n_chance, axes.shape[0], d))
    mixed = axes.T @ (np.sqrt(variance)[:, None] * G)
    bases: Float[np.ndarray, "draw d unit"] = np.linalg.qr(mixed)[0].swapaxes(-1, -2)
    return bases


def _check_request(prep: xr.DataArray, move: xr.DataArray, max_dims: int, n_chance: int) -> None:
    for name, rates in (("prep", prep), ("move", move)):
        check_rates(rates, dims=("condition", "time", "unit"), name=name)
    same = prep.sizes["unit"] == move.sizes["unit"]
    if same and "unit" in prep.coords and "unit" in move.coords:
        same = bool((prep["unit"].values == move["unit"].values).all())
    if not same:
        raise RatesError(
            "prep and move",
            rule="have the same units in the same order",
            received=f"{prep.sizes['unit']} and {move.sizes['unit']} units",
            remedy="Cut both windows from the same rates",
        )
    if max_dims < 1 or n_chance < 0:
        raise RatesError(
            "max_dims and n_chance",
            rule="be at least 1 and at least 0",
            received=(max_dims, n_chance),
            remedy="Use 4 dimensions and 1000 draws unless there is a reason",
        )
