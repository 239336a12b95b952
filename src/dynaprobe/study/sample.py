"""One population under one measure: halves, resamples and surrogates, each prepared once for all pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import xarray as xr
from pydantic import Field

from dynaprobe.analysis.measures import Measure
from dynaprobe.analysis.surrogates import TensorMaximumEntropy, fit_tme
from dynaprobe.core.random import generator
from dynaprobe.core.settings import Settings


class PairSettings(Settings):
    """How every pair of candidates is scored and tested.

    Attributes:
        measures: names of the measures; none takes all.
        n_units: units of every population in every comparison; None takes as many as the smallest has.
        n_splits: random halvings of the trials behind every score, each with its own choice of units.
        n_resamples: halvings of the units and the trials behind every interval.
        n_floor: surrogates of either side behind every floor.
        n_regroupings: random regroupings of the units of both sides behind every test that parts them.
        n_simulations: simulated repeats of an experiment behind every statement about power.
        power: the chance with which a difference should be found.
    """

    measures: tuple[str, ...] = ()
    n_units: Annotated[int, Field(ge=2)] | None = None
    n_splits: Annotated[int, Field(ge=1)] = 5
    n_resamples: Annotated[int, Field(ge=3)] = 30
    n_floor: Annotated[int, Field(ge=2)] = 60
    n_regroupings: Annotated[int, Field(ge=19)] = 59
    n_simulations: Annotated[int, Field(ge=100)] = 2000
    power: Annotated[float, Field(gt=0, lt=1)] = 0.8


@dataclass(frozen=True)
class Plan:
    """What all samples of a comparison share.

    Attributes:
        n_units: units of every sample in every score.
        settings: how often everything is drawn.
        seed: behind every draw, which depends on the sample's name and never on the others.
    """

    n_units: int
    settings: PairSettings
    seed: int


@dataclass(frozen=True, eq=False)
class Sample:
    """One population to compare: a recording, or one network.

    Attributes:
        candidate: the candidate it belongs to.
        name: its own name, unique.
        rates: condition averages over all trials, dims ``(condition, time, unit)``.
        halves: pairs of the same over disjoint halves of the trials; without trials both are all there is.
        has_trials: whether the halves are disjoint.
    """

    candidate: str
    name: str
    rates: xr.DataArray
    halves: Sequence[tuple[xr.DataArray, xr.DataArray]]
    has_trials: bool = True

    @property
    def n_units(self) -> int:
        """Number of units."""
        return int(self.rates.sizes["unit"])

    def shared_with(self, other: Sample) -> np.ndarray:
        """Positions of the units that the other sample holds as well: the same label and the same rates."""
        if "unit" not in self.rates.coords or "unit" not in other.rates.coords:
            return np.array([], dtype=int)
        if self.rates.sizes["time"] != other.rates.sizes["time"]:
            return np.array([], dtype=int)
        place = {str(label): k for k, label in enumerate(other.rates["unit"].values)}
        mine, theirs = self.rates.values, other.rates.values
        labels = [str(label) for label in self.rates["unit"].values]
        return np.array(
            [
                k
                for k, label in enumerate(labels)
                if label in place and np.array_equal(mine[..., k], theirs[..., place[label]])
            ],
            dtype=int,
        )

    def without(self, units: np.ndarray, why: str) -> Sample:
        """The sample without some of its units."""
        kept = np.setdiff1d(np.arange(self.n_units), units)
        halves = [(first.isel(unit=kept), second.isel(unit=kept)) for first, second in self.halves]
        return Sample(self.candidate, f"{self.name} {why}", self.rates.isel(unit=kept), halves, self.has_trials)


class Side:
    """A sample under one measure.

    Attributes:
        measure: the measure.
        sample: the sample.
        plan: what all samples share.
    """

    def __init__(self, measure: Measure, sample: Sample, plan: Plan) -> None:
        self.measure, self.sample, self.plan = measure, sample, plan
        self._resampled: dict[tuple[int, int], Any] = {}

    @property
    def n_splits(self) -> int:
        """Halvings of the trials that a score runs over."""
        return min(self.plan.settings.n_splits, len(self.sample.halves))

    def units(self, split: int) -> np.ndarray:
        """The units that stand for the sample in a split, in random order."""
        rng = generator(self.plan.seed, "pairs", "units", self.sample.name, split)
        return rng.permutation(self.sample.n_units)[: self.plan.n_units]

    def half(self, split: int, half: int) -> xr.DataArray:
        """One half of the trials, with the units of that split."""
        return self.sample.halves[split][half].isel(unit=np.sort(self.units(split)))

    @cached_property
    def halves(self) -> list[tuple[Any, Any]]:
        """Both halves in every split, prepared."""
        prepare = self.measure.prepare
        return [(prepare(self.half(k, 0)), prepare(self.half(k, 1))) for k in range(self.n_splits)]

    @cached_property
    def own(self) -> float:
        """What the same units reach in other trials; NaN where there are no trials to halve."""
        if not self.sample.has_trials:
            return float("nan")
        return float(np.mean([_both_ways(self.measure, first, second) for first, second in self.halves]))

    @cached_property
    def half_of_draw(self) -> np.ndarray:
        """Which half of the trials stands for the sample in every resample, ``(draw,)``."""
        rng = generator(self.plan.seed, "pairs", "halves", self.sample.name)
        return rng.integers(0, 2, self.plan.settings.n_resamples)

    def resampled(self, draw: int, half: int) -> Any:
        """Half of the units in half of the trials, prepared; the same units for every pair."""
        if (draw, half) not in self._resampled:
            split = draw % self.n_splits
            rng = generator(self.plan.seed, "pairs", "resample", self.sample.name, draw)
            chosen = np.sort(rng.permutation(self.units(split))[: self.plan.n_units // 2])
            self._resampled[draw, half] = self.measure.prepare(self.sample.halves[split][half].isel(unit=chosen))
        return self._resampled[draw, half]

    @cached_property
    def fits(self) -> list[TensorMaximumEntropy]:
        """Surrogates share the covariances of the first half in every split."""
        return [fit_tme(self.half(k, 0)) for k in range(self.n_splits)]

    @cached_property
    def surrogates(self) -> list[tuple[int, Any]]:
        """Split and surrogate, prepared, for every draw of a floor."""
        found = []
        for draw in range(self.plan.settings.n_floor):
            split = draw % self.n_splits
            fit = self.fits[split]
            # The stream is the sample's own: two samples must not be given one noise.
            seed = int(generator(self.plan.seed, "pairs", "surrogates", self.sample.name).integers(2**31))
            values = fit.template.copy(data=fit.draw_values(draw, seed=seed))
            found.append((split, self.measure.prepare(values)))
        return found


def score_between(a: Side, b: Side) -> float:
    """How like two samples are: one half of the trials of either against the other half, mean over splits."""
    compare = a.measure.compare
    found = [
        (compare(first_a, second_b) + compare(second_a, first_b)) / 2
        for (first_a, second_a), (first_b, second_b) in zip(a.halves, b.halves, strict=False)
    ]
    return float(np.mean(found))


def score_resampled(a: Side, b: Side, *, share_trials: bool) -> np.ndarray:
    """The score of half the units in half the trials of both sides, once per draw.

    Subsets of half the size, drawn without replacement, spread about their mean as the score of the whole spreads
    about its expectation: ``1 / (n / 2) - 1 / n = 1 / n`` (delete-half jackknife).

    Args:
        a, b: the sides.
        share_trials: whether both hold the same units, whose halves must then be different ones.
    """
    scores = []
    for draw in range(a.plan.settings.n_resamples):
        half_a, half_b = int(a.half_of_draw[draw]), int(b.half_of_draw[draw])
        half_b = 1 - half_a if share_trials else half_b
        scores.append(a.measure.compare(a.resampled(draw, half_a), b.resampled(draw, half_b)))
    return np.array(scores)


def floor_between(a: Side, b: Side) -> np.ndarray:
    """Scores of surrogates of the first side against the second."""
    compare = a.measure.compare
    return np.array([compare(surrogate, b.halves[split % b.n_splits][1]) for split, surrogate in a.surrogates])


def _both_ways(measure: Measure, first: Any, second: Any) -> float:
    forth = measure.compare(first, second)
    return forth if measure.is_symmetric else (forth + measure.compare(second, first)) / 2
