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

EARLY, TRAINED, SHORT, LATE = (
    f"switch_success_{part}" for part in ("early", "early_trained", "early_short", "late")
)
TURN, TURN_DEG = "direction_error_between_fraction", "direction_error_between_deg"
TOO_SHORT = "n_too_short_between"
# What is correlated with the mechanism index, by name: a column of the table and its sign, so that more is better.
MEASURES = {
    "early switches followed": (EARLY, 1),
    "late switches followed": (LATE, 1),
    "direction at new places": (TURN, -1),
}
# What is reported of the networks of a mechanism.
REPORTED = (EARLY, TRAINED, SHORT, LATE, TURN, TURN_DEG)
# The bar for the direction error at a new place, as a fraction of the angle to the nearest trained direction.
HALF_WAY = 0.5

_Means = Mapping[tuple[str, str], Interval]


def claim_4(
    networks: xr.Dataset, *, follows: float, seed: int
) -> tuple[Verdict, dict[tuple[str, str], Association]]:
    """Decide claim 4 by its rule.

    Args:
        networks: along network: mechanism, mechanism_index, clean_error, stratum, cell, the columns `REPORTED`
            and `TOO_SHORT`; controls left out.
        follows: the share of switches that must be followed.
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
        for measure in REPORTED
    }
    n_short = {name: int(np.nansum(networks[TOO_SHORT].values[mechanism == name])) for name in POLES}
    decision, with_trained = (_decide(of, switches, follows) for switches in (EARLY, TRAINED))
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
    parts = [] if of[POLES[0], EARLY].n else ["No initial-condition network to ask"]
    parts += [_behaviour(name, of, n_short[name], follows) for name in POLES if of[name, EARLY].n]
    if of[POLES[0], TRAINED].n:
        parts.append(
            "With no early switches but those that leave the shortest trained delay, the verdict would be "
            + (f"{decision} as well" if with_trained == decision else f"{with_trained} instead")
        )
    correlations = "; ".join(f"{name} {found[name, STRATA[0]]}" for name in MEASURES)
    sentence = ". ".join([*parts, f"Rank correlation with the mechanism index: {correlations}"]) + "."
    numbers = {
        "follows": follows,
        "bar_fraction": HALF_WAY,
        "decision_with_trained_delays": with_trained,
        "means": {f"{name}, {measure}": value._asdict() for (name, measure), value in of.items()},
        TOO_SHORT: n_short,
        "associations": {f"{name}, {kind}": value._asdict() for (name, kind), value in found.items()},
        "n_networks": int(np.isfinite(networks["mechanism_index"].values).sum()),
    }
    return Verdict(CLAIMS[3], decision, sentence, numbers), found


def _decide(of: _Means, switches: str, follows: float) -> Decision:
    """What the rule says of initial-condition networks where early switches are those of a column."""
    switch, turn = of[POLES[0], switches], of[POLES[0], TURN]
    if min(switch.n, turn.n) >= LEAST_NETWORKS:
        if switch.low >= follows and turn.high <= HALF_WAY:
            return "supported"
        if switch.high < follows or turn.low > HALF_WAY:
            return "opposed"
    return "undecided"


def _behaviour(name: str, of: _Means, n_short: int, follows: float) -> str:
    early, trained, short, late, turn, turn_deg = (of[name, measure] for measure in REPORTED)
    parted = [
        f"{value} of those {what}"
        for value, what in (
            (trained, "with at least the shortest trained delay left"),
            (short, "closer to the go cue than any trained delay"),
        )
        if value.n
    ]
    return (
        f"{in_words(name).capitalize()} ({early.n} networks): switches before the go cue reached {early} (bar "
        f"{follows:g}){''.join(f', {part}' for part in parted)}, at or after it {late}, direction error at new "
        f"places {turn_deg} degrees, {turn} of the angle to the nearest trained direction (bar {HALF_WAY:g}), "
        f"{n_short or 'no'} movement{'' if n_short == 1 else 's'} there too short for a direction"
        f"{' and left out of the error' if n_short else ''}"
    )


def _within(interval: Interval, measure: str) -> Interval:
    """The interval without what the measure cannot be; that of a single network stays open."""
    if not np.isfinite(interval.low):
        return interval
    top = 1.0 if measure.startswith("switch_success") else np.inf
    return interval._replace(low=max(interval.low, 0.0), high=min(interval.high, top))
