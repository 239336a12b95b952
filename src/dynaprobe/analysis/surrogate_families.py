"""Families of surrogates by name, for analyses that test against several of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynaprobe.analysis.condition_permutation import covariance_matched_permutations
from dynaprobe.analysis.surrogates import KEEPS, fit_tme, shuffle_surrogates
from dynaprobe.core.errors import SettingsError

_AXES = {"T": "times", "N": "units", "C": "conditions"}


def _kept(keep: str) -> str:
    return f"means and covariances over {', '.join(_AXES[letter] for letter in keep)}"


# What the draws of each family have in common with the data.
FAMILIES: dict[str, str] = {
    **{keep: _kept(keep) for keep in KEEPS},
    "shuffle": "the responses of every unit, its conditions in random order",
    "covariance": "the responses of every unit, its conditions in an order that keeps how units covary",
}


@dataclass(frozen=True)
class Draws:
    """Surrogates of one family.

    Attributes:
        values: the draws.
        failures: what went wrong, by reason.
    """

    values: Float[np.ndarray, "draw condition time unit"]
    failures: Mapping[str, int] = field(default_factory=dict)


def family_draws(rates: xr.DataArray, family: str, n: int, *, seed: int) -> Draws:
    """Draw surrogates of a family; draw k depends on the seed and k alone.

    Args:
        rates: dims ``(condition, time, unit)``.
        family: one of `FAMILIES`.
        n: number of draws.
        seed: of the draws.

    Raises:
        SettingsError: an unknown family.
    """
    check_families([family])
    if family == "shuffle":
        return Draws(shuffle_surrogates(rates, n, seed=seed).values)
    if family == "covariance":
        found = covariance_matched_permutations(rates, n, seed=seed)
        return Draws(found.data["rates"].values, found.failures)
    return Draws(fit_tme(rates, keep=family).draw(n, seed=seed).values)


def check_families(families: Sequence[str]) -> None:
    """Refuse names that are not families, the same name twice, and none at all."""
    unknown = [name for name in families if name not in FAMILIES]
    if unknown or not families or len(set(families)) < len(families):
        raise SettingsError(
            "families",
            rule=f"be different names from {', '.join(FAMILIES)}",
            received=list(families),
            remedy="T, TN and TNC are the families of Elsayed & Cunningham (2017)",
        )
