"""Any measure of likeness between its floor and its ceiling.

The floor is what surrogates of the first side reach, which share its means and covariances over time, units and
conditions and nothing else. The ceiling is what two halves of the second side's trials reach with each other, and,
where other recordings are given, what these reach. Score, floor and ceiling are taken with the same numbers of
units, conditions and trials, so that noise and sampling enter all of them alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dynaprobe.analysis.matched import Matched, match
from dynaprobe.analysis.matrix import check_at_least, one_thread
from dynaprobe.analysis.measures import Measure
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.surrogates import TensorMaximumEntropy, fit_tme, p_value_above
from dynaprobe.core.errors import RatesError
from dynaprobe.core.random import generator

Halves = Sequence[tuple[xr.DataArray, xr.DataArray]]
# How often units are chosen anew where the sides have different numbers and there are no splits to say so.
N_SUBSETS = 10


@dataclass(frozen=True)
class BoundedScore(Result):
    """A score with what chance and what a perfect match would give, for a similarity or a distance.

    A setting is one split of the trials together with one choice of units.

    Variables of `data`:
        score: mean over settings of ``measure(a, b)``.
        score_setting (setting), score_sd: in each setting, and their standard deviation.
        floor (draw), floor_mean: of surrogates of `a`, each in one setting.
        ceiling (split), ceiling_mean: of the two halves of `b`; NaN without halves.
        p_value: chance of a surrogate at least as like `b`, ``(k + 1) / (n + 1)``. Surrogates are judged in one
            setting each and `a` by its mean over all, so p is, if anything, too large.
        normalised: ``(score - floor_mean) / (ceiling_mean - floor_mean)``: 0 for surrogates, 1 for another half of
            the same trials, whatever the kind; NaN where there is no room.

    `settings` holds the measure, its kind, the numbers of units, conditions, bins and splits, and under "account"
    sentences on what was matched, subsampled and halved.
    """

    @property
    def sentences(self) -> tuple[str, ...]:
        """How unequal units, trials and conditions were handled."""
        return tuple(self.settings["account"])


@dataclass(frozen=True)
class Comparison:
    """Two populations made comparable: what every measure and every surrogate then goes through.

    Attributes:
        matched: the shared conditions and bins.
        models: the first side in every setting, for the first and the second half; one record where both are one.
        targets: the second side, likewise.
        has_ceiling: whether the two targets of a setting are disjoint halves.
        n_units: units of either side in every setting.
        account: sentences on what was done.
    """

    matched: Matched
    models: list[tuple[xr.DataArray, ...]]
    targets: list[tuple[xr.DataArray, ...]]
    has_ceiling: bool
    n_units: int
    account: tuple[str, ...]


def compare_alike(
    a: xr.DataArray,
    b: xr.DataArray,
    *,
    halves_a: Halves | None,
    halves_b: Halves | None,
    seed: int,
    at_most: int | None = None,
) -> Comparison:
    """Match conditions and bins, halve trials and subsample units to the smaller side.

    Args:
        a, b: rates with dims ``(condition, time, unit)``.
        halves_a, halves_b: pairs of rates over disjoint halves of the trials, laid out like `a` and `b`.
        seed: names the stream that chooses units.
        at_most: a number of units that neither side may exceed.
    """
    matched = match(a, b)
    sides = [_halved(matched.a, halves_a, matched.take_a, "a"), _halved(matched.b, halves_b, matched.take_b, "b")]
    n_there = [matched.a.sizes["unit"], matched.b.sizes["unit"]]
    n_units = min(*n_there, at_most or max(n_there))
    given = [len(halves) for halves in (halves_a, halves_b) if halves is not None]
    n_settings = min(given) if given else (N_SUBSETS if max(n_there) > n_units else 1)
    account, chosen = [matched.account], []
    for name, side, n in zip("ab", sides, n_there, strict=True):
        subsets: list[np.ndarray | None] = [None] * n_settings
        if n > n_units:
            subsets = [
                np.sort(generator(seed, "bounds", "units", name, k).permutation(n)[:n_units])
                for k in range(n_settings)
            ]
            account.append(f"{n_units} of the {n} units of {name}, chosen anew in each of {n_settings} settings")
        chosen.append(
            [
                tuple(part if units is None else part.isel(unit=units) for part in side[k % len(side)])
                for k, units in enumerate(subsets)
            ]
        )
    for name, halves in (("a", halves_a), ("b", halves_b)):
        whole = "as it is" if halves is None else f"by halves of its trials, {n_settings} splits"
        account.append(f"{name} enters {whole}")
    return Comparison(matched, chosen[0], chosen[1], halves_b is not None, n_units, tuple(account))


def bounded(
    measure: Measure,
    a: xr.DataArray,
    b: xr.DataArray,
    *,
    halves_b: Halves | None = None,
    halves_a: Halves | None = None,
    seed: int,
    n_floor: int = 100,
    keep: str = "TNC",
) -> BoundedScore:
    """A measure of two populations between floor and ceiling; see `bounded_scores`."""
    (found,) = bounded_scores(
        (measure,), a, b, halves_b=halves_b, halves_a=halves_a, seed=seed, n_floor=n_floor, keep=keep
    )
    return found


def bounded_scores(
    measures: Sequence[Measure],
    a: xr.DataArray,
    b: xr.DataArray,
    *,
    halves_b: Halves | None = None,
    halves_a: Halves | None = None,
    seed: int,
    n_floor: int = 100,
    keep: str = "TNC",
) -> Iterator[BoundedScore]:
    """Measures of two populations between floor and ceiling, one after another as they are ready.

    Conditions and bins are those that both sides share, see `dynaprobe.analysis.matched.match`. Where one side has
    more units, as many as the other has are chosen at random in every setting, and score and floor are means over
    settings. Where halves of the trials are given, a half stands for its side: the first half of `a` is compared
    with the first of `b`, the second with the second, and the first with the second half of `b` gives the ceiling.

    Args:
        measures: rows of `dynaprobe.analysis.measures.MEASURES`.
        a: the first side, for example a model, dims ``(condition, time, unit)``; surrogates are made of it.
        b: the second side, for example the recording.
        halves_b: pairs of rates over disjoint halves of the trials of `b`, one pair for each random split; without
            them there is no ceiling.
        halves_a: the same of `a`, where it is as noisy as `b`; without them `a` is taken as it is.
        seed: names the streams of units and surrogates.
        n_floor: surrogates.
        keep: what the surrogates keep, see `dynaprobe.analysis.surrogates.fit_tme`.

    Raises:
        RatesError: when nothing is shared, or halves have other units than their side.
    """
    check_at_least("n_floor", n_floor, 1)
    common = compare_alike(a, b, halves_a=halves_a, halves_b=halves_b, seed=seed)
    # A side that is the same in all settings is fitted once.
    fitted = {id(part): fit_tme(part, keep=keep) for part in {id(p[0]): p[0] for p in common.models}.values()}
    fits = [fitted[id(parts[0])] for parts in common.models]
    for measure in measures:
        yield _bounded(measure, common, fits, seed=seed, n_floor=n_floor)


@one_thread
def _bounded(
    measure: Measure, common: Comparison, fits: list[TensorMaximumEntropy], *, seed: int, n_floor: int
) -> BoundedScore:
    targets = _prepared(measure, common.targets)
    score = _settings_scores(measure, common, targets)
    floor = np.empty(n_floor)
    for draw in range(n_floor):
        k = draw % len(fits)
        surrogate = fits[k].template.copy(data=fits[k].draw_values(draw, seed=seed))
        floor[draw] = _score(measure, (measure.prepare(surrogate),), targets[k])
    ceiling = np.array([_both_ways(measure, *target) for target in targets if common.has_ceiling])
    numbers, failures = _place(measure, score, floor, ceiling)
    settings = {
        "measure": measure.name,
        "kind": measure.kind,
        "n_units": common.n_units,
        "n_conditions": common.matched.n_conditions,
        "n_bins": common.matched.n_bins,
        "n_settings": len(targets),
        "n_floor": n_floor,
        "keep": fits[0].keep,
        "seed": seed,
        "account": list(common.account),
    }
    return BoundedScore(xr.Dataset(numbers), settings, failures)


def between_ceiling(
    found: BoundedScore,
    measure: Measure,
    others: Sequence[xr.DataArray],
    b: xr.DataArray,
    *,
    halves_b: Halves | None = None,
    seed: int,
) -> BoundedScore:
    """Add what other recordings reach with `b`, for example the same task done by another animal.

    Args:
        found: a bounded score against the same `b`.
        measure: the measure it was made with.
        others: rates of the other recordings, over half their trials where `a` entered by halves.
        b, halves_b: as in `bounded`.
        seed: names the stream that chooses units.

    Returns:
        The same record with ``ceiling_between (other)``, ``ceiling_between_mean`` and ``normalised_between``, in
        which 1 is the mean of the other recordings. They enter with at most as many units as the sides of `found`;
        one that has fewer is counted in `failures`.

    Raises:
        RatesError: when nothing is shared.
    """
    check_at_least("len(others)", len(others), 1)
    n_units = int(found.settings["n_units"])
    scores, few = [], 0
    for other in others:
        common = compare_alike(other, b, halves_a=None, halves_b=halves_b, seed=seed, at_most=n_units)
        few += common.n_units < n_units
        scores.append(float(np.mean(_settings_scores(measure, common, _prepared(measure, common.targets)))))
    between = np.array(scores)
    score, floor = float(found.data["score"]), float(found.data["floor_mean"])
    normalised, failures = _normalised(measure, score, floor, between)
    if few:
        failures[f"other recording with fewer units than the {n_units} of the comparison"] = few
    numbers = {
        "ceiling_between": ("other", between),
        "ceiling_between_mean": ((), float(between.mean())),
        "normalised_between": ((), normalised),
    }
    return BoundedScore(found.data.assign(numbers), found.settings, {**found.failures, **failures})


@one_thread
def _settings_scores(measure: Measure, common: Comparison, targets: list[tuple[Any, ...]]) -> np.ndarray:
    """The score of the first side in every setting; a side that is the same in all is prepared once."""
    ready = {
        id(part): measure.prepare(part) for part in {id(p): p for parts in common.models for p in parts}.values()
    }
    return np.array(
        [
            _score(measure, tuple(ready[id(part)] for part in parts), target)
            for parts, target in zip(common.models, targets, strict=True)
        ]
    )


@one_thread
def _prepared(measure: Measure, sides: list[tuple[xr.DataArray, ...]]) -> list[tuple[Any, ...]]:
    return [tuple(measure.prepare(part) for part in parts) for parts in sides]


def _place(
    measure: Measure, score: np.ndarray, floor: np.ndarray, ceiling: np.ndarray
) -> tuple[dict[str, Any], dict[str, int]]:
    """Means, p-value and normalised score, with the sign of a distance turned where more should be better."""
    failures: dict[str, int] = {}
    undefined = int(np.isnan(floor).sum())
    if undefined:
        failures["surrogate whose score is not defined, left out of the floor"] = undefined
    defined = floor[~np.isnan(floor)]
    mean, chance = float(score.mean()), float(defined.mean()) if defined.size else float("nan")
    if np.isnan(mean):
        failures["score that is not defined"] = int(np.isnan(score).sum())
    best = ceiling if ceiling.size else np.full(1, np.nan)
    normalised, more = _normalised(measure, mean, chance, best)
    p_value = p_value_above(measure.sign * mean, measure.sign * defined)
    numbers = {
        "score": ((), mean),
        "score_sd": ((), float(score.std(ddof=1)) if score.size > 1 else float("nan")),
        "score_setting": ("setting", score),
        "floor": ("draw", floor),
        "floor_mean": ((), chance),
        "ceiling": ("split", best),
        "ceiling_mean": ((), float(best.mean())),
        "p_value": ((), p_value if defined.size and not np.isnan(mean) else float("nan")),
        "normalised": ((), normalised),
    }
    return numbers, {**failures, **more}


def _normalised(measure: Measure, score: float, floor: float, ceiling: np.ndarray) -> tuple[float, dict[str, int]]:
    best = float(ceiling.mean())
    if np.isnan(best):
        return float("nan"), {"no ceiling: halves of b were not given": 1}
    if not measure.sign * (best - floor) > 0:
        reason = (
            f"ceiling {best:.3g} no more alike than floor {floor:.3g}: the score has no scale and is undefined"
        )
        return float("nan"), {reason: 1}
    return (score - floor) / (best - floor), {}


def _halved(
    rates: xr.DataArray, halves: Halves | None, take: Callable[[xr.DataArray], xr.DataArray], name: str
) -> list[tuple[xr.DataArray, ...]]:
    """The halves of one side in every split, cut to what is shared; the side itself where there are none."""
    if halves is None:
        return [(rates,)]
    check_at_least(f"len(halves_{name})", len(halves), 1)
    for pair in halves:
        sizes = [half.sizes["unit"] for half in pair]
        if sizes != [rates.sizes["unit"]] * 2:
            raise RatesError(
                f"halves_{name}",
                rule=f"hold pairs with the {rates.sizes['unit']} units of {name}",
                received=f"{len(sizes)} parts with {sizes} units",
                remedy="Average the same units over two halves of the trials",
            )
    return [tuple(take(half) for half in pair) for pair in halves]


def _score(measure: Measure, models: tuple[Any, ...], targets: tuple[Any, ...]) -> float:
    """Half against half where both sides have two, otherwise the one against each."""
    n = max(len(models), len(targets))
    scores = [measure.compare(models[h % len(models)], targets[h % len(targets)]) for h in range(n)]
    return float(np.mean(scores))


def _both_ways(measure: Measure, first: Any, second: Any) -> float:
    forth = measure.compare(first, second)
    return forth if measure.is_symmetric else (forth + measure.compare(second, first)) / 2
