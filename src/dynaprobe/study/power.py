"""What a test could have found: repeats of an experiment, simulated from its standard error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from dynaprobe.core.random import generator

# Larger experiments than this are not worth a number: the law they rest on was not seen to hold so far.
MOST_TIMES = 100.0
# No difference is larger than so many standard errors.
MOST_ERRORS = 1e6
# Halvings of a bracket: a millionth of it.
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
    dof_grows: bool,
) -> Power:
    """Repeat a t-test on simulated differences.

    A repeat sees ``delta + e`` with its own standard error, and finds a difference where
    ``|delta + e| > t(1 - alpha / 2; dof) error*``, e Gaussian and error* with the law of a standard error of `dof`
    degrees of freedom. An experiment of g times the units and trials, or networks, has errors ``1 / sqrt(g)`` as
    large; of networks it also knows its error better, with ``g (dof + 2) - 2`` degrees of freedom. The smallest g
    of 1 and more is looked for with which a difference is found. The chance of finding the very difference that
    was seen is not given: it says nothing that p does not say (Hoenig & Heisey 2001, American Statistician 55:19).

    Args:
        observed: the difference that was seen.
        error: its standard error.
        dof: degrees of freedom of the test.
        rule: the test, and how often it is repeated.
        name: of the random stream.
        dof_grows: whether there are more degrees of freedom in a larger experiment, as there are with networks.
    """
    rng = generator(rule.seed, "pairs", "power", name)
    n = rule.n_simulations
    # Errors as multiples of the standard error, for any number of units, trials or networks.
    noise, ranks = rng.standard_normal(n), rng.random(n)

    def found(delta: float, times: float = 1.0) -> bool:
        """Whether a difference, in standard errors, is found often enough with so many times the data."""
        more = times * (dof + 2) - 2 if dof_grows else dof
        shown = np.sqrt(stats.chi2.ppf(ranks, more) / more)
        bar = float(stats.t.ppf(1 - rule.alpha / 2, more)) * shown
        return bool(np.mean(np.abs(delta * np.sqrt(times) + noise) > bar) >= rule.power)

    def needed(difference: float) -> float:
        if not found(difference / error, MOST_TIMES):
            return float("inf")
        least = _smallest(lambda exponent: found(difference / error, MOST_TIMES**exponent), 0.0, 1.0)
        return float(MOST_TIMES**least)

    high = 1.0
    while not found(high) and high < MOST_ERRORS:
        high *= 2
    reach = abs(observed) + float(stats.t.ppf(1 - rule.alpha / 2, dof)) * error
    return Power(error * _smallest(found, 0.0, high), needed(abs(observed)), needed(reach))


def _smallest(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The smallest number for which a rising condition holds, by bisection; the upper end where it never does."""
    for _ in range(N_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
