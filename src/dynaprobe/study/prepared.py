"""A population as analyses take it, and what a row of the tables of analyses holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import xarray as xr

from dynaprobe.analysis.motifs import MotifGallery
from dynaprobe.analysis.result import Result
from dynaprobe.core.preprocess import soft_normalise
from dynaprobe.study.comparison import ComparisonSettings, Population, cut, softened_range


@dataclass(frozen=True)
class Prepared:
    """One population with everything that an analysis of it alone may need, each made once when first asked for.

    Attributes:
        side: the population.
        settings: resolved settings.
        seed: of everything random.
        gallery: clusters of PSTH shapes to sort the units into; None finds clusters on this population.
    """

    side: Population
    settings: ComparisonSettings
    seed: int
    gallery: MotifGallery | None = None

    @cached_property
    def normalised(self) -> xr.DataArray:
        """The rates, soft-normalised over both alignments together."""
        return soft_normalise(self.side.rates, constant=self.settings.softening_hz)

    @cached_property
    def standard_error(self) -> xr.DataArray:
        """The standard errors of `normalised`."""
        return self.side.standard_error / softened_range(self.side.rates, self.settings.softening_hz)

    @cached_property
    def prep(self) -> xr.DataArray:
        """The preparatory window of `normalised`."""
        return cut(self.normalised, "target_on", self.settings.preparatory_window_ms)

    @cached_property
    def move(self) -> xr.DataArray:
        """The peri-movement window of `normalised`."""
        return cut(self.normalised, "move_onset", self.settings.peri_movement_window_ms)

    @cached_property
    def around_move(self) -> xr.DataArray:
        """All of `normalised` around movement onset."""
        return cut(self.normalised, "move_onset", self.settings.move_window_ms)

    def epochs(self, normalised: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
        """The preparatory and the peri-movement window of rates such as `normalised` or a half."""
        return (
            cut(normalised, "target_on", self.settings.preparatory_window_ms),
            cut(normalised, "move_onset", self.settings.peri_movement_window_ms),
        )


@dataclass(frozen=True)
class Number:
    """Where one number of the summary is found in the result of an analysis.

    Attributes:
        variable: of the result's data; the mean is taken over what `at` leaves open.
        at: labels to select.
    """

    variable: str
    at: Mapping[str, str | float] = field(default_factory=dict)

    def of(self, result: Result) -> float:
        """The number; NaN where the result lacks the variable or a label, as when a null was not asked for."""
        known = self.variable in result.data and all(
            label in result.data[dim].values for dim, label in self.at.items()
        )
        if not known:
            return float("nan")
        found = result.data[self.variable]
        return float((found.sel(dict(self.at)) if self.at else found).mean())


@dataclass(frozen=True)
class Analysis:
    """One analysis of a population alone: how it is called and what the summary takes from it.

    Attributes:
        name: of the result in a run's files; a figure is found by it in `dynaprobe.report.catalogue`.
        run: from the prepared population to the result.
        numbers: one number per question, by name in the summary.
    """

    name: str
    run: Callable[[Prepared], Result]
    numbers: Mapping[str, Number] = field(default_factory=dict)
