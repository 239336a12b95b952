"""The figures of a report in the order in which they are read: claim by claim, then the evidence in detail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from dynaprobe.report import captions
from dynaprobe.report.catalogue import CATALOGUE
from dynaprobe.report.catalogue_entry import Entry
from dynaprobe.report.figures.behaviour import behaviour_figure
from dynaprobe.report.figures.psth import psth_figure, spread_units
from dynaprobe.report.figures.similarity import settings_figure, similarity_figure
from dynaprobe.report.figures.training import training_figure
from dynaprobe.report.gather import RunContents, learned
from dynaprobe.report.pair_page import pair_figures
from dynaprobe.report.probe_figures import PROBE_TITLES, probe_figures

# Rows of the PSTH figure: more would not fit on a page.
MOST_UNITS = 5
DETAIL = "detail"


@dataclass(frozen=True)
class ReportFigure:
    """A figure of a report, not yet drawn.

    Attributes:
        name: file name without ending.
        title, caption: what stands by it.
        draw: makes it.
        section: the claim it speaks of, by id, or the part of the report it stands in.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[], Figure]
    section: str = DETAIL


def report_figures(run: RunContents) -> Iterator[ReportFigure]:
    """The figures a run has data for, in reading order."""
    networks, settings = run.networks, run.settings
    if run.pairs is not None:
        for parts in pair_figures(run.pairs):
            yield ReportFigure(*parts)
    if networks is not None and settings is not None and networks["single_unit"].notnull().any():
        yield ReportFigure(
            "similarity",
            "Single units against population",
            captions.similarity(networks, settings),
            lambda: similarity_figure(networks, settings),
            "1",
        )
        yield ReportFigure(
            "settings",
            "Similarity by setting",
            captions.settings(settings),
            lambda: settings_figure(networks, settings),
            "1",
        )
    if run.probes is not None:
        for section, parts in probe_figures(run.probes, run.bar):
            yield ReportFigure(*parts, section=section)
    yield from _psth(run)
    for entry in CATALOGUE:
        yield from _of_entry(entry, run)
    yield from _behaviour(run)
    if networks is not None and run.histories:
        threshold = find_setting(run.manifest.get("settings", {}), "threshold")
        n_failed = int((~learned(networks)).sum())
        yield ReportFigure(
            "training",
            "Training",
            captions.training(networks, n_failed, threshold),
            lambda: training_figure(run.histories, networks, threshold=threshold),
        )


def missing_figures(run: RunContents) -> list[str]:
    """Sentences on the results that no side of this run holds."""
    if run.pairs is not None and run.networks is None:
        # Candidates without a reference leave no battery, so nothing of it is missing.
        return []
    drawn = {figure.name for figure in report_figures(run)}
    # A run without any probes says so once.
    of_probes = PROBE_TITLES if run.probes is not None else {}
    titles = {entry.name: entry.title for entry in CATALOGUE} | {
        "similarity": "Single units against population",
        **of_probes,
        "psth": "PSTHs side by side",
        "behaviour": "Reaches of the networks",
        "training": "Training",
    }
    return [
        f"“{title}” is not shown: the run holds no such result."
        for name, title in titles.items()
        if name not in drawn
    ]


def find_setting(settings: Mapping[str, Any], name: str) -> float | None:
    """The number called `name` in the settings of training; None where there is none."""
    value = settings.get("fit", {}).get(name) if isinstance(settings.get("fit"), Mapping) else None
    return float(value) if isinstance(value, int | float) else None


def _of_entry(entry: Entry, run: RunContents) -> Iterator[ReportFigure]:
    results = {
        name: entry.kind.from_dataset(data)
        for name, (_, data) in run.having(entry.group).items()
        if data.attrs.get("result") == entry.kind.__name__
    }
    if results:
        looks = run.looks
        yield ReportFigure(entry.name, entry.title, entry.caption(results), lambda: entry.draw(results, looks))


def _psth(run: RunContents) -> Iterator[ReportFigure]:
    sides = {name: data for name, (_, data) in run.having("psth").items()}
    if not sides:
        return
    galleries = {name: data for name, (_, data) in run.having("gallery").items()}
    units = {name: units_to_show(data, galleries.get(name)) for name, data in sides.items()}
    yield ReportFigure("psth", "PSTHs side by side", captions.psth(sides), lambda: psth_figure(sides, units))


def units_to_show(psth: xr.Dataset, gallery: xr.Dataset | None) -> list[tuple[int, str]]:
    """Position and title of the units to draw: the medoid of every motif, or a spread without a gallery."""
    if gallery is None:
        return [(k, f"unit {k}") for k in spread_units(psth, MOST_UNITS)]
    medoids = gallery["medoid"].values[:MOST_UNITS]
    return [
        (int(k), f"motif {motif}, unit {k}") if k >= 0 else (-1, f"motif {motif}: no unit")
        for motif, k in enumerate(medoids, start=1)
    ]


def _behaviour(run: RunContents) -> Iterator[ReportFigure]:
    needed = {"vx", "vy", "px", "py"}
    examples = {
        name: data
        for name, (_, data) in run.having("example").items()
        if "outputs" in data and needed <= set(map(str, data["output"].values))
    }
    if examples:
        yield ReportFigure(
            "behaviour",
            "Reaches of the networks",
            captions.behaviour(examples),
            lambda: behaviour_figure(examples),
        )
