"""How well does each population predict the other? Ridge regression both ways, judged on held-out conditions."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynaprobe.analysis.matrix import (
    MOST_FOLDS,
    ConditionMean,
    check_choice,
    check_matched,
    condition_folds,
    one_thread,
    psth_values,
)
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.subspace import RANK_TOLERANCE

# Penalties tried, in units of the mean eigenvalue of the covariance of the predictors.
PENALTIES = tuple(10.0**k for k in range(-4, 4))
# What is used where too few conditions are left to choose.
FALLBACK = 1.0
Folds = tuple[int, ...]


@dataclass(frozen=True)
class LinearRegression(Result):
    """Fractions of variance predicted on held-out conditions.

    Variables of `data` (direction: "b_from_a", "a_from_b"):
        r2 (direction): of all units together, ``1 - sum of squared errors / sum of squares``; below 0 for a
            prediction worse than the mean over the conditions of training.
        r2_unit_b (unit_b), r2_unit_a (unit_a): of every unit of b from a, and of a from b; NaN for a unit that
            does not vary.
        penalty (direction, fold): the penalty chosen without the fold, in units of the mean eigenvalue of the
            predictors' covariance.
    """


@dataclass
class PreparedRegression:
    """One population with all that a regression from or to it needs again.

    Attributes:
        values: rates in double precision, about their mean over conditions and times.
        groups: conditions of every fold.
        per_time: whether means are taken over conditions at each time, or over times too.
    """

    values: Float[np.ndarray, "condition time unit"]
    groups: list[np.ndarray]
    per_time: bool
    _axes: dict[Folds, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    _test: dict[tuple[int, Folds], np.ndarray] = field(default_factory=dict)
    _own: _Products | None = None

    @property
    def own(self) -> _Products:
        """Products of the population with itself."""
        if self._own is None:
            self._own = _Products(self, self)
        return self._own

    def axes(self, without: Folds) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues and eigenvectors of the covariance of the folds that are kept."""
        if without not in self._axes:
            power, vectors = np.linalg.eigh(self.own.train[without])
            self._axes[without] = np.maximum(power, 0.0), vectors
        return self._axes[without]

    def test_power(self, fold: int, without: Folds) -> np.ndarray:
        """Second moments of a fold left out, in the axes of those that are kept."""
        if (fold, without) not in self._test:
            vectors = self.axes(without)[1]
            self._test[fold, without] = vectors.T @ self.own.test[fold, without] @ vectors
        return self._test[fold, without]


class _Products:
    """Products X'Y over the rows of training and of test, for one or two folds left out.

    Rows are centred on the mean of training. With ``P_f = sum over c in f of X_c' Y_c``, S_f the sum over the
    conditions of a fold and ``G_fg = S_f' S_g``, all of them are sums of P and G with few weights: in training
    ``sum P_f - sum G_fg / n``, in test ``P_i - sum (G_ig + G_gi) / n + n_i sum G_fg / n^2``.
    """

    def __init__(self, x: PreparedRegression, y: PreparedRegression) -> None:
        n_folds, p, q = len(x.groups), x.values.shape[2], y.values.shape[2]
        counts = np.array([group.size for group in x.groups], dtype=np.float64)
        counts *= 1 if x.per_time else x.values.shape[1]
        P = np.stack([_flat(x.values[group]).T @ _flat(y.values[group]) for group in x.groups])
        # (fold, time or 1, unit) as one matrix, so that all products of sums are one product.
        sums = [
            np.stack(
                [side.values[g].sum(axis=0 if x.per_time else (0, 1)).reshape(-1, n) for g in x.groups], axis=1
            )
            for side, n in ((x, p), (y, q))
        ]
        G = sums[0].reshape(-1, n_folds * p).T @ sums[1].reshape(-1, n_folds * q)
        basis = np.concatenate([P, G.reshape(n_folds, p, n_folds, q).swapaxes(1, 2).reshape(-1, p, q)])
        left_out = [(k,) for k in range(n_folds)] + list(combinations(range(n_folds), 2))
        tests = [(fold, without) for without in left_out for fold in without]
        weights = [_train_weights(without, counts) for without in left_out]
        weights += [_test_weights(fold, without, counts) for fold, without in tests]
        found = (np.stack(weights) @ basis.reshape(len(basis), -1)).reshape(-1, p, q)
        self.train: dict[Folds, np.ndarray] = dict(zip(left_out, found, strict=False))
        self.test: dict[tuple[int, Folds], np.ndarray] = dict(zip(tests, found[len(left_out) :], strict=True))


