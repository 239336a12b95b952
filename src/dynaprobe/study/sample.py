"""One population under one measure: halves, parts and surrogates, each prepared once for all pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
        n_halvings: random halvings of the units of either side behind every interval; both halves are scored, and
            all units but a fifth.
        n_floor: surrogates of either side behind every floor.
        n_regroupings: random regroupings of the units of both sides behind every test that parts them.
        n_simulations: simulated repeats of an experiment behind every statement about power.
        power: the chance with which a difference should be found.
    """

    measures: tuple[str, ...] = ()
    n_units: Annotated[int, Field(ge=2)] | None = None
    n_splits: Annotated[int, Field(ge=1)] = 5
    n_halvings: Annotated[int, Field(ge=3)] = 10
    n_floor: Annotated[int, Field(ge=2)] = 60
    n_regroupings: Annotated[int, Field(ge=19)] = 199
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
        content: of a network, what tells it from all others but its copies; empty for a recording.
    """

    candidate: str
    name: str
    rates: xr.DataArray
    halves: Sequence[tuple[xr.DataArray, xr.DataArray]]
    has_trials: bool = True
    content: str = ""

    @property
    def n_units(self) -> int:
        """Number of units."""
        return int(self.rates.sizes["unit"])

    def shared_with(self, other: Sample) -> dict[int, int]:
        """Units that the other sample holds as well, by their position here and there.

        They have the same rates, of which not all are one value, and the same label. Where labels differ, as those
        of a file and its copy may, half of the smaller sample must be there: two units that fired once at the same
        time are not one unit.
        """
        if self.content or other.content or self.rates.shape[:2] != other.rates.shape[:2]:
            return {}
        place = {key: k for k, key in enumerate(other._rates_of_units) if key}
        same = {k: place[key] for k, key in enumerate(self._rates_of_units) if key in place}
        if 2 * len(same) >= min(self.n_units, other.n_units):
            return same
        mine, theirs = self._labels, other._labels
        return {k: j for k, j in same.items() if mine and theirs and mine[k] == theirs[j]}

    @property
    def _labels(self) -> list[str]:
        return [str(label) for label in self.rates["unit"].values] if "unit" in self.rates.coords else []

    @cached_property
    def _rates_of_units(self) -> list[bytes]:
        """The rates of every unit as they stand in memory; empty for a unit that never changes."""
        units = np.moveaxis(np.asarray(self.rates.values, dtype=np.float64), 2, 0)
        return [unit.tobytes() if np.ptp(unit) > 0 else b"" for unit in units]

    def heard_as(self, other: Sample, shared: Mapping[int, int]) -> Sample:
        """The sample with the halves of another one for the units that both hold, so that halves stay disjoint."""
        mine, theirs = list(shared), list(shared.values())
        halves = []
        for own, there in zip(self.halves, other.halves, strict=False):
            pair = []
            for half, known in zip(own, there, strict=True):
                values = half.values.copy()
                values[..., mine] = known.values[..., theirs]
                pair.append(half.copy(data=values))
            halves.append((pair[0], pair[1]))
        return replace(self, halves=halves)

    def without(self, units: np.ndarray, why: str) -> Sample:
        """The sample without some of its units."""
        kept = np.setdiff1d(np.arange(self.n_units), units)
        halves = [(first.isel(unit=kept), second.isel(unit=kept)) for first, second in self.halves]
        return replace(self, name=f"{self.name} {why}", rates=self.rates.isel(unit=kept), halves=halves)


def chosen_units(sample: Sample, plan: Plan, *, split: int) -> np.ndarray:
    """The units that stand for a sample in one halving of its trials, in random order."""
    rng = generator(plan.seed, "pairs", "units", sample.name, split)
    return rng.permutation(sample.n_units)[: plan.n_units]


class Side:
    """A sample under one measure.

    Attributes:
        measure: the measure.
        sample: the sample.
        plan: what all samples share.
    """

    def __init__(self, measure: Measure, sample: Sample, plan: Plan) -> None:
        self.measure, self.sample, self.plan = measure, sample, plan

    @property
    def n_splits(self) -> int:
        """Halvings of the trials that a score runs over."""
        return min(self.plan.settings.n_splits, len(self.sample.halves))

    def units(self, split: int) -> np.ndarray:
        """The units that stand for the sample in a split, in random order."""
        return chosen_units(self.sample, self.plan, split=split)

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
    def parted(self) -> list[tuple[int, list[tuple[Any, Any]]]]:
        """The split, and of its units both halves and all but a fifth, in both halves of its trials, draw by draw.

        All are prepared. The draws are the sample's own, so that they are the same in every pair. Of an odd number
        of units one is in neither half, for two halves of unequal size would differ by that alone.
        """
        found = []
        n_half = self.plan.n_units // 2
        for draw in range(self.plan.settings.n_halvings):
            split = draw % self.n_splits
            rng = generator(self.plan.seed, "pairs", "halved", self.sample.name, draw)
            order = rng.permutation(self.units(split))
            parts = []
            for chosen in (order[:n_half], order[n_half : 2 * n_half], order[self._n_fifth :]):
                halves = self.sample.halves[split]
                first, second = (self.measure.prepare(half.isel(unit=np.sort(chosen))) for half in halves)
                parts.append((first, second))
            found.append((split, parts))
        return found

    @property
    def _n_fifth(self) -> int:
        return max(1, round(self.plan.n_units / 5))

    @property
    def rest(self) -> float:
        """The share of the units that is left without a fifth."""
        return 1 - self._n_fifth / self.plan.n_units

    @property
    def kept(self) -> float:
        """Variance that a mean over splits owes to its units, over that of one choice of them.

        Of N units n are drawn for each of K splits: ``n (1 / N + (1 / n - 1 / N) / K)``.
        """
        share = self.plan.n_units / self.sample.n_units
        return share + (1 - share) / self.n_splits

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


def scores_of_halves(a: Side, b: Side) -> np.ndarray:
    """Score of either half of the one with either half of the other, ``(split, half of a, half of b)``."""
    compare = a.measure.compare
    return np.array(
        [[[compare(x, y) for y in of_b] for x in of_a] for of_a, of_b in zip(a.halves, b.halves, strict=False)]
    )


def floor_between(a: Side, b: Side) -> np.ndarray:
    """Scores of surrogates of the first side against the second."""
    compare = a.measure.compare
    return np.array([compare(surrogate, b.halves[split % b.n_splits][1]) for split, surrogate in a.surrogates])


def _both_ways(measure: Measure, first: Any, second: Any) -> float:
    forth = measure.compare(first, second)
    return forth if measure.is_symmetric else (forth + measure.compare(second, first)) / 2
