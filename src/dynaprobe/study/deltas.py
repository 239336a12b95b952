"""The jobs of a sweep from a settings file: what all share, and what its table ``[sweep]`` changes.

    [sweep]
    seeds = 5                                      # or a list of seeds
    grid."network.activation" = ["tanh", "relu"]   # every combination
    grid."fit.penalty_rate" = [0.0, 1e-3, 1e-2]

or, in place of ``grid``, exactly one of

    [[sweep.list]]                                 # these and no others
    "network.n_units" = 50
    "fit.n_updates" = 2000

    [sweep.random]                                 # drawn at random
    n_draws = 20
    draw."network.activation" = ["tanh", "relu"]
    draw."fit.penalty_rate" = { low = 1e-4, high = 1.0, log = true }

    [sweep.search]                                 # proposed by Optuna, see `dynaprobe.study.search`
    n_draws = 40
    draw."fit.learning_rate" = { low = 1e-4, high = 1e-2, log = true }
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from dynaprobe.core.errors import SettingsError
from dynaprobe.core.random import generator
from dynaprobe.core.settings import Settings
from dynaprobe.study.jobs import JobSettings
from dynaprobe.study.sweep import Job, labels_of

Value = bool | int | float | str | tuple[Any, ...]


class Span(Settings):
    """Numbers between two ends.

    Attributes:
        low, high: the ends.
        log: whether equal ratios, and not equal differences, are equally likely.
        whole: whether only whole numbers count; both ends can then be drawn.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low ({self.low:g}) is below high ({self.high:g})")
        if self.log and self.low <= 0:
            raise ValueError(f"low ({self.low:g}) is above 0 where log is true")
        if self.whole and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(f"low ({self.low:g}) and high ({self.high:g}) are whole where whole is true")
        return self

    def at(self, fraction: float) -> float | int:
        """The number so far on the way from low to high, `fraction` from 0 to 1 without 1."""
        low, high = (self.low, self.high + 1) if self.whole else (self.low, self.high)
        drawn = low * (high / low) ** fraction if self.log else low + fraction * (high - low)
        # Round-off may reach the end that is left out.
        return min(math.floor(drawn), int(self.high)) if self.whole else min(drawn, self.high)


Choice = Annotated[tuple[Value, ...], Field(min_length=1)]
Draw = Annotated[dict[str, Span | Choice], Field(min_length=1)]


class Random(Settings):
    """Settings drawn at random, each independently of the others.

    Attributes:
        n_draws: how many; with more of them the first stay what they were.
        draw: by dotted name, values to choose among or a `Span`.
    """

    n_draws: Annotated[int, Field(ge=1)]
    draw: Draw


class Search(Random):
    """Settings proposed by Optuna from the results so far.

    Attributes:
        n_draws: proposals in all; every one is trained with all seeds.
        draw: by dotted name, values to choose among or a `Span`.
        measure: score of the networks, its mean over seeds is what counts.
        aim: whether the measure should be high or low.
        at_once: proposals that are trained at the same time.
    """

    measure: str = "score"
    aim: Literal["high", "low"] = "high"
    at_once: Annotated[int, Field(ge=1)] = 4


class SweepSettings(Settings):
    """The table ``[sweep]`` of a settings file.

    Attributes:
        seeds: how many networks of every setting, or their seeds.
        together: at most so many networks train together in one process.
        tries: how often a job is tried that fails or whose process dies without getting further.
        grid: values by dotted name; every combination is a job.
        list: changes by dotted name; every entry is a job.
        random: see `Random`.
        search: see `Search`.
    """

    seeds: Annotated[int, Field(ge=1)] | Annotated[tuple[int, ...], Field(min_length=1)] = 1
    together: Annotated[int, Field(ge=1)] = 4
    tries: Annotated[int, Field(ge=1)] = 3
    grid: dict[str, Choice] = Field(default={})
    list: tuple[dict[str, Value], ...] = ()
    random: Random | None = None
    search: Search | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [name for name in ("grid", "list", "random", "search") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"only one of grid, list, random and search is given, not {' and '.join(given)}")
        return self

    def seeds_from(self, seed: int) -> tuple[int, ...]:
        """The seeds of the networks of every setting; a number of them counts up from the seed of the run."""
        return tuple(range(seed, seed + self.seeds)) if isinstance(self.seeds, int) else self.seeds


def changes_of(sweep: SweepSettings, *, seed: int) -> list[dict[str, Any]]:
    """What every setting of the sweep changes, by dotted name; those of a search are not known before.

    Args:
        sweep: the table.
        seed: the run's seed, behind random draws.
    """
    if sweep.list:
        return [dict(entry) for entry in sweep.list]
    if sweep.random is not None:
        return [drawn(sweep.random.draw, seed, number) for number in range(sweep.random.n_draws)]
    changes: list[dict[str, Any]] = [{}]
    for name, values in sweep.grid.items():
        changes = [{**change, name: value} for change in changes for value in values]
    return changes


def drawn(draw: Mapping[str, Span | Sequence[Any]], seed: int, number: int) -> dict[str, Any]:
    """One random draw of every setting: the same for the same seed and number, whatever else is drawn."""
    values: dict[str, Any] = {}
    for name, among in draw.items():
        fraction = float(generator(seed, "sweep", number, name).random())
        values[name] = among.at(fraction) if isinstance(among, Span) else among[int(fraction * len(among))]
    return values


def jobs_of(
    base: JobSettings,
    changes: Sequence[Mapping[str, Any]],
    seeds: Sequence[int],
    *,
    seed: int,
    where: object = None,
) -> list[Job[JobSettings]]:
    """Every change of the settings with every seed.

    Args:
        base: the settings that are changed.
        changes: by dotted name.
        seeds: of the networks.
        seed: the run's seed.
        where: the file that the changes come from, for messages.

    Raises:
        SettingsError: an unknown name or a bad value, before anything is computed.
    """
    if len(set(seeds)) < len(seeds) or any(not 0 <= one < 2**32 for one in seeds):
        raise SettingsError(
            "sweep.seeds",
            rule="be different whole numbers from 0 to 2^32 - 1",
            received=list(seeds),
            remedy="Name every seed once",
            where=where,
        )
    jobs: list[Job[JobSettings]] = []
    for change in changes:
        settings = base.with_changes(change, where=where)
        jobs += [Job(settings, one, labels_of(change), seed) for one in seeds]
    return jobs
