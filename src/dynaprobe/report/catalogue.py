"""The figures of a report in the order in which they are read, and the table from result to figure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from dynaprobe.analysis.alignment import AlignmentResult
from dynaprobe.analysis.cca import CcaBounds
from dynaprobe.analysis.condition_curve import ConditionCurve
from dynaprobe.analysis.condition_independent import ConditionIndependentResult
from dynaprobe.analysis.dimensionality import DimensionalityResult
from dynaprobe.analysis.direction_tuning import DirectionTuning
from dynaprobe.analysis.divergence import DivergenceResult
from dynaprobe.analysis.epoch_subspaces import EpochSubspaces
from dynaprobe.analysis.feature_distance import FeatureDistance
from dynaprobe.analysis.fixed_point_record import FixedPoints
from dynaprobe.analysis.jpca import JpcaResult
from dynaprobe.analysis.jpca_surrogates import JpcaSurrogates
from dynaprobe.analysis.latency import ResponseLatency
from dynaprobe.analysis.match_distribution import MatchDistribution
from dynaprobe.analysis.motifs import LabelDistance, MotifGallery
from dynaprobe.analysis.null_potent import NullPotentResult
from dynaprobe.analysis.pca import PcaResult
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.sparseness import Sparseness
from dynaprobe.analysis.tangling import TanglingResult
from dynaprobe.analysis.tuning_correlation import TuningCorrelation
from dynaprobe.analysis.unit_classes import PsthClasses
from dynaprobe.analysis.unit_features import UnitFeatures
from dynaprobe.analysis.unit_match import UnitMatch
from dynaprobe.report import captions, captions_population, captions_units
from dynaprobe.report.colour import Look
from dynaprobe.report.figures.behaviour import behaviour_figure
from dynaprobe.report.figures.dimensions import condition_curve_figure, dimensionality_figure
from dynaprobe.report.figures.dynamics import fixed_points_figure, spectra_figure
from dynaprobe.report.figures.motifs import classes_figure, gallery_figure
from dynaprobe.report.figures.nulls import jpca_surrogates_figure
from dynaprobe.report.figures.population import (
    alignment_figure,
    condition_independent_figure,
    jpca_figure,
    pca_figure,
)
from dynaprobe.report.figures.psth import psth_figure, spread_units
from dynaprobe.report.figures.similarity import cca_figure, settings_figure, similarity_figure, unit_match_figure
from dynaprobe.report.figures.subspaces import epoch_subspaces_figure, null_potent_figure
from dynaprobe.report.figures.training import training_figure
from dynaprobe.report.figures.trajectories import divergence_figure, tangling_figure
from dynaprobe.report.figures.unit_spread import (
    feature_distance_figure,
    features_figure,
    label_distance_figure,
    match_distribution_figure,
    sparseness_figure,
)
from dynaprobe.report.figures.unit_tuning import (
    direction_tuning_figure,
    latency_figure,
    tuning_correlation_figure,
)
from dynaprobe.report.gather import RunContents, learned
from dynaprobe.report.pair_page import pair_figures

Looks = Mapping[str, Look]
# Rows of the PSTH figure: more would not fit on a page.
MOST_UNITS = 5


@dataclass(frozen=True)
class Entry:
    """One kind of result and the figure made of it.

    Attributes:
        group: name of the result in a run's files.
        kind: class of the result.
        name: file name of the figure.
        title: heading in the report.
        draw: from results by side, and how sides are drawn, to the figure.
        caption: from the same results to text.
    """

    group: str
    kind: type[Result]
    name: str
    title: str
    draw: Callable[[Mapping[str, Any], Looks], Figure]
    caption: Callable[[Mapping[str, Any]], str]


def _alone(draw: Callable[[Mapping[str, Any]], Figure]) -> Callable[[Mapping[str, Any], Looks], Figure]:
    """A figure in which conditions or inputs carry the colours, not sides."""
    return lambda results, _looks: draw(results)


# A new analysis is drawn by writing its function and adding a row.
CATALOGUE: tuple[Entry, ...] = (
    Entry("gallery", MotifGallery, "gallery", "Motifs of single units", gallery_figure, captions.gallery),
    Entry(
        "motif_distance",
        LabelDistance,
        "motif_distance",
        "Distance of motifs",
        label_distance_figure,
        captions_units.label_distance,
    ),
    Entry("motifs", PsthClasses, "classes", "Tuning of single units", classes_figure, captions.classes),
    Entry(
        "class_distance",
        LabelDistance,
        "class_distance",
        "Distance of tuning classes",
        label_distance_figure,
        captions_units.label_distance,
    ),
    Entry(
        "direction_tuning",
        DirectionTuning,
        "direction_tuning",
        "Selectivity by epoch",
        direction_tuning_figure,
        captions_units.direction_tuning,
    ),
    Entry(
        "tuning_correlation",
        TuningCorrelation,
        "tuning_correlation",
        "Tuning across epochs",
        tuning_correlation_figure,
        captions_units.tuning_correlation,
    ),
    Entry(
        "latency_target",
        ResponseLatency,
        "latency_target",
        "Latency after target onset",
        latency_figure,
        captions_units.latency,
    ),
    Entry(
        "latency_move",
        ResponseLatency,
        "latency_move",
        "Latency about movement onset",
        latency_figure,
        captions_units.latency,
    ),
    Entry(
        "sparseness",
        Sparseness,
        "sparseness",
        "Sparseness",
        sparseness_figure,
        captions_units.sparseness,
    ),
    Entry(
        "unit_features",
        UnitFeatures,
        "unit_features",
        "Features of single units",
        features_figure,
        captions_units.features,
    ),
    Entry(
        "feature_distance",
        FeatureDistance,
        "feature_distance",
        "Distance of unit features",
        feature_distance_figure,
        captions_units.feature_distance,
    ),
    Entry("unit_match", UnitMatch, "unit_match", "Single-unit similarity", unit_match_figure, captions.unit_match),
    Entry(
        "match_distribution",
        MatchDistribution,
        "match_distribution",
        "All best matches",
        match_distribution_figure,
        captions_units.match_distribution,
    ),
    Entry("pca", PcaResult, "pca", "Principal components", pca_figure, captions.pca),
    Entry(
        "dimensionality",
        DimensionalityResult,
        "dimensionality",
        "Dimensionality",
        dimensionality_figure,
        captions_population.dimensionality,
    ),
    Entry(
        "condition_curve",
        ConditionCurve,
        "condition_curve",
        "Dimensionality and number of conditions",
        condition_curve_figure,
        captions_population.condition_curve,
    ),
    Entry(
        "condition_independent",
        ConditionIndependentResult,
        "condition_independent",
        "What all conditions share",
        condition_independent_figure,
        captions.condition_independent,
    ),
    Entry("jpca", JpcaResult, "jpca", "Rotations", _alone(jpca_figure), captions.jpca),
    Entry(
        "jpca_surrogates",
        JpcaSurrogates,
        "jpca_surrogates",
        "Rotations against surrogates",
        _alone(jpca_surrogates_figure),
        captions_population.jpca_surrogates,
    ),
    Entry(
        "tangling",
        TanglingResult,
        "tangling",
        "Tangling",
        _alone(tangling_figure),
        captions_population.tangling,
    ),
    Entry(
        "divergence",
        DivergenceResult,
        "divergence",
        "Divergence of trajectories",
        _alone(divergence_figure),
        captions_population.divergence,
    ),
    Entry(
        "alignment",
        AlignmentResult,
        "alignment",
        "Preparatory and movement subspaces",
        _alone(alignment_figure),
        captions.alignment,
    ),
    Entry(
        "epoch_subspaces",
        EpochSubspaces,
        "epoch_subspaces",
        "Subspaces found together",
        _alone(epoch_subspaces_figure),
        captions_population.epoch_subspaces,
    ),
    Entry(
        "null_potent",
        NullPotentResult,
        "null_potent",
        "Output-null and output-potent tuning",
        _alone(null_potent_figure),
        captions_population.null_potent,
    ),
    Entry("cca", CcaBounds, "cca", "Population similarity", cca_figure, captions.cca),
    Entry(
        "fixed_points",
        FixedPoints,
        "spectra",
        "Modes around fixed points",
        _alone(spectra_figure),
        captions.spectra,
    ),
    Entry(
        "fixed_points",
        FixedPoints,
        "fixed_points",
        "Fixed points along a trial",
        _alone(fixed_points_figure),
        captions.fixed_points,
    ),
)


@dataclass(frozen=True)
class ReportFigure:
    """A figure of a report, not yet drawn.

    Attributes:
        name: file name without ending.
        title, caption: what stands by it.
        draw: makes it.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[], Figure]


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
        )
        yield ReportFigure(
            "settings",
            "Similarity by setting",
            captions.settings(settings),
            lambda: settings_figure(networks, settings),
        )
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
    titles = {entry.name: entry.title for entry in CATALOGUE} | {
        "similarity": "Single units against population",
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
