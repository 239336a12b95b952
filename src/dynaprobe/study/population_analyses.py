"""The analyses of whole populations, one row each."""

from __future__ import annotations

from dynaprobe.analysis.alignment import AlignmentResult, alignment
from dynaprobe.analysis.condition_independent import ConditionIndependentResult, condition_independent_fraction
from dynaprobe.analysis.jpca import JpcaResult, jpca
from dynaprobe.analysis.pca import pca
from dynaprobe.study.prepared import Analysis, Number, Prepared


def _condition_independent(side: Prepared) -> ConditionIndependentResult:
    return condition_independent_fraction(
        side.normalised, standard_error=side.standard_error, kernel_sd_ms=side.settings.psth.sd_ms
    )


def _jpca(side: Prepared) -> JpcaResult:
    start_ms, stop_ms = side.settings.jpca_window_ms
    return jpca(
        side.side.rates,
        start_ms=start_ms,
        stop_ms=stop_ms,
        n_pcs=side.settings.n_pcs,
        constant=side.settings.softening_hz,
    )


def _alignment(side: Prepared) -> AlignmentResult:
    return alignment(
        side.prep,
        side.move,
        max_dims=side.settings.max_alignment_dims,
        n_chance=side.settings.n_chance,
        seed=side.seed,
    )


_TO_MOVE = {"direction": "prep_to_move"}

POPULATION_ANALYSES: tuple[Analysis, ...] = (
    Analysis(
        "pca",
        lambda side: pca(side.normalised),
        {"n_pcs_90": Number("n_for_threshold"), "participation_ratio": Number("participation_ratio")},
    ),
    Analysis(
        "condition_independent",
        _condition_independent,
        {"condition_independent_fraction": Number("unbiased_fraction")},
    ),
    Analysis(
        "jpca",
        _jpca,
        {
            "jpca_r2_skew": Number("r2_skew"),
            "jpca_r2_m": Number("r2_m"),
            "jpca_ratio": Number("ratio"),
            "jpca_hz": Number("frequency_hz", {"plane": 1}),
        },
    ),
    Analysis(
        "alignment",
        _alignment,
        {
            "alignment_index": Number("alignment_index", _TO_MOVE),
            "alignment_chance": Number("chance_mean", _TO_MOVE),
            "alignment_p": Number("p_value", _TO_MOVE),
        },
    ),
)
