"""Many tests at once: false discoveries under control, and intervals of the fractions that are left."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.stats import binomtest

from dynaprobe.core.errors import RatesError, SettingsError


def benjamini_hochberg(p_values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Adjusted p-values: those at or below q have an expected share of false discoveries of at most q.

    With the m p-values in rising order, ``q(i) = min over j >= i of m p(j) / j``, at most 1. Holds for independent
    tests and for tests with positive dependence.

    Args:
        p_values: of any shape, all one family; NaN (no test) stays NaN and does not count.

    Raises:
        RatesError: when a p-value lies outside [0, 1].

    Source: Benjamini & Hochberg 1995, J R Stat Soc B 57:289.
    """
    flat = p_values.ravel()
    tested = np.isfinite(flat)
    given = flat[tested]
    if given.size and (given.min() < 0 or given.max() > 1):
        raise RatesError(
            "p_values",
            rule="lie in [0, 1]",
            received=[float(given.min()), float(given.max())],
            remedy="Hand over p-values, not test statistics",
        )
    order = np.argsort(given)
    raised = given[order] * given.size / np.arange(1, given.size + 1)
    adjusted = np.full(flat.shape, np.nan)
    adjusted[np.flatnonzero(tested)[order]] = np.minimum(np.minimum.accumulate(raised[::-1])[::-1], 1.0)
    return adjusted.reshape(p_values.shape)


def wilson_interval(count: int, n: int, confidence: float) -> tuple[float, float, float]:
    """The fraction ``count / n`` with its Wilson interval (1927, JASA 22:209); NaN where n is 0."""
    if n == 0:
        return float("nan"), float("nan"), float("nan")
    low, high = binomtest(int(count), int(n)).proportion_ci(confidence, method="wilson")
    return count / n, float(low), float(high)


def check_fraction(name: str, value: float) -> None:
    """Check that a setting lies strictly between 0 and 1."""
    if not 0 < value < 1:
        raise SettingsError(
            name, rule="lie between 0 and 1", received=value, remedy="Give a fraction such as 0.05"
        )


def two_sided_p(score: float, null: Float[np.ndarray, " draw"]) -> float:
    """Chance of a score at least as far out on its side of the null, doubled.

    ``2 min(p above, p below)``, at most 1. Each side counts as ``(k + 1) / (n + 1)``.
    """
    above, below = int(np.sum(null >= score)), int(np.sum(null <= score))
    return min(1.0, 2 * (min(above, below) + 1) / (null.size + 1))
