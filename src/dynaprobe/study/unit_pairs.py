"""How the single units of a network differ from those of a recording, as distributions and never as examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import xarray as xr

from dynaprobe.analysis.feature_distance import FeatureDistance, feature_distance
from dynaprobe.analysis.match_distribution import MatchDistribution, match_distribution
from dynaprobe.analysis.motifs import label_distance
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.surrogates import fit_tme
from dynaprobe.analysis.unit_features import SHAPE_FEATURES, unit_features
from dynaprobe.analysis.unit_match import UnitMatch, unit_match
from dynaprobe.core.errors import RatesError
from dynaprobe.study.comparison import ComparisonSettings, Population, conditions_alike, cut
from dynaprobe.study.prepared import Number


@dataclass(frozen=True)
class SurrogateFeatures(Result):
    """Features of units of surrogates of a recording.

    Variables of `data`:
        value (surrogate, feature, unit): as in `dynaprobe.analysis.unit_features.UnitFeatures`.
    """


# One number per question: name in the summary, result, place in the result.
PAIR_NUMBERS: dict[str, tuple[str, Number]] = {
    "motif_distance": ("motif_distance", Number("distance")),
    "motif_p": ("motif_distance", Number("p_value")),
    "class_distance": ("class_distance", Number("distance")),
    "class_p": ("class_distance", Number("p_value")),
    "feature_distance": ("feature_distance", Number("energy")),
    "feature_similarity": ("feature_distance", Number("similarity")),
    "feature_p": ("feature_distance", Number("energy_p")),
    "matched_recorded": ("match_distribution", Number("fraction", {"judged": "recorded_unit"})),
    "matched_model": ("match_distribution", Number("fraction", {"judged": "model_unit"})),
}


def unit_pairs(
    network: Population,
    recording: Population,
    results: Mapping[str, Result],
    reference: Mapping[str, Result],
    settings: ComparisonSettings,
    *,
    seed: int,
) -> tuple[dict[str, Result], dict[str, str]]:
    """Distances of two populations of single units, each with its null.

    Args:
        network, recording: both populations.
        results: of the network: those of `describe` and `score`.
        reference: of the recording: those of `describe`, and `surrogate_features`.
        settings: resolved settings.
        seed: of everything random.

    Returns:
        Results by name, and for each that is missing the reason.
    """
    n_null = settings.units.n_permutations

    def labels(name: str, variable: str) -> Callable[[], Result]:
        return lambda: label_distance(
            results[name].data[variable], reference[name].data[variable], seed=seed, n_null=n_null
        )

    calls: dict[str, tuple[tuple[str, ...], Callable[[], Result]]] = {
        "motif_distance": (("gallery",), labels("gallery", "label")),
        "class_distance": (("motifs",), labels("motifs", "unit_class")),
        "feature_distance": (
            ("unit_features",),
            lambda: _features(
                results["unit_features"], reference["unit_features"], reference["surrogate_features"], n_null, seed
            ),
        ),
        "match_distribution": (
            (),
            lambda: _matches(network, recording, cast("UnitMatch", results["unit_match"]), settings, seed),
        ),
    }
    found: dict[str, Result] = {}
    reasons: dict[str, str] = {}
    for name, (needed, call) in calls.items():
        absent = [other for other in needed if other not in results or other not in reference]
        try:
            if absent:
                reasons[name] = f"it needs {absent[0].replace('_', ' ')} of both sides"
            else:
                found[name] = call()
        except RatesError as error:
            reasons[name] = str(error)
    return found, reasons


def surrogate_features(recording: Population, settings: ComparisonSettings, *, seed: int) -> SurrogateFeatures:
    """Features of the units of tensor maximum entropy surrogates, whose rates are cut off at 0.

    They are the floor of the distance of unit features: units that share the recording's means and covariances.
    """
    fitted = fit_tme(recording.rates)
    found = []
    for index in range(settings.units.n_surrogates):
        rates = recording.rates.copy(data=np.maximum(fitted.draw_values(index, seed=seed), 0.0))
        windows = (
            cut(rates, "target_on", settings.preparatory_window_ms),
            cut(rates, "move_onset", settings.peri_movement_window_ms),
        )
        found.append(unit_features(rates, *windows).data["value"])
    value = xr.concat(found, dim="surrogate", coords="minimal", compat="override")
    return SurrogateFeatures(xr.Dataset({"value": value}), {"seed": seed, "n_surrogates": len(found)})


def _features(network: Result, reference: Result, surrogates: Result, n_null: int, seed: int) -> FeatureDistance:
    draws = surrogates.data
    return feature_distance(
        network.data,
        reference.data,
        joint=SHAPE_FEATURES,
        seed=seed,
        surrogates=[draws.isel(surrogate=k) for k in range(draws.sizes["surrogate"])],
        n_null=n_null,
    )


def _matches(
    network: Population, recording: Population, forward: UnitMatch, settings: ComparisonSettings, seed: int
) -> MatchDistribution:
    """The match of the score and the same with the roles exchanged."""
    halves = [tuple(conditions_alike(half) for half in pair) for pair in network.halves]
    backward = unit_match(
        conditions_alike(recording.halves[0][0]),
        halves,  # type: ignore[arg-type]
        seed=seed,
        n_floor=settings.n_floor,
    )
    return match_distribution(forward, backward, false_discovery=settings.units.false_discovery)
