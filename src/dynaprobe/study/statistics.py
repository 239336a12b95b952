"""Intervals over seeds. Statistics always speak of members: one network is one observation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats


class Interval(NamedTuple):
    """A mean with its confidence interval and the number of observations behind it."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        if self.n == 0:
            return "no network"
        if not np.isfinite(self.low):
            return f"{self.mean:.2f} (one network, no interval)"
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"


def mean_interval(values: np.ndarray, *, level: float = 0.95, n_comparisons: int = 1) -> Interval:
    """Student's interval of a mean over members.

        mean +- t(1 - (1 - level) / (2 m); n - 1) sd / sqrt(n)

    Args:
        values: one number per member; NaN are left out.
        level: confidence over all comparisons together.
        n_comparisons: m, the number of intervals that are looked at side by side (Bonferroni).

    Returns:
        The interval; its ends are infinite for a single member, whose spread is unknown.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    n = int(values.size)
    if n == 0:
        return Interval(float("nan"), float("-inf"), float("inf"), 0)
    mean = float(values.mean())
    if n == 1:
        return Interval(mean, float("-inf"), float("inf"), 1)
    error = float(values.std(ddof=1)) / np.sqrt(n)
    reach = float(stats.t.ppf(1 - (1 - level) / (2 * n_comparisons), n - 1)) * error
    return Interval(mean, mean - reach, mean + reach, n)
