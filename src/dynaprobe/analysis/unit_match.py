"""Single-unit similarity of a model to a recording: does every recorded unit have a model unit like it?

The best of many model units is chosen for each recorded unit, which flatters. So the choice is made on one half
of the trials of the recording and judged on the other, and surrogates of the model get the same choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynaprobe.analysis.matrix import (
    ConditionMean,
    check_at_least,
    check_choice,
    check_matched,
    one_thread,
    psth_values,
    zscore_rows,
)
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.surrogates import fit_tme, normalised_score, p_value_above
from dynaprobe.core.errors import RatesError


@dataclass(frozen=True)
class UnitMatch(Result):
    """How well single units of a model resemble single recorded units, between floor and ceiling.

    Variables of `data` (unit: recorded units; fold 0 chooses on the first half, fold 1 on the second):
        correlation (unit): with the best-matching model unit, on the half that had no part in the choice;
            mean over folds and splits.
        match (split, fold, unit): position of the chosen model unit.
        floor (draw, unit): the same for each surrogate of the model.
        floor_median (draw): its median over units.
        ceiling (unit): correlation of the two halves of the same unit, mean over splits.
        ceiling_spearman_brown (unit): reliability of the PSTH over all trials, ``2 c / (1 + c)``.
        ceiling_noiseless (unit): ``sqrt(c)``, what a model unit that is right and has no noise would reach.
        median, ceiling_median, ceiling_noiseless_median: over units.
        p_value: of `median` against `floor_median`, ``(k + 1) / (n + 1)``.
        normalised: ``(median - mean floor_median) / (ceiling_median - mean floor_median)``; NaN without room.
        normalised_noiseless: the same with `ceiling_noiseless_median`.
    """


@one_thread
def unit_match(
    model: xr.DataArray,
    halves: Sequence[tuple[xr.DataArray, xr.DataArray]],
    *,
    seed: int,
    n_floor: int = 100,
    condition_mean: ConditionMean = "subtract",
) -> UnitMatch:
    """Correlation of every recorded unit with the model unit most like it.

    With z the PSTHs of a unit over condition x time, centred and of length 1, and A, B the halves of a split:
    ``match(u) = argmax over m of z_A(u) . z(m)`` and ``correlation(u) = z_B(u) . z(match(u))``; then A and B
    change roles. Preprocess both sides alike before; segments joined along time count as one time axis.

    Args:
        model: dims ``(condition, time, unit)``.
        halves: PSTHs of the recording over two halves of its trials, for one or more random splits.
        seed: names the stream of the surrogates.
        n_floor: tensor maximum entropy surrogates of the model, keeping time, units and conditions.
        condition_mean: "subtract" removes the mean over conditions at each time and unit first, so that a time
            course shared by all conditions does not count; "keep" leaves it. Surrogates do not keep the
            condition-independent time course of a unit, so with "keep" the floor is low.

    Raises:
        RatesError: when conditions, times or the units of the halves do not match.
    """
    check_choice("condition_mean", condition_mean, ("subtract", "keep"))
    check_at_least("len(halves)", len(halves), 1)
    check_at_least("n_floor", n_floor, 1)
    splits = [_half_rows(model, split, condition_mean) for split in halves]
    rows = _normalised(psth_values(model, "model"), condition_mean)
    correlation, match = _chosen(rows, splits)
    surrogates = fit_tme(model)
    # Correlations of surrogates need no more digits than single precision has, which takes half the time.
    halves_of_all = _stacked(splits, np.float32)
    floor = np.array(
        [
            _held_out(_normalised(surrogates.draw_values(k, seed=seed), condition_mean), halves_of_all)[0]
            for k in range(n_floor)
        ]
    )
    reliability = np.mean([(first * second).sum(axis=0) for first, second in splits], axis=0)
    dataset = xr.Dataset(
        {
            "correlation": ("unit", correlation),
            "match": (("split", "fold", "unit"), match),
            "floor": (("draw", "unit"), floor),
            "ceiling": ("unit", reliability),
        },
        coords={"unit": halves[0][0]["unit"]} if "unit" in halves[0][0].coords else None,
    )
    return _summarise(
        dataset,
        rows,
        splits,
        settings={"seed": seed, "n_floor": n_floor, "keep": "TNC", "condition_mean": condition_mean},
    )


def _summarise(
    dataset: xr.Dataset,
    model_rows: np.ndarray,
    splits: list[tuple[np.ndarray, np.ndarray]],
    *,
    settings: dict[str, object],
) -> UnitMatch:
    """Medians, normalised scores and what failed."""
    reliability = dataset["ceiling"].values
    # 2 c / (1 + c) falls without bound below c = 0, where there is nothing reliable to correct.
    positive = np.clip(reliability, 0, None)
    floor_median = np.median(dataset["floor"].values, axis=1)
    median, chance = float(np.median(dataset["correlation"])), float(floor_median.mean())
    ceiling, noiseless = float(np.median(reliability)), float(np.median(np.sqrt(positive)))
    normalised, failures = normalised_score(median, floor=chance, ceiling=ceiling)
    upper, _ = normalised_score(median, floor=chance, ceiling=noiseless)
    still = int((~model_rows.any(axis=0)).sum())
    if still:
        failures["model unit that never changes, its correlations counted as 0"] = still
    silent = int(sum((~half.any(axis=0)).sum() for split in splits for half in split))
    if silent:
        failures["recorded unit that never changes in a half, its correlations counted as 0"] = silent
    numbers = {
        "floor_median": ("draw", floor_median),
        "ceiling_spearman_brown": ("unit", 2 * positive / (1 + positive)),
        "ceiling_noiseless": ("unit", np.sqrt(positive)),
        "median": ((), median),
        "ceiling_median": ((), ceiling),
        "ceiling_noiseless_median": ((), noiseless),
        "p_value": ((), p_value_above(median, floor_median)),
        "normalised": ((), normalised),
        "normalised_noiseless": ((), upper),
    }
    return UnitMatch(dataset.assign(numbers), settings, failures)


def _half_rows(
    model: xr.DataArray, split: tuple[xr.DataArray, xr.DataArray], condition_mean: str
) -> tuple[np.ndarray, np.ndarray]:
    """Normalised rows of the two halves of a split, after checking them against the model and each other."""
    for k, half in enumerate(split):
        check_matched(model, half, names=("model", f"halves[..][{k}]"))
    if split[0].sizes["unit"] != split[1].sizes["unit"]:
        raise RatesError(
            "halves",
            rule="hold the same units in both halves",
            received=f"{split[0].sizes['unit']} and {split[1].sizes['unit']} units",
            remedy="Keep a unit only where both halves have trials in every condition",
        )
    first, second = (_normalised(psth_values(half, "halves"), condition_mean) for half in split)
    return first, second


def _normalised(values: Float[np.ndarray, "condition time unit"], condition_mean: str) -> np.ndarray:
    if condition_mean == "subtract":
        centred = values - values.mean(axis=0)
        # A unit alike in all conditions leaves round-off, which must not be blown up to length 1.
        size = np.abs(values).max(axis=(0, 1))
        values = np.where(np.abs(centred).max(axis=(0, 1)) > 1e-12 * size, centred, 0.0)
    return zscore_rows(values)


def _stacked(splits: list[tuple[np.ndarray, np.ndarray]], dtype: type) -> Float[np.ndarray, "split fold unit row"]:
    """Both halves of all splits as one array, so that all of them meet a model in one product."""
    return np.array([[half.T for half in split] for split in splits], dtype=dtype)


def _chosen(
    model: Float[np.ndarray, "row model_unit"], splits: list[tuple[np.ndarray, np.ndarray]]
) -> tuple[Float[np.ndarray, " unit"], np.ndarray]:
    """Held-out correlation of every recorded unit, mean over folds and splits, and the model units chosen."""
    return _held_out(model, _stacked(splits, np.float64))


def _held_out(
    model: Float[np.ndarray, "row model_unit"], halves: Float[np.ndarray, "split fold unit row"]
) -> tuple[Float[np.ndarray, " unit"], np.ndarray]:
    with_half = (halves.reshape(-1, halves.shape[-1]) @ model.astype(halves.dtype)).reshape(*halves.shape[:3], -1)
    chosen = with_half.argmax(axis=-1)
    # What one half chose is judged on the other.
    judged = np.take_along_axis(with_half[:, ::-1], chosen[..., None], axis=-1)[..., 0]
    return judged.mean(axis=(0, 1), dtype=np.float64), chosen
