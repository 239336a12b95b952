"""The table from the result of an analysis to its figure, in the order in which figures are read."""

from __future__ import annotations

from dynaprobe.report.catalogue_entry import Entry
from dynaprobe.report.catalogue_population import POPULATION_FIGURES
from dynaprobe.report.catalogue_units import UNIT_FIGURES

# A new analysis is drawn by writing its function and adding a row to one of these tables.
CATALOGUE: tuple[Entry, ...] = (*UNIT_FIGURES, *POPULATION_FIGURES)
