"""Can a comparison tell two candidates apart, and how large a difference would it have found?

A score of a candidate with a reference is uncertain because units and trials are a sample. Here both candidates
are scored again and again on random halves of all units and trials; the scatter of the difference is its standard
error, and the test that rests on it is repeated on simulated differences to see what it finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy import stats

from dynaprobe.analysis.matched import match
from dynaprobe.analysis.matrix import check_at_least, one_thread
from dynaprobe.analysis.measures import Measure
from dynaprobe.analysis.result import Result
from dynaprobe.core.errors import RatesError, SettingsError
from dynaprobe.core.random import generator

Halves = Sequence[tuple[xr.DataArray, xr.DataArray]]
SIDES = ("a", "b", "reference")
# Halvings of the bracket of the smallest difference found: a millionth of it.
N_BISECTIONS = 20


@dataclass(frozen=True)
class Separability(Result):
    """Whether two candidates can be told apart by their scores.

    Variables of `data`:
        difference: mean score of the first less that of the second.
        error: its standard error.
        low, high: its interval at the level ``1 - alpha``.
        p_value: of no difference, two-sided.
        can_be_separated: whether p is at most alpha.
        power: chance that a true difference as large as the one seen is found; 1/2 where p equals alpha, whatever
            the data, so it restates p.
        smallest_found: the smallest true difference that is found with the chance asked for, which does not depend
            on what was seen.
    """

    @property
    def sentence(self) -> str:
        """The finding in words."""
        number = {
            name: float(self.data[name]) for name in ("difference", "low", "high", "p_value", "smallest_found")
        }
        said = (
            f"difference {number['difference']:.3g} [{number['low']:.3g}, {number['high']:.3g}], "
            f"p = {number['p_value']:.2g}"
        )
        if bool(self.data["can_be_separated"]):
            return f"The test separates the two: {said}."
        return (
            f"The test cannot separate the two: {said}; a true difference of {number['smallest_found']:.3g} would "
            f"be found in {self.settings['wanted_power']:.0%} of repeats."
        )


def can_separate(
    scores_a: np.ndarray,
    scores_b: np.ndarray,
    *,
    seed: int,
    alpha: float = 0.05,
    wanted_power: float = 0.8,
    n_simulations: int = 2000,
) -> Separability:
    """Test the difference of two candidates, and simulate what the test can find.

    With d the differences of the two scores in every draw, D their mean and e their standard deviation, the test
    is ``|D| > t(1 - alpha / 2; n - 1) e``. A simulated repeat of the study with the true difference delta sees
    ``delta + d* - D``, d* drawn from d, with the standard deviation of n differences drawn with replacement as its
    error; power is the fraction of repeats that find something.

    The draws must scatter as the score of a whole new sample would, such as those of `paired_scores`; means over
    draws scatter less, and splits of the same trials among the same units say nothing on other units.

    Args:
        scores_a, scores_b: scores of either candidate with the reference ``(draw,)``; in the same draw, both with
            the same units and trials of the reference.
        seed: names the stream of the simulation.
        alpha: level of the test.
        wanted_power: the chance with which `smallest_found` is found.
        n_simulations: simulated repeats.

    Raises:
        SettingsError: when there are fewer than 8 draws, or a level is outside (0, 1).
        RatesError: when the numbers of draws differ, or scores are not finite.
    """
    differences = _differences(scores_a, scores_b)
    for name, value in (("alpha", alpha), ("wanted_power", wanted_power)):
        if not 0 < value < 1:
            raise SettingsError(name, rule="lie between 0 and 1", received=value, remedy="Give a probability")
    check_at_least("n_simulations", n_simulations, 100)
    n, seen, error = differences.size, float(differences.mean()), float(differences.std(ddof=1))
    quantile = float(stats.t.ppf(1 - alpha / 2, n - 1))
    # Draws that never differ leave nothing to doubt: no difference, or one without error.
    p_value = float(2 * stats.t.sf(abs(seen) / error, n - 1)) if error > 0 else float(seen == 0)
    random = generator(seed, "separability")
    noise = random.choice(differences - seen, n_simulations)
    bars = quantile * random.choice(differences, (n_simulations, n)).std(axis=1, ddof=1)

    def power(delta: float) -> float:
        return float(np.mean(np.abs(delta + noise) > bars))

    low, high = 0.0, error
    while power(high) < wanted_power and high > 0:
        high *= 2
    for _ in range(N_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= wanted_power else (middle, high)
    data = xr.Dataset(
        {
            "difference": seen,
            "error": error,
            "low": seen - quantile * error,
            "high": seen + quantile * error,
            "p_value": p_value,
            "can_be_separated": p_value <= alpha,
            "power": power(abs(seen)),
            "smallest_found": high,
        }
    )
    settings = {
        "n_draws": n,
        "alpha": alpha,
        "wanted_power": wanted_power,
        "n_simulations": n_simulations,
        "seed": seed,
    }
    return Separability(data, settings)


@one_thread
def paired_scores(
    measure: Measure,
    a: xr.DataArray,
    b: xr.DataArray,
    reference: xr.DataArray,
    *,
    halves: Mapping[str, Halves] | None = None,
    n_draws: int = 100,
    seed: int,
) -> tuple[Float[np.ndarray, " draw"], Float[np.ndarray, " draw"]]:
    """Scores of two candidates with a reference on random halves of units and trials.

    Every draw takes anew half as many units of each side as the smallest side has, and one half of one split of
    the trials where there are halves; both candidates meet the same half of the reference. The standard deviation
    over random halves is the delete-half jackknife's standard error of the whole (Shao & Wu 1989, Ann. Stat.
    17:1176); a side with more units than the smallest gives up more than half, and scatters more than it should.

    Args:
        measure: a row of `dynaprobe.analysis.measures.MEASURES`.
        a, b: the candidates, rates with dims ``(condition, time, unit)``.
        reference: what both are compared with; the conditions and bins shared by all three are used.
        halves: pairs of rates over disjoint halves of the trials under "a", "b" and "reference", where there are.
        n_draws: draws.
        seed: names the streams.

    Raises:
        RatesError: when nothing is shared, or a side has a single unit.
    """
    check_at_least("n_draws", n_draws, 2)
    first = match(reference, a)
    second = match(first.a, b)
    halves = halves or {}
    unknown = set(halves) - set(SIDES)
    if unknown:
        raise SettingsError(
            "halves", rule=f"name sides among {SIDES}", received=sorted(unknown), remedy="Correct the names"
        )
    cut = {
        "a": lambda rates: second.take_a(first.take_b(rates)),
        "b": second.take_b,
        "reference": lambda rates: second.take_a(first.take_a(rates)),
    }
    whole = {"a": a, "b": b, "reference": reference}
    parts = {
        name: [[cut[name](half) for half in pair] for pair in halves.get(name, [[whole[name]]])] for name in SIDES
    }
    n_units = min(whole[name].sizes["unit"] for name in SIDES) // 2
    check_at_least("half of the units of the smallest side", n_units, 1)
    scores = np.empty((2, n_draws))
    for draw in range(n_draws):
        ready = {name: measure.prepare(_draw(parts[name], n_units, name, draw, seed)) for name in SIDES}
        scores[:, draw] = [measure.compare(ready[name], ready["reference"]) for name in ("a", "b")]
    return scores[0], scores[1]


def _draw(parts: list[list[xr.DataArray]], n_units: int, name: str, draw: int, seed: int) -> xr.DataArray:
    """Some units of one half of one split."""
    random = generator(seed, "separability", "units", name, draw)
    pair = parts[draw % len(parts)]
    chosen = pair[int(random.integers(len(pair)))]
    return chosen.isel(unit=np.sort(random.permutation(chosen.sizes["unit"])[:n_units]))


def _differences(scores_a: np.ndarray, scores_b: np.ndarray) -> np.ndarray:
    if scores_a.size != scores_b.size:
        raise RatesError(
            "scores_b",
            rule=f"hold one score for each of the {scores_a.size} draws of scores_a",
            received=scores_b.size,
            remedy="Score both candidates in the same draws",
        )
    check_at_least("number of draws", scores_a.size, 8)
    differences = np.asarray(scores_a, dtype=np.float64) - np.asarray(scores_b, dtype=np.float64)
    bad = int((~np.isfinite(differences)).sum())
    if bad:
        raise RatesError(
            "scores",
            rule="be finite",
            received=f"{bad} draws that are not",
            remedy="Leave these draws out of both",
        )
    return differences
