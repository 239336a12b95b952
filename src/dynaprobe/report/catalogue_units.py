"""Figures of single units, in reading order."""

from __future__ import annotations

from dynaprobe.analysis.direction_tuning import DirectionTuning
from dynaprobe.analysis.feature_distance import FeatureDistance
from dynaprobe.analysis.latency import ResponseLatency
from dynaprobe.analysis.match_distribution import MatchDistribution
from dynaprobe.analysis.motifs import LabelDistance, MotifGallery
from dynaprobe.analysis.sparseness import Sparseness
from dynaprobe.analysis.tuning_correlation import TuningCorrelation
from dynaprobe.analysis.unit_classes import PsthClasses
from dynaprobe.analysis.unit_features import UnitFeatures
from dynaprobe.analysis.unit_match import UnitMatch
from dynaprobe.report import captions, captions_units
from dynaprobe.report.catalogue_entry import Entry
from dynaprobe.report.figures.motifs import classes_figure, gallery_figure
from dynaprobe.report.figures.similarity import unit_match_figure
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

UNIT_FIGURES: tuple[Entry, ...] = (
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
)
