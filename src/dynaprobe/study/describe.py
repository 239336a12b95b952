"""What is computed of every population alone, recording or network, and the numbers a summary takes from it.

A new analysis is a row in `dynaprobe.study.unit_analyses` or `dynaprobe.study.population_analyses`: both sides get
it, its result is kept, its numbers stand in the summary, and a row of `dynaprobe.report.catalogue` draws it.
"""

from __future__ import annotations

from collections.abc import Mapping

from dynaprobe.analysis.motifs import MotifGallery
from dynaprobe.analysis.result import Result
from dynaprobe.core.errors import RatesError
from dynaprobe.study.comparison import ComparisonSettings, Population
from dynaprobe.study.population_analyses import POPULATION_ANALYSES
from dynaprobe.study.prepared import Analysis, Number, Prepared
from dynaprobe.study.progress import Step
from dynaprobe.study.unit_analyses import UNIT_ANALYSES
from dynaprobe.study.unit_pairs import PAIR_NUMBERS

ANALYSES: tuple[Analysis, ...] = (*POPULATION_ANALYSES, *UNIT_ANALYSES)

# From results that a recording alone does not have: of `score`, `place` and `unit_pairs`, which need both sides,
# and of the network's readout.
SCORE_NUMBERS: dict[str, tuple[str, Number]] = {
    "single_unit": ("placement", Number("similarity", {"level": "single_unit"})),
    "single_unit_raw": ("placement", Number("raw", {"level": "single_unit"})),
    "single_unit_p": ("unit_match", Number("p_value")),
    "population": ("placement", Number("similarity", {"level": "population"})),
    "population_raw": ("placement", Number("raw", {"level": "population"})),
    "population_p": ("cca", Number("p_value")),
    **PAIR_NUMBERS,
    "null_potent_ratio": ("null_potent", Number("ratio")),
    "null_potent_p": ("null_potent", Number("p_value")),
}


def describe(
    side: Population,
    settings: ComparisonSettings,
    *,
    seed: int,
    gallery: MotifGallery | None = None,
    step: Step | None = None,
) -> tuple[dict[str, Result], dict[str, str]]:
    """Everything that is computed of one population alone: the rows of `ANALYSES`.

    Args:
        side: the population.
        settings: resolved settings.
        seed: of everything random.
        gallery: clusters of PSTH shapes to sort the units into; None finds clusters on this population.
        step: hears how many analyses are done, and which one comes next.

    Returns:
        Results by name, and for each analysis that the data do not allow (too few conditions, say) the reason.
    """
    prepared = Prepared(side, settings, seed, gallery)
    results: dict[str, Result] = {}
    reasons: dict[str, str] = {}
    for done, analysis in enumerate(ANALYSES):
        if step is not None:
            step.update(done, analysis.name.replace("_", " "))
        try:
            results[analysis.name] = analysis.run(prepared)
        except RatesError as error:
            reasons[analysis.name] = str(error)
    if step is not None:
        step.update(len(ANALYSES))
    return results, reasons


def headline(results: Mapping[str, Result]) -> dict[str, float]:
    """One number per question from the results of one population, NaN where a result is missing."""
    places = SCORE_NUMBERS | {
        name: (analysis.name, number) for analysis in ANALYSES for name, number in analysis.numbers.items()
    }
    return {
        name: number.of(results[group]) if group in results else float("nan")
        for name, (group, number) in places.items()
    }
