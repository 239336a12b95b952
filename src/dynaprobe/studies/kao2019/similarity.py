"""Claim 1: alike unit by unit, and yet not as a population."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dynaprobe.studies.kao2019.texts import CLAIMS
from dynaprobe.study.records import Decision, Verdict
from dynaprobe.study.statistics import Interval


def claim_1(cells: xr.Dataset, bar: float) -> Verdict:
    """Decide claim 1 by its rule from the intervals of every cell."""
    pairs = []
    for k in range(cells.sizes["cell"]):
        row = cells.isel(cell=k)
        intervals = {name: _interval(row, name) for name in ("single_unit", "population")}
        pairs.append((str(row["cell"].item()), intervals["single_unit"], intervals["population"]))
    alike = [pair for pair in pairs if pair[1].low >= bar]
    apart = [pair for pair in alike if pair[2].high < bar]
    decision: Decision = "undecided"
    if apart:
        decision = "supported"
    elif alike and all(pair[2].low >= bar for pair in alike):
        decision = "opposed"
    known = [pair for pair in pairs if np.isfinite(pair[1].mean - pair[2].mean)]
    means = [(single.mean, pop.mean) for _, single, pop in known]
    gap = float(np.mean([s - p for s, p in means])) if means else float("nan")
    parts = [
        f"{len(alike)} of {len(pairs)} cells reproduce single units (interval at or above {bar:g})",
        f"{len(apart)} of these fail as a population (interval below {bar:g})",
    ]
    if means:
        parts.append(f"mean gap between the two levels {gap:+.2f} of the way from surrogates to neurons")
        parts.append(f"nearest by single units: {max(known, key=lambda pair: pair[1].mean)[0]}")
        parts.append(f"nearest by population: {max(known, key=lambda pair: pair[2].mean)[0]}")
    # A cell without numbers is said as well: it counts among the cells above.
    parts += [
        f"{name}: single units {single}, population {pop}" if np.isfinite(single.mean) else f"{name}: no network"
        for name, single, pop in pairs
    ]
    if not means:
        n_learned = int(cells["n_learned"].sum())
        parts.append(
            f"none of the {n_learned} networks that learned could be compared"
            if n_learned
            else "no network learned the task"
        )
    numbers = {
        "bar": bar,
        "n_cells": len(pairs),
        "n_single_units": len(alike),
        "n_apart": len(apart),
        "mean_gap": gap,
        "cells": [{"cell": n, "single_unit": s._asdict(), "population": p._asdict()} for n, s, p in pairs],
    }
    return Verdict(CLAIMS[0], decision, "; ".join(parts) + ".", numbers)


def _interval(row: xr.Dataset, name: str) -> Interval:
    mean, low, high = (float(row[f"{name}_{part}"]) for part in ("mean", "low", "high"))
    return Interval(mean, low, high, int(row["n_compared"]))
