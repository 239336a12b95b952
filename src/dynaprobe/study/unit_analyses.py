"""The analyses of single units, one row each."""

from __future__ import annotations

from dynaprobe.analysis.direction_tuning import DirectionTuning, direction_tuning
from dynaprobe.analysis.latency import ResponseLatency, response_latency
from dynaprobe.analysis.motifs import MotifGallery, assign_motifs, motif_gallery
from dynaprobe.analysis.sparseness import sparseness
from dynaprobe.analysis.tuning_correlation import TuningCorrelation, tuning_correlation
from dynaprobe.analysis.unit_classes import psth_classes
from dynaprobe.analysis.unit_features import UnitFeatures, unit_features
from dynaprobe.core.errors import RatesError
from dynaprobe.study.comparison import Window, cut
from dynaprobe.study.prepared import Analysis, Number, Prepared
from dynaprobe.study.single_trials import before_movement_ms


def _gallery(side: Prepared) -> MotifGallery:
    """The clusters of another population where there are such, so that fractions can be compared."""
    if side.gallery is None:
        return motif_gallery(side.normalised, side.settings.n_motifs, seed=side.seed)
    return assign_motifs(side.gallery, side.normalised)


def _direction_tuning(side: Prepared) -> DirectionTuning:
    """Baseline is a control: nothing is known yet, so no more units than chance may be selective."""
    trials, units = side.side.trials, side.settings.units
    preparatory_ms = side.settings.preparatory_window_ms
    assert preparatory_ms is not None
    return direction_tuning(
        {
            "baseline": trials.cut("target_on", units.baseline_window_ms),
            "preparatory": trials.cut("target_on", preparatory_ms),
            "movement": trials.cut("move_onset", side.settings.peri_movement_window_ms),
        },
        seed=side.seed,
        n_permutations=units.n_permutations,
        false_discovery=units.false_discovery,
    )


def _tuning_correlation(side: Prepared) -> TuningCorrelation:
    settings = side.settings

    def halves(event: str, span_ms: Window | None) -> list[tuple[object, ...]]:
        return [tuple(cut(half, event, span_ms) for half in pair) for pair in side.side.halves]

    if not side.side.halves:
        raise RatesError(
            "trials",
            rule="be at hand, as tuning across epochs is judged on halves of them",
            received="averages over trials alone",
            remedy="Give the recording with its trials",
        )
    return tuning_correlation(
        halves("target_on", settings.preparatory_window_ms),  # type: ignore[arg-type]
        halves("move_onset", settings.peri_movement_window_ms),  # type: ignore[arg-type]
        seed=side.seed,
        n_null=settings.units.n_permutations,
        n_bootstrap=settings.units.n_permutations,
    )


def _latency(side: Prepared, event: str, search_ms: Window, baseline_ms: Window) -> ResponseLatency:
    units = side.settings.units
    return response_latency(
        side.side.trials.around(event),
        search_ms=search_ms,
        baseline_ms=baseline_ms,
        seed=side.seed,
        least_run_ms=units.latency_run_ms,
        n_null=units.n_latency_null,
        n_bootstrap=units.n_latency_null,
        levels=(0.05, units.false_discovery, 0.95),
    )


def _latency_target(side: Prepared) -> ResponseLatency:
    units = side.settings.units
    return _latency(side, "target_on", units.latency_window_ms, units.baseline_window_ms)


def _latency_move(side: Prepared) -> ResponseLatency:
    move_ms = side.settings.move_window_ms
    return _latency(side, "move_onset", move_ms, before_movement_ms(move_ms))


def _unit_features(side: Prepared) -> UnitFeatures:
    rates, settings = side.side.rates, side.settings
    preparatory = cut(rates, "target_on", settings.preparatory_window_ms)
    return unit_features(rates, preparatory, cut(rates, "move_onset", settings.peri_movement_window_ms))


_RESPONSE, _SELECTIVITY = {"criterion": "response"}, {"criterion": "selectivity"}

UNIT_ANALYSES: tuple[Analysis, ...] = (
    Analysis("motifs", lambda side: psth_classes(side.prep, side.move)),
    Analysis("gallery", _gallery),
    Analysis(
        "direction_tuning",
        _direction_tuning,
        {f"selective_{epoch}": Number("fraction", {"epoch": epoch}) for epoch in ("preparatory", "movement")},
    ),
    Analysis(
        "tuning_correlation",
        _tuning_correlation,
        {"tuning_correlation": Number("population"), "tuning_correlation_p": Number("p_value")},
    ),
    Analysis(
        "latency_target",
        _latency_target,
        {
            "response_latency_ms": Number("median_ms", _RESPONSE),
            "selectivity_latency_ms": Number("median_ms", _SELECTIVITY),
        },
    ),
    Analysis("latency_move", _latency_move, {"movement_latency_ms": Number("median_ms", _RESPONSE)}),
    Analysis(
        "sparseness",
        lambda side: sparseness(side.side.rates, side.side.standard_error if side.side.halves else None),
        {"lifetime_sparseness": Number("lifetime_median"), "population_sparseness": Number("population_mean")},
    ),
    Analysis("unit_features", _unit_features),
)
