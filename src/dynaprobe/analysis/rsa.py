"""Representational similarity: are the same conditions far apart in both populations, and at the same times?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.stats import rankdata

from dynaprobe.analysis.matrix import (
    centred_values,
    check_at_least,
    check_matched,
    one_thread,
)
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.subspace import RANK_TOLERANCE


@dataclass(frozen=True)
class RepresentationalSimilarity(Result):
    """Correlation of the distances between conditions.

    Variables of `data`:
        rsa: correlation over pairs of conditions and times, -1 to 1.
        rsa_time (time): correlation over pairs of conditions at each time; NaN where a side has no differences.
        distance_a, distance_b (time, pair): the distances, in the unit of the rates.
        first, second (pair): positions of the conditions of a pair.
    """


@one_thread
def rsa_similarity(a: xr.DataArray, b: xr.DataArray, *, ranks: bool = False) -> RepresentationalSimilarity:
    """Representational similarity of two populations with matched conditions and times.

    ``d[t, (c, c')] = |x[c, t] - x[c', t]|`` over units; the score is the correlation of d between the sides, with
    the mean over pairs removed at each time, so that differences which all grow and fall together, as they do
    around movement in any two populations, do not count as likeness.

    Args:
        a, b: rates with dims ``(condition, time, unit)``; units need not match.
        ranks: whether distances are replaced by their ranks over all pairs and times first.

    Raises:
        RatesError: when conditions or times do not match, or a side is the same in all conditions.
        SettingsError: when there are fewer than 3 conditions.

    Source: Kriegeskorte, Mur & Bandettini 2008, Front. Syst. Neurosci. 2:4.
    """
    check_matched(a, b, names=("a", "b"))
    x, y = (prepare_rsa(side, ranks=ranks, name=n) for n, side in (("a", a), ("b", b)))
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    at_times = np.divide((x * y).sum(axis=1), lengths, out=np.full(lengths.shape, np.nan), where=lengths > 0)
    first, second = np.triu_indices(a.sizes["condition"], 1)
    failures = {"time at which a side has no differences between pairs": int((lengths == 0).sum())}
    data = xr.Dataset(
        {
            "rsa": compare_rsa(x, y),
            "rsa_time": ("time", at_times),
            "distance_a": (("time", "pair"), _distances(a, "a")),
            "distance_b": (("time", "pair"), _distances(b, "b")),
            "first": ("pair", first),
            "second": ("pair", second),
        },
        coords={"time": a["time"]},
    )
    return RepresentationalSimilarity(data, {"ranks": ranks}, {r: n for r, n in failures.items() if n})


def prepare_rsa(
    rates: xr.DataArray, *, ranks: bool = False, name: str = "rates"
) -> Float[np.ndarray, "time pair"]:
    """Distances about their mean over pairs at each time, of size 1."""
    distances = _distances(rates, name)
    if ranks:
        distances = rankdata(distances).reshape(distances.shape)
    centred = distances - distances.mean(axis=1, keepdims=True)
    # Distances that are all alike leave round-off, which is no pattern.
    centred[np.abs(centred).max(axis=1) <= RANK_TOLERANCE * distances.max()] = 0.0
    scaled: Float[np.ndarray, "time pair"] = centred / (np.linalg.norm(centred) or 1.0)
    return scaled


def compare_rsa(x: Float[np.ndarray, "time pair"], y: Float[np.ndarray, "time pair"]) -> float:
    """Correlation of two sides from `prepare_rsa`; NaN where all pairs of a side are equally far apart."""
    return float((x * y).sum()) if x.any() and y.any() else float("nan")


def _distances(rates: xr.DataArray, name: str) -> Float[np.ndarray, "time pair"]:
    values = centred_values(rates, "subtract", name=name)
    check_at_least("number of conditions", values.shape[0], 3)
    first, second = np.triu_indices(values.shape[0], 1)
    distances: Float[np.ndarray, "time pair"] = np.linalg.norm(values[first] - values[second], axis=-1).T
    return distances
