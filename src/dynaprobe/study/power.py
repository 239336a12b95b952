"""What a test could have found: repeats of an experiment, simulated from the errors that its resamples show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

from dynaprobe.core.random import generator

# Larger experiments than this are not worth a number: the law they rest on was not seen to hold so far.
MOST_TIMES = 100.0
# Halvings of the bracket of the smallest difference: a thousandth of it.
N_BISECTIONS = 20


@dataclass(frozen=True)
class Rule:
    """A test and how its power is simulated.

    Attributes:
        alpha: level of the test.
        power: the chance with which a difference should be found.
        n_simulations: repeats.
        seed: of the random streams.
    """

    alpha: float
    power: float
    n_simulations: int
    seed: int


@dataclass(frozen=True)
class Power:
    """What a test of one difference can find.

    Attributes:
        difference: the smallest true difference that is found with the chance asked for.
        times: how many times the units and trials (or networks) it takes to find a difference as large as the one
            that was seen with that chance; infinite beyond `MOST_TIMES`.
        least_times: the same for the largest difference that the interval allows: fewer will not do.
    """

    difference: float
    times: float
    least_times: float


def simulated_power(
    observed: float,
    error: float,
    *,
    dof: float,
    rule: Rule,
    name: str,
    errors: Float[np.ndarray, " draw"] | None = None,
) -> Power:
    """Repeat a t-test on simulated differences.

    A repeat sees ``delta + e`` with its own standard error, and finds a difference where
    ``|delta + e| > t(1 - alpha / 2; dof) error*``. Where resamples are given, e is one of them (about their mean)
    and error* the spread of as many drawn with replacement; else e is Gaussian and error* has the law of a
    standard error of `dof` degrees of freedom. An experiment of g times the units and trials has errors
    ``1 / sqrt(g)`` as large, so a difference d needs ``g = (smallest difference found / d)^2``. The chance of
    finding the very difference that was seen is not given: it says nothing that p does not say (Hoenig & Heisey
    2001, American Statistician 55:19).

    Args:
        observed: the difference that was seen.
        error: its standard error.
        dof: degrees of freedom of the test.
        rule: the test, and how often it is repeated.
        name: of the random stream.
        errors: resampled differences.
    """
    rng = generator(rule.seed, "pairs", "power", name)
    n = rule.n_simulations
    if errors is not None:
        centred = errors - errors.mean()
        noise = rng.choice(centred, n)
        spread = rng.choice(centred, (n, centred.size)).std(axis=1, ddof=1)
    else:
        noise = error * rng.standard_normal(n)
        spread = error * np.sqrt(rng.chisquare(dof, n) / dof)
    quantile = float(stats.t.ppf(1 - rule.alpha / 2, dof))
    bar = quantile * spread

    def found(delta: float) -> float:
        return float(np.mean(np.abs(delta + noise) > bar))

    low, high = 0.0, error
    while found(high) < rule.power and high < 1e6 * error:
        high *= 2
    for _ in range(N_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) >= rule.power else (middle, high)
    return Power(high, _times(high, abs(observed)), _times(high, abs(observed) + quantile * error))


def _times(needed: float, difference: float) -> float:
    if difference <= 0:
        return float("inf")
    times = (needed / difference) ** 2
    return times if times <= MOST_TIMES else float("inf")
