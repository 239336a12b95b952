"""Cross-validated canonical correlation of two populations, between a surrogate floor and a split-half ceiling.

Two populations that run through the same conditions and times are compared by the directions along which their
activity agrees best (Sussillo et al. 2015, Nature Neuroscience 18:1025). Canonical directions overfit, so they
are found on some conditions and judged on the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.linalg import eigh

from dynaprobe.analysis.matrix import (
    MOST_FOLDS,
    ConditionMean,
    check_at_least,
    check_choice,
    check_matched,
    condition_folds,
    one_thread,
    psth_values,
)
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.subspace import RANK_TOLERANCE, fix_signs
from dynaprobe.analysis.surrogates import fit_tme, normalised_score, p_value_above
from dynaprobe.core.errors import SettingsError


@dataclass(frozen=True)
class CcaSimilarity(Result):
    """Canonical correlations of two populations.

    Variables of `data`:
        correlation (component): on conditions that had no part in finding the directions.
        correlation_in_sample (component): with PCs and directions found on all conditions; descending.
        score: mean of `correlation` over components.
        variance_a, variance_b: fraction of the variance of each side held by its PCs.
    """


@dataclass(frozen=True)
class CcaBounds(Result):
    """Canonical correlations with what chance and what a perfect match would give.

    Every score is a mean over components of held-out correlations. The score, the floor and the ceiling are all
    measured against halves of the recording, so that its noise enters all three alike.

    Variables of `data`:
        correlation (component), correlation_in_sample (component), score: against the whole recording.
        correlation_halves (component), score_halves: against each half of the recording, mean over halves.
        floor (draw): score of each surrogate of `a` against the same halves.
        floor_correlation (draw, component): the correlations behind it.
        ceiling (split): score of one half against the other.
        ceiling_correlation (split, component): the correlations behind it.
        ceiling_noiseless (split): mean of the square roots of these correlations; what a perfect model without
            noise of its own would reach, for only one of the two sides is then noisy.
        p_value: of `score_halves` against the floor, ``(k + 1) / (n + 1)``.
        normalised: ``(score_halves - mean floor) / (mean ceiling - mean floor)``; NaN where there is no room.
        normalised_noiseless: the same with `ceiling_noiseless`.
    """


@dataclass(frozen=True)
class WhitenedFolds:
    """One population, whitened once per fold: comparing two sides is then only a small product.

    Attributes:
        train: orthonormal scores of the training rows in each fold, ``(row, pc)``.
        test: scores of the held-out rows in the same coordinates, ``(row, pc)``.
    """

    train: list[np.ndarray]
    test: list[np.ndarray]


@one_thread
def cca_similarity(
    a: xr.DataArray,
    b: xr.DataArray,
    *,
    n_pcs: int | None = 6,
    n_components: int | None = None,
    condition_mean: ConditionMean = "subtract",
    n_folds: int | None = None,
) -> CcaSimilarity:
    """Cross-validated canonical correlations of two populations with matched conditions and times.

    With U_a, U_b the orthonormal scores of the training rows (condition x time) on the leading PCs of each side,
    ``U_a' U_b = P diag(rho) Q'``; rho are the in-sample correlations. The held-out rows x, y of every fold are
    projected on the same directions and pooled: ``sum x y / sqrt(sum x^2 sum y^2)``, with no mean removed but that
    of training. Turning both directions of a pair leaves it as it is; P is turned so that the largest entry of
    each column is positive, Q with it, and components are in the order of rho.

    Args:
        a, b: rates with dims ``(condition, time, unit)``; units need not match.
        n_pcs: PCs kept on each side; None keeps all, and the result is then the same for any invertible linear
            map of the units, in-sample exactly.
        n_components: canonical components reported and averaged; None takes all.
        condition_mean: "subtract" removes the mean over training conditions at each time and unit, so that a time
            course shared by all conditions does not count as agreement; "keep" removes only the mean over rows.
        n_folds: folds of conditions; None leaves out one condition at a time.

    Raises:
        RatesError: when conditions or times do not match, or there are fewer than 3 conditions.
        SettingsError: when more PCs or components are asked for than there are.

    Source: Hotelling 1936, Biometrika 28:321; computed as in Björck & Golub 1973, Math. Comput. 27:579.
    """
    check_matched(a, b, names=("a", "b"))
    values = [psth_values(a, "a"), psth_values(b, "b")]
    n_components = _check_sizes(values, n_pcs, n_components, condition_mean)
    folds = condition_folds(values[0].shape[0], n_folds)
    sides = [whiten_folds(side, folds, n_pcs, condition_mean) for side in values]
    held_out = held_out_correlations(sides[0], sides[1], n_components)
    wholes, variances = zip(*(_prepare_whole(side, n_pcs, condition_mean) for side in values), strict=True)
    in_sample = canonical_directions(*wholes)[1][:n_components]
    data = xr.Dataset(
        {
            "correlation": ("component", held_out),
            "correlation_in_sample": ("component", np.pad(in_sample, (0, n_components - in_sample.size))),
            "score": ((), float(held_out.mean())),
            "variance_a": ((), variances[0]),
            "variance_b": ((), variances[1]),
        },
        coords={"component": np.arange(1, n_components + 1)},
    )
    settings = {
        "n_pcs": n_pcs,
        "n_components": n_components,
        "condition_mean": condition_mean,
        "n_folds": len(folds),
    }
    return CcaSimilarity(data, settings, _missing(wholes, ("a", "b"), n_components))


@one_thread
def cca_with_bounds(
    a: xr.DataArray,
    b: xr.DataArray,
    *,
    halves_b: Sequence[tuple[xr.DataArray, xr.DataArray]],
    seed: int,
    n_floor: int = 100,
    n_pcs: int | None = 6,
    n_components: int | None = None,
    condition_mean: ConditionMean = "subtract",
) -> CcaBounds:
    """Held-out canonical correlations of a model with a recording, between floor and ceiling.

    Args:
        a: the model, dims ``(condition, time, unit)``.
        b: the recording, its PSTHs over all trials.
        halves_b: PSTHs over two halves of the trials of the recording, for one or more random splits.
        seed: names the stream of the surrogates.
        n_floor: tensor maximum entropy surrogates of `a`, keeping time, units and conditions.
        n_pcs, n_components, condition_mean: as in `cca_similarity`; one condition is left out at a time.

    Raises:
        RatesError, SettingsError: as `cca_similarity`; also when no halves are given.
    """
    check_at_least("len(halves_b)", len(halves_b), 1)
    check_at_least("n_floor", n_floor, 1)
    options = {"n_pcs": n_pcs, "n_components": n_components, "condition_mean": condition_mean}
    whole = cca_similarity(a, b, n_pcs=n_pcs, n_components=n_components, condition_mean=condition_mean)
    n_kept = whole.data.sizes["component"]
    folds = condition_folds(a.sizes["condition"], None)
    pairs = []
    for split in halves_b:
        for k, half in enumerate(split):
            check_matched(a, half, names=("a", f"halves_b[..][{k}]"))
            _check_sizes([psth_values(half)], n_pcs, n_components, condition_mean)
        pairs.append([whiten_folds(psth_values(half), folds, n_pcs, condition_mean) for half in split])
    halves = _stacked([side for pair in pairs for side in pair])

    def against_halves(values: np.ndarray) -> np.ndarray:
        side = whiten_folds(values, folds, n_pcs, condition_mean)
        scores = [held_out_correlations(side, stack, n_kept) for stack in halves]
        mean: np.ndarray = np.concatenate([np.atleast_2d(found) for found in scores]).mean(axis=0)
        return mean

    surrogates = fit_tme(a)
    model = against_halves(psth_values(a))
    floor = np.array([against_halves(surrogates.draw_values(k, seed=seed)) for k in range(n_floor)])
    ceiling = np.array([held_out_correlations(first, second, n_kept) for first, second in pairs])
    numbers, failures = _bounds(model, floor, ceiling)
    settings = {
        **whole.settings,
        **options,
        "n_components": n_kept,
        "n_floor": n_floor,
        "keep": "TNC",
        "seed": seed,
    }
    return CcaBounds(whole.data.assign(numbers), settings, {**whole.failures, **failures})


def _bounds(
    model: Float[np.ndarray, " component"],
    floor: Float[np.ndarray, "draw component"],
    ceiling: Float[np.ndarray, "split component"],
) -> tuple[dict[str, Any], dict[str, int]]:
    score, chance, best = float(model.mean()), floor.mean(axis=1), ceiling.mean(axis=1)
    # With independent noise, corr(half, half) = reliability and corr(truth, half) = its square root.
    noiseless = np.sqrt(np.clip(ceiling, 0, None)).mean(axis=1)
    normalised, failures = normalised_score(score, floor=float(chance.mean()), ceiling=float(best.mean()))
    upper, _ = normalised_score(score, floor=float(chance.mean()), ceiling=float(noiseless.mean()))
    numbers: dict[str, Any] = {
        "correlation_halves": ("component", model),
        "score_halves": ((), score),
        "floor": ("draw", chance),
        "floor_correlation": (("draw", "component"), floor),
        "ceiling": ("split", best),
        "ceiling_correlation": (("split", "component"), ceiling),
        "ceiling_noiseless": ("split", noiseless),
        "p_value": ((), p_value_above(score, chance)),
        "normalised": ((), normalised),
        "normalised_noiseless": ((), upper),
    }
    return numbers, failures


def _check_sizes(
    values: list[np.ndarray], n_pcs: int | None, n_components: int | None, condition_mean: str
) -> int:
    """Check what is asked for against what there is; the number of components to report."""
    check_choice("condition_mean", condition_mean, ("subtract", "keep"))
    # Two conditions must be left for training: with one, nothing remains after its mean is removed.
    check_at_least("number of conditions", values[0].shape[0], 3)
    most = min(int(side.shape[2]) for side in values)
    if n_pcs is not None:
        _check_between("n_pcs", n_pcs, most, "units on the smaller side")
        most = n_pcs
    if n_components is None:
        return most
    _check_between("n_components", n_components, most, "dimensions kept on the smaller side")
    return n_components


def _check_between(name: str, value: int, most: int, what: str) -> None:
    if not 1 <= value <= most:
        raise SettingsError(
            name,
            rule=f"lie between 1 and {most}, the number of {what}",
            received=value,
            remedy="Ask for fewer or bring more units",
        )


def whiten_folds(
    values: Float[np.ndarray, "condition time unit"],
    folds: list[np.ndarray],
    n_pcs: int | None,
    condition_mean: str,
) -> WhitenedFolds:
    """Whiten one population in every fold."""
    train, test = [], []
    tuned = values - values.mean(axis=0)
    whole = _rows(tuned).T @ _rows(tuned) if condition_mean == "subtract" else None
    for left_out in folds:
        kept = np.delete(values, left_out, axis=0)
        mean = kept.mean(axis=0) if condition_mean == "subtract" else kept.mean(axis=(0, 1))
        covariance = None if whole is None else _without(whole, tuned[left_out], len(kept))
        scores, to_scores, _ = whiten_rows(_rows(kept - mean), n_pcs, covariance)
        train.append(scores)
        test.append(_rows(values[left_out] - mean) @ to_scores)
    return WhitenedFolds(train, test)


def _prepare_whole(
    values: Float[np.ndarray, "condition time unit"], n_pcs: int | None, condition_mean: str
) -> tuple[np.ndarray, float]:
    """Orthonormal scores of all rows, and the fraction of variance they hold."""
    mean = values.mean(axis=0) if condition_mean == "subtract" else values.mean(axis=(0, 1))
    scores, _, variance = whiten_rows(_rows(values - mean), n_pcs)
    return scores, variance


def _rows(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1, values.shape[-1])


def _without(
    whole: Float[np.ndarray, "unit unit"], left_out: Float[np.ndarray, "fold time unit"], n_kept: int
) -> Float[np.ndarray, "unit unit"]:
    """Products of the conditions kept, about their own mean: those of all less what the others add to them.

    With x about the mean of all conditions, ``sum over kept of (x - m)(x - m)' = sum over all of x x' - sum over
    left out of x x' - s s' / n_kept`` at every time, s the sum of those left out and ``m = -s / n_kept``.
    """
    rows, total = _rows(left_out), left_out.sum(axis=0)
    kept: np.ndarray = whole - rows.T @ rows - total.T @ total / n_kept
    return kept


def whiten_rows(
    rows: np.ndarray, n_pcs: int | None, covariance: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Orthonormal PC scores of centred rows, the map ``[unit, pc]`` that makes them, and the variance they hold.

    `covariance` is ``rows' rows`` where it is known already.

    Directions without variance are left out, so there may be fewer than `n_pcs`.
    """
    n_rows, n_units = rows.shape
    total = float((rows**2).sum())
    if total == 0:
        return np.zeros((n_rows, 0)), np.zeros((n_units, 0)), 0.0
    axes = np.eye(n_units)
    if n_pcs is not None and n_pcs < n_units < n_rows:
        # A few leading PCs come faster from the covariance; the SVD below restores the digits that squaring cost.
        products = rows.T @ rows if covariance is None else covariance
        axes = eigh(products, subset_by_index=(n_units - n_pcs, n_units - 1))[1]
    left, singular, right = np.linalg.svd(rows @ axes, full_matrices=False)
    n = int((singular > RANK_TOLERANCE * np.sqrt(total)).sum())
    n = n if n_pcs is None else min(n, n_pcs)
    return left[:, :n], axes @ (right[:n].T / singular[:n]), float((singular[:n] ** 2).sum()) / total