@one_thread
def linear_regression(
    a: xr.DataArray, b: xr.DataArray, *, condition_mean: ConditionMean = "subtract", n_folds: int | None = None
) -> LinearRegression:
    """Predict each population from the other, and score the prediction on conditions left out.

    ``W = (X'X + penalty s I)^-1 X'Y`` with X, Y ``(row, unit)`` the training rows (condition x time) of predictors
    and targets about their training mean, and s the mean eigenvalue of X'X. For every fold of conditions left out,
    the penalty among 1e-4 to 1e3 with the least squared error is chosen by leaving out each of the other folds
    in turn, so the fold that is scored has part neither in W nor in the penalty. With three folds there is nothing
    left to choose by, and the penalty is 1.

    Args:
        a, b: rates with dims ``(condition, time, unit)``; units need not match.
        condition_mean: "subtract" removes the mean over training conditions at each time and unit, so that a time
            course shared by all conditions is neither a predictor nor to be predicted; "keep" removes the mean
            over rows.
        n_folds: folds of conditions; None leaves out one at a time up to ten conditions, and makes ten folds of
            more.

    Raises:
        RatesError: when conditions or times do not match.
        SettingsError: when there are fewer than 3 conditions or folds than can be made.

    Source: Hoerl & Kennard 1970, Technometrics 12:55; nested cross-validation as in Stone 1974, JRSS B 36:111.
    """
    check_matched(a, b, names=("a", "b"))
    first, second = (
        prepare_regression(side, condition_mean=condition_mean, n_folds=n_folds, name=name)
        for name, side in (("a", a), ("b", b))
    )
    forth, back = _errors(first, second), _errors(second, first)
    failures = {
        f"unit of {name} that does not vary, without R2": int((powers == 0).sum())
        for name, (_, powers, _) in (("b", forth), ("a", back))
    }
    data = xr.Dataset(
        {
            "r2": ("direction", [_r2(*found[:2]) for found in (forth, back)]),
            "r2_unit_b": ("unit_b", _r2_units(*forth[:2])),
            "r2_unit_a": ("unit_a", _r2_units(*back[:2])),
            "penalty": (("direction", "fold"), [forth[2], back[2]]),
        },
        coords={"direction": ["b_from_a", "a_from_b"]},
    )
    settings = {"condition_mean": condition_mean, "n_folds": len(first.groups), "penalties": list(PENALTIES)}
    return LinearRegression(data, settings, {reason: count for reason, count in failures.items() if count})


def prepare_regression(
    rates: xr.DataArray,
    *,
    condition_mean: ConditionMean = "subtract",
    n_folds: int | None = None,
    name: str = "rates",
) -> PreparedRegression:
    """One side of a `linear_regression`, checked."""
    check_choice("condition_mean", condition_mean, ("subtract", "keep"))
    values = psth_values(rates, name)
    n_conditions = int(values.shape[0])
    groups = condition_folds(n_conditions, min(n_conditions, MOST_FOLDS) if n_folds is None else n_folds)
    centred = values - values.mean(axis=(0, 1))
    # Round-off left by a constant is no signal to predict.
    still = np.abs(centred).max(axis=(0, 1)) <= RANK_TOLERANCE * np.abs(values).max(axis=(0, 1))
    return PreparedRegression(np.where(still, 0.0, centred), groups, per_time=condition_mean == "subtract")


