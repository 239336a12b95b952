"""Does preparation avoid what drives the output? Tuning in the output-null and output-potent dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynaprobe.analysis.matrix import check_at_least, one_thread
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.subspace import (
    check_varies,
    coords_along,
    fix_signs,
    numerical_rank,
    principal_axes,
    samples,
)
from dynaprobe.core.errors import RatesError
from dynaprobe.core.random import generator
from dynaprobe.core.rates import check_rates

EPOCHS = ("prep", "move")
DIMENSIONS = ("null", "potent")


@dataclass(frozen=True)
class NullPotentResult(Result):
    """Tuning in the dimensions that drive an output and in those that do not.

    Variables of `data`; the dim ``dimension`` holds ``null`` and ``potent``:
        tuning ``(epoch, dimension)``: variance over conditions, mean over times, in the square of the rates' unit.
        share ``(epoch, dimension)``: of the tuning of all units in that epoch; with a regression the rest lies
            outside the k PCs.
        potent_fraction ``(epoch,)``: potent over null and potent.
        ratio: ``(null / potent in prep) / (null / potent in move)``; above 1 when preparation favours the null
            dimensions more than movement does.
        null_ratio ``(draw,)``, p_value: with random potent dimensions, and
            ``(1 + #{null >= ratio}) / (1 + n_null)``; with ``n_null > 0``.
        r2: share of the output's variance in the movement epoch that the readout explains.
        readout ``(output, unit)``: W.
        potent_axes ``(potent_axis, unit)``, null_axes ``(null_axis, unit)``: orthonormal; null axes within the
        PCs.
        n_dims ``(dimension,)``: how many.
    """


@one_thread
def null_potent(
    prep: xr.DataArray,
    move: xr.DataArray,
    *,
    readout: Float[np.ndarray, "output unit"] | None = None,
    output: Float[np.ndarray, "condition_out time_out channel"] | None = None,
    n_pcs: int = 6,
    n_outputs: int = 3,
    n_null: int = 1000,
    seed: int = 0,
) -> NullPotentResult:
    """Output-null and output-potent tuning.

    Where the readout is not known, it is found on the movement epoch: the rates of both epochs together are
    reduced to `n_pcs` principal components x, the output to its `n_outputs` leading ones m, and ``m = W x`` by
    least squares. The potent dimensions are the row space of W, the null dimensions the rest of the PCs. A known
    readout (that of a network) is taken as it is, and the null dimensions are the rest of all units.

    Tuning of an epoch in orthonormal axes D is ``mean over times of sum_d var over conditions (D x)_d``. The
    ratio compares null with potent in preparation, in units of the same in movement, as in the paper, so that
    neither the number of dimensions nor their size matters.

    Chance: as many potent axes are drawn from the movement's own tuned covariance, the orthonormalised columns of
    ``U S^(1/2) G`` (``U S U^T`` that covariance, in the PCs where there are such; G standard normal): readouts
    that movement drives as any other. The p-value asks whether preparation avoids the true readout more than
    those.

    Args:
        prep, move: rates of the two epochs, dims ``(condition, time, unit)``, the same units and conditions.
        readout: W ``(output, unit)`` for these units and this scale of rates; then no output is needed.
        output: what is driven during `move`, shape ``(condition, time, output)``: velocities or muscle activity at
            the same times (shift it by the lag from neurons to output beforehand).
        n_pcs, n_outputs: components of the regression; 6 and 3 in the paper.
        n_null: draws of potent dimensions; 0 for none.
        seed: of the draws.

    Raises:
        RatesError: rates outside the schema, neither or both of readout and output, shapes that do not fit, an
            output or a readout that is constant or zero, as many outputs as dimensions, an epoch that does not
            vary.

    Source: Kaufman et al. (2014), Nature Neuroscience 17:440.
    """
    _check_request(prep, move, n_null)
    _check_one_of(readout, output)
    joined = np.concatenate([samples(prep), samples(move)])
    mean = joined.mean(axis=0)
    axes, variance = principal_axes(joined - mean)
    check_varies(variance)
    if readout is not None:
        W = _checked_readout(readout, prep.sizes["unit"])
        basis, r2 = np.eye(prep.sizes["unit"]), float("nan")
    else:
        basis = axes[: min(n_pcs, numerical_rank(variance))]
        W, r2 = _regress(samples(move) - mean, basis, _checked_output(output, move), n_outputs)
    potent, null = _row_and_null_space(W, basis)
    tuned = [_tuned(rates) for rates in (prep, move)]
    for name, X in zip(EPOCHS, tuned, strict=True):
        check_varies(np.linalg.eigvalsh(X.T @ X)[::-1], name)
    tuning = np.array([[_held(X, D) for D in (null, potent)] for X in tuned])
    total = np.array([_held(X, np.eye(X.shape[1])) for X in tuned])
    data: dict[str, Any] = {
        "tuning": (("epoch", "dimension"), tuning),
        "share": (("epoch", "dimension"), tuning / total[:, None]),
        "potent_fraction": (("epoch",), tuning[:, 1] / tuning.sum(axis=1)),
        "ratio": _ratio(tuning),
        "r2": r2,
        "readout": (("output", "unit"), W),
        "potent_axes": (("potent_axis", "unit"), fix_signs(potent)),
        "null_axes": (("null_axis", "unit"), fix_signs(null)),
        "n_dims": (("dimension",), [len(null), len(potent)]),
    }
    if n_null:
        ratios = _null_ratios(tuned, basis, len(potent), n_null, seed)
        data["null_ratio"] = (("draw",), ratios)
        data["p_value"] = (1 + int((ratios >= data["ratio"]).sum())) / (1 + n_null)
    coords = {**coords_along(prep, "unit"), "epoch": list(EPOCHS), "dimension": list(DIMENSIONS)}
    settings = {"n_pcs": n_pcs, "n_outputs": n_outputs, "given_readout": readout is not None}
    dataset = xr.Dataset(data, coords=coords, attrs=dict(prep.attrs))
    return NullPotentResult(dataset, {**settings, "n_null": n_null, "seed": seed})


def _regress(
    X: Float[np.ndarray, "sample unit"], basis: np.ndarray, output: np.ndarray, n_outputs: int
) -> tuple[Float[np.ndarray, "output unit"], float]:
    """Least squares from PCs to the leading components of the output, as weights of the units, and its R2."""
    Y = output.reshape(-1, output.shape[-1])
    Y = Y - Y.mean(axis=0)
    directions, variance = principal_axes(Y)
    check_varies(variance, "output")
    kept = min(n_outputs, numerical_rank(variance))
    m, x = Y @ directions[:kept].T, X @ basis.T
    x = x - x.mean(axis=0)
    weights = np.linalg.lstsq(x, m, rcond=None)[0].T
    r2 = 1 - float(((m - x @ weights.T) ** 2).sum() / (m**2).sum())
    return weights @ basis, r2


def _row_and_null_space(
    W: Float[np.ndarray, "output unit"], basis: Float[np.ndarray, "k unit"]
) -> tuple[Float[np.ndarray, "potent unit"], Float[np.ndarray, "null unit"]]:
    inside = W @ basis.T
    _, singular, rows = np.linalg.svd(inside)
    rank = numerical_rank(singular**2)
    if not 0 < rank < basis.shape[0]:
        raise RatesError(
            "readout",
            rule=f"have between 1 and {basis.shape[0] - 1} independent rows, so that null dimensions are left",
            received=rank,
            remedy="Use more principal components or fewer outputs, and a readout that is not zero",
        )
    return rows[:rank] @ basis, rows[rank:] @ basis


def _tuned(rates: xr.DataArray) -> Float[np.ndarray, "sample unit"]:
    """What depends on the condition, as rows."""
    values = np.asarray(rates.values, dtype=np.float64)
    tuned = values - values.mean(axis=0)
    # Round-off of the subtraction is no tuning.
    kept = tuned if np.abs(tuned).max() > 1e-12 * np.abs(values).max() else np.zeros_like(tuned)
    rows: Float[np.ndarray, "sample unit"] = kept.reshape(-1, values.shape[-1])
    return rows


def _held(X: np.ndarray, axes: np.ndarray) -> float:
    return float(((X @ axes.T) ** 2).sum() / X.shape[0])


def _ratio(tuning: Float[np.ndarray, "*draw epoch dimension"]) -> Any:
    """``(null / potent in prep) / (null / potent in move)``; infinite where preparation is all null."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return (tuning[..., 0, 0] / tuning[..., 0, 1]) / (tuning[..., 1, 0] / tuning[..., 1, 1])


def _null_ratios(
    tuned: list[np.ndarray], basis: np.ndarray, n_potent: int, n_null: int, seed: int
) -> Float[np.ndarray, " draw"]:
    inside = [X @ basis.T for X in tuned]
    axes, variance = principal_axes(inside[1])
    random = generator(seed, "analysis", "null_potent", "readouts")
    G = random.standard_normal((n_null, axes.shape[0], n_potent))
    drawn = np.linalg.qr(axes.T @ (np.sqrt(variance)[:, None] * G))[0]
    covariances = np.stack([X.T @ X / X.shape[0] for X in inside])
    potent = np.einsum("nkd,ekl,nld->ne", drawn, covariances, drawn, optimize=True)
    total = np.trace(covariances, axis1=1, axis2=2)
    # Round-off may leave a hair below nothing where a random axis holds everything.
    null = np.maximum(total - potent, 0.0)
    ratios: Float[np.ndarray, " draw"] = _ratio(np.stack([null, potent], axis=-1))
    return ratios


def _check_request(prep: xr.DataArray, move: xr.DataArray, n_null: int) -> None:
    check_at_least("n_null", n_null, 0)
    for name, rates in zip(EPOCHS, (prep, move), strict=True):
        check_rates(rates, dims=("condition", "time", "unit"), name=name)
        if rates.sizes["condition"] < 2:
            raise RatesError(
                f"{name}.condition",
                rule="have at least 2 entries",
                received=rates.sizes["condition"],
                remedy="Tuning is variance over conditions; give all of them",
            )
    for dim in ("condition", "unit"):
        if prep.sizes[dim] != move.sizes[dim]:
            raise RatesError(
                "prep and move",
                rule=f"have the same {dim}s in the same order",
                received=f"{prep.sizes[dim]} and {move.sizes[dim]} {dim}s",
                remedy="Cut both windows from the same rates",
            )


def _check_one_of(readout: Any, output: Any) -> None:
    if (readout is None) == (output is None):
        raise RatesError(
            "readout or output",
            rule="be given, one of them",
            received="neither" if readout is None else "both",
            remedy="Give the weights of a network's readout, or what the neurons drive",
        )


def _checked_readout(readout: np.ndarray, n_units: int) -> Float[np.ndarray, "output unit"]:
    W = np.asarray(readout, dtype=np.float64)
    if W.ndim != 2 or W.shape[1] != n_units or not np.isfinite(W).all() or not W.any():
        raise RatesError(
            "readout",
            rule=f"be weights of shape (outputs, {n_units}), finite and not all zero",
            received=f"shape {W.shape}",
            remedy="Weights are [post, pre]: one row per output, one column per unit of the rates",
        )
    return W


def _checked_output(output: Any, move: xr.DataArray) -> Float[np.ndarray, "condition time output"]:
    Y = np.asarray(output, dtype=np.float64)
    if Y.ndim != 3 or Y.shape[:2] != move.shape[:2] or not np.isfinite(Y).all():
        raise RatesError(
            "output",
            rule=f"be finite, of shape (condition, time, output) with the {move.shape[:2]} of move",
            received=f"shape {Y.shape}",
            remedy="Average the output over the trials of a condition in the same bins as the rates",
        )
    return Y