def prepare_cca(rates: xr.DataArray, *, n_pcs: int = 6) -> tuple[WhitenedFolds, int]:
    """One side of `compare_cca`, and the most components it has room for.

    At most `n_pcs` PCs, or as many as there are units. The mean over conditions is removed, after which so many
    conditions span one dimension fewer at a time: no more components are averaged. At most `MOST_FOLDS` folds.
    """
    values = psth_values(rates)
    n_pcs = min(n_pcs, values.shape[2])
    _check_sizes([values], n_pcs, None, "subtract")
    n_conditions = values.shape[0]
    folds = condition_folds(n_conditions, min(n_conditions, MOST_FOLDS))
    return whiten_folds(values, folds, n_pcs, "subtract"), min(n_pcs, n_conditions - 1)


def compare_cca(a: tuple[WhitenedFolds, int], b: tuple[WhitenedFolds, int]) -> float:
    """Mean held-out correlation of two sides from `prepare_cca`."""
    return float(held_out_correlations(a[0], b[0], min(a[1], b[1])).mean())


def held_out_correlations(a: WhitenedFolds, b: WhitenedFolds, n_components: int) -> np.ndarray:
    """Held-out correlations of two prepared sides, ``(*side, component)`` where b is a stack of sides.

    They are 0 for components that a side has no room for.
    """
    shape = (*b.train[0].shape[:-2], n_components)
    cross, power_a, power_b = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for train_a, train_b, test_a, test_b in zip(a.train, b.train, a.test, b.test, strict=True):
        p, _, q = canonical_directions(train_a, train_b)
        n = min(n_components, p.shape[-1])
        x, y = test_a @ p[..., :n], test_b @ q[..., :n]
        cross[..., :n] += (x * y).sum(axis=-2)
        power_a[..., :n] += (x**2).sum(axis=-2)
        power_b[..., :n] += (y**2).sum(axis=-2)
    power = np.sqrt(power_a * power_b)
    correlation: np.ndarray = np.divide(cross, power, out=np.zeros_like(cross), where=power > 0)
    return correlation


