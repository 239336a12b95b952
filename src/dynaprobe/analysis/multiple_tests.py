"""Many tests at once: false discoveries under control, and intervals of the fractions that are left."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.stats import binomtest

from dynaprobe.core.errors import RatesError, SettingsError

# Standardised statistics that differ by less are equal up to round-off.
TIE = 1e-9


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


def holm(p_values: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """Adjusted p-values: the chance that any true null is rejected at or below alpha is at most alpha.

    With the m p-values in rising order, ``p*(i) = max over j <= i of (m - j + 1) p(j)``, at most 1, whatever the
    tests have to do with one another.

    Args:
        p_values: one family; NaN (no test) stays NaN and does not count.

    Source: Holm 1979, Scand J Stat 6:65.
    """
    adjusted = np.array(p_values, dtype=np.float64)
    tested = np.flatnonzero(np.isfinite(adjusted))
    order = tested[np.argsort(adjusted[tested], kind="stable")]
    raised = adjusted[order] * np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(raised), 1.0)
    return adjusted


def standardised(
    statistics: Float[np.ndarray, "grouping test"],
) -> tuple[Float[np.ndarray, "grouping test"], Float[np.ndarray, " test"], Float[np.ndarray, " test"]]:
    """Statistics about their mean over groupings in their standard deviations, with both; NaN becomes infinite.

    All groupings are treated alike, the one that was seen among them, so a test that compares groupings stays
    exact.
    """
    known = np.isfinite(statistics)
    mean, spread = np.zeros((2, statistics.shape[1]))
    for k in range(statistics.shape[1]):
        column = statistics[known[:, k], k]
        if column.size:
            mean[k], spread[k] = column.mean(), column.std()
    # What never changes but by round-off says nothing.
    spread = np.where(spread > TIE * np.abs(mean), spread, np.inf)
    return np.where(known, (statistics - mean) / spread, np.inf), mean, spread


def max_t(statistics: Float[np.ndarray, "grouping test"]) -> Float[np.ndarray, " test"]:
    """Permutation p-values of several tests of one hypothesis, corrected for their number and their dependence.

    Row 0 holds the statistics as seen, the other rows those of groupings that are as likely under the null; large
    is against it. With z the statistics standardised over all rows, and tests in falling order of ``z[0]``,
    ``p*(i) = max over j <= i of the share of rows g with max over tests k from j on of z[g, k] >= z[0, j]``. Tests
    that always agree cost nothing, and p* can be as small as one over the number of rows however many tests there
    are. Under the null, any p* is at most alpha with a chance of at most alpha.

    Args:
        statistics: NaN among the groupings counts as large, so that what could not be computed makes no finding;
            a test that was not seen (NaN in row 0) stays NaN and does not count.

    Source: Westfall & Young 1993, Resampling-Based Multiple Testing, algorithm 4.1.
    """
    tested = np.flatnonzero(np.isfinite(statistics[0]))
    adjusted = np.full(statistics.shape[1], np.nan)
    if not tested.size:
        return adjusted
    scores = standardised(statistics[:, tested])[0]
    order = np.argsort(-scores[0], kind="stable")
    # The largest of every grouping among this test and those that were seen to be smaller.
    largest = np.maximum.accumulate(scores[:, order[::-1]], axis=1)[:, ::-1]
    shares = (largest >= scores[0, order] - TIE * np.maximum(1.0, np.abs(scores[0, order]))).mean(axis=0)
    adjusted[tested[order]] = np.maximum.accumulate(shares)
    return adjusted


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
