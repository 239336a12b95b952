"""Figures of populations and of dynamics, in reading order."""

from __future__ import annotations

from dynaprobe.analysis.alignment import AlignmentResult
from dynaprobe.analysis.cca import CcaBounds
from dynaprobe.analysis.condition_curve import ConditionCurve
from dynaprobe.analysis.condition_independent import ConditionIndependentResult
from dynaprobe.analysis.dimensionality import DimensionalityResult
from dynaprobe.analysis.divergence import DivergenceResult
from dynaprobe.analysis.epoch_subspaces import EpochSubspaces
from dynaprobe.analysis.fixed_point_record import FixedPoints
from dynaprobe.analysis.jpca import JpcaResult
from dynaprobe.analysis.jpca_surrogates import JpcaSurrogates
from dynaprobe.analysis.null_potent import NullPotentResult
from dynaprobe.analysis.pca import PcaResult
from dynaprobe.analysis.tangling import TanglingResult
from dynaprobe.report import captions, captions_population
from dynaprobe.report.catalogue_entry import Entry, alone
from dynaprobe.report.figures.dimensions import condition_curve_figure, dimensionality_figure
from dynaprobe.report.figures.dynamics import fixed_points_figure, spectra_figure
from dynaprobe.report.figures.nulls import jpca_surrogates_figure
from dynaprobe.report.figures.population import (
    alignment_figure,
    condition_independent_figure,
    jpca_figure,
    pca_figure,
)
from dynaprobe.report.figures.similarity import cca_figure
from dynaprobe.report.figures.subspaces import epoch_subspaces_figure, null_potent_figure
from dynaprobe.report.figures.trajectories import divergence_figure, tangling_figure

POPULATION_FIGURES: tuple[Entry, ...] = (
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
    Entry("jpca", JpcaResult, "jpca", "Rotations", alone(jpca_figure), captions.jpca),
    Entry(
        "jpca_surrogates",
        JpcaSurrogates,
        "jpca_surrogates",
        "Rotations against surrogates",
        alone(jpca_surrogates_figure),
        captions_population.jpca_surrogates,
    ),
    Entry(
        "tangling",
        TanglingResult,
        "tangling",
        "Tangling",
        alone(tangling_figure),
        captions_population.tangling,
    ),
    Entry(
        "divergence",
        DivergenceResult,
        "divergence",
        "Divergence of trajectories",
        alone(divergence_figure),
        captions_population.divergence,
    ),
    Entry(
        "alignment",
        AlignmentResult,
        "alignment",
        "Preparatory and movement subspaces",
        alone(alignment_figure),
        captions.alignment,
    ),
    Entry(
        "epoch_subspaces",
        EpochSubspaces,
        "epoch_subspaces",
        "Subspaces found together",
        alone(epoch_subspaces_figure),
        captions_population.epoch_subspaces,
    ),
    Entry(
        "null_potent",
        NullPotentResult,
        "null_potent",
        "Output-null and output-potent tuning",
        alone(null_potent_figure),
        captions_population.null_potent,
    ),
    Entry("cca", CcaBounds, "cca", "Population similarity", cca_figure, captions.cca),
    Entry(
        "fixed_points",
        FixedPoints,
        "spectra",
        "Modes around fixed points",
        alone(spectra_figure),
        captions.spectra,
    ),
    Entry(
        "fixed_points",
        FixedPoints,
        "fixed_points",
        "Fixed points along a trial",
        alone(fixed_points_figure),
        captions.fixed_points,
    ),
)
