"""A score with its error, and what the error is owed to: units, trials or networks of either side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats
from scipy.special import expit

from dynaprobe.analysis.measures import Measure

UNITS_AND_TRIALS = "units and trials"
NETWORKS = "networks"
# Of which exp is still a number.
LARGEST_EXPONENT = 700.0
# What an error may be owed to.
SOURCES = tuple(f"{what}_{side}" for side in ("first", "second") for what in ("units", "trials", "networks"))


@dataclass(frozen=True)
class Estimate:
    """A number with the influences that make its error.

    The variance is the sum of squares of all influences. An influence belongs to one group of units, one halving
    of trials or one network, so that the error of a difference of two scores that share a side is that of the
    differences of their influences.

    Attributes:
        value: the number.
        influences: by source; see `SOURCES`.
        dof: degrees of freedom by source.
    """

    value: float
    influences: Mapping[str, Float[np.ndarray, " element"]]
    dof: Mapping[str, float]

    @property
    def variances(self) -> dict[str, float]:
        """The variance owed to each source."""
        return {source: float((found**2).sum()) for source, found in self.influences.items()}

    @property
    def error(self) -> float:
        """Standard error; NaN where a score behind it is missing, or nothing is known of it."""
        return float(np.sqrt(sum(self.variances.values()))) if self.influences else float("nan")

    @property
    def total_dof(self) -> float:
        """Degrees of freedom of the sum of variances (Satterthwaite 1946, Biometrics Bulletin 2:110)."""
        below = sum(v**2 / self.dof[source] for source, v in self.variances.items() if self.dof[source] > 0)
        if not np.isfinite(self.error) or not all(self.dof[source] > 0 for source in self.influences):
            return float("nan")
        # Without any error there is nothing to estimate.
        return self.error**4 / below if below > 0 else sum(self.dof.values())

    @property
    def over(self) -> str:
        """What the error is over."""
        return NETWORKS if any(source.startswith(NETWORKS) for source in self.influences) else UNITS_AND_TRIALS

    def minus(self, other: Estimate, *, shared: Mapping[str, str]) -> Estimate:
        """The difference to another score.

        Args:
            other: what is taken away.
            shared: sources of this one whose elements are those of a source of the other, by this one's name.
        """
        influences, dof, taken = {}, {}, set()
        for source, found in self.influences.items():
            partner = shared.get(source, "")
            there = other.influences.get(partner)
            if there is not None and there.shape == found.shape:
                taken.add(partner)
            else:
                there = np.zeros(())
            influences[f"own {source}"], dof[f"own {source}"] = found - there, self.dof[source]
        for source, found in other.influences.items():
            if source not in taken:
                influences[f"other {source}"], dof[f"other {source}"] = found, other.dof[source]
        return Estimate(self.value - other.value, influences, dof)


def unit_influences(
    first: Float[np.ndarray, " draw"],
    second: Float[np.ndarray, " draw"],
    both: Float[np.ndarray, " draw"],
    *,
    kept: tuple[float, float] = (1.0, 1.0),
) -> tuple[Float[np.ndarray, " draw"], Float[np.ndarray, " draw"]]:
    """Influences of the units of two sides, from what halving them changes.

    Random halves without replacement scatter about the whole as the whole scatters about its expectation:
    ``1 / (n / 2) - 1 / n = 1 / n`` (Shao & Wu 1989). What rests on units of one side and of the other together
    (all of the score, where two samples of one population are compared) is then in the scatter of either side, and
    has to be counted once. Halving both shows it: ``I = var(both - first - second)``. The influences of either
    side are its changes about their mean over ``sqrt(draws - 1)``, scaled so that the squares of both add to
    ``max(V_1 + V_2 - I, V_1, V_2)``, V the variances of the changes.

    Args:
        first, second, both: changes of the score when the units of one side, of the other, and of both are halved.
        kept: for either side the variance of a mean over several choices of its units, over that of one choice.
    """
    parts = [changes.var(ddof=1) for changes in (first, second, both - first - second)]
    total = parts[0] + parts[1]
    scale = max(total - parts[2], parts[0], parts[1]) / total if total > 0 else 1.0
    one, other = (
        (changes - changes.mean()) * np.sqrt(share * scale / (changes.size - 1))
        for changes, share in zip((first, second), kept, strict=True)
    )
    return one, other


def halving_influences(table: Float[np.ndarray, "split half other"], axis: int) -> Float[np.ndarray, " split"]:
    """Influences of the trials of one side.

    A mean over all trials is the mean of both halves, and half the difference of two halves has, over halvings,
    the variance that the mean over all has over samples of trials: ``1 / (T / 2) - 1 / T = 1 / T``. Of K halvings
    each gives ``(s_0 - s_1) / (2 sqrt(K))``.

    Args:
        table: score of either half of one side with either half of the other, in every halving.
        axis: 1 for the halves of the first side, 2 for those of the second.
    """
    halves = table.mean(axis=3 - axis)
    influences: np.ndarray = (halves[:, 0] - halves[:, 1]) / (2 * np.sqrt(len(table)))
    return influences


def member_influences(values: Float[np.ndarray, " member"]) -> Float[np.ndarray, " member"]:
    """Influences of the members behind a mean: ``(s_j - mean) / sqrt(n (n - 1))``."""
    n = values.size
    influences: np.ndarray = (values - values.mean()) / np.sqrt(n * (n - 1))
    return influences


def interval(estimate: Estimate, measure: Measure, *, level: float) -> tuple[float, float]:
    """Student's interval, which stays inside the range of the measure; NaN where there is no error.

    It is made on the scale ``log((s - least) / (most - s))``, or ``-log(most - s)`` for a range with one end,
    where the error is that of the score times the slope, and read back.
    """
    s, error, dof = estimate.value, estimate.error, estimate.total_dof
    if not (np.isfinite([s, error]).all() and dof > 0):
        return float("nan"), float("nan")
    reach = float(stats.t.ppf((1 + level) / 2, dof)) * error
    above, below = measure.most - s, s - measure.least
    if not (above > 0 and below > 0):
        # On the end itself there is no slope.
        return max(s - reach, measure.least), min(s + reach, measure.most)
    if not np.isfinite(below):
        return (s - reach, s + reach) if not np.isfinite(above) else _one_sided(s, above, reach)
    # With q the share of the range below the score, odds q / (1 - q) are multiplied and divided by the same
    # factor.
    # In logarithms, so that a score beside an end of the range overflows nothing.
    log_odds, factor = np.log(below) - np.log(above), reach * (1 / above + 1 / below)
    shares = expit([log_odds - factor, log_odds + factor])
    low, high = measure.least + (measure.most - measure.least) * shares
    # Round-off must not leave the score outside.
    return min(float(low), s), max(float(high), s)


def _one_sided(s: float, above: float, reach: float) -> tuple[float, float]:
    most, exponent = s + above, min(reach / above, LARGEST_EXPONENT)
    return float(most - above * np.exp(exponent)), float(most - above * np.exp(-exponent))
