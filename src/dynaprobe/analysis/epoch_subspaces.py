"""Subspaces of two epochs found together: orthogonal ones, exclusive ones, and what the epochs share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynaprobe.analysis.dimensionality import centred_rows
from dynaprobe.analysis.matrix import check_at_least, one_thread
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.stiefel import BlockOptimum, maximise_blocks, polar
from dynaprobe.analysis.subspace import check_varies, coords_along, fix_signs, n_for_fraction, numerical_rank
from dynaprobe.analysis.surrogates import fit_tme, p_value_above
from dynaprobe.core.errors import RatesError
from dynaprobe.core.random import generator
from dynaprobe.core.rates import check_rates, make_rates

EPOCHS = ("prep", "move")
SPACES = ("prep", "move", "shared")
Epochs = tuple[xr.DataArray, xr.DataArray]
# The first start is the leading PCs of both epochs, the others are random.
N_STARTS = 3
# Values of surrogates need no more digits than a comparison of them.
SURROGATE_TOLERANCE = 1e-5
MOST_PENALTY = 1e6


@dataclass(frozen=True)
class EpochSubspaces(Result):
    """Subspaces of the preparatory and the peri-movement epoch.

    Variables of `data`; dims ``epoch``: whose variance (prep, move); ``space``: in which subspace (prep, move, and
    shared, which is empty (0) for the orthogonal pair):
        orthogonal ``(epoch, space)``: share of the epoch's variance in the orthogonal pair.
        exclusive ``(epoch, space)``: share in the exclusive subspaces and the shared one.
        orthogonal_held_out, exclusive_held_out ``(split, epoch, space)``: shares of the variance that both halves
            of the trials have in common, in subspaces found on one of them; with halves.
        n_dims ``(space,)``: dimensions.
        index: mean over epochs of `orthogonal` in the own subspace over the most that so many axes could hold;
            1 where both epochs can have their best axes at once.
        null_index ``(draw,)``, p_value: of surrogates, and ``(1 + #{null >= index}) / (1 + n_surrogates)``.
        penalty: lambda of the exclusive subspaces.
        orthogonal_axes ``(pair_axis, unit)``, exclusive_axes ``(axis, unit)``: orthonormal; the coordinates
            ``pair_space`` and ``axis_space`` name the subspace of each.
        residual: largest relative projected gradient of the two optima, 0 when solved exactly.
    """


@dataclass(frozen=True)
class _Problem:
    """Covariances of both epochs, how much the best axes of each hold, and how many there are."""

    covariances: Sequence[np.ndarray]
    totals: Sequence[float]
    best: Sequence[float]
    sizes: Sequence[int]
    start: Float[np.ndarray, "unit axis"]

    def solve(self, penalty: float, starts: Sequence[np.ndarray], tolerance: float = 1e-8) -> BlockOptimum:
        """The best of several starts, for ``own share of the best - penalty * share of the other epoch``."""
        own = [C / best for C, best in zip(self.covariances, self.best, strict=True)]
        other = [C / total for C, total in zip(self.covariances, self.totals, strict=True)]
        forms = [own[0] - penalty * other[1], own[1] - penalty * other[0]]
        found = [maximise_blocks(forms, self.sizes, start, tolerance=tolerance) for start in starts]
        return max(found, key=lambda optimum: optimum.value)

    def shares(self, axes: np.ndarray, sizes: Sequence[int]) -> Float[np.ndarray, "epoch space"]:
        """Share of the variance of each epoch in each block of axes."""
        return _shares(self.covariances, axes, sizes)


@one_thread
def epoch_subspaces(
    prep: xr.DataArray,
    move: xr.DataArray,
    halves: Sequence[tuple[Epochs, Epochs]] = (),
    *,
    threshold: float = 0.8,
    max_dims: int = 4,
    leak: float = 0.01,
    n_surrogates: int = 0,
    seed: int = 0,
) -> EpochSubspaces:
    """Jointly optimised subspaces of two epochs.

    Orthogonal pair: ``[Q_1, Q_2]`` with orthonormal columns that maximises ``sum_e tr(Q_e^T C_e Q_e) / best_e``,
    C_e the covariance of epoch e over conditions and times without the mean over conditions, ``best_e`` the sum
    of its d_e largest eigenvalues. d_e is the smallest number of PCs with `threshold` of the epoch's variance, at
    most `max_dims`.

    Exclusive subspaces: the same with ``- lambda tr(Q_e^T C_o Q_e) / tr C_o`` for the other epoch o, and the
    smallest lambda (to 5 %) for which each subspace holds no more than `leak` of the other epoch's variance.
    Shared
    subspace: orthogonal to both, the leading min(d_1, d_2) eigenvectors of ``sum_e C_e / best_e`` in what is left.

    Held out: with a fitted on one half of the trials and both halves a, b the share is ``tr(Q^T K Q) / tr K``,
    ``K = a^T b``, to which noise that is independent between trials adds nothing on average.

    Chance: surrogates of both epochs joined along time, which keep means and covariances over times, units and
    conditions (TNC), have one covariance of units for both epochs. Few conditions and smooth time courses let
    even those look orthogonal; `p_value` asks whether the epochs are more so.

    Args:
        prep, move: rates of the two epochs, dims ``(condition, time, unit)``, the same units and conditions.
        halves: ``((prep_a, move_a), (prep_b, move_b))`` from disjoint halves of the trials.
        threshold: fraction of an epoch's variance.
        max_dims: cap of d_e; with K conditions at most K - 1 dimensions are tuned at a time.
        leak: largest share of the other epoch's variance in an exclusive subspace.
        n_surrogates: draws; 0 for none.
        seed: of random starts and surrogates.

    Raises:
        RatesError: rates outside the schema, different units or conditions, an epoch that does not vary, fewer
            units than axes, settings out of range.

    Source: orthogonal pair: Elsayed et al. (2016), Nature Communications 7:13239; exclusive and shared subspaces:
    Jiang et al. (2020), Cell Reports 32:108006, whose idea is kept (little variance of the other context); its
    formulation with a penalty, and the number of shared dimensions, are our choice.
    """
    _check_request(prep, move, max_dims, leak)
    check_at_least("n_surrogates", n_surrogates, 0)
    rows = tuple(_tuned(rates.values) for rates in (prep, move))
    problem = _problem(rows, threshold, max_dims)
    starts = [problem.start, *_random_starts(problem.start.shape, seed)]
    pair = problem.solve(0.0, starts)
    penalty, exclusive = _exclusive(problem, pair, starts, leak)
    sizes, sizes_all = problem.sizes, (*problem.sizes, min(problem.sizes))
    axes = _with_shared(problem, exclusive.axes, sizes_all[2])
    index = pair.value / 2
    found = problem.shares(exclusive.axes, sizes)
    failures = {} if max(found[0, 1], found[1, 0]) <= leak else {"leak that no penalty kept small enough": 1}
    data: dict[str, Any] = {
        "orthogonal": (("epoch", "space"), np.pad(problem.shares(pair.axes, sizes), ((0, 0), (0, 1)))),
        "exclusive": (("epoch", "space"), problem.shares(axes, sizes_all)),
        "n_dims": (("space",), list(sizes_all)),
        "index": index,
        "penalty": penalty,
        "orthogonal_axes": (("pair_axis", "unit"), _ordered(problem, pair.axes, sizes)),
        "exclusive_axes": (("axis", "unit"), _ordered(problem, axes, sizes_all)),
        "residual": max(pair.residual, exclusive.residual),
    }
    data |= _held_out_shares(_both_ways(halves, prep), sizes, penalty)
    if n_surrogates:
        null = _null(prep, move, sizes, n_surrogates, seed)
        data |= {"null_index": (("draw",), null), "p_value": p_value_above(index, null)}
    coords: dict[Any, Any] = {**coords_along(prep, "unit"), **_space_coords(sizes_all)}
    settings = {"threshold": threshold, "max_dims": max_dims, "leak": leak}
    return EpochSubspaces(
        xr.Dataset(data, coords=coords, attrs=dict(prep.attrs)),
        {**settings, "n_surrogates": n_surrogates, "seed": seed},
        failures,
    )


def _space_coords(sizes: Sequence[int]) -> dict[str, Any]:
    """Names of epochs and spaces, and the space of every axis."""
    return {
        "epoch": list(EPOCHS),
        "space": list(SPACES),
        "pair_space": ("pair_axis", np.repeat(SPACES[:2], sizes[:2])),
        "axis_space": ("axis", np.repeat(SPACES, sizes)),
    }


def _held_out_shares(
    halves: Sequence[tuple[Epochs, Epochs]], sizes: Sequence[int], penalty: float
) -> dict[str, Any]:
    """Held-out shares of every halving, both ways; nothing without halves."""
    found = list(zip(*(_held_out(half, sizes, penalty) for half in halves), strict=True))
    names = ("orthogonal_held_out", "exclusive_held_out")
    return {n: (("split", "epoch", "space"), np.array(values)) for n, values in zip(names, found, strict=False)}


def _tuned(values: np.ndarray) -> Float[np.ndarray, "sample unit"]:
    """Rows of what depends on the condition."""
    values = np.asarray(values, dtype=np.float64)
    tuned = values - values.mean(axis=0)
    # Round-off of the subtraction is no tuning.
    return centred_rows(tuned if np.abs(tuned).max() > 1e-12 * np.abs(values).max() else np.zeros_like(tuned))


def _problem(
    rows: Sequence[np.ndarray], threshold: float, max_dims: int, sizes: Sequence[int] | None = None
) -> _Problem:
    covariances = [X.T @ X / X.shape[0] for X in rows]
    spectra, tops, counts = [], [], []
    for k, C in enumerate(covariances):
        eigenvalues, vectors = np.linalg.eigh(C)
        falling = np.maximum(eigenvalues[::-1], 0.0)
        check_varies(falling, EPOCHS[k])
        d = sizes[k] if sizes else min(n_for_fraction(falling, threshold), max_dims, numerical_rank(falling))
        spectra.append(falling)
        tops.append(vectors[:, : -d - 1 : -1])
        counts.append(d)
    if sum(counts) > len(covariances[0]):
        raise RatesError(
            "max_dims",
            rule=f"leave room for both subspaces among {len(covariances[0])} units",
            received=counts,
            remedy="Lower max_dims or give more units",
        )
    best = [float(spectrum[:d].sum()) for spectrum, d in zip(spectra, counts, strict=True)]
    totals = [float(spectrum.sum()) for spectrum in spectra]
    # Where both epochs have the same axes, the nearest orthonormal ones are undefined: a nudge decides.
    start = polar(np.hstack(tops) + 1e-6 * np.eye(len(covariances[0]), sum(counts)))
    return _Problem(covariances, totals, best, counts, start)


def _random_starts(shape: tuple[int, ...], seed: int) -> list[np.ndarray]:
    random = generator(seed, "analysis", "epoch_subspaces", "starts")
    return [polar(random.standard_normal(shape)) for _ in range(N_STARTS - 1)]


def _exclusive(
    problem: _Problem, pair: BlockOptimum, starts: Sequence[np.ndarray], leak: float
) -> tuple[float, BlockOptimum]:
    """The smallest penalty with which both subspaces leak little enough, to 5 %, and its optimum."""

    def leaks(optimum: BlockOptimum) -> bool:
        found = problem.shares(optimum.axes, problem.sizes)
        return bool(max(found[0, 1], found[1, 0]) > leak)

    if not leaks(pair):
        return 0.0, pair
    low, high = 0.0, 1.0
    above = problem.solve(high, [pair.axes])
    while leaks(above) and high < MOST_PENALTY:
        low, high = high, 4 * high
        above = problem.solve(high, [above.axes])
    while high - low > 0.05 * high and high < MOST_PENALTY:
        middle = (low + high) / 2
        found = problem.solve(middle, [above.axes])
        low, high, above = (middle, high, above) if leaks(found) else (low, middle, found)
    # Only now all starts: along the way one optimum leads to the next.
    final = problem.solve(high, [above.axes, *starts])
    return high, above if leaks(final) and not leaks(above) else final


def _with_shared(problem: _Problem, axes: np.ndarray, n_shared: int) -> Float[np.ndarray, "unit axis"]:
    """The axes with those of the shared subspace after them, as far as units are left."""
    n_units = axes.shape[0]
    mixed = sum(C / best for C, best in zip(problem.covariances, problem.best, strict=True))
    outside = np.eye(n_units) - axes @ axes.T
    vectors = np.linalg.eigh(outside @ mixed @ outside)[1][:, ::-1]
    free = outside @ vectors[:, : min(n_shared, n_units - axes.shape[1])]
    return np.hstack([axes, np.linalg.qr(free)[0]]) if free.shape[1] else axes


def _shares(
    forms: Sequence[np.ndarray], axes: np.ndarray, sizes: Sequence[int]
) -> Float[np.ndarray, "epoch space"]:
    edges = np.cumsum(sizes)[:-1]
    blocks = np.split(axes, edges, axis=1)
    return np.array([[float(np.sum(Q * (C @ Q))) / float(np.trace(C)) for Q in blocks] for C in forms])


def _ordered(problem: _Problem, axes: np.ndarray, sizes: Sequence[int]) -> Float[np.ndarray, "axis unit"]:
    """Within each subspace the principal axes of its epoch (of both, where shared), signs as in `fix_signs`."""
    both = sum(C / best for C, best in zip(problem.covariances, problem.best, strict=True))
    forms = [*problem.covariances, both]
    blocks = []
    for Q, C in zip(np.split(axes, np.cumsum(sizes)[:-1], axis=1), forms, strict=False):
        turn = np.linalg.eigh(Q.T @ C @ Q)[1][:, ::-1]
        blocks.append(fix_signs((Q @ turn).T))
    return np.concatenate(blocks)


def _both_ways(halves: Sequence[tuple[Epochs, Epochs]], like: xr.DataArray) -> list[tuple[Epochs, Epochs]]:
    for pair in halves:
        for epochs in pair:
            _check_request(*epochs, max_dims=1, leak=0.5)
            if epochs[0].shape != like.shape:
                raise RatesError(
                    "halves",
                    rule=f"have the conditions, times and units of prep, {like.shape}",
                    received=epochs[0].shape,
                    remedy="Cut the same windows from the halves",
                )
    return [found for a, b in halves for found in ((a, b), (b, a))]


def _held_out(half: tuple[Epochs, Epochs], sizes: Sequence[int], penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the variance common to both halves, in the subspaces of the first."""
    (prep_a, move_a), (prep_b, move_b) = half
    a = [_tuned(rates.values) for rates in (prep_a, move_a)]
    b = [_tuned(rates.values) for rates in (prep_b, move_b)]
    common = [x.T @ y / x.shape[0] for x, y in zip(a, b, strict=True)]
    problem = _problem(a, 1.0, max(sizes), sizes)
    pair = problem.solve(0.0, [problem.start], SURROGATE_TOLERANCE)
    exclusive = problem.solve(penalty, [pair.axes], SURROGATE_TOLERANCE) if penalty else pair
    sizes_all = (*sizes, min(sizes))
    axes = _with_shared(problem, exclusive.axes, sizes_all[2])
    return np.pad(_shares(common, pair.axes, sizes), ((0, 0), (0, 1))), _shares(common, axes, sizes_all)


def _null(
    prep: xr.DataArray, move: xr.DataArray, sizes: Sequence[int], n: int, seed: int
) -> Float[np.ndarray, " draw"]:
    """The index of surrogates of both epochs joined along time."""
    parts = [np.asarray(rates.values, dtype=np.float64) for rates in (prep, move)]
    joined = np.concatenate([values - values.mean(axis=0) for values in parts], axis=1)
    template = make_rates(
        joined,
        dims=("condition", "time", "unit"),
        time_ms=np.arange(joined.shape[1]),
        event="both epochs, one after the other",
        rate_unit=prep.attrs["rate_unit"],
        source=str(prep.attrs.get("source", "")),
    )
    fit, edge = fit_tme(template), prep.sizes["time"]
    null = np.empty(n)
    for k in range(n):
        values = fit.draw_values(k, seed=seed)
        problem = _problem([_tuned(values[:, :edge]), _tuned(values[:, edge:])], 1.0, max(sizes), sizes)
        starts = [problem.start, *_random_starts(problem.start.shape, seed)]
        null[k] = problem.solve(0.0, starts, SURROGATE_TOLERANCE).value / 2
    return null


def _check_request(prep: xr.DataArray, move: xr.DataArray, max_dims: int, leak: float) -> None:
    for name, rates in zip(EPOCHS, (prep, move), strict=True):
        check_rates(rates, dims=("condition", "time", "unit"), name=name)
    for dim in ("condition", "unit"):
        alike = prep.sizes[dim] == move.sizes[dim]
        if alike and dim in prep.coords and dim in move.coords:
            alike = bool((prep[dim].values == move[dim].values).all())
        if not alike:
            raise RatesError(
                "prep and move",
                rule=f"have the same {dim}s in the same order",
                received=f"{prep.sizes[dim]} and {move.sizes[dim]} {dim}s",
                remedy="Cut both windows from the same rates",
            )
    if max_dims < 1 or not 0 < leak < 1:
        raise RatesError(
            "max_dims and leak",
            rule="be at least 1 and lie in (0, 1)",
            received=(max_dims, leak),
            remedy="4 dimensions and a leak of 0.01 are usual",
        )
