"""A score with its error, and what the error is owed to: units, trials or networks of either side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats
from scipy.special import expit

from dynaprobe.analysis.measures import Measure

UNITS = "units"
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
        found = {source.partition("_")[0] for source in self.influences}
        return NETWORKS if NETWORKS in found else UNITS if found == {UNITS} else UNITS_AND_TRIALS

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
    whole: Float[np.ndarray, " draw"],
    first: Float[np.ndarray, "draw part"],
    second: Float[np.ndarray, "draw part"],
    both: Float[np.ndarray, "draw half other"],
    *,
    rest: float,
    kept: tuple[float, float] = (1.0, 1.0),
) -> tuple[Float[np.ndarray, " draw"], Float[np.ndarray, " draw"]]:
    """Influences of the units of two sides, from the scores of parts of their units.

    A score is a sum of terms that rest on one unit, on two, and so on (Efron & Stein 1981, Annals of Statistics
    9:586). With s the score of all units of a side, s_p that of a share p of them and s_0, s_1 those of halves,

        A = p / (1 - p) var(s_p - s)     holds the variance of terms of one unit once, of two 1 + 1 / p times;
        B = var((s_0 + s_1) / 2 - s)     holds none of the former, and the latter once;

    so that ``V = A - B / p`` counts either once, at least ``A / (1 + 1 / p)``. Halves alone would do for A, with p
    of 1 / 2, but where units are few their scores are too low, and scatter too little, to stand for those of all;
    with p next to 1 every jump of a score, as where two components change places, would be magnified. What rests
    on a unit of one side and one of the other (most of the score, where two samples of one population are
    compared) is in V of either side. It is what halving both shows, ``I = mean(((s_00 - s_01 - s_10 + s_11) /
    4)^2)``, and is taken out once. The influences of either side are its ``s_p - s`` about their mean, scaled so
    that the squares of both add to ``max(V_1 + V_2 - I, V_1, V_2)``.

    The noise of trials that every unit has of its own is in here: other units are other noise as well.

    Args:
        whole: scores of all units, in the trials of every draw.
        first, second: scores of one half of the units of one side, of the other half, and of the share `rest` of
            them, with all units of the other side.
        both: scores of either half of the one with either half of the other.
        rest: p.
        kept: for either side the variance of a mean over several choices of its units, over that of one choice.
    """
    changes = [scores[:, 2] - whole for scores in (first, second)]
    spreads = [float(change.var(ddof=1)) * rest / (1 - rest) for change in changes]
    bends = [float((scores[:, :2].mean(axis=1) - whole).var(ddof=1)) for scores in (first, second)]
    parts = [
        max(spread - bend / rest, spread / (1 + 1 / rest)) for spread, bend in zip(spreads, bends, strict=True)
    ]
    shared = float((((both[:, 0, 0] - both[:, 0, 1] - both[:, 1, 0] + both[:, 1, 1]) / 4) ** 2).mean())
    total = sum(parts)
    once = max(total - shared, *parts) / total if total > 0 else 1.0
    one, other = (
        _with_squares_of(change - change.mean(), share * once * part)
        for change, part, share in zip(changes, parts, kept, strict=True)
    )
    return one, other


def _with_squares_of(values: Float[np.ndarray, " element"], total: float) -> Float[np.ndarray, " element"]:
    """The values scaled so that their squares add to `total`; as they are where all are 0 or one is missing."""
    squares = float((values**2).sum())
    return values * np.sqrt(total / squares) if squares > 0 else values


def halving_influences(
    table: Float[np.ndarray, "split half other"], axis: int, *, of_units: float = 0.0
) -> Float[np.ndarray, " split"]:
    """Influences of the trials of one side.

    A mean over all trials is the mean of both halves, and half the difference of two halves has, over halvings,
    the variance that the mean over all has over samples of trials: ``1 / (T / 2) - 1 / T = 1 / T``. Of K halvings
    each gives ``(s_0 - s_1) / (2 sqrt(K))``. Of the sum of their squares V only ``max(V - of_units, 0)`` is kept:
    noise that every unit has of its own is a matter of the units as well, and would otherwise count twice (as in
    any crossed design: Owen 2007, Annals of Applied Statistics 1:386).

    Args:
        table: score of either half of one side with either half of the other, in every halving.
        axis: 1 for the halves of the first side, 2 for those of the second.
        of_units: variance that is known to the influences of the units; see `noise_of_units`.
    """
    halves = table.mean(axis=3 - axis)
    influences: np.ndarray = (halves[:, 0] - halves[:, 1]) / (2 * np.sqrt(len(table)))
    return _with_squares_of(influences, max(float((influences**2).sum()) - of_units, 0.0))


def noise_of_units(crosses: Float[np.ndarray, "draw half cross"]) -> float:
    """Variance that rests on units and trials together: each unit's own noise, which other units do not share.

    With d half the difference of the scores of a half of the units in one half of the trials and in the other, it
    is ``mean(((d_0 - d_1) / 2)^2)`` over halvings of the units: noise that units share is alike in d_0 and d_1.

    Args:
        crosses: scores of either half of the units, in the one and in the other half of the trials.
    """
    changes = (crosses[..., 0] - crosses[..., 1]) / 2
    return float((((changes[:, 0] - changes[:, 1]) / 2) ** 2).mean())


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
        return (s - reach, s + reach) if not np.isfinite(above) else _one_sided(s, measure.most, reach)
    # With q the share of the range below the score, odds q / (1 - q) are multiplied and divided by the same
    # factor.
    # In logarithms, so that a score beside an end of the range overflows nothing.
    log_odds, factor = np.log(below) - np.log(above), reach * (1 / above + 1 / below)
    shares = expit([log_odds - factor, log_odds + factor])
    low, high = measure.least + (measure.most - measure.least) * shares
    # Round-off must not leave the score outside.
    return min(float(low), s), max(float(high), s)


def _one_sided(s: float, most: float, reach: float) -> tuple[float, float]:
    above = most - s
    exponent = min(reach / above, LARGEST_EXPONENT)
    # Round-off must neither leave the score outside nor pass the end.
    return float(most - above * np.exp(exponent)), min(max(float(most - above * np.exp(-exponent)), s), most)
