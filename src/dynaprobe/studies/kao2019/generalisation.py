"""Claim 4: do the dynamics suffice for tasks the network was not trained on?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from dynaprobe.studies.kao2019.mechanisms import LEAST_NETWORKS, POLES, in_words
from dynaprobe.studies.kao2019.robustness import STRATA, strata_of
from dynaprobe.studies.kao2019.texts import CLAIMS
from dynaprobe.study.association import Association, association
from dynaprobe.study.records import Decision, Verdict
from dynaprobe.study.statistics import Interval, mean_interval

# What is correlated with the mechanism index, by name: a column of the table and its sign, so that more is better.
MEASURES = {
    "early switches followed": ("switch_success_early", 1),
    "late switches followed": ("switch_success_late", 1),
    "direction at new places": ("direction_error_between_deg", -1),
}


def claim_4(
    networks: xr.Dataset, *, follows: float, between_deg: float, seed: int
) -> tuple[Verdict, dict[tuple[str, str], Association]]:
    """Decide claim 4 by its rule.

    Args:
        networks: along network: mechanism, mechanism_index, clean_error, switch_success_early,
            switch_success_late, direction_error_between_deg, stratum and cell; controls left out.
        follows: the share of switches that must be followed.
        between_deg: the angle from a new direction to the nearest trained one.
        seed: of the permutations.

    Returns:
        The verdict, and the rank correlation of the mechanism index with every row of `MEASURES`, by row and
        strata.
    """
    mechanism = networks["mechanism"].values.astype(str)
    of = {
        # Shares and errors are not negative, and no share exceeds 1: an interval beyond says nothing.
        (name, measure): _within(mean_interval(networks[measure].values[mechanism == name]), measure)
        for name in POLES
        for measure, _ in MEASURES.values()
    }
    switch = of["initial_condition", "switch_success_early"]
    turn = of["initial_condition", "direction_error_between_deg"]
    bar_deg = between_deg / 2
    decision: Decision = "undecided"
    if min(switch.n, turn.n) >= LEAST_NETWORKS:
        if switch.low >= follows and turn.high <= bar_deg:
            decision = "supported"
        elif switch.high < follows or turn.low > bar_deg:
            decision = "opposed"
    found = {
        (name, kind): association(
            networks["mechanism_index"].values,
            sign * networks[measure].values,
            strata_of(networks, kind),
            given=networks["clean_error"].values,
            seed=seed,
        )
        for name, (measure, sign) in MEASURES.items()
        for kind in STRATA
    }
    behaviour = [_behaviour(name, of, follows, bar_deg) for name in POLES if of[name, "switch_success_early"].n]
    correlations = "; ".join(f"{name} {found[name, STRATA[0]]}" for name in MEASURES)
    none = [] if switch.n else ["No initial-condition network to ask"]
    sentence = ". ".join([*none, *behaviour, f"Rank correlation with the mechanism index: {correlations}"]) + "."
    numbers = {
        "follows": follows,
        "bar_deg": bar_deg,
        "means": {f"{name}, {measure}": value._asdict() for (name, measure), value in of.items()},
        "associations": {f"{name}, {kind}": value._asdict() for (name, kind), value in found.items()},
        "n_networks": int(np.isfinite(networks["mechanism_index"].values).sum()),
    }
    return Verdict(CLAIMS[3], decision, sentence, numbers), found


def _behaviour(name: str, of: Mapping[tuple[str, str], Interval], follows: float, bar_deg: float) -> str:
    early, late, turn = (of[name, column] for column, _ in MEASURES.values())
    return (
        f"{in_words(name).capitalize()} ({early.n} networks): switches before the go cue reached {early} (bar "
        f"{follows:g}), at or after it {late}, direction error at new places {turn} degrees (bar {bar_deg:g})"
    )


def _within(interval: Interval, measure: str) -> Interval:
    """The interval without what the measure cannot be; that of a single network stays open."""
    if not np.isfinite(interval.low):
        return interval
    top = 1.0 if measure.startswith("switch_success") else np.inf
    return interval._replace(low=max(interval.low, 0.0), high=min(interval.high, top))
