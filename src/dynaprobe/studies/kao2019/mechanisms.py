"""Claim 2: alike at both levels, and yet by another mechanism; and what the probes are worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dynaprobe.studies.kao2019.texts import CLAIMS
from dynaprobe.study.records import Decision, Verdict
from dynaprobe.study.statistics import mean_interval

MECHANISMS = ("initial_condition", "input_driven", "mixed", "unclear")
POLES = ("initial_condition", "input_driven")
# Fewer networks of a mechanism than this decide nothing.
LEAST_NETWORKS = 3


def claim_2(networks: xr.Dataset, bar: float) -> Verdict:
    """Decide claim 2 by its rule.

    Args:
        networks: along network: mechanism, single_unit, population, mechanism_index, id and cell; controls left
        out.
        bar: from which a network reproduces a level.
    """
    both = np.minimum(networks["single_unit"].values, networks["population"].values)
    mechanism = networks["mechanism"].values.astype(str)
    compared = np.isfinite(both)
    alike = compared & (both >= bar)
    n_alike = {name: int((alike & (mechanism == name)).sum()) for name in MECHANISMS}
    n_compared = {name: int((compared & (mechanism == name)).sum()) for name in MECHANISMS}
    enough = [name for name in POLES if n_alike[name] >= LEAST_NETWORKS]
    decision: Decision = "undecided"
    if len(enough) == len(POLES):
        decision = "supported"
    elif len(enough) == 1:
        (other,) = set(POLES) - set(enough)
        if n_alike[other] == 0 and n_compared[other] >= 2 * LEAST_NETWORKS:
            decision = "opposed"
    means = {name: mean_interval(both[mechanism == name]) for name in MECHANISMS if n_compared[name]}
    nearest = {name: _nearest(networks, both, mechanism == name) for name in MECHANISMS if n_compared[name]}
    parts = [
        f"{sum(n_alike.values())} of {int(compared.sum())} networks reproduce both levels (both scores at or "
        f"above {bar:g})" + (f": {_counts(n_alike, n_compared)}" if compared.any() else "")
    ]
    parts += [
        f"{in_words(name)}: lower of both scores {interval}, nearest {nearest[name]['cell']} with single "
        f"units {nearest[name]['single_unit']:.2f} and population {nearest[name]['population']:.2f}"
        for name, interval in means.items()
    ]
    numbers: dict[str, Any] = {
        "bar": bar,
        "n_alike": n_alike,
        "n_compared": n_compared,
        "lower_score": {name: interval._asdict() for name, interval in means.items()},
        "nearest": nearest,
    }
    return Verdict(CLAIMS[1], decision, "; ".join(parts) + ".", numbers)


def confusion(networks: xr.Dataset) -> xr.Dataset:
    """Verdicts of the probes on networks whose task left them no choice.

    Args:
        networks: along network: ``forced`` (the mechanism, or ``""``), ``mechanism``, ``status``.

    Returns:
        ``count (forced, verdict)`` of the networks that learned, and ``n_trained (forced,)``.
    """
    forced = networks["forced"].values.astype(str)
    found = networks["mechanism"].values.astype(str)
    learned = networks["status"].values.astype(str) == "converged"
    counted = Counter(zip(forced[learned].tolist(), found[learned].tolist(), strict=True))
    return xr.Dataset(
        {
            "count": (("forced", "verdict"), np.array([[counted[a, b] for b in MECHANISMS] for a in POLES])),
            "n_trained": (("forced",), np.array([int((forced == name).sum()) for name in POLES])),
        },
        coords={"forced": list(POLES), "verdict": list(MECHANISMS)},
    )


def by_mechanism(networks: xr.Dataset, measures: Sequence[str]) -> xr.Dataset:
    """Mean and Student's 95 % interval of some measures over the networks of every mechanism.

    Returns:
        mean, low, high, n ``(mechanism, measure)``.
    """
    mechanism = networks["mechanism"].values.astype(str)
    found = [[mean_interval(networks[m].values[mechanism == name]) for m in measures] for name in MECHANISMS]
    return xr.Dataset(
        {
            part: (("mechanism", "measure"), np.array([[getattr(i, part) for i in row] for row in found]))
            for part in ("mean", "low", "high", "n")
        },
        coords={"mechanism": list(MECHANISMS), "measure": list(measures)},
    )


def _nearest(networks: xr.Dataset, both: np.ndarray, of_kind: np.ndarray) -> dict[str, Any]:
    k = int(np.nanargmax(np.where(of_kind, both, np.nan)))
    row = networks.isel(network=k)
    return {
        "id": str(row["id"].item()),
        "cell": str(row["cell"].item()),
        "single_unit": float(row["single_unit"]),
        "population": float(row["population"]),
    }


def _counts(n_alike: dict[str, int], n_compared: dict[str, int]) -> str:
    return ", ".join(
        f"{n_alike[name]} of {n_compared[name]} {in_words(name)}" for name in MECHANISMS if n_compared[name]
    )


def in_words(mechanism: str) -> str:
    """A mechanism as an adjective."""
    return (
        mechanism.replace("_", " ").replace("initial condition", "initial-condition").replace("input d", "input-d")
    )
