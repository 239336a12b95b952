"""The analyses of whole populations, one row each."""

from __future__ import annotations

from dynaprobe.analysis.alignment import AlignmentResult, alignment
from dynaprobe.analysis.condition_curve import condition_curve
from dynaprobe.analysis.condition_independent import ConditionIndependentResult, condition_independent_fraction
from dynaprobe.analysis.dimensionality import dimensionality
from dynaprobe.analysis.divergence import divergence
from dynaprobe.analysis.epoch_subspaces import EpochSubspaces, epoch_subspaces
from dynaprobe.analysis.jpca import JpcaResult, jpca
from dynaprobe.analysis.jpca_surrogates import JpcaSurrogates, jpca_surrogates
from dynaprobe.analysis.pca import pca
from dynaprobe.analysis.tangling import tangling
from dynaprobe.study.prepared import Analysis, Number, Prepared


def _condition_independent(side: Prepared) -> ConditionIndependentResult:
    return condition_independent_fraction(
        side.normalised,
        standard_error=side.standard_error if side.side.halves else None,
        kernel_sd_ms=side.settings.psth.sd_ms,
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


def _jpca_surrogates(side: Prepared) -> JpcaSurrogates:
    return jpca_surrogates(
        side.side.rates,
        _jpca(side),
        families=side.settings.families,
        n_surrogates=side.settings.n_surrogates,
        seed=side.seed,
    )


def _epoch_subspaces(side: Prepared) -> EpochSubspaces:
    return epoch_subspaces(
        side.prep,
        side.move,
        [(side.epochs(a), side.epochs(b)) for a, b in side.side.halves],
        max_dims=side.settings.max_alignment_dims,
        n_surrogates=side.settings.n_surrogates,
        seed=side.seed,
    )


_TO_MOVE = {"direction": "prep_to_move"}
# Of several families and horizons the summary speaks of one: surrogates that keep all marginals, 100 ms ahead.
_ALL = {"family": "TNC"}
_SOON = {"horizon": 100.0}

POPULATION_ANALYSES: tuple[Analysis, ...] = (
    Analysis(
        "pca",
        lambda side: pca(side.normalised),
        {"n_pcs_90": Number("n_for_threshold"), "participation_ratio": Number("participation_ratio")},
    ),
    Analysis(
        "dimensionality",
        lambda side: dimensionality(side.normalised, side.side.halves, seed=side.seed),
        {"signal_participation_ratio": Number("signal_participation_ratio")},
    ),
    Analysis("condition_curve", lambda side: condition_curve(side.normalised, side.side.halves, seed=side.seed)),
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
        "jpca_surrogates",
        _jpca_surrogates,
        {"jpca_p": Number("p_r2_skew", _ALL), "jpca_ratio_p": Number("p_ratio", _ALL)},
    ),
    Analysis(
        "tangling",
        lambda side: tangling(side.around_move, n_surrogates=side.settings.n_surrogates, seed=side.seed),
        {"tangling": Number("mean_tangling"), "tangling_p": Number("p_mean")},
    ),
    Analysis(
        "divergence",
        lambda side: divergence(side.around_move, n_surrogates=side.settings.n_surrogates, seed=side.seed),
        {"divergence": Number("mean_divergence", _SOON), "divergence_p": Number("p_mean", _SOON)},
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
    Analysis(
        "epoch_subspaces",
        _epoch_subspaces,
        {"orthogonal_index": Number("index"), "orthogonal_p": Number("p_value")},
    ),
)