def _stacked(sides: list[WhitenedFolds]) -> list[WhitenedFolds]:
    """The sides as one stack, or each alone where they do not have as many PCs in every fold."""
    if len({tuple(fold.shape for fold in side.train) for side in sides}) > 1:
        return sides
    train, test = (
        [np.stack(folds) for folds in zip(*(getattr(side, name) for side in sides), strict=True)]
        for name in ("train", "test")
    )
    return [WhitenedFolds(train, test)]


def canonical_directions(
    scores_a: Float[np.ndarray, "row i"], scores_b: Float[np.ndarray, "*side row j"]
) -> tuple[
    Float[np.ndarray, "*side i component"],
    Float[np.ndarray, "*side component"],
    Float[np.ndarray, "*side j component"],
]:
    """Directions P, Q and correlations rho of two sets of orthonormal scores: ``U_a' U_b = P diag(rho) Q'``.

    Correlations descend; in each column of P the entry of largest size is positive, and Q is turned along.
    """
    p, rho, q = np.linalg.svd(scores_a.T @ scores_b, full_matrices=False)
    turned = fix_signs(p.swapaxes(-1, -2)).swapaxes(-1, -2) if p.size else p
    turn = np.sign((turned * p).sum(axis=-2, keepdims=True))
    # Round-off may carry a perfect correlation beyond 1.
    return turned, np.minimum(rho, 1.0), q.swapaxes(-1, -2) * turn


def _missing(scores: Sequence[np.ndarray], names: tuple[str, str], n_components: int) -> dict[str, int]:
    """Components that a side could not fill, by reason."""
    lacking = {
        f"component of {name} without variance, its correlation counted as 0": n_components - side.shape[1]
        for side, name in zip(scores, names, strict=True)
    }
    return {reason: count for reason, count in lacking.items() if count > 0}