def compare_forth(a: PreparedRegression, b: PreparedRegression) -> float:
    """R2 of all units of b predicted from a."""
    return _r2(*_errors(a, b)[:2])


def compare_back(a: PreparedRegression, b: PreparedRegression) -> float:
    """R2 of all units of a predicted from b."""
    return _r2(*_errors(b, a)[:2])


def _errors(x: PreparedRegression, y: PreparedRegression) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Squared errors and squares of every target unit over all folds, and the penalty of every fold."""
    products = _Products(x, y)
    n_folds = len(x.groups)
    # Errors of the penalties in every pair of a fold tested and a set of folds left out.
    tried = {key: _error_of_penalties(x, y, products, *key) for key in products.test if len(key[1]) == 2}
    errors, powers, chosen = np.zeros(y.values.shape[2]), np.zeros(y.values.shape[2]), []
    for out in range(n_folds):
        inner = sum(error for (fold, without), error in tried.items() if out in without and fold != out)
        penalty = PENALTIES[int(np.argmin(inner))] if n_folds > 3 else FALLBACK
        key = (out, (out,))
        gain, A, B, M = _in_axes(x, products, *key, penalties=(penalty,))
        W = gain[0][:, None] * A
        power = np.diag(y.own.test[key])
        errors += power - 2 * (W * B).sum(axis=0) + (W * (M @ W)).sum(axis=0)
        powers += power
        chosen.append(penalty)
    return errors, np.maximum(powers, 0.0), chosen


def _error_of_penalties(
    x: PreparedRegression, y: PreparedRegression, products: _Products, fold: int, without: Folds
) -> np.ndarray:
    """Squared error of a test fold for every penalty: a quadratic form in the shrinkage of each axis."""
    gain, A, B, M = _in_axes(x, products, fold, without, penalties=PENALTIES)
    linear = (A * B).sum(axis=1)
    quadratic = M * (A @ A.T)
    power = np.trace(y.own.test[fold, without])
    return np.asarray(power - 2 * gain @ linear + ((gain @ quadratic) * gain).sum(axis=1))


def _in_axes(
    x: PreparedRegression, products: _Products, fold: int, without: Folds, *, penalties: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Shrunken inverse eigenvalues by penalty, and products of training, of test, and of the test predictors."""
    power, vectors = x.axes(without)
    total = power.mean()
    divisor = power + np.asarray(penalties)[:, None] * total
    gain = np.divide(1.0, divisor, out=np.zeros_like(divisor), where=divisor > 0)
    return (
        gain,
        vectors.T @ products.train[without],
        vectors.T @ products.test[fold, without],
        x.test_power(fold, without),
    )


def _train_weights(without: Folds, counts: np.ndarray) -> np.ndarray:
    kept = np.ones(counts.size)
    kept[list(without)] = 0
    n = float(kept @ counts)
    return np.concatenate([kept, (-np.outer(kept, kept) / n).ravel()])


def _test_weights(fold: int, without: Folds, counts: np.ndarray) -> np.ndarray:
    kept, own = np.ones(counts.size), np.zeros(counts.size)
    kept[list(without)] = 0
    own[fold] = 1
    n = float(kept @ counts)
    square = -(np.outer(own, kept) + np.outer(kept, own)) / n + counts[fold] / n**2 * np.outer(kept, kept)
    return np.concatenate([own, square.ravel()])


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1, values.shape[-1])


def _r2(errors: np.ndarray, powers: np.ndarray) -> float:
    total = float(powers.sum())
    return 1 - float(errors.sum()) / total if total > 0 else float("nan")


def _r2_units(errors: np.ndarray, powers: np.ndarray) -> np.ndarray:
    missed: np.ndarray = np.divide(errors, powers, out=np.full_like(errors, np.nan), where=powers > 0)
    return 1 - missed
