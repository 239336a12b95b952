"""What a reader must know of the figures of single units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dynaprobe.analysis.result import Result
from dynaprobe.report.captions import EVENT_PHRASES, each_side, what_failed

Results = Mapping[str, Any]


def _settings(results: Results) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(iter(results.values())).settings
    return found


def _numbers(results: Mapping[str, Result], form: str) -> str:
    """One phrase per side, from a template with the names of variables."""

    class _Values(dict[str, float]):
        def __init__(self, result: Result) -> None:
            self.data = result.data

        def __missing__(self, key: str) -> float:
            return float(self.data[key])

    return "; ".join(f"{name} {form.format_map(_Values(result))}" for name, result in results.items())


def direction_tuning(results: Results) -> str:
    """Of selectivity by epoch."""
    s = _settings(results)
    parts = []
    for name, result in results.items():
        each = [
            f"{float(row['fraction']):.0%} [{float(row['fraction_low']):.0%}, {float(row['fraction_high']):.0%}] "
            f"{row['epoch'].item()}"
            for row in (result.data.isel(epoch=k) for k in range(result.data.sizes["epoch"]))
        ]
        parts.append(f"{name} {', '.join(each)}")
    return (
        f"Left: fraction of units whose rate differs between directions, at a false discovery rate of "
        f"{s.get('false_discovery', 0.05):g} (Benjamini-Hochberg over units), with "
        f"{s.get('confidence', 0.95):.0%} Wilson intervals: {'; '.join(parts)}. p-values from {s.get('p_from')}"
        f"{', ' + str(s['n_permutations']) + ' deals of the conditions' if 'n_permutations' in s else ''}. In the "
        "baseline nothing is known of the target yet: it is the control. Right: share of the variance over "
        "directions that a cosine holds, noise of the means removed (values beyond -0.2 and 1.2 at the edge), of "
        f"selective units. {each_side(results, 'Units')}. Units of one session share trials, which the "
        f"intervals do not know.{what_failed(results)}"
    )


def tuning_correlation(results: Results) -> str:
    """Of tuning across epochs."""
    s = _settings(results)
    numbers = _numbers(
        results, "{population:.2f} [{population_low:.2f}, {population_high:.2f}], p = {p_value:.3f}"
    )
    return (
        "Correlation over directions of mean rates in the preparatory with those in the movement epoch, from "
        "halves of the trials so that noise neither lowers nor makes it. Left: of every unit whose tuning is "
        f"reliable (correlation of halves at least {s.get('least_reliability', 0):g} in both epochs, our choice; "
        "values beyond 1.25 at the edge). Right: of all units together, each by the variance of its tuning: "
        f"{numbers}; interval over units, p two-sided against pairings with the movement tuning of another unit "
        f"(bar: middle 95 % of {s.get('n_null')}). {each_side(results, 'Units')}. After Churchland et al. "
        f"(2010) Neuron 68:387.{what_failed(results)}"
    )


def latency(results: Results) -> str:
    """Of response latencies."""
    s = _settings(results)
    parts = []
    for name, result in results.items():
        each = []
        for k in range(result.data.sizes["criterion"]):
            row = result.data.isel(criterion=k)
            each.append(
                f"{row['criterion'].item()} in {float(row['fraction']):.0%}, median {float(row['median_ms']):.0f} "
                f"[{float(row['median_low_ms']):.0f}, {float(row['median_high_ms']):.0f}] ms"
            )
        parts.append(f"{name}: {', '.join(each)}")
    start_ms, stop_ms = s.get("baseline_ms", (float("nan"),) * 2)
    event = str(s.get("event"))
    return (
        f"Cumulative fraction of all units that have begun to respond, from {EVENT_PHRASES.get(event, event)}. "
        f"Response: departure of any condition from the window {start_ms:g} to {stop_ms:g} ms; selectivity: "
        f"difference between conditions. A latency is the first time at which the F ratio stays for "
        f"{s.get('least_run_ms', 0):g} ms above what {s.get('n_null')} nulls reach anywhere in the window with "
        f"probability {s.get('alpha', 0):g} (trials shifted in time; conditions dealt anew). Units count at a "
        f"false discovery rate of {s.get('false_discovery', 0):g}: {'; '.join(parts)}. Latencies depend on the "
        "number of trials and are early by up to twice the kernel's standard deviation; both sides have the same "
        f"kernel. Criterion and window are our choice.{what_failed(results)}"
    )


def sparseness(results: Results) -> str:
    """Of sparseness."""
    return (
        "Sparseness (1 - a) / (1 - 1 / n) with a = (mean r)² / mean r², 0 where all responses are alike and 1 "
        "where one stands alone. Left: of every unit over conditions and times. Right: over units at every "
        "condition and time. Noise of the PSTHs is taken out of the squares. Medians: "
        f"{_numbers(results, '{lifetime_median:.2f}')}. Networks take the lowest and the highest rate of their "
        "units from the recording, which fixes part of it. Treves & Rolls (1991); Vinje & Gallant "
        f"(2000).{what_failed(results)}"
    )


def features(results: Results) -> str:
    """Of the features of units."""
    return (
        "Distribution over units of what the distance of the next figure is made of. Peak and range of the rates "
        "of networks are given by their rendering, drawn from the recording's; the others are not. Depth: "
        "amplitude of the cosine fit to mean rates. Shared: variance over time of the mean over conditions, as a "
        f"fraction of the variance over conditions and times. {each_side(results, 'Units')}.{what_failed(results)}"
    )


def feature_distance(results: Results) -> str:
    """Of the distance of unit features."""
    s = _settings(results)
    numbers = _numbers(results, "{energy:.2f}, p = {energy_p:.3f}, similarity {similarity:.2f}")
    return (
        "Left: Wasserstein distance between a network's units and the recording's, feature by feature, in pooled "
        "standard deviations; bars reach up to the 95 % quantile after units were dealt anew to the two sides. "
        f"Right: unbiased energy distance of {len(s.get('joint', ()))} features together (all but those that "
        f"rendering gives): {numbers}. Lines: middle 95 % of dealt units ({s.get('n_null')}), of two random "
        f"halves of the recording's units, and of {s.get('n_surrogates')} tensor-maximum-entropy surrogates of "
        "the recording. Similarity is 1 at the halves and 0 at the surrogates. p is not corrected for the number "
        f"of networks. Scale and features are our choice. Szekely & Rizzo (2013).{what_failed(results)}"
    )


def match_distribution(results: Results) -> str:
    """Of best matches as a distribution."""
    s = _settings(results)
    return (
        "All best matches, none picked: for every unit the correlation with the most similar unit of the other "
        "side, chosen on one half of its trials and judged on the other. Left: recorded units matched by network "
        "units. Right: network units matched by recorded units. Band: the same for tensor-maximum-entropy "
        "surrogates of the side that is chosen from, which get the same choice. p: chance of so large a distance "
        "from the surrogates' distribution among surrogates. Units above chance at a false discovery rate of "
        f"{s.get('false_discovery', 0):g}, against the standardised surrogates of all units. This measure is our "
        f"choice.{what_failed(results)}"
    )


def label_distance(results: Results) -> str:
    """Of distances between spreads over classes."""
    n = int(next(iter(results.values())).data.sizes["draw"])
    numbers = _numbers(results, "{distance:.2f}, p = {p_value:.3f}")
    return (
        "Half the sum of the differences between the fractions of units in every class, network against "
        f"recording, from 0 for equal spreads to 1 for disjoint ones: {numbers}. Bar: middle 95 % after the units "
        f"of both sides were dealt anew ({n} times), which two samples of one population reach. p is not "
        f"corrected for the number of networks.{what_failed(results)}"
    )
