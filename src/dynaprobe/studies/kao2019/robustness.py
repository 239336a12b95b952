"""Claim 3: does the mechanism of the initial condition bear noise at the inputs better?"""

from __future__ import annotations

import numpy as np
import xarray as xr

from dynaprobe.studies.kao2019.mechanisms import POLES, in_words
from dynaprobe.studies.kao2019.texts import CLAIMS
from dynaprobe.study.association import Association, association
from dynaprobe.study.records import Decision, Verdict
from dynaprobe.study.statistics import mean_interval

ALPHA = 0.05
# The noise that decides comes all the time; that in one epoch tells where it hurts.
EPOCHS = {
    "throughout": "noise throughout",
    "preparatory": "noise in preparation",
    "movement": "noise in movement",
}
DECIDING = "throughout"
STRATA = ("activation and penalty", "cell")


def strata_of(networks: xr.Dataset, kind: str) -> list[str]:
    """The stratum of every network: what it was trained with, its task aside, or the whole cell."""
    return [str(name) for name in networks["cell" if kind == "cell" else "stratum"].values]


def claim_3(networks: xr.Dataset, *, seed: int) -> tuple[Verdict, dict[tuple[str, str], Association]]:
    """Decide claim 3 by its rule.

    Args:
        networks: along network: mechanism, mechanism_index, clean_error, excess_error_EPOCH, stratum and
            cell; controls left out.
        seed: of the permutations.

    Returns:
        The verdict, and the rank correlation of the mechanism index with robustness, ``-excess_error``, by epoch
        and strata.
    """
    found = {
        (epoch, kind): association(
            networks["mechanism_index"].values,
            -networks[f"excess_error_{epoch}"].values,
            strata_of(networks, kind),
            given=networks["clean_error"].values,
            seed=seed,
        )
        for epoch in EPOCHS
        for kind in STRATA
    }
    deciding = found[DECIDING, STRATA[0]]
    decision: Decision = "undecided"
    if deciding.p <= ALPHA and deciding.low > 0:
        decision = "supported"
    elif deciding.p <= ALPHA and deciding.high < 0:
        decision = "opposed"
    mechanism = networks["mechanism"].values.astype(str)
    means = {
        (epoch, name): mean_interval(networks[f"excess_error_{epoch}"].values[mechanism == name])
        for epoch in EPOCHS
        for name in POLES
    }
    others = ", ".join(f"{EPOCHS[epoch]} {_rho(found[epoch, STRATA[0]])}" for epoch in EPOCHS if epoch != DECIDING)
    errors = ", ".join(f"{in_words(name)} {means[DECIDING, name]}" for name in POLES)
    sentence = (
        f"Rank correlation of mechanism index and robustness, {EPOCHS[DECIDING]}: {deciding}; across seeds of one "
        f"cell {found[DECIDING, STRATA[1]]}. In one epoch: {others}. Excess end-point error, {EPOCHS[DECIDING]}: "
        f"{errors}."
    )
    numbers = {
        "associations": {f"{epoch}, {kind}": value._asdict() for (epoch, kind), value in found.items()},
        "excess_error": {f"{epoch}, {name}": value._asdict() for (epoch, name), value in means.items()},
        "n_networks": int(np.isfinite(networks["mechanism_index"].values).sum()),
    }
    return Verdict(CLAIMS[2], decision, sentence, numbers), found


def _rho(value: Association) -> str:
    return f"{value.rho:+.2f}" if np.isfinite(value.rho) else "nothing to correlate"
